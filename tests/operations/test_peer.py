"""Operations beside metatensor's, on maps of every shape.

Where the peer is wrong, a row says what is right instead: finite differences in
test_gradients.py hold ours to it.
"""

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

import nablatom
from nablatom import Labels, TensorBlock, TensorMap, operations
from peer import block_there, here, labels_here, labels_there, metatensor, there
from strategies import labels, maps

pytest.importorskip("metatensor.operations")


def other(tensor, seed=0):
    """The same labels with other numbers."""
    numbers = np.random.default_rng(seed)

    def changed(block):
        result = TensorBlock(
            numbers.uniform(0.5, 1.5, block.shape),
            block.samples,
            block.components,
            block.properties,
        )
        for name, gradient in block.gradients():
            result.add_gradient(name, changed(gradient))
        return result

    return TensorMap(tensor.keys, [changed(block) for block in tensor])


def both(function, tensor, *more):
    """The result here and the one there; where the peer fails, there is nothing to compare."""
    ours = function(nablatom, tensor, *more)
    try:
        return ours, here(function(metatensor, there(tensor), *map(there, more)))
    except (ValueError, IndexError, metatensor.MetatensorError):
        reject()


def flat(tensor):
    """Without components, with which the peer cannot average over properties."""
    for name in tensor.component_names:
        tensor = tensor.components_to_properties(name)
    return tensor


ROWS = {
    "abs": lambda kit, a: kit.abs(a),
    "add, a number": lambda kit, a: kit.add(a, 3.0),
    "subtract, a number": lambda kit, a: kit.subtract(a, 3.0),
    "multiply, by a number": lambda kit, a: kit.multiply(a, -2.0),
    "divide, by a number": lambda kit, a: kit.divide(a, 4.0),
    "pow": lambda kit, a: kit.pow(a, 2),
    "pow, high": lambda kit, a: kit.pow(a, 5),
    "pow, negative": lambda kit, a: kit.pow(a, -1.0),
    "operators": lambda kit, a: (-a + 2) * 3 / 2 - a**3,
    "remove_gradients": lambda kit, a: kit.remove_gradients(a),
    "sort": lambda kit, a: kit.sort(a),
    "sort, backwards": lambda kit, a: kit.sort(a, descending=True),
    "sort, samples": lambda kit, a: kit.sort(a, "samples"),
    "sort, two axes": lambda kit, a: kit.sort(a, ["components", "properties"]),
    "sum_over_samples": lambda kit, a: kit.sum_over_samples(a, "atom"),
    "sum_over_samples, the first": lambda kit, a: kit.sum_over_samples(a, ["system"]),
    "sum_over_samples, all": lambda kit, a: kit.sum_over_samples(a, ["system", "atom"]),
    "append_dimension": lambda kit, a: kit.append_dimension(a, "samples", "which", 4),
    "drop_blocks": lambda kit, a: kit.drop_blocks(a, kit.Labels(["key_2"], np.array([[0], [1]]))),
    "drop_empty_blocks": lambda kit, a: kit.drop_empty_blocks(a),
    "filter_blocks": lambda kit, a: kit.filter_blocks(
        a, kit.Labels(["key_1"], np.array([[-1], [0], [2]]))
    ),
    "insert_dimension": lambda kit, a: kit.insert_dimension(a, "properties", 1, "which", -1),
    "permute_dimensions": lambda kit, a: kit.permute_dimensions(a, "keys", [1, 0]),
    "remove_dimension": lambda kit, a: kit.remove_dimension(
        kit.append_dimension(a, "samples", "which", 4), "samples", "which"
    ),
    "rename_dimension": lambda kit, a: kit.rename_dimension(a, "samples", "atom", "i"),
    "zeros_like": lambda kit, a: kit.zeros_like(a, gradients=[]),
    "ones_like": lambda kit, a: kit.ones_like(a),
    "sum_over_properties": lambda kit, a: kit.sum_over_properties(a, "n"),
    "sum_over_properties, all": lambda kit, a: kit.sum_over_properties(a, ["l", "n"]),
    "mean_over_properties": lambda kit, a: kit.mean_over_properties(flat(a), ["l"]),
    "var_over_properties": lambda kit, a: kit.var_over_properties(flat(a), "n"),
    "var_over_samples": lambda kit, a: kit.var_over_samples(kit.remove_gradients(a), "atom"),
    "std_over_properties": lambda kit, a: kit.std_over_properties(
        kit.remove_gradients(flat(a)), "n"
    ),
    "std_over_samples": lambda kit, a: kit.std_over_samples(kit.remove_gradients(a), "system"),
    "mean_over_samples": lambda kit, a: kit.mean_over_samples(kit.remove_gradients(a), "atom"),
    "mean_over_samples, all": lambda kit, a: kit.mean_over_samples(
        kit.remove_gradients(a), ["system", "atom"]
    ),
}
PAIRS = {
    "add": lambda kit, a, b: kit.add(a, b),
    "subtract": lambda kit, a, b: kit.subtract(a, b),
    "multiply": lambda kit, a, b: kit.multiply(a, b),
    "divide": lambda kit, a, b: kit.divide(a, b),
    "operators": lambda kit, a, b: a * b - b / a + a,
    "join, along samples": lambda kit, a, b: kit.join([a, b], "samples", add_dimension="which"),
    "join, along properties": lambda kit, a, b: kit.join(
        [a, b], "properties", add_dimension="which"
    ),
}


