"""What every response has to survive: one table of them, one test for each demand."""

import copy

import pytest
import torch

from nablatom.models import AtomicDataDict
from nablatom.outputs.atomic_virial import AtomicVirialOutput, atomic_virials
from nablatom.outputs.elasticity import elastic_constants, internal_strain
from nablatom.outputs.heat_flux import HeatFluxOutput, heat_flux, unfolded_heat_flux
from nablatom.outputs.hessian import HessianOutput, hessian, hvp
from nablatom.outputs.sparse_hessian import sparse_hessian
from nablatom.testing import assert_output_contract
from response_models import STRUCTURES, Messages, crystal, data_of, small_cell


def velocities_of(data):
    """Velocities that follow the position of an atom among those of its frame."""
    frame = AtomicDataDict.frame_of_atoms(data)
    number = torch.cat([torch.arange(int(n)) for n in torch.bincount(frame)])
    phase = number[:, None] + torch.tensor([0.3, 1.1, 2.3])
    return torch.sin(2.0 * phase).to(data["pos"])


def slopes_of(forces):
    return forces.block().gradient("positions").values


def curved(model, data, tangent, **keywords):
    return hvp(model, data, {"positions": tangent}, **keywords)["positions"]


# name → function of model and data, and what its rows belong to
RESPONSES = {
    "hvp": (lambda m, d, **k: curved(m, d, velocities_of(d), **k), "atoms"),
    "hessian": (hessian, "matrix"),
    "sparse Hessian": (lambda m, d, **k: slopes_of(sparse_hessian(m, d, **k)), "pairs"),
    "atomic virials": (atomic_virials, "atoms"),
    "heat flux": (lambda m, d, **k: heat_flux(m, d, velocities_of(d), **k), "frames"),
    "unfolded heat flux": (
        lambda m, d, **k: unfolded_heat_flux(m, d, velocities_of(d), **k),
        "frames",
    ),
    "elastic constants": (elastic_constants, "frames"),
    "internal strain": (internal_strain, "atoms"),
}

MODULES = {
    "hessian": HessianOutput,
    "atomic_virial": AtomicVirialOutput,
    "heat_flux": HeatFluxOutput,
}


@pytest.fixture
def model():
    return Messages().eval()


