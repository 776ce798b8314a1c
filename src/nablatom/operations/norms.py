"""Lengths over components."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import listed_names
from nablatom.operations.chain import pointwise
from nablatom.operations.lift import blockwise
from nablatom.operations.products import contract

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
    names = set(present if components is None else listed_names(components))
    if not names:
        raise ValueError(
            f"norm needs a component to be taken over, got none of {present}"
            if present
            else "norm is taken over components, and these blocks have none"
        )
    if missing := sorted(names - set(present)):
        raise ValueError(f"no component {missing[0]!r} to take the norm over: they are {present}")
    kept = [component for component in a.components if component.names[0] not in names]
    letters = dict(zip(present, ascii_letters, strict=False))
    x = "".join(letters.values()) + _PROPERTIES
    left = "".join(letters[c.names[0]] for c in kept) + _PROPERTIES
    sizes = [
        1 if name in names else size for name, size in zip(present, a.shape[1:-1], strict=True)
    ]

    def scalar_products(u: Array, v: Array) -> Array:
        return contract((x, x), left, (u, v))

    length, safe = _lengths(scalar_products(a.values, a.values))
    # the direction of a vector is worked out once, not once for each of its gradient rows
    direction = a.values / safe.reshape((len(a), *sizes, a.shape[-1]))
    directions = TensorBlock.unchecked(
        direction, a.samples, tuple(a.components), a.properties, dict(a.gradients())
    )
    return pointwise(lambda _: length, scalar_products, directions, components=kept)


_PROPERTIES = ascii_letters[-1]


def _lengths(square: Array) -> tuple[Array, Array]:
    """The roots, and the same with 1 for 0: something to divide by, and with a slope."""
    zero = square == 0
    safe = arrays.namespace(square).sqrt(square + zero)
    return safe * ~zero, safe
