"""The Python module pinpool, as one from multiprocessing would use it.

Run with a Python that has the wheel, numpy and tqdm; the arguments are the program `pinpool`, whose
bits must be the same, and a C compiler:
    python tests/python/module.py target/release/pinpool cc
"""

import copy
import ctypes
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import numpy as np
import pinpool

PROGRAM, CC = sys.argv[1:3]

SOURCE = r"""
#include <pinpool.h>
#include <signal.h>
#include <unistd.h>
struct line { double slope, offset; };

int32_t line(const pp_chunk *chunk, void *result) {
    const struct line *p = chunk->params;
    double *a = chunk->parts[0].data, sum = 0;
    for (size_t i = 0; i < chunk->parts[0].len; i++)
        sum += a[i] = p->slope * a[i] + p->offset;
    *(double *)result = sum;
    return 0;
}
int32_t number(const pp_chunk *chunk, void *result) {
    *(uint64_t *)result = chunk->index * 10;
    return 0;
}
int32_t pair(const pp_chunk *chunk, void *result) {
    struct line *p = result;
    p->slope = (double)chunk->index;
    p->offset = 0.5;
    return 0;
}
int32_t refuses(const pp_chunk *chunk, void *result) {
    if (chunk->index != 3) return 0;
    pp_set_message(chunk, "three is no number to work with");
    return 42;
}
int32_t crashes(const pp_chunk *chunk, void *result) {
    if (chunk->index == 2) *(volatile int *)8 = 1;
    return 0;
}
int32_t bytes(const pp_chunk *chunk, void *result) {
    *(uint64_t *)result = chunk->params_bytes;
    return 0;
}
int32_t sleeps(const pp_chunk *chunk, void *result) {
    usleep(20000);
    return 0;
}
"""


def raises(kind, text, call, *args, **options):
    try:
        call(*args, **options)
    except kind as error:
        assert text in str(error), (text, str(error))
        return error
    raise AssertionError(f"no {kind.__name__} from {call}")


def compile_kernels(path, source, built):
    with open(path, "w") as file:
        file.write(source)
    flags = ["-O2", "-shared", "-fPIC", f"-I{pinpool.get_include()}"]
    subprocess.run([CC, *flags, "-o", built, path, pinpool.get_library()], check=True)


def library(folder):
    compile_kernels(f"{folder}/mine.c", SOURCE, f"{folder}/libmine.so")
    return f"{folder}/libmine.so"


def arrays_are_numpy_arrays_in_place():
    a = pinpool.SharedArray((3, 4), np.int32)
    assert isinstance(a, np.ndarray) and a.shape == (3, 4) and a.dtype == np.int32 and not a.any()
    a[1, 2] = 7
    view = memoryview(a._owner)
    assert view.shape == (3, 4) and view.format == "i" and view[1, 2] == 7
    assert a.flags.c_contiguous and a.flags.writeable and a.ctypes.data == np.asarray(view).ctypes.data
    assert type(a + 1) is np.ndarray and type(a.sum()) is np.int64
    same, a[1, 2] = a, 7
    a += 1
    a *= 2
    assert a is same and a[1, 2] == 16 and a[0, 0] == 2
    assert np.add(a, 1, out=a) is a and type(np.sqrt(a)) is np.ndarray
    a.chunks(1)
    zero = pinpool.SharedArray(())
    zero -= 3
    assert isinstance(zero, pinpool.SharedArray) and zero == -3
    assert a[1].base is not None and a[1]._owner is None
    raises(TypeError, "take the shared array itself", a[1].chunks, 1)
    for dtype in "|b1 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 <f4 <f8 <c8 <c16".split():
        b = pinpool.SharedArray(5, dtype)
        assert b.dtype == np.dtype(dtype) and b.shape == (5,) and b.nbytes == 5 * b.itemsize
    for shape in [0, (0, 3), (), (2, 0)]:
        assert pinpool.SharedArray(shape).size == int(np.prod(shape))
    fields = np.dtype([("x", "<f8"), ("n", "<u4"), ("m", "<u4")])
    c = pinpool.SharedArray(4, fields)
    c["x"] = 1.5
    assert c[3]["x"] == 1.5
    raises(TypeError, "cannot be shared", pinpool.SharedArray, 3, object)
    raises(TypeError, "cannot be shared", pinpool.SharedArray, 3, ">f8")
    raises(ValueError, "negative", pinpool.SharedArray, -1)
    error = raises(pinpool.NoMemoryError, "free", pinpool.SharedArray, 1 << 46)
    assert isinstance(error, MemoryError)
    view = np.asarray(pinpool.SharedArray(1000))  # outlives the object that made it
    view[:] = 1
    assert view.sum() == 1000


