"""Labels: the names and the unique integer rows that say what the entries of an axis are."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload
from weakref import ref

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nablatom import arrays, rows, tracing
from nablatom.display import html_table, label_table, shortened
from nablatom.entry import (
    LabelsEntry,
    checked_names,
    checked_values,
    dimension_index,
    listed_names,
)

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Labels", "LabelsEntry", "Rows", "checked_names", "listed_names", "remembered"]

Rows = NDArray[np.int64]
T = TypeVar("T")


def remembered(plan: Callable[..., T]) -> Callable[..., T]:
    """Keep what a pure function of labels returns, for as long as the labels live.

    The function takes labels, then perhaps more objects that never change (labels, rows of
    indices, plans made from them), then plain values. Nothing about labels that are used
    again has to be worked out twice: a training loop touches arrays only.
    """

    @wraps(plan)
    def call(labels: Labels, *arguments: Any) -> T:
        memo = labels._memo
        key = (plan, *[x if isinstance(x, _PLAIN) else id(x) for x in arguments])
        found = memo.get(key)
        if found is None:
            result = plan(labels, *arguments)
            owner = ref(labels)

            # an object that dies takes its plans along, so that its id can be used again
            def forget(_: object) -> None:
                if (alive := owner()) is not None:
                    alive._memo.pop(key, None)

            found = result, [ref(x, forget) for x in arguments if not isinstance(x, _PLAIN)]
            memo[key] = found
        kept: T = found[0]
        return kept

    return call


# What a plan may depend on by its value; everything else counts by its identity.
_PLAIN = (str, int, tuple)


class Labels:
    """Names and unique integer rows: what the entries along one axis of a block are.

    Labels never change. They hold their own read-only ``int32`` array on the CPU, wherever
    the values of the block live, and can be compared, hashed, pickled and shared.

    Parameters
    ----------
    names
        One name for each dimension, matching ``[A-Za-z_][A-Za-z0-9_]*``.
    values : (entries, dimensions), integers that fit in 32 bits
        One row for each entry. They are copied.
    assume_unique
        Skip the search for repeated rows, when they are known to be unique.

    Raises
    ------
    ValueError
        If a name is not valid or repeated, if the shape does not fit the names, if a value
        does not fit in 32 bits, or if a row occurs twice.
    TypeError
        If the values are not integers.

    Examples
    --------
    >>> labels = Labels(["system", "atom"], [[0, 1], [0, 2], [1, 2]])
    >>> labels["atom"]
    array([1, 2, 2], dtype=int32)
    >>> labels.position([1, 2])
    2
    >>> print(labels)
    Labels(
        system  atom
          0      1
          0      2
          1      2
    )
    """

    __slots__ = ("__weakref__", "_memo", "_names", "_token", "_values")

    _names: tuple[str, ...]
    _values: NDArray[np.int32]
    _memo: dict[Any, Any]
    _token: str | None

    def __init__(
        self, names: str | Sequence[str], values: ArrayLike, assume_unique: bool = False
    ) -> None:
        self._names = checked_names(names)
        self._values = checked_values(self._names, arrays.to_numpy(values))
        self._values.flags.writeable = False
        self._memo, self._token = {}, None
        if not assume_unique:
            self._check_unique()

    @classmethod
    def unchecked(cls, names: tuple[str, ...], values: NDArray[np.int32]) -> Labels:
        """Labels from parts that are known to be right; the array is taken over, not copied."""
        self = cls.__new__(cls)
        values.flags.writeable = False
        self._names, self._values, self._memo, self._token = names, values, {}, None
        return self

    @classmethod
    def stand_in(cls, name: str) -> Labels:
        """Labels made while torch traces: they fetch what they hold when they are asked for it."""
        self = cls.__new__(cls)
        self._token = name
        return self

    def __getattr__(self, name: str) -> Any:
        if name not in ("_names", "_values", "_memo"):
            raise AttributeError(f"Labels have no {name!r}")
        real = tracing.labels_named(str(self._token))
        self._names, self._values, self._memo = real._names, real._values, real._memo
        return getattr(self, name)

    def mark(self) -> None:
        """Name these labels by their entries, as torch needs to recognise them when it traces."""
        if self._token is None:
            self._token = tracing.digest(self)

    @staticmethod
    def single() -> Labels:
        """The labels of an axis that has one entry and nothing to say about it."""
        return Labels.unchecked(("_",), np.zeros((1, 1), np.int32))

    @staticmethod
    def empty(names: str | Sequence[str]) -> Labels:
        """Labels with these names and no entries."""
        names = checked_names(names)
        return Labels.unchecked(names, np.zeros((0, len(names)), np.int32))

    @staticmethod
    def range(name: str, end: int) -> Labels:
        """One dimension that counts from 0 to ``end - 1``."""
        if end > np.iinfo(np.int32).max:
            raise ValueError(f"range end {end} does not fit in the 32 bits that labels have")
        return Labels.unchecked(checked_names(name), np.arange(end, dtype=np.int32)[:, None])

    # -- what they hold ---------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The names of the dimensions."""
        return list(self._names)

    @property
    def values(self) -> NDArray[np.int32]:
        """The entries, read-only, of shape ``(entries, dimensions)``."""
        return self._values

    @property
    def device(self) -> str:
        """Labels stay on the CPU, wherever the values of a block are."""
        return "cpu"

    def column(self, dimension: str) -> NDArray[np.int32]:
        """All values of one dimension, of shape ``(entries,)``."""
        return self._values[:, dimension_index(self._names, dimension)]

    def entry(self, index: int) -> LabelsEntry:
        """The row at this index."""
        return LabelsEntry.unchecked(self._names, tuple(self._values[index].tolist()))

    @overload
    def __getitem__(self, index: int) -> LabelsEntry: ...

    @overload
    def __getitem__(self, index: str) -> NDArray[np.int32]: ...

    def __getitem__(self, index: int | str) -> LabelsEntry | NDArray[np.int32]:
        """One entry (by integer) or one column (by name)."""
        if isinstance(index, str):
            return self.column(index)
        return self.entry(operator.index(index))

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[LabelsEntry]:
        for row in self._values.tolist():
            yield LabelsEntry.unchecked(self._names, tuple(row))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Labels):
            return NotImplemented
        return self._names == other._names and rows.same(self._values, other._values)

    def __hash__(self) -> int:
        if "hash" not in self._memo:
            self._memo["hash"] = hash((self._names, self._values.tobytes()))
        return self._memo["hash"]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._names, np.array(self._values))

    def to(self, *_: object, **__: object) -> Labels:
        """These labels themselves: they stay on the CPU, whatever device is named."""
        return self

    # -- search ------------------------------------------------------------------------

    def position(self, entry: LabelsEntry | Sequence[int]) -> int | None:
        """The index of an entry, or None if it is not there.

        Raises
        ------
        ValueError
            If the entry has other dimensions than these labels.
        """
        if isinstance(entry, LabelsEntry) and entry._names != self._names:
            raise ValueError(f"entry {entry} does not have the dimensions {self.names}")
        row = tuple(map(operator.index, entry))
        if len(row) != len(self._names):
            raise ValueError(f"entry {row} has {len(row)} values, the labels have {self.names}")
        if len(self) > _FEW:
            return self._position_among_many(row)
        if "positions" not in self._memo:
            self._memo["positions"] = {tuple(r): i for i, r in enumerate(self._values.tolist())}
        return self._memo["positions"].get(row)

    def _position_among_many(self, row: tuple[int, ...]) -> int | None:
        """A scan for the first few searches; then rows are sorted, for binary search."""
        searches = self._memo["searches"] = self._memo.get("searches", 0) + 1
        if searches <= _SCANS:
            found = np.flatnonzero(self._values[:, 0] == row[0])
            for c, value in enumerate(row[1:], start=1):
                found = found[self._values[found, c] == value]
            return int(found[0]) if len(found) else None
        if "table" not in self._memo:
            (keys,), span = rows.pack(self._values)
            order = rows.sort_order(keys, span)
            self._memo["table"] = (order, self._values[order])
        order, ordered = self._memo["table"]
        low, high = 0, len(ordered)
        for c, value in enumerate(row):
            column = ordered[low:high, c]
            start = int(np.searchsorted(column, value))
            end = int(np.searchsorted(column, value, side="right"))
            low, high = low + start, low + end
        return int(order[low]) if low < high else None

    def __contains__(self, entry: LabelsEntry | Sequence[int]) -> bool:
        return self.position(entry) is not None

    def select(self, selection: Labels) -> Rows:
        """Indices, in order, of the entries that match any row of ``selection``.

        ``selection`` may have fewer dimensions, in any order; the others are free.

        Raises
        ------
        ValueError
            If it has a dimension that these labels do not have.
        """
        _check_labels("a selection", selection)
        columns = self._values[:, [dimension_index(self._names, name) for name in selection._names]]
        (keys, wanted), span = rows.pack(columns, selection._values)
        return np.flatnonzero(rows.locate(keys, wanted, span) >= 0)

    def unique(self, names: Sequence[str]) -> tuple[Labels, Rows]:
        """The distinct rows of some dimensions, sorted, and each entry's place among them."""
        return self._unique(*listed_names(names))

    @remembered
    def _unique(self, *names: str) -> tuple[Labels, Rows]:
        if not names:
            return Labels.single(), np.zeros(len(self), np.int64)
        columns = self._values[:, [dimension_index(self._names, name) for name in names]]
        (keys,), span = rows.pack(columns)
        first, place = rows.unique(keys, span)
        return Labels.unchecked(names, columns[first]), place

    @remembered
    def order(self) -> Rows:
        """The indices that sort the entries."""
        (keys,), span = rows.pack(self._values)
        return rows.sort_order(keys, span)

    # -- set algebra -------------------------------------------------------------------

    def union(self, other: Labels) -> Labels:
        """All entries of both: these first, then those that only ``other`` has."""
        return self.union_and_mapping(other)[0]

    def union_and_mapping(self, other: Labels) -> tuple[Labels, Rows, Rows]:
        """The union, and where the entries of these and of ``other`` stand in it."""
        self._check_same_names(other, "union")
        if self is other or self == other:
            here = np.arange(len(self))
            return self, here, here
        return self._union(other)

    @remembered
    def _union(self, other: Labels) -> tuple[Labels, Rows, Rows]:
        (keys, others), span = rows.pack(self._values, other._values)
        place = rows.locate(others, keys, span)
        new = place < 0
        place[new] = len(self) + np.arange(np.count_nonzero(new))
        values = np.concatenate([self._values, other._values[new]])
        return Labels.unchecked(self._names, values), np.arange(len(self)), place

    def intersection(self, other: Labels) -> Labels:
        """The entries that are in both, in the order of these."""
        return self.intersection_and_mapping(other)[0]

    def intersection_and_mapping(self, other: Labels) -> tuple[Labels, Rows, Rows]:
        """The intersection, and where the entries of both stand in it (or -1)."""
        self._check_same_names(other, "intersection")
        return self._intersection(other)

    @remembered
    def _intersection(self, other: Labels) -> tuple[Labels, Rows, Rows]:
        place = self._places_in(other)
        shared = np.flatnonzero(place >= 0)
        here, there = np.full(len(self), -1), np.full(len(other), -1)
        here[shared] = there[place[shared]] = np.arange(len(shared))
        return self.take(shared), here, there

    def difference(self, other: Labels) -> Labels:
        """The entries that ``other`` does not have, in order."""
        return self.difference_and_mapping(other)[0]

    def difference_and_mapping(self, other: Labels) -> tuple[Labels, Rows]:
        """The difference, and where the entries of these stand in it (or -1)."""
        self._check_same_names(other, "difference")
        return self._difference(other)

    @remembered
    def _difference(self, other: Labels) -> tuple[Labels, Rows]:
        kept = self._places_in(other) < 0
        here = np.full(len(self), -1)
        here[kept] = np.arange(np.count_nonzero(kept))
        return self.take(np.flatnonzero(kept)), here

    def _places_in(self, other: Labels) -> Rows:
        (keys, others), span = rows.pack(self._values, other._values)
        return rows.locate(keys, others, span)

    def take(self, entries: Rows | slice) -> Labels:
        """The labels of some entries, each at most once, in the order given."""
        return self.with_entries(np.ascontiguousarray(self._values[entries]))

    def with_entries(self, values: NDArray[np.int32]) -> Labels:
        """Labels with the same dimensions and other entries, which are known to be unique."""
        return Labels.unchecked(self._names, values)

    # -- dimensions --------------------------------------------------------------------

    def append(self, name: str, values: ArrayLike) -> Labels:
        """These labels with one more dimension after the last."""
        return self.insert(len(self._names), name, values)

    def insert(self, index: int, name: str, values: ArrayLike) -> Labels:
        """These labels with one more dimension before the one at ``index``.

        Raises
        ------
        ValueError
            If the name is there already, or if there is not one value for each entry.
        """
        column = np.asarray(arrays.to_numpy(values))
        if column.shape != (len(self),):
            raise ValueError(
                f"dimension {name!r} needs values of shape ({len(self)},), one for each entry, "
                f"got {column.shape}"
            )
        index = operator.index(index)
        if not -len(self._names) <= index <= len(self._names):
            raise IndexError(f"index {index} is out of range for the dimensions {self.names}")
        checked = checked_values((name,), column[:, None])
        names = checked_names((*self._names[:index], name, *self._names[index:]))
        before, after = self._values[:, :index], self._values[:, index:]
        return Labels.unchecked(names, np.concatenate([before, checked, after], axis=1))

    def permute(self, dimensions_indexes: Sequence[int]) -> Labels:
        """These labels with their dimensions in another order, given by their indices.

        Raises
        ------
        ValueError
            If the indices are not each dimension once.
        """
        order = [operator.index(i) for i in dimensions_indexes]
        if sorted(order) != list(range(len(self._names))):
            raise ValueError(
                f"expected each of the indices 0 to {len(self._names) - 1} once, got {order}"
            )
        names = tuple(self._names[i] for i in order)
        return Labels.unchecked(names, np.ascontiguousarray(self._values[:, order]))

    def remove(self, name: str) -> Labels:
        """These labels without one dimension.

        Raises
        ------
        ValueError
            If the rest is no longer unique, or if it is the only dimension.
        """
        index = dimension_index(self._names, name)
        names = self._names[:index] + self._names[index + 1 :]
        if not names:
            raise ValueError(f"{name!r} is the only dimension and cannot be removed")
        rest = Labels.unchecked(names, np.delete(self._values, index, axis=1))
        rest._check_unique()
        return rest

    def rename(self, old: str, new: str) -> Labels:
        """These labels with another name for one dimension."""
        index = dimension_index(self._names, old)
        names = (*self._names[:index], new, *self._names[index + 1 :])
        return Labels.unchecked(checked_names(names), self._values)

    # -- text and files ----------------------------------------------------------------

    def print(self, max_entries: int, indent: int = 0) -> str:
        """A table of the entries, at most ``max_entries`` of them (-1: all)."""
        shown = shortened(len(self), max_entries)
        table = [None if i is None else self._values[i].tolist() for i in shown]
        return label_table(self._names, table, indent=indent)

    def __str__(self) -> str:
        return f"Labels(\n    {self.print(4, indent=4)}\n)"

    def __repr__(self) -> str:
        return f"Labels(\n    {self.print(40, indent=4)}\n)"

    def _repr_html_(self) -> str:
        shown = shortened(len(self), 20)
        table = [None if i is None else self._values[i].tolist() for i in shown]
        return f"<b>Labels</b> with {len(self)} entries{html_table(self._names, table)}"

    def save(self, file: str | PathLike[str] | BinaryIO) -> None:
        """Write these labels to a file; see :func:`nablatom.save`."""
        from nablatom import io

        io.save(file, self)

    def save_buffer(self) -> memoryview:
        """These labels as the bytes of a file."""
        from nablatom import io

        return io.save_buffer(self)

    @staticmethod
    def load(file: str | PathLike[str] | BinaryIO) -> Labels:
        """Read labels from a file."""
        from nablatom import io

        return io.load_labels(file)

    @staticmethod
    def load_buffer(buffer: bytes | bytearray | memoryview) -> Labels:
        """Read labels from the bytes of a file."""
        from nablatom import io

        return io.load_labels_buffer(buffer)

    # -- checks ------------------------------------------------------------------------

    def _check_unique(self) -> None:
        if len(self) <= _FEW:
            table = [tuple(row) for row in self._values.tolist()]
            if len(set(table)) == len(table):
                return
        duplicate = rows.first_duplicate(self._values)
        if duplicate is not None:
            raise ValueError(
                f"entries must be unique, but {self.entry(duplicate).print()} occurs more than "
                f"once (the second time at index {duplicate})"
            )

    def _check_same_names(self, other: Labels, operation: str) -> None:
        _check_labels(f"the other operand of the {operation}", other)
        if self._names != other._names:
            raise ValueError(
                f"the {operation} of labels needs the same dimensions in the same order, "
                f"got {self.names} and {other.names}"
            )


# Up to this many entries Python's own sets and dictionaries beat packing and sorting.
_FEW = 256
# So many scans cost less than sorting the rows once.
_SCANS = 8


def _check_labels(what: str, given: object) -> None:
    if not isinstance(given, Labels):
        raise TypeError(f"{what} must be Labels, got {type(given).__name__}")


def _unpickled(names: tuple[str, ...], values: NDArray[np.int32]) -> Labels:
    return Labels.unchecked(names, np.ascontiguousarray(values))
