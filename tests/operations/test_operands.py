"""What every operation says when it is handed something that it cannot work with."""

from inspect import signature

import numpy as np
import pytest

from maps import flat, tensor
from nablatom import Labels, TensorBlock, TensorMap, operations
from operation_rows import ROWS, operands

A = tensor()
TYPES = Labels(["neighbor_type"], [[1]])
# What is said about the other arguments that have no default, by their names.
ARGUMENTS = {
    "a": A,
    "axis": "samples",
    "b": A,
    "bound": 1.0,
    "dimension": TYPES,
    "dimensions": "o3_mu",
    "dimensions_indexes": [1, 0],
    "exponent": 2,
    "index": 0,
    "keys": TYPES,
    "keys_to_move": "neighbor_type",
    "matrix": np.eye(3),
    "name": "which",
    "names": "atom",
    "new": "i",
    "old": "atom",
    "property_names": "n",
    "regularisation": 1.0,
    "repeats": 2,
    "sample_names": "atom",
    "samples": TYPES,
    "selection": [0],
    "selections": [[0]],
    "values": 3,
    "X": A,
    "Y": A,
}
# Those that do not begin with a map or a block, and are asked below.
OTHERS = {"Covariance", "PCA", "apply", "block_from_array", "einsum", "join", "join_blocks"}
NAMES = sorted({f.__name__ for f in map(vars(operations).get, operations.__all__)} - OTHERS)
NO_TENSOR = {
    "a number": 3,
    "nothing": None,
    "text": "a map",
    "an array": np.ones((2, 2)),
    "a list": [A],
    "labels": A.keys,
}
MAPS_ONLY = [
    "components_to_properties",
    "drop_blocks",
    "drop_empty_blocks",
    "filter_blocks",
    "keys_to_properties",
    "keys_to_samples",
    "pca",
    "tensor_product",
]


def call(name, first):
    """The operation on something, with what else it needs."""
    operation = getattr(operations, name)
    needed = [x.name for x in signature(operation).parameters.values() if x.default is x.empty]
    return operation(first, *[ARGUMENTS[x] for x in needed[1:]])


@pytest.mark.parametrize("given", NO_TENSOR)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_map_is_named(name, given):
    # a number and a map have a sum, and labels can be turned into a table
    if name in ("add", "subtract", "multiply", "divide") and given == "a number":
        return
    if name == "one_hot" and given == "labels":
        return
    kind = type(NO_TENSOR[given]).__name__
    with pytest.raises(
        TypeError, match=rf"(needs|takes|expected) .*(TensorMap|Labels).* got {kind}"
    ):
        call(name, NO_TENSOR[given])


@pytest.mark.parametrize("name", MAPS_ONLY)
def test_a_block_has_no_keys(name):
    with pytest.raises(TypeError, match=r"TensorMap.*got (a )?TensorBlock"):
        call(name, flat())


# matmul takes a matrix to the library of the map.
SEVERAL = [name for name, row in ROWS.items() if len(signature(row).parameters) > 1]
SEVERAL.remove("matmul, by a map")


@pytest.mark.parametrize("name", SEVERAL)
def test_libraries_do_not_mix(name):
    first, *others = operands(ROWS[name])
    for maps in (
        [first, *[x.to(arrays="torch") for x in others]],
        [first.to(arrays="torch"), *others],
    ):
        with pytest.raises(TypeError, match=r"same array library.*\.to\(arrays="):
            ROWS[name](*maps)


@pytest.mark.parametrize("name", ["allclose", "equal", "lstsq", "ridge", "solve"])
def test_libraries_do_not_mix_in_what_has_no_row(name):
    block = operations.remove_gradients(operations.slice(flat(), "samples", [0]))
    more = [1.0] if name == "ridge" else []
    with pytest.raises(TypeError, match="same array library, got numpy and torch"):
        getattr(operations, name)(block, block.to(arrays="torch"), *more)


