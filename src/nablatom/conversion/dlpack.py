"""Arrays ⇄ any library that speaks DLPack, sharing memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Any, from_dlpack: Callable[[Array], Array]) -> Any:
    """The same labels around arrays of another library, which share memory where they can.

    Gradients go along. What torch has recorded does not: ``detach`` comes first.

    Parameters
    ----------
    from_dlpack
        How the other library takes an array: ``torch.from_dlpack``, ``jax.dlpack.from_dlpack``,
        ``cupy.from_dlpack``, ``numpy.from_dlpack``, …

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from nablatom import block_from_array
    >>> block = to_dlpack(block_from_array(np.ones((2, 1))), torch.from_dlpack)
    >>> type(block.values)
    <class 'torch.Tensor'>
    """
    if isinstance(tensor, TensorMap):
        blocks = [to_dlpack(block, from_dlpack) for block in tensor]
        return TensorMap.unchecked(tensor.keys, blocks, tensor.info())
    if not isinstance(tensor, TensorBlock):
        raise TypeError(f"expected a TensorMap or a TensorBlock, got {type(tensor).__name__}")
    gradients = {name: to_dlpack(gradient, from_dlpack) for name, gradient in tensor.gradients()}
    return TensorBlock.unchecked(
        from_dlpack(tensor.values), tensor.samples, tensor.components, tensor.properties, gradients
    )


def from_dlpack(
    array: Any,
    samples: Labels,
    components: Sequence[Labels],
    properties: Labels,
    *,
    library: str = "numpy",
) -> TensorBlock:
    """A block around the array of any library that speaks DLPack, which shares its memory.

    It has no gradients: ``add_gradient`` takes blocks that are made in the same way.

    Parameters
    ----------
    array : (samples, *components, properties)
        Anything with a method ``__dlpack__``.
    library
        ``"numpy"`` or ``"torch"``: what the values are for nablatom.

    Raises
    ------
    TypeError
        If the array does not speak DLPack.
    ValueError
        If the library has another name, or if the shape does not fit the labels.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels
    >>> n = Labels.range("n", 2)
    >>> from_dlpack(torch.eye(2), Labels.range("atom", 2), [], n).values
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    if not hasattr(array, "__dlpack__"):
        raise TypeError(f"expected an array with __dlpack__, got {type(array).__name__}")
    return TensorBlock(arrays.imported(array, library), samples, components, properties)
