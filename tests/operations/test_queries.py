"""Parts by what labels say; gradients are rows of test_gradients.py."""

import numpy as np
import pytest
import torch

from maps import KEYS, tensor
from nablatom import Labels, TensorBlock, operations

# Only evenly spaced entries can be a view: the rows of an atom, 0, 2, 4, are.
ROWS = [(s, a) for s in range(3) for a in range(2)]
XY = Labels.range("xy", 2)


def block(library="numpy"):
    values = np.arange(6 * 2 * 4, dtype=float).reshape(6, 2, 4)
    properties = Labels(["l", "n"], [[0, 0], [0, 1], [1, 0], [3, 0]])
    result = TensorBlock(values, Labels(["system", "atom"], ROWS), [XY], properties)
    samples = Labels(["sample", "atom"], [(i, a) for i in range(6) for a in range(2)])
    slopes = np.arange(12 * 3 * 2 * 4, dtype=float).reshape(12, 3, 2, 4)
    axes = [Labels.range("xyz", 3), XY]
    result.add_gradient("positions", TensorBlock(slopes, samples, axes, properties))
    return result.to(arrays=library)


# selection, and where it is in the values
PARTS = {
    "a value": ({"system": 1}, np.s_[2:4]),
    "every other row": ({"atom": 1}, np.s_[1::2]),
    "values": ({"system": [0, 2, 9]}, np.s_[[0, 1, 4, 5]]),
    "an array": ({"system": np.array([2, 1])}, np.s_[2:6]),
    "a tensor": ({"system": torch.tensor([2, 1])}, np.s_[2:6]),
    "a range": ({"system": range(1, 3)}, np.s_[2:6]),
    "a slice": ({"system": slice(1, 3)}, np.s_[2:6]),
    "an open slice": ({"l": slice(1, None)}, np.s_[:, :, 2:]),
    "a slice with steps": ({"l": slice(1, None, 2)}, np.s_[:, :, 2:]),
    "steps from zero": ({"l": slice(None, None, 3)}, np.s_[:, :, [0, 1, 3]]),
    "two of an axis": ({"l": 0, "n": 1}, np.s_[:, :, 1:2]),
    "a component": ({"xy": 1}, np.s_[:, 1:2]),
    "every axis": ({"atom": 0, "xy": 0, "n": 0}, np.s_[::2, :1, [0, 2, 3]]),
    "nothing": ({"system": 7}, np.s_[:0]),
    "everything": ({}, np.s_[:]),
}
COPIES = {"values", "steps from zero", "every axis"}


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", PARTS)
def test_part_of_a_block(name, library):
    selection, at = PARTS[name]
    whole = block(library)
    part = whole.loc(**selection)
    np.testing.assert_array_equal(np.asarray(part.values), block().values[at])
    TensorBlock(part.values, part.samples, part.components, part.properties)
    for labels, old in zip(
        (part.samples, *part.components, part.properties),
        (whole.samples, *whole.components, whole.properties),
        strict=True,
    ):
        assert labels.names == old.names
        assert len(labels.difference(old)) == 0
    if name not in COPIES and name != "nothing":
        whole.values[...] = -1.0
        assert (part.values == -1.0).all()


@pytest.mark.parametrize("name", PARTS)
def test_gradient_rows_go_along(name):
    """The gradient of a part is the part of the gradient."""
    part = block().loc(**PARTS[name][0])
    rows = [block().samples.position(sample) for sample in part.samples]
    old = block().gradient("positions")
    new = part.gradient("positions")
    assert new.samples == Labels(
        ["sample", "atom"],
        np.array([(i, a) for i in range(len(rows)) for a in range(2)], int).reshape(-1, 2),
    )
    at = [2 * row + a for row in rows for a in range(2)]
    lm = [block().properties.position(p) for p in part.properties]
    xy = part.components[0]["xy"]
    np.testing.assert_array_equal(new.values, old.values[at][..., xy, :][..., lm])


def test_gradient_rows_of_evenly_spaced_rows_are_views():
    whole = block()
    part = whole.loc(system=slice(1, None), l=[0, 1])
    whole.gradient("positions").values[...] = -1.0
    assert (part.gradient("positions").values == -1.0).all()


def test_part_of_a_map():
    a = tensor(components=1)
    part = a.loc(center_type=8, neighbor_type=[1, 2])
    assert part.keys == KEYS.take(np.array([0]))
    assert part.block_by_id(0) is a.block_by_id(0)
    assert part.info() == a.info()
    inside = a.loc(center_type=1, atom=1, o3_mu=0, n=slice(0, 3))
    for new, old in zip(inside, a.blocks(center_type=1), strict=True):
        expected = operations.slice(old, "samples", Labels("atom", [[1]]))
        expected = operations.slice(expected, "properties", Labels("n", [[0], [2]]))
        operations.equal_raise(
            operations.sort(new, "properties"),
            operations.sort(expected.loc(o3_mu=0), "properties"),
        )
    assert len(a.loc(center_type=99)) == 0
    operations.equal_raise(a.loc(), a)


WRONG = {
    "no dimension": (lambda x: x.loc(molecule=1), ValueError, "no dimension 'molecule'"),
    "in two axes": (
        lambda x: operations.rename_dimension(x, "properties", "n", "atom").loc(atom=1),
        ValueError,
        "more than one axis",
    ),
    "a word": (lambda x: x.loc(atom="C"), TypeError, "atom: expected an integer"),
    "a slice of fractions": (
        lambda x: x.loc(atom=slice(0.5, 2)),
        TypeError,
        "atom: expected an integer, several of them or a slice, got slice",
    ),
    "a fraction": (lambda x: x.loc(atom=[0.5]), TypeError, "atom: expected an integer"),
    "a step back": (lambda x: x.loc(atom=slice(3, 0, -1)), ValueError, "step must be 1 or more"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_found(name):
    function, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        function(block())


def test_what_neither_keys_nor_blocks_have():
    with pytest.raises(ValueError, match="no dimension 'molecule'") as caught:
        tensor().loc(center_type=8, molecule=1)
    assert "the keys have" in caught.value.__notes__[0]


def test_a_query_is_traced():
    a = tensor(1, library="torch", parameters=("positions",))
    query = lambda x: x.loc(center_type=8, atom=slice(0, 1), n=2) * 2.0  # noqa: E731
    compiled = torch.compile(query, fullgraph=True, backend="aot_eager")
    operations.allclose_raise(compiled(a), query(a))
