"""Matrices and weights of linear models: beside NumPy on stacked rows, and beside the peer."""

import numpy as np
import pytest
import torch

from maps import tensor
from nablatom import Labels, TensorBlock, TensorMap, operations
from nablatom.operations import dot, lstsq, matmul, remove_gradients, ridge, solve

ENERGY = Labels("energy", [[0], [1]])


def problem(*, library="numpy", components=0, samples=8, features=3, noise=0.1, rows=(0, 0)):
    """Features, and what depends on them linearly but for some noise; and the exact weights."""
    numbers = np.random.default_rng(1)
    exact = numbers.normal(size=(2, features))
    n = Labels.range("n", features)
    axes = [Labels.range("m", 2)][:components]
    shape = (samples, *map(len, axes))
    x = TensorBlock(
        numbers.normal(size=(*shape, features)), Labels.range("system", samples), axes, n
    )
    y = TensorBlock(x.values @ exact.T, x.samples, axes, ENERGY)
    y.values[...] += noise * numbers.normal(size=y.shape)
    for block, seed in zip((x, y), rows, strict=True):
        kept = np.random.default_rng(seed).permutation(2 * samples)[: samples + 2]
        labels = Labels(["sample", "atom"], np.stack([kept // 2, kept % 2], axis=1))
        own = [Labels.range("xyz", 3), *axes]
        shape = (len(kept), *map(len, own), len(block.properties))
        gradient = numbers.normal(size=shape)
        block.add_gradient("positions", TensorBlock(gradient, labels, own, block.properties))
    return x.to(arrays=library), y.to(arrays=library), exact


def stacked(block, like, weights=(1, 1)):
    """The rows of the problem, one kind after the other."""
    block = block.to(arrays="numpy")
    gradient, rows = block.gradient("positions"), like.to(arrays="numpy")
    entries = sorted({tuple(e) for g in (gradient, rows.gradient("positions")) for e in g.samples})
    dense = np.zeros((len(entries), *gradient.shape[1:]))
    dense[[entries.index(tuple(e)) for e in gradient.samples]] = gradient.values
    parts = [x.reshape(-1, block.shape[-1]) for x in (block.values, dense)]
    return np.concatenate([w**0.5 * part for w, part in zip(weights, parts, strict=True)])


# -- matmul -----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_matmul_takes_arrays_of_any_library_blocks_and_maps(library):
    a = tensor(1, components=2, library=library)
    matrix = np.arange(12.0).reshape(3, 4)
    columns = Labels.range("k", 4)
    expected = a.block_by_id(0).to(arrays="numpy").values @ matrix
    block = TensorBlock(matrix, a.block_by_id(0).properties, [], columns).to(arrays=library)
    every = TensorMap(a.keys, [block] * len(a))
    for operand in (matrix, block.values, block, every):
        result = matmul(a, operand)
        np.testing.assert_allclose(result.block_by_id(0).to(arrays="numpy").values, expected)
    assert matmul(a, block).property_names == ["k"]
    assert matmul(a, matrix).property_names == ["property"]
    assert matmul(a, matrix, properties=columns).block_by_id(2).properties is columns
    operations.allclose_raise(matmul(a, block), dot(a, TensorMap(a.keys, [turned(block)] * 4)))


def turned(block):
    return TensorBlock(block.values.T, block.properties, [], block.samples)


def test_matmul_in_a_graph():
    matrix = torch.ones((3, 1), dtype=torch.float64, requires_grad=True)
    a = tensor(1, library="torch").block_by_id(0)
    matmul(a, matrix).values.sum().backward()
    torch.testing.assert_close(matrix.grad[:, 0], a.values.sum(0))


def test_matrices_that_do_not_fit():
    a = tensor(1)
    with pytest.raises(TypeError, match="array, a TensorBlock or a TensorMap, got list"):
        matmul(a, [[1.0]])
    with pytest.raises(ValueError, match=r"must have 3 rows, .* got the shape \(2, 2\)"):
        matmul(a, np.eye(2))
    with pytest.raises(ValueError, match="has 3 columns, but properties are"):
        matmul(a, np.eye(3), properties=Labels.range("k", 2))
    with pytest.raises(ValueError, match="samples of the matrix must be the properties"):
        matmul(a, remove_gradients(a))
    with pytest.raises(ValueError, match="is a constant, but has gradients"):
        matmul(a, a)
    with pytest.raises(ValueError, match="brings the labels of its columns"):
        matmul(a, remove_gradients(a), properties=Labels.range("k", 3))
    with pytest.raises(ValueError, match="has no components"):
        matmul(a, remove_gradients(tensor(components=1)))


# -- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [0, 1])
@pytest.mark.parametrize("rows", [(0, 0), (0, 1)], ids=["same rows", "different rows"])
def test_lstsq_solves_the_stacked_problem(library, components, rows):
    x, y, _ = problem(library=library, components=components, rows=rows)
    w = lstsq(x, y).to(arrays="numpy")
    expected = np.linalg.lstsq(stacked(x, y), stacked(y, x))[0].T
    np.testing.assert_allclose(w.values, expected, rtol=1e-10)
    assert (w.samples, w.properties, w.gradients_list()) == (y.properties, x.properties, [])


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_exact_weights_are_found(library):
    x, y, exact = problem(library=library, noise=0)
    x, y = remove_gradients(x), remove_gradients(y)
    for w in (lstsq(x, y), ridge(x, y, 0.0), ridge(x, y, 1e-20)):
        np.testing.assert_allclose(w.to(arrays="numpy").values, exact, rtol=1e-9)
        operations.allclose_raise(dot(x, w), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_of_several_weights_the_least(library):
    """More features than rows: NumPy and torch both give the solution of least norm."""
    x, y, _ = problem(library=library, samples=2, features=6)
    x, y = remove_gradients(x), remove_gradients(y)
    expected = (np.linalg.pinv(x.to(arrays="numpy").values) @ y.to(arrays="numpy").values).T
    for w in (lstsq(x, y), lstsq(x, y, rcond=1e-12), ridge(x, y, 0)):
        np.testing.assert_allclose(w.to(arrays="numpy").values, expected, rtol=1e-9)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("weights", [(1, 1), (2, 0.1), (1, 0), (0, 1)])
def test_ridge_solves_the_normal_equations(library, weights):
    x, y, _ = problem(library=library, components=1)
    w = ridge(x, y, 0.3, weights=dict(zip(("values", "positions"), weights, strict=True)))
    a, b = stacked(x, y, weights), stacked(y, x, weights)
    expected = np.linalg.solve(a.T @ a + 0.3 * np.eye(3), a.T @ b).T
    np.testing.assert_allclose(w.to(arrays="numpy").values, expected, rtol=1e-10)


def test_weights_of_whole_maps():
    a, b = tensor(1), tensor(2, rows=5)
    w = ridge(a, b, 1e-3)
    for key, block in w.items():
        x, y = a.block(key), b.block(key)
        assert block == ridge(x, y, 1e-3)
    assert w.info() == a.info()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_nothing_to_learn_from(library):
    """No rows: all weights are as good, and zero is the least of them."""
    x, y, _ = problem(library=library)
    x, y = (operations.slice(t, "samples", []) for t in (x, y))
    for w in (lstsq(x, y), ridge(x, y, 0.0), ridge(x, y, 1.0)):
        np.testing.assert_array_equal(w.to(arrays="numpy").values, np.zeros((2, 3)))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_solve(library):
    x, y, _ = problem(library=library, samples=3)
    x, y = remove_gradients(x), remove_gradients(y)
    w = solve(x, y)
    operations.allclose_raise(dot(x, w), y, rtol=1e-9)
    assert (w.samples, w.properties) == (y.properties, x.properties)


@pytest.mark.parametrize("operation", [lstsq, solve, lambda x, y: ridge(x, y, 0.1)])
def test_weights_in_a_graph(operation):
    """Autograd through the solution, against finite differences."""
    x, y, _ = problem(library="torch", samples=3)

    def function(values):
        block = TensorBlock(values, x.samples, [], x.properties)
        return operation(block, remove_gradients(y)).values

    assert torch.autograd.gradcheck(function, x.values.clone().requires_grad_())


def test_errors():
    x, y, _ = problem()
    other = operations.slice(y, "samples", [1, 0, 2])
    for operation in (lstsq, solve):
        with pytest.raises(ValueError, match="X and Y must have the same samples"):
            operation(x, other)
    with pytest.raises(ValueError, match="blocks must have the same gradients"):
        lstsq(x, remove_gradients(y))
    with pytest.raises(ValueError, match="further rows of the problem: use lstsq"):
        solve(x, y)
    with pytest.raises(ValueError, match=r"takes square matrices, got \(8, 3\); use lstsq"):
        solve(remove_gradients(x), remove_gradients(y))
    with pytest.raises(ValueError, match="regularisation must not be negative, got -1"):
        ridge(x, y, -1)
    with pytest.raises(ValueError, match=r"'forces' to weigh: there are \['values', 'positions'\]"):
        ridge(x, y, 1, weights={"forces": 1})
    with pytest.raises(ValueError, match="weight of values must not be negative"):
        ridge(x, y, 1, weights={"values": -1})
    nested = tensor(nested=True)
    with pytest.raises(ValueError, match="has gradients of its own, which are not rows"):
        lstsq(nested, nested)


@pytest.mark.parametrize("components", [0, 1])
def test_as_the_peer(components):
    """Where both operands have the same gradient rows, which the peer asks for."""
    pytest.importorskip("metatensor.operations")
    from peer import here, metatensor, there

    x, y, _ = problem(components=components)
    maps = [TensorMap(Labels.single(), [block]) for block in (x, y)]
    operations.allclose_raise(
        lstsq(*maps, rcond=1e-13),
        here(metatensor.lstsq(*map(there, maps), rcond=1e-13)),
        rtol=1e-10,
    )
    square = [operations.slice(remove_gradients(t), "samples", [0, 1, 2]) for t in maps]
    if not components:
        operations.allclose_raise(
            solve(*square), here(metatensor.solve(*map(there, square))), rtol=1e-10
        )
