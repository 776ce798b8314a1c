"""Kernels: the spherical expansion of each center, with its derivatives.

Per pair ``G_b = F D_b / r + F' u_b Y``; everything else is a sum of it. Every center writes
its own rows, so that ranges of centers may run at the same time.

Rows of gradients are laid out as in the blocks, for each l the axes ``b, m, n``, but in scratch
memory ``n`` is padded to whole registers: l starts at ``3 l² width`` there.
"""

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_density import add_pairs, add_tangent, pull_back
from nablatom.descriptors.kernels_index import Places, Surroundings
from nablatom.descriptors.kernels_pair import (
    Basis,
    Factors,
    aligned,
    compiled,
    evaluate,
    harmonic_at,
    inside,
    memory_of_pairs,
    radial_at,
)
from nablatom.descriptors.lanes import (
    WIDTH,
    broadcast,
    item,
    load,
    multiply_add,
    spread,
    store,
    stream,
)

__all__ = [
    "add_outer",
    "differentiate",
    "expand",
    "most_pairs",
    "pull_expansion",
    "push_expansion",
    "rows_alone",
    "streams",
    "subtract_slopes",
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
    factors = memory_of_pairs(most_pairs(first, last, around), basis)
    density = aligned(1, lm * width)[0]
    pair, same, own = aligned(3, 3 * lm * width)
    tensor, stretch = aligned(3, 3 * lm * width), aligned(3, 3 * lm * width)
    alone = np.empty(len(factors.direction), np.int64)
    for i in range(first, last):
        c, begin = around.type[i], around.segment[i, 0]
        evaluate(around, begin, around.segment[i, types], basis, factors)
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
            k, end = around.segment[i, a] - begin, around.segment[i, a + 1]
            add_pairs(density, 0, angular, width, factors, k, end - begin)
            rows_alone(alone, around, i, a, a, begin, places, direct)
            for l in range(angular if direct else 0):  # one block after the other is far faster
                _write_alone(positions, starts[l], alone, own, l, width, factors, k, end - begin)
            for p in range(begin + k, end if wants[0] or wants[1] or wants[2] else begin + k):
                if alone[p - begin] >= 0:
                    continue
                j = around.neighbor[p]
                moves = 1.0 if j != i else 0.0
                differentiate(pair, own, 0, angular, moves, width, factors, p - begin)
                if wants[1]:
                    add_outer(tensor, 0, around.vector, p, pair)
                if wants[2]:
                    add_outer(stretch, 0, around.shift, p, pair)
                if not wants[0] or j == i:
                    continue
                if p > begin + k and around.neighbor[p - 1] == j:
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


@compiled
def rows_alone(
    alone: Integers,
    around: Surroundings,
    i: int,
    a: int,
    b: int,
    begin: int,
    places: Places,
    direct: bool,
) -> None:
    """Rows of neighbors of type ``a`` that are seen once and are no images of the center, or -1.

    In the blocks of the types ``a`` and ``b``; all of them are -1 unless ``direct``.
    """
    first, end = around.segment[i, a], around.segment[i, a + 1]
    for p in range(first, end):
        j = around.neighbor[p]
        before = p > first and around.neighbor[p - 1] == j
        after = p + 1 < end and around.neighbor[p + 1] == j
        single = direct and j != i and not (before or after)
        alone[p - begin] = places.row[p, b] if single else -1


@compiled
def _write_alone(
    to: Array,
    start: int,
    rows: Integers,
    own: Array,
    l: int,
    width: int,
    factors: Factors,
    first: int,
    last: int,
) -> None:
    """Derivatives for one l, to the block that starts there, of the pairs that have a row."""
    size, once = 3 * (2 * l + 1) * width, streams(to, start)
    for k in range(first, last):
        if rows[k] >= 0:
            at = start + rows[k] * size
            _differentiate(to, at, own, l * l * 3 * width, l, 1.0, width, factors, k, once)


@compiled
def streams(to: Array, start: int) -> bool:
    """Whether registers that follow each other from there can be written past the cache."""
    return (to.ctypes.data + start * to.itemsize) % (WIDTH * to.itemsize) == 0


@inside
def differentiate(
    to: Array,
    own: Array,
    own_start: int,
    angular: int,
    moves: float,
    width: int,
    factors: Factors,
    k: int,
) -> None:
    """``G`` of one pair, to scratch memory; the center of it moves the other way."""
    for l in range(angular):
        at = 3 * l * l * width
        _differentiate(to, at, own, own_start + at, l, moves, width, factors, k, False)


@inside
def _differentiate(
    to: Array,
    start: int,
    own: Array,
    own_start: int,
    l: int,
    moves: float,
    width: int,
    factors: Factors,
    k: int,
    once: bool,
) -> None:
    waves, radial, kind = factors.harmonics, factors.radial, (2 * l + 1) * WIDTH
    none, back = spread(0.0), spread(-moves)
    y, f_at = harmonic_at(l, k, waves), radial_at(l, k, radial, width)
    for n in range(0, width, WIDTH):
        f, slope = load(radial, f_at + n), load(radial, f_at + width + n)
        for b in range(3):
            along = multiply_add(broadcast(factors.direction, 3 * k + b), slope, none)
            turned, at = (b + 1) * kind, b * (2 * l + 1) * width + n
            for m in range(y, y + kind, WIDTH):
                g = multiply_add(broadcast(waves, m), along, none)
                g = multiply_add(broadcast(waves, m + turned), f, g)
                if once:
                    stream(to, start + at, g)
                else:
                    store(to, start + at, g)
                store(own, own_start + at, multiply_add(back, g, load(own, own_start + at)))
                at += width


@compiled
def subtract_slopes(
    own: Array,
    start: int,
    angular: int,
    width: int,
    around: Surroundings,
    i: int,
    begin: int,
    factors: Factors,
    first: int,
    last: int,
) -> None:
    """Subtract ``G`` of the pairs of center ``i`` that are no images of it."""
    waves, radial = factors.harmonics, factors.radial
    none, minus = spread(0.0), spread(-1.0)
    for l in range(angular):
        kind = (2 * l + 1) * WIDTH
        for k in range(first, last):
            if around.neighbor[begin + k] == i:
                continue
            y, f_at = harmonic_at(l, k, waves), radial_at(l, k, radial, width)
            for n in range(0, width, WIDTH):
                f = multiply_add(minus, load(radial, f_at + n), none)
                slope = multiply_add(minus, load(radial, f_at + width + n), none)
                at = start + 3 * l * l * width + n
                for b in range(3):
                    along = multiply_add(broadcast(factors.direction, 3 * k + b), slope, none)
                    turned = (b + 1) * kind
                    for m in range(y, y + kind, WIDTH):
                        g = multiply_add(broadcast(waves, m), along, load(own, at))
                        store(own, at, multiply_add(broadcast(waves, m + turned), f, g))
                        at += width


@compiled
def most_pairs(first: int, last: int, around: Surroundings) -> int:
    """The largest number of pairs that one of some centers has."""
    most = 0
    for i in range(first, last):
        most = max(most, around.segment[i, -1] - around.segment[i, 0])
    return most


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
    factors = memory_of_pairs(most_pairs(first, last, around), basis)
    density = aligned(1, lm * width)[0]
    for i in range(first, last):
        begin = around.segment[i, 0]
        evaluate(around, begin, around.segment[i, -1], basis, factors)
        for a in range(around.segment.shape[1] - 1):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            density[:] = 0.0
            for p in range(around.segment[i, a], around.segment[i, a + 1]):
                k = p - begin
                add_tangent(density, 0, angular, width, tangents, p, factors, k)
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
    factors = memory_of_pairs(most_pairs(first, last, around), basis)
    density = aligned(1, lm * width)[0]
    for i in range(first, last):
        begin = around.segment[i, 0]
        evaluate(around, begin, around.segment[i, -1], basis, factors)
        for a in range(around.segment.shape[1] - 1):
            sample = places.sample[i, a]
            if sample < 0:
                continue
            starts = offsets[0, around.type[i], a]
            _read_values(cotangents, starts, sample, density, angular, size, width)
            for p in range(around.segment[i, a], around.segment[i, a + 1]):
                k = p - begin
                pull_back(result, density, 0, angular, width, p, factors, k)


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
