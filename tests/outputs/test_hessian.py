import ase
import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones as ReferenceLennardJones
from scipy.spatial.transform import Rotation

from nablatom import sum_over_samples
from nablatom.models import AtomicDataDict, LennardJones
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.hessian import HessianOutput, hessian, hvp
from nablatom.outputs.sparse_hessian import sparse_hessian
from nablatom.testing import assert_derivatives
from response_models import (
    STRUCTURES,
    Messages,
    cluster,
    crystal,
    data_of,
    rattled,
    small_cell,
)

MODELS = {
    "one hop": {"hops": 1},
    "two hops": {"hops": 2},
    "reads positions": {"reads_positions": True},
}


def chain(length=14):
    """Atoms in a row with two ends, most of them out of each other's reach."""
    places = np.arange(length)[:, None] * [1.9, 0.2, 0.0]
    symbols = (["Si", "C"] * length)[:length]
    return rattled(ase.Atoms(symbols, places, cell=[60.0, 6.0, 6.0], pbc=[True, False, False]))


def dense(tensor, count):
    """The Hessian of all atoms of one frame, from the sparse one."""
    gradient = tensor.block().gradient("positions")
    matrix = torch.zeros(len(tensor.block().samples), count, 3, 3, dtype=gradient.values.dtype)
    row, atom = (torch.tensor(np.array(gradient.samples.column(n))) for n in ("sample", "atom"))
    matrix[row.long(), atom.long()] = -gradient.values[..., 0].transpose(1, 2)
    return matrix.transpose(1, 2).reshape(-1, 3 * count)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_finite_difference_of_forces(name, structure):
    model = Messages(**MODELS[name]).eval()
    data = data_of(STRUCTURES[structure](), model)
    matrix, step = hessian(model, data), 1e-5
    for row in range(0, len(matrix), 4):
        unit = torch.zeros_like(data["pos"])
        unit.view(-1)[row] = step
        high, low = (
            pair_derivatives(model, {**data, "pos": data["pos"] + sign * unit}).positions
            for sign in (1, -1)
        )
        difference = (high - low).flatten() / (2 * step)
        torch.testing.assert_close(matrix[row], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", MODELS)
def test_it_is_symmetric_and_translations_cost_nothing(name, structure):
    model = Messages(**MODELS[name]).eval()
    matrix = hessian(model, data_of(STRUCTURES[structure](), model))
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-13)
    together = torch.eye(3).repeat(len(matrix) // 3, 1).to(matrix)
    assert (matrix @ together).abs().max() < 1e-12


@pytest.mark.parametrize("hops", [1, 2])
def test_a_rotating_cluster_turns_its_forces(hops):
    """``H (ω × r) = ω × dE/dr``."""
    model = Messages(hops=hops).eval()
    data = data_of(cluster(), model)
    spin = torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64).expand_as(data["pos"])
    slope = pair_derivatives(model, data).positions
    found = hvp(model, data, {"positions": torch.linalg.cross(spin, data["pos"])})["positions"]
    torch.testing.assert_close(found, torch.linalg.cross(spin, slope), rtol=0, atol=1e-12)


def test_rotation():
    model = Messages().eval()
    structure = crystal()
    turn = torch.tensor(Rotation.from_euler("xyz", [0.3, -1.1, 0.7]).as_matrix())
    expected = hessian(model, data_of(structure, model))
    structure.set_cell(structure.cell[:] @ turn.numpy().T, scale_atoms=True)
    turns = torch.block_diag(*[turn] * len(structure))
    found = hessian(model, data_of(structure, model))
    torch.testing.assert_close(found, turns @ expected @ turns.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_products_are_those_with_the_matrix(structure):
    model = Messages().eval()
    data = data_of(STRUCTURES[structure](), model)
    tangent = torch.sin(torch.arange(data["pos"].numel())).view_as(data["pos"]).double()
    expected = (hessian(model, data) @ tangent.flatten()).view_as(tangent)
    found = hvp(model, data, {"positions": tangent})["positions"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_products_with_strains_move_what_positions_say():
    model = Messages().eval()
    data = data_of(small_cell(), model)
    tangents = {
        "positions": torch.linspace(-1, 1, data["pos"].numel()).view_as(data["pos"]).double(),
        "strain": torch.arange(9.0, dtype=torch.float64).view(1, 3, 3) / 9,
    }
    step = 1e-4

    def slopes(times):
        moved = data["pos"] + times * step * tangents["positions"]
        turn = torch.eye(3, dtype=torch.float64) + times * step * tangents["strain"][0]
        point = {**data, "pos": moved @ turn, "cell": data["cell"] @ turn}
        return pair_derivatives(model, point).positions @ turn.T

    expected = (slopes(1) - slopes(-1)) / (2 * step)
    found = hvp(model, data, tangents)
    assert found.keys() == tangents.keys()
    torch.testing.assert_close(found["positions"], expected, rtol=0, atol=1e-6)


def test_chosen_rows_are_those_of_the_whole():
    model = Messages().eval()
    frames = [data_of(make(), model) for make in (small_cell, crystal, cluster)]
    data = AtomicDataDict.batched(frames)
    whole = hessian(model, data).view(-1, 3, 3 * len(data["pos"]))
    rows = [7, 0, 12, 3]
    expected = whole[rows].flatten(0, 1)
    torch.testing.assert_close(hessian(model, data, rows=rows), expected, rtol=0, atol=1e-14)
    module = HessianOutput(model, rows=rows)
    torch.testing.assert_close(module(data)["hessian"], expected, rtol=0, atol=1e-14)
    assert hessian(model, data, rows=[]).shape == (0, 3 * len(data["pos"]))
    with pytest.raises(IndexError, match=r"there is no atom 19; rows are from 0 to 18"):
        hessian(model, data, rows=[0, 19])


def test_lennard_jones_against_ase():
    """By central differences of ASE's forces, in a cluster that ends before the cutoff."""
    structure = rattled(
        ase.Atoms("Ar5", [[0, 0, 0], [3.8, 0, 0], [0, 3.9, 0], [0, 0, 4], [3, 3, 3]])
    )
    structure.calc = ReferenceLennardJones(sigma=3.4, epsilon=0.0104, rc=50.0)
    step, rows = 1e-4, []
    for atom, axis in np.ndindex(5, 3):
        forces = []
        for sign in (1, -1):
            moved = structure.copy()
            moved.calc = structure.calc
            moved.positions[atom, axis] += sign * step
            forces.append(moved.get_forces())
        rows.append((forces[1] - forces[0]).ravel() / (2 * step))
    argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=50.0)  # switches from 40 Å on
    found = hessian(argon, data_of(structure, argon)).numpy()
    # differences of steps of 1e-4 Å: 1e-8 of the third derivative over the second
    np.testing.assert_allclose(found, rows, rtol=0, atol=1e-7)


def test_two_atoms_by_their_closed_form():
    """``u'' r̂r̂ + u'/r (1 - r̂r̂)``."""
    argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=20.0)
    r = np.array([2.0, -1.0, 3.5])
    length = np.linalg.norm(r)
    matrix = hessian(argon, data_of(ase.Atoms("Ar2", [[0, 0, 0], r]), argon)).numpy()
    power = (3.4 / length) ** 6
    slope = 4 * 0.0104 * (-12 * power**2 + 6 * power) / length
    curvature = 4 * 0.0104 * (156 * power**2 - 42 * power) / length**2
    along = np.outer(r, r) / length**2
    block = curvature * along + slope / length * (np.eye(3) - along)
    expected = np.block([[block, -block], [-block, block]])
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-14)


