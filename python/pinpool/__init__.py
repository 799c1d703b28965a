"""Pinned worker processes over shared numpy arrays.

    import pinpool

    with pinpool.Pool(seed=42) as pool:
        a = pinpool.SharedArray(40_000_000)
        pool.for_each("fill_uniform", a.chunks_out(32_768))
        sums = pool.map("trig_power_sum", a.chunks(32_768), rounds=3)
        print(sums.total())

Kernels are compiled: built-in ones by name, or functions of any shared library. Results have the
same bits for any number of workers, and after `kill -9` of any of them.
"""

import os

from ._array import Chunks, SharedArray
from ._errors import (
    ArrayError,
    CancelledError,
    CrashError,
    Error,
    ForeignKernelError,
    InvalidError,
    KernelError,
    NoMemoryError,
    PoolError,
    StartError,
    TimeLimitError,
)
from ._pinpool import Kernel, isa, set_isa, version
from ._pool import Pending, Pool, builtins

__version__ = version()


def get_include():
    """The folder that has pinpool.h, for the compiler of one's own kernels."""
    return os.path.dirname(os.path.abspath(__file__))


def get_library():
    """The library to link one's own kernels with, where they call a function of pinpool.h."""
    return os.path.join(get_include(), "libpinpool.so.1")


__all__ = [
    "ArrayError",
    "CancelledError",
    "Chunks",
    "CrashError",
    "Error",
    "ForeignKernelError",
    "InvalidError",
    "Kernel",
    "KernelError",
    "NoMemoryError",
    "Pending",
    "Pool",
    "PoolError",
    "SharedArray",
    "StartError",
    "TimeLimitError",
    "builtins",
    "get_include",
    "get_library",
    "isa",
    "set_isa",
    "version",
]
