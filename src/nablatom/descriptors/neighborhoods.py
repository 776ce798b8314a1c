"""Structures to atoms and pairs, in the order in which kernels work them off."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.cutoff import Cutoff
from nablatom.descriptors.kernels_index import Surroundings
from nablatom.descriptors.kernels_search import Bins, count_pairs, put_into_bins, write_pairs
from nablatom.descriptors.scaling import Willatt2018
from nablatom.systems.structures import check_geometry

__all__ = ["SAME_PLACE", "SHARE", "Neighborhoods", "at_once", "check_finite", "neighborhoods"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Nearer pairs are atoms put twice; Å.
SAME_PLACE = 1e-6
SHARE = 4  # pieces for each thread, so that none waits long for another


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
    place = np.searchsorted(known, numbers)
    around = _surroundings(frames, counts, place, len(known), cutoff, scaling, threads)
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


def _surroundings(
    frames: Sequence[ase.Atoms],
    counts: Integers,
    place: Integers,
    types: int,
    cutoff: Cutoff,
    scaling: Willatt2018 | None,
    threads: int,
) -> Surroundings:
    """All pairs, where ``place`` is the index of the type of each atom."""
    atoms, ends = len(place), np.cumsum(counts)
    system = np.repeat(np.arange(len(frames)), counts)
    atom = np.arange(atoms) - (ends - counts)[system]
    bins = _bins(frames, ends, place, cutoff.radius)
    segment = np.empty((atoms, types + 1), np.int64)
    cuts = np.linspace(0, atoms, (SHARE * threads if threads > 1 else 1) + 1).astype(int).tolist()
    ranges = list(pairwise(cuts))

    def count(first: int, last: int) -> None:
        count_pairs(first, last, bins, system, place, cutoff.radius, segment)

    at_once(count, ranges, threads)
    np.cumsum(segment.ravel(), out=segment.reshape(-1))
    pairs = int(segment[-1, -1])
    neighbor, (vector, shift) = np.empty(pairs, np.int64), np.empty((2, pairs, 3))
    distance, factor, slope = np.empty((3, pairs))
    around = Surroundings(
        system, atom, place, segment, neighbor, vector, shift, distance, factor, slope
    )

    def write(first: int, last: int) -> None:
        write_pairs(first, last, bins, cutoff.radius, around)
        some = slice(*segment[[first, last - 1], [0, -1]].tolist())
        factor[some], slope[some] = _weights(distance[some], cutoff, scaling)

    at_once(write, [(first, last) for first, last in ranges if first < last], threads)
    return around


def _bins(frames: Sequence[ase.Atoms], ends: Integers, place: Integers, radius: float) -> Bins:
    positions = np.concatenate([frame.positions for frame in frames])
    cells = np.array([frame.cell.array for frame in frames])
    periodic = np.array([frame.pbc for frame in frames])
    finite = np.isfinite(positions).all() and np.isfinite(cells).all()
    for index, frame in enumerate(frames):
        if periodic[index].any() or not finite:
            check_finite(index, frame)
    rank = np.empty_like(place)
    rank[np.argsort(place, kind="stable")] = np.arange(len(place))
    return put_into_bins(positions, cells, periodic, ends, rank, radius)


def at_once(
    piece: Callable[[int, int], None], ranges: Iterable[tuple[int, int]], threads: int
) -> None:
    """Work off ranges of atoms, some at a time. Kernels do not hold the interpreter's lock."""
    left, lock = iter(ranges), Lock()

    def taken() -> tuple[int, int] | None:
        with lock:
            return next(left, None)

    def work() -> None:
        while (some := taken()) is not None:
            piece(*some)

    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()


def _weights(r: Array, cutoff: Cutoff, scaling: Willatt2018 | None) -> tuple[Array, Array]:
    """Cutoff times radial scaling, and its derivative."""
    factor, slope = np.ones_like(r), np.zeros_like(r)
    width = cutoff.radius if cutoff.width is None else cutoff.width
    fading = np.flatnonzero(r > cutoff.radius - width)
    factor[fading], slope[fading], _ = cutoff(r[fading])
    if scaling is None:
        return factor, slope
    u, du, _ = scaling(r)
    return factor * u, slope * u + factor * du


def check_finite(index: int, frame: ase.Atoms) -> None:
    """Refuse positions and cells that are not finite, and periodic cells without volume."""
    finite = np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()
    if finite and not frame.pbc.any():
        return
    try:
        check_geometry(frame)
    except ValueError as error:
        raise ValueError(f"structure {index}: {error}") from None
