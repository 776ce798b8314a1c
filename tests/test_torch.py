"""The nouns inside torch: pytrees, torch.func, torch.compile, second differentiation."""

import copy
import pickle

import numpy as np
import pytest

import nablatom
from maps import flat, tensor
from nablatom import Labels, TensorBlock, TensorMap

torch = pytest.importorskip("torch")
pytree = torch.utils._pytree


def leaves(x):
    return pytree.tree_leaves(x)


def small(seed=0, *, rows=0, names=((0, 0), (0, 1), (1, 0)), library="torch", share=0.6):
    """One block with the samples named; sizes do not depend on the names."""
    numbers = np.random.default_rng(seed)
    samples = Labels(["system", "atom"], np.array(names))
    n = Labels.range("n", 3)
    block = TensorBlock(numbers.uniform(0.5, 1.5, (len(samples), 3)), samples, [], n)
    pattern = np.random.default_rng(rows)
    every = np.array([(i, 0, a) for i in range(len(samples)) for a in range(2)])
    chosen = Labels(
        ["sample", "system", "atom"], every[pattern.permutation(len(every))[: len(every) // 2]]
    )
    xyz = Labels.range("xyz", 3)
    block.add_gradient(
        "positions", TensorBlock(numbers.normal(size=(len(chosen), 3, 3)), chosen, [xyz], n)
    )
    keys = Labels(["center_type", "neighbor_type"], [[1, 1], [1, 8]])
    return TensorMap(keys, [block, block.copy()]).to(arrays=library)


# -- pytrees ---------------------------------------------------------------------------


NOUNS = {
    "labels": lambda: Labels.range("n", 3),
    "block": lambda: flat(library="torch"),
    "block with second derivatives": lambda: flat(library="torch", nested=True),
    "map": lambda: tensor(library="torch"),
}


@pytest.mark.parametrize("name", NOUNS)
def test_nouns_are_pytrees(name):
    tensor(library="torch")  # the first block of tensors makes the nouns known to torch
    noun = NOUNS[name]()
    arrays, structure = pytree.tree_flatten(noun)
    again = pytree.tree_unflatten(arrays, structure)
    assert type(again) is type(noun)
    assert again == noun
    assert all(isinstance(x, torch.Tensor) for x in arrays)


def test_leaves_are_values_and_gradients_and_info_stays():
    a = tensor(library="torch")
    assert len(leaves(a)) == 3 * len(a)
    doubled = pytree.tree_map(lambda x: 2 * x, a)
    nablatom.equal_raise(doubled, nablatom.multiply(a, 2.0))
    assert doubled.info() == a.info()


def test_pytrees_with_different_labels_have_different_structures():
    structure = pytree.tree_structure
    a, same, b = small(), small(1), small(names=((0, 0), (0, 1), (2, 0)))
    assert structure(a) == structure(same)
    assert structure(a) != structure(b)


# -- torch.func ------------------------------------------------------------------------


def energy(a, b):
    """A number that values and gradients of both maps enter, through many operations."""
    product = nablatom.sum_over_samples((a * b).keys_to_properties("neighbor_type"), "atom")
    return sum((x**2).sum() for x in leaves(product))


def test_grad_of_a_map_is_a_map_of_gradients():
    a, b = small(0), small(1, rows=5)
    slopes = torch.func.grad(energy)(a, b)
    assert isinstance(slopes, TensorMap)
    step = 1e-5
    direction = pytree.tree_map(torch.randn_like, a)
    expected = (energy(a + step * direction, b) - energy(a - step * direction, b)) / (2 * step)
    found = sum((x * y).sum() for x, y in zip(leaves(slopes), leaves(direction), strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def test_vmap_over_maps():
    many = [small(seed) for seed in range(3)]
    stacked = pytree.tree_map(lambda *x: torch.stack(x), *many)
    weights = small(7, rows=5)
    batch = torch.func.vmap(lambda a: nablatom.sum_over_samples(a * weights, "atom"))(stacked)
    for i, a in enumerate(many):
        one = nablatom.sum_over_samples(a * weights, "atom")
        for x, y in zip(leaves(batch), leaves(one), strict=True):
            torch.testing.assert_close(x[i], y)


# -- torch.compile ---------------------------------------------------------------------

ATOM = Labels(["atom"], [[1]])
TOGETHER = {
    "arithmetic": lambda a, b: nablatom.abs(a) / b,
    "keys and samples": lambda a, b: nablatom.sum_over_samples(
        (a * b).keys_to_properties("neighbor_type"), "atom"
    ),
    "contraction": lambda a, b: nablatom.dot(nablatom.slice(a, "samples", ATOM), b),
    "joining": lambda a, b: nablatom.mean_over_samples(
        nablatom.join([a, b], "samples", add_dimension="which"), "atom"
    ),
}


@pytest.fixture
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("name", TOGETHER)
def test_compiled_equals_eager(name):
    function = TOGETHER[name]
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    a, b = small(1), small(2, rows=5)
    nablatom.allclose_raise(compiled(a, b), function(a, b))


@pytest.mark.usefixtures("_fresh")
def test_compiled_notices_other_labels_of_the_same_sizes():
    compiled = torch.compile(nablatom.join, fullgraph=True, backend="eager")
    for names in (((0, 0), (0, 1), (1, 0)), ((1, 1), (0, 1), (0, 0))):
        maps = [small(1, names=names), small(2, rows=5, names=names)]
        found = compiled(maps, "samples", add_dimension="which")
        nablatom.allclose_raise(found, nablatom.join(maps, "samples", add_dimension="which"))


@pytest.mark.usefixtures("_fresh")
def test_compiled_notices_other_gradient_samples():
    compiled = torch.compile(nablatom.multiply, fullgraph=True, backend="eager")
    for rows in (5, 6):
        a, b = small(1), small(2, rows=rows)
        nablatom.allclose_raise(compiled(a, b), nablatom.multiply(a, b))


@pytest.mark.usefixtures("_fresh")
def test_compiled_code_is_differentiable():
    compiled = torch.compile(energy, fullgraph=True, backend="aot_eager")
    slopes = []
    for function in (energy, compiled):
        a, b = small(1), small(2, rows=5)
        for x in leaves(a):
            x.requires_grad_()
        function(a, b).backward()
        slopes.append([x.grad for x in leaves(a)])
    torch.testing.assert_close(*slopes)


@pytest.mark.usefixtures("_fresh")
def test_same_labels_compile_once():
    counter = torch._dynamo.testing.CompileCounterWithBackend("eager")
    compiled = torch.compile(TOGETHER["keys and samples"], fullgraph=True, backend=counter)
    for seed in range(3):
        compiled(small(seed), small(seed + 10, rows=5))
    assert counter.frame_count == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own
@pytest.mark.usefixtures("_fresh")
def test_compiled_by_the_default_compiler():
    """Not only traced: generated, compiled and run."""
    function = nablatom.multiply
    a, b = small(1), small(2, rows=5)
    nablatom.allclose_raise(torch.compile(function, fullgraph=True)(a, b), function(a, b))


# -- differentiating again -------------------------------------------------------------

DIFFERENTIABLE = {
    **TOGETHER,
    "add": lambda a, b: nablatom.add(a, b),
    "multiply": lambda a, b: nablatom.multiply(a, b),
    "divide": lambda a, b: nablatom.divide(a, b),
    "pow": lambda a, b: nablatom.pow(a, 3),
    "abs": lambda a, b: nablatom.abs(a - b),
    "dot": lambda a, b: nablatom.dot(a, b),
    "mean_over_samples": lambda a, b: nablatom.mean_over_samples(a, "system"),
    "sort": lambda a, b: nablatom.sort(a),
    "join, along properties": lambda a, b: nablatom.join(
        [a, b], "properties", add_dimension="which"
    ),
    "keys_to_samples": lambda a, b: a.keys_to_samples("neighbor_type"),
    "divide, a number": lambda a, b: 2.0 / b,
    "pow, broken": lambda a, b: b**-1.5,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradcheck_through_stored_gradients(name):
    """With respect to values and gradients of both operands (weights are values of one)."""
    function = DIFFERENTIABLE[name]
    arrays, structure = pytree.tree_flatten((small(1), small(2, rows=5)))
    inputs = [x.requires_grad_() for x in arrays]

    def outputs(*x):
        return tuple(leaves(function(*pytree.tree_unflatten(list(x), structure))))

    assert torch.autograd.gradcheck(outputs, inputs, fast_mode=True)


# -- copies ----------------------------------------------------------------------------


def test_copies_keep_values_and_forget_nothing():
    a = tensor(library="torch", nested=True)
    for again in (copy.deepcopy(a), pickle.loads(pickle.dumps(a)), a.copy(), copy.copy(a)):
        nablatom.equal_raise(again, a)
        assert again.info() == a.info()


def test_a_deep_copy_stays_in_the_graph():
    block = flat(library="torch")
    block.values.requires_grad_()
    copied = block.copy()
    copied.values.sum().backward()
    assert (block.values.grad == 1).all()


def test_to_changes_dtype_and_library_of_everything():
    a = tensor(library="torch", nested=True)
    single = a.to(torch.float32)
    assert {x.dtype for x in leaves(single)} == {torch.float32}
    back = single.to(dtype=np.float64, arrays="numpy")
    nablatom.allclose_raise(back, a.to(arrays="numpy"), rtol=1e-6, atol=1e-6)
    assert isinstance(
        back.block_by_id(0).gradient("positions").gradient("strain").values, np.ndarray
    )
