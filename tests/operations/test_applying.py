"""``apply`` against operations with rules written by hand, closed forms and differences."""

import numpy as np
import pytest

from maps import COMPONENTS, flat, tensor
from nablatom import Labels, TensorBlock, arrays, operations
from nablatom.operations import allclose_raise, apply
from nablatom.testing import assert_gradients

torch = pytest.importorskip("torch")

ONE, TWO = Labels.single(), Labels.range("t", 2)
PARAMETERS = ("positions", "strain")


def like(x, numbers):
    return arrays.constant(np.asarray(numbers), x)


# The same by hand and by apply.
TWINS = {
    "add": (lambda a, b: a + b, lambda x, y: x + y),
    "multiply": (lambda a, b: a * b, lambda x, y: x * y),
    "divide": (lambda a, b: a / b, lambda x, y: x / y),
    "pow": (lambda a, b: a**-1.5, lambda x, y: x**-1.5),
    "abs": (lambda a, b: abs(a - b), lambda x, y: abs(x - y)),
    "number": (lambda a, b: 2 / a * b - 3, lambda x, y: 2 / x * y - 3),
    "first": (lambda a, b: a, lambda x, y: x),
}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [0, 2], ids="{} components".format)
@pytest.mark.parametrize("rows", [0, 5], ids=["same sparsity", "different sparsity"])
@pytest.mark.parametrize("name", TWINS)
def test_same_as_by_hand(name, rows, components, library):
    by_hand, function = TWINS[name]
    a = tensor(1, components=components, library=library)
    b = tensor(2, components=components, library=library, rows=rows)
    # the sparsity is that of both operands, whether the function needs them or not
    expected = by_hand(a, b) + 0 * b
    allclose_raise(apply(function, a, b), expected, rtol=1e-12, atol=1e-12)


def normalised(x):
    xp = arrays.namespace(x)
    return x / (1 + xp.sum(x * x, axis=-1, keepdims=True)) ** 0.5


def network(x):
    """Two layers of a small network."""
    w = np.random.default_rng(3).normal(size=(x.shape[-1], 5))
    hidden = arrays.namespace(x).tanh(x @ like(x, w) + 0.3)
    return hidden @ like(x, w[:2].T)


# Functions that change the axes, with the labels of the result.
AXES = {
    "same axes": (normalised, {}),
    "properties": (network, {"properties": TWO}),
    "fewer components": (
        lambda x: arrays.namespace(x).sum(x**3, axis=-2),
        {"components": COMPONENTS[:1]},
    ),
    "more components": (
        lambda x: x[..., None, :2] * x[..., :1, None] * like(x, [[1.0], [2.0], [3.0]]),
        {"components": [*COMPONENTS[:2], Labels.range("third", 3)], "properties": TWO},
    ),
    "one number": (
        lambda x: arrays.namespace(x).sum(x.reshape(len(x), -1) ** 2, axis=1)[:, None],
        {"components": [], "properties": ONE},
    ),
    "a constant": (lambda x: like(x, np.ones(x.shape)), {}),
}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize("name", AXES)
def test_functions_that_change_the_axes(name, parameter, library):
    function, labels = AXES[name]
    maps = tensor(1, components=2, library=library)
    assert_gradients(lambda a: apply(function, a, **labels), maps, parameter)
    for block, old in zip(apply(function, maps, **labels), maps, strict=True):
        assert block.components == labels.get("components", old.components)
        assert block.properties == labels.get("properties", old.properties)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_operands_of_different_shape(library):
    """Sparse in different places; only the samples have to agree."""
    a, b = tensor(1, components=2, library=library), tensor(2, rows=5, library=library)

    def function(x, y):
        xp = arrays.namespace(x)
        return xp.sum(x * xp.exp(y)[:, None, None, :], axis=1)

    for parameter in PARAMETERS:
        assert_gradients(
            lambda a, b: apply(function, a, b, components=COMPONENTS[1:2]), [a, b], parameter
        )


