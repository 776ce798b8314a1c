"""Whether two maps are the same, and in which words they are not."""

import numpy as np
import pytest

from maps import KEYS, flat, tensor
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.operations import (
    allclose,
    allclose_raise,
    equal,
    equal_metadata,
    equal_metadata_raise,
    equal_raise,
    remove_gradients,
    sort,
)


def changed(change, tensor, index=2):
    """The map with another block at this index."""
    blocks = tensor.blocks()
    blocks[index] = change(blocks[index].copy())
    return TensorMap.unchecked(tensor.keys, blocks)


def shifted(block, by=1e-3):
    block.values[1, 2] += by
    return block


def with_shifted_gradient(block, by=1e-3):
    block.gradient("positions").values[0, 1, 2] += by
    return block


def with_nan(block):
    block.values[0, 0] = np.nan
    return block


def without_strain(block):
    return remove_gradients(block, "strain")


def other_properties(block):
    n = Labels.range("k", 3)
    return TensorBlock.unchecked(block.values, block.samples, [], n)


WHERE = r"in the block with \(center_type=1, neighbor_type=1\)"
A = tensor()
DIFFERENCES = {
    "values": (
        changed(shifted, A),
        rf"1 of 12 values differ {WHERE}, the first at \(system=1, atom=1\), \(n=0\): [\d.]+ and",
    ),
    "values of a gradient": (
        changed(with_shifted_gradient, A),
        rf"1 of \d+ values differ in the gradient 'positions' {WHERE}, the first at \(sample=",
    ),
    "a value that is not a number": (changed(with_nan, A), f"1 of 12 values differ {WHERE}.* nan"),
    "dtype": (A.to(np.float32), "the values differ .*: float64 of shape .* and float32"),
    "samples": (
        changed(lambda block: sort(block, "samples"), A),
        f"the samples differ {WHERE}: Labels",
    ),
    "properties": (changed(other_properties, A), f"the properties differ {WHERE}: Labels"),
    "gradients": (
        changed(without_strain, A),
        rf"the gradients differ {WHERE}: \['positions', 'strain'\] and \['positions'\]",
    ),
    "components": (tensor(components=1), r"the components differ .*: \[\] and \[Labels"),
    "a key": (
        TensorMap(Labels(KEYS.names, [[8, 1], [1, 8], [1, 1], [6, 6]]), A.blocks()),
        r"the key \(center_type=8, neighbor_type=8\) is in only one of the two",
    ),
    "names of keys": (
        TensorMap(KEYS.rename("center_type", "k"), A.blocks()),
        "the keys have different dimensions",
    ),
    "kind": (flat(), "a TensorMap is not a TensorBlock"),
}
OF_NUMBERS = {"values", "values of a gradient", "a value that is not a number", "dtype"}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_differences_are_found_and_named(what):
    other, message = DIFFERENCES[what]
    assert not equal(A, other)
    assert not allclose(A, other)
    with pytest.raises(ValueError, match=message):
        equal_raise(A, other)
    with pytest.raises(ValueError, match=message):
        allclose_raise(A, other)


@pytest.mark.parametrize("what", DIFFERENCES)
def test_differences_of_metadata(what):
    other, message = DIFFERENCES[what]
    assert equal_metadata(A, other) == (what in OF_NUMBERS)
    if what not in OF_NUMBERS:
        with pytest.raises(ValueError, match=message):
            equal_metadata_raise(A, other)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_what_is_the_same(library):
    a = tensor(library=library, nested=True, components=2)
    for check in (equal_raise, allclose_raise, equal_metadata_raise):
        check(a, a.copy())
    for check in (equal, allclose, equal_metadata):
        assert check(a, a.copy())


def test_the_order_of_keys_does_not_count():
    order = [2, 0, 3, 1]
    equal_raise(A, TensorMap(KEYS.take(np.array(order)), A.blocks_by_id(order)))


@pytest.mark.parametrize("change", [shifted, with_shifted_gradient])
def test_tolerances(change):
    other = changed(lambda block: change(block, 1e-6), A)
    assert allclose(A, other, atol=1e-5)
    assert allclose(A, other, rtol=1e-3)
    assert not allclose(A, other, atol=1e-8)


def test_relative_tolerance_is_that_of_the_second():
    small, large = flat(), flat()
    small.values[:] = 1.0
    large.values[:] = 2.0
    assert allclose(remove_gradients(small), remove_gradients(large), rtol=0.5, atol=0)
    assert not allclose(remove_gradients(large), remove_gradients(small), rtol=0.5, atol=0)


def test_numbers_that_are_not_and_those_without_end():
    nan = changed(with_nan, A)
    assert not equal(nan, nan)
    assert not allclose(nan, nan)
    assert allclose(nan, nan, equal_nan=True)
    for sign in (1, -1):
        infinite = flat()
        infinite.values[0] = np.inf
        other = infinite.copy()
        other.values[0] *= sign
        assert allclose(infinite, other) == (sign == 1)


def test_parts_of_the_metadata():
    other = changed(lambda block: sort(block, "samples"), A)
    assert equal_metadata(A, other, ["components", "properties"], check_gradients=False)
    assert not equal_metadata(A, other, "samples")
    assert equal_metadata(A, changed(without_strain, A), check_gradients=False)


def test_blocks_are_compared_too():
    assert equal(flat(), flat())
    with pytest.raises(ValueError, match="9 of 9 values differ, the first at"):
        equal_raise(flat(1), flat(2))
