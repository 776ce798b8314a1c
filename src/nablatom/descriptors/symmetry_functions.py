"""Atom-centered symmetry functions: sums over neighbors and over pairs of neighbors.

``G2 = sum_j exp(-η (r_ij - r_s)²) f(r_ij)``, and with ``θ`` between two neighbors

``G4 = 2^(1-ζ) sum_{j<k} (1 + λ cos θ)^ζ exp(-η (r_ij² + r_ik² + r_jk²)) f(r_ij) f(r_ik) f(r_jk)``

and ``G5`` the same without ``r_jk``. Every pair of neighbors counts once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.field_types import check_settings
from nablatom.descriptors.surroundings import Surroundings
from nablatom.labels import Labels
from nablatom.systems.pairs import Pairs, PairSum
from nablatom.tensor import TensorMap

__all__ = ["G2", "G4", "G5", "AtomicSymmetryFunctions", "triples"]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Key = tuple[int, int, int]

BEHLER = Cutoff(6.0, width=None)
NOBODY = 0  # the atomic number of no element
TRIPLES_PER_BATCH = 20_000


@dataclass(frozen=True)
class G2:
    """``exp(-η (r - r_s)²)``; ``eta`` in 1/length², ``shift`` a length."""

    eta: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not self.eta >= 0:
            raise ValueError(f"eta must not be negative, got {self}")


@dataclass(frozen=True)
class Angular:
    """A function of two neighbors and the angle between them."""

    eta: float
    zeta: float = 1.0
    lam: float = 1.0

    def __post_init__(self) -> None:
        if not (self.eta >= 0 and self.zeta >= 1 and abs(self.lam) == 1):
            raise ValueError(f"expected eta >= 0, zeta >= 1 and lam = 1 or -1, got {self}")


@dataclass(frozen=True)
class G4(Angular):
    """`G5` times ``exp(-η r_jk²) f(r_jk)``: both neighbors must be close to each other."""


@dataclass(frozen=True)
class G5(Angular):
    """``2^(1-ζ) (1 + λ cos θ)^ζ exp(-η (r_ij² + r_ik²))``, with ``lam`` 1 or -1."""


@dataclass(frozen=True)
class AtomicSymmetryFunctions(Explicit):
    """Behler's symmetry functions of every atom, with explicit gradients.

    Called with structures, it returns a `TensorMap` with keys ``center_type, neighbor_1_type,
    neighbor_2_type`` (the first not above the second, and 0, nobody, for functions of one
    neighbor), samples ``system, atom`` (atoms that have such neighbors) and the property
    ``function``, its place among the functions.

    Parameters
    ----------
    functions
        Any of `G2`, `G4` and `G5`.
    cutoff
        ``f``; by default Behler's cosine from 1 at the atom to 0 at 6 Å.

    Examples
    --------
    >>> from ase.build import molecule
    >>> functions = AtomicSymmetryFunctions((G2(0.5), G2(4.0, shift=1.0), G5(0.1, zeta=2)))
    >>> functions(molecule("H2O")).keys["neighbor_1_type"].tolist()  # 0: functions of one neighbor
    [0, 0, 1, 0, 1]

    References
    ----------
    Behler, J. Chem. Phys. 134, 074106 (2011).
    """

    functions: tuple[G2 | Angular, ...]
    cutoff: Cutoff = BEHLER

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))
        object.__setattr__(self, "functions", tuple(self.functions))
        if not self.functions:
            raise ValueError("no symmetry functions: expected at least one")

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The functions of some structures."""
        atoms = Surroundings.of(frames, self.cutoff.radius)
        if not atoms.type.all():
            raise ValueError("there are atoms of type 0, which stands for nobody in the keys")
        found = dict(self._radial(atoms, gradients)) | dict(self._angular(atoms, gradients))
        names = ["center_type", "neighbor_1_type", "neighbor_2_type"]
        keys = sorted(found)
        entries = np.array(keys, np.int32).reshape(-1, len(names))
        return TensorMap(Labels(names, entries), [found[key] for key in keys])

    def _chosen(self, *, angular: bool) -> Rows:
        return np.array(
            [i for i, one in enumerate(self.functions) if isinstance(one, Angular) == angular],
            np.int64,
        )

    def _radial(
        self, atoms: Surroundings, gradients: tuple[str, ...]
    ) -> Iterator[tuple[Key, TensorBlock]]:
        chosen = self._chosen(angular=False)
        if len(chosen) == 0:
            return
        functions = [one for one in self.functions if isinstance(one, G2)]
        values, derivative = _radial_terms(atoms.pairs, functions, self.cutoff)
        types = np.stack(atoms.types_of_pairs(), axis=1)
        for center, neighbor in np.unique(types, axis=0).tolist():
            rows = np.flatnonzero((types == (center, neighbor)).all(axis=1))
            samples = atoms.labels(np.unique(atoms.center[rows]))
            total = PairSum.of(atoms.pairs[rows], samples, gradients)
            labels = Labels("function", chosen[:, None].astype(np.int32))
            yield (center, NOBODY, neighbor), total(values[rows], derivative[rows], [], labels)

    def _angular(
        self, atoms: Surroundings, gradients: tuple[str, ...]
    ) -> Iterator[tuple[Key, TensorBlock]]:
        chosen = self._chosen(angular=True)
        if len(chosen) == 0:
            return
        functions = [one for one in self.functions if isinstance(one, Angular)]
        first, second = triples(atoms.center)
        center, neighbor = atoms.types_of_pairs()
        both = np.sort(np.stack([neighbor[first], neighbor[second]], axis=1), axis=1)
        types = np.column_stack([center[first], both])
        for key in np.unique(types, axis=0).tolist():
            here = np.flatnonzero((types == key).all(axis=1))
            rows = np.unique(np.concatenate([first[here], second[here]]))
            p, q = (np.searchsorted(rows, pairs[here]) for pairs in (first, second))
            values, derivative = _angular_terms(atoms.pairs[rows], p, q, functions, self.cutoff)
            samples = atoms.labels(np.unique(atoms.center[rows]))
            total = PairSum.of(atoms.pairs[rows], samples, gradients)
            labels = Labels("function", chosen[:, None].astype(np.int32))
            yield tuple(key), total(values, derivative, [], labels)


