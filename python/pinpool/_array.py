"""Shared arrays: numpy arrays whose memory workers map too."""

import os
from typing import NamedTuple

import numpy as np

from . import _pinpool

# In the order of pinpool.h; a number there is the place here plus one.
_DTYPES = [np.dtype(c) for c in "|b1 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 <f4 <f8 <c8 <c16".split()]
_RAW = 0x8000_0000

READ, UPDATE, OUT, WHOLE = range(4)


def dtype_code(dtype):
    """The number of an element type in pinpool.h."""
    dtype = np.dtype(dtype)
    if dtype in _DTYPES:
        return _DTYPES.index(dtype) + 1
    if dtype.hasobject or dtype.kind in "OUSmM" or dtype.byteorder == ">":
        raise TypeError(
            f"elements of type {dtype} cannot be shared; use numbers, or a structured type of numbers"
        )
    return _RAW | dtype.itemsize


class Chunks(NamedTuple):
    """How an array is dealt to the chunks of a job; made by the methods of `SharedArray`."""

    array: "SharedArray"
    access: int
    rows: int


class SharedArray(np.ndarray):
    """A numpy array in shared memory, of zeros when it is new.

    Workers change it where it lies: nothing is copied or pickled. Slices and views of it are
    ordinary numpy arrays over the same memory. So is what is computed from it, but not what is
    computed into it (`a += 1`). A job gets the whole array, by `chunks`,
    `chunks_mut`, `chunks_out` or `whole`.

    With a name other programs find it as /dev/shm/NAME, a `.npy` file that `np.load` opens with
    `mmap_mode`. Nobody else may write into it while a job works on it.

    A process that is forked from this one has not the memory: to look at the array there is a
    SIGSEGV. One with a name can be opened there.
    """

    _owner = None

    def __new__(cls, shape, dtype=np.float64, *, name=None, file=None):
        shape = [int(n) for n in np.atleast_1d(np.asarray(shape, dtype=object))]
        if any(n < 0 for n in shape):
            raise ValueError(f"the shape {tuple(shape)} has a negative length")
        code = dtype_code(dtype)
        if name is not None and file is not None:
            raise ValueError("an array has a name or a file, not both")
        if name is not None:
            owner = _pinpool.Array.create_named(name, code, shape)
        elif file is not None:
            owner = _pinpool.Array.create_file(os.fspath(file), code, shape)
        else:
            owner = _pinpool.Array.zeros(code, shape)
        return cls._of(owner, np.dtype(dtype))

    @classmethod
    def _of(cls, owner, dtype=None):
        dtype = np.dtype(owner.dtype) if dtype is None else dtype
        array = np.ndarray.__new__(cls, tuple(owner.shape), dtype, buffer=owner)
        array._owner = owner
        return array

    @classmethod
    def open(cls, name=None, *, file=None, writable=True, dtype=None):
        """The array that another process made as /dev/shm/NAME, or a `.npy` file, in place.

        `dtype` is for structured types, which the file calls raw bytes.
        """
        if (name is None) == (file is None):
            raise ValueError("give the name or the file of the array")
        if name is not None:
            owner = _pinpool.Array.open_named(name, writable)
        else:
            owner = _pinpool.Array.open_file(os.fspath(file), writable)
        found = np.dtype(owner.dtype)
        if dtype is not None and np.dtype(dtype).itemsize != found.itemsize:
            raise TypeError(f"the elements are {found}, and cannot be seen as {np.dtype(dtype)}")
        return cls._of(owner, found if dtype is None else np.dtype(dtype))

    @classmethod
    def copy_of(cls, values, *, name=None, file=None):
        """A shared copy of an array."""
        values = np.asarray(values)
        array = cls(values.shape, values.dtype, name=name, file=file)
        array[...] = values
        return array

    def __array_wrap__(self, array, context=None, return_scalar=None):
        if array is self:
            return self  # a += 1: what is computed into it
        # What is computed from it is an ordinary array.
        array = np.asarray(array).view(np.ndarray)
        if return_scalar is None:
            return_scalar = array.ndim == 0  # numpy 1, which does not say
        return array[()] if return_scalar else array

    def __reduce__(self):
        owner = self._whole("pickled")
        if owner.name is None:
            raise TypeError(
                "an array without a name cannot be pickled, since other processes cannot find it; "
                "give it one: SharedArray(shape, name='…')"
            )
        return _reopen, (owner.name, owner.writable, self.dtype)

    def __deepcopy__(self, memo):
        return np.array(self)

    def _whole(self, what):
        if self._owner is None:
            raise TypeError(
                f"a slice or view of a shared array cannot be {what}; take the shared array itself"
            )
        return self._owner

    def _chunked(self, access, rows):
        owner = self._whole("an argument of a job")
        if rows is None:
            rows = owner.default_chunk
        rows = int(rows)
        if rows < 1:
            raise ValueError("a chunk has at least one row; give 1 or more, or nothing")
        return Chunks(self, access, rows)

    def chunks(self, rows=None):
        """Chunks of so many rows each, read only; by default some 256 of at most 256 KiB."""
        return self._chunked(READ, rows)

    def chunks_mut(self, rows=None):
        """Chunks that are changed in place; an undo copy is kept of each."""
        return self._chunked(UPDATE, rows)

    def chunks_out(self, rows=None):
        """Chunks that are overwritten without being read."""
        return self._chunked(OUT, rows)

    def whole(self):
        """The whole array for every chunk, read only."""
        return Chunks(self, WHOLE, 0)

    @property
    def default_chunk(self):
        """Rows of a chunk where none are named; it follows from the shape alone."""
        return self._whole("chunked").default_chunk

    @property
    def name(self):
        """Its name under /dev/shm, or None."""
        return None if self._owner is None else self._owner.name

    def persist(self, persist=True):
        """Has its name outlive everybody, or not."""
        self._whole("kept").set_persist(persist)

    def save(self, file):
        """Saves it as a `.npy` file: whole, or not at all."""
        self._whole("saved").save(os.fspath(file))

    def total(self):
        """The sum of all elements, by the fixed tree: the same bits for any number of workers."""
        owner = self._whole("summed so")
        return owner.total_f64() if self.dtype == np.float64 else owner.total_u64()


def _reopen(name, writable, dtype):
    return SharedArray.open(name, writable=writable, dtype=dtype)
