"""Densities of all atoms of a crystal, however far, by a sum over reciprocal space: LODE.

The field ``V_A(x) = sum_j v(|x - r_j|)`` of all atoms of a type, images included, has plane
waves ``k`` on the reciprocal lattice, ``v^(k) exp(i k (x - r_j))/V``, and around an atom

``c_nlm = 4π/V sum_k i^l v^(k) I_nl(k) Y_lm(k/|k|) sum_j exp(i k (r_i - r_j))`` with
``I_nl(k) = int x² R_nl(x) j_l(k x) dx``. ``k`` and ``-k`` together are real: a cosine for even l
and a sine for odd. A strain leaves ``k·r`` alone and turns and stretches ``k``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import ase
import numpy as np
from numpy.typing import NDArray
from scipy.special import expn, gamma, gammaincc, spherical_jn

from nablatom.block import TensorBlock
from nablatom.descriptors.density import Gaussian, SmearedPowerLaw
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.field_types import check_settings
from nablatom.descriptors.harmonics import spherical_harmonics
from nablatom.descriptors.radial_basis import RadialBasis
from nablatom.descriptors.radial_table import (
    RadialTable,
    nodes_and_weights,
    radial_integrals,
    tabulated,
)
from nablatom.labels import Labels
from nablatom.operations import join, sort
from nablatom.systems.pairs import PARAMETERS
from nablatom.tensor import TensorMap

__all__ = [
    "LodeSphericalExpansion",
    "center",
    "half_space",
    "has_mean",
    "integrals",
    "transform",
]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

MOST_WAVES = 1e7  # in a box around them: beyond, they take more memory than there is
WAVES_PER_BATCH = 1 << 21  # numbers of all phases at a time


@dataclass(frozen=True, kw_only=True)
class LodeSphericalExpansion(Explicit):
    """Long-range density around every atom, per l, with explicit gradients.

    Called with structures that are periodic in three directions, it returns a `TensorMap` with
    keys ``o3_lambda, o3_sigma, center_type, neighbor_type``, samples ``system, atom``,
    components ``o3_mu`` and properties ``n``. Every atom sees every other, so that its
    ``positions`` gradient has a row for every atom of the neighbor's type.

    Parameters
    ----------
    radial
        The radial functions, with a ``radius`` of their own: there is no cutoff.
    density
        ``v``, a `SmearedPowerLaw`; or a `Gaussian`.
    max_angular
        Angular functions ``l = 0 … max_angular``.
    k_cutoff : 1/length
        Waves up to this; ``1.2 π`` over the smearing if None. It does not change with the
        cell: while a wave passes, the values jump, by as much as the waves beyond matter.
    center_weight
        Of the atom itself in its own density.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.descriptors import Gto, SmearedPowerLaw
    >>> lode = LodeSphericalExpansion(
    ...     radial=Gto(3, radius=2.0), density=SmearedPowerLaw(1.0, exponent=1), max_angular=1
    ... )
    >>> lode(bulk("NaCl", "rocksalt", a=5.64), keys=Labels("o3_lambda", [[1]])).keys["center_type"]
    array([11, 11, 17, 17], dtype=int32)

    References
    ----------
    Grisafi, Ceriotti, J. Chem. Phys. 151, 204105 (2019); Huguenin-Dumittan, Loche, Haoran,
    Ceriotti, J. Phys. Chem. Lett. 14, 9612 (2023).
    """

    radial: RadialBasis
    density: SmearedPowerLaw | Gaussian
    max_angular: int = 4
    k_cutoff: float | None = None
    center_weight: float = 1.0

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        if not np.isfinite(self.radial.reach(np.inf)):
            raise ValueError(
                f"LODE has no cutoff: give {type(self.radial).__name__} a radius of its own"
            )
        if self.max_angular < 0:
            raise ValueError(f"max_angular counts from 0, got {self.max_angular}")
        if not (np.isfinite(self.longest) and self.longest > 0):
            raise ValueError(f"k_cutoff must be positive, got {self.k_cutoff}")

    @property
    def longest(self) -> float:
        """The largest wave vector of the sum."""
        width = self.density.width if isinstance(self.density, Gaussian) else self.density.smearing
        return 1.2 * np.pi / width if self.k_cutoff is None else self.k_cutoff

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The expansion in some structures."""
        parts = []
        for system, frame in enumerate(frames):
            if len(frame):
                _check_periodic(system, frame)
                try:
                    parts.append(self._frame(system, frame, gradients))
                except ValueError as error:
                    error.add_note(f"in structure {system}")
                    raise
        return sort(join(parts, "samples", different_keys="union"), "keys")

    def _frame(self, system: int, frame: ase.Atoms, gradients: tuple[str, ...]) -> TensorMap:
        waves = self._waves(frame)
        phase = frame.positions @ waves.k.T
        waves_of = _Phases(np.cos(phase), np.sin(phase))
        found = {}
        elements = np.unique(frame.numbers).tolist()
        for center, neighbor in ((a, b) for a in elements for b in elements):
            atoms = np.flatnonzero(frame.numbers == center)
            others = np.flatnonzero(frame.numbers == neighbor)
            whole = self._block(frame, waves, waves_of, atoms, others, gradients)
            for l, block in self._per_angular(whole, system, atoms, others):
                found[l, 1, center, neighbor] = block
        names = ["o3_lambda", "o3_sigma", "center_type", "neighbor_type"]
        entries = np.array(list(found), np.int32)
        return TensorMap(Labels(names, entries), list(found.values()))

    def _waves(self, frame: ase.Atoms) -> "_Waves":
        """Half of the waves, with what each adds to every coefficient, over the volume."""
        cell = frame.cell.array
        k = half_space(cell, self.longest) @ (2 * np.pi * np.linalg.inv(cell).T)
        length = np.sqrt((k * k).sum(axis=1))
        n, l = (
            self.radial.size,
            np.repeat(np.arange(self.max_angular + 1), 2 * np.arange(self.max_angular + 1) + 1),
        )
        table = integrals(self.radial, self.longest, self.max_angular)
        integral, slope, _ = (x.reshape(len(k), -1, n)[:, l] for x in table(length))
        strength, change, _ = (x[:, None, None] for x in transform(self.density, length))
        Y, D = spherical_harmonics(k / length[:, None], self.max_angular)
        # i^l of both waves together: cos, -sin, -cos, sin, …
        sign = np.array([1, -1, -1, 1])[l % 4][:, None]
        factor = sign * 8 * np.pi / abs(np.linalg.det(cell))
        radial, radial_slope = strength * integral, change * integral + strength * slope
        values = factor * radial * Y[:, :, None]  # (waves, lm, n)
        direction = (k / length[:, None])[:, :, None, None]
        derivative = radial_slope[:, None] * Y[:, None, :, None] * direction
        derivative += radial[:, None] * (D / length[:, None, None])[..., None]
        constant = np.zeros(n)
        if has_mean(self.density):
            zero = float(transform(self.density, np.zeros(1))[0][0])
            constant = factor[0] / 2 * zero * table(np.zeros(1))[0][0, :n] / np.sqrt(4 * np.pi)
        return _Waves(k, l % 2 == 1, values, factor * derivative, constant)

    def _block(
        self,
        frame: ase.Atoms,
        waves: "_Waves",
        phases: "_Phases",
        atoms: Rows,
        others: Rows,
        gradients: tuple[str, ...],
    ) -> "_Whole":
        sums = phases.summed(atoms, others)
        values = _contracted(sums, waves.odd, waves.values)
        values[:, 0] += len(others) * waves.constant
        own = np.isin(atoms, others)
        if self.center_weight != 1.0:
            values[own, 0] -= (1 - self.center_weight) * center(self.radial, self.density)
        found: dict[str, Array] = {}
        if gradients:
            moved = self._moved(waves, phases, atoms, others)
            if "positions" in gradients:
                found["positions"] = moved
            strain = self._strained(waves, sums, values, own)
            if "strain" in gradients:
                found["strain"] = strain
            if "cell" in gradients:
                found["cell"] = _by_cell(frame, strain, moved, atoms, others)
        return _Whole(values, {name: found[name] for name in gradients})

    def _moved(self, waves: "_Waves", phases: "_Phases", atoms: Rows, others: Rows) -> Array:
        """Derivative by the position of every other atom, (i, j, 3, lm, n)."""
        shape = (len(atoms), len(others), 3, *waves.values.shape[1:])
        result = np.zeros(shape)
        weights = waves.k[:, :, None, None] * waves.values[:, None]  # (waves, 3, lm, n)
        step = max(1, WAVES_PER_BATCH // max(1, len(others) * len(waves.k)))
        for start in range(0, len(atoms), step):
            some = atoms[start : start + step]
            cosine, sine = phases.differences(some, others)  # (i, j, waves) of k (r_i - r_j)
            parts = (sine, -cosine)  # d cos/dr_j = k sin, d sin/dr_j = -k cos
            for odd in (False, True):
                here = waves.odd == odd
                result[start : start + step][:, :, :, here] = np.tensordot(
                    parts[int(odd)], weights[:, :, here], axes=1
                )
        result[atoms[:, None] == others] = 0.0  # an atom moves with its images
        return result

    def _strained(
        self, waves: "_Waves", sums: tuple[Array, Array], values: Array, own: NDArray[np.bool_]
    ) -> Array:
        """``-k_b d/dk_a`` of every wave, and the volume: ``-δ_ab``."""
        turned = -waves.derivative[:, :, None] * waves.k[:, None, :, None, None]
        result = _contracted(sums, waves.odd, turned)  # (i, a, b, lm, n)
        total = values.copy()
        if self.center_weight != 1.0:
            total[own, 0] += (1 - self.center_weight) * center(self.radial, self.density)
        return result - np.eye(3)[:, :, None, None] * total[:, None, None]

    def _per_angular(
        self, whole: "_Whole", system: int, atoms: Rows, others: Rows
    ) -> Iterator[tuple[int, TensorBlock]]:
        samples = Labels(["system", "atom"], np.column_stack([np.full(len(atoms), system), atoms]))
        properties = Labels.range("n", self.radial.size)
        own = _others_and_itself(atoms, others)
        rows = {name: Labels.range("sample", len(atoms)) for name in ("strain", "cell")}
        rows["positions"] = _position_rows(system, atoms, own)
        for l in range(self.max_angular + 1):
            lm = slice(l * l, (l + 1) ** 2)
            mu = Labels("o3_mu", np.arange(-l, l + 1)[:, None])
            block = TensorBlock(whole.values[:, lm].copy(), samples, [mu], properties)
            for name, values in whole.gradients.items():
                part = values[..., lm, :]
                if name == "positions":
                    part = _with_itself(part, atoms, others, own)
                components = [*PARAMETERS[name], mu]
                gradient = TensorBlock(part.copy(), rows[name], components, properties)
                block.add_gradient(name, gradient)
            yield l, block


class _Waves(NamedTuple):
    """Half of the waves, without the one that is constant.

    Attributes
    ----------
    k : (waves, 3)
    odd : (lm,)
        Where l is odd.
    values : (waves, lm, n)
    derivative : (waves, 3, lm, n)
        Of the values, with respect to ``k``.
    constant : (n,)
        Of l = 0, from the constant wave of every atom.
    """

    k: Array
    odd: NDArray[np.bool_]
    values: Array
    derivative: Array
    constant: Array


class _Whole(NamedTuple):
    """All l of a block: (samples, lm, n), and its gradients."""

    values: Array
    gradients: dict[str, Array]


class _Phases(NamedTuple):
    """``k·r`` of every atom, (atoms, waves)."""

    cosine: Array
    sine: Array

    def summed(self, atoms: Rows, others: Rows) -> tuple[Array, Array]:
        """Sums over the others of cosine and sine of ``k·(r_i - r_j)``, (atoms, waves)."""
        c, s = self.cosine[atoms], self.sine[atoms]
        C, S = self.cosine[others].sum(axis=0), self.sine[others].sum(axis=0)
        return c * C + s * S, s * C - c * S

    def differences(self, atoms: Rows, others: Rows) -> tuple[Array, Array]:
        """Cosine and sine of ``k·(r_i - r_j)``, (atoms, others, waves)."""
        c, s = self.cosine[atoms][:, None], self.sine[atoms][:, None]
        C, S = self.cosine[others], self.sine[others]
        return c * C + s * S, s * C - c * S


def _contracted(sums: tuple[Array, Array], odd: NDArray[np.bool_], waves: Array) -> Array:
    """Sum over the waves, (…, lm, n): cosines for even l, sines for odd."""
    result = np.empty((len(sums[0]), *waves.shape[1:]))
    for is_odd, sum_ in zip((False, True), sums, strict=True):
        here = odd == is_odd
        result[..., here, :] = np.tensordot(sum_, waves[..., here, :], axes=1)
    return result


def half_space(cell: Array, longest: float) -> Rows:
    """Reciprocal vectors up to a length, one of every ``k, -k``, by index, (waves, 3)."""
    most = np.floor(longest * np.linalg.norm(cell, axis=1) / (2 * np.pi))
    count = np.prod(2 * most + 1)
    if count > MOST_WAVES:
        raise ValueError(
            f"the cell has {count:.1e} waves up to {longest:.3g}, expected at most "
            f"{MOST_WAVES:.0e}; give a smaller k_cutoff, a wider density or a smaller cell"
        )
    axes = [np.arange(-m, m + 1) for m in most.astype(np.int64)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    a, b, c = index.T
    index = index[(a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))]
    k = index @ (2 * np.pi * np.linalg.inv(cell).T)
    return index[(k * k).sum(axis=1) <= longest**2]


@lru_cache(maxsize=16)
def integrals(basis: RadialBasis, longest: float, max_angular: int) -> RadialTable:
    """``int x² R_nl(x) j_l(k x) dx`` up to the longest wave."""
    limit = basis.reach(np.inf)
    x, weights = nodes_and_weights(basis, longest / np.pi, limit)
    functions = basis(x, limit, max_angular)[0] * (weights * x * x)[:, None, None]

    def overlaps(k: Array) -> Array:
        waves = np.stack([_bessel(l, k[:, None], x) for l in range(max_angular + 1)], axis=2)
        return np.einsum("dkls,sln->dkln", waves, functions)

    return tabulated(overlaps, longest * (1 + 1e-12), 1e-12)


def _bessel(l: int, k: Array, x: Array) -> Array:
    """``j_l(k x)`` with two derivatives by k, (3, k, x)."""
    j = {m: spherical_jn(m, k * x) for m in range(max(l - 2, 0), l + 3)}
    nothing = np.zeros_like(j[l])

    def slope(m: int) -> Array:
        return (m * j.get(m - 1, nothing) - (m + 1) * j[m + 1]) / (2 * m + 1)

    lower = slope(l - 1) if l else nothing
    curvature = (l * lower - (l + 1) * slope(l + 1)) / (2 * l + 1)
    return np.stack([j[l], x * slope(l), x * x * curvature])


@lru_cache(maxsize=16)
def center(basis: RadialBasis, density: SmearedPowerLaw | Gaussian) -> Array:
    """What an atom adds to its own density, per n: an integral over all of space."""
    limit = basis.reach(np.inf)
    share: Array = radial_integrals(basis, density, np.zeros(1), limit, 0)[0, 0, 0]
    return share / np.sqrt(4 * np.pi)


def has_mean(density: SmearedPowerLaw | Gaussian) -> bool:
    """Whether the constant wave is finite; else the mean of the field is set to zero."""
    return isinstance(density, Gaussian) or density.exponent > 3


def transform(density: SmearedPowerLaw | Gaussian, k: Array) -> tuple[Array, Array, Array]:
    """Fourier transform of the density, with two derivatives by the length of the wave."""
    if isinstance(density, Gaussian):
        square = density.width**2
        value = (
            (np.pi * square) ** -0.75 * (2 * np.pi * square) ** 1.5 * np.exp(-square * k * k / 2)
        )
        return value, -square * k * value, square * (square * k * k - 1) * value
    p, norm = density.exponent, gamma(density.exponent / 2)
    # the derivative of the integral for p is -k/2 times that for p - 2
    I0, I1, I2 = (_power_integral(q, density.smearing, k) / norm for q in (p, p - 2, p - 4))
    return I0, -k / 2 * I1, k * k / 4 * I2 - I1 / 2


def _power_integral(p: float, smearing: float, k: Array) -> Array:
    """``int_0^(1/2σ²) t^(p/2 - 1) (π/t)^(3/2) exp(-k²/4t) dt``, by an incomplete Γ function."""
    s = (3 - p) / 2
    if s < 0:
        value = np.full_like(k, np.pi**1.5 * (2 * smearing**2) ** s / -s)  # at k = 0
    else:
        value = np.zeros_like(k)  # multiplied by k, or not used
    waves = k > 0
    square = (k[waves] / 2) ** 2
    value[waves] = np.pi**1.5 * square**-s * _upper_gamma(s, 2 * smearing**2 * square)
    return value


def _upper_gamma(s: float, x: Array) -> Array:
    """``Γ(s, x)`` for any real s and positive x."""
    if s > 0:
        return gamma(s) * gammaincc(s, x)
    if s == round(s):
        return x**s * expn(1 - round(s), x)
    return (_upper_gamma(s + 1, x) - x**s * np.exp(-x)) / s


def _by_cell(frame: ase.Atoms, strain: Array, moved: Array, atoms: Rows, others: Rows) -> Array:
    """``dX/dH = H^-T (dX/dε - sum_j r_j dX/dr_j)``, as a strain moves positions and cell."""
    r = frame.positions[others][None] - frame.positions[atoms][:, None]
    by_positions = np.einsum("ija,ijb...->iab...", r, moved)
    return np.einsum("ka,iab...->ikb...", np.linalg.inv(frame.cell.array).T, strain - by_positions)


def _others_and_itself(atoms: Rows, others: Rows) -> Rows:
    """Atoms that move a center: all others of the type and, last of all, itself."""
    every = np.broadcast_to(others, (len(atoms), len(others)))
    return every if atoms[0] in others else np.column_stack([every, atoms])


def _position_rows(system: int, atoms: Rows, moving: Rows) -> Labels:
    count = moving.shape[1]
    sample = np.repeat(np.arange(len(atoms)), count)
    entries = np.column_stack([sample, np.full(len(sample), system), np.sort(moving).ravel()])
    return Labels(["sample", "system", "atom"], entries.astype(np.int32), assume_unique=True)


def _with_itself(moved: Array, atoms: Rows, others: Rows, moving: Rows) -> Array:
    """Derivatives in the order of the rows; what moves all others back moves the center."""
    center = -moved.sum(axis=1)
    if len(others) == moving.shape[1]:
        whole = moved.copy()
        whole[np.arange(len(atoms)), np.searchsorted(others, atoms)] = center
    else:
        whole = np.concatenate([moved, center[:, None]], axis=1)
        order = np.argsort(moving, axis=1)
        whole = whole[np.arange(len(atoms))[:, None], order]
    return whole.reshape(-1, *moved.shape[2:])


def _check_periodic(system: int, frame: ase.Atoms) -> None:
    if not (frame.pbc.all() and abs(np.linalg.det(frame.cell.array)) > 0):
        raise ValueError(
            f"structure {system} is not periodic in three directions, as a sum over reciprocal "
            f"space needs it (pbc {frame.pbc.tolist()}); put it into a box of its own"
        )