@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
def test_one_operand(name, data):
    # the peer does not sort empty blocks, and their sum is no sample instead of zero
    tensor = data.draw(maps(least=1 if name.startswith("sort") or name.endswith("all") else 0))
    operations.allclose_raise(*both(ROWS[name], tensor))


@pytest.mark.parametrize("name", PAIRS)
@given(tensor=maps())
def test_two_operands(name, tensor):
    operations.allclose_raise(*both(PAIRS[name], tensor, other(tensor)))


@given(maps())
def test_dot(tensor):
    """Without gradients of the second operand, which the peer forgets."""
    rows = Labels.range("energy", 3)
    blocks = [
        TensorBlock(np.cos(np.arange(3 * b.shape[-1])).reshape(3, -1), rows, [], b.properties)
        for b in tensor
        if b.shape[-1]
    ]
    assume(len(blocks) == len(tensor))
    weights = TensorMap(tensor.keys, blocks)
    operations.allclose_raise(*both(lambda kit, a, b: kit.dot(a, b), tensor, weights))


@given(maps(), labels(("atom",)) | labels(("atom", "system")))
def test_slice_samples(tensor, selection):
    ours = operations.slice(tensor, "samples", selection)
    theirs = metatensor.slice(there(tensor), "samples", labels_there(selection))
    # ours have the gradient rows of a sample together
    operations.equal_raise(*[operations.sort(x, "samples") for x in (ours, here(theirs))])


@given(maps(), labels(("l",)) | labels(("n", "l")))
def test_slice_properties(tensor, selection):
    ours = operations.slice(tensor, "properties", selection)
    theirs = metatensor.slice(there(tensor), "properties", labels_there(selection))
    operations.equal_raise(ours, here(theirs))


@given(
    maps(same_properties=True, least=1),
    labels(("key_1", "key_2"), least=1),
    st.sampled_from(["error", "union", "intersection"]),
)
def test_join_of_different_keys(a, keys, different_keys):
    changed = other(a)
    b = TensorMap(keys, [changed.block_by_id(i % len(a)) for i in range(len(keys))])
    if different_keys == "error" and set(a.keys) != set(keys):
        with pytest.raises(ValueError, match="is not in all maps"):
            operations.join([a, b], "samples", different_keys, "which")
        return
    row = lambda kit, x, y: kit.join([x, y], "samples", different_keys, "which")  # noqa: E731
    operations.equal_raise(*both(row, a, b))


@given(maps(), maps())
def test_equality(a, b):
    for x, y in ((a, b), (a, a.copy()), (a, other(a))):
        assert operations.equal(x, y) == metatensor.equal(there(x), there(y))
        assert operations.equal_metadata(x, y) == metatensor.equal_metadata(there(x), there(y))


def same(ours, theirs):
    """The same answer, whatever it is: maps, blocks, labels, tables, yes or no, lists of those."""
    if isinstance(ours, list):
        return all(same(x, y) for x, y in zip(ours, theirs, strict=True))
    if isinstance(ours, TensorMap):
        return operations.equal(ours, here(theirs))
    if isinstance(ours, TensorBlock):
        return operations.equal(ours, block_there(theirs, TensorBlock, labels_here))
    if isinstance(ours, Labels):
        return ours == labels_here(theirs)
    return type(ours) is type(theirs) and np.array_equal(ours, theirs)


