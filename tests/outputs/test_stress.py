"""Forces, stress and virial as modules: against the contract, other packages, and strain."""

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, make_supercell
from ase.calculators.lj import LennardJones as AseLennardJones

from nablatom.models import AtomicDataDict, GraphModuleMixin, LennardJones
from nablatom.models.switching import Shifted
from nablatom.outputs import (
    ForceOutput,
    ForceStressOutput,
    GradientOutput,
    StressOutput,
    forces,
    forces_and_stress,
    stress_of,
)
from nablatom.testing.output_contract import assert_output_contract
from response_models import Messages, cluster, crystal, data_of, left_handed, slab, small_cell

OUTPUTS = {
    "StressOutput": StressOutput,
    "without forces": lambda func: StressOutput(func, do_forces=False),
    "ForceStressOutput": ForceStressOutput,
    "ForceOutput": ForceOutput,
}


@pytest.fixture(scope="module")
def model():
    return Messages(2).eval()


@pytest.mark.parametrize("name", OUTPUTS)
def test_contract(name, model):
    structures = {"left-handed": left_handed(), "small cell": small_cell(), "cluster": cluster()}
    assert_output_contract(OUTPUTS[name](model), structures)


def test_stress_and_forces_of_ase():
    """ASE's own Lennard-Jones, cut and shifted as ours."""
    structure = bulk("Ar", "fcc", a=5.1, cubic=True)
    structure.rattle(0.1, rng=np.random.default_rng(2))
    structure.set_cell(structure.cell @ [[1.03, 0.02, 0], [0, 0.98, 0.05], [0, 0, 1]], True)
    model = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=6.0, switch=Shifted())
    outputs = StressOutput(model)(data_of(structure, model))
    structure.calc = AseLennardJones(epsilon=0.0104, sigma=3.4, rc=6.0)
    np.testing.assert_allclose(outputs["forces"], structure.get_forces(), rtol=0, atol=1e-13)
    expected = structure.get_stress(voigt=False)
    np.testing.assert_allclose(outputs["stress"][0], expected, rtol=1e-11, atol=1e-15)


def test_outputs_and_functions_agree(model):
    data = AtomicDataDict.batched([data_of(crystal(), model), data_of(slab(), model)])
    outputs = StressOutput(model)(data)
    force, stress = forces_and_stress(model, data)
    for found in (force, forces(model, data), ForceOutput(model)(data)["forces"]):
        torch.testing.assert_close(found, outputs["forces"], rtol=0, atol=0)
    slope = GradientOutput(model, of="total_energy", wrt="pos", sign=-1)(data)
    torch.testing.assert_close(slope["d(total_energy)/d(pos)"], force, rtol=0, atol=1e-13)
    torch.testing.assert_close(stress, outputs["stress"], rtol=0, atol=0)
    volumes = torch.linalg.det(data["cell"]).abs()[:, None, None]
    torch.testing.assert_close(outputs["virial"], -volumes * stress, rtol=1e-13, atol=1e-14)


def test_do_forces_and_do_derivatives(model):
    data = data_of(crystal(), model)
    stressed = StressOutput(model, do_forces=False)
    assert "forces" not in stressed(data)
    assert "forces" not in stressed.irreps_out
    torch.testing.assert_close(stressed(data)["stress"], StressOutput(model)(data)["stress"])
    plain = ForceStressOutput(model, do_derivatives=False)
    assert set(plain(data)) == set(model(data))
    assert plain.irreps_out == model.irreps_out
    torch.testing.assert_close(
        ForceStressOutput(model)(data)["virial"], StressOutput(model)(data)["virial"]
    )


def test_labels_in_the_data_are_no_results(model):
    molecule = data_of(cluster(), model)
    labels = {"stress": torch.ones(1, 3, 3), "forces": torch.ones(9, 3)}
    outputs = StressOutput(model)(molecule | labels)
    assert "stress" not in outputs
    torch.testing.assert_close(outputs["forces"], forces(model, molecule))


def test_irreps(model):
    irreps = StressOutput(model).irreps_out
    assert str(irreps["forces"]) == "1x1o"
    for name in ("stress", "virial"):
        assert irreps[name].dim == 9
        assert str(irreps[name]) == "1x0e+1x1e+1x2e"
    assert (irreps["total_energy"], StressOutput(model).hops) == (
        model.irreps_out["total_energy"],
        2,
    )


# -- which frames have a stress -----------------------------------------------------------


def test_a_frame_without_cell_has_no_stress(model):
    molecule = data_of(cluster(), model)
    bare = {key: x for key, x in molecule.items() if key not in ("cell", "pbc", "edge_cell_shift")}
    boxed = molecule | {"cell": 10.0 * torch.eye(3, dtype=torch.float64)[None]}
    for data in (molecule, bare, boxed):
        outputs = StressOutput(model)(data)
        assert "stress" not in outputs
        assert forces_and_stress(model, data)[1] is None
        expected = (data["pos"].T @ outputs["forces"])[None]  # of a cluster
        symmetric = 0.5 * (expected + expected.transpose(1, 2))
        torch.testing.assert_close(outputs["virial"], symmetric, rtol=0, atol=1e-12)


