"""LabelsEntry: one row of labels, and what names and rows have to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nablatom import arrays

__all__ = ["LabelsEntry", "checked_names", "checked_values", "dimension_index", "listed_names"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class LabelsEntry:
    """One row of :class:`~nablatom.Labels`: a named tuple of integers.

    Examples
    --------
    >>> from nablatom import Labels
    >>> entry = Labels(["system", "atom"], [[0, 4]])[0]
    >>> entry["atom"], entry[0]
    (4, 0)
    >>> print(entry)
    (system=0, atom=4)
    """

    __slots__ = ("_names", "_row")

    def __init__(self, names: Sequence[str], values: ArrayLike) -> None:
        self._names = checked_names(names)
        row = np.asarray(arrays.to_numpy(values)).reshape(1, -1)
        self._row = tuple(checked_values(self._names, row)[0].tolist())

    @classmethod
    def unchecked(cls, names: tuple[str, ...], row: tuple[int, ...]) -> LabelsEntry:
        """An entry from parts that are known to be right."""
        self = cls.__new__(cls)
        self._names, self._row = names, row
        return self

    @property
    def names(self) -> list[str]:
        """The names of the dimensions."""
        return list(self._names)

    @property
    def values(self) -> NDArray[np.int32]:
        """The row, of shape ``(dimensions,)``."""
        return np.array(self._row, np.int32)

    def __getitem__(self, dimension: str | int) -> int:
        if isinstance(dimension, str):
            return self._row[dimension_index(self._names, dimension)]
        return self._row[dimension]

    def __len__(self) -> int:
        return len(self._row)

    def __iter__(self) -> Iterator[int]:
        return iter(self._row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelsEntry):
            return NotImplemented
        return self._names == other._names and self._row == other._row

    def __hash__(self) -> int:
        return hash((self._names, self._row))

    def print(self) -> str:
        """The entry as ``(name=value, …)``."""
        return "(" + ", ".join(map("{}={}".format, self._names, self._row)) + ")"

    def __str__(self) -> str:
        return self.print()

    def __repr__(self) -> str:
        return f"LabelsEntry{self.print()}"


def checked_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple, or an error that says which one cannot be a name."""
    checked = listed_names(names)
    for name in checked:
        if not _NAME.match(name):
            raise ValueError(
                f"{name!r} is not a valid name: use letters, digits and _, no digit first"
            )
    if len(set(checked)) != len(checked):
        raise ValueError(f"names must be different from each other, got {list(checked)}")
    return checked


def listed_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple."""
    if isinstance(names, str):
        return (names,)
    try:
        listed = tuple(names)
    except TypeError:
        raise TypeError(f"expected a name or several of them, got {names!r}") from None
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, got {name!r} ({type(name).__name__})")
    return listed


def checked_values(names: tuple[str, ...], values: ArrayLike) -> NDArray[np.int32]:
    """A fresh, contiguous int32 copy of integer values of shape ``(entries, dimensions)``."""
    table = np.asarray(values)
    if table.size == 0 and table.ndim == 1:
        table = np.zeros((0, len(names)), np.int32)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ValueError(
            f"values must have shape (entries, {len(names)}), one column for each of "
            f"{list(names)}, got {table.shape}"
        )
    if table.dtype == np.int32:
        return np.array(table, order="C")
    if not np.issubdtype(table.dtype, np.integer):
        raise TypeError(f"values must be integers, got {table.dtype}; convert them yourself first")
    limits = np.iinfo(np.int32)
    if table.size and (table.max() > limits.max or table.min() < limits.min):
        worst = table.max() if table.max() > limits.max else table.min()
        raise ValueError(f"value {worst} does not fit in the 32-bit integers that labels have")
    return np.array(table, np.int32, order="C")


def dimension_index(names: tuple[str, ...], name: str) -> int:
    """Where a name stands among the names, or an error that lists them."""
    try:
        return names.index(name)
    except ValueError:
        raise ValueError(
            f"no dimension {name!r} in these labels: they have {list(names)}"
        ) from None
