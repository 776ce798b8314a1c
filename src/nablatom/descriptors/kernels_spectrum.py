"""Kernels: the power spectrum of each center, with its derivatives.

``p^{AB}_{l n n'} = κ sum_m c^A_lmn c^B_lmn'``. Derivatives of densities are never stored. For a
neighbor of type A, with ``V_ln = κ sum_m Y_lm c^B_lmn``, ``W_ln,b = κ sum_m D_lm,b c^B_lmn / r``,
``∂_b p_lnn' = F_ln W_ln',b + F'_ln u_b V_ln'``: four numbers per l and n instead of all of ``∂c``.
What concerns a center as a whole (its own position, strain, cell) goes through the summed ``∂c``.

Rows of the spectrum in scratch memory have the axes ``l, n, n'`` with the last one padded.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom.descriptors.kernels_density import add_pairs, add_tangent, pull_back
from nablatom.descriptors.kernels_expansion import (
    add_outer,
    differentiate,
    most_pairs,
    rows_alone,
    streams,
    subtract_slopes,
)
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
    total,
)

__all__ = ["Choice", "pull_spectrum", "push_spectrum", "spectrum"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Unsigned = NDArray[np.uint64]
Wants = tuple[bool, bool, bool]


class Choice(NamedTuple):
    """Which numbers of a padded row are properties, and their factors.

    Attributes
    ----------
    same, same_factors, other, other_factors : (properties,)
        For blocks of twice the same type, and of two types.
    radial : (properties,)
        Radial functions in the blocks of single neighbors.
    whole
        Whether rows go to blocks as they are.
    """

    same: Unsigned
    same_factors: Array
    other: Unsigned
    other_factors: Array
    radial: Unsigned
    whole: bool


@compiled
def spectrum(
    first: int,
    last: int,
    around: Surroundings,
    basis: Basis,
    places: Places,
    offsets: Integers,
    wants: Wants,
    choice: Choice,
    values: Array,
    positions: Array,
    strain: Array,
    cell: Array,
) -> None:
    """Write values and gradients of the centers from ``first`` to ``last``.

    ``offsets`` : (4, types, groups, 2), where each block of values and of the gradients starts,
    counted from the array that is given, or -1; the second part of a group of one type is its
    radial spectrum.
    """
    types = around.segment.shape[1] - 1
    size, width, angular = basis.size, len(basis.center), basis.harmonics.shape[1]
    lm, numbers = angular * angular, angular * size * width
    factors = memory_of_pairs(most_pairs(first, last, around), basis)
    density = aligned(types, lm * width)
    own, pair = aligned(types, 3 * lm * width), aligned(1, 3 * lm * width)[0]
    tensor, stretch = aligned(3 * types, 3 * lm * width), aligned(3 * types, 3 * lm * width)
    contracted = aligned(len(factors.direction), 4 * angular * width)
    along, alone = aligned(1, angular * width)[0], np.empty(len(contracted), np.int64)
    row, row_same = aligned(3, numbers).reshape(-1), aligned(3, numbers).reshape(-1)
    kappa = np.empty(angular)
    deforms = wants[1] or wants[2]
    for i in range(first, last):
        c, begin = around.type[i], around.segment[i, 0]
        density[:] = 0.0
        own[:] = 0.0
        if wants[1]:
            tensor[:] = 0.0
        if wants[2]:
            stretch[:] = 0.0
        density[c, :width] = basis.center
        evaluate(around, begin, around.segment[i, types], basis, factors)
        for a in range(types):
            first_pair, end = around.segment[i, a], around.segment[i, a + 1]
            at = a * lm * width
            add_pairs(density, at, angular, width, factors, first_pair - begin, end - begin)
            if wants[0] and not deforms:
                subtract_slopes(
                    own,
                    3 * at,
                    angular,
                    width,
                    around,
                    i,
                    begin,
                    factors,
                    first_pair - begin,
                    end - begin,
                )
            for p in range(first_pair, end if deforms else first_pair):
                at, k = a * len(pair), p - begin
                moves = 1.0 if around.neighbor[p] != i else 0.0
                differentiate(pair, own, at, angular, moves, width, factors, k)
                if wants[1]:
                    add_outer(tensor, 3 * a * len(pair), around.vector, p, pair)
                if wants[2]:
                    add_outer(stretch, 3 * a * len(pair), around.shift, p, pair)
        for g in range(len(places.groups)):
            sample = places.sample[i, g]
            if sample < 0:
                continue
            a, b = places.groups[g, 0], places.groups[g, 1]
            index = choice.same if a == b else choice.other
            weights = choice.same_factors if a == b else choice.other_factors
            value_at, row_at = offsets[0, c, g, 0], offsets[1, c, g, 0]
            if value_at >= 0:
                _kappas(kappa, a == b)
                value_at += sample * len(index)
                row[:numbers] = 0.0
                _add_products(row, 0, kappa, density[a], 1, 0, density[b], 1, 0, size, width)
                _put(values, value_at, row, 1, numbers, index, weights, choice.whole)
                for d in range(3):
                    if wants[1]:
                        _product_rows(row, kappa, density, tensor, a, b, d, size, width, numbers)
                        at = offsets[2, c, g, 0] + (9 * sample + 3 * d) * len(index)
                        _put(strain, at, row, 3, numbers, index, weights, choice.whole)
                    if wants[2]:
                        _product_rows(row, kappa, density, stretch, a, b, d, size, width, numbers)
                        at = offsets[3, c, g, 0] + (9 * sample + 3 * d) * len(index)
                        _put(cell, at, row, 3, numbers, index, weights, choice.whole)
                if wants[0]:
                    _own_rows(row, kappa, density, own, a, b, size, width, numbers)
                    at = row_at + places.own[i, g] * 3 * len(index)
                    _put(positions, at, row, 3, numbers, index, weights, choice.whole)
                    for mine in range(1 if a == b else 2):
                        t, other = (a, b) if mine == 0 else (b, a)
                        k, end = around.segment[i, t] - begin, around.segment[i, t + 1]
                        _contract(contracted, kappa, density[other], factors, k, end - begin, width)
                        rows_alone(alone, around, i, t, other, begin, places, choice.whole)
                        _write_alone(
                            positions,
                            row_at,
                            alone,
                            a == b,
                            mine == 0,
                            contracted,
                            along,
                            factors,
                            k,
                            end - begin,
                            size,
                            width,
                        )
                        for p in range(begin + k, end):
                            j = around.neighbor[p]
                            if j == i or alone[p - begin] >= 0:
                                continue
                            again = p > around.segment[i, t] and around.neighbor[p - 1] == j
                            more = p + 1 < end and around.neighbor[p + 1] == j
                            at = row_at + places.row[p, other] * 3 * len(index)
                            _outer(
                                row,
                                0,
                                a == b,
                                mine == 0,
                                contracted,
                                along,
                                factors,
                                p - begin,
                                angular,
                                size,
                                width,
                                False,
                            )
                            if again:
                                row_same += row
                            else:
                                row_same[:] = row
                            if not more:
                                _put(
                                    positions,
                                    at,
                                    row_same,
                                    3,
                                    numbers,
                                    index,
                                    weights,
                                    choice.whole,
                                )
            value_at, row_at = offsets[0, c, g, 1], offsets[1, c, g, 1]
            if value_at >= 0:
                value_at += sample * len(choice.radial)
                _pick(values, value_at, density[a], 1, width, choice.radial)
                for d in range(3):
                    at = (9 * sample + 3 * d) * len(choice.radial)
                    if wants[1]:
                        _pick(
                            strain,
                            offsets[2, c, g, 1] + at,
                            tensor[3 * a + d],
                            3,
                            width,
                            choice.radial,
                        )
                    if wants[2]:
                        _pick(
                            cell,
                            offsets[3, c, g, 1] + at,
                            stretch[3 * a + d],
                            3,
                            width,
                            choice.radial,
                        )
                if wants[0]:
                    at = row_at + places.own[i, g] * 3 * len(choice.radial)
                    _pick(positions, at, own[a], 3, width, choice.radial)
                    before = -1
                    for p in range(around.segment[i, a], around.segment[i, a + 1]):
                        j, k = around.neighbor[p], p - begin
                        if j == i:
                            continue
                        at = row_at + places.row[p, a] * 3 * len(choice.radial)
                        y = item(factors.harmonics, harmonic_at(0, k, factors.harmonics))
                        slope = radial_at(0, k, factors.radial, width) + width
                        for d in range(3):
                            u = y * factors.direction[k, d]
                            for n in range(len(choice.radial)):
                                g_n = u * item(factors.radial, slope + choice.radial[n])
                                if j == before:
                                    positions[at] += g_n
                                else:
                                    positions[at] = g_n
                                at += 1
                        before = j


@compiled
def _kappas(kappa: Array, same: bool) -> None:
    for l in range(len(kappa)):
        sign = 1.0 if l % 2 == 0 else -1.0
        kappa[l] = sign * np.sqrt((1.0 if same else 2.0) / (2 * l + 1))


@compiled
def _add_products(
    row: Array,
    at: int,
    kappa: Array,
    a: Array,
    a_rows: int,
    a_row: int,
    b: Array,
    b_rows: int,
    b_row: int,
    size: int,
    width: int,
) -> None:
    """Add ``κ sum_m a_mn b_mn'``, where each l of a and b has several rows: take one."""
    for l in range(len(kappa)):
        m_a = (a_rows * l * l + a_row * (2 * l + 1)) * width
        m_b = (b_rows * l * l + b_row * (2 * l + 1)) * width
        kappa_l = kappa[l]
        for n in range(size):
            here = at + (l * size + n) * width
            for other in range(0, width, WIDTH):
                sum = load(row, here + other)
                for m in range(2 * l + 1):
                    factor = spread(kappa_l * item(a, m_a + m * width + n))
                    sum = multiply_add(factor, load(b, m_b + m * width + other), sum)
                store(row, here + other, sum)


