"""A part that is loaded is the part of the whole."""

import numpy as np
import pytest

from nablatom import Labels, TensorMap
from nablatom.io import load, load_buffer, save, save_buffer
from nablatom.operations import slice as slice_map


@pytest.fixture(params=["file", "mapped file", "buffer"])
def loaded(request, tensor, tmp_path):
    if request.param == "buffer":
        return lambda **part: load_buffer(save_buffer(tensor), **part)
    save(tmp_path / "file.mts", tensor)
    return lambda **part: load(tmp_path / "file.mts", mmap=request.param == "mapped file", **part)


SELECTIONS = {
    "one column": Labels(["system"], [[1]]),
    "two rows": Labels(["system", "atom"], [[1, 3], [0, 1], [9, 9]]),
    "other order": Labels(["atom", "system"], [[2, 0], [0, 0]]),
    "nothing": Labels(["system"], [[7]]),
}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_samples(loaded, tensor, selection):
    part = loaded(samples=SELECTIONS[selection])
    assert part == slice_map(tensor, "samples", SELECTIONS[selection])
    assert dict(part.info()) == dict(tensor.info())


def test_gradient_rows_follow_their_sample(loaded, tensor):
    part = loaded(samples=Labels(["atom"], [[3], [1]]))
    for block, whole in zip(part, tensor, strict=True):
        assert block.samples.column("atom").tolist() == [1, 3]
        np.testing.assert_array_equal(block.values, whole.values[[1, 3]])
        gradient, all_rows = block.gradient("positions"), whole.gradient("positions")
        assert gradient.samples.column("sample").tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(gradient.values, all_rows.values[[2, 3, 6, 7]])
        second = gradient.gradient("cell")
        assert second.samples.values.tolist() == [[1, 0]]  # row 3 is now row 1
        np.testing.assert_array_equal(second.values, all_rows.gradient("cell").values[1:])


def test_properties(loaded, tensor):
    selection = Labels(["n"], [[1], [3]])
    part = loaded(properties=selection)
    assert part == slice_map(tensor, "properties", selection)
    assert [block.values.shape[-1] for block in part] == [2, 1]


def test_samples_and_properties(loaded, tensor):
    samples, properties = SELECTIONS["two rows"], Labels.range("n", 1)
    expected = slice_map(slice_map(tensor, "samples", samples), "properties", properties)
    assert loaded(samples=samples, properties=properties) == expected


def test_parts_are_copies(loaded):
    for part in (loaded(samples=SELECTIONS["one column"]), loaded(properties=Labels.range("n", 1))):
        block = part.block_by_id(0)
        assert block.values.flags.owndata
        assert block.gradient("positions").values.flags.writeable


def test_keys(loaded, tensor):
    part = loaded(keys=Labels(["o3_sigma"], [[-1]]))
    assert part == TensorMap(
        Labels(["center_type", "o3_sigma"], [[6, -1]]), [tensor.block_by_id(1)]
    )
    assert len(loaded(keys=Labels(["center_type"], [[1]]))) == 0


def test_gradients(loaded, tensor):
    assert [block.gradients_list() for block in loaded(gradients=())] == [[], []]
    for gradients in (["positions"], "positions"):
        block = loaded(gradients=gradients).block_by_id(0)
        assert block.gradients_list() == ["positions"]
        assert block.gradient("positions") == tensor.block_by_id(0).gradient("positions")


def test_names_that_are_not_there(loaded):
    with pytest.raises(ValueError, match="no gradient 'cell'; stored: aaa, positions"):
        loaded(gradients=["cell"])
    with pytest.raises(ValueError, match="no dimension 'atoms'"):
        loaded(samples=Labels.range("atoms", 1))
    with pytest.raises(ValueError, match="no dimension 'species'"):
        loaded(keys=Labels.range("species", 1))


def test_members_that_are_not_asked_for_are_not_read(tensor):
    data = bytearray(save_buffer(tensor))
    start = data.find(b"blocks/1/gradients/positions/values.npy")
    data[start : start + 10] = b"x" * 10
    with pytest.raises(ValueError, match=r"member blocks/1/gradients/positions/values\.npy: "):
        load_buffer(data)
    assert load_buffer(data, gradients=["aaa"]).block_by_id(1).gradients_list() == ["aaa"]
    assert len(load_buffer(data, keys=Labels(["center_type"], [[8]]))) == 1
