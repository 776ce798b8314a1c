"""From an operation on blocks to the same operation on maps, key by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from nablatom.block import TensorBlock
from nablatom.operations.operands import check_tensor
from nablatom.operations.together import together
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["blockwise", "map_blocks", "rowwise"]


def blockwise(operation: Callable[..., TensorBlock]) -> Callable[..., Any]:
    """Let an operation on blocks also take maps.

    Every operand or option that is a map gives the block of each key in turn, whatever the
    order of its keys; the others go to each call as they are. The result has the keys and the
    info of the first operand that is a map.
    """
    return _lifted(operation, map_blocks)


def rowwise(operation: Callable[..., TensorBlock]) -> Callable[..., Any]:
    """The same for an operation that treats every row alike and alone, and keeps the labels.

    Many small blocks are then worked on together: see :mod:`nablatom.operations.together`.
    """

    def apply(
        operation: Callable[..., TensorBlock],
        first: TensorMap,
        operands: Sequence[Any],
        options: dict[str, Any],
    ) -> TensorMap:
        result = together(operation, first, operands, options)
        return map_blocks(operation, first, operands, options) if result is None else result

    return _lifted(operation, apply)


def _lifted(
    operation: Callable[..., TensorBlock], on_maps: Callable[..., TensorMap]
) -> Callable[..., Any]:
    named = operation.__code__.co_varnames[: operation.__code__.co_argcount]
    kinds = operation.__annotations__
    tensors = [(i, name) for i, name in enumerate(named) if kinds.get(name) == "TensorBlock"]

    @traceable
    @wraps(operation)
    def lifted(*operands: Any, **options: Any) -> Any:
        for i, name in tensors:
            if i < len(operands) or name in options:
                given = operands[i] if i < len(operands) else options[name]
                check_tensor(operation.__name__.strip("_"), given, name)
        everything = (*operands, *options.values())
        first = next((x for x in everything if isinstance(x, TensorMap)), None)
        if first is None:
            return operation(*operands, **options)
        return on_maps(operation, first, operands, options)

    return lifted


def map_blocks(
    operation: Callable[..., TensorBlock],
    first: TensorMap,
    operands: Sequence[Any],
    options: dict[str, Any],
) -> TensorMap:
    """``operation`` applied to the blocks of each key of ``first``."""
    columns = [
        _in_order(x, first) if isinstance(x, TensorMap) else [x] * len(first) for x in operands
    ]
    named = {name: _in_order(x, first) for name, x in options.items() if isinstance(x, TensorMap)}
    blocks = []
    for i in range(len(first)):
        if named:
            options = {**options, **{name: parts[i] for name, parts in named.items()}}
        try:
            blocks.append(operation(*[column[i] for column in columns], **options))
        except (ValueError, KeyError, TypeError) as error:
            name = operation.__name__.strip("_")
            error.add_note(f"in {name}, in the block with {first.keys[i].print()}")
            raise
    return TensorMap.unchecked(first.keys, blocks, first.info())


def _in_order(tensor: TensorMap, first: TensorMap) -> list[TensorBlock]:
    """The blocks of a map in the order of another one's keys, which must be the same set."""
    if tensor is first or tensor.keys == first.keys:
        return tensor.blocks()
    if tensor.keys.names != first.keys.names or len(tensor) != len(first):
        raise ValueError(_different_keys(first, tensor))
    if len(tensor.keys.intersection(first.keys)) < len(first):
        raise ValueError(_different_keys(first, tensor))
    return tensor.blocks_by_id(tensor.keys.union_and_mapping(first.keys)[2].tolist())


def _different_keys(a: TensorMap, b: TensorMap) -> str:
    if a.keys.names != b.keys.names:
        return f"maps must have the same key dimensions, got {a.keys.names} and {b.keys.names}"
    only = [*a.keys.difference(b.keys), *b.keys.difference(a.keys)]
    return (
        f"maps must have the same keys, but {only[0].print()} is in only one of them"
        f"{f' (and {len(only) - 1} more)' if len(only) > 1 else ''}"
    )
