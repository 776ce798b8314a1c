"""What operations are given: errors that say what was expected where it is something else."""

from __future__ import annotations

from collections.abc import Sequence

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["check_labels", "check_library", "check_map", "check_tensor"]


def check_tensor(operation: str, given: object, name: str = "tensor") -> None:
    """Raise an error unless an operand is a map or a block."""
    if not isinstance(given, TensorMap | TensorBlock):
        raise TypeError(
            f"{operation} needs a TensorMap or a TensorBlock for {name!r}, got "
            f"{type(given).__name__}"
        )


def check_map(operation: str, given: object, name: str = "tensor") -> None:
    """Raise an error unless an operand is a map: a block has no keys."""
    if isinstance(given, TensorBlock):
        raise TypeError(
            f"{operation} is about keys and needs a TensorMap for {name!r}, got a TensorBlock; "
            "TensorMap(Labels.single(), [block]) is a map of one block"
        )
    if not isinstance(given, TensorMap):
        raise TypeError(f"{operation} needs a TensorMap for {name!r}, got {type(given).__name__}")


def check_labels(operation: str, given: object, name: str) -> None:
    """Raise an error unless an argument is labels."""
    if not isinstance(given, Labels):
        raise TypeError(f"{operation} needs Labels for {name!r}, got {type(given).__name__}")


def check_library(blocks: Sequence[TensorBlock]) -> None:
    """Raise an error unless the values of all blocks are arrays of the same library."""
    first = blocks[0].values
    for block in blocks[1:]:
        # subclasses, such as parameters of torch, are of the same library
        if type(block.values) is type(first):
            continue
        ours, theirs = (arrays.namespace(x).__name__.split(".")[-1] for x in (first, block.values))
        if ours != theirs:
            raise TypeError(
                f"operands must be of the same array library, got {ours} and {theirs}; "
                '.to(arrays="numpy") and .to(arrays="torch") take one to the other'
            )