@compiled
def _product_rows(
    row: Array,
    kappa: Array,
    density: Array,
    slopes: Array,
    a: int,
    b: int,
    d: int,
    size: int,
    width: int,
    numbers: int,
) -> None:
    """Product rule for one of three rows of derivatives of densities, ``slopes[3 a + d]``."""
    row[:] = 0.0
    for e in range(3):
        at = e * numbers
        _add_products(row, at, kappa, slopes[3 * a + d], 3, e, density[b], 1, 0, size, width)
        _add_products(row, at, kappa, density[a], 1, 0, slopes[3 * b + d], 3, e, size, width)


@compiled
def _own_rows(
    row: Array,
    kappa: Array,
    density: Array,
    own: Array,
    a: int,
    b: int,
    size: int,
    width: int,
    numbers: int,
) -> None:
    row[:] = 0.0
    for e in range(3):
        at = e * numbers
        _add_products(row, at, kappa, own[a], 3, e, density[b], 1, 0, size, width)
        _add_products(row, at, kappa, density[a], 1, 0, own[b], 3, e, size, width)


@compiled
def _contract(
    to: Array, kappa: Array, density: Array, factors: Factors, first: int, last: int, width: int
) -> None:
    """``V``, then ``W`` for each axis, of some pairs."""
    none, waves, numbers = spread(0.0), factors.harmonics, len(kappa) * width
    for l in range(len(kappa)):
        factor, kind = broadcast(kappa, l), (2 * l + 1) * WIDTH
        for k in range(first, last):
            y = harmonic_at(l, k, waves)
            for n in range(0, width, WIDTH):
                v, dx, dy, dz = none, none, none, none
                here, at = l * l * width + n, 4 * k * numbers + l * width + n
                for m in range(y, y + kind, WIDTH):
                    c = load(density, here)
                    v = multiply_add(broadcast(waves, m), c, v)
                    dx = multiply_add(broadcast(waves, m + kind), c, dx)
                    dy = multiply_add(broadcast(waves, m + 2 * kind), c, dy)
                    dz = multiply_add(broadcast(waves, m + 3 * kind), c, dz)
                    here += width
                store(to, at, multiply_add(factor, v, none))
                store(to, at + numbers, multiply_add(factor, dx, none))
                store(to, at + 2 * numbers, multiply_add(factor, dy, none))
                store(to, at + 3 * numbers, multiply_add(factor, dz, none))


