import numpy as np
import pytest
from scipy.special import eval_legendre, gammainc

from nablatom.descriptors import (
    Bernstein,
    Delta,
    Functions,
    Gaussian,
    Gto,
    Monomials,
    SmearedPowerLaw,
    SphericalBessel,
    SphericalWaves,
)
from nablatom.descriptors.radial_table import _quadrature, radial_integrals, radial_table

CUTOFF, ANGULAR = 5.0, 6
TABLES = {
    "gto": (Gto(7), Gaussian(0.3)),
    "wide": (Gto(5), Gaussian(1.0)),
    "bessel": (SphericalBessel(5), Gaussian(0.4)),
    "waves, delta": (SphericalWaves(5), Delta()),
    "gto, delta": (Gto(5), Delta()),
    "monomials": (Monomials(4), Gaussian(0.5)),
    "bernstein": (Bernstein(4), Gaussian(0.5)),
    "power law": (Gto(4), SmearedPowerLaw(1.0, 1.0)),
}


def directly(basis, density, r, l):
    """The double integral over x and the cosine, by brute force, for all n."""
    x, dx = np.polynomial.legendre.leggauss(200)
    reach = min(basis.reach(CUTOFF), 25.0)
    x, dx = (x + 1) * reach / 2, dx * reach / 2
    v, dv = np.polynomial.legendre.leggauss(200)
    g = density(np.sqrt(np.maximum(x[:, None] ** 2 + r * r - 2 * x[:, None] * r * v, 0)))
    inner = 2 * np.pi * g @ (dv * eval_legendre(l, v))
    return (dx * x * x * inner) @ basis(x, CUTOFF, l)[0][:, l]


def gaussian(width):
    return lambda q: (np.pi * width**2) ** -0.75 * np.exp(-0.5 * (q / width) ** 2)


def power_law(smearing, p):
    return lambda q: gammainc(p / 2, q * q / (2 * smearing**2)) / q**p


DEFINITIONS = {
    "gto": (Gto(3), Gaussian(0.6), gaussian(0.6)),
    "bessel": (SphericalBessel(3), Gaussian(0.6), gaussian(0.6)),
    "monomials": (Monomials(2), Gaussian(0.6), gaussian(0.6)),
    "gto, 1/r": (Gto(3), SmearedPowerLaw(0.8, 1.0), power_law(0.8, 1.0)),
    "bessel, 1/r³": (SphericalBessel(3), SmearedPowerLaw(0.8, 3.0), power_law(0.8, 3.0)),
}


@pytest.mark.parametrize("l", [0, 1, 4])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_integrals_are_their_definition(name, l):
    basis, density, function = DEFINITIONS[name]
    r = np.array([0.3, 1.9, 4.7])
    found = radial_integrals(basis, density, r, CUTOFF, l)[0][:, l]
    expected = np.array([directly(basis, function, one, l) for one in r])
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize(
    ("width", "cutoff", "max_radial"), [(0.3, 5.0, 7), (1.0, 5.0, 7), (0.2, 12.0, 9)]
)
def test_closed_form_and_quadrature_agree(width, cutoff, max_radial):
    """Also where naive formulas overflow: 12 Å with 0.2 Å."""
    r, basis = np.linspace(0, cutoff, 60), Gto(max_radial)
    closed = radial_integrals(basis, Gaussian(width), r, cutoff, ANGULAR)
    weight = (np.pi * width**2) ** -0.75
    numbers = weight * _quadrature(basis, 0.5 / width**2, r, cutoff, ANGULAR)
    for order, tolerance in enumerate((1e-12, 2e-11, 2e-9)):
        scale = np.abs(closed[order]).max()
        np.testing.assert_allclose(closed[order], numbers[order], atol=tolerance * scale)


def test_closed_form_against_extended_precision():
    mpmath = pytest.importorskip("mpmath")
    basis, sigma, cutoff = Gto(7), 0.2, 12.0
    mixing, widths = basis.mixing(cutoff), basis.widths(cutoff)
    a = mpmath.mpf(1) / (2 * mpmath.mpf(sigma) ** 2)

    def integral(x, l, n):
        total = mpmath.mpf(0)
        for k in range(basis.size):
            b, p = 1 / (2 * mpmath.mpf(float(widths[k])) ** 2), mpmath.mpf(k + l + 3) / 2
            z = (a * x) ** 2 / (a + b)
            term = mpmath.hyp1f1(p, l + 1.5, z) * mpmath.exp(-a * x**2) * (a * x) ** l
            term *= mpmath.gamma(p) / mpmath.gamma(l + 1.5) / (a + b) ** p
            total += mpmath.mpf(float(mixing[n, k])) * term
        return total * (mpmath.pi * 2 * a) ** 0.75

    with mpmath.workdps(40):
        for r in (0.01, 1.3, 11.9):
            found = radial_integrals(basis, Gaussian(sigma), np.array([r]), cutoff, ANGULAR)[:, 0]
            for l, n in ((0, 0), (3, 4), (6, 7)):
                x = mpmath.mpf(r)
                assert found[0, l, n] == pytest.approx(float(integral(x, l, n)), abs=1e-12)
                for order, tolerance in ((1, 1e-10), (2, 1e-8)):
                    exact = mpmath.diff(lambda x, l=l, n=n: integral(x, l, n), x, order)
                    assert found[order, l, n] == pytest.approx(float(exact), abs=tolerance)


