"""Entries of several labels that go together, because they agree in the dimensions they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom import rows as packing
from nablatom.labels import Labels, Rows

__all__ = ["Joined", "joined_labels"]

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
    if not shared:
        here = np.repeat(np.arange(len(table)), len(labels))
        return here, np.tile(np.arange(len(labels)), len(table))
    ours = table[:, [names.index(name) for name in shared]]
    theirs = labels.values[:, [labels.names.index(name) for name in shared]]
    (a, b), _ = packing.pack(ours, theirs)
    _check_partners(shared, (a, ours), (b, theirs))
    order = np.argsort(b, kind="stable")
    start, end = (np.searchsorted(b[order], a, side) for side in ("left", "right"))
    here = np.repeat(np.arange(len(a)), end - start)
    within = np.arange(len(here)) - np.repeat(np.cumsum(end - start) - (end - start), end - start)
    return here, order[start[here] + within]


def _check_partners(shared: list[str], *sides: tuple[Rows, Table]) -> None:
    for (keys, table), (others, _) in (sides, sides[::-1]):
        lonely = np.flatnonzero(~np.isin(keys, others))
        if len(lonely):
            entry = ", ".join(map("{}={}".format, shared, table[lonely[0]].tolist()))
            raise ValueError(
                f"{entry} is in one operand only; slice takes the entries that others have too"
            )
