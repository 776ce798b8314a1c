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
from nablatom.descriptors.kernels_pair import (
    Basis,
    aligned,
    compiled,
    evaluate,
    evaluation_scratch,
    inside,
)
from nablatom.descriptors.lanes import WIDTH, broadcast, item, load, multiply_add, spread, store

__all__ = [
    "add_outer",
    "differentiate",
    "expand",
    "most_pairs",
    "pull_expansion",
    "push_expansion",
    "single",
]

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
    most = most_pairs(first, last, around)
    Y, D, scratch = np.empty((most, lm)), np.empty((most, 3, lm)), evaluation_scratch(angular)
    F, dF = aligned(most, angular * width), aligned(most, angular * width)
    density = aligned(1, lm * width)[0]
    pair, same, own = aligned(3, 3 * lm * width)
    tensor, stretch = aligned(3, 3 * lm * width), aligned(3, 3 * lm * width)
    in_scratch = 3 * np.arange(angular) ** 2 * width
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
            direct = wants[0] and not (wants[1] or wants[2]) and size == width and starts.min() >= 0
            begin, end = around.segment[i, a], around.segment[i, a + 1]
            evaluate(around, begin, end, basis, Y, D, F, dF, scratch)
            for p in range(begin, end):
                add_pair(density, 0, angular, width, Y, F, p - begin)
            for l in range(angular if direct else 0):  # one block after the other is far faster
                for p in range(begin, end):
                    if single(around, i, p, begin, end):
                        at = starts[l] + places.row[p, a] * 3 * (2 * l + 1) * width
                        _differentiate(
                            positions,
                            at,
                            own,
                            0,
                            l,
                            lm,
                            1.0,
                            width,
                            around,
                            p,
                            Y,
                            D,
                            F,
                            dF,
                            p - begin,
                        )
            for p in range(begin, end if wants[0] or wants[1] or wants[2] else begin):
                if direct and single(around, i, p, begin, end):
                    continue
                j = around.neighbor[p]
                moves = 1.0 if j != i else 0.0
                differentiate(
                    pair, in_scratch, own, 0, moves, width, around, p, Y, D, F, dF, p - begin
                )
                if wants[1]:
                    add_outer(tensor, 0, around.vector, p, pair)
                if wants[2]:
                    add_outer(stretch, 0, around.shift, p, pair)
                if not wants[0] or j == i:
                    continue
                if p > begin and around.neighbor[p - 1] == j:
                    _add(same, pair)
                else:
                    same[:] = pair
                if p + 1 == end or around.neighbor[p + 1] != j:
                    _write(positions, starts, places.row[p, a], same, angular, size, width)
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


@inside
def differentiate(
    to: Array,
    starts: Integers,
    own: Array,
    own_start: int,
    moves: float,
    width: int,
    around: Surroundings,
    p: int,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
    k: int,
) -> None:
    """``G`` of one pair; the center of it moves the other way."""
    lm = len(starts) * len(starts)
    for l in range(len(starts)):
        _differentiate(
            to, starts[l], own, own_start, l, lm, moves, width, around, p, Y, D, F, dF, k
        )


@inside
def _differentiate(
    to: Array,
    start: int,
    own: Array,
    own_start: int,
    l: int,
    lm: int,
    moves: float,
    width: int,
    around: Surroundings,
    p: int,
    Y: Array,
    D: Array,
    F: Array,
    dF: Array,
    k: int,
) -> None:
    none, back, rows = spread(0.0), spread(-moves), 2 * l + 1
    y, d, f_row = k * lm, 3 * k * lm, k * F.shape[1] + l * width
    inverse = 1.0 / item(around.distance, p)
    for n in range(0, width, WIDTH):
        f, slope = load(F, f_row + n), load(dF, f_row + n)
        for b in range(3):
            along = multiply_add(spread(item(around.vector, 3 * p + b) * inverse), slope, none)
            at = start + b * rows * width + n
            at_own = own_start + (3 * l * l + b * rows) * width + n
            for m in range(l * l, l * l + rows):
                g = multiply_add(broadcast(Y, y + m), along, none)
                g = multiply_add(broadcast(D, d + b * lm + m), f, g)
                store(to, at, g)
                store(own, at_own, multiply_add(back, g, load(own, at_own)))
                at += width
                at_own += width


@compiled
def most_pairs(first: int, last: int, around: Surroundings) -> int:
    """The largest number of pairs that one of some centers has."""
    most = 0
    for i in range(first, last):
        most = max(most, around.segment[i, -1] - around.segment[i, 0])
    return most


@inside
def single(around: Surroundings, i: int, p: int, begin: int, end: int) -> bool:
    """Whether the neighbor of a pair is seen only once, and is not an image of the center."""
    j = around.neighbor[p]
    before = p > begin and around.neighbor[p - 1] == j
    after = p + 1 < end and around.neighbor[p + 1] == j
    return j != i and not (before or after)


@inside
def add_outer(total: Array, start: int, vectors: Array, p: int, pair: Array) -> None:
    """Add ``v_a G_b``: three rows of derivatives, each for one ``a``."""
    for a in range(3):
        w, row = spread(item(vectors, 3 * p + a)), start + a * len(pair)
        for k in range(0, len(pair), WIDTH):
            store(total, row + k, multiply_add(w, load(pair, k), load(total, row + k)))


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
    most = most_pairs(first, last, around)
    Y, D, scratch = np.empty((most, lm)), np.empty((most, 3, lm)), evaluation_scratch(angular)
    F, dF = aligned(most, angular * width), aligned(most, angular * width)
    density = aligned(1, lm * width)[0]
    for i in range(first, last):
        for a in range(around.segment.shape[1] - 1):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            density[:] = 0.0
            begin, end = around.segment[i, a], around.segment[i, a + 1]
            evaluate(around, begin, end, basis, Y, D, F, dF, scratch)
            for p in range(begin, end):
                k = p - begin
                add_tangent(density, 0, angular, width, around, p, tangents, Y, D, F, dF, k)
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
    most = most_pairs(first, last, around)
    Y, D, scratch = np.empty((most, lm)), np.empty((most, 3, lm)), evaluation_scratch(angular)
    F, dF = aligned(most, angular * width), aligned(most, angular * width)
    density = aligned(1, lm * width)[0]
    for i in range(first, last):
        for a in range(around.segment.shape[1] - 1):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            starts = offsets[0, around.type[i], a]
            _read_values(cotangents, starts, sample, density, angular, size, width)
            begin, end = around.segment[i, a], around.segment[i, a + 1]
            evaluate(around, begin, end, basis, Y, D, F, dF, scratch)
            for p in range(begin, end):
                pull_back(result, density, 0, angular, width, around, p, Y, D, F, dF, p - begin)


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
