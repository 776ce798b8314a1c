import json
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from nablatom import Labels, TensorBlock, TensorMap
from nablatom.descriptors import (
    G2,
    G4,
    G5,
    AtomicComposition,
    AtomicSymmetryFunctions,
    Bispectrum,
    Cutoff,
    EquivariantPowerSpectrum,
    Gto,
    LodeSphericalExpansion,
    MixedTypes,
    NeighborList,
    SmearedPowerLaw,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SortedDistances,
    SphericalExpansion,
    SphericalExpansionByPair,
)
from nablatom.descriptors.scalars import scalars
from nablatom.models import LinearModel
from nablatom.systems import label_structures, read_structures, reference_energies, strained_cells
from nablatom.train import compare, fit_descriptor, fit_linear, split_frames
from soap import power_spectrum, radial_spectrum

DATA = Path("../shared/data")
RADIAL = radial_spectrum(cutoff=4.5, width=1.5, max_radial=3)
POWER = power_spectrum(cutoff=4.0, width=1.5, max_radial=2, max_angular=1)
SETTINGS = {"cutoff": Cutoff(4.0, 1.0), "radial": Gto(1), "max_angular": 1}
DENSITY = SphericalExpansion(**SETTINGS)
DESCRIPTORS = {
    "expansion": DENSITY,
    "by pair": SphericalExpansionByPair(**SETTINGS),
    "radial": SoapRadialSpectrum(cutoff=Cutoff(4.0, 1.0), radial=Gto(2)),
    "power": SoapPowerSpectrum(**SETTINGS),
    "equivariant": EquivariantPowerSpectrum(DENSITY, max_lambda=1),
    "bispectrum": Bispectrum(DENSITY),
    "mixed": MixedTypes(DENSITY, (29, 79), [[1.0], [0.4]]),
    "long range": LodeSphericalExpansion(
        radial=Gto(1, radius=2.0), density=SmearedPowerLaw(1.0), max_angular=1
    ),
    "symmetry functions": AtomicSymmetryFunctions((G2(0.5), G5(0.1), G4(0.05)), Cutoff(4.0, None)),
    "sorted distances": SortedDistances(4.0, 5),
    "composition": AtomicComposition(),
}


def known_model(calculator, structures, seed=3):
    random = np.random.default_rng(seed)
    descriptor = scalars(calculator(structures))
    blocks = [
        TensorBlock(
            random.normal(size=(1, len(b.properties))), Labels.range("energy", 1), [], b.properties
        )
        for b in descriptor
    ]
    numbers = sorted({int(z) for atoms in structures for z in atoms.numbers})
    return LinearModel(
        TensorMap(descriptor.keys, blocks), {z: random.normal() for z in numbers}, calculator
    )


def labelled_by(model, structures):
    return label_structures(structures, model(structures))


def only(structures, *names):
    """Copies of the structures that keep only some of their labels."""
    copies = []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, **{n: atoms.calc.results[n] for n in names})
        copies.append(copy)
    return copies


def assert_same_weights(fitted, known, tolerance):
    """Of a pair of elements only the sum: a total sees A-B and B-A pairs together."""
    names = known.weights.keys.names
    for first, second in known.weights.keys:
        both = [dict(zip(names, key, strict=True)) for key in ((first, second), (second, first))]
        found, expected = (
            sum(model.weights.block(key).values for key in both) for model in (fitted, known)
        )
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("symbols", ["Cu", "CuAu"])
def test_known_weights_and_baseline_are_recovered(symbols):
    structures = strained_cells(14, symbols, seed=2)
    known = known_model(RADIAL, structures)
    fit = fit_linear(labelled_by(known, structures), RADIAL, regularisation=0.0)
    assert_same_weights(fit.model, known, 1e-7)
    assert fit.model.baseline == pytest.approx(known.baseline, abs=1e-7)
    assert fit.loss < 1e-20


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_every_descriptor_can_be_fitted(name, tmp_path):
    """To labels of a model like it, saved, loaded, and with forces that are differences."""
    structures = strained_cells(8, "CuAu", seed=2)
    known = known_model(DESCRIPTORS[name], structures)
    fit = fit_linear(labelled_by(known, structures), DESCRIPTORS[name], regularisation=1e-14)
    found, expected = (m(structures).block() for m in (fit.model, known))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4)
    for one in ("positions", "strain"):
        numbers = expected.gradient(one).values
        error = np.abs(found.gradient(one).values - numbers).max(initial=0)
        assert error <= 1e-3 * np.abs(numbers).max(initial=0)
    fit.model.save(tmp_path / "model.mts")
    model = LinearModel.load(tmp_path / "model.mts")
    assert model.calculator == DESCRIPTORS[name]
    structure, step = structures[0], 1e-4
    gradient = model([structure]).block().gradient("positions")
    row = gradient.samples.position([0, 0, 1])
    ends = []
    for sign in (1, -1):
        moved = structure.copy()
        moved.positions[1, 0] += sign * step
        ends.append(model([moved], gradients=()).block().values[0, 0])
    slope = 0.0 if row is None else gradient.values[row, 0, 0]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)


