"""Choosing and repeating: what there is then; gradients are rows of test_gradients.py."""

import numpy as np
import pytest
import torch

from maps import KEYS, flat, tensor
from nablatom import Labels, TensorMap, operations

ATOM_1 = Labels(["atom"], [[1]])
CENTER_1 = Labels(["center_type"], [[1], [1000]])


def test_split_is_a_slice_for_each_selection():
    a = tensor(components=1)
    selections = [Labels(["atom"], [[1]]), Labels(["system", "atom"], [[0, 0], [9, 9]])]
    for part, selection in zip(operations.split(a, "samples", selections), selections, strict=True):
        operations.equal_raise(part, operations.slice(a, "samples", selection))
    columns = operations.split(a, "properties", [[0, 2], np.array([1])])
    operations.equal_raise(
        operations.sort(operations.join(columns, "properties"), "properties"),
        operations.sort(a, "properties"),
    )
    assert operations.split(a, "properties", []) == []


def test_split_of_one_selection_is_a_mistake():
    with pytest.raises(TypeError, match="list of selections"):
        operations.split(tensor(), "samples", Labels(["atom"], [[1]]))


def test_blocks_by_part_of_their_keys():
    a = tensor()
    kept, dropped = operations.filter_blocks(a, CENTER_1), operations.drop_blocks(a, CENTER_1)
    assert kept.keys == KEYS.take(np.array([1, 2]))
    assert dropped.keys == KEYS.take(np.array([0, 3]))
    assert kept.block_by_id(0) is a.block_by_id(1)
    assert kept.info() == dropped.info() == a.info()


@pytest.mark.parametrize("function", [operations.filter_blocks, operations.drop_blocks])
def test_a_copy_has_its_own_numbers(function):
    a = tensor()
    copied = function(a, CENTER_1, copy=True)
    before = copied.copy()
    for block in a:
        block.values[...] = np.nan
    operations.equal_raise(copied, before)


def test_keys_that_are_not_there():
    with pytest.raises(ValueError, match="no dimension 'neighbour_type'"):
        operations.filter_blocks(tensor(), Labels(["neighbour_type"], [[1]]))


def test_blocks_without_samples_or_properties_are_empty():
    a = tensor()
    assert operations.drop_empty_blocks(a).keys == KEYS.take(np.arange(3))
    assert len(operations.drop_empty_blocks(operations.slice(a, "properties", []))) == 0


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_repeated_rows(library):
    a = flat(1).to(arrays=library)
    result = operations.repeat(a, [2, 0, 1], "copy")
    assert result.samples == Labels(["system", "atom", "copy"], [[1, 0, 0], [1, 0, 1], [0, 0, 0]])
    together = operations.sum_over_samples(result, "copy").to(arrays="numpy")
    operations.equal_raise(together, _weighted_rows(flat(1), [2, 0, 1]))


def _weighted_rows(block, times):
    """Each row as often as it is repeated, without those that are not there any more."""
    kept = operations.slice(block, "samples", np.flatnonzero(times))
    weights = np.array(times, float)[np.flatnonzero(times)]
    return operations.sum_over_samples(kept, [], weights=weights)


WRONG_REPEATS = {"negative": -1, "a fraction": 0.5, "too few": [1, 2], "two axes": [[1, 1, 1]]}


@pytest.mark.parametrize("name", WRONG_REPEATS)
def test_what_repeats_cannot_be(name):
    with pytest.raises(ValueError, match="repeats must be"):
        operations.repeat(flat(), WRONG_REPEATS[name])


def test_a_repeated_dimension_needs_a_new_name():
    with pytest.raises(ValueError, match="different from each other"):
        operations.repeat(flat(), 2, "atom")


def test_what_is_known_of_a_system_comes_to_its_atoms():
    """And a mean over the atoms gives it back."""
    systems = operations.sum_over_samples(flat(1), "atom")
    atoms = Labels(["atom", "system"], [[3, 1], [0, 0], [1, 1], [2, 1]])
    result = operations.expand_samples(systems, atoms)
    assert result.samples == atoms
    np.testing.assert_array_equal(result.values, systems.values[[1, 0, 1, 1]])
    operations.allclose_raise(operations.mean_over_samples(result, "atom"), systems)


def test_atoms_of_no_system():
    systems = operations.sum_over_samples(flat(1), "atom")
    with pytest.raises(ValueError, match=r"no row for \(system=5\)"):
        operations.expand_samples(systems, Labels(["system", "atom"], [[0, 0], [5, 1]]))
    with pytest.raises(ValueError, match="need the dimension 'system'"):
        operations.expand_samples(systems, Labels(["atom"], [[0]]))


def structure(a):
    """Everything that changes which entries there are, once."""
    part = operations.split(a, "samples", [ATOM_1])[0]
    part = operations.drop_empty_blocks(operations.filter_blocks(part, CENTER_1))
    return operations.append_dimension(operations.repeat(part, 2), "properties", "q", 3) * 2.0


def spread(a):
    """Every kind of reduction, once."""
    wide = a.keys_to_properties("neighbor_type")
    return operations.std_over_samples(
        operations.var_over_properties(wide, "neighbor_type"), "atom"
    )


@pytest.mark.parametrize("function", [structure, spread])
def test_compiled_equals_eager(function):
    a = tensor(1, library="torch", keys=KEYS.take(np.array([2, 1])), parameters=("positions",))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    operations.allclose_raise(compiled(a), function(a))


def test_maps_without_blocks():
    empty = TensorMap(Labels.empty(["center_type"]), [])
    assert len(operations.drop_empty_blocks(empty)) == 0
    assert len(operations.filter_blocks(empty, CENTER_1)) == 0
    assert [len(x) for x in operations.split(empty, "samples", [[0], [1]])] == [0, 0]
