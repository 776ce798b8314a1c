"""Tensor products of spherical tensors, with Clebsch-Gordan coefficients.

``z^{λμ} = sum_{m1 m2} C^{λμ}_{l1 m1 l2 m2} x_{l1 m1} y_{l2 m2}``, for the components of real
spherical harmonics without Condon-Shortley phase, ``m = -l … l``. For every allowed pair the
coefficients are an orthogonal matrix from ``(m1, m2)`` to ``(λ, μ)``. Where ``l1 + l2 + λ`` is
odd, the coefficients in the real basis are imaginary; the imaginary part is taken, so that two
vectors give their cross product over ``sqrt(2)``.

Varshalovich, Moskalev, Khersonskii, Quantum Theory of Angular Momentum, 8.2.1 (1988).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import factorial, prod, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, remembered
from nablatom.merge import merge, merged_labels, stacked_labels
from nablatom.operations.chain import Route, bilinear, gather
from nablatom.operations.matching import equal_pairs
from nablatom.operations.operands import check_labels
from nablatom.operations.products import by_matrix
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = ["clebsch_gordan", "tensor_product"]


@traceable
def tensor_product(
    a: TensorMap,
    b: TensorMap,
    *,
    selected_keys: Labels | None = None,
    suffixes: tuple[str, str] = ("_1", "_2"),
) -> TensorMap:
    """All irreducible tensors ``x^{λμ}`` in the products of two maps of spherical tensors.

    ``sum_{m1 m2} C^{λμ}_{l1 m1 l2 m2} a_{l1 m1 n1} b_{l2 m2 n2}`` for every pair of blocks and
    every ``λ`` from ``|l1 - l2|`` to ``l1 + l2``, with ``σ = σ1 σ2 (-1)^(l1 + l2 + λ)``.
    Gradients follow the product rule.

    Parameters
    ----------
    a, b
        Maps with the key dimensions ``o3_lambda`` and ``o3_sigma``, and one component
        ``o3_mu`` from ``-o3_lambda`` to ``o3_lambda``. Other key dimensions are kept; where
        both maps have one, only blocks with the same entry are multiplied. A sample that only
        one of two blocks has counts as zero in the other, and is left out.
    selected_keys
        Labels with some of the dimensions of the result's keys: nothing else is computed.
    suffixes
        What is added to names that come from both maps. The properties of the result are
        ``o3_lambda_1, o3_sigma_1, o3_lambda_2, o3_sigma_2`` and then those of ``a`` and ``b``.

    Raises
    ------
    TypeError
        If an operand is not a map, whose keys say what the blocks are.
    ValueError
        If keys, components, samples or gradients are not as described, or if names of
        properties would be the same.

    Examples
    --------
    The products of two vectors are their scalar, their cross and their tensor product:

    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> mu, n = Labels("o3_mu", [[-1], [0], [1]]), Labels.range("n", 1)
    >>> vector = TensorBlock(np.array([[[1.0], [2.0], [2.0]]]), Labels.range("atom", 1), [mu], n)
    >>> vectors = TensorMap(Labels(["o3_lambda", "o3_sigma"], [[1, 1]]), [vector])
    >>> products = tensor_product(vectors, vectors)
    >>> print(products.keys)
    Labels(
        o3_lambda  o3_sigma
            0         1
            1        -1
            2         1
    )
    >>> products.block(o3_lambda=0).values.round(6)  # - |v|² / sqrt(3)
    array([[[-5.196152]]])
    """
    for x in (a, b):
        _check_map(x)
    if selected_keys is not None:
        check_labels("tensor_product", selected_keys, "selected_keys")
    plan = _plan(a.keys, b.keys)
    chosen = np.arange(len(plan.keys)) if selected_keys is None else plan.keys.select(selected_keys)
    blocks = []
    for k in chosen.tolist():
        try:
            parts = [_coupled(a, b, pair, suffixes) for pair in plan.pairs[k]]
            blocks.append(_side_by_side(parts))
        except ValueError as error:
            error.add_note(f"in tensor_product, in the block with {plan.keys[k].print()}")
            raise
    return TensorMap.unchecked(plan.keys.take(chosen), blocks, a.info())


# -- which blocks are multiplied ---------------------------------------------------------

_LAMBDA, _SIGMA, _MU = "o3_lambda", "o3_sigma", "o3_mu"


class _Pair(NamedTuple):
    """Two blocks by their index, their ``λ`` and ``σ``, and the ``λ`` of a product of theirs."""

    blocks: tuple[int, int]
    left: tuple[int, int]
    right: tuple[int, int]
    degree: int

    @property
    def parity(self) -> int:
        (l1, s1), (l2, s2) = self.left, self.right
        return s1 * s2 * (-1) ** (l1 + l2 + self.degree)


class _Plan(NamedTuple):
    keys: Labels
    pairs: list[list[_Pair]]


@remembered
def _plan(a: Labels, b: Labels) -> _Plan:
    """The keys of the result, and for each the pairs that go into its block."""
    left, right = ([x for x in labels.names if x not in (_LAMBDA, _SIGMA)] for labels in (a, b))
    shared = [name for name in left if name in right]
    ours, theirs = (x.values[:, [x.names.index(name) for name in shared]] for x in (a, b))
    pairs = equal_pairs(ours, theirs)
    names = (*a.names, *[name for name in right if name not in left])
    found: dict[tuple[int, ...], list[_Pair]] = {}
    for i, j in zip(*(rows.tolist() for rows in pairs), strict=True):
        x, y = a[i], b[j]
        l1, l2 = x[_LAMBDA], y[_LAMBDA]
        for degree in range(abs(l1 - l2), l1 + l2 + 1):
            pair = _Pair((i, j), (l1, x[_SIGMA]), (l2, y[_SIGMA]), degree)
            numbers = {name: y[name] for name in right} | {name: x[name] for name in left}
            numbers |= {_LAMBDA: degree, _SIGMA: pair.parity}
            found.setdefault(tuple(numbers[name] for name in names), []).append(pair)
    keys = sorted(found)
    entries = np.array(keys, np.int32).reshape(-1, len(names))
    ordered = [sorted(found[key], key=lambda pair: (pair.left, pair.right)) for key in keys]
    return _Plan(Labels.unchecked(names, entries), ordered)


def _side_by_side(parts: list[TensorBlock]) -> TensorBlock:
    """Products of several pairs in one block, one after the other along the properties."""
    if len(parts) == 1:
        return parts[0]
    samples = merged_labels([part.samples for part in parts], sort=True)
    properties = stacked_labels([part.properties for part in parts], sort=False)
    return merge(parts, samples, properties, axis="properties")


# -- one product --------------------------------------------------------------------------


def _coupled(a: TensorMap, b: TensorMap, pair: _Pair, suffixes: tuple[str, str]) -> TensorBlock:
    x, y = a.block_by_id(pair.blocks[0]), b.block_by_id(pair.blocks[1])
    for block, (degree, _) in ((x, pair.left), (y, pair.right)):
        _check_components(block, degree)
    x, y = _on_shared_samples(x, y)
    (l1, _), (l2, _) = pair.left, pair.right
    coefficients = arrays.constant(_matrix(l1, l2, pair.degree), like=x.values)
    size = len(x.properties) * len(y.properties)

    def product(x: Array, y: Array) -> Array:
        half = by_matrix(x.swapaxes(-1, -2), coefficients)  # (…, n1, μ m2)
        half = half.reshape((*half.shape[:-1], 2 * pair.degree + 1, 2 * l2 + 1)).swapaxes(-2, -3)
        half = half.reshape((*half.shape[:-3], half.shape[-3] * half.shape[-2], 2 * l2 + 1))
        whole = half @ y  # (…, μ n1, n2)
        return whole.reshape((*whole.shape[:-2], 2 * pair.degree + 1, size))

    return bilinear(
        product,
        x,
        y,
        components=[_components(pair.degree)],
        properties=_properties(
            x.properties, y.properties, (*pair.left, *pair.right), tuple(suffixes)
        ),
    )


def _on_shared_samples(a: TensorBlock, b: TensorBlock) -> tuple[TensorBlock, TensorBlock]:
    if a.samples == b.samples:
        return a, b
    if a.samples.names != b.samples.names:
        raise ValueError(
            f"samples must have the same dimensions, got {a.samples.names} and {b.samples.names}"
        )
    left, right = _meeting(a.samples, b.samples)
    return gather(a, left), gather(b, right)


@remembered
def _meeting(a: Labels, b: Labels) -> tuple[Route, Route]:
    samples, here, there = a.intersection_and_mapping(b)
    return Route(samples, _inverse(here, len(samples))), Route(
        samples, _inverse(there, len(samples))
    )


def _inverse(places: Rows, length: int) -> Rows:
    """The row that each of the places stands for; -1 is no place."""
    rows = np.empty(length, np.int64)
    kept = np.flatnonzero(places >= 0)
    rows[places[kept]] = kept
    return rows


@cache
def _components(degree: int) -> Labels:
    return Labels.unchecked((_MU,), np.arange(-degree, degree + 1, dtype=np.int32)[:, None])


@remembered
def _properties(
    a: Labels, b: Labels, numbers: tuple[int, ...], suffixes: tuple[str, str]
) -> Labels:
    """An entry for every pair of properties, after what the two blocks are."""
    kept = [[] if x.names == ["_"] and len(x) == 1 else x.names for x in (a, b)]
    names = [name + suffix for suffix in suffixes for name in (_LAMBDA, _SIGMA)]
    for mine, others, suffix in zip(kept, kept[::-1], suffixes, strict=True):
        names += [name + suffix if name in others else name for name in mine]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"the result would have several properties called {repeated}; other suffixes than "
            f"{suffixes} tell them apart"
        )
    entries = np.empty((len(a) * len(b), len(names)), np.int32)
    entries[:, :4] = numbers
    split = 4 + len(kept[0])
    if kept[0]:
        entries[:, 4:split] = np.repeat(a.values, len(b), axis=0)
    if kept[1]:
        entries[:, split:] = np.tile(b.values, (len(a), 1))
    return Labels(names, entries, assume_unique=True)


def _check_map(x: Any) -> None:
    if not isinstance(x, TensorMap):
        raise TypeError(
            f"tensor_product takes two TensorMaps, whose keys say what their blocks are, got "
            f"{type(x).__name__}"
        )
    for name in (_LAMBDA, _SIGMA):
        if name not in x.keys.names:
            raise ValueError(f"tensor_product needs the key dimension {name!r}, got {x.keys.names}")
    if len(x.keys) and x.keys[_LAMBDA].min() < 0:
        raise ValueError(f"{_LAMBDA} must not be negative, got {x.keys[_LAMBDA].min()}")
    if not set(x.keys[_SIGMA].tolist()) <= {-1, 1}:
        raise ValueError(f"{_SIGMA} must be 1 or -1, got {sorted(set(x.keys[_SIGMA].tolist()))}")


def _check_components(block: TensorBlock, degree: int) -> None:
    if block.components != [_components(degree)]:
        raise ValueError(
            f"blocks must have one component {_MU!r} from {-degree} to {degree}, as their "
            f"{_LAMBDA} is {degree}, got {block.components}"
        )


# -- coefficients ---------------------------------------------------------------------------


@cache
def clebsch_gordan(l1: int, l2: int, degree: int) -> NDArray[np.float64]:
    """Clebsch-Gordan coefficients of real spherical harmonics, (2 l1 + 1, 2 l2 + 1, 2 λ + 1).

    Read-only; kept once they have been computed.

    Raises
    ------
    ValueError
        Unless ``|l1 - l2| ≤ degree ≤ l1 + l2``.

    Examples
    --------
    >>> clebsch_gordan(1, 1, 0)[:, :, 0].round(6)
    array([[-0.57735,  0.     ,  0.     ],
           [ 0.     , -0.57735,  0.     ],
           [ 0.     ,  0.     , -0.57735]])
    """
    if min(l1, l2) < 0 or not abs(l1 - l2) <= degree <= l1 + l2:
        raise ValueError(
            f"l1 = {l1} and l2 = {l2} couple to degrees from {abs(l1 - l2)} to {l1 + l2}, got "
            f"{degree}"
        )
    coefficients = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * degree + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -degree - m1), min(l2, degree - m1) + 1):
            coefficients[l1 + m1, l2 + m2, degree + m1 + m2] = _complex(l1, m1, l2, m2, degree)
    to_real = [_to_real(l) for l in (l1, l2, degree)]
    real = np.einsum(
        "abc,xa,yb,zc->xyz", coefficients, to_real[0].conj(), to_real[1].conj(), to_real[2]
    )
    result: NDArray[np.float64] = np.ascontiguousarray(
        real.imag if (l1 + l2 + degree) % 2 else real.real
    )
    result.flags.writeable = False
    return result


@cache
def _matrix(l1: int, l2: int, degree: int) -> NDArray[np.float64]:
    """The coefficients as a matrix from ``m1`` to all ``(μ, m2)``."""
    coefficients = np.swapaxes(clebsch_gordan(l1, l2, degree), 1, 2)
    return coefficients.reshape(2 * l1 + 1, -1)


def _complex(l1: int, m1: int, l2: int, m2: int, l: int) -> float:
    """``<l1 m1 l2 m2 | l m1 + m2>`` by Racah's sum, exact up to the last square root."""
    m = m1 + m2
    square = Fraction(
        (2 * l + 1) * _factorials(l1 + l2 - l, l1 - l2 + l, l2 - l1 + l), factorial(l1 + l2 + l + 1)
    ) * _factorials(l + m, l - m, l1 + m1, l1 - m1, l2 + m2, l2 - m2)
    first, last = max(0, l2 - l - m1, l1 - l + m2), min(l1 + l2 - l, l1 - m1, l2 + m2)
    total = sum(
        Fraction(
            (-1) ** k,
            _factorials(
                k, l1 + l2 - l - k, l1 - m1 - k, l2 + m2 - k, l - l2 + m1 + k, l - l1 - m2 + k
            ),
        )
        for k in range(first, last + 1)
    )
    return (1 if total > 0 else -1) * sqrt(square * total * total)


def _factorials(*numbers: int) -> int:
    return prod(map(factorial, numbers))


def _to_real(l: int) -> NDArray[np.complex128]:
    """Real harmonics (rows) as sums of complex ones, which have a Condon-Shortley phase."""
    matrix = np.zeros((2 * l + 1, 2 * l + 1), complex)
    matrix[l, l] = 1
    for m in range(1, l + 1):
        matrix[l + m, [l - m, l + m]] = sqrt(0.5), (-1) ** m * sqrt(0.5)
        matrix[l - m, [l - m, l + m]] = 1j * sqrt(0.5), -1j * (-1) ** m * sqrt(0.5)
    return matrix
