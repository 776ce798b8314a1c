"""Kernels: sorted pairs, and where every atom and pair goes in the blocks of a descriptor."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_pair import compiled

__all__ = ["Places", "Surroundings", "find_places", "label_rows", "small_pairs", "sorted_pairs"]

Integers = NDArray[np.int64]
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int32]
Unsigned = NDArray[np.uint64]


class Surroundings(NamedTuple):
    """Atoms of many structures as one list, and their pairs, in the order of kernels.

    Pairs are sorted by center, type of the neighbor, and neighbor.

    Attributes
    ----------
    system, atom, type : (atoms,)
        Index of the structure, index in it, and index of the type.
    segment : (atoms, types + 1)
        The first pair of each center with each type; the last column is the end.
    neighbor : (pairs,)
        Row of the neighbor among all atoms.
    vector, shift : (pairs, 3)
        Pair vector, and the cell vectors in it, as floating-point numbers.
    distance, factor, slope : (pairs,)
        Length of the pair vector; cutoff (times radial scaling) and its derivative.
    """

    system: Integers
    atom: Integers
    type: Integers
    segment: Integers
    neighbor: Integers
    vector: Array
    shift: Array
    distance: Array
    factor: Array
    slope: Array


class Places(NamedTuple):
    """Rows of the blocks ``(type of the center, group of neighbor types)``.

    Attributes
    ----------
    groups : (groups, 2)
        Types of neighbors, the first not above the second; the same twice for one type.
    sample, own : (atoms, groups)
        Row of a center's values, or -1; row of its derivatives by its own position.
    row : (pairs, types)
        Row of the derivatives by the position of the neighbor, for the group that it forms
        with another type.
    samples, rows : (types, groups)
        How many there are.
    """

    groups: Integers
    sample: Integers
    own: Integers
    row: Integers
    samples: Integers
    rows: Integers


@compiled
def sorted_pairs(
    center: Unsigned,
    neighbor: Unsigned,
    shift: Rows,
    vector: Array,
    type: Integers,
    types: int,
    first: int,
) -> tuple[Integers, Integers, Array, Array, Array]:
    """Pairs of one structure in order of center, type of the neighbor and neighbor.

    Segment, neighbor, vector, shift and distance as in `Surroundings`; the structure's atoms
    are counted from ``first``.
    """
    atoms, pairs = len(type), len(center)
    # two stable counting sorts: first by (type, neighbor), then by center
    rank = np.argsort(type, kind="mergesort")
    place = np.empty(atoms, np.int64)
    for k in range(atoms):
        place[rank[k]] = k
    ends = np.zeros(atoms + 1, np.int64)
    segment = np.zeros((atoms, types + 1), np.int64)
    for p in range(pairs):
        j = neighbor[p]
        ends[place[j] + 1] += 1
        segment[center[p], type[j] + 1] += 1
    ends = np.cumsum(ends)
    by_neighbor = np.empty(pairs, np.int64)
    for p in range(pairs):
        k = place[neighbor[p]]
        by_neighbor[ends[k]] = p
        ends[k] += 1
    total = 0
    for i in range(atoms):
        for a in range(types + 1):
            total += segment[i, a]
            segment[i, a] = total
    next_of = segment[:, 0].copy()
    neighbors, distances = np.empty(pairs, np.int64), np.empty(pairs)
    vectors, shifts = np.empty((pairs, 3)), np.empty((pairs, 3))
    for k in range(pairs):
        p = by_neighbor[k]
        to = next_of[center[p]]
        next_of[center[p]] += 1
        neighbors[to] = first + np.int64(neighbor[p])
        squared = 0.0
        for axis in range(3):
            vectors[to, axis], shifts[to, axis] = vector[p, axis], shift[p, axis]
            squared += vector[p, axis] * vector[p, axis]
        distances[to] = np.sqrt(squared)
    return segment, neighbors, vectors, shifts, distances


@compiled
def find_places(around: Surroundings, groups: Integers, chosen: Flags, wanted: Flags) -> Places:
    """Where the chosen atoms and their pairs go in the wanted blocks.

    ``chosen`` : (atoms,) and ``wanted`` : (types, groups), bool.
    """
    atoms, types = len(around.type), around.segment.shape[1] - 1
    segment, neighbor = around.segment, around.neighbor
    sample = np.full((atoms, len(groups)), -1, np.int64)
    own = np.full((atoms, len(groups)), -1, np.int64)
    row = np.full((len(neighbor), types), -1, np.int64)
    samples = np.zeros((types, len(groups)), np.int64)
    rows = np.zeros((types, len(groups)), np.int64)
    nobody = atoms  # beyond every atom
    for i in range(atoms):
        c = around.type[i]
        for g in range(len(groups)):
            a, b = groups[g, 0], groups[g, 1]
            if not (chosen[i] and wanted[c, g]):
                continue
            p, end_p = segment[i, a], segment[i, a + 1]
            q, end_q = segment[i, b], segment[i, b + 1]
            if (p == end_p and c != a) or (q == end_q and c != b):
                continue
            if a == b:
                q = end_q
            sample[i, g] = samples[c, g]
            samples[c, g] += 1
            here, waiting = rows[c, g], True
            while waiting or p < end_p or q < end_q:
                j = i if waiting else nobody
                if p < end_p:
                    j = min(j, neighbor[p])
                if q < end_q:
                    j = min(j, neighbor[q])
                if j == i:
                    own[i, g], waiting = here, False
                while p < end_p and neighbor[p] == j:
                    row[p, b] = here
                    p += 1
                while q < end_q and neighbor[q] == j:
                    row[q, a] = here
                    q += 1
                here += 1
            rows[c, g] = here
    return Places(groups, sample, own, row, samples, rows)


@compiled
def label_rows(
    around: Surroundings, places: Places, first_sample: Integers, first_row: Integers
) -> tuple[Rows, Rows]:
    """Labels of values and of ``positions`` gradients, all blocks after each other."""
    samples = np.empty((places.samples.sum(), 2), np.int32)
    rows = np.empty((places.rows.sum(), 3), np.int32)
    for i in range(len(around.type)):
        c, system = around.type[i], around.system[i]
        for g in range(len(places.groups)):
            sample = places.sample[i, g]
            if sample < 0:
                continue
            at = first_sample[c, g] + sample
            samples[at, 0], samples[at, 1] = system, around.atom[i]
            start = first_row[c, g]
            at = start + places.own[i, g]
            rows[at, 0], rows[at, 1], rows[at, 2] = sample, system, around.atom[i]
            a, b = places.groups[g, 0], places.groups[g, 1]
            for p in range(around.segment[i, a], around.segment[i, a + 1]):
                at = start + places.row[p, b]
                rows[at, 0], rows[at, 1] = sample, system
                rows[at, 2] = around.atom[around.neighbor[p]]
            for p in range(around.segment[i, b], around.segment[i, b + 1]):
                at = start + places.row[p, a]
                rows[at, 0], rows[at, 1] = sample, system
                rows[at, 2] = around.atom[around.neighbor[p]]
    return samples, rows


@compiled
def small_pairs(positions: Array, radius: float) -> tuple[Unsigned, Unsigned, Rows, Array]:
    """Center, neighbor, shift and vector of all pairs of a molecule, from all distances."""
    atoms, reach = len(positions), radius * radius
    center = np.empty(atoms * (atoms - 1), np.uint64)
    neighbor, vector = np.empty_like(center), np.empty((len(center), 3))
    count = 0
    for i in range(atoms):
        for j in range(atoms):
            x = positions[j, 0] - positions[i, 0]
            y = positions[j, 1] - positions[i, 1]
            z = positions[j, 2] - positions[i, 2]
            if i != j and x * x + y * y + z * z < reach:
                center[count], neighbor[count] = i, j
                vector[count, 0], vector[count, 1], vector[count, 2] = x, y, z
                count += 1
    return center[:count], neighbor[:count], np.zeros((count, 3), np.int32), vector[:count]