def turned(kit, a):
    """The last block, its first and last axes in the other order in memory."""
    block = a.block(len(a) - 1)
    values = np.asfortranarray(block.values)
    return kit.TensorBlock(values, block.samples, block.components, block.properties)


def atoms(kit):
    return kit.Labels(["atom"], np.array([[0], [2]], np.int32))


ANSWERS = {
    "block_from_array": lambda kit, a: kit.block_from_array(np.ones((2, 4, 3))),
    "block_from_array, with names": lambda kit, a: kit.block_from_array(
        np.ones((2, 4, 3, 5)), ["system", "atom"], ["m"], ["n"]
    ),
    "detach": lambda kit, a: kit.detach(a),
    "empty_like": lambda kit, a: kit.multiply(kit.ones_like(kit.empty_like(a, [])), 2.0),
    "is_contiguous": lambda kit, a: [
        bool(kit.is_contiguous(a)),
        bool(kit.is_contiguous_block(turned(kit, a))),
    ],
    "make_contiguous": lambda kit, a: [
        kit.make_contiguous(a),
        kit.make_contiguous_block(turned(kit, a)),
    ],
    "one_hot": lambda kit, a: kit.one_hot(
        kit.Labels(["atom", "type"], np.array([[0, 8], [1, 1], [2, 8]], np.int32)),
        kit.Labels(["type"], np.array([[8], [6], [1]], np.int32)),
    ),
    "random_uniform_like": lambda kit, a: kit.equal_metadata(a, kit.random_uniform_like(a)),
    "requires_grad": lambda kit, a: kit.requires_grad(a, False),
    "split": lambda kit, a: kit.split(kit.remove_gradients(a), "samples", [atoms(kit), atoms(kit)]),
    "split, properties": lambda kit, a: kit.split(
        a, "properties", [kit.Labels(["n"], np.array([[0], [1]], np.int32))]
    ),
    "unique_metadata": lambda kit, a: kit.unique_metadata(a, "samples", ["atom"]),
    "unique_metadata, properties": lambda kit, a: kit.unique_metadata(a, "properties", "l"),
    "allclose": lambda kit, a: [
        kit.allclose(a, a),
        kit.allclose(a, kit.multiply(a, 1 + 1e-9)),
        kit.allclose(a, kit.multiply(a, 1 + 1e-9), rtol=1e-8),
    ],
    "equal_metadata": lambda kit, a: [
        kit.equal_metadata(a, kit.remove_gradients(a)),
        kit.equal_metadata(a, kit.rename_dimension(a, "properties", "n", "k"), check=["samples"]),
    ],
}


@pytest.mark.parametrize("name", ANSWERS)
@given(tensor=maps(least=1))
def test_other_answers(name, tensor):
    ours, theirs = ANSWERS[name](nablatom, tensor), ANSWERS[name](metatensor, there(tensor))
    assert same(ours, theirs)


RAISED = {
    "allclose_raise": lambda kit, a: kit.allclose_raise(a, kit.add(a, 1.0)),
    "equal_raise": lambda kit, a: kit.equal_raise(a, kit.add(a, 1.0)),
    "equal_metadata_raise": lambda kit, a: kit.equal_metadata_raise(
        a, kit.append_dimension(a, "samples", "which", 4)
    ),
}


@pytest.mark.parametrize("name", RAISED)
@given(tensor=maps(least=1))
def test_what_raises_does_so_for_both(name, tensor):
    with pytest.raises(metatensor.NotEqualError):
        RAISED[name](metatensor, there(tensor))
    with pytest.raises(ValueError, match="differ"):
        RAISED[name](nablatom, tensor)


# Compared elsewhere, or on other operands.
APART = {
    "dot": "test_dot",
    "equal": "test_equality",
    "join": "test_join_of_different_keys",
    "join_blocks": "test_join_of_different_keys",
    "lstsq": "test_linear_algebra.py",
    "slice": "test_slice_samples",
    "solve": "test_linear_algebra.py",
}


def test_every_operation_of_the_peer_is_compared():
    """A new version of the peer with another function fails this, and so does a row taken out."""
    import metatensor.operations as peer

    shared = [name for name in dir(peer) if name in operations.__all__]
    functions = {getattr(operations, name) for name in shared}
    rows = {name.split(",")[0] for name in [*ROWS, *PAIRS, *ANSWERS, *RAISED, *APART]}
    compared = {getattr(operations, name) for name in rows if name != "operators"}
    assert sorted(function.__name__ for function in functions - compared) == []
