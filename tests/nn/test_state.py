"""Parameters travel with the labels they were made for."""

import pytest

import nablatom
from maps import KEYS, PROPERTIES, tensor
from nablatom import Labels

torch = pytest.importorskip("torch")
nn = pytest.importorskip("nablatom.nn")
safetensors = pytest.importorskip("safetensors")

OTHER = Labels(["center_type", "neighbor_type"], [[8, 1], [1, 8], [1, 1], [8, 9]])
RENAMED = Labels(["center", "neighbor"], KEYS.values)
OUT = Labels("energy", [[0], [5]])


def model(keys=KEYS, properties=PROPERTIES, out=OUT, width=4):
    return nn.Sequential(
        keys,
        nn.Linear(keys, properties, width, dtype=torch.float64),
        nn.LayerNorm(keys, width, dtype=torch.float64),
        nn.Linear(keys, width, out_properties=[out] * len(keys), dtype=torch.float64),
    )


def by_file(source, target, path):
    nn.save_state(path / "model.safetensors", source)
    nn.load_state(path / "model.safetensors", target)


def by_dictionary(source, target, path):
    target.load_state_dict(source.state_dict())


def by_torch(source, target, path):
    torch.save(source.state_dict(), path / "model.pt")
    target.load_state_dict(torch.load(path / "model.pt", weights_only=True))


WAYS = [by_file, by_dictionary, by_torch]


@pytest.mark.parametrize("way", WAYS)
def test_states_come_back(way, tmp_path):
    source, target, x = model(), model(), tensor(library="torch")
    assert not nablatom.allclose(source(x), target(x))
    way(source, target, tmp_path)
    nablatom.equal_raise(source(x), target(x))


WRONG = {
    "other keys": (model(OTHER), r"other in_keys.*entry 3 is \[8, 8\] in the state, \[8, 9\] here"),
    "other names": (model(RENAMED), "other in_keys.*dimensions"),
    "other properties": (
        model(properties=Labels("n", [[2], [0], [-1]])),
        r"other in_properties.*for key 0, entry 1 is \[-1\] in the state, \[0\] here",
    ),
    "properties that are not asked for": (
        model(properties=3),
        "other in_properties.*given in the state, not given here",
    ),
    "other output": (model(out=Labels("energy", [[0], [6]])), "other out_properties"),
    "fewer outputs": (
        model(out=Labels("energy", [[0]])),
        "other out_properties.*2 entries in the state, 1 here",
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRONG)
def test_other_labels_are_refused(name, way, tmp_path):
    target, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        way(model(), target, tmp_path)


def test_nothing_is_copied_from_a_state_that_does_not_fit(tmp_path):
    for target, message in (
        (model(OTHER), "in_keys"),
        (model(width=5), r"has shape .*, in the state"),
        (torch.nn.ModuleList([model()]), "the state lacks 0.module_map"),
    ):
        before = {name: x.clone() for name, x in target.state_dict().items()}
        with pytest.raises(ValueError, match=message) as caught:
            by_file(model(), target, tmp_path)
        assert "model.safetensors" in "".join(caught.value.__notes__)
        for name, x in target.state_dict().items():
            assert torch.equal(x, before[name])


def test_nothing_is_left_over(tmp_path):
    two, one = (torch.nn.ModuleList([model() for _ in range(n)]) for n in (2, 1))
    with pytest.raises(ValueError, match=r"the model has no 1\.module_map"):
        by_file(two, one, tmp_path)


def test_errors_name_the_layer(tmp_path):
    with pytest.raises(ValueError, match="in_keys") as caught:
        by_file(torch.nn.ModuleList([model()]), torch.nn.ModuleList([model(OTHER)]), tmp_path)
    assert "in the layer 0.module_map" in caught.value.__notes__


def test_labels_can_be_read_in_the_file(tmp_path):
    nn.save_state(tmp_path / "model.safetensors", model())
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="np") as file:
        text = file.metadata()["module_map._extra_state"]
        assert all("_extra_state" not in name for name in file.keys())  # noqa: SIM118
    assert '"names": ["center_type", "neighbor_type"]' in text
    assert '{"names": ["energy"], "values": [[0], [5]]}' in text


def test_files_that_are_none(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match=r"no valid \.safetensors"):
        nn.load_state(path, model())
    with pytest.raises(FileNotFoundError):
        nn.load_state(tmp_path / "nothing", model())
    with pytest.raises(ValueError, match="no labels of a layer"):
        model().module_map.set_extra_state(torch.zeros(3, dtype=torch.uint8))


def test_states_that_are_no_tensors(tmp_path):
    class Odd(torch.nn.Module):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(TypeError, match="no tensor but dict"):
        nn.save_state(tmp_path / "odd", Odd())
    assert not (tmp_path / "odd").exists()
