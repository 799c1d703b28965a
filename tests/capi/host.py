"""Python as a host of libpinpool.so, by ctypes alone: host.py LIBDIR KERNELS OTHER_KERNELS.

LIBDIR holds libpinpool.so.1 and pinpool-worker; it is copied before anything in it is harmed.
"""
import _ctypes
import ctypes as c
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

OK, ARRAY, START, FOREIGN, CRASH, POOL = 0, 3, 5, 6, 8, 12
U64, F64, READ, UPDATE, OUT = 9, 11, 0, 1, 2


class Arg(c.Structure):
    _fields_ = [("array", c.c_void_p), ("access", c.c_uint32), ("chunk_rows", c.c_size_t)]


class Job(c.Structure):
    _fields_ = [
        ("size", c.c_size_t), ("args", c.POINTER(Arg)), ("nargs", c.c_size_t),
        ("params", c.c_void_p), ("params_bytes", c.c_size_t), ("chunks", c.c_uint64),
        ("stream", c.c_uint64), ("time_limit", c.c_double), ("chunk_timeout", c.c_double),
        ("fail_on_death", c.c_bool), ("progress", c.c_void_p), ("progress_data", c.c_void_p),
        ("progress_seconds", c.c_double),
    ]


KERNEL = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_void_p)


class Host:
    def __init__(self, library):
        self.lib = c.CDLL(library)
        for name in ("pp_last_error", "pp_version"):
            getattr(self.lib, name).restype = c.c_char_p
        for name in ("pp_options_new", "pp_array_data"):
            getattr(self.lib, name).restype = c.c_void_p
        assert self.lib.pp_abi_version() == 1

    def error(self):
        return self.lib.pp_last_error().decode()

    def try_pool(self, **options):
        o, pool = c.c_void_p(self.lib.pp_options_new()), c.c_void_p()
        for name, value in options.items():
            name = name.replace("_", "-").encode()
            assert self.lib.pp_options_set(o, name, str(value).encode()) == OK, self.error()
        status = self.lib.pp_pool_new(o, c.byref(pool))
        self.lib.pp_options_free(o)
        return status, pool

    def pool(self, **options):
        status, pool = self.try_pool(**options)
        assert status == OK, self.error()
        return pool

    def pid(self, pool, worker):
        pid = c.c_uint32()
        assert self.lib.pp_pool_worker(pool, c.c_size_t(worker), c.byref(pid), None) == OK
        return pid.value

    def zeros(self, n):
        array = c.c_void_p()
        assert self.lib.pp_array_zeros(F64, c.c_size_t(1), c.byref(c.c_size_t(n)), c.byref(array)) == OK
        data = (c.c_double * n).from_address(self.lib.pp_array_data(array))
        return array, data

    def job(self, array, access, rows, params=None):
        job = Job(size=c.sizeof(Job), nargs=1, stream=2**64 - 1, progress_seconds=0.1)
        self.args = (Arg * 1)(Arg(array, access, rows))
        job.args = self.args
        if params is not None:
            job.params, job.params_bytes = c.cast(c.byref(params), c.c_void_p), c.sizeof(params)
            self.params = params
        return job

    def load(self, path, symbol):
        kernel = c.c_void_p()
        status = self.lib.pp_kernel_load(path.encode(), symbol.encode(), c.byref(kernel))
        assert status == OK, self.error()
        return kernel


def main():
    libdir, kernels, other = sys.argv[1:]
    folder = tempfile.mkdtemp(prefix="pinpool-host-")
    try:
        own = os.path.join(folder, "lib")
        shutil.copytree(libdir, own, symlinks=True)
        k = shutil.copy(kernels, folder)
        run(own, k, other)
    finally:
        shutil.rmtree(folder)


