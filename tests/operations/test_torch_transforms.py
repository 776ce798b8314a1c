"""Every row of the table of operations inside torch.func and torch.compile.

What cannot be is listed with its reason, and a listed row that starts to work fails.
"""

import numpy as np
import pytest
import torch
from torch.utils import _pytree

from maps import KEYS
from nablatom import TensorMap, equal_raise, operations, requires_grad, tracing
from operation_rows import PARAMETERS, ROWS, operands

# No number of the result depends on the operands through the graph.
NO_GRAPH = {
    "detach": "it is made to leave the graph",
    "zeros_like": "zeros depend on nothing",
}
NUMPY = "what NumPy makes, numbers too, is traced as a tensor: give numbers of Python, or a tensor"
NOT_COMPILED = {
    "subtract, from a number": NUMPY,
    "multiply, a number": NUMPY,
    "divide, by a number": NUMPY,
    "maximum (curved)": NUMPY,
    "clip, from above (curved)": NUMPY,
    "matmul": NUMPY,
    "operators": NUMPY,
    "operators (curved)": NUMPY,
    "operators, @": "Dynamo has no rule for @ of what is no tensor: say dot",
    "operators, @ (curved)": "Dynamo has no rule for @ of what is no tensor: say dot",
    "apply (curved)": "a function is no plain value that a graph could be compiled for",
    "pca": "it looks at the numbers: make it outside, project inside",
    "pca, and back": "it looks at the numbers: make it outside, project inside",
}
# Variants of an operation, after a comma, take the same steps.
COMPILED = [name for name in ROWS if "," not in name and name not in NOT_COMPILED]
# The others need but one block, which is compiled in a second.
NEED_ALL_BLOCKS = {"expand_samples", "tensor_product (curved)"}


def leaves(*maps):
    """All arrays, values and gradients."""
    return [x for x in _pytree.tree_leaves(maps) if isinstance(x, torch.Tensor)]


def loss(row):
    return lambda *maps: sum((x**2).sum() for x in leaves(row(*maps)))


@pytest.mark.parametrize("name", [name for name in ROWS if name not in NO_GRAPH])
def test_func_grad_equals_autograd(name):
    maps = operands(ROWS[name], library="torch")
    recorded = [requires_grad(x) for x in maps]
    expected = torch.autograd.grad(
        loss(ROWS[name])(*recorded), leaves(*recorded), materialize_grads=True
    )
    slopes = torch.func.grad(loss(ROWS[name]), argnums=tuple(range(len(maps))))(*maps)
    assert any(x.any() for x in expected)
    for mine, other in zip(leaves(*slopes), expected, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("name", NO_GRAPH)
def test_what_leaves_the_graph(name):
    maps = [requires_grad(x) for x in operands(ROWS[name], library="torch")]
    assert not any(x.requires_grad for x in leaves(ROWS[name](*maps)))


@pytest.mark.parametrize("name", ROWS)
def test_vmap_equals_one_after_the_other(name):
    row, maps = ROWS[name], operands(ROWS[name], library="torch")
    further = [_pytree.tree_map_only(torch.Tensor, lambda x: 1.5 * x, x) for x in maps]
    both = [
        _pytree.tree_map_only(torch.Tensor, lambda x: torch.stack([x, 1.5 * x]), x) for x in maps
    ]
    batch = torch.func.vmap(lambda *maps: leaves(row(*maps)))(*both)
    for i, one in enumerate((maps, further)):
        for mine, other in zip(batch, leaves(row(*one)), strict=True):
            torch.testing.assert_close(mine[i], other)


@pytest.mark.parametrize("name", ROWS)
def test_steps_of_a_graph_can_be_described(name, monkeypatch):
    """What a traced operation does, without Dynamo: plain text in, plain text and tensors out."""
    row, maps = ROWS[name], operands(ROWS[name], library="torch")
    expected = row(*maps)
    monkeypatch.setattr(tracing, "_is_compiling", lambda: True)
    result = row(*maps)
    monkeypatch.undo()
    operations.allclose_raise(result, expected)
    equal_raise(TensorMap(result.keys, result.blocks()), result)


@pytest.fixture
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def few_blocks(name):
    options = {} if name in NEED_ALL_BLOCKS else {"keys": KEYS.take(np.array([0]))}
    parameters = PARAMETERS if name == "remove_gradients" else PARAMETERS[:1]
    return operands(ROWS[name], library="torch", components=0, parameters=parameters, **options)


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_equals_eager(name):
    maps = few_blocks(name)
    compiled = torch.compile(ROWS[name], fullgraph=True, backend="eager")
    operations.allclose_raise(compiled(*maps), ROWS[name](*maps))


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("name", NOT_COMPILED)
def test_what_is_not_compiled(name):
    """If this fails, the row can be taken off the list."""
    compiled = torch.compile(ROWS[name], fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        compiled(*few_blocks(name))
