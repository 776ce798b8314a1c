import numpy as np
import pytest
from scipy.special import sph_harm_y

from nablatom.descriptors.harmonics import spherical_harmonics

POLES = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 1, 0], [0, -1, 0], [-1, 0, 0]], float)


def directions(count=40, seed=0):
    v = np.random.default_rng(seed).normal(size=(count, 3))
    return np.concatenate([v / np.linalg.norm(v, axis=1, keepdims=True), POLES])


def from_scipy(u, max_angular):
    """Real harmonics from complex ones, whose sign (-1)^m is taken away."""
    theta, phi = np.arccos(u[:, 2]), np.arctan2(u[:, 1], u[:, 0])
    columns = []
    for l in range(max_angular + 1):
        for m in range(-l, l + 1):
            y = sph_harm_y(l, abs(m), theta, phi) * (-1.0) ** m
            columns.append(y.real if m == 0 else np.sqrt(2) * (y.imag if m < 0 else y.real))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("max_angular", [0, 1, 2, 5, 10])
def test_values_are_those_of_scipy(max_angular):
    values, _ = spherical_harmonics(directions(), max_angular)
    np.testing.assert_allclose(values, from_scipy(directions(), max_angular), atol=1e-12)


def test_first_degree_is_y_z_x():
    values, _ = spherical_harmonics(directions(), 1)
    expected = np.sqrt(3 / (4 * np.pi)) * directions()[:, [1, 2, 0]]
    np.testing.assert_allclose(values[:, 1:], expected, atol=1e-15)


def test_orthonormal_on_the_sphere():
    """Gauss-Legendre in z, uniform in the angle: exact to degree 12."""
    z, weights = np.polynomial.legendre.leggauss(8)
    phi = 2 * np.pi * np.arange(16) / 16
    s = np.sqrt(1 - z**2)[:, None]
    x, y, z = s * np.cos(phi), s * np.sin(phi), np.repeat(z[:, None], 16, axis=1)
    values, _ = spherical_harmonics(np.stack([x, y, z], axis=-1).reshape(-1, 3), 6)
    w = np.repeat(weights * 2 * np.pi / 16, 16)
    np.testing.assert_allclose(values.T @ (w[:, None] * values), np.eye(49), atol=1e-13)


def test_gradients_against_finite_differences():
    """Also at the poles, where the angles have no derivative; at several lengths."""
    lengths = np.linspace(0.5, 3.0, len(directions()))[:, None]
    v, step = directions() * lengths, 1e-4
    _, slopes = spherical_harmonics(directions(), 6)
    for axis in range(3):
        shift = step * np.eye(3)[axis]

        def at(k, shift=shift):
            w = v + k * shift
            return spherical_harmonics(w / np.linalg.norm(w, axis=1, keepdims=True), 6)[0]

        numbers = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
        np.testing.assert_allclose(slopes[:, axis] / lengths, numbers, atol=1e-9)


def test_gradients_are_tangent_to_the_sphere():
    _, slopes = spherical_harmonics(directions(), 8)
    np.testing.assert_allclose(np.einsum("pa,pal->pl", directions(), slopes), 0, atol=1e-12)


def test_values_and_gradients_are_those_of_sphericart():
    sphericart = pytest.importorskip("sphericart")
    values, slopes = spherical_harmonics(directions(), 8)
    theirs, gradients = sphericart.SphericalHarmonics(8).compute_with_gradients(directions())
    np.testing.assert_allclose(values, theirs, atol=1e-12)
    np.testing.assert_allclose(slopes, gradients, atol=1e-12)


def test_no_directions():
    values, slopes = spherical_harmonics(np.zeros((0, 3)), 3)
    assert values.shape == (0, 16)
    assert slopes.shape == (0, 3, 16)
