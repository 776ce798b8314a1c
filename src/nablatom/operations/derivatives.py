"""The derivatives of NumPy's functions: tables, one line each, that :class:`Dual` reads.

=================  =====================================================================
table              how a tangent passes
=================  =====================================================================
``SLOPES``         entry by entry: ``sum_k slope_k(z, x, y, …) dx_k`` with ``z = f(x, y, …)``
``LINEAR``         ``f(dx)``: the function is linear in its first argument
``MULTILINEAR``    ``f(dx, y) + f(x, dy)``: it is linear in each of its arguments
``REDUCTIONS``     along axes: ``sum_k slope_k(z, x) dx_k`` over the axes that go
``JACOBIANS``      ``rule(z, x, y, …, dx, dy, …)``, zeros for arguments without derivative
``COMPOSED``       through the functions it is written with here
``CONSTANT``       none: comparisons, indices and steps, whose derivative is zero
=================  =====================================================================

``LINEAR`` and ``MULTILINEAR`` say how many arguments may be given by position, because an
array to write the result into can follow. A number in ``SLOPES`` is that slope everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "COMPOSED",
    "CONSTANT",
    "JACOBIANS",
    "LINEAR",
    "MULTILINEAR",
    "REDUCTIONS",
    "SLOPES",
    "SPECIAL",
]

Function = Callable[..., Any]


def _nonzero(x: Any) -> Any:
    """``x`` with ones for its zeros, to divide by where the quotient is not looked at."""
    return np.where(x == 0, 1, x)


def _power_by_base(_: Any, x: Any, n: Any) -> Any:
    if np.ndim(n) == 0:
        return n * x ** (n - 1) if n != 0 else 0
    return np.where(n == 0, 0, n * x ** np.where(n == 0, 1, n - 1))


def _power_by_exponent(z: Any, x: Any, _: Any) -> Any:
    return np.where(x == 0, 0, z * np.log(_nonzero(x)))


def _share(larger: Any, same: Any) -> Any:
    """The slope of a maximum: equal operands share it."""
    return larger + 0.5 * same


def _sinc_slope(z: Any, x: Any) -> Any:
    square = np.square(np.pi * x)
    series = -(np.pi**2) / 3 * x * (1 - square / 10 * (1 - square / 28))
    return np.where(square < 1e-3, series, (np.cos(np.pi * x) - z) / _nonzero(x))


SLOPES: dict[Any, tuple[Function | int, ...]] = {
    np.positive: (1,),
    np.negative: (-1,),
    np.conjugate: (1,),
    np.add: (1, 1),
    np.subtract: (1, -1),
    np.multiply: (lambda z, x, y: y, lambda z, x, y: x),
    np.divide: (lambda z, x, y: 1 / y, lambda z, x, y: -z / y),
    np.power: (_power_by_base, _power_by_exponent),
    np.float_power: (_power_by_base, _power_by_exponent),
    np.remainder: (1, lambda z, x, y: -np.floor_divide(x, y)),
    np.fmod: (1, lambda z, x, y: -np.trunc(x / y)),
    np.maximum: (lambda z, x, y: _share(x > y, x == y), lambda z, x, y: _share(y > x, x == y)),
    np.minimum: (lambda z, x, y: _share(x < y, x == y), lambda z, x, y: _share(y < x, x == y)),
    np.hypot: (lambda z, x, y: x / _nonzero(z), lambda z, x, y: y / _nonzero(z)),
    np.arctan2: (lambda z, x, y: y / (x * x + y * y), lambda z, x, y: -x / (x * x + y * y)),
    np.copysign: (lambda z, x, y: np.sign(x) * np.copysign(1.0, y), 0),
    np.logaddexp: (lambda z, x, y: np.exp(x - z), lambda z, x, y: np.exp(y - z)),
    np.logaddexp2: (lambda z, x, y: np.exp2(x - z), lambda z, x, y: np.exp2(y - z)),
    np.absolute: (lambda z, x: np.sign(x),),
    np.fabs: (lambda z, x: np.sign(x),),
    np.square: (lambda z, x: 2 * x,),
    np.reciprocal: (lambda z, x: -z * z,),
    np.sqrt: (lambda z, x: 0.5 / z,),
    np.cbrt: (lambda z, x: 1 / (3 * z * z),),
    np.exp: (lambda z, x: z,),
    np.exp2: (lambda z, x: np.log(2) * z,),
    np.expm1: (lambda z, x: z + 1,),
    np.log: (lambda z, x: 1 / x,),
    np.log2: (lambda z, x: 1 / (np.log(2) * x),),
    np.log10: (lambda z, x: 1 / (np.log(10) * x),),
    np.log1p: (lambda z, x: 1 / (1 + x),),
    np.sin: (lambda z, x: np.cos(x),),
    np.cos: (lambda z, x: -np.sin(x),),
    np.tan: (lambda z, x: 1 + z * z,),
    np.arcsin: (lambda z, x: 1 / np.sqrt(1 - x * x),),
    np.arccos: (lambda z, x: -1 / np.sqrt(1 - x * x),),
    np.arctan: (lambda z, x: 1 / (1 + x * x),),
    np.sinh: (lambda z, x: np.cosh(x),),
    np.cosh: (lambda z, x: np.sinh(x),),
    np.tanh: (lambda z, x: 1 - z * z,),
    np.arcsinh: (lambda z, x: 1 / np.sqrt(x * x + 1),),
    np.arccosh: (lambda z, x: 1 / np.sqrt(x * x - 1),),
    np.arctanh: (lambda z, x: 1 / (1 - x * x),),
    np.deg2rad: (lambda z, x: np.pi / 180,),
    np.radians: (lambda z, x: np.pi / 180,),
    np.rad2deg: (lambda z, x: 180 / np.pi,),
    np.degrees: (lambda z, x: 180 / np.pi,),
    np.sinc: (_sinc_slope,),
}

SPECIAL: dict[str, tuple[Function | int, ...]] = {  # of scipy.special, known by their names
    "erf": (lambda z, x: 2 / np.sqrt(np.pi) * np.exp(-x * x),),
    "erfc": (lambda z, x: -2 / np.sqrt(np.pi) * np.exp(-x * x),),
    "expit": (lambda z, x: z * (1 - z),),
}

LINEAR: dict[Any, int] = {
    **dict.fromkeys([np.sum, np.mean, np.cumsum, np.trace, np.diff, np.trapezoid], 3),
    **dict.fromkeys([np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis], 3),
    **dict.fromkeys([np.expand_dims, np.squeeze, np.broadcast_to, np.copy, np.real], 3),
    **dict.fromkeys([np.flip, np.roll, np.rot90, np.repeat, np.tile, np.delete], 3),
    **dict.fromkeys([np.take, np.take_along_axis, np.diagonal, np.diag, np.tril, np.triu], 3),
    **dict.fromkeys([np.fliplr, np.flipud, np.split, np.array_split, np.rollaxis], 3),
    **dict.fromkeys([np.linalg.trace, np.linalg.diagonal, np.linalg.matrix_transpose], 3),
    **dict.fromkeys([np.matrix_transpose, np.atleast_1d, np.atleast_2d, np.atleast_3d], 1),
    **dict.fromkeys([np.concatenate, np.stack, np.hstack, np.vstack, np.dstack], 2),
    np.column_stack: 1,
}
for _name in ("astype", "cumulative_sum", "unstack"):  # from NumPy 2.1 on
    if hasattr(np, _name):
        LINEAR[getattr(np, _name)] = 2

MULTILINEAR: dict[Any, int | None] = {
    **dict.fromkeys([np.matmul, np.linalg.matmul, np.vecdot, np.linalg.vecdot], 2),
    **dict.fromkeys([np.dot, np.inner, np.outer, np.linalg.outer, np.vdot, np.kron], 2),
    **dict.fromkeys([np.tensordot, np.linalg.tensordot, np.cross], 3),
    np.linalg.cross: 2,
    np.einsum: None,
}
for _name in ("matvec", "vecmat"):  # from NumPy 2.2 on
    if hasattr(np, _name):
        MULTILINEAR[getattr(np, _name)] = 2


def _inverse(z: Any, _: Any, dx: Any) -> Any:
    return -z @ dx @ z


def _determinant(z: Any, x: Any, dx: Any) -> Any:
    return z * np.trace(np.linalg.solve(x, dx), axis1=-2, axis2=-1)


def _solution(z: Any, a: Any, b: Any, da: Any, db: Any) -> Any:
    if np.ndim(b) == 1:  # one vector, shared by a stack of matrices
        return np.linalg.solve(a, db[:, None] - da @ z[..., None])[..., 0]
    return np.linalg.solve(a, db - da @ z)


JACOBIANS: dict[Any, Function] = {
    np.where: lambda z, c, x, y, dc, dx, dy: np.where(c, dx, dy),
    np.linalg.inv: _inverse,
    np.linalg.det: _determinant,
    np.linalg.solve: _solution,
}


def _other_factors(_: Any, x: Any, axis: Any) -> Any:
    """The product of all other factors, whether or not some are zero."""
    rest = _nonzero(x)
    zeros_elsewhere = np.sum(x == 0, axis=axis, keepdims=True) - (x == 0)
    whole = np.prod(rest, axis=axis, keepdims=True)
    return np.where(zeros_elsewhere == 0, whole / rest, 0)


def _among_equals(z: Any, x: Any, axis: Any) -> Any:
    return (x == z) / np.sum(x == z, axis=axis, keepdims=True)


REDUCTIONS: dict[Any, Function] = {
    np.prod: _other_factors,
    **dict.fromkeys([np.max, np.amax, np.min, np.amin], _among_equals),
}


def _clip(x: Any, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (min if low is None else low), (max if high is None else high)
    x = x if low is None else np.where(x < low, low, x)
    return x if high is None else np.where(x > high, high, x)


def _select(conditions: Sequence[Any], choices: Sequence[Any], default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = np.where(condition, choice, result)
    return result


def _sort(x: Any, axis: int = -1) -> Any:
    return np.take_along_axis(x, np.argsort(x, axis=axis), axis=axis)


def _var(
    x: Any, axis: Any = None, *, ddof: float = 0, correction: float = 0, keepdims: bool = False
) -> Any:
    mean = np.mean(x, axis=axis, keepdims=True)
    square = np.square(x - mean)
    unbiased = x.size / mean.size / (x.size / mean.size - (ddof or correction))
    return unbiased * np.mean(square, axis=axis, keepdims=keepdims)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The root of the sum of squares, with slope zero where it is zero."""
    vectors = isinstance(axis, int) or x.ndim == 1
    if ord not in (None, 2 if vectors else "fro"):
        raise TypeError(f"the norm of a Dual is the root of the sum of squares, got ord={ord!r}")
    square = np.sum(x * x, axis=axis, keepdims=keepdims)
    zero = square == 0
    return np.where(zero, 0, np.sqrt(np.where(zero, 1, square)))


