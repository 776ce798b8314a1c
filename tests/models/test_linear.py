import ase
import numpy as np
import pytest
from ase.build import bulk

import nablatom.io
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.descriptors import SortedDistances
from nablatom.models import LinearModel
from nablatom.operations import sum_over_samples
from nablatom.systems import strained_cells
from soap import power_spectrum, radial_spectrum

DESCRIPTORS = {
    "radial": radial_spectrum(cutoff=4.0, width=1.0, max_radial=3),
    "power": power_spectrum(cutoff=4.0, width=1.0, max_radial=2, max_angular=2),
}
STEP = 1e-4


def random_model(calculator, structures, seed=0):
    random = np.random.default_rng(seed)
    descriptor = calculator(structures)
    energy = Labels.range("energy", 1)
    blocks = [
        TensorBlock(random.normal(size=(1, len(b.properties))), energy, [], b.properties)
        for b in descriptor
    ]
    numbers = sorted({int(z) for atoms in structures for z in atoms.numbers})
    baseline = {z: float(random.normal()) for z in numbers}
    return LinearModel(TensorMap(descriptor.keys, blocks), baseline, calculator)


def alloys(count=3):
    structures = strained_cells(count + 4, "CuAu", seed=4)
    return structures[-count:]


def energies(model, structures):
    return model(structures, gradients=()).block().values[:, 0]


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_forces_are_minus_the_differences_of_energies(name):
    structures = alloys()
    model = random_model(DESCRIPTORS[name], structures)
    gradient = model(structures).block().gradient("positions")
    random = np.random.default_rng(1)
    for row in random.choice(len(gradient.samples), 6, replace=False):
        _, frame, atom = gradient.samples.values[row]
        for axis in range(3):
            ends = []
            for step in (STEP, -STEP):
                moved = structures[frame].copy()
                moved.positions[atom, axis] += step
                ends.append(energies(model, [moved])[0])
            difference = (ends[0] - ends[1]) / (2 * STEP)
            assert gradient.values[row, axis, 0] == pytest.approx(difference, abs=2e-6)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_strain_gradient_is_the_difference_of_strained_energies(name):
    structures = alloys(2)
    model = random_model(DESCRIPTORS[name], structures)
    gradient = model(structures).block().gradient("strain")
    for row, frame in enumerate(gradient.samples.column("sample")):
        for a, b in ((0, 0), (1, 2), (2, 1)):
            ends = []
            for step in (STEP, -STEP):
                strain = np.eye(3)
                strain[a, b] += step
                strained = structures[frame].copy()
                strained.set_cell(strained.cell @ strain, scale_atoms=True)
                ends.append(energies(model, [strained])[0])
            difference = (ends[0] - ends[1]) / (2 * STEP)
            assert gradient.values[row, a, b, 0] == pytest.approx(difference, abs=2e-5)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_energy_is_the_baseline_plus_weights_times_features(name):
    """The same sum, spelled out without any operation."""
    structures = alloys()
    model = random_model(DESCRIPTORS[name], structures)
    expected = np.array([sum(model.baseline[z] for z in atoms.numbers) for atoms in structures])
    for key, block in DESCRIPTORS[name](structures).items():
        contributions = block.values @ model.weights.block(key).values[0]
        np.add.at(expected, block.samples.column("system"), contributions)
    np.testing.assert_allclose(energies(model, structures), expected, rtol=1e-12)


def test_atomic_energies_sum_to_those_of_structures_and_cover_every_atom():
    structures = alloys()
    calculator = DESCRIPTORS["power"]
    model = random_model(calculator, structures)
    atomic = model.predict(calculator(structures, gradients=("positions", "strain")))
    rows = [(s, i) for s, atoms in enumerate(structures) for i in range(len(atoms))]
    assert atomic.block().samples.values.tolist() == [list(row) for row in rows]
    summed, whole = sum_over_samples(atomic, "atom").block(), model(structures).block()
    np.testing.assert_allclose(summed.values, whole.values, rtol=1e-13)
    for name in ("positions", "strain"):
        assert summed.gradient(name).samples == whole.gradient(name).samples
        np.testing.assert_allclose(
            summed.gradient(name).values, whole.gradient(name).values, atol=1e-12
        )


def test_partial_forces_vanish_for_atoms_out_of_reach():
    atoms = ase.Atoms("Cu3", [[0, 0, 0], [0, 0, 2.5], [0, 0, 20.0]])
    calculator = DESCRIPTORS["radial"]
    model = random_model(calculator, [atoms])
    gradient = (
        model.predict(calculator([atoms], gradients=["positions"])).block().gradient("positions")
    )
    pairs = {(int(i), int(j)) for i, _, j in gradient.samples.values}
    assert pairs <= {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}
    total = np.zeros((3, 3))
    np.add.at(total, gradient.samples.column("atom"), gradient.values[..., 0])
    np.testing.assert_allclose(total.sum(axis=0), 0, atol=1e-13)  # Newton's third law


