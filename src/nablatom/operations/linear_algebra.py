"""Products with matrices, and the weights of linear models in closed form.

Weights ``w`` are maps like those that :func:`dot` takes: a row for each property of ``Y``, a
column for each property of ``X``, so that ``dot(X, w)`` is ``Y``. Stored gradients are rows of the
problem like the values, because what is linear in the weights stays so when it is differentiated.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from numbers import Real
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.merge import shared_gradients
from nablatom.operations.chain import aligned, linear
from nablatom.operations.lift import blockwise
from nablatom.operations.operands import check_labels, check_library
from nablatom.operations.products import by_matrix

__all__ = ["lstsq", "matmul", "ridge", "solve"]


@blockwise
def matmul(a: TensorBlock, matrix: Any, *, properties: Labels | None = None) -> TensorBlock:
    """The product ``sum_p a[i, …, p] matrix[p, q]`` of a map or block with a constant matrix.

    Gradients follow ``da matrix``.

    Parameters
    ----------
    matrix : (properties, new properties)
        An array, taken to the library and precision of ``a``; or a map or block, whose samples
        are the properties of ``a``.
    properties
        The labels of the columns of an array; ``property = 0, 1, …`` if not given.

    Raises
    ------
    TypeError
        If the matrix is neither array nor block.
    ValueError
        If it does not fit, or if it has gradients: :func:`dot` carries those of both sides.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> block = TensorBlock(np.array([[1.0, 2.0]]), Labels.single(), [], Labels.range("n", 2))
    >>> matmul(block, np.array([[1.0, 0.0], [1.0, 1.0]])).values
    array([[3., 2.]])
    """
    if isinstance(matrix, TensorBlock):
        matrix, properties = _labelled(a, matrix, properties)
    numbers = _matrix_like(a.values, matrix)
    if numbers.ndim != 2 or numbers.shape[0] != len(a.properties):
        raise ValueError(
            f"the matrix must have {len(a.properties)} rows, one for each property, got the shape "
            f"{tuple(numbers.shape)}"
        )
    if properties is not None:
        check_labels("matmul", properties, "properties")
    columns = numbers.shape[1]
    properties = Labels.range("property", columns) if properties is None else properties
    if len(properties) != columns:
        raise ValueError(f"the matrix has {columns} columns, but properties are {properties!r}")
    return linear(lambda x: by_matrix(x, numbers), a, properties=properties)


def _labelled(
    a: TensorBlock, matrix: TensorBlock, properties: Labels | None
) -> tuple[Array, Labels]:
    if properties is not None:
        raise ValueError(
            "a matrix that is a block brings the labels of its columns; give no others"
        )
    if matrix.has_any_gradient():
        raise ValueError(
            f"the matrix of matmul is a constant, but has gradients {matrix.gradients_list()}; dot "
            "carries those of both sides, remove_gradients takes them away"
        )
    if matrix.components:
        raise ValueError(f"the matrix of matmul has no components, got {matrix.components}")
    if matrix.samples != a.properties:
        raise ValueError(
            "the samples of the matrix must be the properties of the first operand, in the same "
            f"order, got {matrix.samples!r} and {a.properties!r}"
        )
    return matrix.values, matrix.properties


def _matrix_like(values: Array, matrix: Any) -> Array:
    if not arrays.is_array(matrix):
        raise TypeError(
            f"the matrix must be an array, a TensorBlock or a TensorMap, got "
            f"{type(matrix).__name__}"
        )
    xp = arrays.namespace(values)
    if arrays.namespace(matrix) is xp is not np:
        return matrix  # it may belong to a graph
    if not xp.isdtype(values.dtype, "real floating"):
        return matrix  # whole numbers times fractions are fractions
    return arrays.constant(arrays.to_numpy(matrix), like=values)


# -- weights of linear models --------------------------------------------------------------


@blockwise
def lstsq(
    X: TensorBlock, Y: TensorBlock, rcond: float | None = None, driver: str | None = None
) -> TensorBlock:
    """The weights ``w`` with the least ``sum |X w - Y|^2``, over values and stored gradients.

    Of several such weights, those with the least ``|w|``. The result has no gradients.

    Parameters
    ----------
    X, Y
        Maps or blocks with the same samples, components and gradients; gradient rows that one
        of them lacks are zero there.
    rcond
        Singular values below ``rcond`` times the largest count as zero; None stands for the
        precision of the numbers times the larger side of the matrix.
    driver
        What torch should use, see ``torch.linalg.lstsq``; NumPy has one way only.

    Returns
    -------
    w : (properties of Y, properties of X)
        Then ``dot(X, w)`` is close to ``Y``.

    Raises
    ------
    ValueError
        If the two do not go together, or if gradients have gradients of their own.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> rows, n = Labels.range("system", 3), Labels.range("n", 2)
    >>> X = TensorBlock(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), rows, [], n)
    >>> Y = TensorBlock(np.array([[1.0], [3.0], [5.0]]), rows, [], Labels.range("energy", 1))
    >>> lstsq(X, Y).values.round(12)
    array([[1., 2.]])
    """
    x, y = (_stacked(parts) for parts in _rows(X, Y, {}))
    return _weights(arrays.lstsq(x, y, rcond, driver), X, Y)


@blockwise
def ridge(
    X: TensorBlock,
    Y: TensorBlock,
    regularisation: float,
    *,
    weights: Mapping[str, float] | None = None,
) -> TensorBlock:
    """The weights ``w`` with the least ``sum_k weight_k |X_k w - Y_k|^2 + λ |w|^2``.

    ``k`` are the kinds of rows: the values, and the gradients with respect to each parameter.
    The normal matrix is not formed, so that its condition is not squared. The result has no
    gradients.

    Parameters
    ----------
    X, Y
        As in :func:`lstsq`.
    regularisation
        ``λ``, in units of the weighted rows; not negative.
    weights
        ``"values"`` or the name of a gradient → what a row of this kind counts; 1 if not given.

    Returns
    -------
    w : (properties of Y, properties of X)
        Then ``dot(X, w)`` is close to ``Y``.

    Raises
    ------
    ValueError
        As for :func:`lstsq`; if ``λ`` or a weight is negative, or of a kind that there is not.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> rows, n = Labels.range("system", 2), Labels.range("n", 1)
    >>> X = TensorBlock(np.array([[1.0], [1.0]]), rows, [], n)
    >>> Y = TensorBlock(np.array([[3.0], [5.0]]), rows, [], Labels.range("energy", 1))
    >>> ridge(X, Y, 2.0).values.round(12)
    array([[2.]])

    References
    ----------
    Hoerl, Kennard, Technometrics 12, 55 (1970).
    """
    if not isinstance(regularisation, Real):
        raise TypeError(
            f"the regularisation must be a real number, got {type(regularisation).__name__}"
        )
    if not 0 <= regularisation < float("inf"):
        raise ValueError(f"the regularisation must not be negative, got {regularisation}")
    x, y = _rows(X, Y, {} if weights is None else _checked(weights, X))
    if regularisation > 0:  # λ |w|² as rows: sqrt(λ) w = 0
        size, like = len(X.properties), X.values
        x.append(arrays.constant(regularisation**0.5 * np.eye(size), like))
        y.append(arrays.filled((size, len(Y.properties)), 0, like))
    return _weights(arrays.lstsq(_stacked(x), _stacked(y), None, None), X, Y)


@blockwise
def solve(X: TensorBlock, Y: TensorBlock) -> TensorBlock:
    """The weights ``w`` with ``X w = Y`` for square ``X``.

    Parameters
    ----------
    X : (rows, rows)
    Y : (rows, properties)

    Returns
    -------
    w : (properties of Y, properties of X)
        Then ``dot(X, w)`` is ``Y``.

    Raises
    ------
    ValueError
        If ``X`` is not square, or if there are components or gradients, which would be further
        rows: :func:`lstsq` takes those.
    numpy.linalg.LinAlgError, torch.linalg.LinAlgError
        If ``X`` is singular.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> rows, n = Labels.range("system", 2), Labels.range("n", 2)
    >>> X = TensorBlock(np.array([[1.0, 1.0], [0.0, 2.0]]), rows, [], n)
    >>> Y = TensorBlock(np.array([[3.0], [4.0]]), rows, [], Labels.range("energy", 1))
    >>> solve(X, Y).values
    array([[1., 2.]])
    """
    _check_same_rows(X, Y)
    if X.components or X.has_any_gradient() or Y.has_any_gradient():
        raise ValueError(
            "solve takes blocks without components and gradients, which are further rows of the "
            "problem: use lstsq, or take gradients away with remove_gradients"
        )
    if X.shape[0] != X.shape[1]:
        raise ValueError(f"solve takes square matrices, got {X.shape}; use lstsq")
    return _weights(arrays.namespace(X.values).linalg.solve(X.values, Y.values), X, Y)


def _weights(solution: Array, X: TensorBlock, Y: TensorBlock) -> TensorBlock:
    return TensorBlock.unchecked(arrays.transposed(solution), Y.properties, (), X.properties)


def _rows(
    X: TensorBlock, Y: TensorBlock, weights: Mapping[str, float]
) -> tuple[list[Array], list[Array]]:
    """The rows of the problem, kind by kind, each times the root of its weight."""
    _check_same_rows(X, Y)
    kinds = {"values": [X, Y]}
    for parameter in shared_gradients([X, Y]):
        kinds[parameter] = aligned([X.gradient(parameter), Y.gradient(parameter)])
        _check_gradients(parameter, *kinds[parameter])
    roots = {kind: weights.get(kind, 1) ** 0.5 for kind in kinds}
    return tuple(  # type: ignore[return-value]
        [_flat(pair[side].values, roots[kind]) for kind, pair in kinds.items()] for side in (0, 1)
    )


def _check_gradients(parameter: str, x: TensorBlock, y: TensorBlock) -> None:
    if x.components != y.components:
        raise ValueError(
            f"gradients {parameter!r} must have the same components, got {x.components} and "
            f"{y.components}"
        )
    for part in (x, y):
        if part.has_any_gradient():
            raise ValueError(
                f"the gradient {parameter!r} has gradients of its own, which are not rows of a "
                "linear model; take them away with remove_gradients"
            )


def _stacked(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else arrays.namespace(parts[0]).concat(parts, axis=0)


def _flat(values: Array, factor: float) -> Array:
    """All axes but the last as one, times a factor."""
    flat = values.reshape((prod(values.shape[:-1]), values.shape[-1]))
    return flat if factor == 1 else factor * flat


def _check_same_rows(X: TensorBlock, Y: TensorBlock) -> None:
    check_library([X, Y])
    for axis, here, there in (
        ("samples", X.samples, Y.samples),
        ("components", X.components, Y.components),
    ):
        if here != there:
            raise ValueError(
                f"X and Y must have the same {axis} in the same order, got {here!r} and {there!r}"
            )


def _checked(weights: Mapping[str, float], X: TensorBlock) -> Mapping[str, float]:
    kinds = ["values", *X.gradients_list()]
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"the weights of ridge are a dictionary with some of {kinds}, got "
            f"{type(weights).__name__}"
        )
    for kind, weight in weights.items():
        if kind not in kinds:
            raise ValueError(f"no rows of the kind {kind!r} to weigh: there are {kinds}")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"the weight of {kind} must not be negative, got {weight}")
    return weights