def test_pairs_and_expansions_make_the_same_model():
    """The first summed to their atoms are the second."""
    structures = strained_cells(8, "CuAu", seed=2)
    two = (fit_linear(structures, DESCRIPTORS[k]) for k in ("expansion", "by pair"))
    a, b = ([f.loss, *f.model(structures).block().values[:, 0]] for f in two)
    assert a == pytest.approx(b, rel=1e-6)


@pytest.mark.parametrize(
    ("calculator", "message"),
    [
        (NeighborList(3.0), "linear in invariants only.* pair_xyz"),
        (AtomicComposition(per_system=True), "expected a descriptor of atoms.* got samples system"),
    ],
)
def test_descriptors_without_invariants_of_atoms_are_refused(calculator, message):
    with pytest.raises(ValueError, match=message):
        fit_linear(strained_cells(8), calculator)


@pytest.mark.parametrize("targets", [("forces",), ("stress",), ("energy",), ("forces", "stress")])
def test_every_target_alone_recovers_the_weights(targets):
    """Each kind of row stands for the same weights: signs, volumes and Voigt order agree."""
    structures = strained_cells(24, seed=6)
    known = known_model(RADIAL, structures)
    weights = dict.fromkeys(targets, 1.0)
    fit = fit_linear(labelled_by(known, structures), RADIAL, weights=weights, regularisation=0.0)
    assert set(fit.rows) == set(targets)
    assert_same_weights(fit.model, known, 1e-6)


@pytest.mark.parametrize("calculator", [RADIAL, POWER])
def test_predictions_are_exact_for_data_of_the_model(calculator):
    structures = strained_cells(16, "CuAu", seed=2)
    known = known_model(calculator, structures)
    labelled = labelled_by(known, structures)
    fit = fit_linear(labelled, calculator)
    fresh = labelled_by(known, strained_cells(5, "CuAu", seed=9))
    found = compare(fit.model(fresh), reference_energies(fresh), fresh)
    for target, comparison in found.items():
        assert comparison.rmse < 1e-3 * np.std(comparison.reference), target


def test_fit_of_a_stored_descriptor_equals_the_fit_in_batches():
    structures = strained_cells(40, seed=1)
    train, _ = split_frames(40, seed=1)
    descriptor = POWER(structures, gradients=("positions", "strain"))
    stored = fit_descriptor(descriptor, structures, POWER, frames=train)
    batched = fit_linear([structures[frame] for frame in train], POWER)
    assert stored.regularisation == batched.regularisation
    np.testing.assert_allclose(list(stored.scan.values()), list(batched.scan.values()), rtol=1e-6)
    fresh = strained_cells(5, seed=7)
    first, second = stored.model(fresh).block(), batched.model(fresh).block()
    np.testing.assert_allclose(first.values, second.values, atol=1e-8)


def test_loss_is_the_unexplained_share_of_the_variance():
    structures = strained_cells(20, seed=1)
    fit = fit_linear(structures, POWER)
    reference = reference_energies(structures)
    found = compare(fit.model(structures), reference, structures)
    energies = found["energy"].reference
    parts = {
        "energy": found["energy"].rmse ** 2 / np.var(energies),
        "forces": found["forces"].rmse ** 2 / np.mean(found["forces"].reference ** 2),
        "stress": found["stress"].rmse ** 2 / np.mean(found["stress"].reference ** 2),
    }
    assert fit.loss == pytest.approx(sum(parts.values()), rel=1e-6)


def test_test_frames_have_no_say():
    """Other labels on the test frames, the same model."""
    structures = strained_cells(15, seed=1)
    train, test = split_frames(15)
    descriptor = POWER(structures, gradients=("positions", "strain"))
    first = fit_descriptor(descriptor, structures, POWER, frames=train)
    for frame in test:
        structures[frame].calc.results["energy"] += 100.0
        structures[frame].calc.results["forces"] *= -3.0
    second = fit_descriptor(descriptor, structures, POWER, frames=train)
    assert first.regularisation == second.regularisation
    assert first.model.weights == second.model.weights


def test_shift_of_all_energies_moves_the_baseline_only():
    structures = strained_cells(12, seed=1)
    shifted = only(structures, "energy", "forces", "stress")
    for atoms in shifted:
        atoms.calc.results["energy"] += 1000.0 * len(atoms)
    first, second = fit_linear(structures, POWER), fit_linear(shifted, POWER)
    assert first.regularisation == second.regularisation
    assert second.model.baseline[29] - first.model.baseline[29] == pytest.approx(1000.0)
    for key, block in first.model.weights.items():
        np.testing.assert_allclose(second.model.weights.block(key).values, block.values, atol=1e-5)