def _vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return _norm(x, None if ord == 2 else ord, axis, keepdims)


def _matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _norm(x, ord, (-2, -1), keepdims)


def _broadcast_arrays(*x: Any) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*[np.shape(each) for each in x])
    return tuple(np.broadcast_to(each, shape) for each in x)


COMPOSED: dict[Any, Function] = {
    np.clip: _clip,
    np.select: _select,
    np.sort: _sort,
    np.ptp: lambda x, axis=None: np.max(x, axis=axis) - np.min(x, axis=axis),
    np.var: _var,
    np.std: lambda x, *args, **options: np.sqrt(_var(x, *args, **options)),
    np.linalg.norm: _norm,
    np.linalg.vector_norm: _vector_norm,
    np.linalg.matrix_norm: _matrix_norm,
    np.full_like: lambda x, value: np.zeros_like(x) + value,
    np.broadcast_arrays: _broadcast_arrays,
}

CONSTANT: frozenset[Any] = frozenset(
    [
        *[np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal],
        *[np.logical_and, np.logical_or, np.logical_xor, np.logical_not],
        *[np.isfinite, np.isnan, np.isinf, np.signbit, np.isclose, np.allclose, np.array_equal],
        *[np.sign, np.floor, np.ceil, np.trunc, np.rint, np.round, np.floor_divide],
        *[np.any, np.all, np.count_nonzero, np.nonzero, np.flatnonzero, np.argwhere],
        *[np.argmax, np.argmin, np.argsort, np.searchsorted, np.digitize],
        *[np.shape, np.ndim, np.size, np.result_type, np.isrealobj, np.iscomplexobj],
        *[np.zeros_like, np.ones_like, np.empty_like],
    ]
)
