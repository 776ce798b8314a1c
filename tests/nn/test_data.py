"""Datasets and loaders, in this process and in others."""

import functools
import pickle

import numpy as np
import pytest

import nablatom
from maps import KEYS, tensor
from nablatom import Labels, TensorBlock, TensorMap
from peer import here as from_peer
from peer import there as to_peer

torch = pytest.importorskip("torch")
nn = pytest.importorskip("nablatom.nn")

COUNT = 13


def of_system(system, library="torch"):
    """One map for each system: some of its atoms, with their gradients."""
    x = tensor(system, rows=system, library=library, components=1)
    blocks = []
    for block in x:
        rows = np.array(block.samples.values)
        rows[:, 0] += 2 * system
        values = TensorBlock(
            block.values, Labels(["system", "atom"], rows), block.components, block.properties
        )
        for name, gradient in block.gradients():
            values.add_gradient(name, gradient)
        blocks.append(values)
    return TensorMap(KEYS, blocks)


# A function that new processes can import.
number = functools.partial(torch.full, (1, 1))


def dataset(**options):
    systems = list(range(COUNT))
    return nn.Dataset(
        x=[of_system(i, **options) for i in systems], number=number, name=list(map(str, systems))
    )


LOADERS = {
    "in this process": {},
    "in two processes": {"num_workers": 2},
    "shuffled": {"shuffle": True},
    "in processes that stay": {"num_workers": 1, "persistent_workers": True, "prefetch_factor": 4},
}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", LOADERS)
def test_batches_are_joined_samples(name, library):
    samples = dataset(library=library)
    seen = []
    for batch in nn.DataLoader(samples, batch_size=5, **LOADERS[name]):
        assert batch._fields == ("x", "number", "name")
        numbers = list(map(int, batch.name))
        nablatom.equal_raise(
            batch.x, nablatom.join([of_system(i, library=library) for i in numbers], "samples")
        )
        assert batch["number"].tolist() == [[i] for i in numbers]
        seen += numbers
    assert sorted(seen) == list(range(COUNT))


def test_new_processes_can_load_everything():
    """Nothing but what can be pickled, and imported there."""
    loader = nn.DataLoader(dataset(), batch_size=5, num_workers=1, multiprocessing_context="spawn")
    for batch, plain in zip(loader, nn.DataLoader(dataset(), batch_size=5), strict=True):
        nablatom.equal_raise(batch.x, plain.x)
        assert batch.name == plain.name


def test_batches_can_be_trained_on():
    loader = nn.DataLoader(dataset(), batch_size=5, num_workers=2)
    model = nn.Sequential(KEYS, nn.Linear(KEYS, 3, 4, dtype=torch.float64), nn.Tanh(KEYS))
    for batch in loader:
        loss = sum((a**2).sum() for a in torch.utils._pytree.tree_leaves(model(batch.x)))
        loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_pinned_memory(monkeypatch):
    """Without a GPU torch pins nothing; what it would ask every tensor for is counted."""
    asked = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x, *_: asked.append(x.shape) or x)
    pin = torch.utils.data._utils.pin_memory.pin_memory
    batch = nn.group_and_join([dataset()[i] for i in range(3)])
    pinned = pin(batch)
    assert type(pinned) is type(batch)
    assert pinned.name == batch.name
    nablatom.equal_raise(pinned.x, batch.x)
    assert len(asked) == 1 + 3 * len(KEYS)  # the tensor; values and two gradients of each block
    assert pin(of_system(0, library="numpy")) == of_system(0, library="numpy")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_pinned_memory_of_a_gpu():
    for batch in nn.DataLoader(dataset(), batch_size=5, pin_memory=True, num_workers=2):
        arrays = torch.utils._pytree.tree_leaves(batch.x)
        assert all(a.is_pinned() for a in arrays if a.numel())
        assert all(a.is_cuda for a in torch.utils._pytree.tree_leaves(batch.x.to(device="cuda")))


def test_groups_keep_values_apart():
    batch = nn.group([dataset()[i] for i in range(3)])
    assert [len(field) for field in batch] == [3, 3, 3]
    nablatom.equal_raise(batch.x[1], of_system(1))


def test_only_some_fields_are_joined():
    batch = nn.group_and_join([dataset()[i] for i in range(3)], fields_to_join=["number"])
    assert batch.number.shape == (3, 1)
    assert isinstance(batch.x, tuple)


