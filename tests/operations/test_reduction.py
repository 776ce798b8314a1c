"""Reductions against NumPy's own; their gradients are rows of test_gradients.py."""

import numpy as np
import pytest
import torch

from maps import flat, tensor
from nablatom import Labels, TensorBlock, operations

SAMPLES = Labels(["system", "atom"], [[1, 0], [0, 0], [1, 1], [0, 3], [0, 1]])
PROPERTIES = Labels(["l", "n"], [[0, 1], [1, 0], [0, 0], [1, 1]])
FUNCTIONS = {
    "sum": lambda x, w: (w[:, None] * x).sum(axis=0),
    "mean": lambda x, w: np.average(x, axis=0, weights=w),
    "var": lambda x, w: np.average((x - np.average(x, axis=0, weights=w)) ** 2, axis=0, weights=w),
}
FUNCTIONS["std"] = lambda x, w: FUNCTIONS["var"](x, w) ** 0.5


def block(seed=0):
    values = np.random.default_rng(seed).normal(size=(5, 2, 4))
    return TensorBlock(values, SAMPLES, [Labels.range("m", 2)], PROPERTIES)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_over_samples(name, weighted, library):
    x = block()
    weights = np.array([0.5, 2.0, 1.0, 0.0, 3.0]) if weighted else np.ones(5)
    given = {"weights": weights} if weighted else {}
    result = getattr(operations, f"{name}_over_samples")(x.to(arrays=library), "atom", **given)
    assert result.samples == Labels(["system"], [[0], [1]])
    for k, rows in enumerate(([1, 3, 4], [0, 2])):
        expected = FUNCTIONS[name](x.values[rows].reshape(len(rows), -1), weights[rows])
        np.testing.assert_allclose(np.asarray(result.values[k]).reshape(-1), expected, rtol=1e-14)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_over_properties(name, weighted, library):
    x = block()
    weights = np.array([0.5, 2.0, 1.0, 0.0]) if weighted else np.ones(4)
    given = {"weights": weights} if weighted else {}
    result = getattr(operations, f"{name}_over_properties")(x.to(arrays=library), "n", **given)
    assert result.properties == Labels(["l"], [[0], [1]])
    assert result.components == x.components
    for q, columns in enumerate(([0, 2], [1, 3])):
        picked = np.moveaxis(x.values[..., columns], -1, 0).reshape(len(columns), -1)
        expected = FUNCTIONS[name](picked, weights[columns])
        actual = np.asarray(result.values[..., q]).reshape(-1)
        np.testing.assert_allclose(actual, expected, rtol=1e-14)


def test_many_rows_of_many_properties():
    """The way of large arrays, in pieces, is that of small ones."""
    values = np.random.default_rng(0).normal(size=(30_000, 12))
    labels = Labels(["l", "n"], [(n % 3, n) for n in range(12)])
    x = TensorBlock(values, Labels.range("atom", len(values)), [], labels)
    result = operations.sum_over_properties(x, "n").values
    for q in range(3):
        np.testing.assert_allclose(
            result[:, q], values[:, q::3].sum(axis=1), rtol=1e-12, atol=1e-14
        )


def test_one_infinite_property_does_not_spoil_the_others():
    x = TensorBlock(np.array([[1.0, 2.0, np.inf, 3.0]]), Labels.range("atom", 1), [], PROPERTIES)
    result = operations.sum_over_properties(x, "n")
    np.testing.assert_array_equal(result.values, [[np.inf, 5.0]])


def test_weights_of_each_block_of_a_map():
    """Labelled weights go with the keys, whatever their order."""
    x, w = tensor(1, components=2), operations.slice(tensor(2, parameters=()), "properties", [0])
    shuffled = operations.sort(w, "keys", descending=True)
    result = operations.mean_over_samples(x, "atom", weights=shuffled)
    for i, (one, weight) in enumerate(zip(x, w, strict=True)):
        alone = operations.mean_over_samples(one, "atom", weights=weight.values[:, 0])
        operations.allclose_raise(result.block_by_id(i), alone, atol=1e-14)


def test_groups_are_the_same_as_a_dimension_of_the_samples():
    groups = Labels(["atom", "kind"], [[0, 5], [1, 4], [3, 4], [9, 9]])
    result = operations.sum_over_samples(block(), ["atom", "system"], groups=groups)
    assert result.samples == Labels(["kind"], [[4], [5]])
    by_hand = [block().values[[2, 3, 4]].sum(axis=0), block().values[[0, 1]].sum(axis=0)]
    np.testing.assert_allclose(result.values, by_hand, rtol=1e-14)


