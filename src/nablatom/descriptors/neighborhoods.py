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
from nablatom.systems.structures import check_geometry

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
    threads: int = 1,
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
    segment, neighbor, vector, shift, distance = _pairs(frames, place, len(known), cutoff, threads)
    factor, slope, _ = cutoff(distance)
    if scaling is not None:
        u, du, _ = scaling(distance)
        factor, slope = factor * u, slope * u + factor * du
    around = Surroundings(
        system=system,
        atom=np.arange(len(numbers)) - first[system],
        type=place,
        segment=segment,
        neighbor=neighbor,
        vector=vector,
        shift=shift,
        distance=distance,
        factor=factor,
        slope=slope,
    )
    _check_apart(around)
    return Neighborhoods(known, counts, around)


def _check_apart(around: Surroundings) -> None:
    r = around.distance
    if len(r) and r.min() < SAME_PLACE:
        p = int(np.argmin(r))
        i = int(np.searchsorted(around.segment[:, -1], p, side="right"))
        raise ValueError(
            f"structure {around.system[i]}: atoms {around.atom[i]} and "
            f"{around.atom[around.neighbor[p]]} are at the same place (periodic images "
            "included); descriptors have no derivative there"
        )


def _pairs(
    frames: Sequence[ase.Atoms], place: Integers, types: int, cutoff: Cutoff, threads: int
) -> tuple[Integers, Integers, Array, Array, Array]:
    """Segment, neighbor, vector, shift and distance of all pairs, as in `Surroundings`."""
    search = vesin.NeighborList(cutoff=cutoff.radius, full_list=True, n_threads=threads)
    parts, atoms, pairs = [], 0, 0
    for index, frame in enumerate(frames):
        check_finite(index, frame)
        type = place[atoms : atoms + len(frame)]  # noqa: A001
        found = _found(search, frame, cutoff.radius)
        segment, *part = sorted_pairs(*found, type, types, atoms)
        parts.append((segment + pairs, *part))
        atoms, pairs = atoms + len(frame), pairs + len(part[0])
    if len(parts) == 1:
        return parts[0]
    segment, neighbor, vector, shift, distance = map(np.concatenate, zip(*parts, strict=True))
    return segment, neighbor, vector, shift, distance


def _found(
    search: vesin.NeighborList, frame: ase.Atoms, radius: float
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int32], Array]:
    """Center, neighbor, shift and vector of all pairs, in memory that the next search reuses."""
    pbc = frame.pbc
    if len(frame) == 0 or (not pbc.any() and len(frame) <= SMALL):
        return small_pairs(frame.positions, radius)
    cell = frame.cell.array if pbc.any() else np.zeros((3, 3))
    center, neighbor, shift, vector = search.compute(frame.positions, cell, pbc, "ijSD", copy=False)
    return center, neighbor, shift, vector


def check_finite(index: int, frame: ase.Atoms) -> None:
    """Refuse positions and cells that are not finite, and periodic cells without volume."""
    finite = np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()
    if finite and not frame.pbc.any():
        return
    try:
        check_geometry(frame)
    except ValueError as error:
        raise ValueError(f"structure {index}: {error}") from None