def test_more_weight_means_less_error():
    structures = strained_cells(20, seed=1)
    errors = []
    for weight in (0.01, 1.0, 100.0):
        weights = {"energy": weight, "forces": 1.0, "stress": 1.0}
        fit = fit_linear(structures, POWER, weights=weights, regularisation=1e-10)
        found = compare(fit.model(structures), reference_energies(structures), structures)
        errors.append(found["energy"].rmse)
    assert errors[0] > errors[1] > errors[2]


def test_targets_that_some_frame_lacks_are_left_out_with_a_note():
    structures = strained_cells(10, seed=1)
    structures[3:5] = only(structures[3:5], "energy", "stress")
    fit = fit_linear(structures, POWER)
    assert set(fit.rows) == {"energy", "stress"}
    assert any("forces left out" in note and "frame 3, 4" in note for note in fit.notes)


def test_compositions_that_do_not_tell_the_elements_apart_are_noted():
    structures = [s for s in strained_cells(40, "CuAu", seed=1) if len(set(s.numbers)) == 2]
    ordered = [s for s in structures if np.mean(s.numbers == 29) == 0.5]
    assert len(ordered) >= 5
    notes = fit_linear(ordered, RADIAL).notes
    assert any("fix 1 of 2 energies of elements" in note for note in notes)
    assert not any("energies of elements" in note for note in fit_linear(structures, RADIAL).notes)


def test_how_it_was_fitted_is_in_the_file(tmp_path):
    fit = fit_linear(strained_cells(10, seed=1), RADIAL, weights={"energy": 2.0, "forces": 1.0})
    fit.model.save(tmp_path / "model.mts")
    how = json.loads(LinearModel.load(tmp_path / "model.mts").info["fit"])
    assert how["loss weights"] == {"energy": 2.0, "forces": 1.0}
    assert how["regularisation"] == fit.regularisation
    assert how["numbers"] == dict(fit.rows)


def test_isolated_atoms_need_neither_forces_nor_stress():
    structures = strained_cells(10, seed=1)
    atom = ase.Atoms("Cu", [[0, 0, 0]])
    atom.calc = SinglePointCalculator(atom, energy=3.5)
    fit = fit_linear([*structures, atom], POWER)
    assert set(fit.rows) == {"energy", "forces", "stress"}
    assert fit.rows["energy"] == 11
    assert fit.rows["stress"] == 60
    assert fit.notes == [] or "left out" not in " ".join(fit.notes)


BAD = {
    "unknown target": ({"dipole": 1.0}, "no target 'dipole'"),
    "negative weight": ({"energy": -1.0}, "must not be negative"),
    "NaN weight": ({"energy": float("nan")}, "must not be negative"),
    "no weight": ({"energy": 0.0}, "nothing to fit"),
}


@pytest.mark.parametrize("name", BAD)
def test_weights_that_make_no_sense_are_refused(name):
    weights, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        fit_linear(strained_cells(4), POWER, weights=weights)


def test_gradients_that_a_target_needs_are_named():
    structures, calculator = strained_cells(4), radial_spectrum()
    with pytest.raises(ValueError, match=r"no gradient 'strain', .* compute it with gradients="):
        fit_descriptor(calculator(structures, ["positions"]), structures, calculator)


def test_a_descriptor_of_other_structures_is_refused():
    structures, calculator = strained_cells(4), radial_spectrum()
    descriptor = calculator(structures, ["positions", "strain"])
    with pytest.raises(ValueError, match=r"has system 3, but there are 3 structures"):
        fit_descriptor(descriptor, structures[:3], calculator)
    fewer = calculator(structures[:3], ["positions", "strain"])
    with pytest.raises(ValueError, match=r"no samples of 1 of 4 structures \(frame 3\)"):
        fit_descriptor(fewer, structures, calculator)
    fit_descriptor(fewer, structures, calculator, frames=range(3), folds=2)


def test_no_label_at_all_is_an_error_that_says_so():
    bare = only(strained_cells(4), "energy")
    with pytest.raises(ValueError, match=r"nothing to fit: forces left out"):
        fit_linear(bare, POWER, weights={"forces": 1.0})


def test_one_structure_needs_a_given_regularisation():
    structures = strained_cells(7)[-1:]
    with pytest.raises(ValueError, match="at least 2 parts"):
        fit_linear(structures, POWER)
    assert fit_linear(structures, POWER, regularisation=1e-6).scan == {}


@pytest.mark.parametrize("name", ["si_mlearn_60", "tial_329", "ethanol_200"])
def test_real_data_are_fitted_better_than_by_their_mean(name):
    path = DATA / f"{name}.extxyz"
    if not path.exists():
        pytest.skip("reference data are not here")
    structures = read_structures(path)[::8]
    calculator = power_spectrum(cutoff=4.0, width=1.5, max_radial=3, max_angular=2)
    fit = fit_linear(structures, calculator, weights={"energy": 1.0, "forces": 1.0, "stress": 1.0})
    found = compare(fit.model(structures), reference_energies(structures), structures)
    assert set(found) >= set(fit.rows)
    for target in fit.rows:
        assert found[target].rmse < np.std(found[target].reference)
