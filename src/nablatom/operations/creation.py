"""The same labels around other arrays: new numbers, other places in memory, other graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import listed_names
from nablatom.operations.lift import blockwise
from nablatom.operations.operands import check_tensor
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = [
    "detach",
    "empty_like",
    "is_contiguous",
    "make_contiguous",
    "ones_like",
    "random_uniform_like",
    "requires_grad",
    "zeros_like",
]


# -- new numbers -----------------------------------------------------------------------


@blockwise
def zeros_like(
    tensor: TensorBlock,
    gradients: str | Sequence[str] | None = None,
    requires_grad: bool = False,
) -> TensorBlock:
    """The same labels around zeros, in values and gradients.

    Parameters
    ----------
    gradients
        The names of those to keep, with gradients of their own; without names, all of them.
    requires_grad
        Whether torch starts to record what is done to the new numbers.

    Raises
    ------
    KeyError
        If a gradient to keep is not there.
    ValueError
        If NumPy is asked to record.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> zeros_like(block_from_array(np.ones((2, 3)))).values
    array([[0., 0., 0.],
           [0., 0., 0.]])
    """
    return _like(tensor, gradients, requires_grad, lambda x: arrays.filled(x.shape, 0, x))


@blockwise
def ones_like(
    tensor: TensorBlock,
    gradients: str | Sequence[str] | None = None,
    requires_grad: bool = False,
) -> TensorBlock:
    """The same labels around ones, in values and gradients.

    The gradients are not the derivatives of the values, which would be zero. Arguments and
    errors are those of :func:`zeros_like`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> ones_like(block_from_array(np.zeros((2, 3)))).values
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    return _like(tensor, gradients, requires_grad, lambda x: arrays.filled(x.shape, 1, x))


@blockwise
def empty_like(
    tensor: TensorBlock,
    gradients: str | Sequence[str] | None = None,
    requires_grad: bool = False,
) -> TensorBlock:
    """The same labels around whatever is in memory, for values and gradients to be filled in.

    Arguments and errors are those of :func:`zeros_like`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> empty_like(block_from_array(np.zeros((2, 3)))).shape
    (2, 3)
    """
    return _like(tensor, gradients, requires_grad, lambda x: arrays.namespace(x).empty_like(x))


@traceable
def random_uniform_like(
    tensor: Any,
    gradients: str | Sequence[str] | None = None,
    requires_grad: bool = False,
    *,
    generator: Any = None,
) -> Any:
    """The same labels around random numbers, evenly spread between 0 and 1.

    Gradients are filled too, and are not the derivatives of the values. The other arguments
    and errors are those of :func:`zeros_like`.

    Parameters
    ----------
    generator
        Where the numbers come from: a ``numpy.random.Generator`` (for torch as well, to get the
        same numbers) or a ``torch.Generator``. Without it, NumPy's are different at each call
        and torch's follow ``torch.manual_seed``.

    Raises
    ------
    TypeError
        If the generator is of another kind, or if the values are integers.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, equal
    >>> block = block_from_array(np.ones((2, 3)))
    >>> first = random_uniform_like(block, generator=np.random.default_rng(1))
    >>> again = random_uniform_like(block, generator=np.random.default_rng(1))
    >>> equal(first, again)
    True
    """
    check_tensor("random_uniform_like", tensor)
    return _random_like(tensor, gradients, requires_grad, arrays.uniform(generator))


@blockwise
def _random_like(
    tensor: TensorBlock,
    gradients: str | Sequence[str] | None,
    record: bool,
    make: Callable[[Array], Array],
) -> TensorBlock:
    return _like(tensor, gradients, record, make)


def _like(
    block: TensorBlock,
    gradients: str | Sequence[str] | None,
    record: bool,
    make: Callable[[Array], Array],
) -> TensorBlock:
    names = None if gradients is None else listed_names(gradients)
    kept = dict(block.gradients()) if names is None else {n: block.gradient(n) for n in names}
    chosen = TensorBlock.unchecked(
        block.values, block.samples, block.components, block.properties, kept
    )
    return _around(chosen, (lambda x: arrays.with_graph(make(x))) if record else make)


def _around(block: TensorBlock, change: Callable[[Array], Array]) -> TensorBlock:
    """The same labels around what becomes of each array, gradients included."""
    gradients = {name: _around(gradient, change) for name, gradient in block.gradients()}
    return TensorBlock.unchecked(
        change(block.values), block.samples, block.components, block.properties, gradients
    )


# -- the same numbers ------------------------------------------------------------------


@blockwise
def detach(tensor: TensorBlock) -> TensorBlock:
    """The same numbers, sharing memory, out of the graph that torch has recorded.

    Stored gradients are kept, and leave the graph too. NumPy arrays stay as they are.

    Examples
    --------
    >>> import torch
    >>> from nablatom import block_from_array, requires_grad
    >>> detach(requires_grad(block_from_array(torch.ones(2, 1)))).values.requires_grad
    False
    """
    return _around(tensor, arrays.detached)


@blockwise
def requires_grad(tensor: TensorBlock, requires_grad: bool = True) -> TensorBlock:
    """The same numbers, sharing memory, whose use torch records from here on, or does not.

    What is recorded already stays so. The arrays of the operand themselves do not change. Stored
    gradients are recorded as well, as numbers of their own.

    Raises
    ------
    ValueError
        If NumPy is asked to record.

    Examples
    --------
    >>> import torch
    >>> from nablatom import block_from_array
    >>> block = requires_grad(block_from_array(torch.ones(2, 1)))
    >>> (block.values**2).sum().backward()
    >>> block.values.grad
    tensor([[2.],
            [2.]])
    """
    return _around(tensor, arrays.with_graph if requires_grad else arrays.detached)


@blockwise
def make_contiguous(tensor: TensorBlock) -> TensorBlock:
    """The same numbers, copied where they do not stand in memory in the order of the axes.

    Gradients too, each for itself.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, is_contiguous
    >>> is_contiguous(make_contiguous(block_from_array(np.ones((2, 3)).T)))
    True
    """
    return _around(tensor, arrays.contiguous)


def is_contiguous(tensor: TensorMap | TensorBlock) -> bool:
    """Whether all values and gradients stand in memory in the order of the axes, without gaps.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> is_contiguous(block_from_array(np.ones((2, 3)).T))
    False
    """
    check_tensor("is_contiguous", tensor)
    if isinstance(tensor, TensorMap):
        return all(is_contiguous(block) for block in tensor)
    inside = all(is_contiguous(gradient) for _, gradient in tensor.gradients())
    return inside and arrays.is_contiguous(tensor.values)
