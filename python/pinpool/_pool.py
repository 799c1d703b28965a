"""Pools, and the jobs that are under way in them."""

import re
import struct
import threading
import time
import weakref

import numpy as np

from . import _pinpool
from ._array import Chunks, SharedArray, dtype_code
from ._errors import InvalidError, PoolError, TimeLimitError

# How long a wait goes on before Python looks at its signals.
_LOOK_SECONDS = 0.05

_FORMATS = {"uint32_t": "I", "uint64_t": "Q"}

Kernel = _pinpool.Kernel


def builtins():
    """Name and signature of each built-in kernel."""
    return dict(_pinpool.builtins())


def _parameters(signature):
    """Format and names of a built-in kernel's parameters: "(read double; uint32_t rounds) -> …"."""
    found = re.match(r"\((?:[^;)]*;)?\s*((?:uint32_t|uint64_t)[^);]*)\)", signature)
    if not found:
        return "", []
    kind, names = found[1].split(None, 1)
    names = [name.strip() for name in names.split(",")]
    return "<" + _FORMATS[kind] * len(names), names


def _pack(kernel, params, named):
    """The bytes of a job's parameters."""
    if not named:
        if params is None:
            return b""
        # Before plain numbers are refused: an np.float64 is a float too.
        if isinstance(params, (np.generic, np.ndarray)):
            return params.tobytes()
        if isinstance(params, (int, float, complex)):
            raise TypeError("a plain number has no size; give np.float64(…), np.uint32(…) or bytes")
        return bytes(params)
    if not isinstance(kernel, str):
        raise TypeError("parameters have names for built-in kernels only; give the others as params=")
    signature = builtins().get(kernel)
    if signature is None:
        raise InvalidError(f"there is no built-in kernel '{kernel}'; pinpool.builtins() lists them")
    if params is not None:
        raise TypeError("parameters are given by name or as params=, not both")
    form, names = _parameters(signature)
    if sorted(names) != sorted(named):
        raise TypeError(f"{kernel} takes {', '.join(names) or 'no parameters'}: {signature}")
    try:
        return struct.pack(form, *(int(named[name]) for name in names))
    except struct.error as error:
        raise ValueError(f"a parameter of {kernel} is out of range: {error}") from None


class Pool:
    """Worker processes, each pinned to a core, that run kernels over shared arrays.

    A kernel is the name of a built-in one (`pinpool.builtins()`), or a function of a shared
    library that C, Fortran or Rust made: `pinpool.Kernel("./libmine.so", "my_kernel")`. Workers
    run no Python.

    All options are those of the program `pinpool`: `bind` is close, spread, primary, none, compact,
    scatter or list:…; `backend` is processes, threads or serial.
    """

    def __init__(self, workers=None, *, bind=None, places=None, workers_per_core=None,
                 oversubscribe=False, seed=None, backend=None, name=None,
                 max_chunks_per_worker=None, cancel_grace=None, env=None, worker_program=None):
        options = {
            "workers": workers,
            "bind": bind,
            "places": places,
            "workers-per-core": workers_per_core,
            "oversubscribe": 1 if oversubscribe else None,
            "seed": seed,
            "backend": backend,
            "name": name,
            "max-chunks-per-worker": max_chunks_per_worker,
            "cancel-grace-ms": None if cancel_grace is None else round(cancel_grace * 1000),
            "worker-program": worker_program,
        }
        options = [(key, str(value)) for key, value in options.items() if value is not None]
        env = [(str(key), str(value)) for key, value in (env or {}).items()]
        self._raw = _pinpool.Pool(options, env)
        # For `close`; what nobody holds any more has been cancelled.
        self._jobs = weakref.WeakSet()
        self._jobs_lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        if self._raw is None:
            return "<pinpool.Pool, closed>"
        if self._raw.is_forked:
            return "<pinpool.Pool of the process that this one was forked from>"
        return f"<pinpool.Pool of {self.workers} workers ({self.backend})>"

    def _pool(self):
        if self._raw is None:
            raise PoolError("the pool is closed; build another one")
        return self._raw

    @property
    def workers(self):
        """How many workers it has."""
        return self._pool().workers

    @property
    def deaths(self):
        """Deaths of workers that it has recovered from."""
        return self._pool().deaths

    @property
    def seed(self):
        """The seed of all random streams."""
        return self._pool().seed

    @property
    def backend(self):
        """processes, threads or serial."""
        return self._pool().backend

    def whereabouts(self):
        """Process and PU of each worker."""
        return self._pool().whereabouts()

    def close(self):
        """Takes no more jobs, waits for those that are under way, and ends the workers.

        Ctrl-C while it waits stops the jobs. In a forked process it does nothing: the workers are
        the parent's.
        """
        raw, self._raw = self._raw, None
        if raw is None or raw.is_forked:
            return
        with self._jobs_lock:
            jobs = list(self._jobs)
        try:
            for job in jobs:
                job._end()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise

    def cancel_all(self):
        """Stops all jobs under way: each ends with `CancelledError`."""
        self._pool().cancel_all()

    def start(self, kernel, *args, params=None, chunks=0, result=None, stream=None,
              time_limit=None, chunk_timeout=None, fail_on_death=False, **named):
        """Starts a job, and gives its handle.

        `args` are arrays as `a.chunks(n)`, `a.chunks_mut(n)`, `a.chunks_out(n)`, `a.whole()`.
        `params` is plain data that every chunk gets: bytes, or a numpy scalar or structure; those
        of built-in kernels may be given by name. `chunks` is how many there are where no argument
        has chunks. `result` is the type of a kernel's result; built-in ones know theirs.
        """
        if not isinstance(kernel, (str, Kernel)):
            raise TypeError(
                "a kernel is the name of a built-in one or a pinpool.Kernel of a shared library; "
                "workers run no Python: for a Python function use multiprocessing over a "
                "SharedArray that has a name"
            )
        for position, arg in enumerate(args):
            if not isinstance(arg, Chunks):
                raise TypeError(
                    f"argument {position} is {type(arg).__name__}; give a shared array as "
                    "a.chunks(n), a.chunks_mut(n), a.chunks_out(n) or a.whole()"
                )
        if isinstance(kernel, str) and result is not None:
            raise TypeError("the result of a built-in kernel has its own type; leave result out")
        raw = self._pool().start(
            kernel,
            [(array._owner, access, rows) for array, access, rows in args],
            _pack(kernel, params, named),
            chunks,
            stream,
            (time_limit or 0.0, chunk_timeout or 0.0, bool(fail_on_death)),
            0 if result is None else dtype_code(result),
        )
        job = Pending(raw, None if result is None else np.dtype(result))
        with self._jobs_lock:
            self._jobs.add(job)
        return job

    map_async = start

    def map(self, kernel, *args, progress=None, **options):
        """Runs a kernel once for each chunk; its results as a shared array, one a chunk.

        `progress` is called with the chunks that are done and all of them, or True for a bar by
        tqdm. Several arrays are what `starmap` is elsewhere. The other options are those of `start`.
        """
        return self.start(kernel, *args, **options)._blocking(progress)

    def for_each(self, kernel, *args, **options):
        """Runs a kernel once for each chunk, for what it does to its arrays."""
        self.map(kernel, *args, **options)

    def call(self, kernel, *args, **options):
        """Runs a kernel once, on any worker; its result."""
        if not any(arg.access < 3 for arg in args if isinstance(arg, Chunks)):
            options.setdefault("chunks", 1)
        results = self.map(kernel, *args, **options)
        return None if results is None else results[0]