def names_and_files(folder):
    name = f"pinpool-python-{os.getpid()}"
    a = pinpool.SharedArray(100, name=name)
    a[:] = np.arange(100)
    assert np.load(f"/dev/shm/{name}", mmap_mode="r")[99] == 99
    b = pinpool.SharedArray.open(name)
    b[0] = 5
    assert a[0] == 5 and a.name == name
    read_only = pinpool.SharedArray.open(name, writable=False)
    assert not read_only.flags.writeable
    raises(pinpool.ArrayError, "exists already", pinpool.SharedArray, 3, name=name)
    again = pickle.loads(pickle.dumps(a))
    again[1] = 77
    assert a[1] == 77
    assert type(copy.deepcopy(a)) is np.ndarray
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        # What multiprocessing does with Python functions, over the same memory.
        assert workers.map(tenfold, [(a, i) for i in range(8)]) == list(range(8))
    assert list(a[2:8]) == [20, 30, 40, 50, 60, 70]
    del a, b, read_only, again
    assert not os.path.exists(f"/dev/shm/{name}")
    raises(pinpool.ArrayError, "does not exist", pinpool.SharedArray.open, name)
    raises(TypeError, "give it one", pickle.dumps, pinpool.SharedArray(3))
    path = f"{folder}/a.npy"
    c = pinpool.SharedArray(10, np.uint64, file=path)
    c[:] = 3
    assert c.total() == 30 and np.load(path).sum() == 30
    d = pinpool.SharedArray.copy_of(np.load(path) * 2)
    d.save(path)
    assert pinpool.SharedArray.open(file=path).total() == 60


def tenfold(arg):
    array, i = arg
    array[i] = 10 * i
    return i


def the_flagship_has_the_bits_of_the_program(pool, array):
    printed = subprocess.run(
        [PROGRAM, "run", "trig-power", "--elements", str(array.size), "--seed", str(pool.seed), "--json"],
        capture_output=True, text=True, check=True,
    ).stdout
    want = json.loads(printed)
    chunk = array.default_chunk
    job = {"stream": 0}
    pool.for_each("fill_uniform", array.chunks_out(chunk), **job)
    sums = pool.map("trig_power_sum", array.chunks(chunk), rounds=3)
    total = np.float64(sums.total())
    assert total.tobytes()[::-1].hex() == want["total_bits"].removeprefix("0x"), (total, want)


def primes(pool):
    numbers = pinpool.SharedArray(1000, np.uint64)
    prime = pinpool.SharedArray(1000, bool)
    pool.for_each("fill_range", numbers.chunks_out(64), low=10**14, high=5 * 10**14)
    assert numbers.min() >= 10**14 and numbers.max() < 5 * 10**14
    pool.for_each("is_prime", numbers.chunks(64), prime.chunks_out(64))
    factors = pinpool.SharedArray((1000, 17), np.uint64)
    pool.for_each("factor", numbers.chunks(64), factors.chunks_out(64))
    for n, is_prime, row in zip(numbers, prime, factors):
        powers = row[15:].tobytes()[:15]
        product = 1
        for p, e in zip(row[:15], powers):
            product *= int(p) ** e if e else 1
        assert product == int(n) and is_prime == (sum(powers) == 1), (n, row)
    counts = pool.map("count_primes", low=0, high=10**6, span=10**5, chunks=10)
    assert counts.total() == 78498
    assert pool.call("prime_pi", n=10**9) == 50847534