def test_an_atom_alone_has_the_energy_of_its_element():
    structures = [bulk("Cu", "fcc", 3.6, cubic=True)]
    model = random_model(DESCRIPTORS["radial"], structures)
    alone = ase.Atoms("Cu", [[0, 0, 0]])
    assert energies(model, [alone])[0] == pytest.approx(model.baseline[29], abs=1e-12)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_one_batch_gives_what_single_frames_give(name):
    structures = [*alloys(), ase.Atoms("CuAu", [[0, 0, 0], [0, 0, 2.6]])]
    model = random_model(DESCRIPTORS[name], structures)
    together = energies(model, structures)
    single = [energies(model, [atoms])[0] for atoms in structures]
    np.testing.assert_allclose(together, single, rtol=1e-12)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_saved_model_predicts_the_same_bits(name, tmp_path):
    structures = alloys()
    model = random_model(DESCRIPTORS[name], structures)
    model.save(tmp_path / "model.mts")
    loaded = LinearModel.load(tmp_path / "model.mts")
    assert loaded.calculator == model.calculator
    assert loaded.baseline == model.baseline
    assert loaded(structures) == model(structures)


def test_notes_survive_and_units_are_in_the_file(tmp_path):
    structures = alloys(1)
    bare = random_model(DESCRIPTORS["radial"], structures)
    model = LinearModel(bare.weights, bare.baseline, bare.calculator, {"fit": "by hand"})
    model.save(tmp_path / "model.mts")
    assert LinearModel.load(tmp_path / "model.mts").info == {"fit": "by hand"}
    assert "eV" in nablatom.io.load(tmp_path / "model.mts").get_info("units")


def test_unknown_elements_and_pairs_are_named():
    model = random_model(DESCRIPTORS["power"], strained_cells(1, "Cu"))
    with pytest.raises(ValueError, match=r"no weights for .*Au.* fitted to Cu"):
        model(strained_cells(1, "Au"))
    with pytest.raises(ValueError, match=r"no weights for .*Au"):
        model([ase.Atoms("CuAu", [[0, 0, 0], [0, 0, 2.5]])])


def test_a_descriptor_with_other_properties_is_refused():
    structures = strained_cells(1)
    model = random_model(radial_spectrum(cutoff=4.0, max_radial=3), structures)
    with pytest.raises(ValueError, match="settings"):
        model.predict(radial_spectrum(cutoff=4.0, max_radial=4)(structures))


def test_files_that_hold_no_model_are_refused(tmp_path):
    model = random_model(DESCRIPTORS["radial"], strained_cells(1))
    nablatom.io.save(tmp_path / "tensor.mts", model.weights)
    with pytest.raises(ValueError, match=r"tensor\.mts holds no model"):
        LinearModel.load(tmp_path / "tensor.mts")
    model.save(tmp_path / "model.mts")
    tensor = nablatom.io.load(tmp_path / "model.mts")
    tensor.set_info("descriptor", '{"name": "nothing"}')
    nablatom.io.save(tmp_path / "damaged.mts", tensor)
    with pytest.raises(ValueError, match=r"damaged\.mts.*notes"):
        LinearModel.load(tmp_path / "damaged.mts")


def test_a_descriptor_that_nobody_could_load_is_not_saved(tmp_path):
    model = random_model(DESCRIPTORS["radial"], strained_cells(1))

    def own(structures, *, gradients=()):
        return DESCRIPTORS["radial"](structures, gradients=gradients)

    with pytest.raises(ValueError, match="cannot be saved"):
        LinearModel(model.weights, model.baseline, own).save(tmp_path / "model.mts")
    assert not (tmp_path / "model.mts").exists()


def test_atoms_without_neighbors_have_the_energy_of_their_element():
    """Also where the descriptor has no row for them, or for anyone."""
    model = random_model(SortedDistances(4.0, 3), alloys())
    lone, pair = ase.Atoms("Au"), ase.Atoms("AuCu2", [[0, 0, 0], [0, 0, 2.5], [0, 0, 90]])
    together = model([lone, pair])
    assert together.block().samples["system"].tolist() == [0, 1]
    assert together.block().values[0, 0] == model.baseline[79]
    rest = model([pair[:2]]).block()
    assert together.block().values[1, 0] == pytest.approx(rest.values[0, 0] + model.baseline[29])
    forces = together.block().gradient("positions")
    assert set(forces.samples["system"].tolist()) == {1}
    alone = model([lone])
    assert alone.block().values.tolist() == [[model.baseline[79]]]
    assert alone.block().gradient("strain").values.tolist() == np.zeros((1, 3, 3, 1)).tolist()
    with pytest.raises(ValueError, match="no weights for center_type Ag"):
        model([ase.Atoms("Ag")])
