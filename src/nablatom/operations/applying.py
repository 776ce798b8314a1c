"""Any function of the values of each sample, with its gradients worked out for you."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations.chain import pointwise
from nablatom.operations.lift import blockwise

__all__ = ["apply"]


@blockwise
def apply(
    function: Callable[..., Array],
    *blocks: TensorBlock,
    components: Sequence[Labels] | None = None,
    properties: Labels | None = None,
) -> TensorBlock:
    """``function(x, y, …)`` of maps or blocks, sample by sample, with every stored gradient.

    Gradients follow ``∂f/∂x dx + ∂f/∂y dy + …``, by forward-mode differentiation of the
    function: with NumPy values through :class:`~nablatom.operations.dual.Dual`, with torch
    values through ``torch.func.jvp``, and the result stays differentiable. No rule is written
    by hand. Inside ``torch.compile``, call ``torch.compiler.disable(apply)``.

    Parameters
    ----------
    function
        Takes one array of shape ``(rows, *components, properties)`` for each operand and
        returns one of shape ``(rows, *new components, new properties)``, each row from the
        same row of its arguments, whatever their number. It does not write into its
        arguments, and is not called where there are no rows.
    *blocks
        Maps, or blocks, with the same samples and gradients with respect to the same
        parameters. The rows of their gradients may differ, and count as zero where one has
        none.
    components, properties
        The labels of the result where its axes are not those of the first operand.

    Raises
    ------
    TypeError
        If an operand is neither map nor block, if the function returns something else than an
        array of real floating-point numbers, or if it uses a NumPy function whose derivative
        is not known.
    ValueError
        If the result does not fit its labels, if its rows depend on other rows (looked for
        with NumPy values), if the operands do not go together, or if a gradient has gradients
        of its own.

    Examples
    --------
    The length of a vector, and its derivative with respect to the position of an atom:

    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> xyz, distance = Labels.range("xyz", 3), Labels.range("distance", 1)
    >>> vector = np.array([[[3.0], [0.0], [4.0]]])
    >>> block = TensorBlock(vector, Labels.range("pair", 1), [Labels.range("axis", 3)], distance)
    >>> moved = TensorBlock(
    ...     np.eye(3)[None, :, :, None],
    ...     Labels(["sample", "atom"], [[0, 1]]),
    ...     [xyz, Labels.range("axis", 3)],
    ...     distance,
    ... )
    >>> block.add_gradient("positions", moved)
    >>> length = apply(lambda v: np.linalg.norm(v, axis=1), block, components=[])
    >>> length.values
    array([[5.]])
    >>> length.gradient("positions").values[0, :, 0]
    array([0.6, 0. , 0.8])
    """
    if not callable(function):
        raise TypeError(
            f"apply needs a function before its operands, got {type(function).__name__}"
        )
    first = _first(blocks)
    components = first.components if components is None else tuple(components)
    properties = first.properties if properties is None else properties
    differentiated = first.has_any_gradient()

    def value(*x: Array) -> Array:
        if not len(first):
            return _empty(x[0], (0,), components, properties)
        x = tuple(_read_only(each) for each in x)
        result = function(*x)
        _check_array(result, x[0], differentiated)
        _check_labels(result, first, components, properties)
        if differentiated and len(first) > 1 and isinstance(result, np.ndarray):
            _check_rows_apart(function, x, result)
        return result

    def tangent(*x_and_dx: Array) -> Array:
        x, dx = x_and_dx[: len(blocks)], x_and_dx[len(blocks) :]
        own = tuple(dx[0].shape[1 : 1 + dx[0].ndim - first.values.ndim])
        if not len(dx[0]) * prod(own):
            return _empty(dx[0], (len(dx[0]), *own), components, properties)
        forward = _along_arrays if isinstance(dx[0], np.ndarray) else _along_tensors
        rows = [y.reshape((len(y), *block.shape[1:])) for y, block in zip(x, blocks, strict=True)]
        result = forward(function, rows, dx, prod(own))
        return result.reshape(
            (len(dx[0]), *own, *[len(axis) for axis in (*components, properties)])
        )

    result = pointwise(value, tangent, *blocks, components=components, properties=properties)
    _check_component_names(result)
    return result


# -- forward mode: rows of x, and for each row some directions dx ------------------------


def _along_arrays(
    function: Callable[..., Array], x: Sequence[Array], dx: Sequence[Array], directions: int
) -> Array:
    """The derivative of each row along each of its directions."""
    # its tables take time to import, and most programs need none
    from nablatom.operations.dual import Dual

    parts = [d.reshape((len(y), directions, *y.shape[1:])) for y, d in zip(x, dx, strict=True)]
    duals = [
        Dual(y, [part[:, k] for k in range(directions)]) for y, part in zip(x, parts, strict=True)
    ]
    result = function(*duals)
    _check_row_count(result, len(x[0]))
    if not isinstance(result, Dual):  # it does not depend on its arguments
        return np.zeros((len(x[0]), directions, *result.shape[1:]), x[0].dtype)
    return np.stack(result.tangents, axis=1)


def _along_tensors(
    function: Callable[..., Array], x: Sequence[Array], dx: Sequence[Array], directions: int
) -> Array:
    """The same, each direction as a row, so that the function sees one more row for each."""
    repeated = tuple(y.repeat_interleave(directions, dim=0) for y in x)
    along = tuple(d.reshape(y.shape) for y, d in zip(repeated, dx, strict=True))
    value_and_tangent = _jvp()(function, repeated, along)
    _check_row_count(value_and_tangent[0], len(repeated[0]))
    return value_and_tangent[1]


@cache
def _jvp() -> Callable[..., Any]:
    """Forward mode of torch, past the warning about torch itself that its first use gives."""
    import torch

    one = torch.ones(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is", DeprecationWarning)
        torch.func.jvp(torch.sin, (one,), (one,))
    return torch.func.jvp


def _empty(
    like: Array, axes: tuple[int, ...], components: Sequence[Labels], properties: Labels
) -> Array:
    """No entries at all: the function need not know how to handle no rows."""
    return arrays.filled((*axes, *[len(axis) for axis in (*components, properties)]), 0, like)


def _read_only(values: Array) -> Array:
    """The same values, which a function that takes arrays for its own cannot overwrite."""
    if isinstance(values, np.ndarray):
        values = values.view()
        values.flags.writeable = False
    return values


# -- checks ----------------------------------------------------------------------------


def _first(operands: Sequence[object]) -> TensorBlock:
    if not operands:
        raise TypeError("apply takes a function and at least one TensorMap or TensorBlock")
    for operand in operands:
        if not isinstance(operand, TensorBlock):
            raise TypeError(
                "apply takes a function, then TensorMaps or TensorBlocks, got "
                f"{type(operand).__name__}; put constants into the function: "
                "apply(lambda x: f(x, constant), tensor)"
            )
    return operands[0]  # type: ignore[return-value]


def _check_array(result: object, x: Array, differentiated: bool) -> None:
    xp = arrays.namespace(x)
    if not arrays.is_array(result) or arrays.namespace(result) is not xp:
        raise TypeError(
            f"the function must return an array like its arguments, a {type(x).__name__}, got "
            f"{type(result).__name__}"
        )
    kinds = ("real floating", "complex floating")
    if differentiated and not xp.isdtype(result.dtype, kinds):  # type: ignore[attr-defined]
        raise TypeError(
            "the function must return floating-point numbers, which gradients are stored for, "
            f"got {arrays.dtype_name(result)}; convert the result, or take the gradients away "
            "with remove_gradients"
        )


def _check_labels(
    result: Array, first: TensorBlock, components: Sequence[Labels], properties: Labels
) -> None:
    try:
        TensorBlock(result, first.samples, components, properties)
    except ValueError as error:
        error.add_note(
            "these are the values that the function returned; where its axes are not those of the "
            "first operand, label them with components=[…] and properties=…"
        )
        raise


def _check_row_count(result: Array, rows: int) -> None:
    if result.shape[0] != rows:
        raise ValueError(
            f"the function returned {result.shape[0]} rows for {rows} rows; it must work on each "
            "row by itself, whatever their number"
        )


def _check_rows_apart(function: Callable[..., Array], x: Sequence[Array], result: Array) -> None:
    """The last row by itself must give what it gave among the others."""
    alone, among = function(*[each[-1:] for each in x]), result[-1:]
    tolerance = np.sqrt(np.finfo(result.dtype).eps)
    size = max(np.abs(y[np.isfinite(y)]).max(initial=0) for y in (result, *x))
    if not np.allclose(alone, among, rtol=0, atol=tolerance * size, equal_nan=True):
        raise ValueError(
            "the function gives another result for the last row by itself than among all rows; "
            "each row must depend on the same row of the arguments only"
        )


def _check_component_names(result: TensorBlock) -> None:
    for parameter, gradient in result.gradients():
        names = [component.names[0] for component in gradient.components]
        if len(set(names)) < len(names):
            raise ValueError(
                f"the gradient {parameter!r} would have two components of the same name, {names}; "
                "give the components of the result other names"
            )
