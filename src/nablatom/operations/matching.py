"""Entries of several labels that go together, because they agree in the dimensions they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom import rows as packing
from nablatom.labels import Labels, Rows

__all__ = ["Joined", "equal_pairs", "joined_labels"]

Table = NDArray[np.int32]


class Joined(NamedTuple):
    """The entries that meet: their row in each operand, and their place in the result."""

    rows: tuple[Rows | None, ...]
    places: Rows | None
    labels: Labels


def joined_labels(parts: Sequence[Labels | None], kept: Sequence[str]) -> Joined | None:
    """All combinations of entries that agree in the names they share; their ``kept`` dimensions.

    None if there are no labels at all.

    Raises
    ------
    ValueError
        If an entry has nothing to go with.
    """
    names: list[str] = []
    table, chosen = np.zeros((1, 0), np.int32), np.zeros((1, 0), np.int64)
    for part in parts:
        if part is None:
            continue
        here, there = _matches(names, table, part)
        new = [name for name in part.names if name not in names]
        columns = [part.values[there, part.names.index(name)] for name in new]
        table = np.column_stack([table[here], *columns])
        chosen = np.column_stack([chosen[here], there])
        names = [*names, *new]
    if not names:
        return None
    left = tuple(name for name in kept if name in names)
    entries = np.ascontiguousarray(table[:, [names.index(name) for name in left]])
    (keys,), span = packing.pack(entries) if left else packing.pack(table[:, :1] * 0)
    first, places = packing.unique(keys, span)
    nothing_to_add = len(first) == len(places)
    meeting = iter(chosen[first].T if nothing_to_add else chosen.T)
    rows = tuple(None if part is None else next(meeting) for part in parts)
    labels = Labels.unchecked(left, entries[first])
    return Joined(rows, None if nothing_to_add else places, labels)


def _matches(names: list[str], table: Table, labels: Labels) -> tuple[Rows, Rows]:
    """The pairs of a row of the table and an entry of the labels that agree in shared names."""
    shared = [name for name in labels.names if name in names]
    ours = table[:, [names.index(name) for name in shared]]
    theirs = labels.values[:, [labels.names.index(name) for name in shared]]
    if shared:
        _check_partners(shared, ours, theirs)
    return equal_pairs(ours, theirs)


def equal_pairs(a: Table, b: Table) -> tuple[Rows, Rows]:
    """All pairs of a row of ``a`` and a row of ``b`` that are equal, in order."""
    if a.shape[1] == 0:
        return np.repeat(np.arange(len(a)), len(b)), np.tile(np.arange(len(b)), len(a))
    (here, there), _ = packing.pack(a, b)
    order = np.argsort(there, kind="stable")
    start = np.searchsorted(there[order], here)
    count = np.searchsorted(there[order], here, side="right") - start
    first = np.repeat(np.arange(len(a)), count)
    within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    return first, order[start[first] + within]


def _check_partners(shared: list[str], a: Table, b: Table) -> None:
    (here, there), _ = packing.pack(a, b)
    for keys, others, table in ((here, there, a), (there, here, b)):
        lonely = np.flatnonzero(~np.isin(keys, others))
        if len(lonely):
            entry = ", ".join(map("{}={}".format, shared, table[lonely[0]].tolist()))
            raise ValueError(
                f"{entry} is in one operand only; slice takes the entries that others have too"
            )
