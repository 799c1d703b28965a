#!/usr/bin/env python3
"""The flagship job beside Python's and C's best, in one run, one process each on one core.

40 M doubles in [0, 1), three rounds of (sin a + cos a)^(a*a), summed. Peers that are not
installed are named as missing. From the repository root:

    python3 -m venv target/peers
    target/peers/bin/pip install numpy numexpr numba==0.61.2 intel-cmplr-lib-rt
    cargo build --release -p pinpool-kernels --example flagship
    target/peers/bin/python benches/peers.py [c] [numba] [numexpr] [numpy] [tutorial]

numba 0.61 is the last whose wheels use Intel's vector math (SVML) where it is installed. The
script starts itself again with the venv's lib folder on the library path, so that it is found.
"""

import ctypes
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LIB = Path(sys.prefix) / "lib"
if os.environ.get("LD_LIBRARY_PATH", "").split(":")[0] != str(LIB):
    os.environ["LD_LIBRARY_PATH"] = f"{LIB}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    os.execv(sys.executable, [sys.executable, *sys.argv])

for name in ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
N, CHUNK, ROUNDS = 40_000_000, 10_000_000, 3
RESULTS = []
EXPECTED = None


def report(name, cores, seconds, total):
    """Keeps the median of the runs; the sums of all peers must agree."""
    assert abs(total / EXPECTED - 1) < 1e-9, f"{name}: {total} is not {EXPECTED}"
    RESULTS.append((name, cores, statistics.median(seconds), min(seconds)))
    print(f"{name}, {cores} core(s): median {RESULTS[-1][2]:.4f} s, best {min(seconds):.4f} s", flush=True)


def timed(name, f, runs=5, cores=1):
    f()
    seconds, total = [], 0.0
    for _ in range(runs):
        start = time.perf_counter()
        total = f()
        seconds.append(time.perf_counter() - start)
    report(name, cores, seconds, total)


def numpy_rounds(a):
    for _ in range(ROUNDS):
        a = (np.sin(a) + np.cos(a)) ** (a * a)
    return a.sum()


def blocked(a):
    return sum(numpy_rounds(a[i : i + 8192]) for i in range(0, len(a), 8192))


def ours():
    program = ROOT / "target/release/examples/flagship"
    for isa in ("avx512", "avx2"):
        run = subprocess.run([program], env=os.environ | {"PINPOOL_ISA": isa}, capture_output=True, text=True, check=True)
        for line in run.stdout.splitlines():
            found, cores, median, best, _ = line.split()
            if found == isa:
                RESULTS.append((f"ours, {isa}", int(cores), float(median), float(best)))
                print(f"ours, {isa}, {cores} core(s): median {float(median):.4f} s", flush=True)


def c_peers(a):
    here, out = ROOT / "benches/peers/peers.c", ROOT / "target/peers-c.so"
    svml = (LIB / "libsvml.so").exists()
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", str(here), "-o", str(out)]
    flags += ["-DSVML", f"-L{LIB}", "-lsvml", "-lintlc"] if svml else []
    subprocess.run(["gcc", *flags, "-lm"], check=True)
    library = ctypes.CDLL(str(out))
    pointer = a.ctypes.data_as(ctypes.c_void_p)
    names = {"tiles_libmvec": "C, gcc -Ofast, libmvec, tiles"}
    if svml:
        names |= {"tiles_svml_ha": "C, SVML high accuracy, tiles", "tiles_svml": "C, SVML default, tiles"}
    else:
        print("missing: libsvml.so (pip install intel-cmplr-lib-rt)")
    for symbol, name in names.items():
        f = getattr(library, symbol)
        f.restype, f.argtypes = ctypes.c_double, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        timed(name, lambda: f(pointer, N, ROUNDS))


def numexpr_peer(a):
    try:
        import numexpr
    except ImportError:
        return print("missing: numexpr")

    def run():
        x = a
        for _ in range(ROUNDS):
            x = numexpr.evaluate("(sin(x) + cos(x)) ** (x * x)")
        return x.sum()

    timed("numexpr", run, runs=3)


def numba_peer(a):
    try:
        import numba
        from numba.misc.numba_sysinfo import get_sysinfo
    except ImportError:
        return print("missing: numba")
    svml = get_sysinfo().get("SVML Operational")

    @numba.njit(fastmath=True)
    def run(a):
        total = 0.0
        for i in range(len(a)):
            x = a[i]
            for _ in range(3):
                x = (np.sin(x) + np.cos(x)) ** (x * x)
            total += x
        return total

    timed(f"numba fastmath, {'SVML' if svml else 'without SVML'}", lambda: run(a), runs=3)


def numpy_peer(a):
    timed("numpy, blocks of 64 KiB", lambda: blocked(a), runs=2)
    timed("numpy, whole", lambda: numpy_rounds(a), runs=2)


def tutorial(a):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        chunks = [a[i : i + CHUNK] for i in range(0, N, CHUNK)]
        timed("the tutorial: Pool(4).map, chunks pickled", lambda: sum(pool.map(numpy_rounds, chunks)), runs=2, cores=2)


def main():
    a = np.random.default_rng(12345).random(N)
    global EXPECTED
    EXPECTED = blocked(a)
    ours()
    groups = {"c": c_peers, "numba": numba_peer, "numexpr": numexpr_peer, "numpy": numpy_peer, "tutorial": tutorial}
    for name in sys.argv[1:] or groups:
        groups[name](a)
    base = {cores: seconds for name, cores, seconds, _ in reversed(RESULTS) if name == "ours, avx512"}
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    print(f"\n{model}, {os.cpu_count()} CPUs, {time.strftime('%d %B %Y')}\n")
    print("| | cores | median, s | best, s | ns an element and core | times ours |\n|---|---|---|---|---|---|")
    for name, cores, median, best in RESULTS:
        ratio = f"{median / base[cores]:.1f}" if cores in base else ""
        print(f"| {name} | {cores} | {median:.4f} | {best:.4f} | {median * cores / N * 1e9:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
