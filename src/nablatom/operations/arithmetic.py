"""Arithmetic, entry by entry, on maps, blocks and real numbers."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.operations.chain import bilinear, elementwise, linear, pointwise
from nablatom.operations.lift import blockwise

__all__ = ["abs", "add", "divide", "multiply", "pow", "subtract"]


@blockwise
def add(a: Any, b: Any) -> TensorBlock:
    """The sum ``a + b`` of two maps or blocks, or of one and a real number.

    Gradients add up, ``da + db``; a number has none.

    Raises
    ------
    ValueError
        If keys, samples, components, properties or the names of gradients differ.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> block = TensorBlock(np.array([[1.0]]), Labels.single(), [], Labels.single())
    >>> add(block, 2).values
    array([[3.]])
    """
    if _is_number(a):
        return _shifted(b, lambda y: _plain(a) + y)
    if _is_number(b):
        return _shifted(a, lambda x: x + _plain(b))
    _check_same_labels("add", a, b)
    return linear(lambda x, y: x + y, a, b)


@blockwise
def subtract(a: Any, b: Any) -> TensorBlock:
    """The difference ``a - b`` of two maps or blocks, or of one and a real number.

    Gradients subtract, ``da - db``; a number has none. Errors are those of :func:`add`.
    """
    if _is_number(a):
        return linear(lambda y: -y, _shifted(b, lambda y: y - _plain(a)))
    if _is_number(b):
        return _shifted(a, lambda x: x - _plain(b))
    _check_same_labels("subtract", a, b)
    return linear(lambda x, y: x - y, a, b)


@blockwise
def multiply(a: Any, b: Any) -> TensorBlock:
    """The product ``a b``, entry by entry, of maps or blocks, or of one and a real number.

    Gradients follow the product rule ``da b + a db``. Errors are those of :func:`add`.
    """
    if _is_number(a):
        return linear(lambda y: _plain(a) * y, b)
    if _is_number(b):
        return linear(lambda x: x * _plain(b), a)
    _check_same_labels("multiply", a, b)
    return bilinear(lambda x, y: x * y, a, b)


@blockwise
def divide(a: Any, b: Any) -> TensorBlock:
    """The quotient ``a / b``, entry by entry, of maps or blocks, or of one and a real number.

    Gradients follow the quotient rule ``(da - a/b db) / b``. Errors are those of :func:`add`.
    """
    if _is_number(a):
        return elementwise(lambda y: _plain(a) / y, lambda y: -_plain(a) / (y * y), b)
    if _is_number(b):
        return linear(lambda x: x / _plain(b), a)
    _check_same_labels("divide", a, b)
    return pointwise(lambda x, y: x / y, lambda x, y, dx, dy: (dx - x / y * dy) / y, a, b)


@blockwise
def pow(a: TensorBlock, exponent: float) -> TensorBlock:
    """The power ``a ** exponent``, entry by entry.

    Gradients follow ``exponent a ** (exponent - 1) da``.
    """
    if not _is_number(exponent):
        raise TypeError(f"the exponent must be a real number, got {type(exponent).__name__}")
    n = _plain(exponent)
    return elementwise(lambda x: _power(x, n), lambda x: n * _power(x, n - 1), a)


@blockwise
def abs(a: TensorBlock) -> TensorBlock:
    """The absolute value of every entry.

    Gradients follow ``sign(a) da``; at zero, where there is no derivative, they are zero.
    """
    xp = arrays.namespace(a.values)
    return elementwise(xp.abs, xp.sign, a)


def _power(x: Array, n: Any) -> Array:
    """``x ** n``; small whole exponents by multiplication, which is ten times faster."""
    if n == 0:
        return arrays.filled(x.shape, 1, x)
    if not isinstance(n, int | float) or n != builtins.round(n) or not 1 <= n <= 8:
        return x**n
    half = _power(x * x, n // 2) if n > 1 else None
    if half is None:
        return x
    return half * x if n % 2 else half


def _shifted(block: TensorBlock, shift: Callable[[Array], Array]) -> TensorBlock:
    """Other values with the same gradients."""
    values = shift(block.values)
    gradients = dict(block.gradients())
    if values.dtype != block.dtype:
        gradients = {name: g.to(dtype=values.dtype) for name, g in gradients.items()}
    return TensorBlock.unchecked(
        values, block.samples, block.components, block.properties, gradients
    )


def _is_number(x: Any) -> bool:
    """Whether this is one number: of Python, of NumPy, or an array without axes."""
    if isinstance(x, TensorBlock):
        return False
    if isinstance(x, Real | np.number) or (arrays.is_array(x) and x.ndim == 0):
        return True
    raise TypeError(f"expected a TensorMap, a TensorBlock or a real number, got {type(x).__name__}")


def _plain(x: Any) -> Any:
    """NumPy numbers as Python's, so that the blocks keep their dtype."""
    return x.item() if isinstance(x, np.generic) else x


def _check_same_labels(operation: str, a: TensorBlock, b: TensorBlock) -> None:
    for axis, here, there in (
        ("components", a.components, b.components),
        ("properties", a.properties, b.properties),
    ):
        if here != there:
            raise ValueError(
                f"{operation} needs the same {axis} in the same order, got {here!r} and {there!r}"
            )