X, Y = operations.remove_gradients(A), operations.remove_gradients(tensor(1))
WRONG = {
    "a list of names": (
        lambda: operations.sum_over_samples(A, 3),
        TypeError,
        "a name or several of them, got 3",
    ),
    "a name": (
        lambda: operations.sum_over_samples(A, [3]),
        TypeError,
        "names must be strings, got 3",
    ),
    "names of keys": (
        lambda: operations.keys_to_samples(A, None),
        TypeError,
        "a name or several of them, got None",
    ),
    "groups": (
        lambda: operations.mean_over_samples(A, "atom", groups=[1]),
        TypeError,
        "needs Labels for 'groups', got list",
    ),
    "keys": (
        lambda: operations.filter_blocks(A, [1]),
        TypeError,
        "filter_blocks needs Labels for 'keys', got list",
    ),
    "samples": (
        lambda: operations.expand_samples(A, 3),
        TypeError,
        "expand_samples needs Labels for 'samples', got int",
    ),
    "selected keys": (
        lambda: operations.tensor_product(A, A, selected_keys=[1]),
        (TypeError, ValueError),
        "selected_keys|o3_lambda",
    ),
    "indices": (
        lambda: operations.slice(A, "samples", [0.5]),
        TypeError,
        "a selection is Labels or a list of indices, got list",
    ),
    "a table of indices": (
        lambda: operations.slice(A, "samples", np.zeros((2, 2), int)),
        TypeError,
        r"got ndarray of shape \(2, 2\)",
    ),
    "an index": (lambda: operations.slice(A, "samples", 0), TypeError, "list of indices, got int"),
    "one selection": (
        lambda: operations.split(A, "samples", TYPES),
        TypeError,
        "split needs a list of selections, got Labels",
    ),
    "a value": (
        lambda: operations.append_dimension(A, "samples", "which", 0.5),
        TypeError,
        "whole numbers, one or several, got 0.5",
    ),
    "a rank": (lambda: operations.svd(X, rank="all"), TypeError, "whole number or None, got str"),
    "a regularisation": (
        lambda: operations.ridge(X, Y, None),
        TypeError,
        "must be a real number, got NoneType",
    ),
    "weights by kind": (
        lambda: operations.ridge(X, Y, 1.0, weights=2.0),
        TypeError,
        r"a dictionary with some of \['values'\], got float",
    ),
    "an expression": (
        lambda: operations.einsum(A, A),
        TypeError,
        "text, such as .* got TensorBlock",
    ),
    "labels of columns": (
        lambda: operations.matmul(A, np.eye(3), properties="n"),
        TypeError,
        "needs Labels for 'properties', got str",
    ),
    "what to join": (
        lambda: operations.join(A, "samples"),
        TypeError,
        "a list of maps .*TensorMap",
    ),
    "joined with a block": (
        lambda: operations.join([A, flat()], "samples"),
        TypeError,
        "maps alone or blocks alone, got a TensorMap and a TensorBlock",
    ),
    "joined with a number": (
        lambda: operations.join([A, 3], "samples"),
        TypeError,
        "needs maps or blocks, got int",
    ),
    "a mean over components": (
        lambda: operations.norm(tensor(components=1), 3),
        TypeError,
        "a name or several of them, got 3",
    ),
    "axes to compare": (
        lambda: operations.equal_metadata(A, A, check=3),
        TypeError,
        "a name or several of them, got 3",
    ),
    "no array": (lambda: operations.block_from_array([1.0]), TypeError, "an array .*, got list"),
    "no names": (
        lambda: operations.block_from_array(np.ones((1, 1)), sample_names=[]),
        ValueError,
        "at least one axis of samples",
    ),
    "no function": (lambda: operations.apply(A, A), TypeError, "needs a function before"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_arguments(case):
    wrong, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        wrong()


def test_a_power_that_is_no_number():
    """NaN is a number to Python; so is the result."""
    for block in operations.pow(X, float("nan")):
        assert np.isnan(block.values).all()


def test_flags_may_be_those_of_numpy():
    operations.equal_raise(operations.sort(A, descending=np.True_), operations.sort(A, "all", True))
    operations.equal_raise(
        A.keys_to_samples("center_type", sort_samples=np.False_),
        A.keys_to_samples("center_type", sort_samples=False),
    )


def test_parameters_of_torch_are_tensors():
    """A subclass is of the same library as its class."""
    torch = pytest.importorskip("torch")
    block = X.block_by_id(0).to(arrays="torch")
    values = torch.nn.Parameter(block.values)
    own = TensorBlock(values, block.samples, block.components, block.properties)
    total = operations.add(block, own)
    assert total.values.requires_grad
    map_of_it = TensorMap(Labels.single(), [own])
    operations.allclose_raise(map_of_it, TensorMap(Labels.single(), [block]))