@pytest.mark.parametrize("name", TABLES)
def test_tables_between_their_knots(name):
    basis, density = TABLES[name]
    table = radial_table(basis, density, CUTOFF, ANGULAR)
    r = np.random.default_rng(0).uniform(0, CUTOFF, 300)
    exact = radial_integrals(basis, density, r, CUTOFF, ANGULAR).reshape(3, len(r), -1)
    for found, expected, tolerance in zip(table(r), exact, (2e-12, 2e-10, 1e-6), strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_accuracy_at_the_usual_settings():
    """Cutoff 5 Å, width 0.3 Å, 8 radial functions, l ≤ 6: 1e-12 and 1e-10, not relative."""
    table = radial_table(Gto(7), Gaussian(0.3), 5.0, 6)
    r = np.random.default_rng(1).uniform(0, 5, 1000)
    exact = radial_integrals(Gto(7), Gaussian(0.3), r, 5.0, 6).reshape(3, len(r), -1)
    value, slope, _ = table(r)
    np.testing.assert_allclose(value, exact[0], atol=1e-12)
    np.testing.assert_allclose(slope, exact[1], atol=1e-10)
    assert table.values.nbytes < 1e6


@pytest.mark.parametrize("name", TABLES)
def test_layout_of_tables(name):
    basis, density = TABLES[name]
    table = radial_table(basis, density, CUTOFF, 2)
    knots = np.arange(len(table.values)) * table.spacing
    assert knots[-1] == pytest.approx(CUTOFF, rel=1e-14)
    np.testing.assert_allclose(table(knots)[1], table.values[:, 1], atol=1e-10)
    center = radial_integrals(basis, density, np.zeros(1), CUTOFF, 0)[0, 0, 0]
    np.testing.assert_allclose(table.center, center / np.sqrt(4 * np.pi), atol=1e-14)
    column = 1 * basis.size + basis.size - 1  # l = 1, the last n
    exact = radial_integrals(basis, density, knots, CUTOFF, 2)
    np.testing.assert_allclose(table.values[:, 0, column], exact[0, :, 1, -1], atol=1e-13)


def test_narrow_gaussians_are_delta_densities():
    """As σ falls, the integral over the density times the function goes to the function."""
    r, basis = np.array([1.3]), SphericalBessel(2)
    weight = (np.pi * 0.01**2) ** -0.75 * (2 * np.pi * 0.01**2) ** 1.5  # volume of the Gaussian
    narrow = radial_integrals(basis, Gaussian(0.01), r, CUTOFF, 3)[0] / weight
    np.testing.assert_allclose(narrow, basis(r, CUTOFF, 3)[0], rtol=2e-3)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, 6.0])
def test_power_laws_are_sums_of_gaussians(p):
    q = np.linspace(0.01, 25, 500)
    weights, exponents = SmearedPowerLaw(0.5, p).gaussians()
    found = np.exp(-np.outer(q * q, exponents)) @ weights
    np.testing.assert_allclose(found, power_law(0.5, p)(q), atol=1e-12 * found.max())


def test_same_settings_same_table():
    first, second = (radial_table(Gto(3), Gaussian(0.5), 4.0, 2) for _ in range(2))
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first.values[0] = 0


def test_what_cannot_be_tabulated_is_refused():
    with pytest.raises(ValueError, match="leave nothing of a delta density"):
        radial_table(SphericalBessel(3, radius=4.0), Delta(), 5.0, 1)
    with pytest.raises(ValueError, match="change too fast"):
        radial_table(Functions((lambda r: np.abs(r - 2.2),)), Delta(), 5.0, 0)
    for wrong in (lambda: Gaussian(0.0), lambda: SmearedPowerLaw(1.0, 0.0)):
        with pytest.raises(ValueError, match=r"positive|> 0"):
            wrong()