def test_molecules_beside_crystals(model):
    frames = [data_of(make(), model) for make in (cluster, crystal, cluster, slab)]
    outputs = StressOutput(model)(AtomicDataDict.batched(frames))
    assert outputs["stress"].isnan().all((1, 2)).tolist() == [True, False, True, False]
    for index in (1, 3):
        alone = StressOutput(model)(frames[index])
        torch.testing.assert_close(outputs["stress"][index], alone["stress"][0])
    assert outputs["virial"].isfinite().all()


def test_a_molecule_puts_no_nan_into_the_parameters():
    model = Messages(1).train()
    frames = [data_of(make(), model) for make in (cluster, crystal)]
    stress = StressOutput(model)(AtomicDataDict.batched(frames))["stress"]
    loss = torch.where(stress.isnan(), 0.0, stress).square().sum()
    both = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    loss = StressOutput(model)(frames[1])["stress"].square().sum()
    alone = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    for found, expected in zip(both, alone, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_no_cell_leaves_finite_derivatives_by_the_cell():
    """Also second ones: the volume of no cell has a slope of zero."""
    cell = torch.zeros(2, 3, 3, dtype=torch.float64)
    cell[1] = torch.eye(3)
    cell.requires_grad_()
    strain = torch.ones(2, 3, 3, dtype=torch.float64)
    stress = stress_of(strain, {"cell": cell})
    loss = torch.where(stress.isnan(), 0.0, stress).sum()
    (slope,) = torch.autograd.grad(loss, cell, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), cell)
    assert slope[0].eq(0).all()
    assert second.isfinite().all()


def test_handedness_of_the_cell_does_not_matter(model):
    right, left = crystal(), left_handed()
    stresses = [forces_and_stress(model, data_of(each, model))[1] for each in (right, left)]
    torch.testing.assert_close(*stresses, rtol=1e-12, atol=1e-15)
    assert np.linalg.det(left.cell) * np.linalg.det(right.cell) < 0


