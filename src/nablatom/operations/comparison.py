"""Whether two maps are the same, and where they first differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import listed_names
from nablatom.operations.operands import check_library
from nablatom.tensor import TensorMap

__all__ = [
    "allclose",
    "allclose_raise",
    "equal",
    "equal_metadata",
    "equal_metadata_raise",
    "equal_raise",
]

_AXES = ("samples", "components", "properties")
Check = Callable[[Array, Array], Array]


def equal(a: Any, b: Any) -> bool:
    """Whether two maps or blocks have the same labels and exactly the same numbers.

    Stored gradients are compared too, by name in any order; ``info`` does not count.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, multiply
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> equal(block, block.copy()), equal(block, multiply(block, 2))
    (True, False)
    """
    return next(_differences(a, b, _AXES, _same), None) is None


def equal_raise(a: Any, b: Any) -> None:
    """Raise a ``ValueError`` that shows the first difference, unless :func:`equal`.

    Stored gradients are compared too, after the values that they belong to.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, multiply
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> equal_raise(block, multiply(block, 2))
    Traceback (most recent call last):
        ...
    ValueError: 2 of 2 values differ, the first at (sample=0), (property=0): 1.0 and 2.0
    """
    _raise_first(_differences(a, b, _AXES, _same))


def allclose(
    a: Any, b: Any, rtol: float = 1e-13, atol: float = 1e-12, equal_nan: bool = False
) -> bool:
    """Whether the labels are the same and all numbers agree: ``|a - b| ≤ atol + rtol |b|``.

    Stored gradients are compared too, within the same bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, multiply
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> near = multiply(block, 1 + 1e-9)
    >>> allclose(block, near), allclose(block, near, rtol=1e-8)
    (False, True)
    """
    return next(_differences(a, b, _AXES, _close(rtol, atol, equal_nan)), None) is None


def allclose_raise(
    a: Any, b: Any, rtol: float = 1e-13, atol: float = 1e-12, equal_nan: bool = False
) -> None:
    """Raise a ``ValueError`` that shows the first difference, unless :func:`allclose`.

    Stored gradients are compared too, after the values that they belong to.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array, multiply
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> allclose_raise(block, multiply(block, 1 + 1e-9), rtol=1e-8)
    """
    _raise_first(_differences(a, b, _AXES, _close(rtol, atol, equal_nan)))


def equal_metadata(
    a: Any, b: Any, check: str | Sequence[str] = "all", check_gradients: bool = True
) -> bool:
    """Whether two maps or blocks have the same labels, whatever their numbers.

    ``check`` are some of ``"samples"``, ``"components"``, ``"properties"``; the keys always
    count. Without ``check_gradients`` only the values' own labels do.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> equal_metadata(block_from_array(np.ones((1, 2))), block_from_array(np.zeros((1, 2))))
    True
    """
    return next(_differences(a, b, _checked(check), None, check_gradients), None) is None


def equal_metadata_raise(
    a: Any, b: Any, check: str | Sequence[str] = "all", check_gradients: bool = True
) -> None:
    """Raise a ``ValueError`` that shows the first difference, unless :func:`equal_metadata`.

    The labels of stored gradients count too, unless ``check_gradients`` is False.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> equal_metadata_raise(block_from_array(np.ones((1, 2))), block_from_array(np.zeros((1, 2))))
    """
    _raise_first(_differences(a, b, _checked(check), None, check_gradients))


def _checked(check: str | Sequence[str]) -> Sequence[str]:
    axes = listed_names(check)
    axes = _AXES if axes == ("all",) else axes
    for axis in axes:
        if axis not in _AXES:
            raise ValueError(f"check is some of {', '.join(_AXES)}, or all, got {axis!r}")
    return axes


def _raise_first(differences: Iterator[str]) -> None:
    if (first := next(differences, None)) is not None:
        raise ValueError(first)


def _same(a: Array, b: Array) -> Array:
    return a == b


def _close(rtol: float, atol: float, equal_nan: bool) -> Check:
    def close(a: Array, b: Array) -> Array:
        same = a == b
        if bool(same.all()):
            return same
        with np.errstate(invalid="ignore"):  # of infinity minus itself
            near = abs(a - b) <= atol + rtol * abs(b)
        # within no distance of an infinity is anything but itself
        result = same | (near & arrays.namespace(b).isfinite(b))
        return result | ((a != a) & (b != b)) if equal_nan else result

    return close


def _differences(
    a: Any, b: Any, axes: Sequence[str], check: Check | None, gradients: bool = True
) -> Iterator[str]:
    """In words, each difference between two maps or two blocks, found as it is asked for."""
    for x in (a, b):
        if not isinstance(x, TensorMap | TensorBlock):
            raise TypeError(f"expected a TensorMap or a TensorBlock, got {type(x).__name__}")
    if isinstance(a, TensorBlock) and isinstance(b, TensorBlock):
        yield from _block_differences(a, b, axes, check, gradients, "")
    elif not (isinstance(a, TensorMap) and isinstance(b, TensorMap)):
        yield f"a {type(a).__name__} is not a {type(b).__name__}"
    elif a.keys.names != b.keys.names:
        yield f"the keys have different dimensions: {a.keys.names} and {b.keys.names}"
    elif only := [*a.keys.difference(b.keys), *b.keys.difference(a.keys)]:
        yield f"the key {only[0].print()} is in only one of the two"
    else:
        order = b.keys.union_and_mapping(a.keys)[2]
        for i, block in enumerate(a):
            where = f" in the block with {a.keys[i].print()}"
            other = b.block_by_id(int(order[i]))
            yield from _block_differences(block, other, axes, check, gradients, where)


def _block_differences(
    a: TensorBlock,
    b: TensorBlock,
    axes: Sequence[str],
    check: Check | None,
    gradients: bool,
    where: str,
) -> Iterator[str]:
    for axis in axes:
        here, there = getattr(a, axis), getattr(b, axis)
        if here != there:
            yield f"the {axis} differ{where}: {here!r} and {there!r}"
            return
    if check is not None:
        yield from _value_differences(a, b, check, where)
    if not gradients:
        return
    if set(a.gradients_list()) != set(b.gradients_list()):
        yield f"the gradients differ{where}: {a.gradients_list()} and {b.gradients_list()}"
        return
    for name, gradient in a.gradients():
        inside = f" in the gradient {name!r}{where}"
        yield from _block_differences(gradient, b.gradient(name), axes, check, gradients, inside)


def _same_dtype(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype or arrays.dtype_name(a) == arrays.dtype_name(b)


def _value_differences(a: TensorBlock, b: TensorBlock, check: Check, where: str) -> Iterator[str]:
    check_library([a, b])
    if a.shape != b.shape or not _same_dtype(a.values, b.values):
        yield (
            f"the values differ{where}: {arrays.dtype_name(a.values)} of shape {a.shape} and "
            f"{arrays.dtype_name(b.values)} of shape {b.shape}"
        )
        return
    count = 0
    at: tuple[int, ...] = ()
    for rows in arrays.pieces(a.values):
        agree = check(*[arrays.rows_of(x, rows) for x in (a.values, b.values)])
        if bool(agree.all()):
            continue
        wrong = ~np.asarray(arrays.to_numpy(agree))
        if not count:
            first, *others = np.unravel_index(int(wrong.argmax()), wrong.shape)
            at = (int(first) + (rows.start or 0), *map(int, others))
        count += int(np.count_nonzero(wrong))
    if not count:
        return
    labels = [a.samples, *a.components, a.properties]
    names = ", ".join(axis[i].print() for axis, i in zip(labels, at, strict=True))
    yield (
        f"{count} of {prod(a.shape)} values "
        f"differ{where}, the first at {names}: {a.values[at]} and {b.values[at]}"
    )
