"""Layers beside metatensor-learn's, on values: it has no gradients through most of them."""

import pytest

import nablatom
from maps import KEYS, tensor
from nablatom import Labels, TensorBlock, TensorMap
from spherical import KEYS as O3
from spherical import spherical

torch = pytest.importorskip("torch")
nn = pytest.importorskip("nablatom.nn")
metatensor = pytest.importorskip("metatensor")
learn = pytest.importorskip("metatensor.learn.nn")

from peer import labels_here, labels_there  # noqa: E402

DOUBLE = torch.float64


def there(x):
    """The map over there; values are shared."""
    blocks = [
        metatensor.TensorBlock(
            b.values,
            labels_there(b.samples),
            [labels_there(c) for c in b.components],
            labels_there(b.properties),
        )
        for b in x
    ]
    return metatensor.TensorMap(labels_there(x.keys), blocks)


def here(x):
    blocks = [
        TensorBlock(
            b.values,
            labels_here(b.samples),
            [labels_here(c) for c in b.components],
            labels_here(b.properties),
        )
        for b in x.blocks()
    ]
    return TensorMap(labels_here(x.keys), blocks)


# What stands between kits: keys of this kit, and a function for its labels.
ROWS = {
    "Linear": lambda kit, keys, _: kit.Linear(keys, 3, 4, dtype=DOUBLE),
    "Linear, one for each": lambda kit, keys, _: kit.Linear(
        keys, [3] * 4, [1, 2, 3, 4], bias=[True, False] * 2, dtype=DOUBLE
    ),
    "Linear, named": lambda kit, keys, labels: kit.Linear(
        keys, 3, out_properties=[labels(Labels("e", [[4], [2]]))] * 4, dtype=DOUBLE
    ),
    "ReLU": lambda kit, keys, _: kit.ReLU(keys),
    "SiLU": lambda kit, keys, _: kit.SiLU(keys),
    "Tanh": lambda kit, keys, labels: kit.Tanh(keys, [labels(Labels.range("n", 3))] * 4),
    "LayerNorm": lambda kit, keys, _: kit.LayerNorm(keys, 3, dtype=DOUBLE),
    "LayerNorm, options": lambda kit, keys, _: kit.LayerNorm(
        keys, [3] * 4, eps=0.1, mean=[True, False] * 2, bias=False, dtype=DOUBLE
    ),
    "LayerNorm, bare": lambda kit, keys, _: kit.LayerNorm(
        keys, 3, elementwise_affine=False, dtype=DOUBLE
    ),
    "ModuleMap": lambda kit, keys, _: kit.ModuleMap(
        keys, [torch.nn.Linear(3, i + 1, dtype=DOUBLE) for i in range(4)]
    ),
    "ModuleMap, of one": lambda kit, keys, _: kit.ModuleMap.from_module(keys, torch.nn.Softmax(-1)),
    "Sequential": lambda kit, keys, _: kit.Sequential(
        keys,
        kit.Linear(keys, 3, 8, dtype=DOUBLE),
        kit.SiLU(keys),
        kit.LayerNorm(keys, 8, dtype=DOUBLE),
        kit.Linear(keys, 8, 1, dtype=DOUBLE),
    ),
}
SPHERICAL = {
    "EquivariantLinear": lambda kit, keys, _: kit.EquivariantLinear(keys, 4, 2, dtype=DOUBLE),
    "EquivariantLinear, chosen": lambda kit, keys, labels: kit.EquivariantLinear(
        keys,
        4,
        2,
        invariant_keys=labels(Labels("o3_lambda", [[0]])),
        bias=[True, False],
        dtype=DOUBLE,
    ),
    "InvariantReLU": lambda kit, keys, _: kit.InvariantReLU(keys),
    "InvariantSiLU": lambda kit, keys, _: kit.InvariantSiLU(keys),
    "InvariantTanh": lambda kit, keys, labels: kit.InvariantTanh(
        keys, invariant_keys=labels(Labels("o3_sigma", [[-1]]))
    ),
    "InvariantLayerNorm": lambda kit, keys, _: kit.InvariantLayerNorm(keys, 4, dtype=DOUBLE),
    "EquivariantTransformation": lambda kit, keys, labels: kit.EquivariantTransformation(
        [torch.nn.Linear(4, 4, dtype=DOUBLE) for _ in range(4)],
        keys,
        4,
        out_properties=[labels(Labels.range("n", 4))] * 4,
    ),
}


@pytest.mark.filterwarnings("ignore:var:UserWarning")  # theirs, about the block without samples
@pytest.mark.parametrize("name", ROWS | SPHERICAL)
@pytest.mark.parametrize("components", [0, 1])
def test_same_results(name, components):
    row = (ROWS | SPHERICAL)[name]
    keys = O3 if name in SPHERICAL else KEYS
    x = (
        spherical(parameters=())
        if name in SPHERICAL
        else tensor(library="torch", components=components, parameters=())
    )
    torch.manual_seed(0)
    ours = row(nn, keys, lambda labels: labels)
    torch.manual_seed(0)
    theirs = row(learn, labels_there(keys), labels_there)
    nablatom.allclose_raise(ours(x), here(theirs(there(x))), rtol=1e-12, atol=1e-12)


def test_parameters_have_the_same_names():
    ours, theirs = (
        ROWS["Sequential"](kit, keys, None)
        for kit, keys in ((nn, KEYS), (learn, labels_there(KEYS)))
    )
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
