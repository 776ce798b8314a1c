import copy
import pickle

import numpy as np
import pytest

import nablatom
from maps import KEYS, flat, tensor
from nablatom import Labels, TensorBlock, TensorMap, remove_gradients

TWO = Labels(["key"], [[0], [1]])


def other_than_flat():
    """Blocks that cannot stand beside flat() in one map, and what the error calls it."""
    b = flat()
    values, samples, properties = b.values, b.samples, b.properties
    gradients = dict(b.gradients())
    axis = Labels.range("m", 1)
    rename = Labels.rename
    return {
        "sample names": TensorBlock(values, rename(samples, "atom", "i"), [], properties),
        "component names": TensorBlock(values[:, None], samples, [axis], properties),
        "property names": TensorBlock(values, samples, [], rename(properties, "n", "k")),
        "gradients": TensorBlock.unchecked(
            values, samples, [], properties, {"strain": gradients["strain"]}
        ),
        "dtype": b.to(np.float32),
        "array library": b.to(arrays="torch"),
    }


@pytest.mark.parametrize("what", other_than_flat())
def test_blocks_have_to_go_together(what):
    block = other_than_flat()[what]
    first = flat() if block.has_any_gradient() else remove_gradients(flat())
    with pytest.raises(
        ValueError, match=rf"the same {what}: block 0 has .* block 1 with \(key=1\)"
    ):
        TensorMap(TWO, [first, block])


def test_gradients_have_to_go_together_too():
    def with_gradient(name):
        block = remove_gradients(flat())
        rows = Labels(["sample", name], [[0, 0]])
        values = np.zeros((1, 3))
        block.add_gradient("x", TensorBlock(values, rows, [], block.properties))
        return block

    with pytest.raises(ValueError, match="sample names \\(of the gradient 'x'\\)"):
        TensorMap(TWO, [with_gradient("atom"), with_gradient("cell")])


