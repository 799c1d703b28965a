"""numpy as the oracle of the program's main job, and of the arrays that it leaves behind.

Run with a Python that has numpy; the only argument is the program:
    cargo build --release && python tests/python/program.py target/release/pinpool
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

PROGRAM = sys.argv[1]


def run(*args, status=0):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == status, (args, done)
    return done


def report(*args):
    return json.loads(run("run", *args, "--json", "--quiet").stdout)


def reference(a, rounds):
    """The job as the tutorial has it, summed exactly enough."""
    a = a.copy()
    for _ in range(rounds):
        a = (np.sin(a) + np.cos(a)) ** (a**2)
    return a, float(np.sum(a, dtype=np.longdouble))


def the_total_agrees_with_numpy(folder):
    n = 2_000_000
    first = f"{folder}/in.npy"
    got = report("trig-power", "--elements", str(n), "--save-input", first)
    a = np.load(first)
    assert a.shape == (n,) and a.dtype == np.float64 and 0 <= a.min() and a.max() < 1
    _, want = reference(a, 3)
    assert abs(got["total"] - want) <= 1e-13 * want, (got["total"], want)
    assert got["total_bits"] == np.float64(got["total"]).tobytes()[::-1].hex()
    return first, got


def the_bits_are_the_same_everywhere(first, got):
    cases = 0
    for backend in ["processes", "threads", "serial"]:
        for workers in [1, 2, 3, 7]:
            for source in [["--elements", str(got["elements"])], ["--input", first]]:
                other = report("trig-power", *source, "--backend", backend, "--workers", str(workers))
                for key in ["total_bits", "slots_hash"]:
                    assert other[key] == got[key], (backend, workers, source, other)
                cases += 1
    return cases


def in_place_is_what_numpy_computes(folder, first):
    after = f"{folder}/after.npy"
    sums = f"{folder}/sums.npy"
    got = report("trig-power", "--input", first, "--in-place", "--save-array", after, "--output", sums)
    want, _ = reference(np.load(first), 3)
    np.testing.assert_allclose(np.load(after), want, rtol=4e-15)
    assert np.load(sums).shape == (got["chunks"],)
    assert abs(np.load(sums).sum() - got["total"]) < 1e-6


def primes_and_factors(folder):
    out = f"{folder}/p.npy"
    numbers = np.array([0, 1, 2, 3, 4, 97, 561, 2**61 - 1, 2**64 - 59, 2**64 - 1], dtype=np.uint64)
    np.save(f"{folder}/n.npy", numbers)
    got = report("is-prime", "--input", f"{folder}/n.npy", "--output", out)
    assert np.load(out).dtype == np.bool_
    assert np.load(out).tolist() == [False, False, True, True, False, True, False, True, True, False]
    assert got["primes"] == 5
    got = report("factor", "--input", f"{folder}/n.npy", "--output", out)
    rows = np.load(out)
    assert rows.shape == (10, 16) and rows.dtype == np.uint64
    for n, row in zip(numbers[2:], rows[2:]):
        product = 1
        for p in row[row > 1]:
            product *= int(p)
        assert product == int(n), (n, row)


def numpy_sees_the_array_while_the_pool_works():
    """A named array: read during the job, changed between jobs, and kept as asked."""
    name = f"pinpool-interop-{os.getpid()}"
    path = f"/dev/shm/{name}"
    job = ["run", "trig-power", "--elements", "4M", "--in-place", "--name", name, "--keep", "--quiet", "--json"]
    try:
        child = subprocess.Popen([PROGRAM, *job], stdout=subprocess.PIPE, text=True)
        seen = None
        while child.poll() is None:
            try:
                seen = np.load(path, mmap_mode="r")
                float(seen[::1000].sum())
            except (FileNotFoundError, ValueError):
                time.sleep(0.001)
        assert child.returncode == 0 and seen is not None
        kept = np.load(path, mmap_mode="r+")
        total = float(np.sum(kept, dtype=np.longdouble))
        assert abs(json.loads(child.stdout.read())["total"] - total) <= 1e-12 * total
        assert run("segments", "list").stdout.count(name) == 1
    finally:
        if os.path.exists(path):
            os.unlink(path)
        run("segments", "gc")
    assert name not in run("segments", "list").stdout


with tempfile.TemporaryDirectory() as folder:
    first, got = the_total_agrees_with_numpy(folder)
    cases = the_bits_are_the_same_everywhere(first, got)
    in_place_is_what_numpy_computes(folder, first)
    primes_and_factors(folder)
numpy_sees_the_array_while_the_pool_works()
print(f"program: numpy {np.__version__} agrees; {cases} runs with the same bits")
