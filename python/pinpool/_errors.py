"""The exceptions of pinpool: each says what to do next."""


class Error(Exception):
    """What went wrong in pinpool.

    `code` is what a kernel returned, `signal` what its worker died of, `deaths` how many workers
    died, `chunk` and `worker` where it was; None or 0 where they say nothing.
    """

    code = 0
    signal = 0
    deaths = 0
    chunk = None
    worker = None


class InvalidError(Error, ValueError):
    """An argument is wrong, or does not fit the others."""


class NoMemoryError(Error, MemoryError):
    """There is no room for an array."""


class ArrayError(Error, OSError):
    """An array cannot be made, opened or saved."""

    def __str__(self):
        return self.args[0]


class StartError(Error, RuntimeError):
    """The workers do not start, or cannot be placed as asked for."""


class ForeignKernelError(Error, ValueError):
    """A kernel is where workers cannot find it: it lies in no file."""


class KernelError(Error, RuntimeError):
    """A kernel returned an error (`code`); the chunk was put back as it was."""


class CrashError(Error, RuntimeError):
    """A kernel killed its workers (`signal`), as often as is allowed; the pool lives on."""


class CancelledError(Error, RuntimeError):
    """The job was cancelled."""


class TimeLimitError(Error, TimeoutError):
    """A time limit has passed."""

    def __str__(self):
        return self.args[0]


class PoolError(Error, RuntimeError):
    """The pool takes no job: it is closed, broken, or another process's."""


_CLASSES = {
    1: InvalidError,
    2: NoMemoryError,
    3: ArrayError,
    4: StartError,
    5: StartError,
    6: ForeignKernelError,
    7: KernelError,
    8: CrashError,
    9: Error,
    10: CancelledError,
    11: TimeLimitError,
    12: PoolError,
}


def make(status, text, code, signal, deaths, chunk, worker):
    """The exception for a status of `pinpool.h`."""
    error = _CLASSES.get(status, Error)(text)
    error.code, error.signal, error.deaths = code, signal, deaths
    error.chunk, error.worker = chunk, worker
    return error
