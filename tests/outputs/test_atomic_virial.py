import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from nablatom.models import AtomicDataDict, LennardJones, NequIP
from nablatom.outputs.atomic_virial import AtomicVirialOutput, atomic_virials
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.partial_forces import dense_partial_forces
from response_models import STRUCTURES, Messages, cluster, crystal, data_of, small_cell


def nequip(**settings):
    usual = {"layers": 2, "l_max": 1, "features": 3, "radial_hidden": [5], "seed": 3}
    return NequIP(["Si", "C", "H", "O"], cutoff=3.2, **{**usual, **settings})


NEQUIPS = {
    "NequIP": lambda: nequip(average_neighbors=9.0, shifts={"Si": 1.0, "C": 2.0, "H": 3, "O": 4}),
    "NequIP, three layers": lambda: nequip(layers=3, l_max=2, features=[4, 3, 2]),
    "NequIP, one parity": lambda: nequip(l_max=2, parity=False, readout_hidden=[4]),
    "NequIP, repulsion": lambda: nequip(zbl=True, scales={"Si": 1.0, "C": 2.0, "H": 3, "O": 4}),
}
MODELS = {
    "one hop": lambda: Messages(hops=1),
    "two hops": lambda: Messages(hops=2),
    "three hops": lambda: Messages(hops=3),
    "reads positions": lambda: Messages(hops=2, reads_positions=True),
    "one hop, reads positions": lambda: Messages(hops=1, reads_positions=True),
    "Lennard-Jones": lambda: LennardJones(["Si", "C", "H", "O"], 0.1, 0.9, cutoff=3.2),
    **NEQUIPS,
}


def strained(data, strain):
    growth = torch.eye(3, dtype=torch.float64) + torch.tensor(strain)
    return {**data, "pos": data["pos"] @ growth, "cell": data["cell"] @ growth}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", MODELS)
def test_each_virial_is_minus_the_strain_derivative_of_that_energy(name, structure):
    model = MODELS[name]().eval()
    data = data_of(STRUCTURES[structure](), model)
    virials, step = atomic_virials(model, data), 1e-5
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        unit = np.zeros((3, 3))
        unit[a, b] += 0.5
        unit[b, a] += 0.5
        with torch.no_grad():
            high, low = (model(strained(data, h * unit))["atomic_energy"] for h in (step, -step))
        difference = -(high - low)[:, 0] / (2 * step)
        torch.testing.assert_close(virials[:, a, b], difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", MODELS)
def test_they_sum_to_the_virial(name, structure):
    model = MODELS[name]().eval()
    data = data_of(STRUCTURES[structure](), model)
    virial = -pair_derivatives(model, data).strain[0]
    found = atomic_virials(model, data)
    assert torch.equal(found, found.transpose(1, 2))
    torch.testing.assert_close(found.sum(0), 0.5 * (virial + virial.T), rtol=1e-13, atol=1e-12)


def test_one_pass_gives_what_seven_give():
    model = Messages(hops=1).eval()
    data = data_of(small_cell(), model)
    expected = atomic_virials(model, data)
    model.hops = 2  # true as well, and known to be slower
    torch.testing.assert_close(atomic_virials(model, data), expected, rtol=0, atol=1e-14)


def hidden(model):
    """The model as a function that says nothing about itself."""
    return lambda data: model(data)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", NEQUIPS)
def test_edges_that_move_give_what_seven_passes_give(name, structure):
    model = NEQUIPS[name]().eval()
    data = data_of(STRUCTURES[structure](), model)
    expected = atomic_virials(hidden(model), data)
    error = 1e-13 * float(expected.abs().max())
    torch.testing.assert_close(atomic_virials(model, data), expected, rtol=0, atol=error)


@pytest.mark.parametrize("name", NEQUIPS)
def test_edges_that_move_can_be_differentiated(name):
    model = NEQUIPS[name]().train()
    data = data_of(small_cell(), model)
    data["pos"] = data["pos"].requires_grad_()
    wrt = [data["pos"], *model.parameters()]
    squares = (atomic_virials(func, data).square().sum() for func in (model, hidden(model)))
    slopes = [torch.autograd.grad(x, wrt, materialize_grads=True) for x in squares]
    for found, expected in zip(*slopes, strict=True):
        error = 1e-12 * float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=error)


def test_weights_with_fewer_digits_than_positions():
    model = nequip(dtype=torch.float32).eval()
    data = data_of(crystal(), model)
    expected = atomic_virials(hidden(model), data)
    found = atomic_virials(model, data)
    assert found.dtype == torch.float64
    error = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=error)


def test_the_outputs_are_those_of_the_model():
    model = nequip(zbl=True).eval()
    data = data_of(crystal(), model)
    expected, found = model(data), AtomicVirialOutput(model)(data)
    assert not found["atomic_virial"].requires_grad
    for key in ("atomic_energy", "total_energy", "node_features"):
        torch.testing.assert_close(found[key], expected[key], rtol=1e-14, atol=0)
    assert found["pos"] is data["pos"]


def test_an_atom_alone_has_none():
    model = nequip(shifts=2.0).eval()
    data = data_of(Atoms("Si"), model)
    found = AtomicVirialOutput(model)(data)
    assert torch.equal(found["atomic_virial"], torch.zeros(1, 3, 3, dtype=torch.float64))
    assert found["atomic_energy"].tolist() == [[2.0]]


def test_in_a_cluster_they_are_sums_of_partial_forces():
    model = Messages(hops=3).eval()
    data = data_of(cluster(), model)
    partial = dense_partial_forces(model, data)  # F_ij
    expected = torch.einsum("ja,ijb->iab", data["pos"], partial)
    torch.testing.assert_close(atomic_virials(model, data), expected, rtol=0, atol=1e-12)


def test_rotation():
    model = Messages(hops=2).eval()
    structure = crystal()
    turn = Rotation.from_euler("xyz", [0.3, -1.1, 0.7]).as_matrix()
    expected = atomic_virials(model, data_of(structure, model)).numpy()
    structure.set_cell(structure.cell[:] @ turn.T, scale_atoms=False)
    structure.positions = structure.positions @ turn.T
    found = atomic_virials(model, data_of(structure, model)).numpy()
    np.testing.assert_allclose(found, turn @ expected @ turn.T, atol=1e-12)


def test_an_atom_has_the_same_in_a_supercell():
    model = Messages(hops=2).eval()
    structure = small_cell()
    expected = atomic_virials(model, data_of(structure, model)).repeat(8, 1, 1)
    found = atomic_virials(model, data_of(structure.repeat(2), model))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_batch_of_crystal_and_molecule():
    model = Messages(hops=2).eval()
    frames = [data_of(structure(), model) for structure in (crystal, cluster)]
    expected = torch.cat([atomic_virials(model, frame) for frame in frames])
    found = atomic_virials(model, AtomicDataDict.batched(frames))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_a_model_without_energies_of_atoms():
    with pytest.raises(KeyError, match="atomic_energy"):
        atomic_virials(lambda data: {}, data_of(crystal(), Messages()))


def test_positions_that_are_missing_are_named():
    data = data_of(crystal(), Messages())
    del data["pos"]
    with pytest.raises(KeyError, match="no field 'pos'; they have atom"):
        atomic_virials(Messages(hops=2), data)
