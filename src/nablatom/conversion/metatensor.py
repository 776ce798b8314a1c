"""Labels, blocks and maps ⇄ those of metatensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["from_metatensor", "to_metatensor"]


def to_metatensor(thing: Labels | TensorBlock | TensorMap) -> Any:
    """The same labels, block or map in metatensor, with copies of the arrays.

    Gradients, gradients of gradients and ``info`` go along.

    Raises
    ------
    ImportError
        If metatensor is not installed.
    """
    import metatensor

    if isinstance(thing, Labels):
        return metatensor.Labels(thing.names, np.array(thing.values))
    if isinstance(thing, TensorBlock):
        block = metatensor.TensorBlock(
            arrays.copied(arrays.contiguous(thing.values)),
            to_metatensor(thing.samples),
            [to_metatensor(component) for component in thing.components],
            to_metatensor(thing.properties),
        )
        for name, gradient in thing.gradients():
            block.add_gradient(name, to_metatensor(gradient))
        return block
    if not isinstance(thing, TensorMap):
        raise TypeError(f"expected Labels, a TensorBlock or a TensorMap, got {_kind(thing)}")
    tensor = metatensor.TensorMap(to_metatensor(thing.keys), [to_metatensor(b) for b in thing])
    for key, value in thing.info().items():
        tensor.set_info(key, value)
    return tensor


def from_metatensor(thing: Any) -> Any:
    """The same labels, block or map here, with copies of the arrays.

    Takes those of ``metatensor`` and of ``metatensor.torch``. Gradients, gradients of gradients
    and ``info`` go along.
    """
    if hasattr(thing, "keys") and hasattr(thing, "block_by_id"):
        tensor = TensorMap(
            from_metatensor(thing.keys), [from_metatensor(block) for block in thing.blocks()]
        )
        for key, value in dict(thing.info()).items():
            tensor.set_info(key, value)
        return tensor
    if hasattr(thing, "samples") and hasattr(thing, "properties"):
        block = TensorBlock(
            _copied(thing.values),
            from_metatensor(thing.samples),
            [from_metatensor(component) for component in thing.components],
            from_metatensor(thing.properties),
        )
        for name, gradient in thing.gradients():
            block.add_gradient(name, from_metatensor(gradient))
        return block
    if hasattr(thing, "names") and hasattr(thing, "values"):
        return Labels(list(thing.names), arrays.to_numpy(thing.values))
    raise TypeError(f"expected Labels, a TensorBlock or a TensorMap, got {_kind(thing)}")


def _copied(values: Any) -> Any:
    """An array of its own: what metatensor lends is gone when its owner is."""
    return np.array(values) if isinstance(values, np.ndarray) else arrays.copied(values)


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
