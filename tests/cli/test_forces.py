import pickle

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

import nablatom
from nablatom.models import AtomicDataDict, LennardJones, LinearModel, NequIP, save_model
from nablatom.outputs import (
    atomic_virials,
    convective_heat_flux,
    dense_partial_forces,
    forces_and_stress,
    from_tensor,
    heat_flux,
    hessian,
)
from nablatom.systems import read_structures, strained_cells, write_structures

LENNARD_JONES = {"types": ["Cu"], "epsilon": 0.4, "sigma": 2.3, "cutoff": 4.0}


@pytest.fixture
def structures(tmp_path):
    """Three structures that move."""
    frames = strained_cells(3, "Cu", seed=5)
    for seed, frame in enumerate(frames):
        frame.set_velocities(np.random.default_rng(seed).normal(size=(len(frame), 3)))
    write_structures(tmp_path / "copper.extxyz", frames)
    return tmp_path / "copper.extxyz"


@pytest.fixture
def lennard_jones(tmp_path):
    path = tmp_path / "lennard-jones.yaml"
    lines = [f"{name}: {value}" for name, value in LENNARD_JONES.items()]
    path.write_text("\n".join(["potential: lennard-jones", *lines]))
    return path


@pytest.fixture
def trained(tmp_path):
    save_model(NequIP(["Cu"], 4.0, layers=2, features=4), tmp_path / "trained")
    return tmp_path / "trained"


def model_of(path):
    from nablatom.cli.models import open_model

    return open_model(path)


def batch_of(path, model):
    return AtomicDataDict.from_ase(read_structures(path), cutoff=model.cutoff, types=["Cu"])


def load(path):
    return nablatom.load(path).to(arrays="torch")


@pytest.mark.parametrize("kind", ["trained", "lennard_jones"])
def test_files_hold_the_derivatives_of_the_model(kind, run, structures, tmp_path, request):
    """Against the same functions on all frames in one batch, by the labels in the files."""
    path, out = request.getfixturevalue(kind), tmp_path / "new" / "out.mts"
    options = ("--stress", "--partial", "--atomic-virial", "--hessian", "--heat-flux")
    found = run("forces", path, structures, "-o", out, *options, "--json")
    assert [file.rsplit("out", 1)[1] for file in found["files"]] == [
        ".mts",
        ".atoms.mts",
        ".hessian.mts",
        ".heat-flux.mts",
    ]
    assert found["partial_forces_off"] < 1e-12

    model = model_of(path)
    data = batch_of(structures, model)
    fields = from_tensor(load(out), data)
    forces, stress = forces_and_stress(model, data)
    torch.testing.assert_close(fields["forces"], forces)
    torch.testing.assert_close(fields["stress"], stress)
    atoms = from_tensor(load(tmp_path / "new" / "out.atoms.mts"), data)
    torch.testing.assert_close(atoms["partial_forces"], dense_partial_forces(model, data))
    torch.testing.assert_close(atoms["atomic_virial"], atomic_virials(model, data))

    block = load(tmp_path / "new" / "out.hessian.mts").block()
    torch.testing.assert_close(block.values[..., 0], forces)
    count = len(forces)
    dense = hessian(model, data).reshape(count, 3, count, 3)
    rows = block.gradient("positions").samples
    first = np.cumsum([0, *(len(s) for s in read_structures(structures))])
    j = first[rows.column("system")] + rows.column("atom")
    i = np.array(rows.column("sample"))
    slope = -block.gradient("positions").values[..., 0]  # (rows, displaced, force)
    torch.testing.assert_close(slope.transpose(1, 2), dense[i, :, j])

    flux = load(tmp_path / "new" / "out.heat-flux.mts").block().values
    velocities = torch.tensor(
        np.concatenate([s.get_velocities() for s in ase.io.iread(structures)])
    )
    masses = torch.tensor(np.concatenate([s.get_masses() for s in ase.io.iread(structures)]))
    torch.testing.assert_close(flux[..., 0], heat_flux(model, data, velocities))
    expected = convective_heat_flux({**data, **model(data)}, velocities, masses=masses)
    torch.testing.assert_close(flux[..., 1], expected.detach())


def test_structures_with_results(run, structures, lennard_jones, tmp_path):
    out = tmp_path / "out.extxyz"
    run(
        "forces", lennard_jones, structures, "-o", out, "--stress", "--atomic-virial", "--heat-flux"
    )
    model = LennardJones(**LENNARD_JONES)
    data = batch_of(structures, model)
    forces, stress = forces_and_stress(model, data)
    written = ase.io.read(out, ":")
    found = np.concatenate([frame.get_forces() for frame in written])
    np.testing.assert_allclose(found, forces.numpy(), atol=1e-7)
    for frame, expected in zip(written, stress.numpy(), strict=True):
        np.testing.assert_allclose(frame.get_stress(voigt=False), expected, atol=1e-9)
    virials = np.concatenate([frame.arrays["atomic_virial"] for frame in written])
    expected = atomic_virials(model, data).reshape(-1, 9).numpy()
    np.testing.assert_allclose(virials, expected, atol=1e-7)
    assert written[0].info["heat_flux"].shape == (3,)


