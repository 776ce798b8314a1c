"""Functions of every entry by itself: exponentials, waves, activations, bounds.

Each is :func:`~nablatom.operations.chain.elementwise` with its slope, so that stored gradients
are multiplied by the slope of the value that they belong to.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.operations.chain import elementwise, scaled
from nablatom.operations.lift import rowwise

__all__ = ["clip", "cos", "exp", "log", "maximum", "relu", "silu", "sin", "sqrt", "tanh"]


@rowwise
def exp(a: TensorBlock) -> TensorBlock:
    """The exponential ``e^a`` of every entry.

    Gradients follow ``e^a da``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> block = TensorBlock(np.array([[0.0]]), Labels.single(), [], Labels.single())
    >>> exp(block).values
    array([[1.]])
    """
    y = arrays.namespace(a.values).exp(a.values)
    return scaled(y, lambda rows: arrays.rows_of(y, rows), a)


@rowwise
def log(a: TensorBlock) -> TensorBlock:
    """The natural logarithm of every entry.

    Gradients follow ``da / a``. Entries that are not positive give what the array library
    gives for them: minus infinity at zero, NaN below.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> log(block_from_array(np.array([[1.0]]))).values
    array([[0.]])
    """
    return elementwise(arrays.namespace(a.values).log, lambda x: 1 / x, a)


@rowwise
def sqrt(a: TensorBlock) -> TensorBlock:
    """The square root of every entry.

    Gradients follow ``da / (2 sqrt(a))``, which is not finite at zero. For the length of a
    vector, which has a gradient to speak of there, see :func:`norm`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> sqrt(block_from_array(np.array([[4.0]]))).values
    array([[2.]])
    """
    y = arrays.namespace(a.values).sqrt(a.values)
    return scaled(y, lambda rows: 0.5 / arrays.rows_of(y, rows), a)


@rowwise
def sin(a: TensorBlock) -> TensorBlock:
    """The sine of every entry, in radians.

    Gradients follow ``cos(a) da``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> sin(block_from_array(np.array([[np.pi / 2]]))).values
    array([[1.]])
    """
    xp = arrays.namespace(a.values)
    return elementwise(xp.sin, xp.cos, a)


@rowwise
def cos(a: TensorBlock) -> TensorBlock:
    """The cosine of every entry, in radians.

    Gradients follow ``-sin(a) da``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> cos(block_from_array(np.array([[0.0]]))).values
    array([[1.]])
    """
    xp = arrays.namespace(a.values)
    return elementwise(xp.cos, lambda x: -xp.sin(x), a)


@rowwise
def tanh(a: TensorBlock) -> TensorBlock:
    """The hyperbolic tangent of every entry.

    Gradients follow ``(1 - tanh(a)^2) da``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> tanh(block_from_array(np.array([[0.0, 100.0]]))).values
    array([[0., 1.]])
    """
    y = arrays.namespace(a.values).tanh(a.values)
    return scaled(y, lambda rows: 1 - arrays.rows_of(y, rows) ** 2, a)


@rowwise
def silu(a: TensorBlock) -> TensorBlock:
    """The sigmoid linear unit ``a s(a)`` of every entry, with ``s(a) = 1 / (1 + e^-a)``.

    Gradients follow ``s (1 + a (1 - s)) da``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> silu(block_from_array(np.array([[0.0, 100.0]]))).values
    array([[  0., 100.]])

    References
    ----------
    Elfwing, Uchibe, Doya, Neural Networks 107, 3 (2018).
    """
    return elementwise(lambda x: x * arrays.sigmoid(x), _slope_of_silu, a)


def _slope_of_silu(x: Array) -> Array:
    s = arrays.sigmoid(x)
    return s * (1 + x * (1 - s))


@rowwise
def relu(a: TensorBlock) -> TensorBlock:
    """The larger of every entry and zero.

    Gradients are kept where ``a > 0`` and zero elsewhere, also at ``a = 0``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> relu(block_from_array(np.array([[-2.0, 3.0]]))).values
    array([[0., 3.]])
    """
    return _at_least(a, 0)


@rowwise
def maximum(a: TensorBlock, bound: float) -> TensorBlock:
    """The larger of every entry and a number.

    Gradients are kept where ``a > bound`` and zero elsewhere, also where they are equal.

    Raises
    ------
    TypeError
        If the bound is not a real number.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> maximum(block_from_array(np.array([[-2.0, 3.0]])), 1).values
    array([[1., 3.]])
    """
    return _at_least(a, _number("the bound of maximum", bound))


@rowwise
def clip(a: TensorBlock, low: float | None = None, high: float | None = None) -> TensorBlock:
    """Every entry, or the bound that it lies beyond; None is no bound.

    Gradients are kept where ``low < a < high`` and zero elsewhere, also on the bounds.

    Raises
    ------
    TypeError
        If a bound is neither a real number nor None.
    ValueError
        If there is no number between the bounds, or no bound.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> values = np.array([[-3.0, 0.5, 3.0]])
    >>> block = TensorBlock(values, Labels.single(), [], Labels.range("n", 3))
    >>> clip(block, -1, 1).values
    array([[-1. ,  0.5,  1. ]])
    """
    if low is None and high is None:
        raise ValueError("clip needs a lower bound, an upper bound or both")
    low = None if low is None else _number("the lower bound of clip", low)
    high = None if high is None else _number("the upper bound of clip", high)
    if low is not None and high is not None and not low <= high:
        raise ValueError(f"the bounds of clip must be in order, got low={low} and high={high}")

    def bounded(x: Array) -> Array:
        x = x if low is None else arrays.larger(x, low)
        return x if high is None else arrays.smaller(x, high)

    def inside(x: Array) -> Array:
        return (low is None or x > low) & (high is None or x < high)

    return elementwise(bounded, inside, a)


def _at_least(a: TensorBlock, bound: Any) -> TensorBlock:
    return elementwise(lambda x: arrays.larger(x, bound), lambda x: x > bound, a)


def _number(what: str, x: Any) -> Any:
    """A real number as one of Python, so that the blocks keep their dtype."""
    if isinstance(x, np.generic):
        x = x.item()
    if not isinstance(x, Real):
        raise TypeError(f"{what} must be a real number, got {type(x).__name__}")
    return x
