import numpy as np
import pytest

from nablatom.descriptors.radial import smooth_cutoff, spherical_waves

CUTOFF = 4.5


def differences(function, r, step=1e-3):
    """Fourth-order central differences."""
    first = function(r + step) - function(r - step)
    return (8 * first - (function(r + 2 * step) - function(r - 2 * step))) / (12 * step)


def test_waves_are_orthonormal():
    x, weights = np.polynomial.legendre.leggauss(60)
    r, weights = (x + 1) * CUTOFF / 2, weights * CUTOFF / 2
    waves, _ = spherical_waves(r, CUTOFF, 9)
    np.testing.assert_allclose(
        waves.T @ ((weights * r**2)[:, None] * waves), np.eye(10), atol=1e-12
    )


def test_waves_vanish_at_the_cutoff_and_have_their_limit_at_zero():
    waves, slopes = spherical_waves(np.array([0.0, 1e-9, CUTOFF]), CUTOFF, 5)
    k = np.pi * np.arange(1, 7) / CUTOFF
    np.testing.assert_allclose(waves[0], np.sqrt(2 / CUTOFF) * k, rtol=1e-15)
    np.testing.assert_allclose(waves[1], waves[0], rtol=1e-12)
    np.testing.assert_allclose(waves[2], 0, atol=1e-14)
    np.testing.assert_allclose(slopes[0], 0, atol=1e-15)


@pytest.mark.parametrize("r", [np.linspace(0.1, 4.4, 50), np.linspace(5e-3, 0.02, 200)])
def test_slopes_of_waves_against_finite_differences(r):
    """Also where sin(x)/x goes over into its series, x = 0.01."""
    _, slopes = spherical_waves(r, CUTOFF, 7)
    expected = differences(lambda r: spherical_waves(r, CUTOFF, 7)[0], r)
    np.testing.assert_allclose(slopes, expected, atol=1e-8)


def test_series_and_closed_form_meet():
    k = np.pi / CUTOFF
    r = 1e-2 / k * np.array([1 - 1e-12, 1 + 1e-12])
    for values in spherical_waves(r, CUTOFF, 0):
        assert values[0, 0] == pytest.approx(values[1, 0], rel=1e-11)


@pytest.mark.parametrize("width", [0.3, 2.0, CUTOFF])
def test_cutoff_goes_smoothly_from_one_to_zero(width):
    inside = np.linspace(0, CUTOFF - width, 5)
    fading = np.linspace(CUTOFF - width + 0.01, CUTOFF - 0.01, 50)
    outside = CUTOFF + np.linspace(0, 1, 5)
    np.testing.assert_array_equal(smooth_cutoff(inside, CUTOFF, width)[0], 1)
    for part in smooth_cutoff(outside, CUTOFF, width):
        np.testing.assert_allclose(part, 0, atol=1e-15)
    values, slopes = smooth_cutoff(fading, CUTOFF, width)
    assert (np.diff(values) < 0).all()
    assert smooth_cutoff(np.array([CUTOFF - width / 2]), CUTOFF, width)[0][0] == pytest.approx(0.5)
    expected = differences(lambda r: smooth_cutoff(r, CUTOFF, width)[0], fading, step=1e-3)
    np.testing.assert_allclose(slopes, expected, atol=1e-6)
