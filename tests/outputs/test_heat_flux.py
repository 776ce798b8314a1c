import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from nablatom.models import AtomicDataDict, LennardJones, NequIP
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.heat_flux import (
    HeatFluxOutput,
    convective_heat_flux,
    heat_flux,
    unfolded_heat_flux,
)
from nablatom.outputs.partial_forces import dense_partial_forces
from response_models import (
    STRUCTURES,
    Messages,
    cluster,
    crystal,
    data_of,
    single_atom,
    small_cell,
)

MODELS = {
    "one hop": {"hops": 1},
    "two hops": {"hops": 2},
    "three hops": {"hops": 3},
    "index_select": {"take": "index_select"},
    "reads positions": {"reads_positions": True},
    "one hop, reads positions": {"hops": 1, "reads_positions": True},
    "keeps its steps to itself": {"take": "one hot"},
}


def drawn(data, seed=11):
    return torch.tensor(np.random.default_rng(seed).normal(size=tuple(data["pos"].shape)))


def by_images(model, structure, velocities):
    """``sum_ij (r_i - r_j) (dE_i/dr_j · v_j)`` with every image as an atom, one by one."""
    reach = model.cutoff * model.hops
    neighbor, shift = neighbor_list("jS", structure, reach, self_interaction=True)
    images = np.unique(np.column_stack([neighbor, shift]), axis=0)
    own = (images[:, 1:] == 0).all(axis=1)
    images = np.concatenate([images[own], images[~own]])  # the frame itself comes first
    atom, cells = images[:, 0], images[:, 1:]
    places = structure.positions[atom] + cells @ structure.cell[:]
    finite = ase.Atoms(structure.numbers[atom], places)
    partial = -dense_partial_forces(model, data_of(finite, model), atoms=range(own.sum()))
    places = torch.tensor(places)
    apart = places[: own.sum(), None] - places
    power = (partial * velocities[atom]).sum(-1, keepdim=True)
    return (apart * power).sum((0, 1))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", ["one hop", "two hops", "reads positions"])