@pytest.mark.parametrize("name", RESPONSES)
def test_each_frame_of_a_batch_is_as_it_is_alone(name, model):
    respond, rows = RESPONSES[name]
    frames = [data_of(structure(), model) for structure in (small_cell, crystal)]
    alone = [respond(model, frame) for frame in frames]
    together = respond(model, AtomicDataDict.batched(frames))
    expected = torch.block_diag(*alone) if rows == "matrix" else torch.cat(alone)
    # internal strain goes through a pseudo-inverse
    torch.testing.assert_close(together, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", RESPONSES)
def test_nothing_that_was_given_is_changed(name, model):
    data = data_of(crystal(), model)
    before = {key: (x, x.clone(), x.requires_grad, x._version) for key, x in data.items()}
    RESPONSES[name][0](model.train(), data)
    assert data.keys() == before.keys()
    for key, (tensor, values, required, version) in before.items():
        assert data[key] is tensor
        assert torch.equal(tensor, values), key
        assert (tensor.requires_grad, tensor._version) == (required, version), key


@pytest.mark.parametrize("name", RESPONSES)
def test_nothing_is_changed_when_the_model_raises(name, model):
    class Broken(Messages):
        def forward(self, data):
            super().forward(data)
            raise OSError("the model is broken")

    data = data_of(crystal(), model)
    with pytest.raises(OSError, match="broken"):
        RESPONSES[name][0](Broken(), data)
    assert not any(x.requires_grad for x in data.values())


@pytest.mark.parametrize("name", RESPONSES)
def test_results_have_a_graph_only_where_one_is_wanted(name, model):
    respond, _ = RESPONSES[name]
    data = data_of(small_cell(), model)
    assert not respond(model.eval(), data).requires_grad
    assert respond(model.train(), data).requires_grad
    assert not respond(model.train(), data, create_graph=False).requires_grad
    with torch.no_grad():
        assert not respond(model.train(), data).requires_grad


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_change_nothing(name, mode, model):
    respond, _ = RESPONSES[name]
    expected = respond(model, data_of(crystal(), model))
    with mode():
        found = respond(model, data_of(crystal(), model))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", RESPONSES)
def test_gradients_of_weights_match_finite_differences(name, model):
    respond, _ = RESPONSES[name]
    data = data_of(small_cell(), model.train())
    weight = model.radial[1]
    value = respond(model, data)
    weights = torch.sin(torch.arange(value.numel(), dtype=value.dtype)).view_as(value)
    (slope,) = torch.autograd.grad((value * weights).sum(), weight)
    sums, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 2] += sign * step
            sums.append((respond(model, data, create_graph=False) * weights).sum())
            weight[1, 2] -= sign * step
    difference = (sums[0] - sums[1]) / (2 * step)
    torch.testing.assert_close(slope[1, 2], difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", RESPONSES)
def test_single_precision_follows_double(name, model):
    respond, _ = RESPONSES[name]
    data = data_of(crystal(), model)
    expected = respond(model, data)
    single = {k: x.float() if x.dtype == torch.float64 else x for k, x in data.items()}
    found = respond(model, single)
    assert found.dtype == torch.float32
    # digits of single precision, some of them lost in sums of different signs
    bound = 2e-4 if name == "elastic constants" else 2e-5
    assert (found.double() - expected).abs().max() <= bound * expected.abs().max()


@pytest.mark.parametrize(
    "name", ["hvp", "hessian", "atomic virials", "heat flux", "internal strain"]
)
def test_places_far_from_the_origin_are_like_others(name, model):
    respond, _ = RESPONSES[name]
    data = data_of(crystal(), model)
    far = {**data, "pos": data["pos"] + 1000.0}
    expected = respond(model, data)
    # positions have lost three digits
    torch.testing.assert_close(respond(model, far), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", RESPONSES)
def test_longer_edges_and_their_order_do_not_matter(name, model):
    respond, _ = RESPONSES[name]
    data = data_of(crystal(), model)
    longer = AtomicDataDict.with_neighbors(data, 1.3 * model.cutoff)
    order = torch.randperm(
        longer["edge_index"].shape[1], generator=torch.Generator().manual_seed(1)
    )
    longer["edge_index"] = longer["edge_index"][:, order]
    longer["edge_cell_shift"] = longer["edge_cell_shift"][order]
    found = respond(model, longer)
    torch.testing.assert_close(found, respond(model, data), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["hvp", "atomic virials", "heat flux", "unfolded heat flux"])
def test_no_neighbors_no_response(name, model):
    data = {
        "pos": torch.zeros(2, 3, dtype=torch.float64) + torch.arange(2)[:, None] * 50.0,
        "atom_types": torch.tensor([0, 1]),
        "edge_index": torch.zeros(2, 0, dtype=torch.int64),
    }
    found = RESPONSES[name][0](model, data)
    assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize("key", MODULES)
def test_modules_give_what_the_functions_give(key, model):
    data = data_of(crystal(), model)
    data["velocities"] = velocities_of(data)
    module = MODULES[key](model)
    outputs = module(data)
    expected = RESPONSES[key.replace("_", " ").replace("virial", "virials")][0](model, data)
    assert torch.equal(outputs[key], expected)
    torch.testing.assert_close(outputs["total_energy"], model(data)["total_energy"].detach())
    assert not any(x.requires_grad for x in outputs.values())
    assert (module.cutoff, module.hops) == (model.cutoff, model.hops)
    assert module.type_names == model.type_names
    assert key in module.irreps_out
    assert torch.equal(copy.deepcopy(module)(data)[key], expected)


@pytest.mark.parametrize("key", MODULES)
def test_modules_wrap_each_other_and_follow_the_mode_inside(key, model):
    data = data_of(small_cell(), model)
    data["velocities"] = velocities_of(data)
    both = MODULES[key](AtomicVirialOutput(HessianOutput(model)))
    outputs = both(data)
    torch.testing.assert_close(outputs["hessian"], hessian(model, data))
    torch.testing.assert_close(outputs["atomic_virial"], atomic_virials(model, data))
    torch.testing.assert_close(outputs[key], MODULES[key](model)(data)[key])
    model.train()
    assert both(data)[key].requires_grad
    assert not MODULES[key](model, create_graph=False)(data)[key].requires_grad


@pytest.mark.parametrize("module", [HessianOutput, AtomicVirialOutput])
def test_modules_keep_to_the_contract_of_outputs(module):
    assert_output_contract(module(Messages().eval()), {"small cell": small_cell()})


@pytest.mark.parametrize("key", MODULES)
def test_modules_say_what_cannot_be_wrapped(key, model):
    with pytest.raises(TypeError, match="graph module"):
        MODULES[key](torch.nn.Linear(2, 2))
    model.irreps_out = {"charges": None}
    with pytest.raises(ValueError, match="needs a model that gives scalars"):
        MODULES[key](model)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", ["hvp", "atomic virials", "heat flux", "internal strain"])
def test_the_order_of_atoms_does_not_matter(structure, name, model):
    respond, rows = RESPONSES[name]
    atoms = STRUCTURES[structure]()
    order = torch.arange(len(atoms)).flip(0)
    data, permuted = data_of(atoms, model), data_of(atoms[order.numpy()], model)
    tangent = velocities_of(data)
    moved = {"hvp": curved, "heat flux": heat_flux}.get(name)
    if moved is None:
        found, expected = respond(model, permuted), respond(model, data)
    else:
        found, expected = moved(model, permuted, tangent[order]), moved(model, data, tangent)
    expected = expected[order] if rows == "atoms" else expected
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