@pytest.mark.parametrize(
    "lattice",
    [np.diag([2, 1, 1]), [[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[1, 1, 0], [0, 1, 0], [0, 0, 1]]],
    ids=["supercell", "permuted", "sheared"],
)
def test_equivalent_cells_have_the_same_stress(lattice, model):
    unit = small_cell()
    other = make_supercell(unit, lattice, wrap=False)
    stresses = [forces_and_stress(model, data_of(each, model))[1] for each in (unit, other)]
    torch.testing.assert_close(*stresses, rtol=1e-11, atol=1e-14)


def test_a_slab_has_a_virial_that_no_vacuum_changes(model):
    thin, thick = slab(), slab()
    thick.cell[2] += [0, 0, 7.0]
    thin.cell[2] += [0, 0, 2.0]
    virials = [StressOutput(model)(data_of(each, model))["virial"] for each in (thin, thick)]
    torch.testing.assert_close(*virials, rtol=1e-12, atol=1e-13)
    stresses = [forces_and_stress(model, data_of(each, model))[1] for each in (thin, thick)]
    ratio = thick.get_volume() / thin.get_volume()
    torch.testing.assert_close(stresses[0], stresses[1] * ratio, rtol=1e-12, atol=1e-14)


def test_only_the_symmetric_part_of_a_strain_matters(model):
    """``dE`` along a strain that is not symmetric is that of its symmetric part."""
    structure = small_cell()
    stress = forces_and_stress(model, data_of(structure, model))[1][0].numpy()
    strain = np.array([[0.3, 0.8, -0.1], [-0.2, 0.4, 0.5], [0.6, -0.7, 0.1]])

    def energy(h):
        moved = structure.copy()
        moved.set_cell(structure.cell @ (np.eye(3) + h * strain), scale_atoms=True)
        return model(data_of(moved, model))["total_energy"].item()

    slope = (energy(1e-5) - energy(-1e-5)) / 2e-5
    assert slope == pytest.approx(structure.get_volume() * np.sum(stress * strain), rel=1e-7)


def test_compression_pushes_back():
    model = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    pressed, pulled = (
        forces_and_stress(model, data_of(bulk("Ar", a=a), model))[1][0].trace() for a in (4.9, 5.5)
    )
    assert pressed < 0 < pulled


# -- training, copies, nesting ------------------------------------------------------------


def test_gradcheck_of_forces_and_stress():
    model = Messages(1, width=2).eval()
    data = data_of(small_cell(), model)

    def outputs(pos, cell):
        found = StressOutput(model)(data | {"pos": pos, "cell": cell})
        return found["forces"], found["stress"]

    leaves = [data[key].clone().requires_grad_() for key in ("pos", "cell")]
    assert torch.autograd.gradcheck(outputs, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, leaves, fast_mode=True, atol=1e-4)


def test_loss_of_forces_and_stress_has_the_slope_of_its_differences():
    model = Messages(1, width=2).train()
    module = StressOutput(model)
    data = data_of(small_cell(), model)

    def loss():
        found = module(data)
        return found["forces"].square().sum() + found["stress"].square().sum()

    slopes = torch.autograd.grad(loss(), list(model.parameters()), allow_unused=True)
    for parameter, slope in zip(model.parameters(), slopes, strict=True):
        with torch.no_grad():
            direction = torch.cos(torch.arange(parameter.numel())).reshape(parameter.shape)
            parameter += 1e-5 * direction
            above = loss()
            parameter -= 2e-5 * direction
            below = loss()
            parameter += 1e-5 * direction
        found = 0.0 if slope is None else (slope * direction).sum().item()
        assert found == pytest.approx((above - below).item() / 2e-5, rel=1e-6, abs=1e-8)


def test_a_new_wrapper_follows_the_mode_of_the_model():
    model = Messages(1).eval()
    module = StressOutput(StressOutput(model))
    data = data_of(small_cell(), model)
    assert not any(x.requires_grad for x in module(data).values())
    model.train()
    assert module(data)["forces"].requires_grad
    assert not StressOutput(model, create_graph=False)(data)["forces"].requires_grad


def test_wrappers_around_wrappers(model):
    data = data_of(crystal(), model)
    nested = ForceOutput(StressOutput(ForceOutput(model)))(data)
    plain = StressOutput(model)(data)
    for field in ("forces", "stress", "virial", "total_energy"):
        torch.testing.assert_close(nested[field], plain[field], rtol=0, atol=0)


def test_refuses_what_gives_no_energy(model):
    class Charges(GraphModuleMixin, torch.nn.Module):
        def __init__(self, irreps):
            super().__init__()
            self._init_irreps(irreps_out=irreps)

    with pytest.raises(TypeError, match="function is no graph module"):
        StressOutput(lambda data: data)
    with pytest.raises(ValueError, match=r"no output 'total_energy'; it has .*charges"):
        StressOutput(Charges({"charges": "0e"}))
    with pytest.raises(ValueError, match=r"only a scalar \(0e\).*'total_energy' is 1x1o"):
        ForceOutput(Charges({"total_energy": "1o"}))


# -- the peer -----------------------------------------------------------------------------


def test_nequip_gives_the_same():
    """The peer's own wrapper around our model, which reads positions there."""
    pytest.importorskip("nequip")
    from nequip.nn import ForceStressOutput as Peer

    class Mutable(GraphModuleMixin, torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model
            self._init_irreps(irreps_out=model.irreps_out)

        def forward(self, data):
            return self.model(data)

    model = Messages(2).eval()
    peer = Peer(Mutable(model)).eval()
    frames = [data_of(make(), model) for make in (cluster, crystal, left_handed, small_cell)]
    data = AtomicDataDict.batched(frames)
    expected, found = peer(dict(data)), StressOutput(model)(data)
    for field in ("forces", "virial", "stress", "total_energy"):
        torch.testing.assert_close(
            found[field], expected[field].detach(), rtol=1e-12, atol=1e-13, equal_nan=True
        )


def test_ase_voigt_order(model):
    structure = crystal()
    outputs = StressOutput(model)(data_of(structure, model))
    back = AtomicDataDict.to_ase(outputs)
    assert isinstance(back, ase.Atoms)
    xx, yy, zz, yz, xz, xy = back.get_stress()
    expected = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    np.testing.assert_allclose(outputs["stress"][0], expected, rtol=0, atol=0)


# -- physics ------------------------------------------------------------------------------


def test_pressure_is_minus_the_slope_of_the_energy_by_volume(model):
    structure = crystal()
    volume = structure.get_volume()
    stress = forces_and_stress(model, data_of(structure, model))[1][0]

    def energy(volume_now):
        moved = structure.copy()
        moved.set_cell(structure.cell * (volume_now / volume) ** (1 / 3), scale_atoms=True)
        return model(data_of(moved, model))["total_energy"].item()

    h = 1e-4 * volume
    slope = (energy(volume + h) - energy(volume - h)) / (2 * h)
    assert slope == pytest.approx(stress.trace().item() / 3, rel=1e-6)


def test_no_work_is_done_around_a_closed_path(model):
    """``∮ F·dr = 0``: the trapezoidal rule is exact to all orders on a smooth closed path."""
    data = data_of(cluster(), model)
    first, second = (torch.sin(k * torch.arange(27.0).double()).reshape(9, 3) for k in (1, 2))
    steps, work, size = 48, 0.0, 0.0
    for angle in torch.arange(steps).double() * (2 * torch.pi / steps):
        pos = data["pos"] + 0.02 * (angle.cos() * first + angle.sin() * second)
        tangent = 0.02 * (angle.cos() * second - angle.sin() * first)
        power = (forces(model, data | {"pos": pos}) * tangent).sum().item()
        work, size = work + power / steps, size + abs(power) / steps
    assert size > 1e-3
    assert abs(work) < 1e-9 * size


def test_clusters_feel_no_net_force_and_no_net_torque(model):
    data = data_of(cluster(), model)
    found = forces(model, data)
    torch.testing.assert_close(found.sum(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torque = torch.linalg.cross(data["pos"], found).sum(0)
    torch.testing.assert_close(torque, torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert found.abs().max() > 0.01
