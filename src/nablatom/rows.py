"""Integer rows as single sortable numbers: packing, order, uniqueness and look-up.

A row of small integers fits in one 64-bit number, and NumPy sorts and compares those many
times faster than rows. Everything that labels do with entries is done on these numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Packed",
    "first_duplicate",
    "is_sorted",
    "locate",
    "pack",
    "same",
    "sort_order",
    "unique",
]

Integers = NDArray[np.int64]


class Packed(NamedTuple):
    """Numbers in ``[0, span)``, ordered as the rows they stand for."""

    keys: list[Integers]
    span: int


def pack(*tables: NDArray[np.int32]) -> Packed:
    """One number per row: equal for equal rows of any table, ordered as the rows are."""
    columns = [_joint_column(parts) for parts in zip(*map(_columns, tables), strict=True)]
    if prod(span for _, span in columns) > np.iinfo(np.int64).max:
        columns = [_ranked(columns)]
    keys = [np.zeros(len(table), np.int64) for table in tables]
    for parts, span in columns:
        for key, part in zip(keys, parts, strict=True):
            key *= span
            key += part
    return Packed(keys, prod(span for _, span in columns))


def _columns(table: NDArray[np.int32]) -> NDArray[np.int32]:
    """One contiguous row for each column: everything below runs along columns."""
    return np.ascontiguousarray(table.T)


def _joint_column(parts: Sequence[NDArray[np.int32]]) -> tuple[list[Integers], int]:
    """The same column of several tables, counted from its smallest value, and its span."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return [part.astype(np.int64) for part in parts], 1
    low = min(int(part.min()) for part in filled)
    high = max(int(part.max()) for part in filled)
    return [np.subtract(part, low, dtype=np.int64) for part in parts], high - low + 1


def _ranked(columns: list[tuple[list[Integers], int]]) -> tuple[list[Integers], int]:
    """Columns too wide for 64 bits, folded into one by ranking after each of them."""
    lengths = [len(part) for part in columns[0][0]]
    rank, count = np.zeros(sum(lengths), np.int64), 1
    for parts, span in columns:
        values, rank = np.unique(rank * span + np.concatenate(parts), return_inverse=True)
        count = len(values)
    return np.split(rank, np.cumsum(lengths)[:-1]), count


def _is_dense(span: int, entries: int) -> bool:
    """Whether a table over all possible keys is cheaper than sorting the entries."""
    return span <= 4 * entries + 1024


def same(a: NDArray[np.int32], b: NDArray[np.int32]) -> bool:
    """Whether two C-ordered tables have the same shape and entries."""
    if a.shape != b.shape:
        return False
    if a.nbytes <= _SMALL:
        return a.tobytes() == b.tobytes()
    if a.size % 2 == 0:  # two entries at a time
        a, b = a.reshape(-1).view(np.int64), b.reshape(-1).view(np.int64)
    # in pieces: fresh memory for all answers would cost as much as the comparison
    pieces = (slice(start, start + _PIECE) for start in range(0, len(a), _PIECE))
    return all((a[piece] == b[piece]).all() for piece in pieces)


def is_sorted(keys: Integers) -> bool:
    """Whether the keys strictly increase (and so are unique)."""
    return bool((keys[1:] > keys[:-1]).all())


def first_duplicate(table: NDArray[np.int32]) -> int | None:
    """The first row that is the same as an earlier one, if there is one."""
    if _rows_increase(_columns(table)):
        return None
    (keys,), span = pack(table)
    if not _repeat(keys, span):
        return None
    order = np.argsort(keys, kind="stable")
    repeated = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    return int(order[1:][repeated].min())


def _repeat(keys: Integers, span: int) -> bool:
    """Whether any key occurs twice.

    Every entry signs the slot of its key. Only those that find another signature there can be
    repeated, and these few are sorted sooner than all.
    """
    slots, size = _slots(keys, span)
    entries = np.arange(len(keys), dtype=np.int32)
    signed = np.empty(size, np.int32)
    signed[slots] = entries
    last = signed[slots]
    overwritten = np.flatnonzero(last != entries)
    suspects = keys[overwritten]
    if (suspects == keys[last[overwritten]]).any():
        return True
    suspects.sort()
    return bool((suspects[1:] == suspects[:-1]).any())


def _slots(keys: Integers, span: int) -> tuple[Integers, int]:
    """A slot for each key, and their number: the key itself, or a hash that fits the cache."""
    if _is_dense(span, len(keys)):
        return keys, span
    bits = len(keys).bit_length() + 1
    return (keys.view(np.uint64) * _ODD >> np.uint64(64 - bits)).view(np.int64), 1 << bits


def _rows_increase(columns: NDArray[np.int32]) -> bool:
    """Whether each row comes after the one before, in lexicographic order."""
    increase = np.zeros(max(0, columns.shape[1] - 1), bool)
    for column in columns[::-1]:
        later, earlier = column[1:], column[:-1]
        increase &= later == earlier
        increase |= later > earlier
    return bool(increase.all())


# 2^64 over the golden ratio: multiples of it spread evenly (Knuth, TAOCP 3, 6.4).
_ODD = np.uint64(0x9E3779B97F4A7C15)
# Bytes up to which it is fastest to compare copies, and numbers that are compared together.
_SMALL, _PIECE = 1 << 14, 1 << 18


def sort_order(keys: Integers, span: int) -> Integers:
    """The entries in increasing order of their (unique) keys."""
    if is_sorted(keys):
        return np.arange(len(keys))
    if not _is_dense(span, len(keys)):
        return np.argsort(keys, kind="stable")
    table = np.full(span, -1, np.int64)
    table[keys] = np.arange(len(keys))
    return table[table >= 0]


def locate(needles: Integers, haystack: Integers, span: int) -> Integers:
    """Where each needle stands in the haystack of unique keys, or -1."""
    if _is_dense(span, len(needles) + len(haystack)):
        table = np.full(span, -1, np.int64)
        table[haystack] = np.arange(len(haystack))
        return table[needles]
    if len(haystack) == 0:
        return np.full(len(needles), -1, np.int64)
    order = sort_order(haystack, span)
    ordered = haystack[order]
    position = np.minimum(np.searchsorted(ordered, needles), len(ordered) - 1)
    return np.where(ordered[position] == needles, order[position], -1)


def unique(keys: Integers, span: int) -> tuple[Integers, Integers]:
    """One entry for each distinct key, in order, and for every entry its place there."""
    if len(keys) and bool((keys[1:] >= keys[:-1]).all()):
        starts = np.concatenate([[True], keys[1:] != keys[:-1]])
        return np.flatnonzero(starts), np.cumsum(starts) - 1
    if not _is_dense(span, len(keys)):
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        return first, place
    first = np.full(span, -1, np.int64)
    first[keys[::-1]] = np.arange(len(keys))[::-1]
    present = first >= 0
    return first[present], (np.cumsum(present) - 1)[keys]
