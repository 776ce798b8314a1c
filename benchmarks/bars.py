"""A measured figure and the bar it has to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["AtMost", "Bar", "Bound", "Faster", "Figure", "Limit", "Near", "NoBar"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one call took, in ``unit``; ``None`` where there is nothing to compare with.

    ``first`` is the first call on new inputs, ``bound`` the time to move the bytes that the call
    must move, ``fresh`` and ``resident`` the copy bandwidths of these rounds in bytes per second.
    """

    group: str
    name: str
    bar: Bar
    ours: float
    peer: float | None = None
    first: float | None = None
    bound: float | None = None
    fresh: float | None = None
    resident: float | None = None
    unit: str = "s"
    failure: str | None = None

    @property
    def faster(self) -> float | None:
        """How many times the peer's figure is ours."""
        return None if self.peer is None or self.ours <= 0 else self.peer / self.ours

    @property
    def over_bound(self) -> float | None:
        """How many times our figure is the bound."""
        return None if self.bound is None else self.ours / self.bound

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; ``None`` where nothing is asked or nothing to compare."""
        return False if self.failure else self.bar.reached(self)


class Bar(Protocol):
    """Text of a bar, and whether a figure reaches it (``None``: nothing is asked)."""

    def __str__(self) -> str: ...

    def reached(self, figure: Figure) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Faster:
    """At least ``times`` faster than the peer."""

    times: float

    def __str__(self) -> str:
        return f"≥ {self.times:g} × faster" if self.times > 1 else "not slower"

    def reached(self, figure: Figure) -> bool | None:
        return None if figure.faster is None else figure.faster >= self.times


@dataclass(frozen=True, slots=True)
class AtMost:
    """At most ``times`` the other side's figure."""

    times: float

    def __str__(self) -> str:
        return f"≤ {self.times:g} × the other"

    def reached(self, figure: Figure) -> bool | None:
        return None if figure.peer is None else figure.ours <= self.times * figure.peer


@dataclass(frozen=True, slots=True)
class Bound:
    """At most ``times`` the time of copying the bytes that a call must read and write."""

    times: float

    def __str__(self) -> str:
        return f"≤ {self.times:g} × bound"

    def reached(self, figure: Figure) -> bool | None:
        return None if figure.over_bound is None else figure.over_bound <= self.times


@dataclass(frozen=True, slots=True)
class Near:
    """Not slower than the peer; at most ``times`` the bound where the peer is over 2 times."""

    times: float

    def __str__(self) -> str:
        return f"not slower; ≤ {self.times:g} × bound where the peer is over 2"

    def reached(self, figure: Figure) -> bool | None:
        if figure.faster is None or figure.peer is None:
            return None
        if figure.bound is not None and figure.peer > 2 * figure.bound:
            return figure.faster >= 1 and figure.ours <= self.times * figure.bound
        return figure.faster >= 1


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``limit``, in the unit of the figure."""

    limit: float
    text: str

    def __str__(self) -> str:
        return self.text

    def reached(self, figure: Figure) -> bool | None:
        return figure.ours <= self.limit


@dataclass(frozen=True, slots=True)
class NoBar:
    """Nothing is asked: the figure is there to be seen."""

    def __str__(self) -> str:
        return "—"

    def reached(self, figure: Figure) -> bool | None:
        return None
