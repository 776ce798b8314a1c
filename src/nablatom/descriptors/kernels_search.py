"""Kernels: the neighbors of atoms, found in bins.

A bin is a part of the cell, cut along cell vectors that are periodic and along a box around the
atoms where they are not; no neighbor is more than `Bins.reach` bins away. Nothing is fused or
reordered here, so that counting pairs and writing them cannot disagree about any of them.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_index import Surroundings
from nablatom.descriptors.lanes import item, put

__all__ = ["Bins", "count_pairs", "put_into_bins", "write_pairs"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

ROUNDING = 1e-9  # by which boxes and reaches are larger than they need be
CROWD = 16  # atoms in a bin as large as the cutoff, beyond which half as large bins are quicker

searching = numba.njit(cache=True, nogil=True, error_model="numpy")


class Bins(NamedTuple):
    """Atoms of many structures, sorted into bins.

    Attributes
    ----------
    cell : (structures, 3, 3)
    cuts, reach : (structures, 3)
        Bins along each axis, and how many of them away neighbors can be; nothing repeats along
        axes that are not periodic.
    periodic : (structures, 3)
    home : (atoms, 3)
        Bin of each atom, once it is moved into the box.
    moved : (atoms, 3)
        Cell vectors that were added to move it there.
    inside : (3, atoms)
        Positions in the box, in the order of bins.
    atom, place : (atoms,)
        Which atoms these are, and where each atom is among them.
    start : (bins + 1,)
        The first of them in each bin; bins of all structures after each other, the last axis the
        fastest.
    first : (structures,)
        The first bin of each structure.
    rank : (atoms,)
        Place of each atom in the order of type and atom.
    most : int
        No atom can have more candidates.
    """

    cell: Array
    cuts: Integers
    reach: Integers
    periodic: Flags
    home: Integers
    moved: Integers
    inside: Array
    atom: Integers
    place: Integers
    start: Integers
    first: Integers
    rank: Integers
    most: int


@searching
def put_into_bins(
    position: Array,
    cell: Array,
    periodic: Flags,
    ends: Integers,
    rank: Integers,
    radius: float,
) -> Bins:
    """Cut the boxes around the structures into bins, and sort the atoms into them.

    ``ends`` : (structures,), the end of the atoms of each structure.
    """
    atoms, structures = len(position), len(cell)
    cuts, reach = np.empty((structures, 3), np.int64), np.empty((structures, 3), np.int64)
    home, moved = np.empty((atoms, 3), np.int64), np.zeros((atoms, 3), np.int64)
    first, where = np.empty(structures, np.int64), np.empty(atoms, np.int64)
    bins = begin = 0
    for s in range(structures):
        some = slice(begin, ends[s])
        at = _in_box(position[some], cell[s], periodic[s], radius, cuts[s], reach[s])
        first[s], begin = bins, ends[s]
        bins += _into_bins(at, periodic[s], cuts[s], bins, home[some], moved[some], where[some])
    start = np.zeros(bins + 1, np.int64)
    for i in range(atoms):
        start[where[i] + 1] += 1
    most = _most_candidates(first, cuts, reach, start[1:])
    start = np.cumsum(start)
    inside, next_of = np.empty((3, atoms)), start[:-1].copy()
    atom, place = np.empty(atoms, np.int64), np.empty(atoms, np.int64)
    s = 0
    for i in range(atoms):
        while i >= ends[s]:
            s += 1
        to = next_of[where[i]]
        next_of[where[i]] += 1
        atom[to], place[i] = i, to
        for axis in range(3):
            inside[axis, to] = position[i, axis]
            for k in range(3):
                inside[axis, to] += moved[i, k] * cell[s, k, axis]
    return Bins(
        cell, cuts, reach, periodic, home, moved, inside, atom, place, start, first, rank, most
    )


@searching
def _in_box(
    position: Array, cell: Array, periodic: Flags, radius: float, cuts: Integers, reach: Integers
) -> Array:
    """Positions along the axes of the box, in units of them; how it is cut, and the reach."""
    inverse = _inverse(_completed(cell, periodic))
    at, heights = np.zeros((len(position), 3)), np.empty(3)
    for i in range(len(position)):
        for k in range(3):
            for axis in range(3):
                at[i, k] += position[i, axis] * inverse[axis, k]
    for k in range(3):
        heights[k] = 1 / np.sqrt((inverse[:, k] ** 2).sum())
        if not periodic[k]:  # a unit vector, which becomes as long as it has to be
            low, high = np.inf, -np.inf
            for i in range(len(position)):
                low, high = min(low, at[i, k]), max(high, at[i, k])
            extent = max(high - low, 0.0) * (1 + ROUNDING) + ROUNDING
            for i in range(len(position)):
                at[i, k] = (at[i, k] - low) / extent
            heights[k] = extent
    _divided(cuts, reach, heights, len(position), radius)
    for k in range(3):
        if not periodic[k]:
            reach[k] = min(reach[k], cuts[k] - 1)
    return at


@searching
def _into_bins(
    at: Array,
    periodic: Flags,
    cuts: Integers,
    first: int,
    home: Integers,
    moved: Integers,
    where: Integers,
) -> int:
    """The bin of every atom, of which there are so many in the box."""
    for i in range(len(at)):
        b = 0
        for k in range(3):
            whole = np.floor(at[i, k]) if periodic[k] else 0.0
            moved[i, k] = -np.int64(whole)
            home[i, k] = min(np.int64((at[i, k] - whole) * cuts[k]), cuts[k] - 1)
            b = b * cuts[k] + home[i, k]
        where[i] = first + b
    return cuts[0] * cuts[1] * cuts[2]


@searching
def _most_candidates(first: Integers, cuts: Integers, reach: Integers, atoms: Integers) -> int:
    """How many atoms there can be in the bins around an atom."""
    most = 0
    for s in range(len(first)):
        largest, around = 0, 1
        for b in range(first[s], first[s] + cuts[s, 0] * cuts[s, 1] * cuts[s, 2]):
            largest = max(largest, atoms[b])
        for k in range(3):
            around *= 2 * reach[s, k] + 1
        most = max(most, around * largest)
    return most


@searching
def _divided(cuts: Integers, reach: Integers, heights: Array, atoms: int, radius: float) -> None:
    """How many bins there are along each axis, and how many of them a radius is."""
    most = 2 * np.ceil(atoms ** (1 / 3))  # empty bins cost time as well
    total = 1.0
    for k in range(3):
        total *= max(1.0, np.floor(heights[k] / radius))
    finer = 2 if atoms > CROWD * total else 1
    for k in range(3):
        cuts[k] = np.int64(max(1.0, min(most, np.floor(finer * heights[k] / radius))))
        reach[k] = np.int64(np.ceil(radius * (1 + ROUNDING) * cuts[k] / heights[k]))


@searching
def _inverse(axes: Array) -> Array:
    """Of a 3 by 3 matrix, from cross products; LAPACK is slow to ask for one after another."""
    inverse, volume = np.empty((3, 3)), 0.0
    for k in range(3):
        p, q = axes[(k + 1) % 3], axes[(k + 2) % 3]
        for a in range(3):
            b, c = (a + 1) % 3, (a + 2) % 3
            inverse[a, k] = p[b] * q[c] - p[c] * q[b]
    for a in range(3):
        volume += axes[0, a] * inverse[a, 0]
    return inverse / volume


@searching
def _completed(cell: Array, periodic: Flags) -> Array:
    """The periodic cell vectors, and unit vectors across them in place of the others."""
    axes = np.zeros((3, 3))
    across = np.eye(3)  # what is left of space
    for k in range(3):
        if periodic[k]:
            axes[k] = cell[k]
            v = np.zeros(3)
            for a in range(3):
                for b in range(3):
                    v[a] += across[a, b] * cell[k, b]
            v /= np.sqrt((v * v).sum())
            for a in range(3):
                for b in range(3):
                    across[a, b] -= v[a] * v[b]
    for k in range(3):
        if not periodic[k]:
            longest = 0
            for a in range(3):
                if across[a, a] > across[longest, longest]:
                    longest = a
            v = across[longest] / np.sqrt(across[longest, longest])
            axes[k] = v
            for a in range(3):
                for b in range(3):
                    across[a, b] -= v[a] * v[b]
    return axes


@searching
def _floor(number: int, size: int) -> int:
    """How many times a size fits below a number; neither numba's // nor floats are as quick."""
    times = 0
    while number < 0:
        number += size
        times -= 1
    while number >= size:
        number -= size
        times += 1
    return times


