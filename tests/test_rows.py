"""Packed rows against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablatom import rows

NUMBERS = {
    "narrow": st.integers(-3, 3),
    "wide": st.integers(-(2**31), 2**31 - 1),
    "both": st.sampled_from([-(2**31), -1, 0, 1, 2**31 - 1]),
}


def tables(numbers, count):
    return st.integers(1, 4).flatmap(
        lambda width: st.tuples(*[st.lists(st.tuples(*[numbers] * width), max_size=9)] * count)
    )


def as_table(entries, width):
    return np.array(entries, np.int32).reshape(-1, width)


def packed(*lists):
    width = max([len(row) for entries in lists for row in entries], default=1)
    return rows.pack(*[as_table(entries, width) for entries in lists])


@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data())
def test_packed_rows_compare_as_rows(kind, data):
    a, b = data.draw(tables(NUMBERS[kind], 2))
    (left, right), span = packed(a, b)
    for x, i in zip(a + b, [*left, *right], strict=True):
        assert 0 <= i < span
        for y, j in zip(a + b, [*left, *right], strict=True):
            assert ((x < y), (x == y)) == ((i < j), (i == j))


@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data())
def test_order_unique_and_duplicates(kind, data):
    (a,) = data.draw(tables(NUMBERS[kind], 1))
    (keys,), span = packed(a)
    first, place = rows.unique(keys, span)
    assert [a[i] for i in first] == sorted(set(a))
    assert [a[first[i]] for i in place] == a
    duplicate = rows.first_duplicate(as_table(a, len(a[0]) if a else 1))
    assert (duplicate is None) == (len(set(a)) == len(a))
    if duplicate is not None:
        assert a[duplicate] in a[:duplicate]
    distinct = list(dict.fromkeys(a))
    (keys,), span = packed(distinct)
    assert [distinct[i] for i in rows.sort_order(keys, span)] == sorted(distinct)
    assert rows.is_sorted(keys) == (distinct == sorted(distinct))


@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data())
def test_locate(kind, data):
    needles, haystack = data.draw(tables(NUMBERS[kind], 2))
    haystack = list(dict.fromkeys(haystack))
    (x, y), span = packed(needles, haystack)
    expected = [haystack.index(row) if row in haystack else -1 for row in needles]
    assert rows.locate(x, y, span).tolist() == expected


@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data())
def test_same(kind, data):
    lists = data.draw(tables(NUMBERS[kind], 2))
    width = max([len(row) for entries in lists for row in entries], default=1)
    a, b = (as_table(entries, width) for entries in lists)
    assert rows.same(a, b) == np.array_equal(a, b)
    assert rows.same(a, a.copy())


@pytest.mark.parametrize("count", [10, 5000])
def test_a_duplicate_among_many_wide_rows(count):
    table = np.random.default_rng(0).integers(-(2**31), 2**31, (count, 3)).astype(np.int32)
    assert rows.first_duplicate(table) is None
    table[-1] = table[3]
    assert rows.first_duplicate(table) == count - 1
