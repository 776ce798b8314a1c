"""One backward pass: its parts add up to what other routes give, and it leaves no trace."""

import gc

import numpy as np
import pytest
import torch

from nablatom.models import AtomicDataDict, LennardJones
from nablatom.outputs import forces, pair_derivatives
from nablatom.outputs.derivatives import makes_graph
from nablatom.testing.hygiene import assert_untouched
from response_models import STRUCTURES, Messages, crystal, data_of, left_handed, small_cell

EXACT = 1e-13  # sums of a few hundred products of order one

MODELS = {
    "one hop": lambda: LennardJones(["Si", "C", "H", "O"], epsilon=0.1, sigma=1.6, cutoff=3.2),
    "two hops": lambda: Messages(2),
    "reads positions": lambda: Messages(2, reads_positions=True),
}


class ReadsBoth(torch.nn.Module):
    """Half of its energy from edge vectors, half from positions and cell, with messages."""

    def __init__(self):
        super().__init__()
        self.parts = torch.nn.ModuleList([Messages(2), Messages(1, reads_positions=True)])

    def forward(self, data):
        first, second = (part(data) for part in self.parts)
        return {**first, "total_energy": first["total_energy"] * second["total_energy"]}


MODELS["reads both"] = ReadsBoth


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]().eval()


def data(structure):
    return AtomicDataDict.from_ase(structure, cutoff=3.2, types=["Si", "C", "H", "O"])


def strained_energy(model, data, strain):
    frame = AtomicDataDict.frame_of_atoms(data)
    pos, cell = data["pos"], data["cell"].reshape(-1, 3, 3)
    moved = {
        "pos": pos + torch.einsum("ia,iab->ib", pos, strain[frame]),
        "cell": cell + cell @ strain,
    }
    return model(data | moved)["total_energy"]


def by_leaves(model, data):
    """Derivatives by positions, by a strain leaf, and by the cell at fixed positions."""
    frames = AtomicDataDict.num_frames(data)
    pos = data["pos"].clone().requires_grad_()
    cell = data["cell"].clone().requires_grad_()
    strain = torch.zeros(frames, 3, 3, dtype=pos.dtype, requires_grad=True)
    energy = model(data | {"pos": pos, "cell": cell})["total_energy"].sum()
    slopes = torch.autograd.grad(energy, [pos, cell], materialize_grads=True, allow_unused=True)
    return *slopes, torch.autograd.grad(strained_energy(model, data, strain).sum(), strain)[0]


@pytest.mark.parametrize("name", STRUCTURES)
def test_parts_add_up_to_the_derivatives_of_leaves(model, name):
    point = data(STRUCTURES[name]())
    derivatives = pair_derivatives(model, point)
    positions, cell, strain = by_leaves(model, point)
    scale = derivatives.by_vectors.abs().max().clamp(min=1)
    if derivatives.by_positions is not None:
        scale = torch.maximum(scale, derivatives.by_positions.abs().max())
    torch.testing.assert_close(derivatives.positions, positions, rtol=0, atol=EXACT * scale)
    torch.testing.assert_close(derivatives.cell, cell, rtol=0, atol=10 * EXACT * scale)
    torch.testing.assert_close(derivatives.strain, strain, rtol=0, atol=10 * EXACT * scale)


@pytest.mark.parametrize("name", STRUCTURES)
def test_three_forms_of_the_virial(name):
    model, point = Messages(2).eval(), data(STRUCTURES[name]())
    derivatives = pair_derivatives(model, point)
    positions, cell, strain = by_leaves(model, point)
    pairs = derivatives.strain[0]
    outer = point["pos"].T @ positions + point["cell"][0].T @ cell[0]
    for form in (outer, strain[0], pairs.T):
        torch.testing.assert_close(pairs, form, rtol=0, atol=EXACT * pairs.abs().max().clamp(min=1))


def test_batch_is_its_frames(model):
    frames = [data(make()) for make in STRUCTURES.values()]
    whole = pair_derivatives(model, AtomicDataDict.batched(frames))
    single = [pair_derivatives(model, frame) for frame in frames]
    for field in ("positions", "strain", "cell"):
        alone = torch.cat([getattr(each, field) for each in single])
        torch.testing.assert_close(getattr(whole, field), alone, rtol=1e-12, atol=1e-12)


