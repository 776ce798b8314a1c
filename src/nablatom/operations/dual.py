"""Forward-mode derivatives of functions written with NumPy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from nablatom.operations.array_methods import ArrayMethods
from nablatom.operations.derivatives import (
    COMPOSED,
    CONSTANT,
    JACOBIANS,
    LINEAR,
    MULTILINEAR,
    REDUCTIONS,
    SLOPES,
    SPECIAL,
)

__all__ = ["Dual"]

Values = NDArray[Any]
Function = Callable[..., Any]


class Dual(ArrayMethods, NDArrayOperatorsMixin):
    """An array with its derivatives along some directions, which NumPy's functions carry on.

    ``f(Dual(x, [u, v]))`` is ``f(x)`` with ``∂f/∂x · u`` and ``∂f/∂x · v``. A Dual takes part
    in operators, indexing and the functions of NumPy that have a rule in
    :mod:`nablatom.operations.derivatives`, and behaves like an array there. It never becomes
    an ordinary array or number on its own, and nothing is written into it, as both would
    drop the derivatives without a word.

    Parameters
    ----------
    value
        Real floating-point numbers.
    tangents
        The derivatives, one for each direction, of the shape of the values or one that
        broadcasts to it. All operands of a function have the same directions.

    Raises
    ------
    TypeError
        If the values are not real floating-point numbers, and from every function that has
        no rule or would drop the derivatives.

    Examples
    --------
    >>> import numpy as np
    >>> x = Dual(np.array([1.0, 2.0]), [np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    >>> np.sum(x**2).tangents
    (array(2.), array(4.))
    """

    __slots__ = ("tangents", "value")

    value: Values
    tangents: tuple[Values, ...]

    def __init__(self, value: Any, tangents: Sequence[Any]) -> None:
        self.value = np.asarray(value)
        if self.value.dtype.kind != "f":
            raise TypeError(
                "derivatives are those of real floating-point numbers, got "
                f"{self.value.dtype.name}; comparisons and rounding give ordinary arrays"
            )
        self.tangents = tuple(_fitted(tangent, self.value) for tangent in tangents)

    # -- what NumPy calls --------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **options: Any) -> Any:
        if method != "__call__":
            raise TypeError(_no_rule(f"{_name(ufunc)}.{method}"))
        return _follow(ufunc, args, options)

    def __array_function__(self, function: Function, _: Any, args: Any, options: Any) -> Any:
        return _follow(function, args, options)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(
            "an array made of a Dual would lose its derivatives; instead of np.asarray, "
            "np.array([…]) or filling an array, use np.stack, np.concatenate or np.where"
        )

    def __setitem__(self, _: Any, __: Any) -> NoReturn:
        raise TypeError(
            "nothing is written into a Dual; make a new array with np.where, np.concatenate or "
            "np.stack"
        )

    def __getitem__(self, index: Any) -> Dual:
        return Dual(self.value[index], [t[index] for t in self.tangents])

    def astype(self, dtype: Any, **options: Any) -> Dual:
        """See :meth:`numpy.ndarray.astype`."""
        return Dual(
            self.value.astype(dtype, **options), [t.astype(dtype, **options) for t in self.tangents]
        )

    def __repr__(self) -> str:
        return f"Dual({self.value!r}, {list(self.tangents)!r})"


def _fitted(tangent: Any, value: Values) -> Values:
    tangent = np.asarray(tangent, dtype=value.dtype)
    return tangent if tangent.shape == value.shape else np.broadcast_to(tangent, value.shape)


# -- how a function is followed --------------------------------------------------------


def _follow(function: Function, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """``function`` of arguments that hold Duals, by the rule that its table gives."""
    if "out" in options:
        raise TypeError(_written(function))
    if function in CONSTANT:
        return function(*_plain(args), **options)
    if function in COMPOSED or function in REDUCTIONS:
        rule = COMPOSED.get(function) or partial(_reduced, function)
        return _bound(rule, function, args, options)
    for table, follow in _RULES:
        if function in table:
            return follow(function, args, options)
    if isinstance(function, np.ufunc) and function.__name__ in SPECIAL:
        return _entrywise(function, args, options)
    raise TypeError(_no_rule(_name(function)))


def _entrywise(function: Function, args: tuple[Any, ...], options: dict[str, Any]) -> Dual:
    directions = _checked(function, args, refused=options)
    x = _values(args)
    z = function(*x)
    slopes = SLOPES.get(function) or SPECIAL[function.__name__]
    factors = [
        (slope(z, *x) if callable(slope) else slope, each.tangents)
        for slope, each in zip(slopes, args, strict=True)
        if isinstance(each, Dual)
    ]
    return Dual(
        z, [_total([_scaled(slope, t[k]) for slope, t in factors]) for k in range(directions)]
    )


def _reduced(function: Function, x: Dual, axis: Any = None, *, keepdims: bool = False) -> Dual:
    z = function(x.value, axis=axis, keepdims=True)
    slope = REDUCTIONS[function](z, x.value, axis)
    tangents = [np.sum(slope * t, axis=axis, keepdims=keepdims) for t in x.tangents]
    return Dual(z if keepdims else np.squeeze(z, axis=axis), tangents)


def _by_jacobian(function: Function, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    directions = _checked(function, args, refused=options)
    x = _values(args)
    z = function(*x)
    if isinstance(z, tuple):  # where(condition): indices
        return z
    rule = JACOBIANS[function]
    return Dual(z, [rule(z, *x, *_tangents(args, k)) for k in range(directions)])


def _linear(function: Function, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    refused = _ADDED & options.keys()
    directions = _checked(function, args, refused=refused, count=LINEAR[function])
    first, *rest = args
    if _duals([*rest, *options.values()]):
        raise TypeError(_no_rule(f"{_name(function)} with a Dual that is not its first argument"))
    value = function(_plain(first), *rest, **options)
    tangents = [function(_tangents(first, k), *rest, **options) for k in range(directions)]
    if isinstance(value, list | tuple):
        return [Dual(part, same) for part, *same in zip(value, *tangents, strict=True)]
    return Dual(value, tangents)


def _multilinear(function: Function, args: tuple[Any, ...], options: dict[str, Any]) -> Dual:
    directions = _checked(function, args, refused=(), count=MULTILINEAR[function])
    x = _values(args)
    places = [i for i, each in enumerate(args) if isinstance(each, Dual)]
    tangents = [
        _total([function(*x[:i], args[i].tangents[k], *x[i + 1 :], **options) for i in places])
        for k in range(directions)
    ]
    return Dual(function(*x, **options), tangents)


_RULES: list[tuple[Any, Function]] = [
    (SLOPES, _entrywise),
    (LINEAR, _linear),
    (MULTILINEAR, _multilinear),
    (JACOBIANS, _by_jacobian),
]


def _scaled(factor: Any, tangent: Values) -> Any:
    return tangent if isinstance(factor, int) and factor == 1 else factor * tangent


def _total(terms: Sequence[Any]) -> Any:
    return sum(terms[1:], terms[0])


def _values(args: tuple[Any, ...]) -> list[Any]:
    """The arguments with the values of Duals in their place; one inside a list is an error."""
    return [each.value if isinstance(each, Dual) else each for each in args]


def _plain(x: Any) -> Any:
    """The same for all Duals, also those inside lists."""
    if isinstance(x, list | tuple):
        return [_plain(each) for each in x]
    return x.value if isinstance(x, Dual) else x


def _tangents(x: Any, k: int) -> Any:
    """The same with the tangents of Duals, and zeros for all other arrays."""
    if isinstance(x, list | tuple):
        return [_tangents(each, k) for each in x]
    return x.tangents[k] if isinstance(x, Dual) else np.zeros_like(x)


def _duals(x: Any) -> list[Dual]:
    if isinstance(x, list | tuple):
        return [dual for each in x for dual in _duals(each)]
    return [x] if isinstance(x, Dual) else []


# -- what cannot be followed -----------------------------------------------------------

# Options of linear functions that are added to the result as they are.
_ADDED = {"initial", "prepend", "append"}


def _checked(
    function: Function, args: tuple[Any, ...], *, refused: Iterable[str], count: int | None = None
) -> int:
    """How many directions there are, if the function is called in a way that its rule is about."""
    for option in refused:
        raise TypeError(_no_rule(f"{_name(function)} with the option {option!r}"))
    if count is not None and len(args) > count:
        raise TypeError(_written(function))
    directions = {len(dual.tangents) for dual in _duals(args)}
    if not directions:
        raise TypeError(f"{_name(function)}: give arrays without their names, before the options")
    if len(directions) > 1:
        raise ValueError(f"Duals must have the same directions, got {sorted(directions)} of them")
    return directions.pop()


def _bound(
    rule: Function, function: Function, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    try:
        inspect.signature(rule).bind(*args, **options)
    except TypeError as error:
        raise TypeError(_no_rule(f"{_name(function)} with these arguments ({error})")) from None
    return rule(*args, **options)


def _name(function: Function) -> str:
    module = getattr(function, "__module__", "scipy.special")  # whose ufuncs do not tell
    return f"{module}.{function.__name__}".replace("numpy.", "np.", 1)


def _written(function: Function) -> str:
    return (
        f"{_name(function)}: a result with derivatives is not written into an array; write "
        "x = x + y for x += y, leave out=… away, and give options by their names"
    )


def _no_rule(function: str) -> str:
    return (
        f"the derivative of {function} is not known; write it with functions that have a rule "
        "in nablatom.operations.derivatives, or use torch values"
    )