@searching
def _look_around(
    bins: Bins, s: int, i: int, radius: float, near: Integers, image: Integers, offset: Array
) -> int:
    """Places of the atoms near atom ``i``; the images they are in, and the way there.

    Neighbor ``f`` is at ``(r_j - r_i) + offset[f]``, as they are in the box: an atom is exactly a
    cell vector away from its image, wherever it is.
    """
    reach2, cell, mine, found = radius * radius, bins.cell, bins.place[i], 0
    inside, cuts, reach, home = bins.inside, bins.cuts, bins.reach, bins.home
    size = inside.shape[1]
    xi, yi, zi = inside[0, mine], inside[1, mine], inside[2, mine]
    n0, n1, n2, wraps = cuts[s, 0], cuts[s, 1], cuts[s, 2], bins.periodic
    for b0 in range(home[i, 0] - reach[s, 0], home[i, 0] + reach[s, 0] + 1):
        t0 = _floor(b0, n0)
        if t0 != 0 and not wraps[s, 0]:
            continue
        x0, y0, z0 = t0 * cell[s, 0, 0], t0 * cell[s, 0, 1], t0 * cell[s, 0, 2]
        for b1 in range(home[i, 1] - reach[s, 1], home[i, 1] + reach[s, 1] + 1):
            t1 = _floor(b1, n1)
            if t1 != 0 and not wraps[s, 1]:
                continue
            x1, y1, z1 = x0 + t1 * cell[s, 1, 0], y0 + t1 * cell[s, 1, 1], z0 + t1 * cell[s, 1, 2]
            row = bins.first[s] + ((b0 - t0 * n0) * n1 + b1 - t1 * n1) * n2
            b2, last = home[i, 2] - reach[s, 2], home[i, 2] + reach[s, 2]
            while b2 <= last:  # bins of one image are neighbors in memory
                t2 = _floor(b2, n2)
                stop = min(last + 1, (t2 + 1) * n2)
                if t2 == 0 or wraps[s, 2]:
                    x = x1 + t2 * cell[s, 2, 0]
                    y = y1 + t2 * cell[s, 2, 1]
                    z = z1 + t2 * cell[s, 2, 2]
                    begin, itself = found, mine if t0 == 0 and t1 == 0 and t2 == 0 else -1
                    for c in range(
                        bins.start[row + b2 - t2 * n2], bins.start[row + stop - t2 * n2]
                    ):
                        dx = item(inside, c) - xi + x
                        dy = item(inside, size + c) - yi + y
                        dz = item(inside, 2 * size + c) - zi + z
                        put(near, found, c)
                        found += (dx * dx + dy * dy + dz * dz < reach2) & (c != itself)
                    for f in range(begin, found):
                        image[f, 0], image[f, 1], image[f, 2] = t0, t1, t2
                        offset[f, 0], offset[f, 1], offset[f, 2] = x, y, z
                b2 = stop
    return found


