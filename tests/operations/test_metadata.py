"""Labels read out and changed, and arrays that are given some."""

import numpy as np
import pytest
import torch

from maps import KEYS, flat, tensor
from nablatom import Labels, TensorBlock, TensorMap, operations

# name: operation on an axis, and what becomes of the names there
CHANGES = {
    "append": (lambda a, axis: operations.append_dimension(a, axis, "q", 3), lambda n: [*n, "q"]),
    "insert": (
        lambda a, axis: operations.insert_dimension(a, axis, 0, "q", 3),
        lambda n: ["q", *n],
    ),
    "permute": (
        lambda a, axis: (
            operations.permute_dimensions(
                operations.append_dimension(a, axis, "q", 3), axis, [1, 0]
            )
            if axis == "properties"
            else operations.permute_dimensions(a, axis, [1, 0])
        ),
        lambda n: ["q", *n] if len(n) == 1 else n[::-1],
    ),
    "remove": (
        lambda a, axis: operations.remove_dimension(
            operations.append_dimension(a, axis, "q", 3), axis, "q"
        ),
        lambda n: n,
    ),
}


@pytest.mark.parametrize("axis", ["keys", "samples", "properties"])
@pytest.mark.parametrize("name", CHANGES)
def test_dimensions_of_an_axis(name, axis):
    change, names = CHANGES[name]
    a = tensor(components=1, nested=True)
    result = change(a, axis)
    everything = {
        "keys": (result.keys.names, a.keys.names),
        "samples": (result.sample_names, a.sample_names),
        "properties": (result.property_names, a.property_names),
    }
    for where, (new, old) in everything.items():
        assert new == (names(old) if where == axis else old)
    for block, before in zip(result, a, strict=True):
        assert block.values is before.values
        inner = block.gradient("positions").gradient("strain")
        assert inner.properties == block.properties
        assert block.gradient("positions").samples == before.gradient("positions").samples


@pytest.mark.parametrize("values", [[5, 4, 9], np.array([5, 4, 9]), torch.tensor([5, 4, 9])])
def test_values_of_a_new_dimension(values):
    result = operations.append_dimension(flat(), "properties", "q", values)
    assert result.properties["q"].tolist() == [5, 4, 9]


def test_renamed_dimensions_are_renamed_in_gradients_too():
    a = tensor(components=1, nested=True)
    assert operations.rename_dimension(a, "keys", "center_type", "c").keys.names[0] == "c"
    inner = operations.rename_dimension(a, "samples", "system", "frame").block_by_id(0)
    for _ in range(2):
        assert "frame" in inner.samples.names
        inner = inner.gradient("positions")
    renamed = operations.rename_dimension(a, "components", "o3_mu", "m")
    assert renamed.block_by_id(0).gradient("strain").components[-1].names == ["m"]
    only_there = operations.rename_dimension(a, "components", "xyz_b", "b").block_by_id(0)
    assert only_there.gradient("strain").components[1].names == ["b"]
    q = operations.rename_dimension(a, "properties", "n", "q").block_by_id(0)
    assert q.gradient("positions").gradient("strain").properties.names == ["q"]


WRONG = {
    "axis": (lambda a: operations.append_dimension(a, "sample", "q", 0), "got 'sample'"),
    "components": (lambda a: operations.remove_dimension(a, "components", "q"), "must be"),
    "no keys": (
        lambda a: operations.append_dimension(a.block_by_id(0), "keys", "q", 0),
        "a block has no keys",
    ),
    "too few": (lambda a: operations.append_dimension(a, "samples", "q", [1]), r"shape \(3,\)"),
    "the last": (lambda a: operations.remove_dimension(a, "properties", "n"), "only dimension"),
    "no longer unique": (lambda a: operations.remove_dimension(a, "keys", "center_type"), "unique"),
    "not there": (lambda a: operations.rename_dimension(a, "samples", "q", "r"), "'q'"),
    "taken": (lambda a: operations.rename_dimension(a, "samples", "system", "atom"), "different"),
    "no component": (lambda a: operations.rename_dimension(a, "components", "q", "r"), "'q'"),
    "a component twice": (
        lambda a: operations.rename_dimension(a, "components", "o3_mu", "xyz"),
        "already",
    ),
    "permuted": (lambda a: operations.permute_dimensions(a, "samples", [0, 0]), "once"),
    "unique of keys": (lambda a: operations.unique_metadata(a, "keys", "center_type"), "axis"),
    "unique of nothing": (lambda a: operations.unique_metadata(a, "samples", []), "at least one"),
    "unique of q": (lambda a: operations.unique_metadata(a, "samples", "q"), "'q'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name):
    function, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        function(tensor(components=1))


def test_unique_metadata_of_all_blocks():
    a = tensor()
    rows = {tuple(row) for block in a for row in block.samples.values[:, ::-1].tolist()}
    found = operations.unique_metadata(a, "samples", ("atom", "system"))
    assert found == Labels(["atom", "system"], sorted(rows))
    assert operations.unique_metadata(a.block_by_id(3), "samples", "atom") == Labels.empty("atom")
    assert operations.unique_metadata(a, "properties", "n") == Labels("n", [[-1], [0], [2]])
    moved = {row for b in a for row in b.gradient("positions").samples["atom"].tolist()}
    found = operations.unique_metadata(a, "samples", "atom", gradient="positions")
    assert set(found["atom"].tolist()) == moved
    empty = TensorMap(Labels.empty("k"), [])
    assert operations.unique_metadata(empty, "samples", ["atom"]) == Labels.empty("atom")
    with pytest.raises(KeyError, match="no gradient 'cell'"):
        operations.unique_metadata(a, "samples", "atom", gradient="cell")


def test_one_hot_rows():
    types = Labels(["center_type"], [[8], [1], [6]])
    np.testing.assert_array_equal(
        operations.one_hot(KEYS, types), [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]]
    )
    with pytest.raises(ValueError, match=r"\(center_type=1\) is in the labels"):
        operations.one_hot(KEYS, Labels(["center_type"], [[8]]))
    with pytest.raises(ValueError, match="needs one dimension"):
        operations.one_hot(KEYS, KEYS)


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_block_from_array(make):
    array = make((2, 3, 4, 5, 6))
    block = operations.block_from_array(array, ["system", "atom"], ["m"], ["l", "n"])
    assert block.shape == (6, 4, 30)
    assert type(block.values) is type(array)
    assert block.samples[4].print() == "(system=1, atom=1)"
    assert block.properties[7].print() == "(l=1, n=1)"
    default = operations.block_from_array(array)
    assert [c.names[0] for c in default.components] == [f"component_{i}" for i in (1, 2, 3)]
    array[...] = 7.0
    assert (default.values == 7.0).all()


def test_arrays_that_do_not_fit_their_names():
    with pytest.raises(ValueError, match="3 axes, but there are 2 names for samples"):
        operations.block_from_array(np.ones((2, 3, 4)), ["a", "b"], ["m"])
    with pytest.raises(ValueError, match="has 1 axes"):
        operations.block_from_array(np.ones(2))
    with pytest.raises(TypeError, match="got list"):
        operations.block_from_array([[1.0]])


def test_an_axis_without_entries():
    block = operations.block_from_array(np.ones((2, 0, 3)), ["system", "atom"])
    assert isinstance(block, TensorBlock)
    assert block.shape == (0, 3)
