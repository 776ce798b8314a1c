"""The attributes and methods of an array, for classes that NumPy's functions already take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

__all__ = ["ArrayMethods"]


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return function(self, *args, **options)

    method.__doc__ = f"See :func:`numpy.{function.__name__}`."
    return method


def _lost(self: Any, *_: Any) -> NoReturn:
    """Refuse: this would be a number without derivatives."""
    raise TypeError(
        f"a plain number made of a {type(self).__name__} would lose its derivatives; use NumPy's "
        "functions instead of those for numbers, such as np.exp for math.exp"
    )


class ArrayMethods:
    """What arrays have beside operators, by way of NumPy's functions and of ``self.value``.

    As ``numpy.lib.mixins.NDArrayOperatorsMixin`` gives the operators.
    """

    __slots__ = ()

    value: Any

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda _: "cpu")
    T = property(_method(np.transpose))
    mT = property(_method(np.matrix_transpose))  # noqa: N815
    real = property(_method(np.real))

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    max, min, clip = _method(np.max), _method(np.min), _method(np.clip)
    var, std, cumsum = _method(np.var), _method(np.std), _method(np.cumsum)
    dot, trace, diagonal = _method(np.dot), _method(np.trace), _method(np.diagonal)
    ravel, flatten, squeeze = _method(np.ravel), _method(np.ravel), _method(np.squeeze)
    swapaxes, take, repeat = _method(np.swapaxes), _method(np.take), _method(np.repeat)
    copy, conj, round = _method(np.copy), _method(np.conjugate), _method(np.round)
    any, all, nonzero = _method(np.any), _method(np.all), _method(np.nonzero)
    argmax, argmin, argsort = _method(np.argmax), _method(np.argmin), _method(np.argsort)

    item, tolist = _lost, _lost
    __float__, __int__, __complex__ = _lost, _lost, _lost

    def reshape(self, *shape: Any, **options: Any) -> Any:
        """See :func:`numpy.reshape`; the shape may be several arguments."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **options)  # type: ignore[call-overload]

    def transpose(self, *axes: Any) -> Any:
        """See :func:`numpy.transpose`; the axes may be several arguments."""
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)  # type: ignore[call-overload]

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        return np

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))  # type: ignore[index]
