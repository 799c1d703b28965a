"""numpy as the oracle of the NPY header: what it writes opens in pinpool, and the other way round.

Run with a Python that has numpy; the only argument is the example program:
    cargo build --example numpy && python tests/python/interop.py target/debug/examples/numpy
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
from numpy.lib import format as npy

PROGRAM = sys.argv[1]
DTYPES = "|b1 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 <f4 <f8 <c8 <c16".split()
SHAPES = [(), (0,), (1,), (7,), (3, 4), (0, 5), (5, 0), (1, 1), (2, 3, 4), (2, 1, 2, 3, 1)]


def copy(dtype, source, target):
    return subprocess.run([PROGRAM, "copy", dtype, source, target], capture_output=True, text=True)


def sample(dtype, shape):
    """Any bytes are an element of these types, but for bools."""
    count = int(np.prod(shape))
    if dtype == "|b1":
        return (np.arange(count) % 3 == 0).reshape(shape)
    raw = np.random.default_rng(count).bytes(count * np.dtype(dtype).itemsize)
    return np.frombuffer(raw, dtype).reshape(shape)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def what_numpy_saves_opens_and_what_we_save_loads(folder):
    cases = 0
    for dtype in DTYPES:
        for shape in SHAPES:
            a = sample(dtype, shape)
            for version in [(1, 0), (2, 0), (3, 0)]:
                source, target = f"{folder}/in.npy", f"{folder}/out.npy"
                with open(source, "wb") as file:
                    npy.write_array(file, a, version=version)
                done = copy(dtype, source, target)
                assert done.returncode == 0, (dtype, shape, version, done.stderr)
                assert same(np.load(target), a), (dtype, shape, version)
                assert same(np.load(target, mmap_mode="r") if a.size else a, a)
                cases += 1
    with open(f"{folder}/out.npy", "rb") as file:
        npy.read_magic(file)
        npy.read_array_header_1_0(file)
        assert file.tell() == 4096
    return cases


def raw_bytes_are_void(folder):
    a = np.frombuffer(bytes(range(48)), "|V24")
    np.save(f"{folder}/v.npy", a)
    assert copy("|V24", f"{folder}/v.npy", f"{folder}/w.npy").returncode == 0
    assert same(np.load(f"{folder}/w.npy"), a)


def a_file_is_changed_in_place(folder):
    path = f"{folder}/inplace.npy"
    a = np.linspace(0, 1, 60).reshape(3, 4, 5)
    np.save(path, a)
    before = os.stat(path).st_ino
    subprocess.run([PROGRAM, "negate", path], check=True)
    assert np.array_equal(np.load(path), -a) and os.stat(path).st_ino == before


def both_sides_see_each_others_writes():
    name = f"pinpool-interop-{os.getpid()}"
    child = subprocess.Popen(
        [PROGRAM, "share", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()

    def total():
        child.stdin.write("\n")
        child.stdin.flush()
        return float(child.stdout.readline())

    a = np.load(f"/dev/shm/{name}", mmap_mode="r+")
    assert a.shape == (1000, 257) and a.dtype == np.float64 and a.ctypes.data % 4096 == 0
    assert np.array_equal(a.ravel(), np.arange(257000.0))
    assert total() == a.sum()
    a[999, 256] += 1e6
    assert total() == np.arange(257000.0).sum() + 1e6
    child.stdin.close()
    assert child.wait() == 0 and not os.path.exists(f"/dev/shm/{name}")


def what_cannot_be_used_is_refused_with_the_reason(folder):
    path = f"{folder}/bad.npy"
    records = np.zeros(3, [("a", "<f4"), ("b", "<i4")])
    cases = [
        (np.zeros(3, ">f8"), "big-endian"),
        (np.asfortranarray(np.zeros((2, 3))), "ascontiguousarray"),
        (records, "structured"),
        (np.array([1, None], object), "objects"),
        (np.zeros(3, "<f2"), "'<f2' are not supported"),
        (np.array(["ab"]), "'<U2' are not supported"),
        (np.zeros(3, "<M8[s]"), "'<M8[s]' are not supported"),
        (np.zeros(3, "<f4"), "dtype <f4, and <f8 is asked for"),
    ]
    for array, reason in cases:
        np.save(path, array, allow_pickle=True)
        done = copy("<f8", path, f"{folder}/none.npy")
        assert done.returncode == 1 and reason in done.stderr, (array.dtype, done.stderr)
    assert not os.path.exists(f"{folder}/none.npy")
    # The orders are the same where one axis is all there is.
    np.save(path, np.asfortranarray(np.zeros((1, 5))))
    assert copy("<f8", path, f"{folder}/one.npy").returncode == 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        cases = what_numpy_saves_opens_and_what_we_save_loads(folder)
        raw_bytes_are_void(folder)
        a_file_is_changed_in_place(folder)
        what_cannot_be_used_is_refused_with_the_reason(folder)
    both_sides_see_each_others_writes()
    print(f"numpy {np.__version__}: {cases} files and all other cases agree")


main()