A = tensor()
ERRORS = {
    "keys": (lambda: TensorMap([[0]], [flat()]), TypeError, "keys must be Labels, got list"),
    "count": (lambda: TensorMap(TWO, [flat()]), ValueError, "2 keys, but 1 blocks"),
    "blocks": (lambda: TensorMap(TWO, [flat(), 3]), TypeError, "got int at index 1"),
    "no block": (
        lambda: A.block(center_type=7),
        KeyError,
        r"no block matches \(center_type=7\); the keys are \(center_type=8, neighbor_type=1\), ",
    ),
    "several": (
        lambda: A.block(center_type=8),
        ValueError,
        r"2 blocks match: \(center_type=8, neighbor_type=1\)",
    ),
    "no such key": (lambda: A.block(species=7), ValueError, "no dimension 'species'"),
    "both": (lambda: A.block({"center_type": 8}, neighbor_type=1), ValueError, "not both"),
    "an index": (lambda: A.block_by_id(4), IndexError, "no block 4: this map has 4 blocks"),
    "rows": (lambda: A.blocks(KEYS), ValueError, "has one entry, got 4"),
    "info, a number": (lambda: A.set_info("a", 3), TypeError, "info is text by name"),
    "a key to move": (
        lambda: A.keys_to_properties("species"),
        ValueError,
        r"no dimension 'species' in the keys: they have \['center_type', 'neighbor_type'\]",
    ),
    "a key to samples": (lambda: A.keys_to_samples(["species"]), ValueError, "'species'"),
    "a component": (
        lambda: A.components_to_properties("o3_mu"),
        ValueError,
        r"no component 'o3_mu' in the blocks: \[\]",
    ),
    "a block that would be lost": (
        lambda: A.keys_to_properties(Labels(["neighbor_type"], [[1]])),
        ValueError,
        r"\(neighbor_type=8\) would be lost",
    ),
    "a dimension twice": (
        lambda: TensorMap(KEYS.rename("center_type", "atom"), A.blocks()).keys_to_samples("atom"),
        ValueError,
        "'atom' is there already",
    ),
    "nothing to move": (
        lambda: TensorMap(Labels.empty("a"), []).keys_to_samples("a"),
        ValueError,
        "a map without blocks",
    ),
    "dtype of nothing": (lambda: TensorMap(Labels.empty("a"), []).dtype, ValueError, "no dtype"),
    "a hash": (lambda: hash(A), TypeError, "unhashable"),
    "plus text": (lambda: A + "1", TypeError, "a real number, got str"),
    "times a complex number": (lambda: A * 1j, TypeError, "a real number, got complex"),
    "to the power of a map": (lambda: A**A, TypeError, "exponent|real number"),
    "plus an array": (lambda: A + np.ones(3), TypeError, "got ndarray"),
    "an array plus": (lambda: np.ones(3) + A, TypeError, "ndarray"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_wrong(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()


SELECTIONS = {
    "index": (2, [2]),
    "NumPy index": (np.int64(2), [2]),
    "indices": ([0, 3], [0, 3]),
    "a dictionary": ({"center_type": 8}, [0, 3]),
    "a whole key": ({"neighbor_type": 1, "center_type": 8}, [0]),
    "an entry": (KEYS[1], [1]),
    "labels": (Labels(["neighbor_type"], [[8]]), [1, 3]),
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_selections(case):
    selection, expected = SELECTIONS[case]
    assert A.blocks_matching(selection) == expected
    found = A.blocks(selection)
    assert all(x is A.block_by_id(i) for x, i in zip(found, expected, strict=True))
    if len(expected) == 1:
        assert A.block(selection) is A[selection] is found[0]


def test_ways_to_walk_through_a_map():
    assert len(A) == 4
    assert list(A) == A.blocks() == [block for _, block in A.items()]
    assert [key for key, _ in A.items()] == list(A.keys)
    assert A.blocks(neighbor_type=8) == A.blocks_by_id([1, 3])
    assert (A.sample_names, A.component_names, A.property_names) == (
        ["system", "atom"],
        [],
        ["n"],
    )
    assert (A.dtype, A.device) == (np.float64, "cpu")


def test_a_map_of_one_block_needs_no_selection():
    block = flat()
    assert TensorMap(Labels.single(), [block]).block() is block


def test_info():
    a = tensor()
    a.set_info("unit", "eV")
    assert a.get_info("unit") == "eV"
    assert a.get_info("colour") is None
    assert dict(a.info()) == {"made of": "random numbers", "unit": "eV"}
    a.info()["unit"] = "J"
    assert a.get_info("unit") == "eV"
    a.copy().set_info("unit", "K")
    assert a.get_info("unit") == "eV"


def test_copies():
    a = tensor(nested=True)
    for again in (a.copy(), copy.deepcopy(a), copy.copy(a), pickle.loads(pickle.dumps(a))):
        assert again == a
        assert again.info() == a.info()
    assert a.copy(deep=False).block_by_id(0).values is a.block_by_id(0).values
    assert not np.shares_memory(a.copy().block_by_id(0).values, a.block_by_id(0).values)


def test_comparison_with_other_things():
    assert A.copy() == A
    assert A != A * 2
    assert A != "a map"


def test_moving_all_keys_leaves_one_block():
    for moved in (A.keys_to_samples(KEYS.names), A.keys_to_properties(KEYS.names)):
        assert moved.keys == Labels.single()


def test_moved_keys_in_an_order_that_can_be_read():
    merged = A.keys_to_properties("neighbor_type").block(center_type=8)
    assert merged.properties == Labels(
        ["neighbor_type", "n"], [[1, 2], [1, -1], [1, 0], [8, 2], [8, -1], [8, 0]]
    )
    np.testing.assert_array_equal(merged.values[:, 3:], 0)  # the block (8, 8) is empty
    stacked = A.keys_to_samples("neighbor_type", sort_samples=False).block(center_type=1)
    assert stacked.samples.values.tolist() == [
        *[[0, 1, 8], [1, 0, 8]],
        *[[0, 0, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1]],
    ]


def test_filled_values_are_constants():
    """A value that no block has is the fill value, also where a sample's others have gradients."""
    merged = A.keys_to_properties("neighbor_type", fill_value=np.nan).block(center_type=1)
    assert np.isnan(merged.values).any()
    for _, gradient in merged.gradients():
        assert np.isfinite(gradient.values).all()


@pytest.mark.parametrize("number", [2, 2.5, np.float64(2.5), np.float32(2.5), np.int32(2), True])
def test_numbers_on_both_sides(number):
    value = float(number)
    pairs = [
        (number + A, A + value),
        (number - A, nablatom.subtract(value, A)),
        (number * A, A * value),
        (number / A, nablatom.divide(value, A)),
        (A / number, A / value),
        (A - number, A - value),
    ]
    for left, right in pairs:
        assert isinstance(left, TensorMap)
        nablatom.allclose_raise(left, right)
    nablatom.equal_raise(A - number, -(number - A))


def test_operators_and_their_names():
    b = tensor(1)
    assert A + b == nablatom.add(A, b)
    assert A - b == nablatom.subtract(A, b)
    assert A * b == nablatom.multiply(A, b)
    assert A / b == nablatom.divide(A, b)
    assert nablatom.pow(A, 3) == A**3
    assert A @ b == nablatom.dot(A, b)
    assert abs(-A) == nablatom.abs(-A) == +A
