import ase
import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.spatial.transform import Rotation

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.derivatives import pair_derivatives
from nablatom.outputs.field_response import (
    FieldResponseOutput,
    born_charges,
    dipole,
    field_response,
    polarizability,
)
from response_models import Messages, crystal, data_of, rattled

CHARGES = {1: 0.4, 6: 0.1, 8: -0.9}
VOLUMES = {1: 0.08, 6: 0.4, 8: 0.2}  # Å³: polarizabilities of atoms, far from catastrophe


class InducedDipoles(GraphModuleMixin, torch.nn.Module):
    """Point charges ``q``, and dipoles ``p = α (F + E_q + T p)`` that field and charges induce.

    In units of e²/Å: ``E = sum_i<j q_i q_j / r - sum_i q_i r_i · F - ½ e · (α⁻¹ - T)⁻¹ e`` with
    ``e = F + E_q`` at all atoms. One molecule at a time.
    """

    cutoff, hops, type_names = 10.0, 1, ()

    def __init__(self, charged=True, interacting=True):
        super().__init__()
        self.charged, self.interacting = charged, interacting
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        self._init_irreps(irreps_out={"total_energy": "0e"})

    def forward(self, data):
        frames = [self.energy(*frame) for frame in self.frames(data)]
        return {**data, "total_energy": torch.stack(frames)[:, None]}

    def frames(self, data):
        frame = AtomicDataDict.frame_of_atoms(data)
        field = data["electric_field"]
        for f in range(AtomicDataDict.num_frames(data)):
            yield data["pos"][frame == f], data["atomic_numbers"][frame == f], field[f]

    def energy(self, positions, numbers, field):
        count = len(positions)
        q = positions.new_tensor([CHARGES[z] * self.charged for z in numbers.tolist()])
        alpha = positions.new_tensor([VOLUMES[z] for z in numbers.tolist()])
        diagonal = torch.eye(count, dtype=torch.bool)
        apart = positions[:, None] - positions  # from j to i
        r = torch.where(diagonal, 1.0, apart.square().sum(-1).masked_fill(diagonal, 1.0).sqrt())
        off = (~diagonal).to(positions)
        of_charges = (off * q / r**3)[..., None] * apart
        local = (field + of_charges.sum(1)).flatten()
        outer = apart[..., :, None] * apart[..., None, :]
        tensor = 3 * outer / r[..., None, None] ** 5 - torch.eye(3) / r[..., None, None] ** 3
        tensor = tensor * off[..., None, None] * self.interacting
        inverse = torch.diag(1 / alpha.repeat_interleave(3))
        inverse = inverse - tensor.transpose(1, 2).reshape(3 * count, 3 * count)
        induced = torch.linalg.solve(inverse, local)
        coulomb = 0.5 * (off * q[:, None] * q / r).sum()
        return self.scale * coulomb - self.scale * (q @ positions) @ field - 0.5 * local @ induced


def water():
    return AtomicDataDict.from_ase(rattled(molecule("H2O")))


def methanol():
    return AtomicDataDict.from_ase(rattled(molecule("CH3OH")))


def with_field(data, *field):
    return {**data, "electric_field": torch.tensor([field], dtype=torch.float64)}