def test_a_shared_cell_gives_each_frame_its_own_strain(model):
    frame = data(crystal())
    batch = AtomicDataDict.batched([frame, frame])
    shared = batch | {"cell": frame["cell"][0]}
    torch.testing.assert_close(
        pair_derivatives(model, shared).strain, pair_derivatives(model, batch).strain
    )


def test_positions_count_and_not_vectors_of_another_time(model):
    point = data(small_cell())
    stale = AtomicDataDict.with_edge_vectors(point)
    moved = {"pos": point["pos"] + 0.01 * torch.sin(torch.arange(6.0)).reshape(2, 3)}
    torch.testing.assert_close(forces(model, stale | moved), forces(model, point | moved))


def test_weights_of_atoms_are_a_cotangent(model):
    point = data(crystal())
    weights = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    of_all = [
        pair_derivatives(model, point, of="atomic_energy", cotangent=row).positions
        for row in torch.eye(8, dtype=torch.float64)[:, :, None]
    ]
    weighted = pair_derivatives(model, point, of="atomic_energy", cotangent=weights).positions
    expected = (torch.stack(of_all) * weights[:, :, None]).sum(0)
    torch.testing.assert_close(weighted, expected, rtol=0, atol=1e-10)


def test_without_cell_and_without_edges():
    model = Messages(2).eval()
    cluster = data(STRUCTURES["cluster"]())
    bare = {key: x for key, x in cluster.items() if key not in ("cell", "pbc", "edge_cell_shift")}
    derivatives = pair_derivatives(model, bare)
    torch.testing.assert_close(derivatives.positions, pair_derivatives(model, cluster).positions)
    with pytest.raises(ValueError, match="no 'cell'"):
        _ = derivatives.cell
    positions = torch.tensor([[1.0, 2.0, 3.0]])

    def well(data):
        return {"total_energy": data["pos"].square().sum().reshape(1, 1)}

    torch.testing.assert_close(pair_derivatives(well, {"pos": positions}).positions, 2 * positions)


def test_an_atom_without_neighbors_has_no_forces(model):
    point = data(crystal()) | {
        "edge_index": torch.empty(2, 0, dtype=torch.int64),
        "edge_cell_shift": torch.empty(0, 3, dtype=torch.float64),
    }
    assert forces(model, point).eq(0).all()

    def constant(data):
        return {"total_energy": torch.ones(1, 1)}

    assert forces(constant, point).eq(0).all()


def test_frames_without_atoms(model):
    batch = AtomicDataDict.batched([data(crystal()), data(crystal()[:0]), data(small_cell())])
    whole = pair_derivatives(model, batch)
    assert whole.strain.shape == (3, 3, 3)
    assert whole.strain[1].eq(0).all()
    alone = pair_derivatives(model, data(small_cell())).strain
    torch.testing.assert_close(whole.strain[2:], alone, rtol=1e-11, atol=1e-11)


def test_expanded_and_strided_inputs(model):
    point = data(left_handed())
    strided = point | {
        "pos": torch.stack([point["pos"], point["pos"]], -1)[..., 0],
        "cell": point["cell"].transpose(1, 2).contiguous().transpose(1, 2),
        "edge_index": point["edge_index"].T.contiguous().T,
    }
    assert not strided["pos"].is_contiguous()
    torch.testing.assert_close(forces(model, strided), forces(model, point), rtol=0, atol=1e-12)


# -- hygiene ------------------------------------------------------------------------------


def test_inputs_are_untouched(model):
    point = data(crystal())

    def derive(data):
        return pair_derivatives(model, data).outputs

    assert_untouched(derive, point)
    assert_untouched(derive, AtomicDataDict.with_edge_vectors(point))
    assert_untouched(derive, point | {"pos": point["pos"].clone().requires_grad_()})


def test_inputs_are_untouched_when_the_model_edits_them_and_raises():
    def reckless(data):
        data["pos"].requires_grad_()
        del data["cell"]
        data["new"] = data["pos"]
        raise ValueError("too reckless")

    assert_untouched(lambda data: pair_derivatives(reckless, data).outputs, data(crystal()))


