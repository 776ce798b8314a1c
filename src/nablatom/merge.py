"""Several blocks → one block: what moving keys, joining and sparse sums have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nablatom import arrays, rows
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, remembered

__all__ = [
    "check_components",
    "end_to_end",
    "inverse",
    "merge",
    "merged_labels",
    "shared_gradients",
    "stacked_labels",
    "with_sample",
]


def merged_labels(labels: Sequence[Labels], *, sort: bool) -> tuple[Labels, list[Rows]]:
    """The union of several labels, and the place of the entries of each in it.

    Sorted, or else in the order in which the entries first appear.
    """
    return _merged(*labels, sort)


def stacked_labels(labels: Sequence[Labels], *, sort: bool) -> tuple[Labels, list[Rows]]:
    """The same for labels that are known to have no entry in common, at half the price."""
    return _stacked(*labels, sort)


@remembered
def _merged(first: Labels, *others_and_sort: Any) -> tuple[Labels, list[Rows]]:
    *others, sort = others_and_sort
    labels = [first, *others]
    if all(other == first for other in others):
        order = first.order() if sort else np.arange(len(first))
        values = first.values[order] if sort else first.values
        # never first itself, which would keep itself alive through what it remembers
        return first.with_entries(values), [inverse(order)] * len(labels)
    table = np.concatenate([other.values for other in labels])
    (keys,), span = rows.pack(table)
    chosen, place = rows.unique(keys, span)
    if not sort:
        order = np.argsort(chosen)
        chosen, place = chosen[order], inverse(order)[place]
    return first.with_entries(table[chosen]), _split(place, labels)


@remembered
def _stacked(first: Labels, *others_and_sort: Any) -> tuple[Labels, list[Rows]]:
    *others, sort = others_and_sort
    labels = [first, *others]
    table = np.concatenate([other.values for other in labels])
    if not sort:
        return first.with_entries(table), _split(np.arange(len(table)), labels)
    (keys,), span = rows.pack(table)
    order = rows.sort_order(keys, span)
    return first.with_entries(table[order]), _split(inverse(order), labels)


def inverse(order: Rows) -> Rows:
    """Where each entry ends up when the entries are put in this order."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _split(place: Rows, labels: Sequence[Labels]) -> list[Rows]:
    ends = np.cumsum([len(other) for other in labels]).tolist()
    return [place[end - len(other) : end] for end, other in zip(ends, labels, strict=True)]


def merge(
    blocks: Sequence[TensorBlock],
    samples: tuple[Labels, list[Rows]],
    properties: tuple[Labels, list[Rows]],
    *,
    axis: str,
    fill: float = 0.0,
    sort: bool = True,
) -> TensorBlock:
    """One block whose entries come from several, stored gradients included.

    ``samples`` and ``properties`` are the labels of the result and, for each block, the place
    of its rows and columns there. The blocks meet in no entry of the result: along
    ``axis="samples"`` they have different rows, along ``axis="properties"`` different columns.
    ``sort`` the gradient rows, or keep the order of the blocks. Values that no block has are
    ``fill``, a constant, so that their gradients are zero.
    """
    check_components(blocks)
    shape = (len(samples[0]), len(properties[0]))
    values = arrays.stack(
        [block.values for block in blocks], samples[1], properties[1], shape, fill=fill, axis=axis
    )
    gradients = {}
    for name in shared_gradients(blocks):
        parts = [block.gradient(name) for block in blocks]
        moved = [with_sample(g.samples, at) for g, at in zip(parts, samples[1], strict=True)]
        together = stacked_labels if axis == "samples" else merged_labels
        gradients[name] = merge(parts, together(moved, sort=sort), properties, axis=axis, sort=sort)
    return TensorBlock.unchecked(values, samples[0], blocks[0].components, properties[0], gradients)


def end_to_end(blocks: Sequence[TensorBlock], samples: Labels) -> TensorBlock:
    """One block with the rows of several in turn; their properties must be the same.

    What :func:`merge` gives along samples without sorting, with nothing remembered: a batch of
    many small blocks is a new one every time, and its labels cost little.
    """
    check_components(blocks)
    first = blocks[0]
    starts = _starts([len(block) for block in blocks])
    gradients = {}
    for name in shared_gradients(blocks):
        parts = [block.gradient(name) for block in blocks]
        tables = [part.samples.values for part in parts]
        table = np.concatenate(tables)
        table[:, 0] += np.repeat(starts, [len(rows) for rows in tables]).astype(np.int32)
        gradients[name] = end_to_end(parts, parts[0].samples.with_entries(table))
    values = arrays.namespace(first.values).concat([block.values for block in blocks], axis=0)
    return TensorBlock.unchecked(values, samples, first.components, first.properties, gradients)


def _starts(lengths: Sequence[int]) -> Rows:
    """Where each of several parts begins when they stand one after the other."""
    return np.cumsum([0, *lengths[:-1]])


def shared_gradients(blocks: Sequence[TensorBlock]) -> list[str]:
    """The names of the gradients, which all blocks must have."""
    names = blocks[0].gradients_list()
    for block in blocks[1:]:
        if (other := block.gradients_list()) != names and set(other) != set(names):
            raise ValueError(
                f"blocks must have the same gradients, got {names} and {block.gradients_list()}; "
                "remove_gradients takes away those that are not needed"
            )
    return names


def check_components(blocks: Sequence[TensorBlock]) -> None:
    """Raise an error unless all blocks have the same components."""
    for block in blocks[1:]:
        if block.components != blocks[0].components:
            raise ValueError(
                "blocks must have the same components, got "
                f"{blocks[0].components} and {block.components}"
            )


@remembered
def with_sample(samples: Labels, rows: Rows) -> Labels:
    """Gradient samples whose ``sample``, a row of the old values, is now ``rows[sample]``."""
    values = samples.values.copy()
    values[:, 0] = rows[samples.values[:, 0]]
    return samples.with_entries(values)