@compiled
def _write_alone(
    to: Array,
    start: int,
    rows: Integers,
    both: bool,
    front: bool,
    contracted: Array,
    along: Array,
    factors: Factors,
    first: int,
    last: int,
    size: int,
    width: int,
) -> None:
    """Derivatives of the pairs that have a row, to the block that starts there."""
    angular, once = len(factors.radial), streams(to, start)
    for k in range(first, last):
        if rows[k] >= 0:
            at = start + rows[k] * 3 * angular * size * width
            _outer(to, at, both, front, contracted, along, factors, k, angular, size, width, once)


@inside
def _outer(
    to: Array,
    at: int,
    both: bool,
    front: bool,
    contracted: Array,
    along: Array,
    factors: Factors,
    k: int,
    angular: int,
    size: int,
    width: int,
    once: bool,
) -> None:
    """``F W + F' u V``, transposed unless in ``front``, or the sum of ``both``."""
    none, radial, numbers = spread(0.0), factors.radial, angular * width
    for d in range(3):
        u, V = broadcast(factors.direction, 3 * k + d), 4 * k * numbers
        for q in range(0, numbers, WIDTH):
            store(along, q, multiply_add(u, load(contracted, V + q), none))  # u V
        for l in range(angular):
            f, W = radial_at(l, k, radial, width), V + ((1 + d) * angular + l) * width
            uV = l * width
            for other in range(0, width, WIDTH):
                row = at + (d * angular + l) * size * width + other
                W_q, uV_q = load(contracted, W + other), load(along, uV + other)
                F_q, dF_q = load(radial, f + other), load(radial, f + width + other)
                for n in range(size):
                    if both:
                        sum = multiply_add(broadcast(radial, f + n), W_q, none)
                        sum = multiply_add(broadcast(radial, f + width + n), uV_q, sum)
                        sum = multiply_add(broadcast(contracted, W + n), F_q, sum)
                        sum = multiply_add(broadcast(along, uV + n), dF_q, sum)
                    elif front:
                        sum = multiply_add(broadcast(radial, f + n), W_q, none)
                        sum = multiply_add(broadcast(radial, f + width + n), uV_q, sum)
                    else:
                        sum = multiply_add(broadcast(contracted, W + n), F_q, none)
                        sum = multiply_add(broadcast(along, uV + n), dF_q, sum)
                    if once:
                        stream(to, row, sum)
                    else:
                        store(to, row, sum)
                    row += width


