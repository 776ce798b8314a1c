"""Several maps → one, along samples or properties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nablatom.block import TensorBlock
from nablatom.labels import Labels, LabelsEntry, remembered
from nablatom.merge import end_to_end, merge, merged_labels
from nablatom.operations.operands import check_library
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["join", "join_blocks", "joint_keys"]


@traceable
def join(
    tensors: Sequence[Any],
    axis: str,
    different_keys: str = "error",
    add_dimension: str | None = None,
) -> Any:
    """One map from several, one after the other along ``"samples"`` or ``"properties"``.

    Gradients, and theirs, are joined like their values: along samples, each row goes with its
    sample; along properties, rows that one of the maps lacks are zero there.

    Parameters
    ----------
    tensors
        Maps, or blocks. Along samples they have the same properties, along properties the
        same samples, and always the same components and names of gradients.
    different_keys
        What happens to a key that is not in all maps: ``"error"``, ``"intersection"`` (its
        blocks are left out) or ``"union"`` (it keeps the blocks that there are).
    add_dimension
        The name of a new last dimension of the axis, which counts the maps.

    Raises
    ------
    ValueError
        If the maps do not go together, or if an entry occurs twice along the axis: then
        ``add_dimension`` tells them apart.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, multiply
    >>> block = block_from_array(np.array([[1.0, 2.0]]), ["system"], [], ["n"])
    >>> joined = join([block, multiply(block, 2)], "samples", add_dimension="set")
    >>> joined.values
    array([[1., 2.],
           [2., 4.]])
    >>> print(joined.samples)
    Labels(
        system  set
          0      0
          0      1
    )
    """
    _check_joined(tensors)
    if axis not in ("samples", "properties"):
        raise ValueError(f'axis must be "samples" or "properties", got {axis!r}')
    if isinstance(tensors[0], TensorBlock):
        return _joined([(i, block) for i, block in enumerate(tensors)], axis, add_dimension)
    keys = joint_keys([tensor.keys for tensor in tensors], different_keys)
    columns = [tensor.keys.union_and_mapping(keys)[2] for tensor in tensors]
    blocks = []
    for k in range(len(keys)):
        parts = [
            (i, tensor.block_by_id(int(at[k])))
            for i, (tensor, at) in enumerate(zip(tensors, columns, strict=True))
            if at[k] < len(tensor)
        ]
        try:
            blocks.append(_joined(parts, axis, add_dimension))
        except ValueError as error:
            error.add_note(f"in join, in the blocks with {keys[k].print()}")
            raise
    return TensorMap.unchecked(keys, blocks, _shared_info([dict(t.info()) for t in tensors]))


def join_blocks(
    blocks: Sequence[TensorBlock], axis: str, add_dimension: str | None = None
) -> TensorBlock:
    """One block from several, one after the other along an axis; see :func:`join`.

    Gradients are joined like their values.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, multiply
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> join_blocks([block, multiply(block, 2)], "properties", add_dimension="set").values
    array([[1., 2., 2., 4.]])
    """
    joined: TensorBlock = join(blocks, axis, add_dimension=add_dimension)
    return joined


def _check_joined(tensors: Sequence[Any]) -> None:
    if not isinstance(tensors, Sequence):
        raise TypeError(f"join needs a list of maps or of blocks, got {type(tensors).__name__}")
    if not tensors:
        raise ValueError("there is nothing to join")
    kind = type(tensors[0])
    for tensor in tensors:
        if not isinstance(tensor, TensorMap | TensorBlock):
            raise TypeError(f"join needs maps or blocks, got {type(tensor).__name__}")
        if type(tensor) is not kind:
            raise TypeError(
                f"join needs maps alone or blocks alone, got a {kind.__name__} and a "
                f"{type(tensor).__name__}"
            )


def joint_keys(keys: Sequence[Labels], different_keys: str) -> Labels:
    """The keys that an operation on several maps has; see :func:`join`."""
    first = keys[0]
    for other in keys[1:]:
        if other.names != first.names:
            raise ValueError(
                f"maps must have the same key dimensions, got {first.names} and {other.names}"
            )
    if different_keys == "union":
        return merged_labels(keys, sort=False)[0]
    if different_keys == "intersection":
        for other in keys[1:]:
            first = first.intersection(other)
        return first
    if different_keys != "error":
        raise ValueError(
            f'different_keys must be "error", "intersection" or "union", got {different_keys!r}'
        )
    for other in keys[1:]:
        if other != first and (only := [*first.difference(other), *other.difference(first)]):
            raise ValueError(
                f"the key {only[0].print()} is not in all maps; say different_keys="
                '"intersection" or "union" if that is meant'
            )
    return first


def _joined(
    parts: list[tuple[int, TensorBlock]], axis: str, add_dimension: str | None
) -> TensorBlock:
    blocks = [block for _, block in parts]
    check_library(blocks)
    along = [getattr(block, axis) for block in blocks]
    if add_dimension is not None:
        numbers = [i for i, _ in parts]
        along = [_numbered(x, add_dimension, i) for x, i in zip(along, numbers, strict=True)]
    for labels in along[1:]:
        if labels.names != along[0].names:
            raise ValueError(
                f"{axis} must have the same dimensions, got {along[0].names} and {labels.names}"
            )
    across = "properties" if axis == "samples" else "samples"
    for block in blocks[1:]:
        if getattr(block, across) != getattr(blocks[0], across):
            raise ValueError(
                f"to join along {axis}, the {across} must be the same in the same order, got "
                f"{getattr(blocks[0], across)!r} and {getattr(block, across)!r}"
            )
    if axis == "samples" and len(blocks) > _FEW:
        return end_to_end(blocks, _distinct(along))
    joint = merged_labels(along, sort=False)
    if len(joint[0]) < sum(map(len, along)):
        raise _repetition(along, axis)
    same = merged_labels([getattr(block, across) for block in blocks], sort=False)
    samples, properties = (joint, same) if axis == "samples" else (same, joint)
    return merge(blocks, samples, properties, axis=axis, sort=False)


@remembered
def _numbered(labels: Labels, name: str, number: int) -> Labels:
    return labels.append(name, np.full(len(labels), number))


# Beyond so many operands, as in a batch for training, what is joined is new every time: the plan
# is not worth remembering.
_FEW = 8


def _distinct(along: list[Labels]) -> Labels:
    """The entries of several labels in turn, which must be different."""
    try:
        return Labels(along[0].names, np.concatenate([labels.values for labels in along]))
    except ValueError:
        raise _repetition(along, "samples") from None


def _repetition(along: list[Labels], axis: str) -> ValueError:
    return ValueError(
        f"{_repeated(along).print()} is in the {axis} of more than one operand; "
        "add_dimension tells them apart"
    )


def _repeated(along: list[Labels]) -> LabelsEntry:
    """An entry that more than one of several labels have."""
    seen = along[0]
    for labels in along[1:]:
        if len(shared := seen.intersection(labels)):
            return shared[0]
        seen = seen.union(labels)
    raise AssertionError("no entry is repeated")


def _shared_info(infos: list[dict[str, str]]) -> dict[str, str]:
    """What all maps say in the same words."""
    first = infos[0]
    return {k: v for k, v in first.items() if all(info.get(k) == v for info in infos[1:])}
