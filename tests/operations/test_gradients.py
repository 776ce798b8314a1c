"""Stored gradients of every operation against finite differences.

The operations are the rows of operation_rows.py.
"""

from inspect import signature

import numpy as np
import pytest
import torch

import nablatom
from nablatom import Labels, TensorBlock, TensorMap, operations
from nablatom.operations import add, block_names, divide, dot, multiply, slice, sort
from nablatom.testing import assert_gradients
from operation_rows import CURVED, LINEAR, PARAMETERS, ROWS, operands

# Numbers that say nothing about derivatives, weights that come of them, labels, or answers.
NO_DERIVATIVES = {
    "Covariance",
    "PCA",
    "block_from_array",
    "empty_like",
    "is_contiguous",
    "lstsq",
    "one_hot",
    "ones_like",
    "random_uniform_like",
    "requires_grad",
    "ridge",
    "solve",
    "svd",
    "unique_metadata",
}
COMPARISONS = {name for name in operations.__all__ if name.startswith(("allclose", "equal"))}


def names_and_sparsity(rows):
    """Different sparsity, where there is more than one sparse operand."""
    several = {name for name, row in rows.items() if len({*signature(row).parameters} - {"w"}) > 1}
    return [*[(name, "same") for name in rows], *[(name, "different") for name in sorted(several)]]


def kept(name):
    return PARAMETERS[:1] if name == "remove_gradients" else PARAMETERS


def test_every_operation_has_a_row():
    rows = {name.split(",")[0] for name in [*LINEAR, *CURVED]}
    others = COMPARISONS | NO_DERIVATIVES | set(block_names.__all__)
    assert set(operations.__all__) <= rows | others


@pytest.mark.parametrize("name", sorted(set(block_names.__all__) - {"join_blocks"}))
def test_names_for_blocks_are_the_same_functions(name):
    assert getattr(operations, name) is getattr(operations, name.replace("_block", ""))
    assert getattr(nablatom, name) is getattr(operations, name)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [0, 2], ids="{} components".format)
@pytest.mark.parametrize(("name", "sparsity"), names_and_sparsity(ROWS))
def test_first_derivatives(name, sparsity, components, library):
    row = ROWS[name]
    maps = operands(row, library=library, components=components, sparsity=sparsity)
    for parameter in kept(name):
        assert_gradients(row, maps, parameter)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [0, 1], ids="{} components".format)
@pytest.mark.parametrize(("name", "sparsity"), names_and_sparsity(LINEAR))
def test_second_derivatives(name, sparsity, components, library):
    """The gradients of gradients are checked as the gradients of the gradients' values."""
    row = LINEAR[name]
    options = {"library": library, "components": components, "sparsity": sparsity}
    maps = operands(row, **options, nested=True)
    assert_gradients(row, maps, "positions")
    inner = row(*maps).block_by_id(0).gradient("positions")
    assert inner.gradients_list() == list(PARAMETERS)


@pytest.mark.parametrize("name", CURVED)
def test_second_derivatives_are_refused_where_no_rule_gives_them(name):
    row = CURVED[name]
    with pytest.raises(ValueError, match="second derivatives"):
        row(*operands(row, nested=True))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", ROWS)
def test_operands_are_left_as_they_were(name, library):
    maps = operands(ROWS[name], library=library)
    before = [x.copy() for x in maps]
    ROWS[name](*maps)
    for x, copy in zip(maps, before, strict=True):
        operations.equal_raise(x, copy)


@pytest.mark.parametrize("name", ROWS)
def test_both_libraries_give_the_same(name):
    row = ROWS[name]
    ours, theirs = (row(*operands(row, library=library)) for library in ("numpy", "torch"))
    operations.allclose_raise(theirs.to(arrays="numpy"), ours)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", ROWS)
def test_single_precision_stays(name, library):
    single = {"numpy": np.float32, "torch": torch.float32}[library]
    maps = [x.to(dtype=single) for x in operands(ROWS[name], library=library)]
    for block in ROWS[name](*maps):
        assert block.dtype == single
        assert all(gradient.dtype == single for _, gradient in block.gradients())


@pytest.mark.parametrize("name", ROWS)
def test_gradients_keep_their_order_and_the_map_its_info(name):
    a, *others = operands(ROWS[name], parameters=("strain", "positions"))
    result = ROWS[name](a, *others)
    assert all(block.gradients_list() == list(kept(name)[::-1]) for block in result)
    assert result.info() == a.info() != {}


def checked(tensor):
    """The map, if its parts fit together as those of a user would have to."""
    blocks = [rebuilt(block) for block in tensor]
    return TensorMap(tensor.keys, blocks)


def rebuilt(block):
    result = TensorBlock(block.values, block.samples, block.components, block.properties)
    for name, gradient in block.gradients():
        result.add_gradient(name, rebuilt(gradient))
    return result


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", ROWS)
def test_the_order_of_samples_does_not_matter(name, library):
    row, maps = ROWS[name], operands(ROWS[name], library=library)
    turned = [sort(x, "samples", descending=True) for x in maps]
    results = [sort(checked(row(*x)), ["samples", "properties"]) for x in (maps, turned)]
    operations.allclose_raise(*results, rtol=1e-10)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("rows", [[0], []], ids=["one sample", "no samples"])
