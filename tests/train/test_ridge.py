import numpy as np
import pytest

from nablatom.train.ridge import Factor, cross_validate, residual, ridge

RANDOM = 7


def rows(count=40, features=6, noise=0.1):
    random = np.random.default_rng(RANDOM)
    x = random.normal(size=(count, features))
    return x, x @ random.normal(size=features) + noise * random.normal(size=count)


def normal_equations(x, y, strength, scale):
    return np.linalg.solve(x.T @ x + strength * np.diag(scale**2), x.T @ y)


@pytest.mark.parametrize("strength", [1e-6, 0.1, 30.0])
@pytest.mark.parametrize("batch", [3, 17, 40])
def test_batches_give_the_solution_of_the_normal_equations(strength, batch):
    x, y = rows()
    scale = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    parts = [Factor.of(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]
    weights = ridge(Factor.merged(parts), scale, np.array([strength]))[:, 0]
    np.testing.assert_allclose(weights, normal_equations(x, y, strength, scale), rtol=1e-10)


def test_residual_is_that_of_the_rows():
    x, y = rows()
    weights = np.random.default_rng(1).normal(size=(6, 3))
    expected = ((x @ weights - y[:, None]) ** 2).sum(axis=0)
    np.testing.assert_allclose(residual(Factor.of(x, y), weights), expected, rtol=1e-12)


def test_cross_validation_equals_refitting_without_each_part():
    x, y = rows()
    parts = np.array_split(np.arange(len(y)), 4)
    strengths, scale = np.array([0.01, 1.0, 100.0]), np.ones(6)
    expected = np.zeros(3)
    for part in parts:
        rest = np.setdiff1d(np.arange(len(y)), part)
        for column, strength in enumerate(strengths):
            w = normal_equations(x[rest], y[rest], strength, scale)
            expected[column] += ((x[part] @ w - y[part]) ** 2).sum()
    loss = cross_validate([Factor.of(x[p], y[p]) for p in parts], scale, strengths)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)


def test_columns_that_turn_up_late_were_zero_before():
    x, y = rows()
    x[:20, 4:] = 0
    early, late = Factor.of(x[:20, :4], y[:20]), Factor.of(x[20:], y[20:])
    weights = ridge(Factor.merged([early, late]), np.ones(6), np.array([0.1]))[:, 0]
    np.testing.assert_allclose(weights, normal_equations(x, y, 0.1, np.ones(6)), rtol=1e-10)


def test_repeated_features_share_the_weight_also_without_regularisation():
    x, y = rows(noise=0.0)
    twice = np.column_stack([x, x])
    weights = ridge(Factor.of(twice, y), np.ones(12), np.array([0.0]))[:, 0]
    np.testing.assert_allclose(weights[:6], weights[6:], atol=1e-12)
    np.testing.assert_allclose(twice @ weights, y, atol=1e-12)


def test_ill_conditioned_features_are_solved_without_squaring_the_condition():
    """Columns 1e-7 apart: the normal matrix, condition 1e14, would lose the weights."""
    random = np.random.default_rng(RANDOM)
    first, small = random.normal(size=(2, 50))
    x = np.column_stack([first, first + 1e-7 * small])
    known = np.array([1.0, 2.0])
    weights = ridge(Factor.of(x, x @ known), np.ones(2), np.array([0.0]))[:, 0]
    squared = np.linalg.solve(x.T @ x, x.T @ (x @ known))
    assert np.abs(weights - known).max() < 1e-7
    assert np.abs(squared - known).max() > 1e-5


def test_one_part_cannot_be_cross_validated():
    with pytest.raises(ValueError, match="at least 2 parts"):
        cross_validate([Factor.of(*rows())], np.ones(6), np.array([1.0]))
