#!/usr/bin/env python3
"""Makes kernels/tests/reference.txt: values of the elementary functions to 106 bits (needs mpmath).

A line is: function, argument bits, second argument bits (0 where there is none), and the exact
value as two doubles, high + low, as bits. Arguments are random, structured and hard: next to
multiples of pi/4 at every scale (from continued fractions), next to 1 for logarithms and powers,
results that are subnormal, nearly overflow, or all but half way between two doubles.

Run it from the repository root: python3 kernels/tables/reference.py
"""

import random
import struct
from fractions import Fraction
from pathlib import Path
from mpmath import mp, mpf, pi, sin, cos, log, floor, inf

mp.prec = 1400
random.seed(20261121)


def bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def double(b):
    return struct.unpack("<d", struct.pack("<Q", b))[0]


def near_multiples():
    """For each binary exponent, the doubles nearest (relatively) to a multiple of pi/4."""
    out = []
    for e in list(range(-52, 971, 13)) + [797 - 52 + 0, 745]:
        # m·2^e near k·pi/4: best rational approximations of pi/4·2^-e with 53-bit numerators.
        value = pi / 4 * mpf(2) ** -e
        best = None
        h0, h1, k0, k1 = 0, 1, 1, 0
        x = value
        for _ in range(400):
            a = int(floor(x))
            h0, h1 = h1, a * h1 + h0
            k0, k1 = k1, a * k1 + k0
            if h1 >= 2**53:
                break
            if h1 > 2**51:
                best = h1
            if x == a:
                break
            x = 1 / (x - a)
        if best:
            out.append(float(mpf(best) * mpf(2) ** e))
    out.append(6381956970095103.0 * 2.0**797)
    return out


rows = []


def emit(name, f, x, y=None):
    value = f(mpf(x)) if y is None else f(mpf(x), mpf(y))
    if abs(value) >= mpf(2) ** 1024 or value == 0:
        return
    high = float(value)
    if high in (float("inf"), float("-inf")):
        return
    low = float(value - mpf(high))
    rows.append(f"{name} {bits(x):016x} {bits(y) if y is not None else 0:016x} {bits(high):016x} {bits(low):016x}")


def trig_power(a):
    return (sin(a) + cos(a)) ** (a * a)


uniform = random.uniform
hard = near_multiples()
angles = hard + [-h for h in hard[::7]]
angles += [uniform(-4, 4) for _ in range(60)] + [uniform(-1e6, 1e6) for _ in range(60)]
angles += [n * 3.141592653589793 / 4 for n in range(1, 40)] + [10.0**k for k in range(-300, 309, 20)]
angles += [double(random.getrandbits(62)) for _ in range(80)] + [524287.9, 524288.0, 524288.5, 5e-324, 1e-310]
for x in angles:
    emit("sin", sin, x)
    emit("cos", cos, x)

mp.prec = 400
for x in [uniform(-2, 2) for _ in range(100)] + [uniform(-1075, 1024) for _ in range(100)] + \
        [uniform(-1074, -1020) for _ in range(60)] + [uniform(1018, 1024) for _ in range(40)] + \
        [k / 8 + d for k in range(-9, 9) for d in (1 / 16, -1 / 16, 1e-17, 2.0**-50)] + [5e-324, -1e-300, 1e-16]:
    emit("exp2", lambda t: mpf(2) ** t, x)
one = bits(1.0)
for x in [uniform(0.5, 2) for _ in range(100)] + [double(random.getrandbits(62)) for _ in range(100)] + \
        [double(one + k) for k in range(-30, 31) if k] + [1 + s * 2.0**-k for k in range(2, 50) for s in (1, -1)] + \
        [double(random.getrandbits(50)) for _ in range(30)] + [5e-324, 1.7976931348623157e308] + \
        [double(0x3FE6AAAAAAAAAAAB + (k << 47) + d) for k in range(33) for d in (-1, 0)]:
    emit("log2", lambda t: log(t) / log(mpf(2)), x)
power = lambda x, y: x**y
for _ in range(200):
    x = double(random.getrandbits(62))
    e = float(log(mpf(x)) / log(mpf(2)))
    if e:
        emit("pow", power, x, uniform(-1074, 1024) / e)
for _ in range(200):
    x = 1 + uniform(-1, 1) * 2.0 ** -random.randrange(1, 52)
    if x != 1:
        emit("pow", power, x, uniform(-1074, 1024) / float(log(mpf(x)) / log(mpf(2))))
for _ in range(100):
    emit("pow", power, uniform(0, 4), uniform(-100, 100))
for k in (-1, 1, 2, -3):
    for y in (1e15, -1e15, 123456789.0, 2.0**52, 9007199254740991.0):
        emit("pow", power, double(one + k), y)
for x in range(2, 20):
    for y in (-3.0, -1.0, 0.5, 1.0, 1.5, 2.0, 3.0, 10.0, 1 / 3):
        emit("pow", power, float(x), y)
# Half way but for the last bits: x·x with a long product, and squares of 27-bit numbers.
for _ in range(40):
    emit("pow", power, 1 + (random.getrandbits(27) | 1) * 2.0**-27, 2.0)
for x in (-2.0, -3.0, -1.5, -0.1):
    for y in (3.0, 2.0, -3.0, 7.0, -8.0):
        emit("pow", power, x, y)

mp.prec = 1400
inside = [uniform(0, 1.5) for _ in range(300)] + [uniform(0, 0.01) for _ in range(30)] + [2.0**-k for k in range(60)]
inside += [double(bits(1.5) - k) for k in range(5)]
for x in inside:
    emit("trig_power", trig_power, x)
for x in [uniform(1.5, 2.356) for _ in range(100)] + [uniform(-0.785, 0) for _ in range(100)] + \
        [double(bits(1.5) + k) for k in range(1, 5)] + [-(2.0**-k) for k in range(1, 60)] + \
        [2.356194490192345, 2.3561944901923444, -0.7853981633974482, -0.785398163397448] + \
        [5.5 + uniform(0, 3.1) for _ in range(100)] + [uniform(-20, 20) for _ in range(100)]:
    if sin(mpf(x)) + cos(mpf(x)) > 0:
        emit("trig_power", trig_power, x)
out = Path(__file__).resolve().parent.parent / "tests" / "reference.txt"
out.write_text("# Made by kernels/tables/reference.py; do not edit.\n" + "\n".join(rows) + "\n")
print(len(rows), "rows")
