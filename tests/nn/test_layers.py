"""Every layer: a new one is a new row."""

import copy
import pickle

import numpy as np
import pytest

import nablatom
from maps import KEYS, PROPERTIES, tensor
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.testing import assert_gradients
from spherical import KEYS as O3
from spherical import rotated, rotation, spherical

torch = pytest.importorskip("torch")
nn = pytest.importorskip("nablatom.nn")

N = len(PROPERTIES)
DOUBLE = torch.float64


def gelu_pair():
    return torch.nn.Sequential(torch.nn.Linear(N, 2, dtype=DOUBLE), torch.nn.GELU())


class Gate(torch.nn.Module):
    """A module of our user's own, of all that belongs to one sample."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.3, dtype=DOUBLE))

    def forward(self, x):
        axes = tuple(range(1, x.ndim))
        return x * torch.sigmoid(self.weight * (x * x).sum(axes, keepdim=True))


# Layers for any keys with N properties, and those that need o3_lambda and o3_sigma with 4.
PLAIN = {
    "Linear": lambda keys: nn.Linear(keys, N, 4, dtype=DOUBLE),
    "Linear, no bias": lambda keys: nn.Linear(keys, N, 2, bias=False, dtype=DOUBLE),
    "ReLU": lambda keys: nn.ReLU(keys),
    "SiLU": lambda keys: nn.SiLU(keys),
    "Tanh": lambda keys: nn.Tanh(keys),
    "LayerNorm": lambda keys: nn.LayerNorm(keys, N, dtype=DOUBLE),
    "LayerNorm, mean kept": lambda keys: nn.LayerNorm(keys, N, mean=False, dtype=DOUBLE),
    "LayerNorm, bare": lambda keys: nn.LayerNorm(keys, N, elementwise_affine=False),
    "ModuleMap": lambda keys: nn.ModuleMap(keys, [gelu_pair() for _ in keys]),
    "ModuleMap, own module": lambda keys: nn.ModuleMap(keys, [Gate() for _ in keys]),
    "Sequential": lambda keys: nn.Sequential(
        keys,
        nn.Linear(keys, N, 5, dtype=DOUBLE),
        nn.Tanh(keys),
        nn.LayerNorm(keys, 5, dtype=DOUBLE),
        nn.Linear(keys, 5, 2, dtype=DOUBLE),
    ),
    "Sequential, to one": lambda keys: nn.Sequential(
        keys,
        nn.Linear(keys, N, 8, dtype=DOUBLE),
        nn.SiLU(keys),
        nn.Linear(keys, 8, 8, dtype=DOUBLE),
        nn.ReLU(keys),
        nn.Linear(keys, 8, 1, dtype=DOUBLE),
    ),
}
SPHERICAL = {
    "EquivariantLinear": lambda keys: nn.EquivariantLinear(keys, 4, 2, dtype=DOUBLE),
    "InvariantReLU": lambda keys: nn.InvariantReLU(keys),
    "InvariantSiLU": lambda keys: nn.InvariantSiLU(keys),
    "InvariantTanh": lambda keys: nn.InvariantTanh(keys),
    "InvariantLayerNorm": lambda keys: nn.InvariantLayerNorm(keys, 4, dtype=DOUBLE),
    "EquivariantTransformation": lambda keys: nn.EquivariantTransformation(
        [torch.nn.Tanh() for _ in keys], keys, 4
    ),
    "EquivariantTransformation, of modules": lambda keys: nn.EquivariantTransformation(
        [torch.nn.Sequential(torch.nn.Linear(4, 4, dtype=DOUBLE), torch.nn.SiLU()) for _ in keys],
        keys,
        4,
    ),
    "Sequential, equivariant": lambda keys: nn.Sequential(
        keys,
        nn.EquivariantLinear(keys, 4, 3, dtype=DOUBLE),
        nn.EquivariantTransformation([torch.nn.SiLU() for _ in keys], keys, 3),
        nn.EquivariantLinear(keys, 3, 1, dtype=DOUBLE),
    ),
}
LAYERS = PLAIN | SPHERICAL
LINEAR = ["Linear", "Linear, no bias", "EquivariantLinear"]
PUBLIC = {
    name
    for name in nn.__all__
    if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), torch.nn.Module)
}


def made(name, seed=0):
    """A layer with biases and weights that are not the zeros and ones they start with."""
    torch.manual_seed(seed)
    layer = LAYERS[name](O3 if name in SPHERICAL else KEYS)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def taken(name, seed=0, components=1, **options):
    if name in SPHERICAL:
        return spherical(seed)
    return tensor(seed, library="torch", components=components, **options)


def numbers(tensor):
    """Every array in a map, gradients included."""
    return torch.utils._pytree.tree_leaves(tensor)


def test_every_layer_has_a_row():
    assert {name.split(",")[0] for name in LAYERS} >= PUBLIC


# -- gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("components", [0, 2], ids="{} components".format)
@pytest.mark.parametrize("name", PLAIN)
def test_stored_gradients(name, components):
    layer = made(name)
    for parameter in ("positions", "strain"):
        assert_gradients(layer, taken(name, components=components), parameter)


@pytest.mark.parametrize("name", SPHERICAL)
def test_stored_gradients_of_spherical_tensors(name):
    assert_gradients(made(name), taken(name), "positions")


@pytest.mark.parametrize("name", LINEAR[:2])
def test_second_derivatives(name):
    layer, x = made(name), taken(name, nested=True)
    assert_gradients(layer, x, "positions")
    assert layer(x).block_by_id(0).gradient("strain").gradients_list() == ["positions", "strain"]


@pytest.mark.parametrize("name", [n for n in PLAIN if n not in LINEAR])
def test_second_derivatives_are_refused_where_no_rule_gives_them(name):
    with pytest.raises(ValueError, match="second derivatives"):
        made(name)(taken(name, nested=True))


@pytest.mark.parametrize("name", LAYERS)
def test_values_do_not_depend_on_gradients(name):
    layer, x = made(name), taken(name)
    nablatom.allclose_raise(
        nablatom.remove_gradients(layer(x)), layer(nablatom.remove_gradients(x)), rtol=1e-13
    )


@pytest.mark.parametrize("name", LAYERS)
def test_parameters_learn_from_stored_gradients(name):
    """gradcheck of values and gradients, with respect to the parameters."""
    layer, x = made(name), taken(name)
    names, parameters = zip(*layer.named_parameters(), strict=True) if _learns(layer) else ((), ())
    if not names:
        pytest.skip("no parameters")

    def outputs(*values):
        result = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        return tuple(y for y in numbers(result) if y.numel())

    inputs = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    assert torch.autograd.gradcheck(outputs, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, inputs, fast_mode=True)


def _learns(layer):
    return any(True for _ in layer.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_input_learns_too(name):
    """gradcheck with respect to values and stored gradients of the map."""
    layer, x = made(name), taken(name)
    arrays, structure = torch.utils._pytree.tree_flatten(x)

    def outputs(*arrays):
        result = layer(torch.utils._pytree.tree_unflatten(list(arrays), structure))
        return tuple(y for y in numbers(result) if y.numel())

    inputs = [torch.empty(a.shape, dtype=DOUBLE).copy_(a).requires_grad_() for a in arrays]
    assert torch.autograd.gradcheck(outputs, inputs, fast_mode=True)


# -- labels ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_labels_and_info_of_the_result(name):
    layer, x = made(name), taken(name)
    x.set_info("unit", "eV")
    y = layer(x)
    assert y.keys == x.keys
    assert y.info() == x.info()
    for before, after in zip(x, y, strict=True):
        assert after.samples == before.samples
        assert after.components == before.components
        assert after.properties == Labels.range("_", after.shape[-1])
        assert after.gradients_list() == before.gradients_list()
        for parameter, gradient in after.gradients():
            assert gradient.samples == before.gradient(parameter).samples
            assert gradient.components == before.gradient(parameter).components
            assert gradient.properties == after.properties


def test_out_properties_name_the_result():
    properties = [Labels.range("energy", 1 + i) for i in range(len(KEYS))]
    y = nn.Linear(KEYS, N, out_properties=properties)(tensor(library="torch").to(torch.float32))
    assert [block.properties for block in y] == properties
    assert y.block_by_id(2).gradient("strain").properties == properties[2]
    same = nn.Tanh(KEYS, [PROPERTIES] * len(KEYS))(tensor(library="torch"))
    assert all(block.properties == PROPERTIES for block in same)


@pytest.mark.parametrize("name", LAYERS)
def test_some_keys_in_any_order(name):
    layer, x = made(name), taken(name)
    some = TensorMap(x.keys.take(np.array([2, 0])), x.blocks_by_id([2, 0]))
    y = layer(x)
    nablatom.equal_raise(layer(some), TensorMap(some.keys, y.blocks_by_id([2, 0])))


def test_sequences_go_by_key_not_by_place():
    one, other = nn.Linear(KEYS, N, 4, dtype=DOUBLE), KEYS.take(np.array([3, 1, 0, 2]))
    two = nn.Linear(other, 4, 2, dtype=DOUBLE)
    x = tensor(library="torch")
    nablatom.allclose_raise(nn.Sequential(KEYS, one, two)(x), two(one(x)))


def test_sequences_are_their_layers_in_turn():
    for name in ("Sequential", "Sequential, to one"):
        model, x = made(name), taken(name)
        steps = [
            nn.ModuleMap(KEYS, list(modules))
            for modules in zip(*model.module_map.module_list, strict=True)
        ]
        y = x
        for step in steps:
            y = step(y)
        nablatom.allclose_raise(model(x), y, rtol=1e-12, atol=1e-12)


def test_input_is_left_as_it_was():
    for name in LAYERS:
        x = taken(name)
        before = x.copy()
        made(name)(x)
        nablatom.equal_raise(x, before)
    x = tensor(library="torch")
    before = x.copy()
    nn.ReLU(KEYS, in_place=True)(x)
    nablatom.equal_raise(x, before)


@pytest.mark.parametrize("gradients", [True, False])
def test_modules_that_write_into_their_input_get_a_copy(gradients):
    x = tensor(library="torch")
    x = x if gradients else nablatom.remove_gradients(x)
    before = x.copy()
    torch.manual_seed(0)
    last = torch.nn.Linear(3, 1, dtype=torch.float64)

    def layers(in_place):
        one = torch.nn.SiLU(inplace=in_place)
        return [one, torch.nn.Sequential(one, last)]

    for ours, theirs in zip(layers(False), layers(True), strict=True):
        result = nn.ModuleMap(KEYS, [theirs] * len(KEYS))(x)
        nablatom.allclose_raise(result, nn.ModuleMap(KEYS, [ours] * len(KEYS))(x))
        nablatom.equal_raise(x, before)


def test_copies_and_pickles_are_independent():
    for name in LAYERS:
        layer, x = made(name), taken(name)
        for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            nablatom.equal_raise(again(x), layer(x))
            assert not set(map(id, again.parameters())) & set(map(id, layer.parameters()))


# -- symmetry --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPHERICAL)
def test_rotated_input_gives_rotated_output(name):
    layer, x, R = made(name), spherical(1), rotation(2)
    nablatom.allclose_raise(layer(rotated(x, R)), rotated(layer(x), R), rtol=1e-10, atol=1e-10)


def test_a_layer_that_is_not_equivariant_is_found_out():
    x, R = spherical(1), rotation(2)
    layer = nn.Tanh(O3)
    assert not nablatom.allclose(layer(rotated(x, R)), rotated(layer(x), R))


@pytest.mark.parametrize("name", LAYERS)
def test_samples_in_another_order(name):
    layer, x = made(name), taken(name)
    nablatom.allclose_raise(
        layer(nablatom.sort(x, "samples", descending=True)),
        nablatom.sort(layer(x), "samples", descending=True),
        rtol=1e-12,
        atol=1e-12,
    )


def test_vanishing_vectors_have_finite_gradients():
    layer = made("EquivariantTransformation, of modules")
    x = spherical()
    x.block(o3_lambda=1).values[0] = 0
    x.block(o3_lambda=1).values.requires_grad_()
    y = layer(x)
    sum(a.sum() for a in numbers(y)).backward()
    assert torch.isfinite(x.block(o3_lambda=1).values.grad).all()
    assert all(torch.isfinite(a).all() for a in numbers(y))


# -- errors ----------------------------------------------------------------------------


def vector():
    block = TensorBlock(torch.ones(1, 3), Labels.single(), [], Labels.range("n", 3))
    return TensorMap(Labels(["o3_lambda", "o3_sigma"], [[1, 1]]), [block])


X = tensor(library="torch")
OTHER = Labels(["center_type", "neighbor_type"], [[8, 1]])
WRONG = {
    "values in NumPy": (lambda: nn.Tanh(KEYS)(tensor()), TypeError, "arrays="),
    "single precision": (lambda: nn.Linear(KEYS, N, 1)(X), TypeError, "move one of them"),
    "no such key": (
        lambda: nn.Tanh(OTHER)(X),
        KeyError,
        r"no module for the key \(center_type=1, .*; this layer has \(center_type=8, ",
    ),
    "no key in a sequence": (
        lambda: nn.Sequential(KEYS, nn.Tanh(OTHER)),
        KeyError,
        "no module for the key",
    ),
    "nothing in a sequence": (lambda: nn.Sequential(KEYS), ValueError, "at least one layer"),
    "other width": (
        lambda: nn.Linear(KEYS, 7, 1, dtype=DOUBLE)(X),
        ValueError,
        "takes 7 properties, the block has 3",
    ),
    "other width of a norm": (
        lambda: nn.LayerNorm(KEYS, 7, dtype=DOUBLE)(X),
        ValueError,
        "takes 7 properties, the block has 3",
    ),
    "other properties": (
        lambda: nn.Linear(KEYS, Labels.range("l", N), 1, dtype=DOUBLE)(X),
        ValueError,
        "takes the properties",
    ),
    "too few modules": (lambda: nn.ModuleMap(KEYS, []), ValueError, "4 keys, but 0 modules"),
    "keys that are none": (lambda: nn.ModuleMap([1], []), TypeError, "in_keys must be Labels"),
    "no output": (lambda: nn.Linear(KEYS, N), ValueError, "out_features or out_properties"),
    "two outputs": (
        lambda: nn.Linear(KEYS, N, 3, [Labels.range("_", 2)] * 4),
        ValueError,
        "out_features is 3",
    ),
    "one value too few": (lambda: nn.Linear(KEYS, [N] * 3, 1), ValueError, "each of 4 keys, got 3"),
    "fewer than no properties": (
        lambda: nn.Linear(KEYS, -1, 1),
        ValueError,
        "in_features must not be negative, got -1",
    ),
    "a block": (
        lambda: nn.Tanh(KEYS)(X.block_by_id(0)),
        TypeError,
        "layers take a TensorMap, got TensorBlock",
    ),
    "what is no layer": (
        lambda: nn.Sequential(KEYS, torch.nn.Tanh()),
        TypeError,
        "made of layers and module maps, got Tanh; ModuleMap.from_module",
    ),
    "not a number": (lambda: nn.Linear(KEYS, 2.0, 1), TypeError, "in_features must be int"),
    "a number for a switch": (
        lambda: nn.Linear(KEYS, N, 1, bias=1),
        TypeError,
        "bias must be bool",
    ),
    "no angular keys": (lambda: nn.InvariantTanh(KEYS), ValueError, "o3_lambda"),
    "a wrong number of out_properties": (
        lambda: nn.Tanh(KEYS, [Labels.single()] * 4)(X),
        ValueError,
        "out_properties has 1 entries",
    ),
    "no component to rotate": (
        lambda: nn.EquivariantTransformation([torch.nn.Tanh()], vector().keys, 3)(vector()),
        ValueError,
        "one component",
    ),
    "components lost": (
        lambda: nn.ModuleMap(KEYS, [torch.nn.Flatten()] * 4)(tensor(library="torch", components=1)),
        ValueError,
        "must keep samples and components",
    ),
    "a covariant block that grows": (
        lambda: nn.EquivariantTransformation([torch.nn.Tanh()] * 4, O3, 4, out_features=5),
        ValueError,
        "cannot become 5",
    ),
    "a module that changes a covariant block": (
        lambda: nn.EquivariantTransformation([torch.nn.Linear(4, 3, dtype=DOUBLE)] * 4, O3, 4)(
            spherical()
        ),
        ValueError,
        "must keep its 4 properties",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_is_wrong(name):
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


def test_errors_name_the_block():
    with pytest.raises(ValueError, match="takes 7") as caught:
        nn.Linear(KEYS, [N, 7, N, N], 1, dtype=DOUBLE)(X)
    assert "center_type=1, neighbor_type=8" in caught.value.__notes__[0]
