import numpy as np
import pytest
from scipy.special import spherical_jn

from nablatom.descriptors import (
    Bernstein,
    Functions,
    Gto,
    Monomials,
    SphericalBessel,
    SphericalWaves,
    Tabulated,
)
from nablatom.descriptors.radial_waves import bessel_zeros

CUTOFF, ANGULAR = 5.0, 4
POINTS = np.linspace(0, 6, 121)
COUNTED = [Gto, SphericalBessel, SphericalWaves, Monomials, Bernstein]
BASES = {kind.__name__: kind(6) for kind in COUNTED} | {
    "smaller": SphericalBessel(3, radius=4.0),
    "Tabulated": Tabulated(POINTS, np.stack([np.exp(-POINTS), np.cos(POINTS)], axis=1)),
    "Functions": Functions((np.sin, lambda r: 1 / (1 + r * r))),
}


def quadrature(limit, nodes=400):
    x, weights = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) * limit / 2, weights * limit / 2


@pytest.mark.parametrize("size", [1, 2, 6, 12])
@pytest.mark.parametrize("kind", COUNTED)
def test_orthonormal(kind, size):
    basis = kind(size - 1, radius=4.0)
    r, weights = quadrature(basis.reach(CUTOFF))
    R = basis(r, CUTOFF, ANGULAR)[0]
    overlap = np.einsum("p,pln,plm->lnm", weights * r * r, R, R)
    np.testing.assert_allclose(overlap, np.broadcast_to(np.eye(size), overlap.shape), atol=1e-11)


@pytest.mark.parametrize("name", BASES)
def test_derivatives_against_finite_differences(name):
    r, step = np.linspace(0.05, 3.9, 80), 1e-3
    functions = BASES[name](r, CUTOFF, ANGULAR)
    assert functions.shape == (3, len(r), ANGULAR + 1, BASES[name].size)

    def difference(order):
        def at(k):
            return BASES[name](r + k * step, CUTOFF, ANGULAR)[order]

        return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)

    for order in (0, 1):
        scale = np.abs(functions[order + 1]).max()
        np.testing.assert_allclose(functions[order + 1], difference(order), atol=1e-7 * scale)


@pytest.mark.parametrize("name", BASES)
def test_finite_at_the_center_and_at_the_end(name):
    ends = np.array([0.0, BASES[name].reach(CUTOFF)])
    assert np.isfinite(BASES[name](ends, CUTOFF, ANGULAR)).all()


def test_each_basis_spans_what_it_says():
    """The primitives, of which Löwdin's recipe makes the functions closest to them."""
    r, weights = quadrature(CUTOFF)
    x = r / CUTOFF
    spans = {
        Monomials(4): lambda l: x[:, None] ** (l + 2 * np.arange(5)),
        Bernstein(4): lambda l: x[:, None] ** np.arange(5),
        SphericalBessel(4): lambda l: spherical_jn(l, x[:, None] * bessel_zeros(l, 5)[l]),
        SphericalWaves(4): lambda l: np.sin(np.pi * x[:, None] * np.arange(1, 6)) / x[:, None],
    }
    for basis, primitives in spans.items():
        R = basis(r, CUTOFF, 3)[0]
        for l in range(4):
            w = np.sqrt(weights * r * r)[:, None]
            rest = np.linalg.lstsq(w * primitives(l), w * R[:, l], rcond=None)[0]
            np.testing.assert_allclose(primitives(l) @ rest, R[:, l], atol=1e-9)


def test_symmetric_orthonormalisation_is_the_closest():
    """Overlaps of the functions with their normalised primitives are ``S^(1/2)``: symmetric."""
    r, weights = quadrature(CUTOFF)
    x = (r / CUTOFF)[:, None]
    n = np.arange(5)
    primitives = {Monomials: x ** (2 + 2 * n), Bernstein: x**n * (1 - x) ** (4 - n)}
    for kind, functions in primitives.items():
        R = kind(4)(r, CUTOFF, 2)[0][:, 2]
        w = (weights * r * r)[:, None]
        if kind is Monomials:
            functions = functions / np.sqrt((w * functions**2).sum(axis=0))
        else:
            functions = functions * [1, 4, 6, 4, 1]
        mixed = functions.T @ (w * R)
        np.testing.assert_allclose(mixed, mixed.T, atol=1e-10)
        assert np.linalg.eigvalsh(mixed).min() > 0