def kernels_of_shared_libraries(pool, built):
    kernel = pinpool.Kernel(built, "line")
    a = pinpool.SharedArray.copy_of(np.arange(1000.0))
    params = np.array((2.0, 1.0), np.dtype([("slope", "<f8"), ("offset", "<f8")]))
    sums = pool.map(kernel, a.chunks_mut(100), params=params, result=np.float64)
    assert sums.shape == (10,) and sums.sum() == a.sum() == 2 * 499500 + 1000
    assert list(pool.map(pinpool.Kernel(built, "number"), chunks=4, result="<u8")) == [0, 10, 20, 30]
    pairs = pool.map(pinpool.Kernel(built, "pair"), chunks=3, result=params.dtype)
    assert pairs["slope"].tolist() == [0, 1, 2] and (pairs["offset"] == 0.5).all()
    assert pool.call(pinpool.Kernel(built, "number"), result="<u8") == 0
    parameters_are_plain_data(pool, built)
    error = raises(pinpool.KernelError, "three is no number", pool.for_each, pinpool.Kernel(built, "refuses"), chunks=8)
    assert (error.code, error.chunk) == (42, 3)
    error = raises(pinpool.CrashError, "chunk 2", pool.for_each, pinpool.Kernel(built, "crashes"), chunks=8)
    assert (error.signal, error.chunk, error.deaths) == (signal.SIGSEGV, 2, 3)
    assert pool.call(pinpool.Kernel(built, "number"), result="<u8") == 0, "the pool lives on"
    loaded = ctypes.CDLL(built)
    address = ctypes.cast(loaded.number, ctypes.c_void_p).value
    assert list(pool.map(pinpool.Kernel.from_address(address), chunks=2, result="<u8")) == [0, 10]

    @ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
    def of_python(chunk, result):
        return 0

    address = ctypes.cast(of_python, ctypes.c_void_p).value
    raises(pinpool.ForeignKernelError, "", pool.for_each, pinpool.Kernel.from_address(address), chunks=1)
    raises(pinpool.Error, "nothing", pinpool.Kernel, built, "nothing")
    raises(pinpool.Error, "nowhere.so", pinpool.Kernel, "./nowhere.so", "line")


def parameters_are_plain_data(pool, built):
    a = pinpool.SharedArray(10)
    line = pinpool.Kernel(built, "line")
    for params in [np.array([2.0, 1.0]), np.array([2.0, 1.0]).tobytes(), bytearray(np.array([2.0, 1.0]))]:
        a[:] = 3
        assert pool.map(line, a.chunks_mut(5), params=params, result=np.float64).total() == 70
    byte = pinpool.Kernel(built, "bytes")
    for params, size in [(np.float64(2), 8), (np.float32(0), 4), (np.bool_(False), 1), (None, 0), (b"", 0)]:
        assert pool.call(byte, params=params, result="<u8") == size, params
    for params in [2.0, 0, True, 1j]:
        raises(TypeError, "no size", pool.call, byte, params=params, result="<u8")
    raises(TypeError, "not both", pool.map, "trig_power_sum", a.chunks(1), rounds=1, params=np.uint32(0))


def the_example_of_the_page(pool, folder):
    """The kernel `scale`, as docs/python.md has it."""
    with open(os.path.join(os.path.dirname(__file__), "../../docs/python.md")) as page:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read(), re.M | re.S)
    (source,) = [text for kind, text in blocks if kind == "c"]
    (program,) = [text for kind, text in blocks if kind == "python" and "libscale.so" in text]
    compile_kernels(f"{folder}/scale.c", source, f"{folder}/libscale.so")
    a = pinpool.SharedArray(100_000)
    a[:] = 1.5
    names = {"pinpool": pinpool, "np": np, "pool": pool, "a": a}
    before = os.getcwd()
    os.chdir(folder)
    try:
        exec(program, names)
    finally:
        os.chdir(before)
    assert names["sums"].total() == 300_000 == a.sum()


def waiting_progress_and_cancelling(pool, built):
    sleeps = pinpool.Kernel(built, "sleeps")
    told = []
    pool.for_each(sleeps, chunks=20, progress=lambda done, chunks: told.append((done, chunks)))
    assert told[-1] == (20, 20) and len(told) > 2 and told == sorted(told), told
    pool.for_each(sleeps, chunks=4, progress=True)
    job = pool.start(sleeps, chunks=10_000)
    raises(pinpool.TimeLimitError, "it goes on", job.get, 0.05)
    assert not job.ready() and not job.wait(0.01)
    done, chunks = job.progress()
    assert done < chunks == 10_000
    job.cancel()
    raises(pinpool.CancelledError, "", job.get)
    raises(pinpool.CancelledError, "", job.get)  # and again
    raises(pinpool.TimeLimitError, "", pool.for_each, sleeps, chunks=10_000, time_limit=0.1)
    several = [pool.start(pinpool.Kernel(built, "number"), chunks=n, result="<u8") for n in (1, 2, 3)]
    assert [len(job.get()) for job in several] == [1, 2, 3] and several[0].get() is several[0].get()
    assert job.progress()[0] >= done
    start = time.monotonic()
    del job
    job = pool.start(sleeps, chunks=10_000)
    del job  # dropped: cancelled
    assert time.monotonic() - start < 60


