"""Two calls that answer the same question, in turn: from rounds to a figure.

For comparisons in which the two sides are not the same line of code: a peer with names of its
own, or another call of ours. A group is a function that takes whether sizes are reduced and
yields duels, or figures that were measured elsewhere (`benchmarks.processes.peak_memory`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.bars import Bar, Figure
from benchmarks.clock import loops_for, settle, timed

__all__ = ["Duel", "Duels", "figures"]

Call = Callable[[], Any]
SHORT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Duel:
    """One comparison.

    Parameters
    ----------
    name
        What is computed; names the other side too where it is not the peer.
    bar
        What it has to reach.
    ours, peer
        Take nothing and return the result; None where there is nothing to compare with.
    agree
        Takes both results and raises an AssertionError if they differ.
    rounds
        Both sides have one turn in each, after one that does not count.
    """

    name: str
    bar: Bar
    ours: Call
    peer: Call | None = None
    agree: Callable[[Any, Any], None] | None = None
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Duels:
    """A group of comparisons; ``by_default`` says whether a run of everything includes it."""

    title: str
    draw: Callable[[bool], Iterator[Duel | Figure]]
    by_default: bool = field(default=True, kw_only=True)


def figures(group: Duels, *, reduced: bool) -> Iterator[Figure]:
    """The figures of a group, in its order; one that fails does not keep others from coming."""
    for item in group.draw(reduced):
        if isinstance(item, Figure):
            yield replace(item, group=group.title)
            continue
        try:
            yield measured(group.title, item)
        except Exception as error:
            told = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
            yield Figure(group.title, item.name, item.bar, float("nan"), failure=told)


def measured(title: str, duel: Duel) -> Figure:
    """Medians over rounds in which both sides have their turn; their results agree first."""
    sides = [call for call in (duel.ours, duel.peer) if call is not None]
    first, results = zip(*(timed(call) for call in sides), strict=True)
    if duel.agree is not None and len(results) == 2:
        duel.agree(*results)
    del results  # large ones must be gone before the next call
    once = [timed(call)[0] for call in sides]
    seconds = [
        [after_settling(call, time) for call, time in zip(sides, once, strict=True)]
        for _ in range(duel.rounds)
    ]
    ours, *peer = (statistics.median(side) for side in zip(*seconds, strict=True))
    return Figure(title, duel.name, duel.bar, ours, peer=peer[0] if peer else None, first=first[0])


def after_settling(call: Callable[[], object], once: float) -> float:
    """Seconds per call of what takes about ``once``.

    It does not pay for what the other side has freed, nor for getting the memory back that it
    gave away itself, unless it takes so long that this hardly counts.
    """
    settle()
    if once < SHORT:
        call()
    return timed(call, loops_for(once))[0]
