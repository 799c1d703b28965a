#!/usr/bin/env python3
"""Makes kernels/src/elementary/tables.rs and kernels/src/trig_power/table.rs (needs mpmath).

Run it from the repository root: python3 kernels/tables/generate.py && cargo fmt. It prints for
every polynomial the largest error of the approximation, before the rounding of the arithmetic.
"""

from pathlib import Path
from mpmath import mp, mpf, mpmathify, chebyfit, polyval, floor, pi, log, sqrt, sin, cos, diff

mp.dps = 120
HERE = Path(__file__).resolve().parent.parent / "src"


def rust(x):
    """A double as a Rust literal that reads back as the same double."""
    text = repr(float(x))
    return text if any(c in text for c in ".e") else text + ".0"


def digits(text):
    """Underscores as clippy wants them are not needed: the tables allow the lint."""
    return text


def round_to(x, ulp):
    return floor(x / ulp + mpf(1) / 2) * ulp


def fit(name, f, lo, hi, degree, fixed=()):
    """A polynomial near f on [lo, hi], lowest power first, coefficients rounded to doubles.

    Its lowest coefficients are `fixed`; they must be those of f itself, or as good as.
    """
    fixed = list(fixed)
    first = len(fixed)
    def rest(t):
        if first and abs(t) < mpf(10) ** -30:
            t = mpf(10) ** -30
        return (f(t) - sum(c * t**i for i, c in enumerate(fixed))) / t**first
    found = chebyfit(rest, [lo, hi], degree - first + 1)[::-1]
    worst = lambda cs: max(abs(polyval(cs[::-1], t) - f(t)) for t in (lo + (hi - lo) * j / 128 for j in range(129)))
    rounded = fixed + [mpf(float(c)) for c in found]
    print(f"{name}: 2^{float(log(worst(fixed + found), 2)):.1f}, rounded 2^{float(log(worst(rounded), 2)):.1f}")
    return rounded


def const(name, doc, values):
    if isinstance(values, list):
        body = ", ".join(rust(v) for v in values)
        return f"/// {doc}\npub(crate) const {name}: [f64; {len(values)}] = [{body}];\n"
    return f"/// {doc}\npub(crate) const {name}: f64 = {rust(values)};\n"


def head(what):
    return (f"//! {what} Made by kernels/tables/generate.py; do not edit.\n"
            "#![allow(clippy::excessive_precision, clippy::unreadable_literal, "
            "clippy::approx_constant, reason = \"made by a program\")]\n\n")