def test_gaussian_orbitals_are_those_of_extended_precision():
    mpmath = pytest.importorskip("mpmath")
    size, r = 12, 1.7
    with mpmath.workdps(50):
        b = [mpmath.mpf(0.5) * size**2 / (mpmath.mpf(CUTOFF) ** 2 * max(k, 1)) for k in range(size)]

        def overlap(i, j):
            p = mpmath.mpf(i + j + 3) / 2
            return mpmath.gamma(p) / 2 / (b[i] + b[j]) ** p

        norm = [1 / mpmath.sqrt(overlap(k, k)) for k in range(size)]
        S = mpmath.matrix(size, size)
        for i, j in np.ndindex(size, size):
            S[i, j] = norm[i] * norm[j] * overlap(i, j)
        values, vectors = mpmath.eigsy(S)
        root = vectors * mpmath.diag([1 / mpmath.sqrt(v) for v in values]) * vectors.T
        primitives = mpmath.matrix([norm[k] * r**k * mpmath.exp(-b[k] * r**2) for k in range(size)])
        expected = np.array([float(x) for x in root * primitives])
    found = Gto(size - 1)(np.array([r]), CUTOFF, 0)[0, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_waves_are_their_definition():
    r, k = np.linspace(0, CUTOFF, 30)[1:, None], np.pi * np.arange(1, 7) / CUTOFF
    norm = np.sqrt(2 / CUTOFF)
    values = norm * np.sin(k * r) / r
    slopes = norm * (k * np.cos(k * r) - np.sin(k * r) / r) / r
    found = SphericalWaves(5)(r[:, 0], CUTOFF, 2)
    for l in range(3):
        np.testing.assert_allclose(found[0, :, l], values, atol=1e-12)
        np.testing.assert_allclose(found[1, :, l], slopes, atol=1e-11)


def test_zeros_of_bessel_functions():
    zeros = bessel_zeros(6, 5)
    for l, row in enumerate(zeros):
        np.testing.assert_allclose(spherical_jn(l, row), 0, atol=1e-13)
    np.testing.assert_allclose(zeros[1, 0], 4.493409457909064, rtol=1e-13)  # tan x = x
    assert (np.diff(zeros, axis=1) > 0).all()
    assert (np.diff(zeros, axis=0) > 0).all()


def test_tables_give_each_l_its_own():
    values = np.stack([np.stack([np.exp(-k * POINTS)] * 2, axis=1) for k in (1, 2)], axis=1)
    R = Tabulated(POINTS, values)(np.array([1.01]), CUTOFF, 1)
    np.testing.assert_allclose(R[0, 0, :, 0], np.exp([-1.01, -2.02]), atol=1e-8)
    np.testing.assert_allclose(R[1, 0, :, 0], [-1, -2] * np.exp([-1.01, -2.02]), atol=1e-6)
    with pytest.raises(ValueError, match="l < 2, but max_angular is 2"):
        Tabulated(POINTS, values)(np.array([1.0]), CUTOFF, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Gto(-1), "counts from 0, got -1"),
        (lambda: SphericalBessel(3, radius=0.0), "radius of a basis must be positive"),
        (lambda: Monomials(3, radius=np.nan), "radius of a basis must be positive"),
        (lambda: Functions(()), "at least one"),
        (lambda: Tabulated([0, 1, 2], np.zeros((3, 1))), "at least six rising points"),
        (lambda: Tabulated(POINTS[::-1], np.zeros((121, 1))), "at least six rising points"),
        (lambda: Tabulated(POINTS, np.zeros((120, 1))), r"shape \(121, n\)"),
        (lambda: Tabulated(POINTS, np.full((121, 1), np.nan)), "finite values"),
    ],
)
def test_what_has_no_meaning_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_plain_values():
    for kind in COUNTED:
        assert kind(3) == kind(3)
        assert len({kind(3), kind(3), kind(4)}) == 2
        assert repr(kind(3)) == f"{kind.__name__}(max_radial=3, radius=None)"
    table = BASES["Tabulated"]
    assert hash(table) == hash(Tabulated(table.points, table.values))
