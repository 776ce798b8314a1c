"""A large operation needs memory for its result and little besides: it works in pieces.

The pieces are made small here, so that a map of some megabytes shows what a large one would. What
is remembered about labels counts with the labels, not with the operation: it is there already.
"""

import tracemalloc

import numpy as np
import pytest

from nablatom import Labels, TensorBlock, arrays, operations

SAMPLES, ROWS, PROPERTIES = 2000, 20_000, 100
# Of what is read and written; memory of the result itself is not counted.
SHARE = 0.05


def large(seed=0, *, first=0):
    """A block of 18 MB, most of it gradients; its rows are in order."""
    numbers = np.random.default_rng(seed)
    i = np.arange(SAMPLES)
    samples = Labels(["system", "atom"], np.stack([first + i // 20, i % 20], axis=1))
    j = np.arange(ROWS)
    sample = j // (ROWS // SAMPLES)
    of = Labels(["sample", "system", "atom"], np.stack([sample, first + sample // 20, j % 10], 1))
    n = np.arange(PROPERTIES)
    properties = Labels(["l", "n"], np.stack([n // 25, n % 25], axis=1))
    block = TensorBlock(numbers.uniform(0.5, 1.5, (SAMPLES, PROPERTIES)), samples, [], properties)
    gradient = TensorBlock(numbers.normal(size=(ROWS, PROPERTIES)), of, [], properties)
    block.add_gradient("positions", gradient)
    return block


@pytest.fixture(scope="module")
def blocks():
    a, b, apart = large(1), large(2), large(3, first=SAMPLES)
    shuffled = operations.slice(a, "samples", np.random.default_rng(4).permutation(SAMPLES))
    return {"a": a, "b": b, "apart": apart, "shuffled": shuffled, "values": without(a)}


def one(block):
    """Weights that have gradients."""
    return operations.slice(block, "properties", [0])


def without(block):
    return operations.remove_gradients(block)


WEIGHTS = np.random.default_rng(5).uniform(size=SAMPLES)
COLUMNS = np.random.default_rng(6).uniform(size=PROPERTIES)
SYSTEMS = Labels(["system"], np.arange(0, SAMPLES // 20, 2)[:, None])
HALF = Labels(["n"], np.arange(0, 25, 2)[:, None])
OPERATIONS = {
    "abs": lambda a: operations.abs(a),
    "add": lambda a, b: operations.add(a, b),
    "add, a number": lambda a: operations.add(a, 1.0),
    "subtract": lambda a, b: operations.subtract(a, b),
    "multiply": lambda a, b: operations.multiply(a, b),
    "multiply, by a number": lambda a: operations.multiply(a, 2.0),
    "multiply, shuffled": lambda shuffled: operations.multiply(shuffled, shuffled),
    "divide": lambda a, b: operations.divide(a, b),
    "pow": lambda a: operations.pow(a, 2),
    "pow, high": lambda a: operations.pow(a, 7),
    "pow, without gradients": lambda values: operations.pow(values, 7),
    "exp": lambda a: operations.exp(a),
    "sqrt": lambda a: operations.sqrt(a),
    "silu": lambda a: operations.silu(a),
    "silu, shuffled": lambda shuffled: operations.silu(shuffled),
    "clip": lambda a: operations.clip(a, 0.8, 1.2),
    "dot": lambda a: operations.dot(a, ENERGY),
    "matmul": lambda a: operations.matmul(a, np.eye(PROPERTIES)),
    "join, along samples": lambda a, apart: operations.join([a, apart], "samples"),
    "join, along properties": lambda a, b: operations.join([a, b], "properties", add_dimension="i"),
    "slice, samples": lambda a: operations.slice(a, "samples", SYSTEMS),
    "slice, properties": lambda a: operations.slice(a, "properties", HALF),
    "sort": lambda a: operations.sort(a),
    "sort, descending": lambda a: operations.sort(a, descending=True),
    "ones_like": lambda a: operations.ones_like(a),
    "random_uniform_like": lambda a: operations.random_uniform_like(a),
    "detach": lambda a: operations.detach(a),
    "make_contiguous": lambda a: operations.make_contiguous(a),
    "rename_dimension": lambda a: operations.rename_dimension(a, "samples", "atom", "i"),
    "equal": lambda a: operations.equal(a, a),
    "equal, but for all": lambda a, b: operations.equal(a, b),
    "allclose": lambda a: operations.allclose(a, a),
    "sum_over_samples": lambda a: operations.sum_over_samples(a, "atom"),
    "sum_over_samples, shuffled": lambda shuffled: operations.sum_over_samples(shuffled, "atom"),
    "sum_over_samples, weighted": lambda a: operations.sum_over_samples(a, "atom", weights=WEIGHTS),
    "mean_over_samples": lambda a: operations.mean_over_samples(a, "atom"),
    "mean_over_samples, weighted": lambda a: operations.mean_over_samples(
        a, "atom", weights=WEIGHTS
    ),
    "var_over_samples": lambda a: operations.var_over_samples(a, "atom"),
    "var_over_samples, shuffled": lambda shuffled: operations.var_over_samples(shuffled, "atom"),
    "var_over_samples, weighted": lambda a: operations.var_over_samples(a, "atom", weights=WEIGHTS),
    "std_over_samples": lambda a: operations.std_over_samples(a, "atom"),
    "sum_over_samples, moving weights": lambda a: operations.sum_over_samples(
        a, "atom", weights=one(a)
    ),
    "mean_over_samples, moving weights": lambda a: operations.mean_over_samples(
        a, "atom", weights=one(a)
    ),
    "var_over_samples, moving weights": lambda a: operations.var_over_samples(
        a, "atom", weights=one(a)
    ),
    "std_over_samples, moving weights": lambda a, shuffled: operations.std_over_samples(
        shuffled, "atom", weights=one(shuffled)
    ),
    "var_over_properties, weighted": lambda a: operations.var_over_properties(
        a, "n", weights=COLUMNS
    ),
    "sum_over_properties": lambda a: operations.sum_over_properties(a, "n"),
    "sum_over_properties, weighted": lambda a: operations.sum_over_properties(
        a, "n", weights=COLUMNS
    ),
    "mean_over_properties": lambda a: operations.mean_over_properties(a, "n"),
    "var_over_properties": lambda a: operations.var_over_properties(a, "n"),
    "std_over_properties": lambda a: operations.std_over_properties(a, "n"),
    "einsum": lambda a: operations.einsum("samples l n -> samples l", a),
    "repeat": lambda a: operations.repeat(a, 2),
}
ENERGY = TensorBlock(np.ones((1, PROPERTIES)), Labels.range("energy", 1), [], large().properties)


def arrays_of(thing):
    if not isinstance(thing, TensorBlock):
        return []
    return [thing.values, *(x for _, g in thing.gradients() for x in arrays_of(g))]


@pytest.mark.parametrize("name", OPERATIONS)
def test_peak(name, blocks, monkeypatch):
    monkeypatch.setattr(arrays, "_PIECE", 1 << 14)
    call = OPERATIONS[name]
    operands = [blocks[key] for key in call.__code__.co_varnames[: call.__code__.co_argcount]]
    call(*operands)  # plans
    peak, result = peak_of(lambda: call(*operands))
    read = sum(x.nbytes for block in operands for x in arrays_of(block))
    written = sum(x.nbytes for x in arrays_of(result))
    new = sum(x.nbytes for x in arrays_of(result) if not shared(x, operands))
    assert peak <= new + SHARE * (read + written), f"{(peak - new) / (read + written):.1%} besides"


def shared(array, operands):
    return any(np.shares_memory(array, x) for block in operands for x in arrays_of(block))


def peak_of(call):
    """Bytes that a call asks for at most, and its result."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        tracemalloc.stop()


def test_a_large_temporary_would_be_seen(blocks):
    """The measurement counts what NumPy asks for."""
    a = blocks["a"].gradient("positions").values
    peak, _ = peak_of(lambda: (a * a).sum())
    assert peak >= a.nbytes
