"""Compiled and exported outputs equal the eager ones, whatever the number of atoms."""

import pickle
import shutil
from copy import deepcopy

import pytest
import torch

from nablatom.models import AtomicDataDict, LennardJones, NequIP
from nablatom.outputs import (
    ForceOutput,
    GradientOutput,
    PartialForceOutput,
    StressOutput,
    export,
    load_exported,
)
from nablatom.outputs.exported import traced
from nablatom.testing.hygiene import assert_untouched
from response_models import cluster, crystal, data_of, left_handed, slab, small_cell

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="compiling takes a C++ compiler"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

EXACT = 1e-12
STRUCTURES = (crystal, small_cell, left_handed, slab, cluster)


def argon_like(**options):
    model = LennardJones(["Si", "C", "H", "O"], epsilon=0.1, sigma=1.6, cutoff=3.2, **options)
    model.epsilon.requires_grad_()
    return model


def graphs():
    """How many graphs have been compiled so far."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def assert_same(found, expected, fields=("total_energy", "forces", "stress", "virial")):
    assert set(found) == set(expected)
    for field in set(fields) & set(expected):
        scale = expected[field].nan_to_num().abs().max().item()
        torch.testing.assert_close(
            found[field], expected[field], rtol=0, atol=EXACT * scale, equal_nan=True
        )


@pytest.fixture(scope="module")
def model():
    return argon_like().eval()


@pytest.fixture(scope="module")
def compiled(model):
    return StressOutput(model, compile=True)


def test_evaluation_compiles_once_for_all_sizes(model, compiled):
    eager, before = StressOutput(model), graphs()
    for make in STRUCTURES:
        data = data_of(make(), model)
        outputs = compiled(data)
        assert_same(outputs, eager(data))
        assert not any(x.requires_grad for x in outputs.values())
    assert graphs() - before == 1


def test_hygiene_and_copies(model, compiled):
    data = data_of(crystal(), model)
    expected = StressOutput(model)(data)
    assert_untouched(compiled, data)
    assert_untouched(compiled, AtomicDataDict.with_edge_vectors(data))
    with torch.inference_mode():
        assert_same(compiled(data_of(crystal(), model)), expected)
    copy = pickle.loads(pickle.dumps(deepcopy(compiled)))
    assert_same(copy(data), expected)
    assert copy.func is not model


def test_training_on_batches_compiles_once_with_its_second_derivatives():
    model = argon_like().train()
    outputs, before = (StressOutput(model, compile=True), StressOutput(model)), graphs()
    frames = [data_of(make(), model) for make in (crystal, left_handed, slab, small_cell, crystal)]
    for count in (4, 5):
        data = AtomicDataDict.batched(frames[:count])
        slopes = []
        for output in outputs:
            found = output(data)
            loss = found["forces"].square().sum() + found["stress"].square().sum()
            slopes += torch.autograd.grad(loss, [model.epsilon])
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-11, atol=0)
        assert slopes[0].abs().max() > 0
    assert graphs() - before == 1


def test_gradients_by_any_input(model):
    data = data_of(crystal(), model)
    fields = ["pos", "cell"]
    compiled = GradientOutput(model, of="total_energy", wrt=fields, compile=True)
    eager = GradientOutput(model, of="total_energy", wrt=fields)
    names = [f"d(total_energy)/d({field})" for field in fields]
    assert_same(compiled(data), eager(data), names)
    stored = AtomicDataDict.with_edge_vectors(data_of(left_handed(), model))
    assert_same(compiled(stored), eager(stored), names)


def test_packages(tmp_path, model):
    path = tmp_path / "argon.pt2"
    output = StressOutput(model)
    export(output, data_of(crystal(), model), path)
    assert model.epsilon.requires_grad
    package = load_exported(path)
    for make in STRUCTURES:
        data = data_of(make(), model)
        assert_same(package(data), output(data))
    assert_untouched(package, data_of(slab(), model))
    assert (package.cutoff, package.type_names) == (model.cutoff, model.type_names)
    with pytest.raises(ValueError, match=r"single frames, got a batch of 2"):
        package(AtomicDataDict.batched([data, data]))
    with pytest.raises(ValueError, match=r"torch.float32, but the package is for torch.float64"):
        package(data | {"pos": data["pos"].float()})
    with pytest.raises(KeyError, match="the data have no cell, which the package reads"):
        package({key: x for key, x in data.items() if key != "cell"})
    with pytest.raises(ValueError, match=r"neighbors within 2 Å, but the model reaches 3\.2"):
        package(AtomicDataDict.with_neighbors(data, 2.0))


def test_graph_of_messages_is_for_any_size():
    """What a package of NequIP is compiled from, run as it is."""
    network = NequIP(["Si", "C"], cutoff=3.2, layers=2, l_max=1, features=4).eval()
    output = StressOutput(network)
    graph = traced(output, data_of(crystal(), network))
    for make in (small_cell, left_handed, slab):
        data = data_of(make(), network)
        given = network.arranged(AtomicDataDict.prepared(data, cutoff=3.2, types=["Si", "C"]))
        with torch.no_grad():
            by_position, _, *written = graph.program.module()(*(given[k] for k in graph.read))
        found = dict(zip(graph.written, written, strict=True)) | {"forces": -by_position}
        expected = output(data)
        for field in ("atomic_energy", "total_energy", "forces"):
            scale = expected[field].abs().max().item()
            torch.testing.assert_close(found[field], expected[field], rtol=0, atol=EXACT * scale)


def test_what_is_no_package(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no package .*nothing\.pt2"):
        load_exported(tmp_path / "nothing.pt2")
    (tmp_path / "noise.pt2").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"noise\.pt2 is no package of machine code"):
        load_exported(tmp_path / "noise.pt2")


def test_what_is_not_exported(tmp_path, model):
    data = data_of(crystal(), model)
    with pytest.raises(TypeError, match="expected a StressOutput or ForceOutput"):
        export(PartialForceOutput(model), data, tmp_path / "model.pt2")
    with pytest.raises(ValueError, match=r"ends in \.pt2, got .*model\.so"):
        export(ForceOutput(model), data, tmp_path / "model.so")
    with pytest.raises(ValueError, match=r"got a batch of 2.*unbatched"):
        export(ForceOutput(model), AtomicDataDict.batched([data, data]), tmp_path / "model.pt2")
