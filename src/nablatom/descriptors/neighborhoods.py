"""Structures to atoms and pairs, in the order in which kernels work them off."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
import vesin
from numpy.typing import NDArray

from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.kernels_index import Surroundings, small_pairs, sorted_pairs
from nablatom.descriptors.scaling import Willatt2018

__all__ = ["SAME_PLACE", "Neighborhoods", "check_finite", "neighborhoods"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Nearer pairs are atoms put twice; Å.
SAME_PLACE = 1e-6
# Up to so many atoms of a molecule all distances are sooner computed than a search set up.
SMALL = 100


@dataclass(frozen=True, eq=False)
class Neighborhoods:
    """Atoms and pairs of some structures.

    Attributes
    ----------
    types : (types,)
        Atomic numbers, sorted.
    counts : (structures,)
        Number of atoms.
    around
        Everything about atoms and pairs.
    """

    types: Integers
    counts: Integers
    around: Surroundings

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.around.type)

    def pieces(self, count: int) -> list[tuple[int, int]]:
        """Ranges of atoms with about as many pairs each."""
        atoms, pairs = len(self), len(self.around.neighbor)
        ends = np.append(self.around.segment[:, 0], pairs) + np.arange(atoms + 1)
        cuts = np.searchsorted(ends, np.linspace(0, atoms + pairs, count + 1))
        cuts = np.unique(np.clip(cuts, 0, atoms))
        return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


def neighborhoods(
    frames: Sequence[ase.Atoms],
    cutoff: Cutoff,
    *,
    scaling: Willatt2018 | None = None,
    types: Sequence[int] | None = None,
) -> Neighborhoods:
    """Everything around the atoms of these structures.

    Parameters
    ----------
    types
        Atomic numbers to expect; None for those that occur.

    Raises
    ------
    ValueError
        Positions or cells are not finite, a cell has no volume, two atoms are at the same
        place, or there is an atom of none of these types.
    """
    counts = np.array([len(frame) for frame in frames], np.int64)
    numbers = np.concatenate([np.empty(0, np.int64), *(frame.numbers for frame in frames)])
    found = np.unique(numbers)
    known = found if types is None else np.unique(np.asarray(types, np.int64))
    unknown = np.setdiff1d(found, known)
    if len(unknown):
        raise ValueError(f"atoms of type {unknown.tolist()}, expected only {known.tolist()}")
    system = np.repeat(np.arange(len(frames)), counts)
    first = np.cumsum(counts) - counts
    place = np.searchsorted(known, numbers)
    center, neighbor, shift, vector = _pairs(frames, first, cutoff.radius)
    order, segment = sorted_pairs(center, neighbor, place, len(known))
    around = Surroundings(
        system=system,
        atom=np.arange(len(numbers)) - first[system],
        type=place,
        segment=segment,
        neighbor=neighbor[order],
        vector=vector[order],
        shift=shift[order],
        distance=np.empty(0),
        factor=np.empty(0),
        slope=np.empty(0),
        curvature=np.empty(0),
    )
    return Neighborhoods(known, counts, _weighted(around, cutoff, scaling))


def _weighted(around: Surroundings, cutoff: Cutoff, scaling: Willatt2018 | None) -> Surroundings:
    """With distances, and what the cutoff and the scaling make of them."""
    r = np.sqrt(np.einsum("pa,pa->p", around.vector, around.vector))
    _check_apart(around, r)
    f, df, ddf = cutoff(r)
    if scaling is not None:
        u, du, ddu = scaling(r)
        f, df, ddf = f * u, df * u + f * du, ddf * u + 2 * df * du + f * ddu
    return around._replace(distance=r, factor=f, slope=df, curvature=ddf)


def _check_apart(around: Surroundings, r: Array) -> None:
    if len(r) and r.min() < SAME_PLACE:
        p = int(np.argmin(r))
        i = int(np.searchsorted(around.segment[:, -1], p, side="right"))
        raise ValueError(
            f"structure {around.system[i]}: atoms {around.atom[i]} and "
            f"{around.atom[around.neighbor[p]]} are at the same place (periodic images "
            "included); descriptors have no derivative there"
        )


def _pairs(
    frames: Sequence[ase.Atoms], first: Integers, radius: float
) -> tuple[Integers, Integers, Array, Array]:
    """Center, neighbor, shift and vector of all pairs, atoms counted through."""
    search = vesin.NeighborList(cutoff=radius, full_list=True, n_threads=1)
    parts = [(np.empty(0, np.int64),) * 2 + (np.empty((0, 3)),) * 2]
    for index, frame in enumerate(frames):
        check_finite(index, frame)
        positions, pbc = frame.positions, frame.pbc
        if not pbc.any() and len(frame) <= SMALL:
            center, neighbor, vector = small_pairs(positions, radius)
            shift = np.zeros_like(vector)
        else:
            center, neighbor, shift, vector = search.compute(
                positions, frame.cell.array if pbc.any() else np.zeros((3, 3)), pbc, "ijSD"
            )
        start = int(first[index])
        parts.append(
            (
                center.astype(np.int64) + start,
                neighbor.astype(np.int64) + start,
                shift.astype(np.float64),
                vector,
            )
        )
    center, neighbor, shift, vector = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return center, neighbor, shift, vector


def check_finite(index: int, frame: ase.Atoms) -> None:
    """Refuse positions and cells that are not finite, and periodic cells without volume."""
    if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()):
        raise ValueError(f"structure {index} has positions or a cell that are not finite")
    if frame.pbc.all() and frame.cell.volume == 0:
        raise ValueError(
            f"structure {index} is periodic, but its cell has no volume; give it a cell, or set "
            "pbc to False"
        )
