"""Kernels: the spherical expansion of each center, with its derivatives.

Per pair ``G_b = F D_b / r + F' u_b Y``; everything else is a sum of it. Every center writes
its own rows, so that ranges of centers may run at the same time.

Rows of gradients are laid out as in the blocks, for each l the axes ``b, m, n``, but in scratch
memory ``n`` is padded to whole registers: l starts at ``3 l² width`` there.
"""

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_density import add_pair, add_tangent, pull_back
from nablatom.descriptors.kernels_index import Places, Surroundings
from nablatom.descriptors.kernels_pair import Basis, aligned, compiled, evaluate
from nablatom.descriptors.lanes import WIDTH, load, multiply_add, spread, store

__all__ = ["add_outer", "differentiate", "expand", "pull_expansion", "push_expansion"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Wants = tuple[bool, bool, bool]


@compiled
def expand(
    first: int,
    last: int,
    around: Surroundings,
    basis: Basis,
    places: Places,
    offsets: Integers,
    wants: Wants,
    values: Array,
    positions: Array,
    strain: Array,
    cell: Array,
) -> None:
    """Write values and gradients of the centers from ``first`` to ``last``.

    ``offsets`` : (4, types, types, max_angular + 1), where each block of values and of the
    gradients starts, counted from the array that is given, or -1; ``wants``: which of the
    three gradients.
    """
    types = around.segment.shape[1] - 1
    size, width, angular = basis.size, len(basis.center), offsets.shape[3]
    lm = angular * angular
    Y, D, scratch = np.empty(lm), np.empty((3, lm)), np.empty((angular + 2, angular))
    F, dF = aligned(2, angular * width)
    density = aligned(1, lm * width)[0]
    pair, same, own = aligned(3, 3 * lm * width)
    tensor, stretch = aligned(3, 3 * lm * width), aligned(3, 3 * lm * width)
    here, there = np.empty(angular, np.int64), np.empty(angular, np.int64)
    for l in range(angular):
        there[l] = 3 * l * l * width
    for i in range(first, last):
        c = around.type[i]
        for a in range(types):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            density[:] = 0.0
            own[:] = 0.0
            if a == c:
                density[:width] = basis.center
            if wants[1]:
                tensor[:] = 0.0
            if wants[2]:
                stretch[:] = 0.0
            starts = offsets[1, c, a]
            direct = size == width and not (wants[1] or wants[2]) and starts.min() >= 0
            end = around.segment[i, a + 1]
            for p in range(around.segment[i, a], end):
                v, r, j = around.vector[p], around.distance[p], around.neighbor[p]
                evaluate(v, r, around.factor[p], around.slope[p], basis, Y, D, F, dF, scratch)
                add_pair(density, angular, width, Y, F)
                if not (wants[0] or wants[1] or wants[2]):
                    continue
                moves = 1.0 if j != i else 0.0
                again = p > around.segment[i, a] and around.neighbor[p - 1] == j
                more = p + 1 < end and around.neighbor[p + 1] == j
                row = places.row[p, a]
                if direct and j != i and not (again or more):
                    for l in range(angular):
                        here[l] = starts[l] + row * 3 * (2 * l + 1) * width
                    differentiate(positions, here, own, moves, width, v, r, Y, D, F, dF)
                    continue
                differentiate(pair, there, own, moves, width, v, r, Y, D, F, dF)
                if wants[1]:
                    add_outer(tensor, v, pair)
                if wants[2]:
                    add_outer(stretch, around.shift[p], pair)
                if not wants[0] or j == i:
                    continue
                if again:
                    _add(same, pair)
                else:
                    same[:] = pair
                if not more:
                    _write(positions, starts, row, same, angular, size, width)
            _write_values(values, offsets[0, c, a], sample, density, angular, size, width)
            if wants[0]:
                _write(positions, starts, places.own[i, a], own, angular, size, width)
            for b in range(3):
                if wants[1]:
                    _write_third(
                        strain, offsets[2, c, a], sample, b, tensor[b], angular, size, width
                    )
                if wants[2]:
                    _write_third(
                        cell, offsets[3, c, a], sample, b, stretch[b], angular, size, width
                    )


@compiled
def differentiate(
    to: Array,
    starts: Integers,
    own: Array,
    moves: float,
    width: int,
    v: Array,
    r: float,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
) -> None:
    """``G`` of one pair; the center of it moves the other way."""
    none, back = spread(0.0), spread(-moves)
    for l in range(len(starts)):
        lm, rows = l * l, 2 * l + 1
        for n in range(0, width, WIDTH):
            f, s = load(F, l * width + n), load(dF, l * width + n)
            for b in range(3):
                u = v[b] / r
                at, at_own = starts[l] + b * rows * width + n, (3 * lm + b * rows) * width + n
                for m in range(rows):
                    g = multiply_add(spread(u * Y[lm + m]), s, none)
                    g = multiply_add(spread(D[b, lm + m]), f, g)
                    store(to, at + m * width, g)
                    store(
                        own,
                        at_own + m * width,
                        multiply_add(back, g, load(own, at_own + m * width)),
                    )


@compiled
def add_outer(total: Array, v: Array, pair: Array) -> None:
    """Add ``v_a G_b``: three rows of derivatives, each for one ``a``."""
    for a in range(3):
        w, to = spread(v[a]), total[a]
        for k in range(0, len(pair), WIDTH):
            store(to, k, multiply_add(w, load(pair, k), load(to, k)))


@compiled
def _add(total: Array, pair: Array) -> None:
    one = spread(1.0)
    for k in range(0, len(pair), WIDTH):
        store(total, k, multiply_add(one, load(pair, k), load(total, k)))


@compiled
def _write_values(
    target: Array, starts: Integers, sample: int, source: Array, angular: int, size: int, width: int
) -> None:
    for l in range(angular):
        if starts[l] >= 0:
            rows = 2 * l + 1
            _copy(
                target, starts[l] + sample * rows * size, source, l * l * width, rows, size, width
            )


@compiled
def _write(
    target: Array, starts: Integers, row: int, source: Array, angular: int, size: int, width: int
) -> None:
    for l in range(angular):
        if starts[l] >= 0:
            rows = 3 * (2 * l + 1)
            _copy(
                target, starts[l] + row * rows * size, source, 3 * l * l * width, rows, size, width
            )


@compiled
def _write_third(
    target: Array,
    starts: Integers,
    sample: int,
    a: int,
    source: Array,
    angular: int,
    size: int,
    width: int,
) -> None:
    """One of the three rows that strain and cell gradients have for each row of values."""
    for l in range(angular):
        if starts[l] >= 0:
            rows = 3 * (2 * l + 1)
            at = starts[l] + (3 * sample + a) * rows * size
            _copy(target, at, source, 3 * l * l * width, rows, size, width)


@compiled
def _copy(
    target: Array, at: int, source: Array, start: int, rows: int, size: int, width: int
) -> None:
    """Rows of padded scratch memory to a block, without the padding."""
    if size == width:
        for k in range(0, rows * width, WIDTH):
            store(target, at + k, load(source, start + k))
        return
    for m in range(rows):
        for n in range(size):
            target[at + m * size + n] = source[start + m * width + n]


@compiled
def push_expansion(
    first: int,
    last: int,
    around: Surroundings,
    basis: Basis,
    places: Places,
    offsets: Integers,
    tangents: Array,
    values: Array,
) -> None:
    """Write how the values change when pair vectors change by the tangents, (pairs, 3)."""
    size, width, angular = basis.size, len(basis.center), offsets.shape[3]
    lm = angular * angular
    Y, D, scratch = np.empty(lm), np.empty((3, lm)), np.empty((angular + 2, angular))
    F, dF = aligned(2, angular * width)
    density = aligned(1, lm * width)[0]
    for i in range(first, last):
        for a in range(around.segment.shape[1] - 1):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            density[:] = 0.0
            for p in range(around.segment[i, a], around.segment[i, a + 1]):
                v, r = around.vector[p], around.distance[p]
                evaluate(v, r, around.factor[p], around.slope[p], basis, Y, D, F, dF, scratch)
                add_tangent(density, angular, width, v, r, tangents[p], Y, D, F, dF)
            starts = offsets[0, around.type[i], a]
            _write_values(values, starts, sample, density, angular, size, width)


@compiled
def pull_expansion(
    first: int,
    last: int,
    around: Surroundings,
    basis: Basis,
    places: Places,
    offsets: Integers,
    cotangents: Array,
    result: Array,
) -> None:
    """Write the derivative of ``sum cotangents * values`` by every pair vector, (pairs, 3)."""
    size, width, angular = basis.size, len(basis.center), offsets.shape[3]
    lm = angular * angular
    Y, D, scratch = np.empty(lm), np.empty((3, lm)), np.empty((angular + 2, angular))
    F, dF = aligned(2, angular * width)
    density = aligned(1, lm * width)[0]
    for i in range(first, last):
        for a in range(around.segment.shape[1] - 1):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            starts = offsets[0, around.type[i], a]
            _read_values(cotangents, starts, sample, density, angular, size, width)
            for p in range(around.segment[i, a], around.segment[i, a + 1]):
                v, r = around.vector[p], around.distance[p]
                evaluate(v, r, around.factor[p], around.slope[p], basis, Y, D, F, dF, scratch)
                pull_back(result[p], density, angular, width, v, r, Y, D, F, dF)


@compiled
def _read_values(
    source: Array, starts: Integers, sample: int, target: Array, angular: int, size: int, width: int
) -> None:
    target[:] = 0.0
    for l in range(angular):
        if starts[l] >= 0:
            at = starts[l] + sample * (2 * l + 1) * size
            for m in range(2 * l + 1):
                for n in range(size):
                    target[(l * l + m) * width + n] = source[at + m * size + n]
