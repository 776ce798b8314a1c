"""Bad input: exit code 1, one message that names the frame or the setting, no traceback."""

import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from nablatom.systems import strained_cells, write_structures


def changed(change, frame=2):
    structures = strained_cells(6)
    structures[frame] = change(structures[frame])
    return structures


def relabelled(atoms, **results):
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def without_forces(atoms):
    return relabelled(atoms, energy=atoms.get_potential_energy(), stress=atoms.get_stress())


def without_labels(atoms):
    return atoms.copy()


def with_nan_energy(atoms):
    return relabelled(atoms, energy=np.nan, forces=atoms.get_forces(), stress=atoms.get_stress())


def with_nan_position(atoms):
    copy = relabelled(atoms, energy=1.0)
    copy.positions[1, 0] = np.nan
    copy.calc.atoms.positions[1, 0] = np.nan
    return copy


def with_an_overlap(atoms):
    copy = atoms.copy()
    copy.positions[1] = copy.positions[0] + [0.05, 0, 0]
    return relabelled(copy, energy=1.0, forces=np.zeros((len(copy), 3)), stress=np.zeros(6))


def flat(atoms):
    copy = atoms.copy()
    copy.cell[2] = copy.cell[1]
    return relabelled(copy, energy=1.0, forces=np.zeros((len(copy), 3)), stress=np.zeros(6))


BAD = {
    "forces missing": (without_forces, "forces"),
    "labels missing": (without_labels, "energy"),
    "energy not finite": (with_nan_energy, "energy"),
    "position not finite": (with_nan_position, "position"),
    "atoms overlap": (with_an_overlap, "overlap"),
    "cell without volume": (flat, "volume"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["fit", "demo"])
def test_bad_structures_are_named(run, tmp_path, verb, name):
    change, word = BAD[name]
    path = tmp_path / "bad.traj"  # keeps NaN, which text formats may not
    write_structures(path, changed(change))
    where = ("demo", "--structures", path, "-o", tmp_path / "out")
    command = where if verb == "demo" else ("fit", path, "-o", tmp_path / "model.mts")
    message = run(*command, fails=True)
    assert "frame 2" in message or "frames 2" in message
    assert word in message
    assert not (tmp_path / "model.mts").exists()


def test_elements_that_the_model_does_not_know_are_named(run, copper, small, tmp_path):
    model = tmp_path / "model.mts"
    run("fit", copper, "-o", model, *small)
    write_structures(tmp_path / "gold.extxyz", strained_cells(2, "Au"))
    message = run("eval", model, tmp_path / "gold.extxyz", fails=True)
    assert "no weights for" in message
    assert "Au" in message
    assert "Cu" in message


def test_a_lone_structure_cannot_be_split(run, tmp_path):
    write_structures(tmp_path / "one.extxyz", strained_cells(1))
    message = run("fit", tmp_path / "one.extxyz", "-o", tmp_path / "m.mts", fails=True)
    assert "at least 2" in message


def test_elements_without_emt_parameters_are_named(run, tmp_path):
    message = run("demo", "--symbols", "Fe", "-o", tmp_path, fails=True)
    assert "Fe" in message
    assert "Cu" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cutoff", -1), ("cutoff", "greater than 0", "-1")),
        (("--cutoff", "nan"), ("cutoff", "nan")),
        (("--width", 9), ("width", "cutoff")),
        (("--max-angular", 99), ("max_angular", "20")),
        (("--descriptor", "soap"), ("calculator", "power-spectrum", "soap")),
        (("--gradients", "forces"), ("forces", "positions", "strain")),
    ],
)
def test_options_out_of_range_are_named(run, copper, tmp_path, options, words):
    message = run("compute", copper, "-o", tmp_path / "d.mts", *options, fails=True)
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cutof: 5", ("cutof", "cutoff")),
        ("- 1\n- 2", ("name: value",)),
        ("cutoff: [", ("YAML",)),
        ("max_radial: 2.5", ("max_radial", "2.5")),
    ],
)
def test_settings_files_are_checked(run, copper, tmp_path, text, words):
    (tmp_path / "settings.yaml").write_text(text)
    command = ("compute", copper, "-o", tmp_path / "d.mts", "--hypers", tmp_path / "settings.yaml")
    message = run(*command, fails=True)
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("command", "at_fault"),
    [
        (("show", "{here}/nothing.mts"), "nothing.mts"),
        (("show", "{here}/text.mts"), "text.mts"),
        (("show", "{here}/text.txt"), "text.txt"),
        (("eval", "{here}/text.mts", "{copper}"), "text.mts"),
        (("eval", "{here}/energies.mts", "{copper}"), "energies.mts"),
        (("fit", "{here}/nothing.extxyz", "-o", "{here}/m.mts"), "nothing.extxyz"),
        (("fit", "{here}/text.mts", "-o", "{here}/m.mts"), "text.mts"),
        (("convert", "{copper}", "{here}/energies.txt"), "energies.txt"),
        (("compute", "{copper}", "-o", "{here}/d.mts", "--hypers", "{here}/no.yaml"), "no.yaml"),
        (("compute", "{copper}", "-o", "{here}/d.txt"), "d.txt"),
        (("compute", "{copper}", "bispectrum", "-o", "{here}/d.mts"), "the name comes first"),
        (("compute", "-o", "{here}/d.mts"), "expected structures"),
        (("fit", "{copper}", "-o", "{here}/m.txt"), "m.txt"),
        (("fit", "{here}/bare.extxyz", "-o", "{here}/m.mts"), "bare.extxyz: expected energies"),
        (("demo", "--structures", "{here}/bare.extxyz", "-o", "{here}"), "bare.extxyz: expected"),
        (("demo", "-o", "{here}/text.txt"), "text.txt is a file: expected a folder"),
        (("demo", "--symbols", "Xx", "-o", "{here}"), "'CuAu', got 'Xx'"),
        (("eval", "{copper}", "{here}/energies.mts"), "copper.extxyz"),
        (("eval", "{here}/energies.mts", "{copper}", "-o", "{here}/p.mts"), "p.mts"),
        (("forces", "{copper}", "{here}/energies.mts"), "the model comes first"),
        (("forces", "{here}", "{copper}"), "expected a folder that save_model wrote"),
    ],
)
def test_files_that_are_not_what_they_should_be(run, copper, tmp_path, command, at_fault):
    (tmp_path / "text.mts").write_text("not a tensor")
    (tmp_path / "text.txt").write_text("not a tensor")
    write_structures(tmp_path / "bare.extxyz", [frame.copy() for frame in strained_cells(3)])
    run("convert", copper, tmp_path / "energies.mts")
    filled = [word.format(here=tmp_path, copper=copper) for word in command]
    message = run(*filled, fails=True)
    assert at_fault in message


@pytest.mark.parametrize("command", [("show", "nothing.mts"), ("demo", "--symbols", "Fe")])
def test_json_failure_leaves_stdout_empty(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    run(*command, "--json", fails=True)


def test_molecules_without_labels_for_stress_say_so(run, small, tmp_path):
    random = np.random.default_rng(0)
    molecules = []
    for _ in range(8):
        atoms = ase.Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0 + random.uniform(0, 0.6)]])
        forces = random.normal(size=(2, 3))
        molecules.append(relabelled(atoms, energy=random.normal(), forces=forces))
    write_structures(tmp_path / "dimers.extxyz", molecules)
    found = run("fit", tmp_path / "dimers.extxyz", "-o", tmp_path / "m.mts", *small, "--json")
    assert set(found["rows"]) == {"energy", "forces"}
    assert any("stress left out" in note for note in found["notes"])
