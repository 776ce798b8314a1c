"""A job, both libraries in turn: from rounds to a figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from types import ModuleType
from typing import Any

from benchmarks.agreement import assert_agreement
from benchmarks.bars import Figure
from benchmarks.clock import Bandwidth, loops_for, timed, warm_memory
from benchmarks.groups import Group, Job
from benchmarks.inputs import nbytes

__all__ = ["measure"]

ROUNDS = 15
PATIENCE = 5.0  # seconds after which a library has had its turns, its fewest apart


@dataclass(slots=True)
class Side:
    """One library at one job: seconds of its first and repeated calls, one of each per round."""

    library: ModuleType
    job: Job
    fewest: int
    memory: int
    first: list[float] = field(default_factory=list)
    repeated: list[float] = field(default_factory=list)
    spent: float = 0.0

    def has_turn(self) -> bool:
        played = len(self.first)
        return played < self.fewest or (played < ROUNDS and self.spent < PATIENCE)

    def begin(self, drawn: Any) -> tuple[partial[Any], Any]:
        """The call on new inputs, and the result of its first time."""
        start = perf_counter()
        call = partial(self.job.call, self.library, *self.job.inputs(self.library, drawn))
        warm_memory(self.memory)
        seconds, result = timed(call)
        self.first.append(seconds)
        self.spent += perf_counter() - start
        return call, result

    def repeat(self, call: partial[Any]) -> None:
        """The call again, as often as a round lasts; not where once was enough to know."""
        seconds = self.first[-1]
        if not self.job.first and seconds < PATIENCE / 2:
            start = perf_counter()
            estimate = self.repeated[-1] if self.repeated else timed(call)[0]
            warm_memory(self.memory)
            seconds, _ = timed(call, loops_for(estimate))
            self.spent += perf_counter() - start
        self.repeated.append(seconds)

    def median(self) -> float:
        return statistics.median(self.first if self.job.first else self.repeated)


def measure(
    group: Group, name: str, drawn: Any, *, ours: ModuleType, peer: ModuleType | None
) -> Figure:
    """Medians over rounds, in each of which both libraries and the copy have their turn.

    The results of the first round must agree before anything is repeated.
    """
    job = group.jobs[name]
    sides = [Side(ours, job, 5, group.memory)]
    if peer is not None and not job.alone:
        sides.append(Side(peer, job, 1, group.memory))
    bandwidth, traffic, per = Bandwidth(), 0, 1
    while sides[0].has_turn():
        turn = [side for side in sides if side.has_turn()]
        calls, results = zip(*(side.begin(drawn) for side in turn), strict=True)
        if len(sides[0].first) == 1:
            _assert_all_agree(results)
            per, traffic = _work(job, calls[0].args[1:], results[0])
        del results  # the large ones must be gone before the next call
        if traffic:
            warm_memory(group.memory)
            bandwidth.measure()
        for side, call in zip(turn, calls, strict=True):
            side.repeat(call)
        del calls, call
    medians = [side.median() / per for side in sides]
    return Figure(
        group.title,
        name,
        job.bar,
        ours=medians[0],
        peer=medians[1] if len(medians) == 2 else None,
        first=statistics.median(sides[0].first) / per,
        bound=bandwidth.seconds(traffic) if traffic else None,
        fresh=statistics.median(bandwidth.fresh) if traffic else None,
        resident=statistics.median(bandwidth.resident) if traffic else None,
    )


def _assert_all_agree(results: Sequence[Any]) -> None:
    for result in results[1:]:
        assert_agreement(results[0], result)


def _work(job: Job, inputs: Sequence[Any], result: Any) -> tuple[int, int]:
    """Number of things that a call works on, and the bytes it must move (0: not counted)."""
    traffic = job.reads(inputs, result) + nbytes(result) if job.reads is not None else 0
    return job.per(inputs), traffic
