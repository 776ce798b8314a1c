"""Every row of the table of operations inside torch.func and torch.compile.

What cannot be is listed with its reason, and a listed row that starts to work fails.
"""

import pytest
import torch
from torch.utils import _pytree

from nablatom import TensorMap, equal_raise, operations, requires_grad, tracing
from operation_rows import ROWS, operands

# No number of the result depends on the operands through the graph.
NO_GRAPH = {
    "detach": "it is made to leave the graph",
    "zeros_like": "zeros depend on nothing",
}
NOT_COMPILED = {
    "subtract, from a number": "numbers of NumPy are arrays to Dynamo: give it those of Python",
    "multiply, a number": "numbers of NumPy are arrays to Dynamo",
    "divide, by a number": "numbers of NumPy are arrays to Dynamo",
}


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
