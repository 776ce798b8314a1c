"""Values of the functions beside NumPy's and torch's, and what happens at their corners."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from maps import tensor
from nablatom import Labels, TensorBlock, operations
from nablatom.operations import clip, maximum, norm, relu, silu, sqrt

X = np.array([[-800.0, -3.0, -0.5, 0.0, 0.5, 3.0, 30.0]])
REFERENCES = {
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * expit(x),
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
ACTIVATIONS = {
    "relu": torch.nn.functional.relu,
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "maximum": lambda x: torch.where(x > 0.5, x, 0.5),
    "clip": lambda x: torch.nn.functional.hardtanh(x, -0.5, 0.5),
}
BOUNDS = {"maximum": (0.5,), "clip": (-0.5, 0.5)}


def row(values, *, library="numpy", slope=True):
    """One sample, whose every entry moves along with a parameter of its own."""
    values = np.asarray(values, float)
    block = TensorBlock(values, Labels.single(), [], Labels.range("n", values.shape[1]))
    if slope:
        one = TensorBlock(np.ones_like(values), Labels.range("sample", 1), [], block.properties)
        block.add_gradient("x", one)
    return block.to(arrays=library)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", REFERENCES)
def test_values(name, library):
    x = np.abs(X[:, 1:]) + 0.1 if name in ("log", "sqrt") else X
    result = getattr(operations, name)(row(x, library=library)).to(arrays="numpy")
    np.testing.assert_allclose(result.values, REFERENCES[name](x), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_those_of_torch_also_at_corners_and_far_away(name, library):
    x = torch.tensor(X, requires_grad=True)
    y = ACTIVATIONS[name](x)
    y.sum().backward()
    result = getattr(operations, name)(row(X, library=library), *BOUNDS.get(name, ()))
    result = result.to(arrays="numpy")
    np.testing.assert_allclose(result.values, y.detach(), rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(result.gradient("x").values, x.grad, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("name", ["relu", "silu", "maximum", "clip"])
def test_autograd_agrees_with_stored_gradients(name):
    block = row(X, library="torch")
    leaf = block.values.requires_grad_()
    result = getattr(operations, name)(block, *BOUNDS.get(name, ()))
    (slope,) = torch.autograd.grad(result.values.sum(), leaf)
    torch.testing.assert_close(slope, result.gradient("x").values.detach())


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_nan_is_not_hidden(library):
    block = row([[np.nan]], library=library, slope=False)
    for result in (relu(block), maximum(block, 1), clip(block, 0, 1), silu(block)):
        assert np.isnan(result.to(arrays="numpy").values).all()


def test_bounds_are_checked():
    block = row(X)
    with pytest.raises(TypeError, match="bound of maximum must be a real number, got TensorBlock"):
        maximum(block, block)
    with pytest.raises(TypeError, match="upper bound of clip must be a real number, got str"):
        clip(block, high="1")
    with pytest.raises(ValueError, match="in order, got low=2 and high=1"):
        clip(block, 2, 1)
    with pytest.raises(ValueError, match="a lower bound, an upper bound or both"):
        clip(block)


# -- norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_norm_is_that_of_numpy(library):
    a = tensor(components=2, library=library).block_by_id(0)
    for names, axes in (("o3_mu", (1,)), ("side", (2,)), (["side", "o3_mu"], (1, 2)), (None, ())):
        result = norm(a, names).to(arrays="numpy")
        expected = np.sqrt((a.to(arrays="numpy").values ** 2).sum(axis=axes or (1, 2)))
        np.testing.assert_allclose(result.values, expected, rtol=1e-14)
        left = {"o3_mu", "side"} - set([names] if isinstance(names, str) else names or a_names(a))
        assert a_names(result) == sorted(left)


def a_names(block):
    return [component.names[0] for component in block.components]


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_norm_of_zero_has_zero_gradients(library):
    block = TensorBlock(np.zeros((1, 3, 2)), Labels.single(), [XYZ], Labels.range("n", 2))
    ones = np.ones((1, 3, 2))
    ones = TensorBlock(ones, Labels.range("sample", 1), [XYZ], block.properties)
    block.add_gradient("x", ones)
    result = norm(block.to(arrays=library)).to(arrays="numpy")
    assert not result.values.any()
    assert not result.gradient("x").values.any()


def test_autograd_of_norm_is_finite_at_zero_in_second_order_too():
    x = torch.zeros((1, 3, 2), dtype=torch.float64, requires_grad=True)
    block = TensorBlock(x, Labels.single(), [XYZ], Labels.range("n", 2))
    (first,) = torch.autograd.grad(norm(block).values.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert not first.any()
    assert second.isfinite().all()


XYZ = Labels.range("xyz", 3)


def test_norm_names_what_is_there():
    with pytest.raises(ValueError, match=r"no component 'xyz' .* they are \['o3_mu', 'side'\]"):
        norm(tensor(components=2), "xyz")
    with pytest.raises(ValueError, match="over components, and these blocks have none"):
        norm(tensor())


def test_square_root_of_zero_says_so():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert np.isinf(sqrt(row([[0.0]])).gradient("x").values).all()
