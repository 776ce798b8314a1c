"""What operations refuse, and that they say why and where."""

import numpy as np
import pytest
import torch

from maps import KEYS, flat, tensor
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.operations import (
    add,
    apply,
    divide,
    dot,
    equal_metadata,
    equal_raise,
    exp,
    join,
    mean_over_samples,
    multiply,
    pow,
    remove_gradients,
    slice,
    sort,
    subtract,
    sum_over_samples,
)

A, B = tensor(0), tensor(1)
OTHER_KEYS = TensorMap(Labels(KEYS.names, [[8, 1], [1, 8], [1, 1], [6, 6]]), A.blocks())
OTHER_NAMES = TensorMap(KEYS.rename("center_type", "species"), A.blocks())
MORE_PROPERTIES = tensor(0, properties=Labels.range("n", 4))
NO_STRAIN = remove_gradients(A, "strain")


def with_gradient(names, own):
    block = remove_gradients(flat())
    samples = Labels(names, np.zeros((1, len(names)), int))
    values = np.zeros((1, *map(len, own), 3))
    block.add_gradient("x", TensorBlock(values, samples, own, block.properties))
    return block


XYZ, ABC = Labels.range("xyz", 3), Labels.range("abc", 3)
ERRORS = {
    "keys": (
        lambda: add(A, OTHER_KEYS),
        ValueError,
        r"the same keys, but \(center_type=8, neighbor_type=8\) is in only one .*and 1 more",
    ),
    "key names": (lambda: add(A, OTHER_NAMES), ValueError, "the same key dimensions"),
    "fewer keys": (lambda: multiply(A, tensor(keys=KEYS.take([0]))), ValueError, "the same keys"),
    "properties": (
        lambda: add(A, MORE_PROPERTIES),
        ValueError,
        r"add needs the same properties in the same order.*in add, in the block with \(center_",
    ),
    "components": (lambda: subtract(A, tensor(components=1)), ValueError, "same components"),
    "samples": (
        lambda: multiply(A, sort(A, "samples")),
        ValueError,
        "same samples in the same order",
    ),
    "gradients": (
        lambda: divide(A, NO_STRAIN),
        ValueError,
        r"same gradients, got \['positions', 'strain'\] and \['positions'\].*remove_gradients",
    ),
    "a gradient's sample names": (
        lambda: add(with_gradient(["sample", "atom"], [XYZ]), with_gradient(["sample"], [XYZ])),
        ValueError,
        "gradient samples must have the same dimensions",
    ),
    "a gradient's components": (
        lambda: add(with_gradient(["sample"], [XYZ]), with_gradient(["sample"], [ABC])),
        ValueError,
        "gradients 'x' must have the same components of their own",
    ),
    "text": (lambda: add(A, "b"), TypeError, "a real number, got str"),
    "nothing": (lambda: multiply(A, None), TypeError, "got NoneType"),
    "a complex number": (lambda: multiply(A, 1j), TypeError, "got complex"),
    "an exponent": (lambda: pow(A, B), TypeError, "real number"),
    "dot, components": (
        lambda: dot(A, tensor(components=1)),
        ValueError,
        "second operand of dot has no components",
    ),
    "dot, properties": (lambda: dot(A, MORE_PROPERTIES), ValueError, "dot needs the same propert"),
    "dot, gradients": (
        lambda: dot(A, NO_STRAIN),
        ValueError,
        r"same gradients on both sides, or none on one",
    ),
    "a dimension to sum": (
        lambda: sum_over_samples(A, "species"),
        ValueError,
        r"no sample dimension 'species': they are \['system', 'atom'\]",
    ),
    "a dimension to average": (lambda: mean_over_samples(A, ["n"]), ValueError, "dimension 'n'"),
    "an axis to slice": (
        lambda: slice(A, "components", XYZ),
        ValueError,
        '"samples" or "properties", got \'components\'',
    ),
    "a dimension to slice": (lambda: slice(A, "samples", XYZ), ValueError, "no dimension 'xyz'"),
    "an index to slice": (lambda: slice(A, "properties", [3]), IndexError, "below 3, got 3 to 3"),
    "an index before": (lambda: slice(A, "properties", [-4]), IndexError, "below 3, got -4"),
    "an index twice": (lambda: slice(A, "properties", [1, -2]), ValueError, "more than once"),
    "an axis to sort": (lambda: sort(A, "rows"), ValueError, "axes are samples, .*got 'rows'"),
    "nothing to join": (lambda: join([], "samples"), ValueError, "nothing to join"),
    "an axis to join": (lambda: join([A], "keys"), ValueError, "got 'keys'"),
    "joined twice": (
        lambda: join([A, B], "samples"),
        ValueError,
        r"\(system=., atom=.\) is in the samples of more than one operand; add_dimension",
    ),
    "join, keys": (
        lambda: join([A, OTHER_KEYS], "samples", add_dimension="i"),
        ValueError,
        r'is not in all maps; say different_keys="intersection" or "union"',
    ),
    "join, key names": (
        lambda: join([A, OTHER_NAMES], "samples"),
        ValueError,
        "same key dimensions",
    ),
    "join, an option": (
        lambda: join([A, B], "samples", "some"),
        ValueError,
        'different_keys must be "error", "intersection" or "union", got \'some\'',
    ),
    "join, other properties": (
        lambda: join([A, MORE_PROPERTIES], "samples", add_dimension="i"),
        ValueError,
        "to join along samples, the properties must be the same.*\\s*in join, in the blocks with",
    ),
    "join, gradients": (
        lambda: join([A, NO_STRAIN], "samples", add_dimension="i"),
        ValueError,
        "same gradients",
    ),
    "join, components": (
        lambda: join([A, tensor(components=1)], "samples", add_dimension="i"),
        ValueError,
        "same components",
    ),
    "a gradient to remove": (
        lambda: remove_gradients(A, "cell"),
        KeyError,
        "no gradient 'cell'; stored: positions, strain",
    ),
    "metadata to check": (lambda: equal_metadata(A, B, "rows"), ValueError, "got 'rows'"),
    "comparison with a number": (lambda: equal_raise(A, 3), TypeError, "got int"),
    "a number for a map": (
        lambda: exp(3),
        TypeError,
        "exp needs a TensorMap or a TensorBlock for 'a', got int",
    ),
    "two numbers": (
        lambda: multiply(3, 4.0),
        TypeError,
        "one operand must be a TensorMap or a TensorBlock, got 4.0 and a number",
    ),
    "a number by name": (lambda: exp(a=3), TypeError, "exp needs .* for 'a', got int"),
    "a dtype of torch for NumPy": (
        lambda: A.to(torch.float64, arrays="numpy"),
        TypeError,
        "dtype of NumPy is needed for NumPy arrays, .*got torch.float64",
    ),
    "a dtype of NumPy for torch": (
        lambda: A.to(np.float64, arrays="torch"),
        TypeError,
        "dtype of torch is needed for its tensors, .*got .*float64",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_wrong(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=f"(?s){message}"):
        call()


@pytest.mark.parametrize("operands", [{"a": A, "b": B}, {"b": A, "a": 2.0}], ids=["two", "one"])
def test_operands_by_name(operands):
    """They mean the same as by position."""
    equal_raise(multiply(**operands), multiply(operands["a"], operands["b"]))
    equal_raise(exp(a=A), exp(A))


def test_an_error_of_a_users_function_names_the_block():
    def broken(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"(?s)no.*center_type=8"):
        apply(broken, A)