class Pending:
    """A job under way, which any thread may ask. One that is dropped is cancelled."""

    def __init__(self, raw, dtype):
        self._raw = raw
        self._dtype = dtype

    def ready(self):
        """Whether it is over."""
        return self._raw.wait(0.0)

    def wait(self, timeout=None):
        """Waits for its end, for so many seconds at most; whether it is over."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, end - time.monotonic())
            if self._raw.wait(max(left, 0.0)):
                return True
            if end is not None and time.monotonic() >= end:
                return False

    def progress(self):
        """Chunks that are done, and all of them."""
        return self._raw.progress()

    def cancel(self):
        """Stops it: chunks in progress end, no others begin."""
        self._raw.cancel()

    def get(self, timeout=None):
        """Its results; `TimeLimitError` where it takes longer, and then it goes on."""
        if not self.wait(timeout):
            raise TimeLimitError(f"the job is not over after {timeout} s; it goes on")
        array = self._raw.result()
        if array is None:
            return None
        # One object for all who ask, whoever comes first.
        return self.__dict__.setdefault("_results", SharedArray._of(array, self._dtype))

    def _end(self):
        """Waits, and has the job let go of its pool; how it ended is still to be asked for."""
        self.wait()
        self._raw.settle()

    def _blocking(self, progress):
        try:
            with _Teller(progress) as tell:
                while tell is not None and not self._raw.wait(_LOOK_SECONDS):
                    tell(*self._raw.progress())
                self.wait()
                if tell is not None:
                    tell(*self._raw.progress())
            return self.get()
        except BaseException:
            # Ctrl-C, above all: the job must not go on behind the caller's back. Another Ctrl-C ends
            # this wait too.
            self.cancel()
            self.wait()
            raise


class _Teller:
    """Whom a waiting caller tells how far the job is."""

    def __init__(self, progress):
        self._bar = None
        if progress is True:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                raise ImportError("progress=True draws with tqdm; install it, or give a function")
            self._bar = tqdm(unit="chunk")
            progress = self._draw
        self._tell = progress or None

    def _draw(self, done, chunks):
        self._bar.total = chunks
        self._bar.update(done - self._bar.n)

    def __enter__(self):
        return self._tell

    def __exit__(self, *exception):
        if self._bar is not None:
            self._bar.close()
