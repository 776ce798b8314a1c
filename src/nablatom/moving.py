"""Moving keys and components of a map: keys and blocks → keys and blocks.

Plain functions, so that torch can trace them; :class:`TensorMap` has a method for each.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, remembered
from nablatom.merge import merge, merged_labels, stacked_labels
from nablatom.tracing import traceable

__all__ = ["components_to_properties", "keys_to_properties", "keys_to_samples"]

Parts = tuple[Labels, list[TensorBlock]]


@traceable
def keys_to_samples(
    keys: Labels, blocks: list[TensorBlock], names: list[str], *, fill: float, sort: bool
) -> Parts:
    """Blocks merged along samples, which get the moved keys as last dimensions."""

    def together(blocks: list[TensorBlock], moved: Labels) -> TensorBlock:
        own = _with_keys([block.samples for block in blocks], moved, after=True)
        samples = stacked_labels(own, sort=sort)
        properties = merged_labels([block.properties for block in blocks], sort=False)
        return merge(blocks, samples, properties, fill=fill, axis="samples")

    return _regrouped(keys, blocks, names, together)


@traceable
def keys_to_properties(
    keys: Labels, blocks: list[TensorBlock], names: list[str] | Labels, *, fill: float, sort: bool
) -> Parts:
    """Blocks merged along properties, which get the moved keys as first dimensions."""

    def together(blocks: list[TensorBlock], moved: Labels) -> TensorBlock:
        own = _with_keys([block.properties for block in blocks], moved, after=False)
        samples = merged_labels([block.samples for block in blocks], sort=sort)
        if isinstance(names, Labels):
            joint = _requested(names, moved, [block.properties for block in blocks])
            properties = joint, [joint.union_and_mapping(labels)[2] for labels in own]
        else:
            properties = merged_labels(own, sort=False)
        return merge(blocks, samples, properties, fill=fill, axis="properties")

    return _regrouped(keys, blocks, names.names if isinstance(names, Labels) else names, together)


@traceable
def components_to_properties(blocks: list[TensorBlock], names: list[str]) -> list[TensorBlock]:
    """Components moved before the property dimensions, one after the other."""
    return [_moved_components(block, names) for block in blocks]


def _regrouped(
    keys: Labels,
    blocks: list[TensorBlock],
    names: list[str],
    together: Callable[[list[TensorBlock], Labels], TensorBlock],
) -> Parts:
    """One block for each remaining key, made from those that share it and what they lose."""
    for name in names:
        if name not in keys.names:
            raise ValueError(f"no dimension {name!r} in the keys: they have {keys.names}")
    if not blocks:
        raise ValueError("a map without blocks has no keys to move")
    remaining, members = _grouped(keys, *names)
    return remaining, [together([blocks[i] for i in at], moved) for moved, at in members]


@remembered
def _grouped(keys: Labels, *names: str) -> tuple[Labels, list[tuple[Labels, Rows]]]:
    """The keys without some dimensions, as they first appear, and what each was made from."""
    columns = [keys.column(name) for name in names]
    moved = np.stack(columns, axis=1) if columns else np.zeros((len(keys), 0), np.int32)
    parts, place = keys.unique([name for name in keys.names if name not in names])
    ends = np.cumsum(np.bincount(place, minlength=len(parts)))
    members = np.split(np.argsort(place, kind="stable"), ends[:-1])
    order = np.argsort([at[0] for at in members])
    chosen = [members[k] for k in order]
    return parts.take(order), [(Labels.unchecked(names, moved[at]), at) for at in chosen]


def _with_keys(labels: list[Labels], keys: Labels, *, after: bool) -> list[Labels]:
    names = tuple(keys.names)
    rows = map(tuple, keys.values.tolist())
    return [_with_key(own, names, row, after) for own, row in zip(labels, rows, strict=True)]


@remembered
def _with_key(labels: Labels, names: tuple[str, ...], row: tuple[int, ...], after: bool) -> Labels:
    """The labels with the dimensions of a key, before or after their own."""
    column = np.broadcast_to(np.array(row, np.int32), (len(labels), len(row)))
    tables = (labels.values, column) if after else (column, labels.values)
    joint = (*labels.names, *names) if after else (*names, *labels.names)
    if repeated := set(labels.names) & set(names):
        raise ValueError(f"the dimension {repeated.pop()!r} is there already: {labels.names}")
    return Labels.unchecked(joint, np.concatenate(tables, axis=1))


def _requested(wanted: Labels, keys: Labels, properties: list[Labels]) -> Labels:
    """The properties for every requested key, whether a block had it or not."""
    lost = keys.difference(wanted)
    if len(lost):
        raise ValueError(
            f"the block with {lost[0].print()} would be lost: add this entry to keys_to_move, or "
            "give names instead of labels"
        )
    if any(labels != properties[0] for labels in properties[1:]):
        raise ValueError(
            "with labels for keys_to_move all blocks must have the same properties; give names"
        )
    both = [np.repeat(wanted.values, len(properties[0]), axis=0)]
    both.append(np.tile(properties[0].values, (len(wanted), 1)))
    return Labels.unchecked((*wanted.names, *properties[0].names), np.concatenate(both, axis=1))


def _moved_components(block: TensorBlock, names: list[str]) -> TensorBlock:
    """Components moved next to the properties, counted from the right as gradients need it."""
    components = block.components
    here = [c.names[0] for c in components]
    kept = [c for c in components if c.names[0] not in names]
    moved = [components[here.index(name)] for name in names[::-1]]
    labels = [*moved, block.properties]
    grid = np.indices([len(part) for part in labels]).reshape(len(labels), -1)
    table = np.concatenate([part.values[at] for part, at in zip(labels, grid, strict=True)], axis=1)
    properties = Labels(
        [name for part in labels for name in part.names], np.ascontiguousarray(table), True
    )
    axes = [1 + here.index(c.names[0]) for c in [*kept, *moved]]
    values = arrays.namespace(block.values).permute_dims(block.values, (0, *axes, len(here) + 1))
    shape = (len(block), *[len(c) for c in kept], prod(len(part) for part in labels))
    gradients = {name: _moved_components(g, names) for name, g in block.gradients()}
    return TensorBlock.unchecked(values.reshape(shape), block.samples, kept, properties, gradients)
