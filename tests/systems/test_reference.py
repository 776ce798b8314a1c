import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.systems import label_structures, reference_energies, strained_cells
from nablatom.tensor import TensorMap

from .test_targets import relabelled


def molecule():
    structure = ase.Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]])
    forces = np.array([[0, 0, 0.5], [0, 0, -0.5]])
    structure.calc = SinglePointCalculator(structure, energy=1.5, forces=forces)
    return structure


def test_axes_are_named():
    tensor = reference_energies(strained_cells(2))
    assert tensor.keys == Labels.single()
    block = tensor.block()
    assert (block.samples.names, block.properties.names) == (["system"], ["energy"])
    forces, strain = block.gradient("positions"), block.gradient("strain")
    assert forces.samples.names == ["sample", "system", "atom"]
    assert [c.names for c in forces.components] == [["xyz"]]
    assert strain.samples.names == ["sample"]
    assert [c.names for c in strain.components] == [["xyz_1"], ["xyz_2"]]


def test_values_and_signs():
    structures = strained_cells(4)
    block = reference_energies(structures).block()
    np.testing.assert_array_equal(
        block.values[:, 0], [s.get_potential_energy() for s in structures]
    )
    forces = np.concatenate([s.get_forces() for s in structures])
    np.testing.assert_array_equal(block.gradient("positions").values[..., 0], -forces)
    for row, structure in enumerate(structures):
        strain = block.gradient("strain").values[row, :, :, 0]
        np.testing.assert_allclose(
            strain, structure.get_stress(voigt=False) * structure.get_volume(), rtol=1e-14
        )


def test_strain_is_the_derivative_of_the_energy():
    """Against the energy of strained cells: sign, factor and order of the shear components."""
    from ase.calculators.emt import EMT

    structure = strained_cells(1)[0]
    stored = reference_energies([structure]).block().gradient("strain").values[0, :, :, 0]
    step = 1e-4
    for a, b in [(0, 0), (1, 1), (1, 2), (0, 2), (0, 1)]:
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] = sign * step
            strained = structure.copy()
            strained.set_cell(structure.cell @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = EMT()
            energies.append(strained.get_potential_energy())
        assert stored[a, b] == pytest.approx((energies[0] - energies[1]) / (2 * step), abs=1e-5)


def test_left_handed_cell_keeps_the_sign_of_the_stress():
    structure = strained_cells(1)[0]
    mirrored = structure.copy()
    mirrored.set_cell(structure.cell[[1, 0, 2]])
    mirrored.calc = SinglePointCalculator(mirrored, **structure.calc.results)
    assert np.linalg.det(mirrored.cell) < 0
    a, b = (
        reference_energies([s]).block().gradient("strain").values for s in (structure, mirrored)
    )
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_rows_only_where_there_are_labels():
    crystal = strained_cells(1)[0]
    energy_only = relabelled(crystal, drop=["forces", "stress"])
    block = reference_energies([energy_only, molecule(), crystal]).block()
    assert set(block.gradient("positions").samples["sample"]) == {1, 2}
    assert block.gradient("strain").samples["sample"].tolist() == [2]
    assert not reference_energies([energy_only]).block().has_any_gradient()


def test_missing_energy_says_what_there_is():
    structure = strained_cells(1)[0].copy()
    structure.info["dft_energy"] = 1.0
    structure.arrays["dft_forces"] = np.zeros((len(structure), 3))
    with pytest.raises(ValueError, match=r"frame 1 .*dft_energy, dft_forces"):
        reference_energies([molecule(), structure])


def test_labels_there_and_back():
    structures = [*strained_cells(3, "CuAu"), molecule()]
    tensor = reference_energies(structures)
    again = label_structures([s.copy() for s in structures], tensor)
    for a, b in zip(structures, again, strict=True):
        assert set(b.calc.results) == {n for n, v in a.calc.results.items() if v is not None}
        for name, value in b.calc.results.items():
            np.testing.assert_allclose(value, a.calc.results[name], rtol=1e-12, atol=1e-15)
    assert reference_energies(again).block().gradient("positions") == tensor.block().gradient(
        "positions"
    )


def test_inputs_are_untouched():
    structures = [s.copy() for s in strained_cells(2)]
    label_structures(structures, reference_energies(strained_cells(2)))
    assert all(s.calc is None for s in structures)


def test_unsymmetric_strain_gradients_give_symmetric_stress():
    structure = strained_cells(1)[0]
    tensor = reference_energies([structure])
    derivative = tensor.block().gradient("strain").values[0, :, :, 0]
    derivative[0, 1] += 0.5
    derivative[1, 0] -= 0.5
    stress = label_structures([structure], tensor)[0].get_stress()
    np.testing.assert_allclose(stress, structure.get_stress(), rtol=1e-10)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            TensorBlock(np.zeros((1, 1)), Labels.range("system", 1), [], Labels.range("energy", 1)),
            "2 structures",
        ),
        (
            TensorBlock(np.zeros((2, 2)), Labels.range("system", 2), [], Labels.range("n", 2)),
            "one property",
        ),
        (
            TensorBlock(np.zeros((2, 1)), Labels.range("atom", 2), [], Labels.range("energy", 1)),
            "samples",
        ),
    ],
)
def test_other_tensors_are_not_energies(block, message):
    with pytest.raises(ValueError, match=message):
        label_structures(strained_cells(2), TensorMap(Labels.single(), [block]))
