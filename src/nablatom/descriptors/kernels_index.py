"""Kernels: where every atom and pair goes in the blocks of a descriptor."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_pair import compiled

__all__ = ["Places", "Surroundings", "find_places", "label_rows", "label_samples", "scatter_pairs"]

Integers = NDArray[np.int64]
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int32]


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
def label_samples(around: Surroundings, places: Places, first_sample: Integers) -> Rows:
    """Labels of values, all blocks after each other."""
    samples = np.empty((places.samples.sum(), 2), np.int32)
    for i in range(len(around.type)):
        for g in range(len(places.groups)):
            sample = places.sample[i, g]
            if sample >= 0:
                at = first_sample[around.type[i], g] + sample
                samples[at, 0], samples[at, 1] = around.system[i], around.atom[i]
    return samples


@compiled
def label_rows(around: Surroundings, places: Places, first_row: Integers) -> Rows:
    """Labels of ``positions`` gradients, all blocks after each other."""
    rows = np.empty((places.rows.sum(), 3), np.int32)
    for i in range(len(around.type)):
        c, system = around.type[i], around.system[i]
        for g in range(len(places.groups)):
            sample = places.sample[i, g]
            if sample < 0:
                continue
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
    return rows


@compiled
def scatter_pairs(
    first: int,
    last: int,
    around: Surroundings,
    pairs: Array,
    positions: Array,
    strain: Array,
    cell: Array,
) -> None:
    """Add derivatives by the pair vectors of some centers to those by all that moves them."""
    own = np.empty(3)
    for i in range(first, last):
        own[:] = 0.0
        s = around.system[i]
        for p in range(around.segment[i, 0], around.segment[i, -1]):
            j = around.neighbor[p]
            for b in range(3):
                positions[j, b] += pairs[p, b]
                own[b] += pairs[p, b]
                for a in range(3):
                    strain[s, a, b] += around.vector[p, a] * pairs[p, b]
                    cell[s, a, b] += around.shift[p, a] * pairs[p, b]
        for b in range(3):
            positions[i, b] -= own[b]