def run(own, kernels, other):
    library, worker = os.path.join(own, "libpinpool.so.1"), os.path.join(own, "pinpool-worker")
    host = Host(library)
    lib = host.lib
    pool = host.pool(workers=2, oversubscribe=1, seed=42)
    # The workers are the small program, and no Python.
    pid = host.pid(pool, 0)
    assert os.readlink(f"/proc/{pid}/exe") == worker
    maps = open(f"/proc/{pid}/maps").read()
    assert library in maps and "python" not in maps.lower(), maps
    environ = open(f"/proc/{pid}/environ").read()
    assert "PINPOOL_LIBRARY" in environ  # what it was started with

    x, data = host.zeros(1000)
    assert lib.pp_builtin(pool, b"fill_uniform", c.byref(host.job(x, OUT, 100)), None) == OK
    assert 450 < sum(data) < 550 and data[0] != data[100]
    a_fork_has_no_pool(host, pool, x, kernels)
    kernels_that_are_unloaded_leave_nothing(host, pool, x, other)
    before = list(data)
    sums = c.c_void_p()
    scale = host.load(kernels, "scale")
    job = host.job(x, UPDATE, 100, c.c_double(2.0))
    assert lib.pp_map(pool, scale, c.byref(job), F64, c.byref(sums)) == OK, host.error()
    assert list(data) == [2 * v for v in before]
    lib.pp_array_free(sums)

    # A crash in the worker is an error here, which names kernel and chunk.
    crash = host.load(kernels, "crash_in_7")
    status = lib.pp_for_each(pool, crash, c.byref(host.job(x, UPDATE, 100)))
    assert status == CRASH and "chunk 7 of kernel crash_in_7" in host.error(), host.error()
    assert list(data) == [2 * v for v in before]

    # Code that no file holds.
    callback = KERNEL(lambda chunk, result: 0)
    status = lib.pp_for_each(pool, callback, c.byref(host.job(x, UPDATE, 100)))
    assert status == FOREIGN and "no file holds" in host.error(), host.error()

    # The kernel's object is replaced: workers that load it now say so, others go on.
    shutil.copy(other, kernels + ".new")
    os.rename(kernels + ".new", kernels)
    job = host.job(x, UPDATE, 100, c.c_double(0.5))
    assert lib.pp_map(pool, scale, c.byref(job), F64, None) != OK  # no place for the results
    late = host.pool(workers=1, oversubscribe=1)
    status = lib.pp_map(late, scale, c.byref(job), F64, c.byref(sums))
    assert status == FOREIGN and "build ids differ" in host.error(), (status, host.error())
    lib.pp_pool_free(late)

    # The library's own file is replaced by another build while the pool lives: a worker that is
    # started anew refuses to run it.
    doctor(library)
    for _ in range(10):
        os.kill(host.pid(pool, 0), signal.SIGKILL)
        os.kill(host.pid(pool, 1), signal.SIGKILL)
        time.sleep(0.3)
        job = host.job(x, UPDATE, 100, c.c_double(0.5))
        if lib.pp_for_each(pool, crash, c.byref(job)) != CRASH and "another build" in host.error():
            break
    else:
        raise AssertionError(host.error())
    lib.pp_pool_free(pool)
    status, _ = host.try_pool(workers=1, oversubscribe=1)
    assert status == START and "start the program anew" in host.error(), host.error()

    # Threads need no other program, and code of this program may run in them.
    pool = host.pool(workers=2, oversubscribe=1, backend="threads")
    status = lib.pp_builtin(pool, b"trig_power", c.byref(host.job(x, UPDATE, 100, c.c_uint32(3))), None)
    assert status == OK, host.error()
    lib.pp_pool_free(pool)
    lib.pp_array_free(x)
    print("python host: ok")


def a_fork_has_no_pool(host, pool, x, kernels):
    """Neither it, nor its jobs, nor arrays: each call says so."""
    lib, pending, results = host.lib, c.c_void_p(), c.c_void_p()
    job = host.job(x, READ, 10)
    assert lib.pp_start(pool, host.load(kernels, "sleeps"), c.byref(job), U64, c.byref(pending)) == OK
    child = os.fork()
    if child == 0:
        try:
            number, total = c.c_uint64(), c.c_double()
            for call in (
                lambda: lib.pp_pending_wait(pending, c.c_double(-1)),
                lambda: lib.pp_pending_wait(pending, c.c_double(0)),
                lambda: lib.pp_pending_progress(pending, c.byref(number), None),
                lambda: lib.pp_pending_cancel(pending),
                lambda: lib.pp_pending_result(pending, c.byref(results)),
                lambda: lib.pp_pool_worker(pool, c.c_size_t(0), c.byref(number), None),
                lambda: lib.pp_pool_cancel_all(pool),
                lambda: lib.pp_builtin(pool, b"sum", c.byref(job), c.byref(results)),
            ):
                assert call() == POOL and "is a fork" in host.error(), host.error()
            lib.pp_pending_is_over.restype = c.c_bool
            assert lib.pp_pending_is_over(pending) and lib.pp_pool_workers(pool) == 0
            assert lib.pp_array_data(x) is None and "is a fork" in host.error()
            assert lib.pp_array_total_f64(x, c.byref(total)) == ARRAY
            assert lib.pp_array_save(x, b"/nowhere/x.npy") == ARRAY and "is a fork" in host.error()
            lib.pp_pending_free(pending)
            lib.pp_pool_free(pool)
            lib.pp_array_free(x)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert lib.pp_pending_result(pending, c.byref(results)) == OK, host.error()
    lib.pp_pending_free(pending)
    lib.pp_array_free(results)


def kernels_that_are_unloaded_leave_nothing(host, pool, x, built):
    """Each time that an object was unloaded the places of kernels are found anew."""
    def memory():
        links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
        return sum(os.path.lexists(link) and "memfd:" in os.readlink(link) for link in links)

    before = memory()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(12):
            kernels = c.CDLL(shutil.copy(built, os.path.join(folder, f"{i}.so")))
            sleeps = c.cast(kernels.sleeps, c.c_void_p)
            assert host.lib.pp_for_each(pool, sleeps, c.byref(host.job(x, READ, 1000))) == OK, host.error()
            _ctypes.dlclose(kernels._handle)
    assert memory() - before < 4, (before, memory())


def doctor(library):
    """Puts a copy with another build id in the library's place."""
    with open(library, "rb") as file:
        code = bytearray(file.read())
    at = code.find(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")
    assert at > 0, "the library has no build id"
    code[at + 16] ^= 0xFF
    with open(library + ".new", "wb") as file:
        file.write(code)
    os.rename(library + ".new", library)


if __name__ == "__main__":
    main()