@compiled
def _put(
    target: Array,
    at: int,
    row: Array,
    rows: int,
    numbers: int,
    index: Unsigned,
    weights: Array,
    whole: bool,
) -> None:
    """Padded rows to a block, property by property."""
    if whole:
        for k in range(0, rows * numbers, WIDTH):
            store(target, at + k, load(row, k))
        return
    for d in range(rows):
        source = row[d * numbers : (d + 1) * numbers]
        for k in range(len(index)):
            target[at + k] = weights[k] * source[index[k]]
        at += len(index)


@compiled
def _pick(target: Array, at: int, source: Array, rows: int, width: int, index: Unsigned) -> None:
    """The part with l = 0 of a density, or of its derivatives."""
    for d in range(rows):
        for k in range(len(index)):
            target[at + k] = source[np.uint64(d * width) + index[k]]
        at += len(index)


# -- products with directions and cotangents -----------------------------------------------


@compiled
def push_spectrum(
    first: int,
    last: int,
    around: Surroundings,
    basis: Basis,
    places: Places,
    offsets: Integers,
    choice: Choice,
    tangents: Array,
    values: Array,
) -> None:
    """Write how the values change when pair vectors change by the tangents, (pairs, 3)."""
    types = around.segment.shape[1] - 1
    size, width, angular = basis.size, len(basis.center), basis.harmonics.shape[1]
    lm, numbers = angular * angular, angular * size * width
    factors = memory_of_pairs(most_pairs(first, last, around), basis)
    density, change = aligned(types, lm * width), aligned(types, lm * width)
    row, kappa = aligned(1, numbers)[0], np.empty(angular)
    for i in range(first, last):
        c, begin = around.type[i], around.segment[i, 0]
        density[:] = 0.0
        change[:] = 0.0
        density[c, :width] = basis.center
        evaluate(around, begin, around.segment[i, types], basis, factors)
        for a in range(types):
            at, end = a * lm * width, around.segment[i, a + 1]
            first_pair = around.segment[i, a]
            add_pairs(density, at, angular, width, factors, first_pair - begin, end - begin)
            for p in range(first_pair, end):
                k = p - begin
                add_tangent(change, at, angular, width, tangents, p, factors, k)
        for g in range(len(places.groups)):
            sample = places.sample[i, g]
            if sample < 0:
                continue
            a, b = places.groups[g, 0], places.groups[g, 1]
            index = choice.same if a == b else choice.other
            weights = choice.same_factors if a == b else choice.other_factors
            at = offsets[0, c, g, 0]
            if at >= 0:
                _kappas(kappa, a == b)
                row[:] = 0.0
                _add_products(row, 0, kappa, change[a], 1, 0, density[b], 1, 0, size, width)
                _add_products(row, 0, kappa, density[a], 1, 0, change[b], 1, 0, size, width)
                at += sample * len(index)
                _put(values, at, row, 1, numbers, index, weights, choice.whole)
            at = offsets[0, c, g, 1]
            if at >= 0:
                _pick(values, at + sample * len(choice.radial), change[a], 1, width, choice.radial)