def test_a_linear_model_has_partial_forces_too(run, copper, small, tmp_path):
    run("fit", copper, "-o", tmp_path / "model.mts", *small)
    found = run(
        "forces", tmp_path / "model.mts", copper, "-o", tmp_path / "out.mts", "--partial", "--json"
    )
    atoms = nablatom.load(tmp_path / "out.atoms.mts")
    assert atoms.block().gradients_list() == ["positions"]
    model, frames = LinearModel.load(tmp_path / "model.mts"), read_structures(copper)
    expected = model(frames, gradients=["positions"])
    nablatom.allclose_raise(nablatom.sum_over_samples(atoms, "atom"), expected, atol=1e-9)
    assert nablatom.load(tmp_path / "out.mts").block().gradients_list() == ["positions"]
    assert found["summary"]["partial forces"]["largest"] > 0
    message = run("forces", tmp_path / "model.mts", copper, "--hessian", fails=True)
    assert "neither Hessian nor heat flux" in message


def test_the_summary_is_of_the_numbers_of_the_model(run, structures, lennard_jones):
    told = run("forces", lennard_jones, structures, "--stress", "--json")["summary"]
    model = LennardJones(**LENNARD_JONES)
    forces, stress = forces_and_stress(model, batch_of(structures, model))
    assert set(told) == {"energy", "forces", "stress"}
    assert told["forces"]["count"] == forces.numel()
    assert told["forces"]["rms"] == pytest.approx(forces.square().mean().sqrt().item())
    assert told["forces"]["largest"] == pytest.approx(forces.abs().max().item())
    assert told["stress"]["largest"] == pytest.approx(stress.abs().max().item() * 160.2176634)


def test_structures_without_periodicity_have_no_stress(run, structures, lennard_jones, tmp_path):
    """As in the outputs of models: with a box around it or without."""
    boxed = strained_cells(1, "Cu")[0].copy()
    boxed.pbc = False
    bare = boxed.copy()
    bare.cell = None
    write_structures(tmp_path / "open.extxyz", [boxed, bare])
    told = run("forces", lennard_jones, tmp_path / "open.extxyz", "--stress", "--json")["summary"]
    assert set(told) == {"energy", "forces"}
    assert "2 of 2 structures have no stress" in run(
        "forces", lennard_jones, tmp_path / "open.extxyz", "--stress"
    )
    write_structures(
        tmp_path / "mixed.extxyz", [*(s.copy() for s in read_structures(structures)), boxed, bare]
    )
    out = tmp_path / "out.extxyz"
    arguments = ("forces", lennard_jones, tmp_path / "mixed.extxyz", "--stress", "-o", out)
    assert run(*arguments, "--json")["summary"]["stress"]["count"] == 3 * 6
    written = ase.io.read(out, ":")
    assert ["stress" in frame.calc.results for frame in written] == [True] * 3 + [False] * 2


def test_labels_do_not_matter(run, structures, lennard_jones, tmp_path):
    """Of some structures only, and in other units: nothing is compared with them."""
    labelled, *others = read_structures(structures)
    labelled.calc = SinglePointCalculator(labelled, energy=1e9)
    write_structures(tmp_path / "some.extxyz", [labelled, *(s.copy() for s in others)])
    told = [
        run("forces", lennard_jones, path, "--json")["summary"]
        for path in (structures, tmp_path / "some.extxyz")
    ]
    assert told[0] == told[1]


def test_for_people(run, structures, lennard_jones, tmp_path):
    text = run("forces", lennard_jones, structures, "--partial")
    for word in ("eV/atom", "eV/Å", "partial forces sum to the forces within", "Next, try"):
        assert word in text
    out = tmp_path / "out.mts"
    assert f"nablatom show {out}" in run("forces", lennard_jones, structures, "-o", out)


def test_what_cannot_be_done_is_said_before_or_with_the_frame(
    run, copper, structures, lennard_jones, tmp_path
):
    def message(*arguments):
        return run("forces", *arguments, fails=True)

    assert "no model" in message(tmp_path / "nothing", structures)
    assert "pairs of atoms" in message(
        lennard_jones, structures, "--partial", "-o", tmp_path / "a.extxyz"
    )
    assert ".mts" in message(lennard_jones, structures, "-o", tmp_path / "a.txt")
    assert "frame 0: no velocities" in message(lennard_jones, copper, "--heat-flux")
    mixed = [*read_structures(structures), *strained_cells(1, "Au")]
    write_structures(tmp_path / "mixed.extxyz", mixed)
    said = message(lennard_jones, tmp_path / "mixed.extxyz")
    assert "frame 3: atom 0 (Au) is of an element that the model does not know" in said
    assert "frame 3: no velocities" in message(
        lennard_jones, tmp_path / "mixed.extxyz", "--heat-flux"
    )
    write_structures(tmp_path / "gold.extxyz", strained_cells(2, "Au"))
    assert "Au" in message(lennard_jones, tmp_path / "gold.extxyz")


@pytest.mark.parametrize("name", ["a.nequip.zip", "a.model", "a.ckpt"])
def test_files_that_can_run_code_are_opened_only_when_trusted(run, structures, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Witness(tmp_path / "witness")))
    message = run("forces", tmp_path / name, structures, fails=True)
    assert "add --trust" in message
    assert not (tmp_path / "witness").exists()


class Witness:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return self.path.touch, ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("potential: hooke", "one of lennard-jones"),
        ("potential: lennard-jones\ntypes: [Cu]", "missing a required argument"),
        ("potential: morse\nradius: 2", "takes types, depth"),
        ("potential: lennard-jones\ntypes: [Cu]\nepsilon: 1\nsigma: a\ncutoff: 3", "in "),
        ("- 1", "name: value"),
        ("a: [", "not a YAML file"),
    ],
)
def test_files_that_name_no_potential(run, structures, tmp_path, text, word):
    (tmp_path / "bad.yaml").write_text(text)
    said = run("forces", tmp_path / "bad.yaml", structures, fails=True)
    assert word in said
    assert "bad.yaml" in said
