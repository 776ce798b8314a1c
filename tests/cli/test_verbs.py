import ase.io
import numpy as np
import pytest

import nablatom.io
from nablatom.systems import read_structures, reference_energies, strained_cells, write_structures


@pytest.fixture
def descriptor(run, copper, small, tmp_path):
    path = tmp_path / "descriptor.mts"
    run("compute", copper, "-o", path, *small)
    return path


@pytest.fixture
def model(run, copper, small, tmp_path):
    path = tmp_path / "model.mts"
    run("fit", copper, "-o", path, *small)
    return path


# compute


def test_compute_says_what_it_wrote(run, copper, small, tmp_path):
    path = tmp_path / "new" / "descriptor.mts"
    found = run("compute", copper, "-o", path, *small, "--json")
    tensor = nablatom.io.load(path)
    assert found["blocks"] == len(tensor)
    assert found["features"] == sum(len(block.properties) for block in tensor)
    assert found["bytes"] == path.stat().st_size
    rows = sum(len(block.gradient("positions").samples) for block in tensor)
    assert found["gradient_rows"]["positions"] == rows
    assert found["settings"]["cutoff"] == 4.0


@pytest.mark.parametrize(
    ("text", "names"), [("none", []), ("strain", ["strain"]), ("positions, strain", None)]
)
def test_compute_stores_the_gradients_that_were_asked_for(
    run, copper, small, tmp_path, text, names
):
    path = tmp_path / "descriptor.mts"
    run("compute", copper, "-o", path, "--gradients", text, *small)
    stored = nablatom.io.load(path).block_by_id(0).gradients_list()
    assert stored == (["positions", "strain"] if names is None else names)


def test_batches_give_the_same_as_all_at_once(run, small, tmp_path):
    """More structures than a batch holds, with elements that not every batch has."""
    from nablatom.cli.hypers import settings

    structures = [*strained_cells(18, "Cu"), *strained_cells(3, "CuAu")]
    write_structures(tmp_path / "mixed.extxyz", structures)
    run("compute", tmp_path / "mixed.extxyz", "-o", tmp_path / "a.mts", *small)
    calculator = settings(None, cutoff=4.0, max_radial=3, max_angular=1).calculator()
    expected = calculator(
        read_structures(tmp_path / "mixed.extxyz"), gradients=("positions", "strain")
    )
    found = nablatom.io.load(tmp_path / "a.mts")
    assert set(map(tuple, found.keys)) == set(map(tuple, expected.keys))
    for key, block in expected.items():
        other = found.block(key)
        assert other.samples == block.samples
        np.testing.assert_allclose(other.values, block.values, atol=1e-12)
        for name, gradient in block.gradients():
            assert other.gradient(name).samples == gradient.samples
            np.testing.assert_allclose(other.gradient(name).values, gradient.values, atol=1e-12)


