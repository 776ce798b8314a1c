"""Many small blocks worked on together give what they give one by one."""

import numpy as np
import pytest

from nablatom import Labels, TensorBlock, TensorMap, operations
from nablatom.operations.lift import map_blocks
from nablatom.operations.together import together

ROWS = {
    "add": lambda a, b: operations.add(a, b),
    "add, a number": lambda a, b: operations.add(a, 2.0),
    "subtract": lambda a, b: operations.subtract(a, b),
    "multiply": lambda a, b: operations.multiply(a, b),
    "divide": lambda a, b: operations.divide(a, b),
    "pow": lambda a, b: operations.pow(a, -1.5),
    "abs": lambda a, b: operations.abs(a),
    "exp": lambda a, b: operations.exp(a),
    "silu": lambda a, b: operations.silu(a),
    "clip": lambda a, b: operations.clip(a, low=0.8, high=1.2),
}


def small_blocks(
    seed, *, count=80, components=(0,), gradients=("x",), order=1, rows=0, width=lambda i: 3
):
    """A map of blocks with none to three samples, which change their components now and then."""
    numbers, pattern = np.random.default_rng(seed), np.random.default_rng(rows)
    keys = Labels(["which"], np.arange(count)[::order, None])
    blocks = []
    for i in range(count)[::order]:
        samples = Labels(
            ["system", "atom"], [[i, a] for a in range(i % 4)] or np.zeros((0, 2), int)
        )
        n, axes = Labels.range("n", width(i)), []
        if components[i % len(components)]:
            axes = [Labels.range("o3_mu", components[i % len(components)])]
        shape = (*map(len, axes), len(n))
        block = TensorBlock(numbers.uniform(0.5, 1.5, (i % 4, *shape)), samples, axes, n)
        for name in gradients:
            kept = [[s, a] for s in range(i % 4) for a in range(3) if pattern.random() < 0.6]
            of = Labels(["sample", "atom"], np.reshape(np.array(kept, int), (-1, 2)))
            xyz = Labels.range("xyz", 3)
            values = numbers.normal(size=(len(of), 3, *shape))
            block.add_gradient(name, TensorBlock(values, of, [xyz, *axes], n))
        blocks.append(block)
    tensor = TensorMap(keys, blocks)
    tensor.set_info("made of", "random numbers")
    return tensor


def one_by_one(row, a, b):
    blocks = [row(x, b.block(dict(zip(k.names, k, strict=True)))) for k, x in a.items()]
    return TensorMap(a.keys, blocks)


CASES = {
    "alike": ({}, {}, True),
    "no gradients": ({"gradients": ()}, {"gradients": ()}, True),
    "two gradients": ({"gradients": ("x", "y")}, {"gradients": ("x", "y")}, True),
    "components": ({"components": (2,)}, {"components": (2,)}, True),
    "runs": ({"width": lambda i: 1 + i // 40}, {"width": lambda i: 1 + i // 40}, True),
    "short runs": ({"components": (1, 3)}, {"components": (1, 3)}, False),
    "different sparsity": ({}, {"rows": 1}, False),
    "another order of keys": ({}, {"order": -1}, False),
    "few blocks": ({"count": 20}, {"count": 20}, False),
    "large blocks": ({"width": lambda i: 500}, {"width": lambda i: 500}, False),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("case", CASES)
def test_values_labels_and_info(case, name):
    one, other, _ = CASES[case]
    a, b = small_blocks(1, **one), small_blocks(2, **other)
    for _ in range(2):  # the second time, plans are there
        result = ROWS[name](a, b)
        operations.equal_raise(result, one_by_one(ROWS[name], a, b))
        assert result.info() == a.info()
    again = operations.multiply(result, result)  # the plans of the first go on with its result
    operations.equal_raise(again, one_by_one(operations.multiply, result, result))


@pytest.mark.parametrize("case", CASES)
def test_blocks_that_go_together_do(case):
    one, other, expected = CASES[case]
    a, b = small_blocks(1, **one), small_blocks(2, **other)
    assert (together(_product, a, (a, b), {}) is not None) == expected


def _product(a, b):
    return operations.multiply(a, b)


def test_torch_goes_block_by_block():
    a = small_blocks(1).to(arrays="torch")
    assert together(_product, a, (a, a), {}) is None


def test_a_gradient_added_later_is_seen():
    a, b = small_blocks(1, gradients=()), small_blocks(2, gradients=())
    operations.add(a, b)
    for tensor in (a, b):
        for block, other in zip(tensor, small_blocks(3), strict=True):
            block.add_gradient("x", other.gradient("x"))
    operations.equal_raise(operations.multiply(a, b), map_blocks(_product, a, (a, b), {}))


def test_gradients_of_gradients_added_later_are_seen():
    a = small_blocks(1)
    operations.add(a, a)
    for block in a:
        inner = block.gradient("x")
        values = np.ones((len(inner), 2, *inner.shape[1:]))
        samples = Labels.range("sample", len(inner))
        axes = [Labels.range("side", 2), *inner.components]
        inner.add_gradient("y", TensorBlock(values, samples, axes, inner.properties))
    doubled = operations.add(a, a)
    assert all(block.gradient("x").gradients_list() == ["y"] for block in doubled)
    with pytest.raises(ValueError, match="second derivatives"):
        operations.multiply(a, a)


def test_errors_name_the_block():
    a, b = small_blocks(1), small_blocks(2)
    blocks = b.blocks()
    blocks[7] = operations.sort(blocks[7], "samples", descending=True)
    b = TensorMap(b.keys, blocks)
    with pytest.raises(ValueError, match="the same samples") as error:
        operations.add(a, b)
    assert "which=7" in "".join(error.value.__notes__)


def test_results_are_independent():
    """Blocks that share memory do not share numbers."""
    a = small_blocks(1)
    result = operations.add(a, 1.0)
    before = [block.values.copy() for block in result]
    result.block(which=2).values[...] = np.nan
    for i, (block, values) in enumerate(zip(result, before, strict=True)):
        assert i == 2 or np.array_equal(block.values, values)
    assert not any(np.isnan(block.values).any() for block in a)