def _radial_terms(pairs: Pairs, functions: Sequence[G2], cutoff: Cutoff) -> tuple[Array, Array]:
    """Value of every pair and its derivative with respect to the pair vector."""
    r = pairs.distance
    eta, shift = (np.array([getattr(f, name) for f in functions]) for name in ("eta", "shift"))
    f, slope, _ = cutoff(r)
    x = r[:, None] - shift
    gaussian = np.exp(-eta * x * x)
    along = gaussian * (slope[:, None] - 2 * eta * x * f[:, None])
    return gaussian * f[:, None], (pairs.vector / r[:, None])[:, :, None] * along[:, None, :]


def triples(center: Rows) -> tuple[Rows, Rows]:
    """All pairs of pairs of the same center, whose pairs stand together."""
    count = len(center)
    later = np.searchsorted(center, center, side="right") - np.arange(count) - 1
    first = np.repeat(np.arange(count), later)
    start = np.repeat(np.cumsum(later) - later, later)
    return first, first + 1 + np.arange(len(first)) - start


def _angular_terms(
    pairs: Pairs, first: Rows, second: Rows, functions: Sequence[Angular], cutoff: Cutoff
) -> tuple[Array, Array]:
    """Sums over triples: values on their first pair, derivatives on both."""
    values = np.zeros((len(pairs), len(functions)))
    derivative = np.zeros((len(pairs), 3, len(functions)))
    for start in range(0, len(first), TRIPLES_PER_BATCH):
        some = slice(start, start + TRIPLES_PER_BATCH)
        p, q = first[some], second[some]
        v, w = pairs.vector[p], pairs.vector[q]
        value, own_p, own_q, mixed = _triple(v, w, functions, cutoff)
        np.add.at(values, p, value)
        for pair, own, mine, other in ((p, own_p, v, w), (q, own_q, w, v)):
            slope = mine[:, :, None] * own[:, None] + other[:, :, None] * mixed[:, None]
            np.add.at(derivative, pair, slope)
    return values, derivative


def _triple(
    v: Array, w: Array, functions: Sequence[Angular], cutoff: Cutoff
) -> tuple[Array, Array, Array, Array]:
    """Value of two neighbors, and ``a, b, c`` of ``d/dv = a v + c w``, ``d/dw = b w + c v``."""
    eta, zeta, lam, near = (
        np.array([float(part) for part in parts])
        for parts in zip(
            *((f.eta, f.zeta, f.lam, isinstance(f, G4)) for f in functions), strict=True
        )
    )
    r, s, t = (np.sqrt((x * x).sum(axis=1))[:, None] for x in (v, w, w - v))
    cosine = (v * w).sum(axis=1)[:, None] / (r * s)
    base = np.maximum(1 + lam * cosine, 0.0)
    angle = 2 ** (1 - zeta) * base**zeta
    angle_slope = 2 ** (1 - zeta) * zeta * lam * base ** (zeta - 1)
    decay = np.exp(-eta * (r * r + s * s + near * t * t))
    (f_r, d_r, _), (f_s, d_s, _), (f_t, d_t, _) = (cutoff(x) for x in (r, s, t))
    f_t, d_t = np.where(near, f_t, 1.0), np.where(near, d_t, 0.0)
    value = angle * decay * f_r * f_s * f_t
    turn = angle_slope * decay * f_r * f_s * f_t / (r * s)  # times w - cosine s/r v
    apart = (angle * decay * f_r * f_s * d_t - 2 * eta * near * t * value) / t
    own_v = -turn * cosine * s / r + angle * decay * d_r * f_s * f_t / r - 2 * eta * value + apart
    own_w = -turn * cosine * r / s + angle * decay * f_r * d_s * f_t / s - 2 * eta * value + apart
    return value, own_v, own_w, turn - apart
