"""Two libraries gave the same result: labels exactly, values up to rounding."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["assert_agreement"]

ROUNDING = 1e-12  # of the largest entry: sums of up to a few thousand float64 in any order


def assert_agreement(ours: Any, theirs: Any) -> None:
    """Raise ``AssertionError``, with the place as notes, where the results differ.

    Takes maps, labels, arrays, numbers, archives in memory, and tuples of these.
    """
    if isinstance(ours, tuple):
        assert isinstance(theirs, tuple), f"a tuple and a {type(theirs)}"
        _each(dict(enumerate(ours)), dict(enumerate(theirs)))
    elif isinstance(ours, bytes | bytearray | memoryview):
        _assert_archives(ours, theirs)
    elif hasattr(ours, "keys_to_samples"):
        _assert_labels(ours.keys, theirs.keys)
        _each(dict(enumerate(ours.blocks())), dict(enumerate(theirs.blocks())), _assert_blocks)
    elif hasattr(ours, "union"):
        _assert_labels(ours, theirs)
    else:
        _assert_arrays(np.asarray(ours), np.asarray(theirs))


def _each(ours: dict[Any, Any], theirs: dict[Any, Any], assert_same: Any = None) -> None:
    assert set(ours) == set(theirs), f"parts differ: {sorted(set(ours) ^ set(theirs))}"
    for name in ours:
        try:
            (assert_same or assert_agreement)(ours[name], theirs[name])
        except AssertionError as error:
            error.add_note(f"in part {name}")
            raise


def _assert_blocks(ours: Any, theirs: Any) -> None:
    _each(dict(enumerate(ours.components)), dict(enumerate(theirs.components)), _assert_labels)
    _assert_labels(ours.properties, theirs.properties)
    assert list(ours.samples.names) == list(theirs.samples.names), "sample names differ"
    rows, their_rows = np.asarray(ours.samples.values), np.asarray(theirs.samples.values)
    values, their_values = ours.values, theirs.values
    if not np.array_equal(rows, their_rows):  # the order of rows is free, their content is not
        order, their_order = _sorted(rows), _sorted(their_rows)
        _assert_arrays(rows[order], their_rows[their_order])
        values, their_values = values[order], their_values[their_order]
    _assert_arrays(values, their_values)
    _each(dict(ours.gradients()), dict(theirs.gradients()), _assert_blocks)


def _assert_labels(ours: Any, theirs: Any) -> None:
    assert list(ours.names) == list(theirs.names), f"{ours.names} and {theirs.names}"
    _assert_arrays(np.asarray(ours.values), np.asarray(theirs.values))


def _assert_arrays(ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    assert ours.shape == theirs.shape, f"shapes {ours.shape} and {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"dtypes {ours.dtype} and {theirs.dtype}"
    if np.array_equal(ours, theirs):
        return
    assert ours.dtype.kind == "f", "different entries"
    # one block of rows after the other: differences of a whole array would double the memory
    scale = np.abs(theirs).max()
    chunk = max(1, 1_000_000 // max(1, ours[:1].size))
    for start in range(0, len(ours), chunk):
        rows = slice(start, start + chunk)
        worst = np.abs(ours[rows] - theirs[rows]).max()
        assert worst <= ROUNDING * scale, f"differ by {worst}, largest entry {scale}"


def _assert_archives(ours: Any, theirs: Any) -> None:
    """The same arrays in both stored maps, read by NumPy, whichever library wrote them."""
    with zipfile.ZipFile(io.BytesIO(ours)) as own, zipfile.ZipFile(io.BytesIO(theirs)) as other:
        names = {name: name for name in own.namelist()}
        _each(
            names,
            {name: name for name in other.namelist()},
            lambda name, _: _assert_arrays(_member(own, name), _member(other, name)),
        )


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        return np.lib.format.read_array(file)


def _sorted(rows: NDArray[Any]) -> NDArray[np.intp]:
    return np.lexsort(rows.T[::-1])
