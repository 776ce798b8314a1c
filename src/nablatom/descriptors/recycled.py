"""Memory of results that are gone, for results to come.

Memory that the system has just handed out is slow to write for the first time: every page is
cleared, and on virtual machines asked of the host before, which takes longer than most kernels.
Results of descriptors are large and come one after another, so their memory is kept for a while
when the last array in it is gone.
"""

from weakref import finalize

import numpy as np
from numpy.typing import NDArray

__all__ = ["Recycled"]

Bytes = NDArray[np.uint8]

SMALL = 1 << 20  # bytes below which the C library keeps memory itself
ROOM = 2  # how many times larger than asked for memory may be that is used again


class Recycled:
    """Bytes that are free, up to a limit.

    Parameters
    ----------
    limit : bytes
        That are kept; beyond, the oldest go back to the system.

    Examples
    --------
    >>> recycled = Recycled(1 << 24)
    >>> array = recycled.array(1 << 21)
    >>> address = array.ctypes.data
    >>> del array
    >>> recycled.array(1 << 21).ctypes.data == address
    True
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.free: dict[int, Bytes] = {}

    def array(self, size: int) -> Bytes:
        """So many bytes, whatever is in them, that come back when no array shows them any more."""
        if size < SMALL:
            return np.empty(size, np.uint8)
        memory = self._fitting(size)
        # not a view of the memory for NumPy, so that views of it keep it alive, not the memory
        array: Bytes = np.frombuffer(memory.data, np.uint8, size)
        finalize(array, self._keep, memory).atexit = False
        return array

    def _fitting(self, size: int) -> Bytes:
        fits = [(m.nbytes, key) for key, m in list(self.free.items()) if size <= m.nbytes]
        for room, key in sorted(fits):
            # another thread may have been quicker
            if room <= ROOM * size and (memory := self.free.pop(key, None)) is not None:
                return memory
        return np.empty(size, np.uint8)

    def _keep(self, memory: Bytes) -> None:
        self.free[id(memory)] = memory
        for key in list(self.free):
            if sum(m.nbytes for m in list(self.free.values())) <= self.limit:
                return
            self.free.pop(key, None)
