"""Models in files: what is written is read, and what does not fit is told apart."""

import json

import numpy as np
import pytest
import torch
from ase.build import bulk
from safetensors.torch import load_file, save_file

from nablatom.models import (
    AtomicDataDict,
    EmbeddedAtom,
    LennardJones,
    Morse,
    NequIP,
    Setfl,
    Shifted,
    StillingerWeber,
    Xplor,
    load_card,
    load_model,
    save_model,
)
from nablatom.models.stillinger_weber import PAIRWISE
from nablatom.outputs import ForceOutput

SETTINGS = {
    "types": ["Si", "O"],
    "cutoff": 3.0,
    "layers": 2,
    "features": 2,
    "radial_hidden": [4],
    "scales": {"Si": 2.0, "O": 1.0},
    "seed": 7,
}


@pytest.fixture(params=["model.safetensors", "model"])
def saved(request, tmp_path):
    model = NequIP(**SETTINGS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)  # as trained: not what the seed draws
    save_model(model, tmp_path / request.param, training={"epochs": 3, "rmse": [0.1, None]})
    return model, tmp_path / request.param


def edited(path, change):
    """Change the card where it stands."""
    if path.is_dir():
        file = path / "card.json"
        card = json.loads(file.read_text())
        file.write_text(json.dumps(change(card)))
        return
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["card"])
    save_file(load_file(path), path, metadata={"card": json.dumps(change(card))})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["a.safetensors", "deep/er/a.safetensors", "folder"])
def test_round_trip(tmp_path, name, dtype):
    model = NequIP(**SETTINGS, dtype=dtype, trainable_radial=True, zbl=True).eval()
    save_model(model, tmp_path / name)
    found = load_model(tmp_path / name)
    assert not found.training
    assert found.settings == model.settings
    assert (found.type_names, found.cutoff, found.hops) == (("Si", "O"), 3.0, 2)
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=1)
    data = AtomicDataDict.from_ase(atoms, cutoff=3.0)
    assert torch.equal(found(data)["total_energy"], model(data)["total_energy"])


def test_card(saved):
    model, path = saved
    card = load_card(path)
    assert card.architecture == "NequIP"
    assert (card.types, card.cutoff, card.dtype) == (("Si", "O"), 3.0, "float64")
    assert card.units == {"energy": "eV", "length": "Å"}
    assert card.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert card.training == {"epochs": 3, "rmse": [0.1, None]}
    assert {"nablatom", "torch", "e3nn", "python"} <= card.versions.keys()


def test_weights_are_read(saved):
    model, path = saved
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.parameters(), load_model(path).parameters(), strict=True)
    )


EDITS = {
    "another format": (lambda card: card | {"format": "x"}, "format 'x'"),
    "a later version": (lambda card: card | {"version": 2}, "version 2"),
    "units": (lambda card: card | {"units": {"energy": "Ha"}}, "units .*Ha"),
    "types": (lambda card: card | {"types": ["Si"]}, "types are .*'Si',.*, but .*'O'"),
    "cutoff": (lambda card: card | {"cutoff": 4.0}, "cutoff are 4.0, but 3.0"),
    "unknown entry": (lambda card: card | {"code": "x"}, "code: extra inputs"),
    "missing entry": (lambda card: {k: v for k, v in card.items() if k != "dtype"}, "dtype: field"),
    "architecture": (lambda card: card | {"architecture": "os.system"}, "os.system; known"),
    "precision": (lambda card: card | {"dtype": "float16"}, "'float16'; expected"),
    "setting": (lambda card: setting(card, layers=3), r"the weight .* ask for"),
    "unknown setting": (lambda card: setting(card, layer=3), "layer: there is no such setting"),
    "wider": (lambda card: setting(card, radial_hidden=[6]), "float64 of shape .*ask for"),
    "huge": (lambda card: setting(card, features=10**12), "sizes up to 1000000000000"),
    "many layers": (lambda card: setting(card, layers=10**9), "1000000000 layers"),
    "no card": (lambda card: [], "holds no card"),
}


def setting(card, **changes):
    return card | {"settings": card["settings"] | changes}


@pytest.mark.parametrize("name", EDITS)
def test_cards_that_do_not_fit(saved, name):
    change, told = EDITS[name]
    edited(saved[1], change)
    with pytest.raises(ValueError, match=told):
        load_model(saved[1])


def test_other_weights(saved):
    _, path = saved
    file = path / "weights.safetensors" if path.is_dir() else path
    weights = load_file(file)
    weights["embedding"] = weights["embedding"] * torch.nan
    if path.is_dir():
        save_file(weights, file)
        told = "not the file that card.json was written for"
    else:
        save_file(weights, file, metadata={"card": load_card(path).model_dump_json()})
        told = "'embedding' is not finite"
    with pytest.raises(ValueError, match=told):
        load_model(path)