def test_functions_of_numpy():
    def function(x):
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        return np.einsum("imp,inp->imp", x, np.where(norm > 1, x / norm, np.sinc(x)))

    assert_gradients(lambda a: apply(function, a), tensor(1, components=1), "positions")


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_function_sees_the_documented_shape(library):
    shapes = set()

    def function(x, y):
        assert x.shape[0] == y.shape[0] > 0
        shapes.add((tuple(x.shape[1:]), tuple(y.shape[1:])))
        return x

    a, b = tensor(1, components=2, library=library), tensor(2, library=library, rows=5)
    apply(function, a, b)
    assert shapes == {((2, 3, 3), (3,))}


def test_large_blocks_go_in_pieces(monkeypatch):
    """Where the gradient rows are too many for one piece."""
    monkeypatch.setattr(arrays, "_PIECE", 1 << 18)
    numbers = np.random.default_rng(0)
    samples, n = Labels.range("atom", 300), Labels.range("n", 64)
    block = TensorBlock(numbers.normal(size=(300, 64)), samples, [], n)
    rows = Labels(["sample", "atom"], np.argwhere(np.ones((300, 10), int)))
    gradient = numbers.normal(size=(3000, 3, 64))
    block.add_gradient("positions", TensorBlock(gradient, rows, [Labels.range("xyz", 3)], n))
    sizes = []

    def function(x):
        sizes.append(len(x))
        return x**3

    allclose_raise(apply(function, block), operations.pow(block, 3), rtol=1e-13)
    assert len(sizes) > 5
    assert max(sizes[1:]) < 3000


def test_blocks_and_maps():
    a, b = tensor(1), tensor(2)
    result = apply(lambda x, y: x * y, a, b)
    assert result.info() == a.info()
    for x, y, z in zip(a, b, result, strict=True):
        operations.equal_raise(apply(lambda x, y: x * y, x, y), z)
    operations.allclose_raise(apply(lambda x: x * x, a), a * a)


def test_without_gradients_any_dtype_goes():
    block = flat(parameters=())
    assert apply(lambda x: x > 1, block).dtype == np.dtype(bool)


# -- torch -----------------------------------------------------------------------------


def rebuilt(block, values, *gradients):
    copy = TensorBlock(values, block.samples, block.components, block.properties)
    for (name, g), new in zip(block.gradients(), gradients, strict=True):
        copy.add_gradient(name, TensorBlock(new, g.samples, g.components, g.properties))
    return copy


def parts(block):
    return block.values, *[gradient.values for _, gradient in block.gradients()]


def test_backward_through_values_stored_gradients_and_weights():
    block = flat(1, library="torch", components=1)
    weights = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)

    def outputs(w, *leaves):
        def function(x):
            return torch.tanh(x @ w) ** 2

        return parts(apply(function, rebuilt(block, *leaves), properties=TWO))

    leaves = [leaf.clone().requires_grad_() for leaf in parts(block)]
    assert torch.autograd.gradcheck(outputs, (weights, *leaves))
    assert torch.autograd.gradgradcheck(outputs, (weights, *leaves))


def test_modules_are_functions():
    """A loss on stored gradients reaches the parameters of a network."""
    block = flat(1, library="torch")
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 1)
    ).double()
    assert_gradients(lambda a: apply(network, a, properties=ONE), block.copy(), "positions")
    forces = apply(network, block, properties=ONE).gradient("positions").values
    forces.square().sum().backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if name != "2.bias")


def test_transforms_of_torch():
    block = flat(1, library="torch")

    def loss(values):
        other = rebuilt(block, values, *parts(block)[1:])
        return apply(lambda x: torch.sin(x) * x, other).gradient("positions").values.sum()

    x = block.values
    slope = torch.func.grad(loss)(x)
    leaf = x.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(slope, leaf.grad)
    many = torch.stack([x, x + 0.1])
    torch.testing.assert_close(
        torch.func.vmap(loss)(many), torch.stack([loss(each) for each in many])
    )


