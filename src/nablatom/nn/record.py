"""Named tuples with any names, which worker processes can send."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, SupportsIndex

__all__ = ["Record", "record"]


class Record(tuple[Any, ...]):
    """Values by name: ``batch.energy``, ``batch["energy"]`` or ``batch[0]``."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __new__(cls, *values: Any) -> Record:
        """The record of these values, in the order of its names."""
        if len(values) != len(cls._fields):
            raise TypeError(f"expected {len(cls._fields)} values, got {len(values)}")
        return super().__new__(cls, values)

    def __getitem__(self, index: SupportsIndex | slice | str) -> Any:
        if isinstance(index, str):
            try:
                return super().__getitem__(self._fields.index(index))
            except ValueError:
                raise KeyError(f"no field {index!r}; there are {', '.join(self._fields)}") from None
        return super().__getitem__(index)

    def __repr__(self) -> str:
        names = [name if _is_name(name) else repr(name) for name in self._fields]
        pairs = map("{}={!r}".format, names, self)
        return f"{type(self).__name__}({', '.join(pairs)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # a class that was made at run time is made again by those who load it
        return _made, (type(self).__name__, self._fields, tuple(self))

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Record:
        return cls(*values)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **values: Any) -> Record:
        if unknown := values.keys() - set(self._fields):
            raise TypeError(f"no fields {sorted(unknown)}; there are {', '.join(self._fields)}")
        return self._make((self._asdict() | values).values())


@cache
def record(kind: str, names: tuple[str, ...]) -> type[Record]:
    """The class of records with these names; the same for the same names."""
    own = {name: property(itemgetter(i)) for i, name in enumerate(names) if _is_name(name)}
    contents = {"__slots__": (), "_fields": names, "__match_args__": names, **own}
    return type(kind, (Record,), contents)


def _made(kind: str, names: tuple[str, ...], values: Sequence[Any]) -> Record:
    return record(kind, names)(*values)


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)
