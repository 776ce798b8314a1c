"""Integer rows as single sortable numbers: packing, order, uniqueness and look-up.

A row of small integers fits in one 64-bit number, and NumPy sorts and compares those many
times faster than rows. Everything that labels do with entries is done on these numbers.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packed", "first_duplicate", "is_sorted", "locate", "pack", "sort_order", "unique"]

Integers = NDArray[np.int64]


class Packed(NamedTuple):
    """Numbers in ``[0, span)``, ordered as the rows they stand for."""

    keys: list[Integers]
    span: int


def pack(*tables: NDArray[np.int32]) -> Packed:
    """One number per row: equal for equal rows of any table, ordered as the rows are."""
    columns = [_joint_column([table[:, c] for table in tables]) for c in range(tables[0].shape[1])]
    if prod(span for _, span in columns) > np.iinfo(np.int64).max:
        columns = [_ranked(columns)]
    keys = [np.zeros(len(table), np.int64) for table in tables]
    for parts, span in columns:
        for key, part in zip(keys, parts, strict=True):
            key *= span
            key += part
    return Packed(keys, prod(span for _, span in columns))


def _joint_column(parts: list[NDArray[np.int32]]) -> tuple[list[Integers], int]:
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


def is_sorted(keys: Integers) -> bool:
    """Whether the keys strictly increase (and so are unique)."""
    return bool((keys[1:] > keys[:-1]).all())


def first_duplicate(keys: Integers) -> int | None:
    """An entry that occurs more than once, if there is one."""
    if is_sorted(keys):
        return None
    order = np.argsort(keys, kind="stable") if len(keys) < 256 else None
    ordered = np.sort(keys) if order is None else keys[order]
    repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(repeated) == 0:
        return None
    return int(np.flatnonzero(keys == ordered[repeated[0]])[1])


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
