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
from nablatom.operations.joining import joint_keys
from nablatom.operations.lift import rowwise
from nablatom.operations.selection import filter_blocks
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["abs", "add", "divide", "multiply", "pow", "subtract"]


@traceable
def add(a: Any, b: Any, *, different_keys: str = "error") -> Any:
    """The sum ``a + b`` of two maps or blocks, or of one and a real number.

    Gradients add up, ``da + db``; a number has none.

    Parameters
    ----------
    different_keys
        What happens to a key that only one of two maps has: ``"error"``, ``"union"`` (the block
        that is missing counts as zero, so that the sum is the other one, shared) or
        ``"intersection"`` (it is left out).

    Raises
    ------
    ValueError
        If keys, samples, components, properties or the names of gradients differ.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> block = block_from_array(np.array([[1.0]]))
    >>> add(block, 2).values
    array([[3.]])
    >>> a = TensorMap(Labels(["center_type"], [[1], [6]]), [block, block])
    >>> b = TensorMap(Labels(["center_type"], [[6], [8]]), [block, block])
    >>> total = add(a, b, different_keys="union")
    >>> [(key["center_type"], block.values.item()) for key, block in total.items()]
    [(1, 1.0), (6, 2.0), (8, 1.0)]
    """
    if different_keys == "error":
        return _add(a, b)
    return _on_joint_keys(_add, a, b, different_keys, alone=(_itself, _itself))


@rowwise
def _add(a: Any, b: Any) -> TensorBlock:
    if _is_number(a):
        return _shifted(_tensor(b), lambda y: _plain(a) + y)
    if _is_number(b):
        return _shifted(a, lambda x: x + _plain(b))
    _check_same_labels("add", a, b)
    return linear(lambda x, y: x + y, a, b)


@traceable
def subtract(a: Any, b: Any, *, different_keys: str = "error") -> Any:
    """The difference ``a - b`` of two maps or blocks, or of one and a real number.

    Gradients subtract, ``da - db``; a number has none. Arguments and errors are those of
    :func:`add`: with ``different_keys="union"``, a block that only ``b`` has becomes ``-b``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0, 4.0]]))
    >>> subtract(1, block).values
    array([[ 0., -3.]])
    """
    if different_keys == "error":
        return _subtract(a, b)
    return _on_joint_keys(_subtract, a, b, different_keys, alone=(_itself, _negative))


@rowwise
def _subtract(a: Any, b: Any) -> TensorBlock:
    if _is_number(a):
        return _shifted(_negative(_tensor(b)), lambda y: _plain(a) + y)
    if _is_number(b):
        return _shifted(a, lambda x: x - _plain(b))
    _check_same_labels("subtract", a, b)
    return linear(lambda x, y: x - y, a, b)


@traceable
def multiply(a: Any, b: Any, *, different_keys: str = "error") -> Any:
    """The product ``a b``, entry by entry, of maps or blocks, or of one and a real number.

    Gradients follow the product rule ``da b + a db``. Errors are those of :func:`add`.

    Parameters
    ----------
    different_keys
        What happens to a key that only one of two maps has: ``"error"``, or ``"intersection"``
        (the block that is missing counts as zero, and so does the product, which is left out).

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0, 4.0]]))
    >>> multiply(block, block).values
    array([[ 1., 16.]])
    """
    if different_keys == "error":
        return _multiply(a, b)
    if different_keys == "union":
        raise ValueError(
            'a product with a missing block is zero and not stored: say "intersection" for that'
        )
    return _on_joint_keys(_multiply, a, b, different_keys, alone=(_itself, _itself))


@rowwise
def _multiply(a: Any, b: Any) -> TensorBlock:
    if _is_number(a):
        return linear(lambda y: _plain(a) * y, _tensor(b))
    if _is_number(b):
        return linear(lambda x: x * _plain(b), a)
    _check_same_labels("multiply", a, b)
    return bilinear(lambda x, y: x * y, a, b)


