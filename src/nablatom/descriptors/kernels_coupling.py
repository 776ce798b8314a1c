"""Kernels: products of two or three sets of spherical components, and their derivatives."""

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["couple", "couple_three", "pull_couple", "pull_couple_three"]

Array = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def couple(
    x: Array, y: Array, indices: NDArray[np.int64], coefficients: Array, result: Array
) -> None:
    """``result[r, μ, p, n, n'] += sum C x[r, m, n] y[r, m', n']``.

    Parameters
    ----------
    x : (rows, m, n)
    y : (rows, m', n')
    indices : (terms, 4)
        ``m, m', μ, p`` of each coefficient.
    coefficients : (terms,)
    result : (rows, μ, p, n, n')
    """
    for row in range(x.shape[0]):
        for term in range(len(coefficients)):
            m, other, mu, p = indices[term]
            second, out = y[row, other], result[row, mu, p]
            for n in range(x.shape[2]):
                factor = coefficients[term] * x[row, m, n]
                line = out[n]
                for k in range(y.shape[2]):
                    line[k] += factor * second[k]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def couple_three(
    x: Array,
    y: Array,
    z: Array,
    terms: NDArray[np.int64],
    coefficients: Array,
    places: NDArray[np.int64],
    result: Array,
) -> None:
    """``result[r, p, n, n', n''] = sum_μ (sum C x[r, m, n] y[r, m', n']) z[r, μ, n'']``.

    Parameters
    ----------
    x, y, z : (rows, m, n)
    terms : (terms, 3)
        ``m, m', μ`` of each coefficient.
    coefficients : (terms,)
    places : (p + 1,)
        Where the terms of each product begin.
    result : (rows, p, n, n', n'')
    """
    first, second, third = x.shape[2], y.shape[2], z.shape[2]
    pair = np.empty((z.shape[1], first, second))
    for row in range(x.shape[0]):
        for p in range(len(places) - 1):
            begin, end = places[p], places[p + 1]
            low, high = terms[begin:end, 2].min(), terms[begin:end, 2].max()
            pair[low : high + 1] = 0.0
            for term in range(begin, end):
                m, other, mu = terms[term]
                for n in range(first):
                    factor = coefficients[term] * x[row, m, n]
                    for k in range(second):
                        pair[mu, n, k] += factor * y[row, other, k]
            for n in range(first):
                for k in range(second):
                    line = result[row, p, n, k]
                    line[:] = 0.0
                    for mu in range(low, high + 1):
                        factor = pair[mu, n, k]
                        for i in range(third):
                            line[i] += factor * z[row, mu, i]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def pull_couple(
    x: Array,
    y: Array,
    indices: NDArray[np.int64],
    coefficients: Array,
    cotangents: Array,
    by_x: Array,
    by_y: Array,
) -> None:
    """Add the derivatives of ``sum cotangents * result`` of `couple`, by both of its factors.

    Parameters
    ----------
    cotangents : (rows, μ, p, n, n')
    by_x : (rows, m, n)
    by_y : (rows, m', n')
    """
    for row in range(x.shape[0]):
        for term in range(len(coefficients)):
            m, other, mu, p = indices[term]
            given, second, out = cotangents[row, mu, p], y[row, other], by_y[row, other]
            for n in range(x.shape[2]):
                factor, total = coefficients[term] * x[row, m, n], 0.0
                for k in range(y.shape[2]):
                    total += given[n, k] * second[k]
                    out[k] += factor * given[n, k]
                by_x[row, m, n] += coefficients[term] * total


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def pull_couple_three(
    x: Array,
    y: Array,
    z: Array,
    terms: NDArray[np.int64],
    coefficients: Array,
    places: NDArray[np.int64],
    cotangents: Array,
    by_x: Array,
    by_y: Array,
    by_z: Array,
) -> None:
    """Add the derivatives of ``sum cotangents * result`` of `couple_three`, by its factors.

    Parameters
    ----------
    cotangents : (rows, p, n, n', n'')
    by_x, by_y, by_z : (rows, m, n)
    """
    first, second, third = x.shape[2], y.shape[2], z.shape[2]
    pair = np.empty((z.shape[1], first, second))
    by_pair = np.empty((z.shape[1], first, second))
    for row in range(x.shape[0]):
        for p in range(len(places) - 1):
            begin, end = places[p], places[p + 1]
            low, high = terms[begin:end, 2].min(), terms[begin:end, 2].max()
            pair[low : high + 1] = 0.0
            for term in range(begin, end):
                m, other, mu = terms[term]
                for n in range(first):
                    factor = coefficients[term] * x[row, m, n]
                    for k in range(second):
                        pair[mu, n, k] += factor * y[row, other, k]
            for n in range(first):
                for k in range(second):
                    given = cotangents[row, p, n, k]
                    for mu in range(low, high + 1):
                        total = 0.0
                        for i in range(third):
                            total += given[i] * z[row, mu, i]
                            by_z[row, mu, i] += given[i] * pair[mu, n, k]
                        by_pair[mu, n, k] = total
            for term in range(begin, end):
                m, other, mu = terms[term]
                for n in range(first):
                    factor, total = coefficients[term] * x[row, m, n], 0.0
                    for k in range(second):
                        total += by_pair[mu, n, k] * y[row, other, k]
                        by_y[row, other, k] += factor * by_pair[mu, n, k]
                    by_x[row, m, n] += coefficients[term] * total
