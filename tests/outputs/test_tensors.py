import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import nablatom
from message_passing import layered
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.models import AtomicDataDict, LennardJones
from nablatom.outputs import (
    GradientOutput,
    PartialForceOutput,
    StressOutput,
    atom_energies,
    atoms_to_tensor,
    frame_energies,
    from_tensor,
    partial_forces,
    to_tensor,
)
from nablatom.outputs.atomic_virial import AtomicVirialOutput
from nablatom.systems import label_structures, reference_energies

TYPES = ("Si", "C", "H")
GRADIENTS = ["positions", "strain", "cell"]


def crystal(seed=0):
    structure = bulk("Si", cubic=True)
    structure.rattle(0.1, seed=seed)
    return structure


def slab():
    structure = crystal(1).repeat((2, 1, 1))
    structure.center(vacuum=6.0, axis=2)
    structure.pbc = [True, True, False]
    structure.set_cell(structure.cell.array[[1, 0, 2]])  # left-handed
    return structure


def frames():
    return [crystal(), molecule("Si2H6"), slab(), ase.Atoms("Si")]


def batch():
    parts = [AtomicDataDict.from_ase(structure, cutoff=3.0) for structure in frames()]
    return AtomicDataDict.batched(parts)


def single():
    return AtomicDataDict.from_ase(crystal(), cutoff=3.0)


def assert_close(found, expected, tolerance=1e-12):
    """Equal but for rounding, NaN where NaN is expected."""
    assert found.shape == expected.shape
    assert torch.equal(found.isnan(), expected.isnan())
    scale = expected.nan_to_num().abs().max().clamp(min=1e-6)
    assert ((found - expected).nan_to_num().abs().max() / scale).item() <= tolerance


