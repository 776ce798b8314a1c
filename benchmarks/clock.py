"""Time of a call, and the bandwidth that bounds it."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["Bandwidth", "loops_for", "settle", "timed", "undisturbed", "warm_memory"]

ROUND = 0.02  # seconds that the repeated calls of one round should last
COPIED = 200_000_000  # bytes: far beyond every cache, one gradient block of the large map


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection inside; one before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(call: Callable[[], Any], loops: int = 1) -> tuple[float, Any]:
    """Seconds per call, and the last result, whose release is not counted."""
    with undisturbed():
        start = perf_counter()
        for _ in range(loops):
            result = call()
        return (perf_counter() - start) / loops, result


def settle() -> None:
    """Give back to the system now what has been freed.

    The C library of Linux does so at some later call, which may be the other side's: after a
    result of many small blocks that takes longer than some of the calls that are timed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def loops_for(seconds: float) -> int:
    """Number of calls that fill a round, given what one of them takes."""
    return max(1, round(ROUND / seconds))


@dataclass(slots=True)
class Bandwidth:
    """Bytes per second, read plus written, of copying one array; one entry per round."""

    fresh: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Copy into memory just asked for, then into the same memory once more."""
        source = np.ones(COPIED // 8)
        seconds, target = timed(source.copy)
        self.fresh.append(2 * COPIED / seconds)
        seconds, _ = timed(lambda: np.copyto(target, source))
        self.resident.append(2 * COPIED / seconds)

    def seconds(self, traffic: int) -> float:
        """The bound: time to move so many bytes, at the median bandwidth into fresh memory."""
        return traffic / statistics.median(self.fresh)


def warm_memory(size: int) -> None:
    """Touch ``size`` bytes and release them, just before a call that asks for as many.

    A virtual machine gives free memory back to its host and takes it again at the next touch,
    ten times slower than a copy. That is left out of the calls and of the copies alike.
    """
    arrays = [np.ones(COPIED // 8) for _ in range(size // COPIED)]
    del arrays