def elementary():
    out = head("Constants of the elementary functions.")
    # 2^x: eight entries, |r| <= 1/16.
    hi = [mpf(float(mpf(2) ** (mpf(j) / 8))) for j in range(8)]
    out += const("EXP2_HIGH", "2^(j/8), rounded.", hi)
    out += const("EXP2_LOW", "What `EXP2_HIGH` lacks.", [mpf(2) ** (mpf(j) / 8) - hi[j] for j in range(8)])
    w = mpf(1) / 16
    c = fit("exp2", lambda r: mpf(2) ** r, -w, w, 7, [mpf(1)])
    out += const("EXP2_POLY", "(2^r − 1)/r for |r| ≤ 1/16, lowest power first.", c[1:])

    # log2: 32 intervals of the mantissa; the one that holds 1 has factor 1.
    one = 0x3FF0000000000000
    step = 1 << 47
    offset = one - (step * 2) // 3 - 18 * step
    factor, high, low = [], [], []
    to_float = lambda bits: mpf(__import__("struct").unpack("<d", bits.to_bytes(8, "little"))[0])
    worst = mpf(0)
    for i in range(32):
        a, b = to_float(offset + i * step), to_float(offset + (i + 1) * step)
        if a < 1 < b:
            f = mpf(1)
        else:
            f = mpf(round(float(2 / (a + b)) * 512)) / 512
        worst = max(worst, abs(a * f - 1), abs(b * f - 1))
        exact = -log(f, 2)
        h = round_to(exact, mpf(2) ** -41)
        factor.append(f)
        high.append(h)
        low.append(exact - h)
    print("log2: |z| <=", float(worst), "= 1 /", float(1 / worst))
    out += f"/// Where the first of the 32 intervals of `log2` begins, as bits.\npub(crate) const LOG2_OFFSET: u64 = {offset:#x};\n"
    out += const("LOG2_FACTOR", "c_i, about the reciprocal of the interval's middle.", factor)
    out += const("LOG2_HIGH", "−log2(c_i) to 41 bits after the point.", high)
    out += const("LOG2_LOW", "What `LOG2_HIGH` lacks.", low)
    k = 1 / log(2)
    kh = mpf(float(k))
    out += const("INV_LN2_HIGH", "1/ln 2, rounded.", kh)
    out += const("INV_LN2_LOW", "What `INV_LN2_HIGH` lacks.", k - kh)
    w = worst * mpf("1.001")
    # log2(1+z) = z/ln2 - z^2/(2 ln2) + z^3 q(z)
    def log_rest(z):
        if abs(z) < mpf(10) ** -6:
            return k * sum((-1) ** n * z**n / (n + 3) for n in range(12))
        return (log(1 + z) * k - z * k + z * z * k / 2) / z**3
    c = fit("log2 q", log_rest, -w, w, 9)
    out += const("LOG2_POLY", "(log2(1+z) − z/ln2 + z²/(2·ln2))/z³, lowest power first.", c)

    # log2(1+z) = z/ln2 + z^2 q(z), for the rounded logarithm
    def log_square(z):
        return z * log_rest(z) - k / 2
    c = fit("log2 rounded q", log_square, -w, w, 9)
    out += const("LOG2_ROUNDED_POLY", "(log2(1+z) − z/ln2)/z², lowest power first.", c)

    # sine and cosine on |r| <= pi/4, in r squared.
    w = (pi / 4 * mpf("1.0001")) ** 2
    def sin_rest(s):
        if s < mpf(10) ** -8:
            return sum((-1) ** (n + 1) * s**n / mp.factorial(2 * n + 3) for n in range(8))
        r = sqrt(s)
        return (sin(r) - r) / r**3
    def cos_rest(s):
        if s < mpf(10) ** -8:
            return sum((-1) ** n * s**n / mp.factorial(2 * n + 4) for n in range(8))
        return (cos(sqrt(s)) - 1 + s / 2) / s**2
    out += const("SIN_POLY", "(sin r − r)/r³ in powers of r², |r| ≤ π/4.", fit("sin", sin_rest, mpf(0), w, 6))
    out += const("COS_POLY", "(cos r − 1 + r²/2)/r⁴ in powers of r², |r| ≤ π/4.", fit("cos", cos_rest, mpf(0), w, 6))
    p1 = round_to(pi / 4, mpf(2) ** -33)
    p2 = mpf(float(pi / 4 - p1))
    p3 = mpf(float(pi / 4 - p1 - p2))
    twice = [2 * p1, 2 * p2, 2 * p3]
    out += const("HALF_PI_1", "π/2 to 32 bits after the point.", twice[0])
    out += const("HALF_PI_2", "The next 53 bits of π/2.", twice[1])
    out += const("HALF_PI_3", "The next 53 bits of π/2.", twice[2])
    out += const("QUARTER_PI_1", "π/4 to 33 bits after the point.", p1)
    out += const("QUARTER_PI_2", "The next 53 bits of π/4.", p2)
    out += const("QUARTER_PI_3", "The next 53 bits of π/4.", p3)
    mp.dps = 420
    bits = int(floor(2 / mp.pi * mpf(2) ** 1280))
    words = [(bits >> (1280 - 64 * (i + 1))) & (2**64 - 1) for i in range(20)]
    mp.dps = 120
    out += ("/// The first 1280 bits of 2/π after the point, the highest word first.\n"
            f"pub(crate) const TWO_OVER_PI: [u64; 20] = [{', '.join(f'{w:#018x}' for w in words)}];\n")
    (HERE / "elementary" / "tables.rs").write_text(out)


def trig_power():
    f = lambda a: (sin(a) + cos(a)) ** (a * a)
    degree = 12
    # interval = round(a·(s + q·a)); narrower to the right, where the base's zero at 3π/4 is near.
    s = mpf(float(round_to(mpf("7.499") / (mpf("1.5") + mpf("0.6") * mpf("2.25")), mpf(2) ** -12)))
    q = mpf(float(round_to(s * mpf("0.6"), mpf(2) ** -12)))
    assert mpf("1.5") * (s + q * mpf("1.5")) < mpf("7.4999")
    edge = lambda v: (-s + sqrt(s * s + 4 * q * v)) / (2 * q)
    centres, rows = [], []
    for k in range(8):
        lo = edge(k - mpf(1) / 2) if k else mpf(0)
        hi = edge(k + mpf(1) / 2) if k < 7 else mpf("1.5")
        if k == 0:
            centre, fixed = mpf(0), [mpf(1), mpf(0), mpf(0)]
        else:
            # A centre whose value is all but a double, so that no bits are lost in c0.
            centre = mpf(float((lo + hi) / 2))
            best = mpf(1)
            start = round_to(centre, mpf(2) ** -34)
            for j in range(4000):
                c = start + j * mpf(2) ** -34
                v = f(c)
                off = abs(v - mpf(float(v)))
                if off < best:
                    best, centre = off, c
            fixed = [mpf(float(f(centre)))]
        c = fit(f"trig_power {k}", lambda t: f(centre + t), lo - centre, hi - centre, degree, fixed)
        centres.append(centre)
        rows.append(c)
    out = head("The piecewise polynomial of one round of `trig_power` on [0, 1.5].")
    out += const("INDEX_SLOPE", "The interval of a is the integer nearest to a·(slope + curve·a).", s)
    out += const("INDEX_CURVE", "See `INDEX_SLOPE`.", q)
    out += const("CENTRE", "The point that each interval's polynomial is written about.", centres)
    out += (f"/// Row k holds the coefficient of t^k of the eight intervals.\n"
            f"pub(crate) const COEFFICIENT: [[f64; 8]; {degree + 1}] = [\n")
    for k in range(degree + 1):
        out += "    [" + ", ".join(rust(r[k]) for r in rows) + "],\n"
    out += "];\n"
    (HERE / "trig_power").mkdir(exist_ok=True)
    (HERE / "trig_power" / "table.rs").write_text(out)


elementary()
trig_power()