def test_integers_are_averaged_as_numbers():
    x = TensorBlock(np.array([[1], [2]]), Labels.range("atom", 2), [], Labels.single())
    assert operations.mean_over_samples(x, "atom").values == 1.5
    assert operations.sum_over_samples(x, "atom").values.dtype == x.dtype


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("axis", ["samples", "properties"])
def test_nothing_sums_and_averages_to_zero(name, axis):
    lengths = {"samples": (0, 3), "properties": (3, 0)}[axis]
    for weights in (None, np.ones(0)):
        x = TensorBlock(
            np.ones(lengths), Labels.range("a", lengths[0]), [], Labels.range("b", lengths[1])
        )
        reduce = getattr(operations, f"{name}_over_{axis}")
        result = reduce(x, "a" if axis == "samples" else "b", weights=weights)
        np.testing.assert_array_equal(result.values, np.zeros((1, 3) if lengths[1] else (3, 1)))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_deviation_of_zero_has_a_gradient_of_zero(library):
    x = flat(1, parameters=("positions",)).to(arrays=library)
    alone = operations.std_over_samples(operations.slice(x, "samples", [1]), "atom")
    assert (alone.values == 0).all()
    assert (alone.gradient("positions").values == 0).all()


def test_a_deviation_of_zero_does_not_poison_autograd():
    x = flat(1, parameters=()).to(arrays="torch")
    values = x.values.clone().requires_grad_()
    live = TensorBlock(values, x.samples, [], x.properties)
    operations.std_over_samples(
        operations.slice(live, "samples", [1]), "atom"
    ).values.sum().backward()
    assert (values.grad == 0).all()


@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_autograd_goes_through_values_gradients_and_weights(name):
    x, w = flat(1).to(arrays="torch"), flat(2).to(arrays="torch")
    w = operations.slice(w, "properties", [0])
    reduce = getattr(operations, f"{name}_over_samples")

    def numbers(values, slopes, weights):
        live = TensorBlock(values, x.samples, [], x.properties)
        old = x.gradient("positions")
        live.add_gradient(
            "positions", TensorBlock(slopes, old.samples, old.components, x.properties)
        )
        heavy = TensorBlock(weights, w.samples, [], w.properties)
        result = reduce(live, "system", weights=heavy)
        return result.values, result.gradient("positions").values

    parts = (x.values, x.gradient("positions").values, w.values)
    assert torch.autograd.gradcheck(numbers, [part.clone().requires_grad_() for part in parts])


WRONG = {
    "a dimension": (lambda x: operations.sum_over_samples(x, "molecule"), "no sample dimension"),
    "a property": (lambda x: operations.sum_over_properties(x, "q"), "no property dimension"),
    "too few": (lambda x: operations.mean_over_samples(x, "atom", weights=[1, 2]), r"shape \(5,\)"),
    "a block": (lambda x: operations.sum_over_samples(x, "atom", weights=x), "one property"),
    "a column": (
        lambda x: operations.sum_over_properties(x, "n", weights=block()),
        "one sample",
    ),
    "a group": (
        lambda x: operations.sum_over_samples(x, "atom", groups=Labels(["atom", "a"], [[0, 0]])),
        r"do not have \(atom=1\)",
    ),
    "two groups": (
        lambda x: operations.sum_over_samples(
            x, "atom", groups=Labels(["atom", "a"], [[0, 0], [0, 1]])
        ),
        r"one row for each \['atom'\], got several for \(atom=0\)",
    ),
    "no new dimension": (
        lambda x: operations.sum_over_samples(x, "atom", groups=Labels(["atom"], [[0]])),
        "others beside them",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name):
    function, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        function(block())


def test_weights_of_properties_cannot_move():
    w = operations.slice(flat(2), "samples", [0])
    with pytest.raises(ValueError, match="use dot"):
        operations.mean_over_properties(flat(1), "n", weights=w)


def test_integers_cannot_be_weighted():
    x = TensorBlock(np.array([[1], [2]]), Labels.range("atom", 2), [], Labels.single())
    with pytest.raises(TypeError, match="int64"):
        operations.sum_over_samples(x, "atom", weights=[0.5, 0.5])