def test_nothing_is_traced_where_tracing_is_disabled():
    """As the docstring says; the function may hold anything, which no graph can know."""
    block = flat(1, library="torch")
    eager = torch.compiler.disable(apply)

    def loss(block):
        return eager(torch.sin, operations.multiply(block, 2.0)).gradient("positions").values.sum()

    compiled = torch.compile(loss, backend="eager")
    torch.testing.assert_close(compiled(block), loss(block))


def test_no_warning_from_torch():
    """Its first forward derivative in a process warns about something of its own."""
    apply(torch.sin, flat(library="torch"))


# -- errors ----------------------------------------------------------------------------

ERRORS = {
    "no operand": (lambda a: apply(abs), TypeError, "at least one TensorMap"),
    "array": (lambda a: apply(abs, a.values), TypeError, "got ndarray; put constants into"),
    "number": (lambda a: apply(abs, a, 2.0), TypeError, "got float; put constants into"),
    "number returned": (lambda a: apply(lambda x: 1.0, a), TypeError, "ndarray, got float"),
    "list returned": (lambda a: apply(lambda x: [1.0], a), TypeError, "ndarray, got list"),
    "tensor returned": (lambda a: apply(lambda x: torch.ones(3, 3), a), TypeError, "got Tensor"),
    "integers": (lambda a: apply(lambda x: x.astype(int), a), TypeError, "numbers.*got int64"),
    "too few axes": (lambda a: apply(lambda x: x[:, 0], a), ValueError, "1 axes, but .* labels"),
    "properties": (
        lambda a: apply(lambda x: x[:, :2], a),
        ValueError,
        "2 entries along properties",
    ),
    "components": (
        lambda a: apply(lambda x: x[:, None], a, components=[TWO]),
        ValueError,
        "1 entries along component 0, but its labels have 2",
    ),
    "labels": (lambda a: apply(lambda x: x, a, properties=3), TypeError, "must be Labels, got int"),
    "rows": (lambda a: apply(lambda x: x[:1], a), ValueError, "1 entries along samples"),
    "sum over rows": (lambda a: apply(lambda x: x - x.mean(axis=0), a), ValueError, "by itself"),
    "one row": (
        lambda a: apply(lambda x: x.mean(axis=0, keepdims=True), one_row(a)),
        ValueError,
        "returned 1 rows for .* rows",
    ),
    "writing": (lambda a: apply(write, a), ValueError, "read-only"),
    "no rule": (
        lambda a: apply(lambda x: x - np.median(x, 1, keepdims=True), a),
        TypeError,
        r"np\.median is not known",
    ),
    "names": (
        lambda a: apply(lambda x: x[:, None], a, components=[Labels.range("xyz", 1)]),
        ValueError,
        "two components of the same name",
    ),
    "samples": (lambda a: apply(lambda x, y: x, a, one_row(a)), ValueError, "the same samples"),
    "parameters": (
        lambda a: apply(lambda x, y: x, a, operations.remove_gradients(a)),
        ValueError,
        "same gradients",
    ),
}


def one_row(block):
    return operations.slice(block, "samples", Labels(["system", "atom"], block.samples.values[:1]))


def write(x):
    x += 1
    return x


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call(flat())


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_errors_in_maps_name_the_block(library):
    with pytest.raises(ValueError, match="along properties") as error:
        apply(lambda x: x[:, :2], tensor(library=library))
    assert any("in the block with" in note for note in error.value.__notes__)
    assert any("properties=" in note for note in error.value.__notes__)
    with pytest.raises(ValueError, match="second derivatives"):
        apply(lambda x: x, tensor(library=library, nested=True))


def test_operands_are_not_changed():
    block = flat()
    before = block.copy()
    apply(lambda x: x * 2, block)
    operations.equal_raise(block, before)
    assert block.values.flags.writeable
