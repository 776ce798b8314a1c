import numpy as np
import pytest

from nablatom.descriptors import Cutoff, Polynomial, ShiftedCosine, Step, Willatt2018

RADIUS = 4.5
CUTOFFS = {
    "cosine": Cutoff(RADIUS, width=0.7),
    "cosine over all": Cutoff(RADIUS, width=None),
    "polynomial": Cutoff(RADIUS, 2.0, Polynomial()),
    "polynomial 6": Cutoff(RADIUS, None, Polynomial(6)),
}
SCALINGS = {
    "fourth": Willatt2018(scale=2.0),
    "linear": Willatt2018(scale=1.5, rate=0.5, exponent=1),
    "no rate": Willatt2018(scale=2.0, rate=0.0, exponent=3),
    "fractional": Willatt2018(scale=2.0, rate=2.0, exponent=2.5),
    "constant": Willatt2018(scale=2.0, rate=2.0, exponent=0),
}


def differences(function, r, step=1e-3):
    first = function(r + step) - function(r - step)
    return (8 * first - (function(r + 2 * step) - function(r - 2 * step))) / (12 * step)


@pytest.mark.parametrize("name", CUTOFFS)
def test_from_one_to_zero(name):
    cutoff = CUTOFFS[name]
    width = cutoff.width or RADIUS
    for part, expected in zip(
        cutoff(np.linspace(0, RADIUS - width, 5)[:-1]), (1, 0, 0), strict=True
    ):
        np.testing.assert_array_equal(part, expected)
    for part in cutoff(RADIUS + np.linspace(0, 1, 5)):
        np.testing.assert_array_equal(part, 0)
    fading = np.linspace(RADIUS - width, RADIUS, 50)
    assert (np.diff(cutoff(fading)[0]) < 0).all()


@pytest.mark.parametrize("function", [*CUTOFFS.values(), *SCALINGS.values()], ids=repr)
def test_derivatives_against_finite_differences(function):
    r = np.linspace(0.1, RADIUS - 0.01, 60)
    value, slope, curvature = function(r)
    inside = np.abs(r - RADIUS + 0.7) > 0.01  # the second derivative of the cosine jumps there
    scale = np.abs(curvature).max() + 1
    expected = differences(lambda r: function(r)[0], r)
    np.testing.assert_allclose(slope[inside], expected[inside], atol=1e-6 * scale)
    expected = differences(lambda r: function(r)[1], r)
    np.testing.assert_allclose(curvature[inside], expected[inside], atol=1e-6 * scale)
    assert value.shape == slope.shape == curvature.shape == r.shape


def test_smoothness_at_both_ends():
    """A polynomial has two derivatives everywhere; the cosine one; the step none."""
    ends = np.array([RADIUS - 2.0, RADIUS])
    for smoothing, orders in ((Polynomial(), 3), (ShiftedCosine(), 2), (Step(), 0)):
        before, after = (Cutoff(RADIUS, 2.0, smoothing)(ends + h) for h in (-1e-9, 1e-9))
        jumps = [np.abs(a - b).max() > 1e-6 for a, b in zip(before, after, strict=True)]
        assert [*jumps, True].index(True) == orders


def test_formulas():
    assert Cutoff(5.0, 1.0)(np.array([4.25]))[0] == pytest.approx((1 + np.cos(np.pi / 4)) / 2)
    x = 0.3
    expected = 1 - 10 * x**3 + 15 * x**4 - 6 * x**5
    assert Cutoff(1.0, None, Polynomial(3))(np.array([x]))[0] == pytest.approx(expected)
    scaled = SCALINGS["linear"](np.array([3.0]))[0]
    assert scaled == pytest.approx(0.5 / (0.5 + 2.0))


@pytest.mark.parametrize("name", ["fourth", "linear", "fractional", "constant"])
def test_scaling_at_the_center_is_finite(name):
    value, slope, curvature = SCALINGS[name](np.array([0.0]))
    assert value == pytest.approx(1.0 if name != "constant" else 2 / 3)
    assert np.isfinite([slope, curvature]).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Cutoff(0.0), "0 < width <= cutoff radius"),
        (lambda: Cutoff(-1.0), "0 < width <= cutoff radius"),
        (lambda: Cutoff(np.nan), "0 < width <= cutoff radius"),
        (lambda: Cutoff(np.inf), "0 < width <= cutoff radius"),
        (lambda: Cutoff(3.0, width=3.1), "width=3.1"),
        (lambda: Cutoff(3.0, width=0.0), "width=0.0"),
        (lambda: Polynomial(2), "3 or more, got 2"),
        (lambda: Willatt2018(scale=0.0), "scale > 0"),
        (lambda: Willatt2018(2.0, rate=0.0)(np.zeros(1)), "infinite at the center"),
    ],
)
def test_what_has_no_meaning_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_plain_values():
    assert Cutoff(5.0) == Cutoff(5.0)
    assert len({Cutoff(5.0), Cutoff(5.0), Cutoff(5.0, 0.5, Step())}) == 2
    assert repr(Cutoff(5.0)) == "Cutoff(radius=5.0, width=0.5, smoothing=ShiftedCosine())"