def test_settings_come_from_a_file_and_options_override_them(run, copper, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("descriptor: radial-spectrum\ncutoff: 4.5\nmax_radial: 2\n")
    path = tmp_path / "descriptor.mts"
    found = run("compute", copper, "-o", path, "--hypers", file, "--max-radial", 3, "--json")
    assert found["settings"]["cutoff"] == 4.5
    assert found["settings"]["max_radial"] == 3
    assert nablatom.io.load(path).keys.names == ["center_type", "neighbor_type"]


# fit, eval


def test_eval_of_a_saved_model_gives_the_numbers_of_the_fit(run, copper, small, tmp_path):
    model = tmp_path / "model.mts"
    fitted = run("fit", copper, "-o", model, "--test", 0, *small, "--json")
    evaluated = run("eval", model, copper, "--json")
    for target, errors in fitted["errors"]["train"].items():
        assert evaluated["errors"][target] == pytest.approx(errors)
    assert set(evaluated["errors"]) == {"energy", "forces", "stress"}


def test_predictions_are_written_as_labels(run, copper, model, tmp_path):
    path = tmp_path / "predictions.extxyz"
    found = run("eval", model, copper, "-o", path, "--json")
    predicted, labelled = ase.io.read(path, ":"), read_structures(copper)
    errors = [
        (p.get_potential_energy() - r.get_potential_energy()) / len(p)
        for p, r in zip(predicted, labelled, strict=True)
    ]
    rmse = 1000 * np.sqrt(np.mean(np.square(errors)))
    assert found["errors"]["energy"]["rmse"] == pytest.approx(rmse, rel=1e-4)
    off = [p.get_stress() - r.get_stress() for p, r in zip(predicted, labelled, strict=True)]
    rmse = 160.2176634 * np.sqrt(np.mean(np.square(off)))
    assert found["errors"]["stress"]["rmse"] == pytest.approx(rmse, rel=1e-4)


def test_fit_leaves_out_a_target_with_no_weight_and_says_what_it_fitted(
    run, copper, small, tmp_path
):
    found = run("fit", copper, "-o", tmp_path / "m.mts", "--stress", 0, *small, "--json")
    assert set(found["rows"]) == {"energy", "forces"}


def test_structures_without_labels_are_predicted_but_not_compared(run, model, tmp_path):
    bare = strained_cells(2)
    for structure in bare:
        structure.calc = None
    write_structures(tmp_path / "bare.extxyz", bare)
    found = run("eval", model, tmp_path / "bare.extxyz", "-o", tmp_path / "p.extxyz", "--json")
    assert found["errors"] == {}
    assert np.isfinite(read_structures(tmp_path / "p.extxyz")[0].get_potential_energy())


# show, convert


def test_show_counts_what_is_in_the_file(run, descriptor):
    tensor = nablatom.io.load(descriptor)
    found = run("show", descriptor, "--json")
    assert found["keys"]["names"] == tensor.keys.names
    for shown, block in zip(found["blocks"], tensor, strict=True):
        assert shown["shape"] == list(block.shape)
        assert shown["dtype"] == "float64"
        assert list(shown["gradients"]) == ["positions", "strain"]
        assert 0 < shown["gradients"]["positions"]["fill"] <= 1
        assert "fill" not in shown["gradients"]["strain"]


def test_show_takes_gradients_that_name_no_system(run, tmp_path):
    n = nablatom.Labels.range("n", 1)
    block = nablatom.TensorBlock(np.ones((2, 1)), nablatom.Labels.range("atom", 2), [], n)
    rows = nablatom.Labels(["sample", "atom"], [[0, 0], [1, 1], [1, 0]])
    block.add_gradient("positions", nablatom.TensorBlock(np.ones((3, 1)), rows, [], n))
    nablatom.save(tmp_path / "a.mts", nablatom.TensorMap(nablatom.Labels.single(), [block]))
    shown = run("show", tmp_path / "a.mts", "--json")["blocks"][0]
    assert shown["gradients"]["positions"]["fill"] == 3 / 4


def test_fill_is_the_share_of_atom_pairs_with_a_gradient():
    """Worked out by hand: two atoms see each other, the third sees nobody, so 5 of 9 pairs."""
    import ase

    from nablatom.descriptors import Cutoff, SoapRadialSpectrum

    atoms = ase.Atoms("Cu3", [[0, 0, 0], [0, 0, 2.2], [0, 0, 9.0]])
    spectrum = SoapRadialSpectrum(cutoff=Cutoff(3.0))
    block = spectrum([atoms], gradients=["positions"]).block()
    assert block.fill("positions") == pytest.approx(5 / 9)


def test_show_draws_a_tree_and_shortens_it(run, descriptor, monkeypatch):
    monkeypatch.setattr("nablatom.cli.show.BLOCKS_SHOWN", 1)
    text = run("show", descriptor)
    for word in ("center_type=29", "positions", "strain", "float64", "(sample, system, atom)"):
        assert word in text
    assert "1 more block" in text
    assert "more block" not in run("show", descriptor, "--all")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_convert_there_and_back(run, descriptor, tmp_path, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("nablatom.io.safetensors", exc_type=ImportError)
    other, back = tmp_path / f"other{suffix}", tmp_path / "back.mts"
    run("convert", descriptor, other)
    found = run("convert", other, back, "--json")
    assert found["bytes"] == back.stat().st_size
    assert nablatom.io.load(back) == nablatom.io.load(descriptor)


def test_convert_labelled_structures_to_energies(run, copper, tmp_path):
    run("convert", copper, tmp_path / "energies.mts")
    expected = reference_energies(read_structures(copper))
    assert nablatom.io.load(tmp_path / "energies.mts") == expected


def test_each_verb_names_commands_that_work(run, copper, model, descriptor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--cutoff", 4, "--max-radial", 1, "--max-angular", 0)
    for words in (
        ("compute", copper, "-o", "new.mts", *small),
        ("fit", copper, "-o", "new.mts", *small),
        ("convert", descriptor, "copy.npz"),
        ("eval", model, copper),
        ("forces", model, copper, "--atomic-virial"),
    ):
        text = run(*words).split("Next, try:")[1]
        commands = [line.split()[1:] for line in text.splitlines() if "nablatom" in line]
        assert commands
        for command in commands:
            assert run(*command)
