"""Keys moved here and in metatensor, on maps of every shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablatom import equal_raise
from peer import here, labels_there, there
from strategies import labels, maps

NAMES = st.sampled_from(["key_1", "key_2", ["key_1"], ["key_2", "key_1"], ["key_1", "key_2"]])
FILL = st.sampled_from([0.0, -3.0, 7.5])


def same(tensor, method, *arguments, **options):
    ours = getattr(tensor, method)(*arguments, **options)
    theirs = getattr(there(tensor), method)(
        *[labels_there(x) if hasattr(x, "union") else x for x in arguments], **options
    )
    equal_raise(ours, here(theirs))


@given(maps(), NAMES, st.booleans())
def test_keys_to_properties(tensor, names, sort):
    same(tensor, "keys_to_properties", names, sort_samples=sort)


@given(maps(gradients=[]), NAMES, FILL)
def test_keys_to_properties_with_a_fill_value(tensor, names, fill):
    """The peer fills gradients too, where ours are those of a constant: zero."""
    same(tensor, "keys_to_properties", names, fill_value=fill)


@given(maps(same_properties=True), labels(("key_2",), least=1))
def test_keys_to_properties_by_labels(tensor, wanted):
    """The peer drops a block that is not asked for; we refuse."""
    if set(tensor.keys.column("key_2")) <= set(wanted.column("key_2")):
        same(tensor, "keys_to_properties", wanted)
    else:
        with pytest.raises(ValueError, match="would be lost"):
            tensor.keys_to_properties(wanted)


@given(maps(same_properties=True), NAMES, st.booleans())
def test_keys_to_samples(tensor, names, sort):
    same(tensor, "keys_to_samples", names, sort_samples=sort)


@given(maps(components=st.integers(1, 2)), st.sampled_from(["m", ["m"]]))
def test_components_to_properties(tensor, names):
    same(tensor, "components_to_properties", names)


@given(maps(components=st.just(2)), st.sampled_from([["m", "s"], ["s", "m"], ["s"]]))
def test_several_components_to_properties(tensor, names):
    same(tensor, "components_to_properties", names)