@searching
def count_pairs(
    first: int,
    last: int,
    bins: Bins,
    system: Integers,
    type: Integers,
    radius: float,
    segment: Integers,
) -> None:
    """Count the neighbors of some atoms: ``segment[i, a + 1]`` of type ``a``."""
    near, image = np.empty(bins.most, np.int64), np.empty((bins.most, 3), np.int64)
    offset = np.empty((bins.most, 3))
    for i in range(first, last):
        segment[i] = 0
        for f in range(_look_around(bins, system[i], i, radius, near, image, offset)):
            segment[i, type[bins.atom[near[f]]] + 1] += 1


@searching
def write_pairs(first: int, last: int, bins: Bins, radius: float, around: Surroundings) -> None:
    """Write the pairs of some atoms, in order of type of the neighbor and neighbor."""
    near, image = np.empty(bins.most, np.int64), np.empty((bins.most, 3), np.int64)
    offset, order = np.empty((bins.most, 3)), np.empty(bins.most, np.int64)
    for i in range(first, last):
        mine = bins.place[i]
        found = _look_around(bins, around.system[i], i, radius, near, image, offset)
        for f in range(found):
            order[f] = bins.rank[bins.atom[near[f]]] * bins.most + f
        order[:found].sort()
        for k in range(found):
            p, f, squared = around.segment[i, 0] + k, order[k] % bins.most, 0.0
            j = around.neighbor[p] = bins.atom[near[f]]
            for axis in range(3):
                d = bins.inside[axis, near[f]] - bins.inside[axis, mine] + offset[f, axis]
                around.vector[p, axis] = d
                away = image[f, axis] + bins.moved[j, axis] - bins.moved[i, axis]
                around.shift[p, axis] = away
                squared += d * d
            around.distance[p] = np.sqrt(squared)