@compiled
def pull_spectrum(
    first: int,
    last: int,
    around: Surroundings,
    basis: Basis,
    places: Places,
    offsets: Integers,
    choice: Choice,
    cotangents: Array,
    result: Array,
) -> None:
    """Write the derivative of ``sum cotangents * values`` by every pair vector, (pairs, 3)."""
    types = around.segment.shape[1] - 1
    size, width, angular = basis.size, len(basis.center), basis.harmonics.shape[1]
    lm, numbers = angular * angular, angular * size * width
    factors = memory_of_pairs(most_pairs(first, last, around), basis)
    density, back = aligned(types, lm * width), aligned(types, lm * width)
    row, kappa = aligned(1, numbers)[0], np.empty(angular)
    for i in range(first, last):
        c, begin = around.type[i], around.segment[i, 0]
        density[:] = 0.0
        back[:] = 0.0
        density[c, :width] = basis.center
        evaluate(around, begin, around.segment[i, types], basis, factors)
        for a in range(types):
            at, k, end = a * lm * width, around.segment[i, a] - begin, around.segment[i, a + 1]
            add_pairs(density, at, angular, width, factors, k, end - begin)
        for g in range(len(places.groups)):
            sample = places.sample[i, g]
            if sample < 0:
                continue
            a, b = places.groups[g, 0], places.groups[g, 1]
            index = choice.same if a == b else choice.other
            weights = choice.same_factors if a == b else choice.other_factors
            at = offsets[0, c, g, 0]
            if at >= 0:
                _kappas(kappa, a == b)
                at += sample * len(index)
                row[:] = 0.0
                for k in range(len(index)):
                    row[index[k]] = weights[k] * cotangents[at + k]
                _add_cotangents(back[a], back[b], row, kappa, density[a], density[b], size, width)
            at = offsets[0, c, g, 1]
            if at >= 0:
                at += sample * len(choice.radial)
                for k in range(len(choice.radial)):
                    back[a, choice.radial[k]] += cotangents[at + k]
        for a in range(types):
            for p in range(around.segment[i, a], around.segment[i, a + 1]):
                k, at = p - begin, a * lm * width
                pull_back(result, back, at, angular, width, p, factors, k)


@compiled
def _add_cotangents(
    back_a: Array,
    back_b: Array,
    row: Array,
    kappa: Array,
    a: Array,
    b: Array,
    size: int,
    width: int,
) -> None:
    """``H^A_mn += κ sum_n' g_nn' c^B_mn'`` and ``H^B_mn' += κ sum_n g_nn' c^A_mn``."""
    for l in range(len(kappa)):
        for m in range(l * l, (l + 1) * (l + 1)):
            for n in range(size):
                own, factor = kappa[l] * a[m * width + n], spread(0.0)
                for other in range(0, width, WIDTH):
                    g = load(row, (l * size + n) * width + other)
                    at = m * width + other
                    factor = multiply_add(g, load(b, at), factor)
                    store(back_b, at, multiply_add(spread(own), g, load(back_b, at)))
                back_a[m * width + n] += kappa[l] * total(factor)