def test_it_is_the_sum_over_partial_forces_in_the_unfolded_system(name, structure):
    model = Messages(cutoff=2.6, **MODELS[name]).eval()
    structure = STRUCTURES[structure]()
    data = data_of(structure, model)
    velocities = drawn(data)
    expected = by_images(model, structure, velocities)
    torch.testing.assert_close(heat_flux(model, data, velocities)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", MODELS)
def test_twist_and_unfolded_system_agree(name, structure):
    model = Messages(**MODELS[name]).eval()
    data = data_of(STRUCTURES[structure](), model)
    velocities = drawn(data)
    expected = unfolded_heat_flux(model, data, velocities)
    assert expected.abs().max() > 1e-4
    found = heat_flux(model, data, velocities)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_of_a_network_with_a_table_of_edges(structure, monkeypatch):
    model = NequIP(["Si", "C", "H", "O"], cutoff=3.2, layers=3, l_max=1, features=4).eval()
    data = data_of(STRUCTURES[structure](), model)
    velocities = drawn(data)
    expected = unfolded_heat_flux(model, data, velocities)
    assert expected.abs().max() > 1e-4
    monkeypatch.setitem(heat_flux.__globals__, "unfolded", None)
    torch.testing.assert_close(heat_flux(model, data, velocities), expected, rtol=0, atol=1e-11)
    outputs = HeatFluxOutput(model)({**data, "velocities": velocities})
    torch.testing.assert_close(outputs["heat_flux"], expected, rtol=0, atol=1e-11)
    added = {"heat_flux", "convective_heat_flux", "velocities"}
    assert set(outputs) <= set(model(data)) | added


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_of_a_model_of_the_nequip_package(monkeypatch):
    """Which has steps of its own, and makes its own edge vectors."""
    pytest.importorskip("nequip")
    from nablatom.models import NequIPPackage
    from nequip_peer import nequip_model

    options = {"num_layers": 2, "l_max": 1, "num_features": 4, "avg_num_neighbors": 8.0}
    network = nequip_model(("Si", "C"), r_max=3.2, **options)
    model = NequIPPackage(network).eval()
    data = data_of(small_cell(), model)
    expected = unfolded_heat_flux(model, data, drawn(data))
    monkeypatch.setitem(heat_flux.__globals__, "unfolded", None)
    torch.testing.assert_close(heat_flux(model, data, drawn(data)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_unfolded_system_is_not_needed_where_steps_can_be_found(name, monkeypatch):
    def never(*_):
        raise AssertionError("the system was unfolded")

    model = Messages(**MODELS[name]).eval()
    data = data_of(crystal(), model)
    expected = heat_flux(model, data, drawn(data))
    monkeypatch.setitem(heat_flux.__globals__, "unfolded", never)
    if name == "keeps its steps to itself":
        with pytest.raises(AssertionError, match="unfolded"):
            heat_flux(model, data, drawn(data))
    else:
        assert torch.equal(heat_flux(model, data, drawn(data)), expected)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_in_a_cluster_it_is_the_sum_over_partial_forces(hops):
    model = Messages(hops=hops).eval()
    data = data_of(cluster(), model)
    velocities = drawn(data)
    power = -(dense_partial_forces(model, data) * velocities).sum(-1, keepdim=True)
    expected = ((data["pos"][:, None] - data["pos"]) * power).sum((0, 1))
    torch.testing.assert_close(heat_flux(model, data, velocities)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_energy_of_a_cluster_moves_with_both_parts(hops):
    """``d/dt sum_i r_i (E_i + m_i v_i²/2)`` along Newton's equations."""
    model = Messages(hops=hops).eval()
    structure = cluster()
    data = data_of(structure, model)
    velocities, masses = drawn(data), torch.tensor(structure.get_masses())
    acceleration = -pair_derivatives(model, data).positions / masses[:, None]

    def moment(time):
        moved = data["pos"] + time * velocities + 0.5 * time**2 * acceleration
        speed = velocities + time * acceleration
        kinetic = 0.5 * masses * speed.square().sum(1)
        with torch.no_grad():
            energy = model({**data, "pos": moved})["atomic_energy"][:, 0] + kinetic
        return (moved * energy[:, None]).sum(0)

    step = 1e-5
    expected = (moment(step) - moment(-step)) / (2 * step)
    convective = convective_heat_flux(model(data), velocities, masses=masses)[0]
    found = heat_flux(model, data, velocities)[0] + convective
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_atoms_that_move_together_carry_the_virial(structure, name):
    model = Messages(**MODELS[name]).eval()
    data = data_of(STRUCTURES[structure](), model)
    wind = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    virial = -pair_derivatives(model, data).strain[0]
    found = heat_flux(model, data, wind.expand_as(data["pos"]))[0]
    torch.testing.assert_close(found, virial @ wind, rtol=0, atol=1e-12)


def test_of_a_pair_potential_by_its_textbook_formula():
    """``-½ sum_ij r_ij (f_ij · v_j)`` with ``f_ij`` the force of i on j, images included."""
    model = LennardJones(["Si", "C"], 0.1, 1.6, cutoff=3.2)
    structure = crystal()
    data = data_of(structure, model)
    velocities = drawn(data)
    j, r = neighbor_list("jD", structure, model.cutoff)
    length = torch.tensor(np.linalg.norm(r, axis=1), requires_grad=True)
    pair = model._ended(length, torch.zeros(len(length), dtype=torch.int64)).sum()
    (slope,) = torch.autograd.grad(pair, length)
    force = -(slope / length.detach())[:, None] * torch.tensor(r)
    expected = 0.5 * (torch.tensor(r) * (force * velocities[j]).sum(1, keepdim=True)).sum(0)
    torch.testing.assert_close(heat_flux(model, data, velocities)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_supercell_carries_as_many_times_more(name):
    model = Messages(**MODELS[name]).eval()
    structure = small_cell()
    data, large = data_of(structure, model), data_of(structure.repeat((2, 1, 2)), model)
    velocities = drawn(data)
    expected = 4 * heat_flux(model, data, velocities)
    found = heat_flux(model, large, velocities.repeat(4, 1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "vectors", [[[0, 1, 0], [1, 0, 0], [0, 0, 1]], [[1, 1, 0], [0, 1, 0], [2, 0, 1]]]
)
def test_of_the_same_crystal_by_other_cell_vectors(vectors):
    model = Messages().eval()
    structure = crystal()
    velocities = drawn(data_of(structure, model))
    expected = heat_flux(model, data_of(structure, model), velocities)
    structure.set_cell(np.array(vectors) @ structure.cell[:])
    for flux in (heat_flux, unfolded_heat_flux):
        found = flux(model, data_of(structure, model), velocities)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_positions_read_out_of_sight_are_noticed_where_all_atoms_are_alike():
    """In a perfect crystal in a wind, where most sums vanish whether they are complete or not."""

    class OutOfSight(Messages):
        """Half of its energies are of edge vectors, half of positions, by one-hot matrices."""

        def forward(self, data):
            one_hot = torch.nn.functional.one_hot(data["edge_index"], len(data["pos"]))
            center, neighbor = one_hot.to(data["pos"]) @ data["pos"]
            shift = data["edge_cell_shift"] @ data["cell"].view(3, 3)
            own = {k: x for k, x in data.items() if k != "edge_lengths"}
            outputs = super().forward({**own, "edge_vectors": neighbor - center + shift})
            energies = outputs["atomic_energy"] + super().forward(data)["atomic_energy"]
            return {**data, "atomic_energy": energies, "total_energy": energies.sum(0)[None]}

    model = OutOfSight().eval()
    data = data_of(bulk("SiC", "zincblende", a=4.36, cubic=True), model)
    wind = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    virial = -pair_derivatives(model, data).strain[0]
    found = heat_flux(model, data, wind.expand_as(data["pos"]))[0]
    assert found.abs().max() > 1e-3
    torch.testing.assert_close(found, virial @ wind, rtol=0, atol=1e-12)


def test_it_does_not_matter_which_image_of_an_atom_is_given():
    model = Messages().eval()
    structure = crystal()
    velocities = drawn(data_of(structure, model))
    expected = heat_flux(model, data_of(structure, model), velocities)
    structure.positions[2] += [1, -2, 0] @ structure.cell[:]
    for flux in (heat_flux, unfolded_heat_flux):
        found = flux(model, data_of(structure, model), velocities)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_rotation():
    model = Messages().eval()
    structure = crystal()
    turn = torch.tensor(Rotation.from_euler("xyz", [0.3, -1.1, 0.7]).as_matrix())
    velocities = drawn(data_of(structure, model))
    expected = heat_flux(model, data_of(structure, model), velocities)
    structure.set_cell(structure.cell[:] @ turn.numpy().T, scale_atoms=True)
    found = heat_flux(model, data_of(structure, model), velocities @ turn.T)
    torch.testing.assert_close(found, expected @ turn.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("flux", [heat_flux, unfolded_heat_flux])
def test_frames_of_all_kinds_in_one_batch(flux):
    model = Messages().eval()
    frames = [data_of(make(), model) for make in (crystal, cluster, single_atom, small_cell)]
    velocities = [drawn(frame, seed) for seed, frame in enumerate(frames)]
    expected = [flux(model, *both) for both in zip(frames, velocities, strict=True)]
    found = flux(model, AtomicDataDict.batched(frames), torch.cat(velocities))
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("flux", [heat_flux, unfolded_heat_flux])
def test_its_own_derivatives_match_finite_differences(flux):
    model = Messages(width=2)
    data = data_of(small_cell(), model)

    def of(positions, cell, velocities):
        return flux(model, {**data, "pos": positions, "cell": cell}, velocities)

    inputs = [x.clone().requires_grad_() for x in (data["pos"], data["cell"], drawn(data))]
    assert torch.autograd.gradcheck(of, inputs)


def test_the_module_has_both_parts():
    model = Messages().eval()
    data = data_of(crystal(), model)
    data["velocities"] = drawn(data)
    outputs = HeatFluxOutput(model)(data)
    energies = model(data)["atomic_energy"].detach()
    convective = (energies * data["velocities"]).sum(0, keepdim=True)
    torch.testing.assert_close(outputs["convective_heat_flux"], convective)
    assert torch.equal(outputs["heat_flux"], heat_flux(model, data, data["velocities"]))


def test_what_is_missing_is_named():
    model = Messages(take="one hot").eval()
    data = data_of(crystal(), model)
    with pytest.raises(KeyError, match=r"needs 'velocities', \(atoms, 3\); the data have"):
        HeatFluxOutput(model)(data)
    with pytest.raises(ValueError, match=r"velocities have shape \(2, 3\)"):
        heat_flux(model, data, torch.zeros(2, 3))
    with pytest.raises(TypeError, match="must be a torch tensor, got ndarray"):
        heat_flux(model, data, np.zeros((2, 3)))
    model.hops = 0
    with pytest.raises(RuntimeError, match="set its attribute 'hops'"):
        heat_flux(model, data, drawn(data))


def test_too_few_hops_are_noticed():
    model = Messages(hops=2).eval()
    data = data_of(crystal(), model)
    model.hops = 1
    with pytest.raises(RuntimeError, match="must say a larger 'hops'"):
        unfolded_heat_flux(model, data, drawn(data))
