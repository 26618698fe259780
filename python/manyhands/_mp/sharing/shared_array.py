"""NumPy arrays in the family heap, which are pickled as a handle.

Guarantees: an array made by `shared_array`, and every view of it that NumPy makes, is unpickled in
the family as an array over the same memory. What is computed from it (``a + 1``, ``a.copy()``) is
memory of its own, says so (`is_shared`), and is pickled with its bytes.

Does not do: guard against two processes that write the same element; use a lock for that.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import numpy as np

from manyhands._runtime import Memory

__all__ = ["SharedArray", "shared_array"]


class SharedArray(np.ndarray):
    """An `ndarray` that may lie in the family heap; made by `shared_array`."""

    @property
    def is_shared(self) -> bool:
        """Whether the elements lie in the family heap."""
        return _memory_under(self) is not None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: Any = False) -> Any:
        """What is computed is an ordinary array, unless it was written into a shared one."""
        if array is self or (isinstance(array, SharedArray) and array.is_shared):
            return array
        plain = array.view(np.ndarray)
        return plain[()] if return_scalar else plain

    def __reduce_ex__(self, protocol: Any) -> Any:
        memory = _memory_under(self)
        if memory is None:
            return self.view(np.ndarray).__reduce_ex__(protocol)
        offset = self.__array_interface__["data"][0] - memory.address
        return _open, (memory, self.shape, self.dtype, offset, self.strides)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()


def shared_array(shape: Any, dtype: Any = float) -> SharedArray:
    """An array of zeros that all processes of the family share.

    Args:
        shape: an int or a tuple of ints, as for `numpy.zeros`.
        dtype: the type of the elements; it must not hold Python objects.

    Returns: an `ndarray` which, like its views, is pickled as a handle. It lives as long as a
        process has it, or a view of it.

    Raises:
        TypeError: `dtype` holds Python objects.
        MemoryError: the family heap is at its limit.

    >>> import pickle
    >>> image = shared_array((2, 3), "u1")
    >>> row = pickle.loads(pickle.dumps(image[1]))
    >>> row[:] = 7
    >>> image.tolist()
    [[0, 0, 0], [7, 7, 7]]
    """
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"an array of {dtype} holds Python objects, which processes cannot share")
    lengths = (shape,) if isinstance(shape, int | np.integer) else shape
    shape = tuple(operator.index(length) for length in lengths)
    if any(length < 0 for length in shape):
        raise ValueError(f"a shape has no negative lengths: {shape}")
    n_bytes = dtype.itemsize * math.prod(shape)
    if n_bytes > sys.maxsize:
        raise MemoryError(f"an array of {shape} has more bytes than a machine can address")
    return _open(Memory(n_bytes), shape, dtype, 0, None)


def _open(memory: Memory, shape: Any, dtype: Any, offset: int, strides: Any) -> SharedArray:
    buffer: Any = memory
    return SharedArray(shape, dtype, buffer, offset, strides)


def _memory_under(array: Any) -> Memory | None:
    """The memory that the array is a view of, through whatever lies between."""
    base = array.base
    while base is not None and not isinstance(base, Memory):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


SharedArray.__module__ = shared_array.__module__ = "manyhands"
