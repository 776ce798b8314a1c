"""Sums of maps with different keys: a block that is missing counts as zero."""

import numpy as np
import pytest
import torch

from maps import KEYS, tensor
from nablatom import Labels, TensorMap, operations
from nablatom.operations import add, multiply, subtract
from nablatom.testing import assert_gradients

FIRST, LAST = KEYS.take(np.array([2, 0])), KEYS.take(np.array([1, 0, 3]))


def two(library="numpy", **options):
    a, b = (tensor(seed, library=library, components=1, **options) for seed in (1, 2))
    return TensorMap(FIRST, a.blocks_by_id([2, 0])), TensorMap(LAST, b.blocks_by_id([1, 0, 3]))


def filled(tensor, keys):
    """The same with explicit zeros for the keys that it does not have."""
    zeros = operations.zeros_like(globals()["tensor"](1, components=1))
    blocks = [tensor.block(key) if key in tensor.keys else zeros.block(key) for key in keys]
    return TensorMap(keys, blocks)


@pytest.mark.parametrize("operation", [add, subtract], ids=["add", "subtract"])
def test_a_missing_block_is_zero(operation):
    a, b = two()
    result = operation(a, b, different_keys="union")
    keys = Labels(KEYS.names, [[1, 1], [8, 1], [1, 8], [8, 8]])
    assert result.keys == keys
    dense = operation(filled(a, keys), filled(b, keys))
    for block, expected in zip(result, dense, strict=True):
        operations.equal_raise(
            operations.remove_gradients(block), operations.remove_gradients(expected)
        )


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("operation", [add, subtract], ids=["add", "subtract"])
def test_gradients_of_a_union(operation, nested, library):
    for parameter in ("positions", "strain"):
        assert_gradients(
            lambda a, b: operation(a, b, different_keys="union"),
            two(library, nested=nested),
            parameter,
        )


@pytest.mark.parametrize("operation", [add, subtract, multiply])
def test_intersection(operation):
    a, b = two()
    result = operation(a, b, different_keys="intersection")
    assert result.keys == KEYS.take(np.array([0]))
    alone = operation(a.block(result.keys[0]), b.block(result.keys[0]))
    operations.equal_raise(result.block_by_id(0), alone)


def test_the_same_keys_in_another_order_and_no_keys_in_common():
    a, _ = two()
    shuffled = operations.sort(a, "keys")
    operations.equal_raise(add(a, shuffled, different_keys="union"), add(a, shuffled))
    b = operations.drop_blocks(two()[1], FIRST)
    assert len(add(a, b, different_keys="intersection")) == 0
    assert add(a, b, different_keys="union").block(FIRST[1]) is a.block(FIRST[1])


def test_what_different_keys_cannot_be():
    a, b = two()
    with pytest.raises(ValueError, match="is in only one of them"):
        add(a, b)
    with pytest.raises(ValueError, match='"error", "intersection" or "union"'):
        add(a, b, different_keys="outer")
    with pytest.raises(ValueError, match="is zero and not stored"):
        multiply(a, b, different_keys="union")
    with pytest.raises(TypeError, match="about two maps, got a float"):
        add(a, 1.0, different_keys="union")
    without = operations.remove_gradients(b)
    with pytest.raises(ValueError, match="same gradients"):
        add(a, operations.drop_blocks(without, FIRST), different_keys="union")


def test_the_operation_is_named_in_an_error():
    a, _ = two()
    b = operations.slice(a, "properties", [0])
    with pytest.raises(ValueError, match="same properties") as caught:
        subtract(a, b)
    assert caught.value.__notes__[0].startswith("in subtract, in the block with (center_type=1")


def test_a_union_is_traced():
    a, b = two("torch")
    union = lambda x, y: add(x, y, different_keys="union")  # noqa: E731
    compiled = torch.compile(union, fullgraph=True, backend="aot_eager")
    operations.allclose_raise(compiled(a, b), union(a, b))