MOLECULES = {"water": water, "methanol": methanol}
FIELDS = {"no field": (0.0, 0.0, 0.0), "a field": (0.02, -0.05, 0.03)}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("make", MOLECULES)
def test_all_of_them_match_finite_differences(make, field):
    model, data = InducedDipoles(), with_field(MOLECULES[make](), *FIELDS[field])
    found, step = field_response(model, data), 1e-5
    for a in range(3):
        energies, dipoles, forces = [], [], []
        for sign in (1, -1):
            moved = {**data, "electric_field": data["electric_field"].clone()}
            moved["electric_field"][0, a] += sign * step
            positions = moved["pos"].clone().requires_grad_()
            energy = model({**moved, "pos": positions})["total_energy"].sum()
            energies.append(energy.detach())
            forces.append(-torch.autograd.grad(energy, positions)[0])
            dipoles.append(dipole(model, moved))
        slope = [(x[0] - x[1]) / (2 * step) for x in (energies, dipoles, forces)]
        torch.testing.assert_close(found["dipole"][0, a], -slope[0], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found["polarizability"][:, a], slope[1], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found["born_charges"][:, a], slope[2], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("make", MOLECULES)
def test_born_charges_are_what_moving_an_atom_does_to_the_dipole(make):
    model, data = InducedDipoles(), MOLECULES[make]()
    found, step = born_charges(model, data), 1e-5
    for i, b in np.ndindex(len(data["pos"]), 3):
        unit = torch.zeros_like(data["pos"])
        unit[i, b] = step
        high, low = (dipole(model, {**data, "pos": data["pos"] + s * unit}) for s in (1, -1))
        difference = (high - low)[0] / (2 * step)
        torch.testing.assert_close(found[i, :, b], difference, rtol=1e-8, atol=1e-8)


def test_charges_that_do_not_polarize_anything():
    """``μ = sum q r``, ``α = sum α_i`` and ``Z* = q``, charge by charge."""
    data = water()
    numbers = data["atomic_numbers"].tolist()
    charges = torch.tensor([CHARGES[z] for z in numbers], dtype=torch.float64)
    held = field_response(_Fixed(), data)
    torch.testing.assert_close(held["dipole"][0], charges @ data["pos"])
    expected = charges[:, None, None] * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(held["born_charges"], expected)
    assert torch.equal(held["polarizability"], torch.zeros(1, 3, 3, dtype=torch.float64))
    free = polarizability(InducedDipoles(charged=False, interacting=False), data)
    whole = sum(VOLUMES[z] for z in numbers)
    torch.testing.assert_close(free[0], whole * torch.eye(3, dtype=torch.float64))


class _Fixed(InducedDipoles):
    def energy(self, positions, numbers, field):
        charges = positions.new_tensor([CHARGES[z] for z in numbers.tolist()])
        return -(charges @ positions) @ field


def test_two_atoms_that_polarize_each_other():
    """``2α/(1 - 2α/r³)`` along the axis and ``2α/(1 + α/r³)`` across (Silberstein, 1917)."""
    r, alpha = 1.9, VOLUMES[6]
    data = AtomicDataDict.from_ase(ase.Atoms("C2", [[0, 0, 0], [0, 0, r]]))
    found = polarizability(InducedDipoles(charged=False), data)[0]
    across, along = 2 * alpha / (1 + alpha / r**3), 2 * alpha / (1 - 2 * alpha / r**3)
    expected = torch.diag(torch.tensor([across, across, along], dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("make", MOLECULES)
def test_sums(make):
    """Born charges sum to the charge; the polarizability is symmetric."""
    model, data = InducedDipoles(), with_field(MOLECULES[make](), 0.02, -0.05, 0.03)
    found = field_response(model, data)
    charge = sum(CHARGES[z] for z in data["atomic_numbers"].tolist())
    total = charge * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(found["born_charges"].sum(0), total, rtol=0, atol=1e-12)
    alpha = found["polarizability"]
    torch.testing.assert_close(alpha, alpha.transpose(1, 2), rtol=0, atol=1e-13)


def test_rotation():
    model, structure = InducedDipoles(), rattled(molecule("CH3OH"))
    turn = torch.tensor(Rotation.from_euler("xyz", [0.3, -1.1, 0.7]).as_matrix())
    field = torch.tensor([[0.02, -0.05, 0.03]], dtype=torch.float64)
    first = field_response(model, {**AtomicDataDict.from_ase(structure), "electric_field": field})
    structure.positions = structure.positions @ turn.numpy().T
    second = field_response(
        model, {**AtomicDataDict.from_ase(structure), "electric_field": field @ turn.T}
    )
    torch.testing.assert_close(second["dipole"], first["dipole"] @ turn.T)
    for key in ("polarizability", "born_charges"):
        torch.testing.assert_close(second[key], turn @ first[key] @ turn.T)


def test_each_frame_of_a_batch_has_its_own_field():
    frames = [with_field(water(), 0.1, 0, 0.2), with_field(methanol(), 0, -0.3, 0)]
    together = field_response(InducedDipoles(), AtomicDataDict.batched(frames))
    for key in ("dipole", "polarizability", "born_charges"):
        expected = torch.cat([field_response(InducedDipoles(), f)[key] for f in frames])
        torch.testing.assert_close(together[key], expected, rtol=0, atol=1e-13)


def test_nothing_is_nan_without_a_field_and_nothing_is_changed():
    data = water()
    keys = set(data)
    found = field_response(InducedDipoles().eval(), data)
    assert all(x.isfinite().all() for x in found.values() if x.is_floating_point())
    assert set(data) == keys
    assert not any(x.requires_grad for x in (*data.values(), *found.values()))


def test_the_module_gives_what_the_functions_give():
    data = with_field(water(), 0.02, -0.05, 0.03)
    outputs = FieldResponseOutput(InducedDipoles())(data)
    for key, function in {
        "dipole": dipole,
        "polarizability": polarizability,
        "born_charges": born_charges,
    }.items():
        torch.testing.assert_close(outputs[key], function(InducedDipoles().eval(), data).detach())
    assert outputs["dipole"].requires_grad  # the model is in training mode
    with torch.no_grad():
        assert not FieldResponseOutput(InducedDipoles())(data)["dipole"].requires_grad
    assert str(FieldResponseOutput(InducedDipoles()).irreps_out["dipole"]) == "1x1o"


def test_responses_can_be_differentiated_again():
    model, data = InducedDipoles(), with_field(water(), 0.02, -0.05, 0.03)

    def responses(positions, field):
        found = field_response(model, {**data, "pos": positions, "electric_field": field})
        return found["dipole"], found["polarizability"], found["born_charges"]

    inputs = [data[key].clone().requires_grad_() for key in ("pos", "electric_field")]
    assert torch.autograd.gradcheck(responses, inputs)


def test_a_model_that_reads_no_field_and_fields_of_another_shape():
    model = Messages().eval()
    data = data_of(crystal(), model)
    with pytest.raises(ValueError, match="does not depend on 'electric_field'"):
        dipole(model, data)
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected \(1, 3\)"):
        dipole(InducedDipoles(), {**water(), "electric_field": torch.zeros(2, 3)})
    assert pair_derivatives(model, data).positions.shape == (8, 3)