@rowwise
def divide(a: Any, b: Any) -> TensorBlock:
    """The quotient ``a / b``, entry by entry, of maps or blocks, or of one and a real number.

    Gradients follow the quotient rule ``(da - a/b db) / b``. Errors are those of :func:`add`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0, 4.0]]))
    >>> divide(2, block).values
    array([[2. , 0.5]])
    """
    if _is_number(a):
        return elementwise(lambda y: _plain(a) / y, lambda y: -_plain(a) / (y * y), _tensor(b))
    if _is_number(b):
        return linear(lambda x: x / _plain(b), a)
    _check_same_labels("divide", a, b)
    return pointwise(lambda x, y: x / y, lambda x, y, dx, dy: (dx - x / y * dy) / y, a, b)


@rowwise
def pow(a: TensorBlock, exponent: float) -> TensorBlock:
    """The power ``a ** exponent``, entry by entry.

    Gradients follow ``exponent a ** (exponent - 1) da``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0, 4.0]]))
    >>> pow(block, 0.5).values
    array([[1., 2.]])
    """
    if not _is_number(exponent):
        raise TypeError(f"the exponent must be a real number, got {type(exponent).__name__}")
    n = _plain(exponent)
    return elementwise(lambda x: _power(x, n), lambda x: n * _power(x, n - 1), a)


@rowwise
def abs(a: TensorBlock) -> TensorBlock:
    """The absolute value of every entry.

    Gradients follow ``sign(a) da``; at zero, where there is no derivative, they are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> abs(block_from_array(np.array([[1.0, -4.0]]))).values
    array([[1., 4.]])
    """
    return elementwise(arrays.namespace(a.values).abs, arrays.sign, a)


Alone = Callable[[TensorBlock], TensorBlock]


def _on_joint_keys(
    operation: Callable[[Any, Any], Any],
    a: TensorMap,
    b: TensorMap,
    different_keys: str,
    *,
    alone: tuple[Alone, Alone],
) -> TensorMap:
    """An operation where both maps have a block; ``alone`` is for those of only one of them."""
    for x in (a, b):
        if not isinstance(x, TensorMap):
            raise TypeError(f"different_keys is about two maps, got a {type(x).__name__}")
    keys = joint_keys([a.keys, b.keys], different_keys)
    in_a, in_b = a.keys.intersection(keys), b.keys.intersection(keys)
    shared = in_a.intersection(in_b)
    both = operation(filter_blocks(a, shared), filter_blocks(b, shared))
    blocks = dict(zip(shared, both, strict=True))
    for tensor, own, change in ((a, in_a, alone[0]), (b, in_b, alone[1])):
        for key in own.difference(shared):
            blocks[key] = change(tensor.block(key))
    result = TensorMap(keys, [blocks[key] for key in keys])
    return TensorMap.unchecked(keys, result.blocks(), both.info())


def _itself(block: TensorBlock) -> TensorBlock:
    return block


def _negative(block: TensorBlock) -> TensorBlock:
    return linear(lambda x: -x, block)


def _power(x: Array, n: Any) -> Array:
    """``x ** n``; small whole exponents by multiplication, which is much faster."""
    if n == 0:
        return arrays.filled(x.shape, 1, x)
    if not isinstance(n, int | float) or not 1 <= n <= 8 or n != builtins.round(n):
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


def _tensor(x: Any) -> TensorBlock:
    if not isinstance(x, TensorBlock):
        raise TypeError(f"one operand must be a TensorMap or a TensorBlock, got {x!r} and a number")
    return x


def _plain(x: Any) -> Any:
    """NumPy numbers as Python's, so that the blocks keep their dtype."""
    return x.item() if isinstance(x, np.generic) else x


def _check_same_labels(operation: str, a: TensorBlock, b: TensorBlock) -> None:
    if a.labelled_as(b):
        return
    for axis, here, there in (
        ("components", a.components, b.components),
        ("properties", a.properties, b.properties),
    ):
        if here != there:
            raise ValueError(
                f"{operation} needs the same {axis} in the same order, got {here!r} and {there!r}"
            )