def test_no_model(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"\x80\x04pickle, perhaps")
    with pytest.raises(ValueError, match=r"is no \.safetensors file"):
        load_model(tmp_path / "noise.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "others.safetensors")
    with pytest.raises(ValueError, match="no card of a model"):
        load_model(tmp_path / "others.safetensors")


def spheres():
    """Tables of an embedded atom with two elements, by formula."""
    r, rho = np.linspace(0.0, 4.0, 201), np.linspace(0.0, 20.0, 101)
    end = (1 - (r / 4.0) ** 2) ** 3
    return Setfl(
        elements=("Cu", "Ag"),
        cutoff=3.9,
        density_step=0.2,
        distance_step=0.02,
        embedding=np.stack([-np.sqrt(rho + 0.1), 0.1 * rho**1.5]),
        density=np.array([[1.0, 2.0], [3.0, 4.0]])[:, :, None] * np.exp(-r) * end,
        pair=np.array([[5.0, 6.0], [6.0, 7.0]])[:, :, None] * r * np.exp(-2 * r) * end,
    )


ANGLES = np.arange(8.0).reshape(2, 2, 2) + np.arange(8.0).reshape(2, 2, 2).swapaxes(1, 2)
SILICON = {name: getattr(StillingerWeber.silicon(), name).item() for name in PAIRWISE}
ANALYTIC = {
    "Lennard-Jones": lambda: LennardJones(["Cu", "Ag"], [0.4, 0.3], [2.3, 2.6], cutoff=5.0),
    "another switch": lambda: LennardJones("Cu", 0.4, 2.3, cutoff=5.0, switch=Xplor(4.5)),
    "shifted": lambda: LennardJones("Cu", 0.4, 2.3, cutoff=5.0, switch=Shifted()),
    "Morse": lambda: Morse(["Cu", "Ag"], [0.34, 0.3], 1.36, [2.87, 3.1], cutoff=5.0),
    "Stillinger-Weber": lambda: StillingerWeber(
        ["Cu", "Ag"], **SILICON | {"sigma": [2.1, 2.3]}, strength=ANGLES, cosine=-0.2
    ),
    "embedded atom": lambda: EmbeddedAtom(spheres()),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("place", ["model.safetensors", "model"])
@pytest.mark.parametrize("name", ANALYTIC)
def test_analytic_potentials(name, place, dtype, tmp_path):
    model = ANALYTIC[name]().to(dtype)
    with torch.no_grad():
        for weight in (*model.parameters(), *model.buffers()):
            weight.mul_(1.01)  # as fitted: not what the constructor was given
    if name == "Stillinger-Weber":
        model.cutoff = float((model.a * model.sigma).max())
    save_model(model, tmp_path / place, training={"source": "a paper"})
    found = load_model(tmp_path / place)
    assert type(found) is type(model)
    assert (found.type_names, found.cutoff) == (model.type_names, model.cutoff)
    assert all(not weight.requires_grad for weight in found.parameters())
    assert getattr(found, "switch", None) == getattr(model, "switch", None)
    weights = found.state_dict()
    assert all(torch.equal(weight, weights[key]) for key, weight in model.state_dict().items())
    atoms = bulk("Cu", cubic=True)
    if len(model.type_names) > 1:
        atoms.symbols[:2] = "Ag"
    atoms.rattle(0.1, seed=1)
    data = AtomicDataDict.from_ase(atoms, cutoff=6.0)
    assert torch.equal(found(data)["total_energy"], model(data)["total_energy"])


WRONG = {
    "a table of three types": (
        lambda card: setting(card, types=["Cu", "Ag", "Au"]) | {"types": ["Cu", "Ag", "Au"]},
        "expected one number, one for each of the 3 types",
    ),
    "no element": (lambda card: setting(card, types=["X1"]) | {"types": ["X1"]}, "element symbols"),
    "an unknown switch": (lambda card: setting(card, switch={"name": "os"}), "KeyError: 'os'"),
    "a late switch": (
        lambda card: setting(card, switch={"name": "Xplor", "onset": 6.0}),
        "the switch begins at 6.0",
    ),
    "an unknown argument": (lambda card: setting(card, depth=1.0), "'depth'"),
    "a missing argument": (
        lambda card: card | {"settings": {"types": card["types"], "cutoff": card["cutoff"]}},
        "make no LennardJones: KeyError: 'switch'",
    ),
    "another kind": (lambda card: card | {"architecture": "Morse"}, "make no Morse: TypeError"),
    "a network": (lambda card: card | {"architecture": "NequIP"}, "switch: there is no such sett"),
}


@pytest.mark.parametrize("name", WRONG)
def test_cards_that_make_no_potential(name, tmp_path):
    change, told = WRONG[name]
    save_model(ANALYTIC["Lennard-Jones"](), tmp_path / "a.safetensors")
    edited(tmp_path / "a.safetensors", change)
    with pytest.raises(ValueError, match=told):
        load_model(tmp_path / "a.safetensors")


def test_a_cutoff_that_weights_do_not_have(tmp_path):
    save_model(StillingerWeber.silicon(), tmp_path / "a")
    edited(tmp_path / "a", lambda card: setting(card, cutoff=3.0) | {"cutoff": 3.0})
    with pytest.raises(ValueError, match=r"the weights reach 3.77118 Å, but the cutoff is 3.0 Å"):
        load_model(tmp_path / "a")


def test_what_cannot_be_saved(tmp_path):
    class Own(LennardJones):
        pass

    for kind in (Own, lambda *_, **words: ForceOutput(LennardJones("Ar", **words))):
        potential = kind("Ar", epsilon=0.01, sigma=3.4, cutoff=6.0)
        with pytest.raises(TypeError, match=f"a {type(potential).__name__} cannot be saved"):
            save_model(potential, tmp_path / "a")
    switched = LennardJones("Ar", epsilon=0.01, sigma=3.4, cutoff=6.0, switch=lambda u, *_: u)
    with pytest.raises(TypeError, match="a switch of the kind function cannot be saved"):
        save_model(switched, tmp_path / "a")
    with pytest.raises(ValueError, match="weights in 'float16'; expected float32 or float64"):
        save_model(NequIP(**SETTINGS).half(), tmp_path / "a")
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_model(NequIP(**SETTINGS), tmp_path / "a", training={"model": NequIP})
    assert not list(tmp_path.iterdir())
