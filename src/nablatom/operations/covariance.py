"""Covariance of the properties, and the directions in which they vary most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations.chain import linear
from nablatom.operations.decomposition import MODE, check_count, signs
from nablatom.operations.operands import check_library, check_map
from nablatom.operations.products import by_matrix
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["PCA", "Covariance", "pca"]

Key = tuple[int, ...]


def pca(tensor: TensorMap, count: int | None = None) -> PCA:
    """The principal components of the properties of a map, key by key.

    They are found from the covariance matrix; see :class:`Covariance`, also for maps that do not
    fit in memory together. Gradients are not looked at here; :meth:`PCA.project` carries them.

    Parameters
    ----------
    count
        How many directions to keep at most, those in which the rows vary most; None for all.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> values = np.array([[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]])
    >>> block = TensorBlock(values, Labels.range("atom", 3), [], Labels.range("n", 2))
    >>> tensor = TensorMap(Labels.single(), [block])
    >>> pca(tensor, 1).project(tensor).block().values.round(12)
    array([[ 0.],
           [ 5.],
           [-5.]])
    """
    covariance = Covariance()
    covariance.add(tensor)
    return covariance.pca(count)


@dataclass(frozen=True, slots=True)
class PCA:
    """Orthonormal directions in the space of properties, by falling variance.

    Attributes
    ----------
    mean
        One sample: what is subtracted before projecting.
    modes : (mode, properties)
        A row for each direction, whose largest entry is positive.
    variances : (1, mode)
        The variance along each direction.
    """

    mean: TensorMap
    modes: TensorMap
    variances: TensorMap

    def project(self, tensor: TensorMap) -> TensorMap:
        """The coordinates ``modes (x - mean)`` of each row; the properties are ``mode``.

        Gradients follow ``modes dx``: mean and modes are constants.

        Raises
        ------
        KeyError
            If the map has a key that was not there when the directions were found.
        ValueError
            If the properties are others.
        """
        check_map("project", tensor)
        return _project(tensor, self.mean, self.modes)

    def restore(self, projected: TensorMap) -> TensorMap:
        """The rows ``mean + modes^T c`` that have these coordinates.

        Gradients follow ``modes^T dc``. Errors are those of :meth:`project`.
        """
        check_map("restore", projected, "projected")
        return _restore(projected, self.mean, self.modes)


@traceable
def _project(tensor: TensorMap, mean: TensorMap, modes: TensorMap) -> TensorMap:
    blocks = [_projected(x, mean.block(key), modes.block(key)) for key, x in tensor.items()]
    return TensorMap.unchecked(tensor.keys, blocks, tensor.info())


@traceable
def _restore(tensor: TensorMap, mean: TensorMap, modes: TensorMap) -> TensorMap:
    blocks = [_restored(x, mean.block(key), modes.block(key)) for key, x in tensor.items()]
    return TensorMap.unchecked(tensor.keys, blocks, tensor.info())


def _projected(block: TensorBlock, mean: TensorBlock, modes: TensorBlock) -> TensorBlock:
    check_library([block, modes])
    _check_properties(block, modes.properties)
    turned = arrays.transposed(modes.values)
    return _moved(block, turned, -(mean.values @ turned), modes.samples)


def _restored(block: TensorBlock, mean: TensorBlock, modes: TensorBlock) -> TensorBlock:
    check_library([block, modes])
    _check_properties(block, modes.samples)
    return _moved(block, modes.values, mean.values, modes.properties)


def _moved(block: TensorBlock, matrix: Array, shift: Array, properties: Labels) -> TensorBlock:
    """``x matrix + shift``, and ``dx matrix`` of the gradients."""
    turned = linear(lambda x: by_matrix(x, matrix), block, properties=properties)
    return TensorBlock.unchecked(
        turned.values + shift[0],
        turned.samples,
        tuple(turned.components),
        properties,
        dict(turned.gradients()),
    )


def _check_properties(block: TensorBlock, expected: Labels) -> None:
    if block.properties != expected:
        raise ValueError(
            f"properties must be those that the directions were found for, in the same order, "
            f"{expected!r}, got {block.properties!r}"
        )


class Covariance:
    """Mean and covariance of the properties, over maps that are given one after the other.

    Only sums are kept: the maps need not fit in memory together. For each key, ``C = 1/N sum_i
    (x_i - m) (x_i - m)^T`` over the ``N`` rows (samples and components) of all maps. Sums are in
    double precision, about the mean of the rows so far, so that a large mean costs no digits;
    results have the dtype of the first map. Gradients are not looked at.

    Blocks with components of more than one entry are spherical or Cartesian tensors, whose mean
    over all orientations is zero: there, ``m = 0``.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> covariance = Covariance()
    >>> for x in ([[1.0, 0.0], [3.0, 0.0]], [[2.0, 3.0]]):
    ...     rows, n = Labels.range("atom", len(x)), Labels.range("n", 2)
    ...     block = TensorBlock(np.array(x), rows, [], n)
    ...     covariance.add(TensorMap(Labels.single(), [block]))
    >>> covariance.mean().block().values
    array([[2., 1.]])
    >>> covariance.matrix().block().values.round(3)
    array([[0.667, 0.   ],
           [0.   , 2.   ]])

    References
    ----------
    Chan, Golub, LeVeque, Am. Stat. 37, 242 (1983).
    """

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._sums: dict[Key, _Sums] = {}

    def add(self, tensor: TensorMap) -> None:
        """Count the rows of one more map, which may have keys that are new.

        Raises
        ------
        TypeError
            If it is not a map.
        ValueError
            If its keys, or the properties under one of them, are not those of the maps before.
        """
        check_map("a covariance", tensor)
        self._check_names(tensor.keys.names)
        for key, block in tensor.items():
            self._count(tuple(key), _Sums.of(block))

    def merge(self, other: Covariance) -> None:
        """Count also what another one has counted, perhaps in another process.

        Errors are those of :meth:`add`.
        """
        if other._names is not None:
            self._check_names(other._names)
        for key, sums in other._sums.items():
            self._count(key, sums)

    def rows(self) -> dict[Key, int]:
        """How many rows have been counted under each key."""
        return {key: sums.rows for key, sums in self._sums.items()}

    def mean(self) -> TensorMap:
        """``m``, as one sample."""
        return self._map(lambda sums: sums.mean_block())

    def matrix(self) -> TensorMap:
        """``C``, whose samples have the labels of the properties."""
        return self._map(lambda sums: sums.matrix_block())

    def pca(self, count: int | None = None) -> PCA:
        """The directions in which the rows vary most, at most ``count`` for each key."""
        check_count("count", count)
        modes = {key: sums.modes(count) for key, sums in self._sums.items()}
        return PCA(
            self.mean(),
            self._of({key: directions for key, (directions, _) in modes.items()}),
            self._of({key: variances for key, (_, variances) in modes.items()}),
        )

    def _count(self, key: Key, sums: _Sums) -> None:
        try:
            self._sums[key] = self._sums[key].merged(sums) if key in self._sums else sums
        except ValueError as error:
            place = ", ".join(map("{}={}".format, self._names or (), key))
            error.add_note(f"in the block with ({place})")
            raise

    def _check_names(self, names: list[str]) -> None:
        if self._names is not None and names != self._names:
            raise ValueError(f"maps must have the key dimensions {self._names}, got {names}")
        self._names = names

    def _map(self, block: Callable[[_Sums], TensorBlock]) -> TensorMap:
        return self._of({key: block(sums) for key, sums in self._sums.items()})

    def _of(self, blocks: dict[Key, TensorBlock]) -> TensorMap:
        if self._names is None:
            raise ValueError("no map has been added yet")
        entries = np.array(list(blocks), np.int32).reshape(-1, len(self._names))
        return TensorMap(Labels(self._names, entries), list(blocks.values()))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Rows, their mean and ``sum (x - m) (x - m)^T``, in double precision."""

    properties: Labels
    dtype: Any
    centered: bool
    rows: int
    mean: Array
    scatter: Array

    @classmethod
    def of(cls, block: TensorBlock) -> _Sums:
        xp = arrays.namespace(block.values)
        values = arrays.move(arrays.detached(block.values), dtype=xp.float64)
        x = values.reshape((prod(block.shape[:-1]), block.shape[-1]))
        centered = prod(block.shape[1:-1]) == 1
        mean = arrays.filled(x.shape[1:], 0, x)
        if centered and len(x):
            mean = xp.mean(x, axis=0)
            x = x - mean
        scatter = arrays.transposed(x) @ x
        return cls(block.properties, block.dtype, centered, len(x), mean, scatter)

    def merged(self, other: _Sums) -> _Sums:
        """Those of both together."""
        if (other.properties, other.centered) != (self.properties, self.centered):
            raise ValueError(
                "properties must be those of the maps before, in the same order, "
                f"{self.properties!r}, got {other.properties!r}"
            )
        rows = self.rows + other.rows
        if not self.centered or not rows:
            return self._with(rows, self.mean, self.scatter + other.scatter)
        step = other.mean - self.mean
        between = (self.rows * other.rows / rows) * (step[:, None] * step)
        mean = self.mean + (other.rows / rows) * step
        return self._with(rows, mean, self.scatter + other.scatter + between)

    def _with(self, rows: int, mean: Array, scatter: Array) -> _Sums:
        return _Sums(self.properties, self.dtype, self.centered, rows, mean, scatter)

    def covariance(self) -> Array:
        return self.scatter / max(1, self.rows)

    def mean_block(self) -> TensorBlock:
        return self._block(self.mean[None, :], Labels.single(), self.properties)

    def matrix_block(self) -> TensorBlock:
        return self._block(self.covariance(), self.properties, self.properties)

    def modes(self, count: int | None) -> tuple[TensorBlock, TensorBlock]:
        """The directions of largest variance, and the variances."""
        xp = arrays.namespace(self.scatter)
        variances, vectors = xp.linalg.eigh(self.covariance())  # in rising order
        variances, vectors = xp.flip(variances, axis=0)[:count], xp.flip(vectors, axis=1)[:, :count]
        vectors = arrays.transposed(vectors)
        vectors = vectors * signs(vectors)[:, None]
        labels = Labels.range(MODE, len(variances))
        variances = arrays.larger(variances, 0)[None, :]
        return (
            self._block(vectors, labels, self.properties),
            self._block(variances, Labels.single(), labels),
        )

    def _block(self, values: Array, samples: Labels, properties: Labels) -> TensorBlock:
        return TensorBlock(arrays.move(values, dtype=self.dtype), samples, [], properties)