# -- sparse --------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_edges", [1, 60, 100_000])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("structure", [chain, crystal, small_cell])
def test_the_sparse_one_is_the_dense_one(structure, name, batch_edges):
    model = Messages(cutoff=2.6, **MODELS[name]).eval()
    data = data_of(structure(), model)
    expected = hessian(model, data)
    found = dense(sparse_hessian(model, data, batch_edges=batch_edges), len(data["pos"]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_only_rows_that_can_differ_from_zero_are_stored():
    model = Messages(cutoff=2.6, hops=1).eval()  # sees its two neighbors: rows see four
    data = data_of(chain(), model)
    gradient = sparse_hessian(model, data).block().gradient("positions")
    row, atom = (gradient.samples.column(name) for name in ("sample", "atom"))
    assert len(row) == 5 * len(data["pos"]) - 6
    assert np.abs(row - atom).max() == 2
    assert (gradient.values.abs().amax((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("make", [lambda: chain(6), small_cell])
def test_forces_of_the_sparse_one_have_its_gradient(make):
    model = Messages(cutoff=2.6, hops=1).eval()
    data = data_of(make(), model)

    def forces(positions):
        return sparse_hessian(model, {**data, "pos": torch.tensor(positions[0])})

    assert_derivatives(forces, data["pos"].numpy()[None].copy(), "positions")


def test_forces_sum_to_nothing_and_so_do_their_gradients():
    model = Messages(cutoff=2.6, hops=1).eval()
    total = sum_over_samples(sparse_hessian(model, data_of(chain(), model)), "atom").block()
    assert total.values.abs().max() < 1e-13
    assert total.gradient("positions").values.abs().max() < 1e-13


def test_the_sparse_one_of_a_batch_and_of_chosen_rows():
    model = Messages(cutoff=2.6, hops=1).eval()
    frames = [data_of(make(), model) for make in (chain, small_cell)]
    data = AtomicDataDict.batched(frames)
    rows = [15, 3, 0]
    block = sparse_hessian(model, data, rows=rows).block()
    assert block.samples.values.tolist() == [[1, 1], [0, 3], [0, 0]]
    alone = sparse_hessian(model, frames[0], rows=[3]).block()
    here = block.gradient("positions").samples.column("sample") == 1
    found = block.gradient("positions").values[torch.tensor(here)]
    torch.testing.assert_close(found, alone.gradient("positions").values, rtol=0, atol=1e-14)
    torch.testing.assert_close(block.values[1], alone.values[0], rtol=0, atol=1e-14)


def test_the_sparse_one_can_be_trained_on():
    model = Messages(cutoff=2.6, hops=1).train()
    data = data_of(chain(), model)
    slopes = []
    for make in (sparse_hessian, None):
        matrix = dense(make(model, data), 14) if make else hessian(model, data)
        slopes.append(torch.autograd.grad(matrix.square().sum(), model.radial[0])[0])
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=0)
    assert not sparse_hessian(model, data, create_graph=False).block().values.requires_grad


def test_too_few_hops_are_noticed():
    model = Messages(cutoff=2.6, hops=2).eval()
    data = data_of(chain(), model)
    model.hops = 1
    with pytest.raises(ValueError, match="declares hops = 1, but the force on atom"):
        sparse_hessian(model, data)
    model.hops = 0
    with pytest.raises(ValueError, match="give it hops"):
        sparse_hessian(model, data)


def test_a_tangent_of_another_shape():
    model = Messages().eval()
    with pytest.raises(ValueError, match="shape"):
        hvp(model, data_of(crystal(), model), {"positions": torch.zeros(3, 3)})