@pytest.mark.parametrize("name", [x for x in ROWS if x != "expand_samples"])
def test_few_samples(name, rows, library):
    """Blocks that have them at all keep the first one; expand_samples would miss the others."""
    few = [
        TensorMap(x.keys, [slice(block, "samples", rows[: len(block)]) for block in x])
        for x in operands(ROWS[name], library=library)
    ]
    checked(ROWS[name](*few))


# Rows that name three properties, or an entry of them; drop_empty_blocks is there to drop these.
OF_THREE_PROPERTIES = {
    "insert_dimension": "one for each entry",
    "matmul": "the matrix must have 0 rows",
    "mean_over_properties, weighted": "one number for each of the properties",
    "slice, properties by index": "indices must be below 0",
    "tensor_product, of three (curved)": "indices must be below 0",
}


def without_properties(row, **options):
    """The operands of a row, but for the weights of samples, which are numbers still."""
    weighted = "weight" in next(name for name, other in ROWS.items() if other is row)
    names = signature(row).parameters
    return [
        x if weighted and name in "cw" else slice(x, "properties", [])
        for name, x in zip(names, operands(row, **options), strict=True)
    ]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [0, 2], ids="{} components".format)
@pytest.mark.parametrize("name", sorted({*ROWS} - {*OF_THREE_PROPERTIES, "drop_empty_blocks"}))
def test_zero_properties(name, components, library):
    """Nothing comes of nothing, under the same labels and with the same gradients."""
    row = ROWS[name]
    options = {"components": components, "library": library}
    result = checked(row(*without_properties(row, **options)))
    whole = row(*operands(row, **options))
    assert result.property_names == whole.property_names
    for block, other in zip(result, whole, strict=True):
        assert block.samples == other.samples
        assert block.components == other.components
        assert block.gradients_list() == other.gradients_list()
        assert all(g.samples == other.gradient(of).samples for of, g in block.gradients())


@pytest.mark.parametrize("name", OF_THREE_PROPERTIES)
def test_what_needs_properties_says_so(name):
    with pytest.raises((ValueError, IndexError), match=OF_THREE_PROPERTIES[name]):
        ROWS[name](*without_properties(ROWS[name]))


# What the properties or samples of the result would be is not known of a map without blocks.
MOVE_KEYS = {
    *[name for name in ROWS if name.startswith(("keys_to", "expand_samples", "several"))],
    *[name for name in ROWS if "over_properties" in name and "weighted" not in name],
    "einsum, parts of an axis",
    "einsum, where a dimension is the same (curved)",
    "einsum, and summed (curved)",
} - {"sum_over_properties, all"}


def without_blocks(name):
    maps = operands(ROWS[name])
    return [TensorMap.unchecked(Labels.empty(x.keys.names), [], x.info()) for x in maps]


@pytest.mark.parametrize("name", [name for name in ROWS if name not in MOVE_KEYS])
def test_maps_without_blocks(name):
    whole, result = ROWS[name](*operands(ROWS[name])), ROWS[name](*without_blocks(name))
    assert len(result) == 0
    assert result.keys.names == whole.keys.names
    assert result.info() == whole.info()


@pytest.mark.parametrize("name", sorted(MOVE_KEYS))
def test_maps_without_blocks_have_no_keys_to_move(name):
    with pytest.raises(ValueError, match="a map without blocks has no keys to move"):
        ROWS[name](*without_blocks(name))


ORDER = np.array([2, 0, 3, 1])


def in_other_order(tensor):
    return TensorMap(tensor.keys.take(ORDER), tensor.blocks_by_id(ORDER.tolist()))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", ROWS)
def test_the_order_of_blocks_does_not_matter(name, library):
    """Neither that of the first operand, nor that of the others, which is looked up."""
    row, maps = ROWS[name], operands(ROWS[name], library=library)
    expected = row(*maps)
    operations.equal_raise(row(maps[0], *map(in_other_order, maps[1:])), expected)
    results = [row(*map(in_other_order, maps)), expected]
    operations.allclose_raise(*[sort(x, ["samples", "properties"]) for x in results], rtol=1e-10)


def test_rules_hold_for_blocks_as_for_maps():
    for operation in (add, multiply, divide, dot):
        a, second = operands((lambda a, c: ...) if operation is dot else (lambda a, b: ...))
        blocks = [operation(x, y) for x, y in zip(a, second, strict=True)]
        operations.equal_raise(operation(a, second), TensorMap(a.keys, blocks))


def test_rows_that_one_operand_lacks_are_zero_not_missing():
    """The union of the gradient samples, sorted."""
    block = TensorBlock(np.array([[2.0], [3.0]]), Labels.range("atom", 2), [], Labels.single())
    other = block.copy()
    for x, rows in ((block, [[1, 4]]), (other, [[1, 2], [0, 4]])):
        samples = Labels(["sample", "atom"], rows)
        x.add_gradient("x", TensorBlock(np.ones((len(rows), 1)), samples, [], x.properties))
    gradient = multiply(block, other).gradient("x")
    assert gradient.samples == Labels(["sample", "atom"], [[0, 4], [1, 2], [1, 4]])
    np.testing.assert_array_equal(gradient.values, [[2.0], [3.0], [3.0]])
