"""Samples of named fields, in memory or made when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import torch

from nablatom.nn.record import Record, record

__all__ = ["Dataset", "Field", "IndexedDataset"]

Field = Sequence[Any] | Callable[[Any], Any]
"""One value for each sample, or a function that makes the value of a sample."""


class _Samples(torch.utils.data.Dataset[Record]):
    """Fields of the same length, read by the row and by what the row is called."""

    def __init__(self, fields: Mapping[str, Field], names: Sequence[Any]) -> None:
        for name, field in fields.items():
            _check_field(name, field, len(names))
        self._fields = dict(fields)
        self._names = names
        self._field_names = tuple(map(str, fields))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: SupportsIndex) -> Record:
        """The fields of one sample, from 0 to one less than the length."""
        row = operator.index(index)
        if not 0 <= row < len(self):
            raise IndexError(f"no sample {row}: there are {len(self)}, counted from 0")
        values = [self._value(name, field, row) for name, field in self._fields.items()]
        return record("Sample", self._field_names)(*values)

    def _value(self, name: str, field: Field, row: int) -> Any:
        if not callable(field):
            return field[row]
        try:
            return field(self._names[row])
        except Exception as error:
            error.add_note(f"in the field {name!r} of sample {self._names[row]!r}")
            raise


class Dataset(_Samples):
    """Samples of named fields, counted from 0.

    Parameters
    ----------
    size
        The number of samples, if no field is a list.
    **kwargs
        The fields: lists with one value for each sample, all of the same type, or functions
        that take the number of a sample and return its value when it is asked for.

    Raises
    ------
    TypeError
        If a field is neither list nor function, or if its values are of different types.
    ValueError
        If fields have different lengths, or if there is none to tell the size.
    IndexError
        When asked for a sample that does not exist.

    Examples
    --------
    >>> dataset = Dataset(number=[1, 2, 3], square=lambda i: (i + 1) ** 2)
    >>> dataset[1]
    Sample(number=2, square=4)
    >>> [sample.square for sample in dataset]
    [1, 4, 9]
    """

    def __init__(self, size: int | None = None, **kwargs: Field) -> None:
        if "sample_id" in kwargs:
            raise ValueError("samples of a Dataset are counted; for sample_id take IndexedDataset")
        super().__init__(kwargs, range(_size(kwargs, size)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Field], size: int | None = None) -> Dataset:
        """The same for fields whose names are no identifiers: ``sample["any name"]``."""
        if "sample_id" in data:
            raise ValueError("samples of a Dataset are counted; for sample_id take IndexedDataset")
        self = cls.__new__(cls)
        _Samples.__init__(self, data, range(_size(data, size)))
        return self


class IndexedDataset(_Samples):
    """Samples of named fields with identifiers of their own.

    Parameters
    ----------
    sample_id
        One identifier for each sample; it is the first field.
    **kwargs
        The fields: lists with one value for each sample, all of the same type, or functions
        that take an identifier and return the value of that sample.

    Raises
    ------
    TypeError, ValueError, IndexError
        As for :class:`Dataset`; or if two samples have the same identifier.

    Examples
    --------
    >>> dataset = IndexedDataset(["cat", "dog"], legs=[4, 4], length=lambda name: len(name))
    >>> dataset.get_sample("dog")
    Sample(sample_id='dog', legs=4, length=3)
    """

    def __init__(self, sample_id: Sequence[Hashable], **kwargs: Field) -> None:
        if "size" in kwargs:
            raise ValueError("the size is that of sample_id; for counted samples take Dataset")
        self._index(sample_id, kwargs)

    @classmethod
    def from_dict(cls, data: Mapping[str, Field], sample_id: Sequence[Hashable]) -> IndexedDataset:
        """The same for fields whose names are no identifiers: ``sample["any name"]``."""
        self = cls.__new__(cls)
        self._index(sample_id, data)
        return self

    def _index(self, sample_id: Sequence[Hashable], fields: Mapping[str, Field]) -> None:
        self._places = {name: i for i, name in enumerate(sample_id)}
        if len(self._places) < len(sample_id):
            twice = next(x for i, x in enumerate(sample_id) if self._places[x] != i)
            raise ValueError(f"sample_id must be unique, but {twice!r} occurs more than once")
        super().__init__({"sample_id": sample_id, **fields}, sample_id)

    def get_sample(self, sample_id: Hashable) -> Record:
        """The fields of the sample with this identifier.

        Raises
        ------
        KeyError
            If there is none.
        """
        if sample_id not in self._places:
            raise KeyError(f"no sample {sample_id!r} in this dataset of {len(self)}")
        return self[self._places[sample_id]]


def _check_field(name: str, field: Field, size: int) -> None:
    if callable(field):
        return
    if _length(name, field) != size:
        raise ValueError(f"the field {name!r} has {len(field)} values for {size} samples")
    for i, value in enumerate(field):
        # identifiers may be mixed
        if name != "sample_id" and not isinstance(value, type(field[0])):
            raise TypeError(
                f"the values of {name!r} must be of one type: the first is "
                f"{type(field[0]).__name__}, number {i} is {type(value).__name__}"
            )


def _length(name: str, field: object) -> int:
    if not isinstance(field, Sequence) or isinstance(field, str | bytes):
        raise TypeError(
            f"the field {name!r} must be a list with one value for each sample, or a function, "
            f"got {type(field).__name__}"
        )
    return len(field)


def _size(fields: Mapping[str, Field], size: int | None) -> int:
    if size is not None:
        return size
    for name, field in fields.items():
        if not callable(field):
            return _length(name, field)
    raise ValueError("no field is a list: give the number of samples as size")
