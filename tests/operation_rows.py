"""The table of operations: calls on small random maps, for every test of what all of them do.

A new operation is a new row: in LINEAR if it carries second derivatives too, else in CURVED. The
arguments of a row say what it needs: maps a and b with the same labels, a map c of the same keys
without components, a map w without gradients either.
"""

from inspect import signature

import numpy as np

from maps import KEYS, tensor
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.operations import (
    abs,
    add,
    append_dimension,
    apply,
    clip,
    components_to_properties,
    cos,
    detach,
    divide,
    dot,
    drop_blocks,
    drop_empty_blocks,
    einsum,
    exp,
    expand_samples,
    filter_blocks,
    insert_dimension,
    join,
    keys_to_properties,
    keys_to_samples,
    log,
    make_contiguous,
    matmul,
    maximum,
    mean_over_properties,
    mean_over_samples,
    multiply,
    norm,
    pca,
    permute_dimensions,
    pow,
    relu,
    remove_dimension,
    remove_gradients,
    rename_dimension,
    repeat,
    silu,
    sin,
    slice,
    sort,
    split,
    sqrt,
    std_over_properties,
    std_over_samples,
    subtract,
    sum_over_properties,
    sum_over_samples,
    tanh,
    tensor_product,
    var_over_properties,
    var_over_samples,
    zeros_like,
)
from nablatom.operations.chain import linear
from nablatom.operations.lift import blockwise

ATOMS = Labels(["atom"], [[1]])
SOME_N = Labels(["n"], [[0], [2], [7]])
TYPES = Labels(["neighbor_type"], [[1], [6], [8]])
NO_HYDROGEN, HYDROGEN = TYPES.take(np.array([1, 2])), TYPES.take(np.array([0]))
MOLECULES = Labels(
    ["atom", "molecule", "system"], [[0, 2, 1], [1, 0, 0], [0, 0, 0], [1, 2, 1], [7, 7, 7]]
)
FURTHER = Labels(["atom", "which", "system"], [[0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 5, 1]])
SHELLS = Labels(["n", "shell"], [[0, 1], [2, 1], [-1, 0]])


def wide(tensor):
    """Two property dimensions; no blocks are left without samples."""
    return tensor.keys_to_properties("neighbor_type")


def one(tensor):
    """One property, as weights have."""
    return slice(tensor, "properties", [0])


@blockwise
def vectors(block):
    """The same numbers with what was a property as the last component."""
    components, one = [*block.components, block.properties], Labels.single()
    return linear(lambda x: x[..., None], block, components=components, properties=one)


@blockwise
def turned(block):
    """Samples as properties and the other way round, as matrices have them."""
    return TensorBlock(block.values.T, block.properties, [], block.samples)


VECTORS = Labels("o3_lambda", [[1]])
ONE_TENSOR = Labels(["o3_lambda", "center_type"], [[2, 1]])
MU = Labels("o3_mu", [[-1], [0], [1]])
SPHERICAL = Labels(  # the names of KEYS as vectors
    ["center_type", "o3_lambda", "o3_sigma"], [[8, 1, 1], [1, 1, -1], [1, 1, 1], [8, 1, -1]]
)


