"""Lengths over components."""

from __future__ import annotations

from collections.abc import Sequence

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.operations.chain import pointwise
from nablatom.operations.lift import blockwise

__all__ = ["norm"]


@blockwise
def norm(a: TensorBlock, components: str | Sequence[str] | None = None) -> TensorBlock:
    """The length ``(sum_m a_m^2)^(1/2)`` over some components, or over all of them.

    Gradients follow ``sum_m a_m da_m / |a|``. A vector of zeros has no derivative, as its length
    grows whichever way it is moved: there, gradients are zero, the mean over all directions.

    Parameters
    ----------
    components
        Names of components; the others stay. None stands for all of them.

    Raises
    ------
    ValueError
        If there is no component of such a name, or none at all.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> values = np.array([[[3.0], [0.0], [4.0]]])
    >>> xyz, distance = Labels.range("xyz", 3), Labels.range("distance", 1)
    >>> norm(TensorBlock(values, Labels.range("pair", 1), [xyz], distance), "xyz").values
    array([[5.]])
    """
    present = [component.names[0] for component in a.components]
    names = {components} if isinstance(components, str) else set(components or present)
    if not names:
        raise ValueError("norm is taken over components, and these blocks have none")
    for name in names:
        if name not in present:
            raise ValueError(f"no component {name!r} to take the norm over: they are {present}")
    axes = tuple(present.index(name) - len(present) - 1 for name in names)
    kept = [c for c, name in zip(a.components, present, strict=True) if name not in names]
    return pointwise(
        lambda x: _length(x, axes), lambda x, dx: _slope(x, dx, axes), a, components=kept
    )


def _length(x: Array, axes: tuple[int, ...]) -> Array:
    xp = arrays.namespace(x)
    square, zero = _square(x, axes)
    return xp.sqrt(square) * ~zero


def _slope(x: Array, dx: Array, axes: tuple[int, ...]) -> Array:
    xp = arrays.namespace(x)
    square, _ = _square(x, axes)  # zeros: x dx is zero too
    return (x * dx).sum(axis=axes) / xp.sqrt(square)


def _square(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The square of the length, or 1 where it is zero, which has a root to differentiate."""
    square = (x * x).sum(axis=axes)
    zero = square == 0
    return square + zero, zero
