"""The checks of nablatom.testing pass what is right and fail what is wrong."""

import numpy as np
import pytest

from maps import flat, tensor
from nablatom import Labels, TensorBlock, multiply, remove_gradients
from nablatom.testing import assert_derivatives, assert_gradients


def spoiled(block, change):
    """The block with another positions gradient."""
    gradients = dict(block.gradients())
    gradients["positions"] = change(gradients["positions"])
    parts = (block.values, block.samples, block.components, block.properties)
    return TensorBlock.unchecked(*parts, gradients)


def off_by_one_entry(gradient):
    values = gradient.values.copy()
    values[-1, 2, 0] += 1e-4
    return TensorBlock(values, gradient.samples, gradient.components, gradient.properties)


def without_the_last_row(gradient):
    samples = gradient.samples.take(np.arange(len(gradient) - 1))
    return TensorBlock(gradient.values[:-1], samples, gradient.components, gradient.properties)


def with_another_atom(gradient):
    samples = Labels(gradient.samples.names, np.add(gradient.samples.values, [0, 0, 7]))
    return TensorBlock(gradient.values, samples, gradient.components, gradient.properties)


WRONG = {
    "an entry is off": (off_by_one_entry, "stored .*, finite differences"),
    "a row is missing": (without_the_last_row, "stored 0, finite differences"),
    "it names another atom": (with_another_atom, "which nothing depends on"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_fails(name):
    change, message = WRONG[name]
    block = flat()
    assert_gradients(lambda x: multiply(x, x), block, "positions")
    with pytest.raises(AssertionError, match=message):
        assert_gradients(lambda x: spoiled(multiply(x, x), change), block, "positions")


def test_a_lost_gradient_fails():
    with pytest.raises(AssertionError, match="the result has no gradient 'positions'"):
        assert_gradients(remove_gradients, tensor(), "positions")


def test_the_message_names_the_place():
    with pytest.raises(AssertionError, match=r"'positions' \(system=., atom=.\) along \[2\] at \("):
        assert_gradients(lambda x: spoiled(x, off_by_one_entry), flat(), "positions")


def test_a_wrong_second_derivative_fails():
    def wrong(block):
        return spoiled(block, lambda g: spoiled(g, lambda h: multiply(h, 1.001)))

    with pytest.raises(AssertionError, match="of the gradient 'positions'"):
        assert_gradients(wrong, flat(nested=True), "positions")


def test_nothing_to_check_is_a_failure():
    with pytest.raises(AssertionError, match="nothing to check"):
        assert_gradients(lambda x: x, tensor(), "cell")
    with pytest.raises(AssertionError, match="nothing to check"):
        assert_derivatives(lambda x: flat(), np.zeros((1, 1, 3)), "cell")


def distances(positions):
    """All pair distances of two systems, with gradients for both atoms."""
    every = [(s, i, j) for s, system in enumerate(positions) for i in range(2) for j in range(2, 3)]
    samples = Labels(["system", "first", "second"], every)
    block = TensorBlock(np.zeros((len(every), 1)), samples, [], Labels.single())
    rows, slopes = [], []
    for k, (s, i, j) in enumerate(every):
        vector = positions[s, j] - positions[s, i]
        block.values[k] = np.linalg.norm(vector)
        for atom, sign in ((i, -1), (j, 1)):
            rows.append((k, s, atom))
            slopes.append(sign * vector / block.values[k])
    gradient = TensorBlock(
        np.array(slopes)[:, :, None],
        Labels(["sample", "system", "atom"], rows),
        [Labels.range("xyz", 3)],
        block.properties,
    )
    block.add_gradient("positions", gradient)
    return block


def test_derivatives_of_positions():
    positions = np.random.default_rng(0).normal(size=(2, 3, 3))
    assert_derivatives(distances, positions, "positions")
    assert_derivatives(lambda x: multiply(distances(x), distances(x)), positions, "positions")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives_fail(name):
    change, message = WRONG[name]
    positions = np.random.default_rng(0).normal(size=(2, 3, 3))
    with pytest.raises(AssertionError, match=message):
        assert_derivatives(lambda x: spoiled(distances(x), change), positions, "positions")