def assert_same_map(found, expected):
    nablatom.allclose_raise(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("data", [single, batch])
def test_summed_over_atoms_it_is_the_map_of_frames(layers, data):
    model, data = layered(layers, TYPES), data()
    atoms = atom_energies(model, data, gradients=GRADIENTS)
    summed = nablatom.sum_over_samples(atoms, "atom")
    assert_same_map(summed, frame_energies(model, data, gradients=GRADIENTS))
    assert summed.keys.names == ["_"]
    assert summed.block().properties.names == ["energy"]


def test_by_positions_strain_and_cell_the_identity_of_the_conventions_holds():
    """dE/dstrain_ab = sum_j r_ja dE/dr_jb + sum_k H_ka dE/dH_kb, for every single atom."""
    model, data = layered(2, TYPES), single()
    block = atom_energies(model, data, gradients=GRADIENTS).block()
    slope = block.gradient("positions").values[..., 0]
    rows = block.gradient("positions").samples
    at = torch.tensor(rows.column("atom"))
    products = data["pos"][at][:, :, None] * slope[:, None]
    strain = torch.zeros(len(block), 3, 3, dtype=slope.dtype)
    strain = strain.index_add(0, torch.tensor(rows.column("sample")), products)
    strain += data["cell"].reshape(3, 3).T @ block.gradient("cell").values[..., 0]
    assert_close(block.gradient("strain").values[..., 0], strain)


@pytest.mark.parametrize("data", [single, batch])
def test_outputs_of_frames_there_and_back(data):
    model, data = layered(2, TYPES), data()
    outputs = GradientOutput(StressOutput(model), "total_energy", "cell")(data)
    tensor = to_tensor(outputs)
    assert tensor.block().gradients_list() == GRADIENTS
    assert_same_map(tensor, frame_energies(model, data, gradients=GRADIENTS))
    back = from_tensor(tensor, data)
    for key in ("total_energy", "forces", "virial", "stress", "d(total_energy)/d(cell)"):
        assert_close(back[key], outputs[key])


def test_stress_alone_there_and_back():
    data = batch()
    outputs = StressOutput(layered(2, TYPES))(data)
    del outputs["virial"]
    tensor = to_tensor(outputs)
    assert tensor.block().gradient("strain").samples.column("sample").tolist() == [0, 2]
    assert_close(from_tensor(tensor, data)["stress"], outputs["stress"])


@pytest.mark.parametrize("data", [single, batch])
def test_outputs_of_atoms_there_and_back(data):
    model, data = layered(2, TYPES), data()
    outputs = {**PartialForceOutput(model)(data), **StressOutput(model)(data)}
    outputs |= {"atomic_virial": AtomicVirialOutput(model)(data)["atomic_virial"]}
    tensor = atoms_to_tensor(outputs)
    sparse = atom_energies(model, data)
    assert set(tensor.block().gradient("positions").samples) <= set(
        sparse.block().gradient("positions").samples
    )
    for block in (tensor.block(), sparse.block()):
        back = from_tensor(TensorMap(Labels.single(), [block]), data)
        keys = ("atomic_energy", "total_energy", "partial_forces", "forces", "atomic_virial")
        for key in (*keys, "virial", "stress"):
            assert_close(back[key], outputs[key])


def test_labels_of_structures_are_the_same_map():
    """What ASE's structures carry, read by another part of the library."""
    structures = [crystal(), slab()]
    model = LennardJones(["Si"], epsilon=0.1, sigma=2.0, cutoff=4.0)
    data = AtomicDataDict.from_ase(structures, cutoff=4.0)
    tensor = nablatom.detach(frame_energies(model, data))
    labelled = AtomicDataDict.to_ase({**data, **StressOutput(model)(data)})
    expected = reference_energies(labelled).block()
    for name in ("positions", "strain"):
        found = tensor.block().gradient(name)
        assert found.samples == expected.gradient(name).samples
        assert np.abs(found.values.numpy() - expected.gradient(name).values).max() < 1e-12
    again = reference_energies(label_structures(structures, as_numpy(tensor)))
    assert_same_map(again, reference_energies(labelled))


def as_numpy(tensor):
    def block(b):
        gradients = {name: block(g) for name, g in b.gradients()}
        return TensorBlock.unchecked(
            b.values.numpy(), b.samples, tuple(b.components), b.properties, gradients
        )

    return TensorMap(tensor.keys, [block(b) for b in tensor.blocks()])


def test_tensors_of_numpy_become_fields_too():
    model, data = layered(2, TYPES), batch()
    for tensor in (atom_energies(model, data), frame_energies(model, data)):
        found = from_tensor(as_numpy(tensor), data)
        for key, expected in from_tensor(tensor, data).items():
            assert_close(found[key].double(), expected.double(), 0.0)


def test_through_a_file(tmp_path):
    data = batch()
    tensor = partial_forces(layered(2, TYPES), data)
    nablatom.save(tmp_path / "energies.mts", as_numpy(tensor))
    found = from_tensor(nablatom.load(tmp_path / "energies.mts"), data)
    assert_close(found["forces"], from_tensor(tensor, data)["forces"], 0.0)


def test_chosen_atoms_leave_the_others_unknown():
    data = single()
    tensor = partial_forces(layered(2, TYPES), data, atoms=[1, 5])
    found = from_tensor(tensor, data)
    known = ~found["atomic_energy"].isnan().flatten()
    assert torch.nonzero(known).flatten().tolist() == [1, 5]
    assert found["forces"].isnan().all()


def test_results_stay_in_the_graph():
    model, data = layered(2, TYPES).train(), batch()
    for tensor in (atom_energies(model, data), frame_energies(model, data)):
        fields = from_tensor(tensor, data)
        loss = fields["forces"].square().sum() + fields["stress"].nan_to_num().square().sum()
        slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        assert max(x.abs().max().item() for x in slopes if x is not None) > 0


def test_what_does_not_fit_is_refused():
    data, tensor = single(), frame_energies(layered(1, TYPES), batch())
    with pytest.raises(ValueError, match="system 3, the data have 1 frames"):
        from_tensor(tensor, data)
    atoms = partial_forces(layered(1, TYPES), single())
    with pytest.raises(ValueError, match="atom 1 of system 0, which has 1 atoms"):
        from_tensor(atoms, AtomicDataDict.from_ase(ase.Atoms("Si"), cutoff=3.0))
    other = TensorBlock(np.zeros((1, 1)), Labels.range("x", 1), [], Labels.range("energy", 1))
    with pytest.raises(ValueError, match="got \\['x'\\]"):
        from_tensor(TensorMap(Labels.single(), [other]), data)
    wide = TensorBlock(np.zeros((1, 2)), Labels.range("system", 1), [], Labels.range("n", 2))
    with pytest.raises(ValueError, match="one property"):
        from_tensor(TensorMap(Labels.single(), [wide]), data)
    with pytest.raises(KeyError, match="total_energy"):
        to_tensor(data)
    with pytest.raises(KeyError, match="atomic_energy"):
        atoms_to_tensor(data)
    with pytest.raises(ValueError, match="choose from positions, strain, cell"):
        frame_energies(layered(1, TYPES), data, gradients=["field"])