@blockwise
def _as_vectors(block):
    k = Labels.range("k", len(block.properties) // 3)
    return linear(
        lambda x: x.reshape((*x.shape[:-1], 3, len(k))), block, components=[MU], properties=k
    )


def spherical(tensor):
    """The same numbers as vectors and pseudovectors; the blocks of a centre differ in samples."""
    flat = _as_vectors(tensor.components_to_properties(tensor.component_names))
    keys = SPHERICAL
    if tensor.keys != KEYS:  # some of them, or in another order
        keys = keys.take(KEYS.union_and_mapping(tensor.keys)[2])
    return TensorMap.unchecked(keys, flat.blocks(), tensor.info())


def m(tensor):
    """The names of the components, in the words of einsum."""
    return " ".join(tensor.component_names)


LINEAR = {
    "add": lambda a, b: add(a, b),
    "add, a number": lambda a: add(a, 2.0),
    "add, to a number": lambda a: add(-1, a),
    "subtract": lambda a, b: subtract(a, b),
    "subtract, a number": lambda a: subtract(a, 2),
    "subtract, from a number": lambda a: subtract(np.float64(3.0), a),
    "multiply, by a number": lambda a: multiply(a, -0.5),
    "multiply, a number": lambda a: multiply(np.int64(3), a),
    "divide, by a number": lambda a: divide(a, np.float32(0.5)),
    "dot, with a constant": lambda a, w: dot(a, w),
    "einsum, of one": lambda a: einsum(f"samples n {m(a)} -> samples {m(a)}", a),
    "einsum, parts of an axis": lambda a: einsum(
        f"samples {m(a)} neighbor_type n -> samples {m(a)} n", wide(a)
    ),
    "einsum, with a constant": lambda a, w: einsum(
        f"samples {m(a)} n, system atom n -> samples system {m(a)} atom", a, w
    ),
    "join, along samples": lambda a, b: join([a, b, a], "samples", add_dimension="which"),
    "join, along properties": lambda a, b: join([a, b], "properties", add_dimension="which"),
    "mean_over_properties": lambda a: mean_over_properties(wide(a), "neighbor_type"),
    "mean_over_properties, weighted": lambda a: mean_over_properties(
        a, "n", weights=[0.5, 2.0, 0.0]
    ),
    "mean_over_properties, all": lambda a: mean_over_properties(wide(a), ["n", "neighbor_type"]),
    "mean_over_samples": lambda a: mean_over_samples(a, "atom"),
    "mean_over_samples, the first": lambda a: mean_over_samples(a, "system"),
    "mean_over_samples, all": lambda a: mean_over_samples(a, ["atom", "system"]),
    "mean_over_samples, weighted": lambda a, w: mean_over_samples(a, "atom", weights=one(w)),
    "mean_over_samples, in groups": lambda a: mean_over_samples(a, "atom", groups=MOLECULES),
    "append_dimension": lambda a: append_dimension(a, "samples", "which", 3),
    "insert_dimension": lambda a: insert_dimension(a, "properties", 0, "q", [3, 1, 2]),
    "permute_dimensions": lambda a: permute_dimensions(a, "samples", [1, 0]),
    "remove_dimension": lambda a: remove_dimension(
        append_dimension(a, "properties", "q", 1), "properties", "q"
    ),
    "rename_dimension": lambda a: rename_dimension(a, "properties", "n", "q"),
    "detach": lambda a: detach(a),
    "drop_blocks": lambda a: drop_blocks(a, NO_HYDROGEN),
    "drop_empty_blocks": lambda a: drop_empty_blocks(a),
    "expand_samples": lambda a: expand_samples(
        sum_over_samples(a.keys_to_samples(a.keys.names), a.keys.names), FURTHER
    ),
    "filter_blocks": lambda a: filter_blocks(a, HYDROGEN),
    "loc": lambda a: a.loc(center_type=[1, 8], neighbor_type=1, atom=range(1), n=[0, 2]),
    "make_contiguous": lambda a: make_contiguous(a),
    "matmul": lambda a: matmul(a, np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 4.0]])),
    "matmul, by a map": lambda a, w: matmul(a, turned(w)),
    "pca": lambda a, w: pca(w, 1).project(a),
    "pca, and back": lambda a, w: pca(w, 1).restore(pca(w, 1).project(a)),
    "repeat": lambda a: repeat(a, 2),
    "split": lambda a: split(a, "samples", [ATOMS, ATOMS])[1],
    "zeros_like": lambda a: zeros_like(a),
    "remove_gradients": lambda a: remove_gradients(a, "strain"),
    "slice, samples": lambda a: slice(a, "samples", ATOMS),
    "slice, properties": lambda a: slice(a, "properties", SOME_N),
    "slice, properties by index": lambda a: slice(a, "properties", [-1, 0]),
    "sort": lambda a: sort(a),
    "sort, samples backwards": lambda a: sort(a, "samples", descending=True),
    "sort, other axes": lambda a: sort(a, ["components", "properties"]),
    "sum_over_properties": lambda a: sum_over_properties(wide(a), "n"),
    "sum_over_properties, in groups": lambda a: sum_over_properties(wide(a), "n", groups=SHELLS),
    "sum_over_properties, all": lambda a: sum_over_properties(a, "n"),
    "sum_over_samples": lambda a: sum_over_samples(a, "atom"),
    "sum_over_samples, the first": lambda a: sum_over_samples(a, "system"),
    "sum_over_samples, all": lambda a: sum_over_samples(a, ["system", "atom"]),
    "sum_over_samples, weighted": lambda a, w: sum_over_samples(a, "system", weights=one(w)),
    "sum_over_samples, in groups": lambda a: sum_over_samples(
        a, ["atom", "system"], groups=MOLECULES
    ),
    "keys_to_samples": lambda a: keys_to_samples(a, "neighbor_type"),
    "keys_to_samples, unsorted": lambda a: a.keys_to_samples(
        ["neighbor_type", "center_type"], sort_samples=False
    ),
    "keys_to_properties": lambda a: keys_to_properties(a, "center_type", fill_value=1.0),
    "keys_to_properties, unsorted": lambda a: a.keys_to_properties(
        ["center_type", "neighbor_type"], sort_samples=False
    ),
    "keys_to_properties, by labels": lambda a: a.keys_to_properties(TYPES),
    "components_to_properties": lambda a: components_to_properties(a, a.component_names[:1]),
    "components_to_properties, all": lambda a: a.components_to_properties(a.component_names[::-1]),
    "operators": lambda a, b: 2 - (-a + np.float64(3) * b) / 4 + np.float32(2) * +a - 1,
    "operators, @": lambda a, w: a @ w,
}
CURVED = {
    "multiply": lambda a, b: multiply(a, b),
    "divide": lambda a, b: divide(a, b),
    "divide, a number": lambda a: divide(2.0, a),
    "pow": lambda a: pow(a, 2),
    "pow, high": lambda a: pow(a, 7),
    "pow, broken": lambda a: pow(a, -1.5),
    "abs": lambda a: abs(subtract(a, 1.0)),
    "einsum": lambda a, b: einsum(f"samples n {m(a)}, samples n:k {m(a)} -> samples n k", a, b),
    "einsum, entry by entry": lambda a, b: einsum(
        f"samples n {m(a)}, samples {m(a)} n -> samples {m(a)} n", a, b
    ),
    "einsum, to a number": lambda a, b: einsum(
        f"samples n {m(a)}, samples n {m(a)} -> samples", a, b
    ),
    "einsum, of three": lambda a, b: einsum(
        f"samples n {m(a)}, samples n {m(a)}, samples n:k {m(a)} -> samples {m(a)} k", a, b, a
    ),
    "einsum, where a dimension is the same": lambda a, b: einsum(
        f"samples {m(a)} neighbor_type n, samples neighbor_type n:k {m(a)} "
        f"-> samples n neighbor_type k {m(a)}",
        wide(a),
        wide(b),
    ),
    "einsum, and summed": lambda a, b: einsum(
        f"samples {m(a)} neighbor_type n, samples neighbor_type n:k {m(a)} -> samples k",
        wide(a),
        wide(b),
    ),
    "tensor_product": lambda a, b: tensor_product(spherical(a), spherical(b)),
    "tensor_product, of three": lambda a, b: tensor_product(
        tensor_product(spherical(a), spherical(b), selected_keys=VECTORS),
        slice(spherical(b), "properties", [0]),
        selected_keys=ONE_TENSOR,
        suffixes=("_12", "_3"),
    ),
    "exp": lambda a: exp(a),
    "log": lambda a: log(a),
    "sqrt": lambda a: sqrt(a),
    "sin": lambda a: sin(a),
    "cos": lambda a: cos(a),
    "tanh": lambda a: tanh(a),
    "silu": lambda a: silu(subtract(a, 1.0)),
    "relu": lambda a: relu(subtract(a, 1.0)),
    "maximum": lambda a: maximum(a, np.float64(1.0)),
    "clip": lambda a: clip(a, 0.8, 1.2),
    "clip, from below": lambda a: clip(a, low=1),
    "clip, from above": lambda a: clip(a, high=np.float32(1)),
    "norm": lambda a: norm(vectors(a)),
    "norm, over one of the components": lambda a: norm(vectors(a), "n"),
    "apply": lambda a, b: apply(lambda x, y: x * y / (1 + x * x) ** 0.5, a, b),
    "dot": lambda a, c: dot(a, c),
    "mean_over_samples, moving weights": lambda a, c: mean_over_samples(a, "atom", weights=one(c)),
    "sum_over_samples, moving weights": lambda a, c: sum_over_samples(a, "atom", weights=one(c)),
    "std_over_properties": lambda a: std_over_properties(wide(a), "neighbor_type"),
    "std_over_samples": lambda a: std_over_samples(a, "atom"),
    "std_over_samples, moving weights": lambda a, c: std_over_samples(
        a, ["atom", "system"], weights=one(c)
    ),
    "var_over_properties": lambda a: var_over_properties(wide(a), ["neighbor_type"]),
    "var_over_properties, all": lambda a: var_over_properties(wide(a), ["n", "neighbor_type"]),
    "var_over_samples": lambda a: var_over_samples(a, "atom"),
    "var_over_samples, the first": lambda a: var_over_samples(a, "system"),
    "var_over_samples, all": lambda a: var_over_samples(a, ["system", "atom"]),
    "var_over_samples, moving weights": lambda a, c: var_over_samples(
        a, "atom", weights=one(c), groups=MOLECULES
    ),
    "operators": lambda a, b: np.float64(2) / a * b - abs(a - b) ** 3,
    "operators, @": lambda a, b, c: (a * b) @ c,
    "several": lambda a, b: sum_over_samples((a * b).keys_to_properties("neighbor_type"), "atom"),
}
ROWS = {**LINEAR, **{f"{name} (curved)": row for name, row in CURVED.items()}}
PARAMETERS = ("positions", "strain")


def operands(row, *, library="numpy", components=1, sparsity="different", **options):
    """Random maps for the arguments of a row."""
    rows = {"same": 0, "different": 5}[sparsity]
    options = {"library": library, "components": components, **options}
    maps = {
        "a": lambda: tensor(1, **options),
        "b": lambda: tensor(2, rows=rows, **options),
        "c": lambda: tensor(3, rows=rows, **{**options, "components": 0}),
        "w": lambda: tensor(4, **{**options, "components": 0, "parameters": ()}),
    }
    return [maps[name]() for name in signature(row).parameters]