def test_options_of_join():
    samples = [dataset()[i] for i in range(3)]
    samples[1] = samples[1]._replace(x=TensorMap(KEYS.take(slice(1)), of_system(1).blocks([0])))
    with pytest.raises(ValueError, match="different_keys") as caught:
        nn.group_and_join(samples)
    assert "in the field 'x' of a batch" in caught.value.__notes__
    union = functools.partial(nn.group_and_join, join_kwargs={"different_keys": "union"})
    assert union(samples).x.keys == KEYS
    (loaded,) = nn.DataLoader(samples, collate_fn=union, batch_size=3, num_workers=1)
    nablatom.equal_raise(loaded.x, union(samples).x)


def test_the_peer_makes_the_same_batches():
    learn = pytest.importorskip("metatensor.learn")
    maps = [of_system(i, library="numpy") for i in range(COUNT)]
    ours = nn.DataLoader(nn.Dataset(x=maps), batch_size=4)
    theirs = learn.DataLoader(learn.Dataset(x=[to_peer(x) for x in maps]), batch_size=4)
    for a, b in zip(ours, theirs, strict=True):
        assert a._fields == b._fields
        nablatom.equal_raise(nablatom.sort(a.x), nablatom.sort(from_peer(b.x)))


# -- records ---------------------------------------------------------------------------


def test_records_travel_with_any_names():
    sample = nn.Dataset.from_dict({"any name": [1], "class": [2], "fine": [3]})[0]
    again = pickle.loads(pickle.dumps(sample))
    assert again == sample == (1, 2, 3)
    assert type(again) is type(sample)
    assert again["any name"] == 1
    assert again.fine == again[2] == 3
    assert again[1:] == (2, 3)
    assert repr(sample) == "Sample('any name'=1, 'class'=2, fine=3)"
    assert sample._asdict() == {"any name": 1, "class": 2, "fine": 3}
    assert sample._replace(fine=7).fine == 7
    with pytest.raises(KeyError, match="no field 'other'; there are any name, class, fine"):
        sample["other"]
    with pytest.raises(TypeError, match="no fields"):
        sample._replace(other=1)


# -- datasets --------------------------------------------------------------------------


def test_indexed_samples_are_found_by_their_name():
    samples = nn.IndexedDataset(["b", 3], number=[10, 20], twice=lambda name: 2 * name)
    assert samples[0] == ("b", 10, "bb")
    assert samples.get_sample(3) == (3, 20, 6)
    assert [sample.sample_id for sample in samples] == ["b", 3]
    batch = nn.group_and_join(list(samples))
    assert batch.sample_id == ("b", 3)
    named = nn.IndexedDataset.from_dict({"a b": [1]}, sample_id=["x"])
    assert named[0]["a b"] == 1


def test_functions_are_called_for_what_is_asked():
    calls = []
    samples = nn.Dataset(value=lambda i: calls.append(i) or i, size=5)
    assert len(samples) == 5
    assert samples[np.int64(3)].value == 3
    assert calls == [3]
    assert [sample.value for sample in samples] == [0, 1, 2, 3, 4]


def broken(i):
    raise OSError("no such file")


WRONG = {
    "lengths": (lambda: nn.Dataset(a=[1, 2], b=[1]), ValueError, "'b' has 1 values for 2 samples"),
    "a size": (lambda: nn.Dataset(a=[1, 2], size=3), ValueError, "2 values for 3 samples"),
    "no size": (lambda: nn.Dataset(a=number), ValueError, "give the number of samples as size"),
    "a field": (lambda: nn.Dataset(a=3), TypeError, "must be a list"),
    "text": (lambda: nn.Dataset(a="abc"), TypeError, "must be a list"),
    "types": (lambda: nn.Dataset(a=[1, "b"]), TypeError, "number 1 is str"),
    "an index": (lambda: nn.Dataset(a=[1])[1], IndexError, "no sample 1: there are 1"),
    "a negative index": (lambda: nn.Dataset(a=[1])[-1], IndexError, "no sample -1"),
    "identifiers": (lambda: nn.Dataset(sample_id=[1]), ValueError, "IndexedDataset"),
    "identifiers by name": (
        lambda: nn.Dataset.from_dict({"sample_id": [1]}),
        ValueError,
        "IndexedDataset",
    ),
    "twice": (lambda: nn.IndexedDataset([1, 2, 1]), ValueError, "1 occurs more than once"),
    "a size beside identifiers": (
        lambda: nn.IndexedDataset([1], size=1),
        ValueError,
        "the size is that of sample_id",
    ),
    "no sample": (lambda: nn.IndexedDataset([1]).get_sample(2), KeyError, "no sample 2"),
    "no batch": (lambda: nn.group([]), ValueError, "at least one sample"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_is_wrong(name):
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


def test_errors_of_functions_name_field_and_sample():
    with pytest.raises(OSError, match="no such file") as caught:
        nn.IndexedDataset(["cat"], picture=broken)[0]
    assert caught.value.__notes__ == ["in the field 'picture' of sample 'cat'"]