def one_outcome_for_every_thread(pool, built):
    job = pool.start(pinpool.Kernel(built, "sleeps"), chunks=10)
    fails = pool.start(pinpool.Kernel(built, "refuses"), chunks=8)
    numbers = pool.start(pinpool.Kernel(built, "number"), chunks=1000, result="<u8")
    heard, ready = [], threading.Barrier(8)

    def ask():
        ready.wait()
        results = numbers.get()
        try:
            fails.get()
        except pinpool.KernelError as error:
            heard.append((id(results), error.code, job.get(), job.wait(), numbers.progress()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [(id(numbers.get()), 42, None, True, (1000, 1000))] * 8, heard


def leaving_a_pool_waits_for_its_jobs(built):
    sleeps, number = pinpool.Kernel(built, "sleeps"), pinpool.Kernel(built, "number")
    with pinpool.Pool(2, oversubscribe=True) as pool:
        pids = [pid for pid, _ in pool.whereabouts()]
        job = pool.start(sleeps, chunks=40)
        numbers = pool.start(number, chunks=3, result="<u8")
        fails = pool.start(pinpool.Kernel(built, "refuses"), chunks=8)
    assert job.progress() == (40, 40) and job.ready()
    # The workers are gone although the handles are there, and these have what became of the jobs.
    end = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert list(numbers.get()) == [0, 10, 20] and job.get() is None
    raises(pinpool.KernelError, "three", fails.get)
    raises(pinpool.PoolError, "closed", pool.start, sleeps, chunks=1)
    pool.close()


def leaving_a_pool_can_be_interrupted(built):
    code = f"""
import pinpool, os, signal, threading
try:
    with pinpool.Pool(2, oversubscribe=True) as pool:
        job = pool.start(pinpool.Kernel({built!r}, "sleeps"), chunks=100_000)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
except KeyboardInterrupt:
    try:
        job.get()
    except pinpool.CancelledError:
        print("interrupted, and the job is stopped")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "interrupted, and the job is stopped\n", run


def interrupts(built):
    # In a process of its own, whose main thread waits for a long job when the signal comes.
    code = f"""
import pinpool, os, signal, threading
pool = pinpool.Pool(2, oversubscribe=True)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    pool.for_each(pinpool.Kernel({built!r}, "sleeps"), chunks=100_000)
except KeyboardInterrupt:
    assert pool.call(pinpool.Kernel({built!r}, "number"), result="<u8") == 0
    print("interrupted, and the pool lives on")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "interrupted, and the pool lives on\n", run


def a_killed_worker_changes_nothing(pool):
    a = pinpool.SharedArray(400_000)
    pool.for_each("fill_uniform", a.chunks_out(1000), stream=7)
    undisturbed = np.array(a)
    want = pool.map("trig_power_in_place_sum", a.chunks_mut(1000), rounds=3).total()
    stop = threading.Event()

    def kill():
        while not stop.wait(0.003):
            try:
                os.kill(pool.whereabouts()[0][0], signal.SIGKILL)
            except ProcessLookupError:
                pass

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for _ in range(20):
            a[:] = undisturbed
            assert pool.map("trig_power_in_place_sum", a.chunks_mut(1000), rounds=3).total() == want
    finally:
        stop.set()
        killer.join()
    assert pool.deaths > 0


def bad_input(pool):
    a = pinpool.SharedArray(10)
    raises(TypeError, "multiprocessing", pool.map, lambda x: x, a.chunks(1))
    raises(TypeError, "a.chunks(n)", pool.map, "sum", a)
    raises(TypeError, "a.chunks(n)", pool.map, "sum", np.zeros(3))
    raises(pinpool.InvalidError, "there is no built-in kernel", pool.map, "nonsense", a.chunks(1))
    raises(pinpool.InvalidError, "there is no built-in kernel", pool.map, "nonsense", a.chunks(1), x=1)
    raises(TypeError, "rounds", pool.map, "trig_power_sum", a.chunks(1), round=3)
    raises(ValueError, "out of range", pool.map, "trig_power_sum", a.chunks(1), rounds=-1)
    raises(TypeError, "no size", pool.map, "trig_power_sum", a.chunks(1), params=3)
    raises(pinpool.InvalidError, "", pool.map, "is_prime", a.chunks(1))
    raises(ValueError, "at least one row", a.chunks, 0)
    raises(pinpool.Error, "", pinpool.Pool, bind="nonsense")
    raises(pinpool.Error, "", pinpool.Pool, 100_000)
    assert "trig_power_sum" in pinpool.builtins()


def workers_run_no_python(pool):
    for pid, _ in pool.whereabouts():
        with open(f"/proc/{pid}/maps") as maps:
            assert "libpython" not in maps.read()
        assert "pinpool-worker" in os.readlink(f"/proc/{pid}/exe")


def in_a_fork(act):
    """Has a forked child do it; whatever goes wrong there is its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def forked_children_have_no_pool(pool, built):
    array = pinpool.SharedArray(100)
    job = pool.start(pinpool.Kernel(built, "sleeps"), array.chunks(1))
    over = pool.start(pinpool.Kernel(built, "number"), chunks=2, result="<u8")
    assert list(over.get()) == [0, 10]
    # It is waiting, inside of the library, when the fork comes.
    waits = threading.Thread(target=job.get)
    waits.start()

    def child():
        for call in [
            job.wait, job.ready, job.get, job.progress, job.cancel, over.get, over.ready, over.progress,
            pool.whereabouts, pool.cancel_all, lambda: pool.workers, lambda: pool.seed,
            lambda: pool.deaths, lambda: pool.backend, lambda: pool.call("prime_pi", n=10),
            lambda: pool.map("sum", array.chunks(10)),
        ]:
            raises(pinpool.PoolError, "is a fork", call)
        for call in [array.total, lambda: array.save("/nowhere/a.npy"), lambda: memoryview(array._owner)]:
            raises(pinpool.ArrayError, "is a fork", call)
        assert "forked" in repr(pool)
        with pinpool.Pool(1, backend="threads") as own:
            assert own.call("prime_pi", n=10) == 4
        pool.close()
        raises(pinpool.PoolError, "closed", pool.whereabouts)

    in_a_fork(child)
    in_a_fork(lambda: raises(ZeroDivisionError, "", leave_by_an_error, pool))
    fork = multiprocessing.get_context("fork")
    with fork.Pool(1) as workers:
        assert workers.apply(pool_is_there) == "PoolError"
    waits.join()
    assert job.progress() == (100, 100)
    assert pool.call("prime_pi", n=10) == 4


def leave_by_an_error(pool):
    with pool:
        raise ZeroDivisionError


def pool_is_there():
    try:
        return INHERITED.workers
    except pinpool.Error as error:
        return type(error).__name__


INHERITED = None


def main():
    global INHERITED
    assert pinpool.__version__ == pinpool.version()
    arrays_are_numpy_arrays_in_place()
    with tempfile.TemporaryDirectory() as folder:
        built = library(folder)
        names_and_files(folder)
        with pinpool.Pool(2, oversubscribe=True, seed=12) as pool:
            workers_run_no_python(pool)
            the_flagship_has_the_bits_of_the_program(pool, pinpool.SharedArray(1_000_003))
            primes(pool)
            kernels_of_shared_libraries(pool, built)
            waiting_progress_and_cancelling(pool, built)
            a_killed_worker_changes_nothing(pool)
            bad_input(pool)
            the_example_of_the_page(pool, folder)
            one_outcome_for_every_thread(pool, built)
            INHERITED = pool
            forked_children_have_no_pool(pool, built)
        raises(pinpool.PoolError, "closed", pool.map, "sum")
        for backend in ["threads", "serial"]:
            with pinpool.Pool(1, backend=backend, seed=12) as pool:
                the_flagship_has_the_bits_of_the_program(pool, pinpool.SharedArray(100_003))
                primes(pool)
        leaving_a_pool_waits_for_its_jobs(built)
        leaving_a_pool_can_be_interrupted(built)
        interrupts(built)
    left = [name for name in os.listdir("/dev/shm") if f"-{os.getpid()}" in name and "python" in name]
    assert not left, left
    print("the Python module: all as it should be")


if __name__ == "__main__":
    main()
