"""Layers as steps of compiled graphs."""

import numpy as np
import pytest

import nablatom
from maps import KEYS, tensor

torch = pytest.importorskip("torch")
nn = pytest.importorskip("nablatom.nn")

N = 3
DOUBLE = torch.float64
# Every block is a second or two of tracing, and so is every gradient.
ONE, TWO = KEYS.take(np.array([0])), KEYS.take(np.array([0, 1]))
MODELS = {
    "Linear": lambda keys=TWO: nn.Linear(keys, N, 2, dtype=DOUBLE),
    "Tanh": lambda keys=TWO: nn.Tanh(keys),
    "LayerNorm": lambda keys=TWO: nn.LayerNorm(keys, N, dtype=DOUBLE),
    "ModuleMap": lambda keys=TWO: nn.ModuleMap.from_module(
        keys, torch.nn.Sequential(torch.nn.Linear(N, 4, dtype=DOUBLE), torch.nn.GELU())
    ),
    "Sequential": lambda keys=TWO: nn.Sequential(
        keys,
        nn.Linear(keys, N, 8, dtype=DOUBLE),
        nn.SiLU(keys),
        nn.Linear(keys, 8, 1, dtype=DOUBLE),
    ),
}


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def loss(model, x):
    """A number that values and gradients enter, through an operation after the model."""
    y = nablatom.sum_over_samples(model(x), "atom")
    return sum((a**2).sum() for a in torch.utils._pytree.tree_leaves(y))


@pytest.mark.parametrize("name", MODELS)
def test_compiled_equals_eager_and_trains_alike(name):
    keys = TWO if name == "Linear" else ONE
    model, x = MODELS[name](keys), tensor(library="torch", keys=keys, parameters=["positions"])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    nablatom.allclose_raise(compiled(x), model(x), rtol=1e-12, atol=1e-12)
    parameters = list(model.parameters())
    if parameters:
        step = torch.compile(loss, fullgraph=True, backend="aot_eager")
        eager, traced = (
            torch.autograd.grad(f(model, x), parameters, materialize_grads=True)
            for f in (loss, step)
        )
        torch.testing.assert_close(traced, eager)


def test_new_parameters_do_not_compile_again():
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    model, x = MODELS["Sequential"](), tensor(library="torch", keys=TWO)
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for _ in range(3):
        nablatom.allclose_raise(compiled(x), model(x), rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)
    assert counter.frame_count == 1


def test_a_copy_uses_its_own_parameters():
    from copy import deepcopy

    model, x = MODELS["Linear"](), tensor(library="torch", keys=TWO)
    other = deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    for each in (model, other):
        compiled = torch.compile(each, fullgraph=True, backend="aot_eager")
        nablatom.allclose_raise(compiled(x), each(x), rtol=1e-12, atol=1e-12)


def test_labels_are_found_when_equal_ones_are_gone():
    """Equal labels share a name in graphs; it must outlive the last of them that was made."""
    model = MODELS["Linear"]()
    kept = tensor(library="torch", keys=TWO)
    tensor(library="torch", keys=TWO)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    nablatom.allclose_raise(compiled(kept), model(kept), rtol=1e-12, atol=1e-12)
