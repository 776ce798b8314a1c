"""Labels beside metatensor's: the same entries, in the same order, with the same maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer import labels_there, metatensor
from strategies import SMALL, labels

WIDE = st.integers(-(2**31), 2**31 - 1)
PAIRS = {
    "small": (labels(), labels()),
    "wide": (labels(values=WIDE), labels(values=WIDE)),
    "one dimension": (labels(("a",)), labels(("a",))),
    "three wide dimensions": (
        labels(("a", "b", "c"), values=WIDE | SMALL),
        labels(("a", "b", "c"), values=WIDE | SMALL),
    ),
}
SET_ALGEBRA = ["union", "intersection", "difference"]


def assert_same(ours, theirs):
    if isinstance(theirs, tuple):
        for x, y in zip(ours, theirs, strict=True):
            assert_same(x, y)
    elif isinstance(theirs, metatensor.Labels):
        assert ours.names == theirs.names
        np.testing.assert_array_equal(ours.values, np.asarray(theirs.values))
    elif isinstance(theirs, metatensor.LabelsEntry):
        assert (ours.names, list(ours)) == (theirs.names, list(theirs))
        assert ours.print() == theirs.print()
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("operation", SET_ALGEBRA)
@given(data=st.data())
def test_set_algebra(operation, kind, data):
    a, b = (data.draw(strategy) for strategy in PAIRS[kind])
    x, y = labels_there(a), labels_there(b)
    if operation == "intersection" and len(a) > len(b):
        # the peer then keeps the order of b; ours is always that of a
        a, b, x, y = b, a, y, x
    name = f"{operation}_and_mapping"
    assert_same(getattr(a, name)(b), getattr(x, name)(y))
    assert getattr(a, operation)(b) == getattr(a, name)(b)[0]


@given(labels(), labels(("b",)) | labels(("b", "a")) | labels())
def test_select(a, selection):
    assert_same(a.select(selection), labels_there(a).select(labels_there(selection)))


@given(labels(), st.lists(st.tuples(SMALL, SMALL), max_size=4))
def test_position(a, entries):
    x = labels_there(a)
    for entry in entries:
        assert a.position(entry) == x.position(entry)
        assert (entry in a) == (entry in x)


@given(labels(), st.just(-1) | st.integers(2, 12))
def test_print(a, most):
    assert a.print(most).split() == labels_there(a).print(most).split()


METHODS = {
    "single": lambda kind, x: kind.single(),
    "empty": lambda kind, x: kind.empty(["a", "b"]),
    "empty, one name": lambda kind, x: kind.empty("a"),
    "range": lambda kind, x: kind.range("a", 5),
    "one name, entries": lambda kind, x: kind("a", np.array([[1], [0]])),
    "permute": lambda kind, x: x.permute([1, 0]),
    "rename": lambda kind, x: x.rename("b", "c"),
    "insert": lambda kind, x: x.insert(1, "c", np.arange(len(x))),
    "insert, first": lambda kind, x: x.insert(0, "c", np.arange(len(x))),
    "remove": lambda kind, x: x.insert(0, "c", np.arange(len(x))).remove("a"),
    "column": lambda kind, x: x.column("b"),
    "by name": lambda kind, x: x["b"],
    "to": lambda kind, x: x.to("cpu"),
    "first": lambda kind, x: x[0],
    "last": lambda kind, x: x.entry(-1) if kind is not metatensor.Labels else x.entry(len(x) - 1),
    "values of an entry": lambda kind, x: x[0].values,
    "all": lambda kind, x: tuple(x),
    "length": lambda kind, x: len(x),
}


@pytest.mark.parametrize("name", METHODS)
@given(a=labels(least=1))
def test_methods(name, a):
    method = METHODS[name]
    assert_same(method(type(a), a), method(metatensor.Labels, labels_there(a)))


@given(labels(), labels() | labels(("a", "c")))
def test_equality(a, b):
    assert (a == b) == (labels_there(a) == labels_there(b))