def test_evaluation_holds_no_graph(model):
    derivatives = pair_derivatives(model, data(crystal()))
    kept = [*derivatives.outputs.values(), *derivatives.data.values(), derivatives.by_vectors]
    kept += [x for x in (derivatives.by_positions, derivatives.by_cell) if x is not None]
    kept += [derivatives.positions, derivatives.strain, derivatives.cell]
    assert not any(x.requires_grad or x.grad_fn for x in kept)
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_memory_does_not_grow():
    model, point = Messages(1).eval(), data(STRUCTURES["single atom"]())

    def tensors():
        gc.collect()
        return sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())

    kept = pair_derivatives(model, point)
    before = tensors()
    for _ in range(200):
        kept = pair_derivatives(model, point)
    assert tensors() <= before
    assert kept.positions.shape == (1, 3)


def test_training_gives_differentiable_results():
    model = Messages(2).train()
    loss = forces(model, data(crystal())).square().sum()
    slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)


def test_who_makes_a_graph():
    point = data(crystal())
    watched = point | {"pos": point["pos"].clone().requires_grad_()}
    model = Messages(1)
    assert makes_graph(model.train(), point)
    assert not makes_graph(model.eval(), point)
    assert makes_graph(model, watched)
    assert not makes_graph(MODELS["one hop"]().train(), point)  # nothing to train
    with torch.no_grad():
        assert not makes_graph(model.train(), watched)
        assert not forces(model, watched).requires_grad
    assert not forces(model.train(), watched, create_graph=False).requires_grad
    assert forces(model.eval(), watched, create_graph=True).requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(model, mode):
    expected = forces(model, data(crystal()))
    with mode():
        torch.testing.assert_close(forces(model, data(crystal())), expected)


def test_positions_that_come_from_elsewhere_stay_in_their_graph(model):
    """dF/dscale through non-leaf positions, against differences."""
    point = data(crystal())

    def force(scale):
        return forces(model, point | {"pos": point["pos"] * scale, "cell": point["cell"] * scale})

    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    weights = torch.sin(torch.arange(24, dtype=torch.float64)).reshape(8, 3)
    (slope,) = torch.autograd.grad((weights * force(scale)).sum(), scale)
    h = 1e-5
    difference = (force(1 + h) - force(1 - h)) / (2 * h)
    expected = (weights * difference).sum()
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-7)


# -- errors -------------------------------------------------------------------------------


def test_errors_name_what_is_wrong():
    point = data(crystal())
    model = Messages(1).eval()
    with pytest.raises(KeyError, match=r"no 'enthalpy'; it returns .*total_energy"):
        pair_derivatives(model, point, of="enthalpy")
    with pytest.raises(
        ValueError, match=r"cotangent has shape \(2,\), but the output has \(1, 1\)"
    ):
        pair_derivatives(model, point, cotangent=torch.ones(2))

    def silent(data):
        return {"total_energy": data["pos"].detach().sum().reshape(1, 1)}

    with pytest.raises(RuntimeError, match=r"does not depend.*detach"):
        pair_derivatives(silent, point)


def test_single_precision_stays_single():
    structure = crystal()
    model = Messages(2).eval()
    exact = forces(model, data_of(structure, model))
    coarse = AtomicDataDict.from_ase(
        structure, cutoff=3.2, types=model.type_names, dtype=torch.float32
    )
    found = forces(model, coarse)
    assert found.dtype == torch.float32
    bound = 2e-5 * exact.abs().max()  # about a hundred roundings of 1.2e-7
    assert (found - exact).abs().max() < bound


def test_far_from_the_origin():
    model = Messages(2).eval()
    structure = crystal()
    near = pair_derivatives(model, data_of(structure, model))
    structure.translate([1000.0, -1000.0, 1000.0])
    far = pair_derivatives(model, data_of(structure, model))
    # vectors carry the rounding of positions, 1e-13 Å
    np.testing.assert_allclose(far.positions, near.positions, rtol=0, atol=1e-10)
    np.testing.assert_allclose(far.strain, near.strain, rtol=0, atol=1e-9)
