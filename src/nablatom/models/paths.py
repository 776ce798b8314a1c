"""Paths of a convolution: which features and harmonics couple to which messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import torch

from nablatom.models.irreps import Irreps, o3

__all__ = ["Path", "coupling", "message_sizes", "paths", "reachable"]


@dataclass(frozen=True, slots=True)
class Path:
    """``l1 x l2 -> l3``, for features of ``l1`` that stand beside each other.

    Attributes
    ----------
    sources, targets
        Irreps of the features, as ``"1o"``, and those of the messages they become.
    sizes
        Multiplicities.
    start
        The first column among all features of this ``l1`` that have a use.
    """

    l1: int
    l2: int
    l3: int
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    start: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(self.sizes)

    @property
    def coupled(self) -> int:
        """Number of pairs of a component of the features and one of the messages."""
        return (2 * self.l1 + 1) * (2 * self.l3 + 1)


def paths(irreps_in: Irreps, l_max: int, wanted: Irreps) -> list[Path]:
    """All paths from these features by harmonics up to ``l_max`` to the wanted irreps.

    Examples
    --------
    >>> from e3nn.o3 import Irreps
    >>> [(p.l1, p.l2, p.l3, p.targets) for p in paths(Irreps("4x0e + 4x1o"), 1, Irreps("4x0e"))]
    [(0, 0, 0, ('0e',)), (1, 1, 0, ('0e',))]
    """
    names = {str(ir) for _, ir in wanted}
    every = _paths(irreps_in, l_max, names)
    used = {source for path in every for source in path.sources}
    return _paths([(mul, ir) for mul, ir in irreps_in if str(ir) in used], l_max, names)


def reachable(irreps_in: Irreps, l_max: int, wanted: Irreps) -> Irreps:
    """Of the wanted irreps those that some path leads to; scalars first."""
    ends = {target for path in paths(irreps_in, l_max, wanted) for target in path.targets}
    found = [(mul, ir) for mul, ir in wanted if str(ir) in ends]
    return Irreps(sorted(found, key=lambda item: item[1].l > 0))


def message_sizes(plan: Sequence[Path]) -> dict[str, int]:
    """Number of columns of the messages of each irrep."""
    total: dict[str, int] = {}
    for path in plan:
        for target, size in zip(path.targets, path.sizes, strict=True):
            total[target] = total.get(target, 0) + size
    return total


def coupling(plan: Sequence[Path], l_max: int) -> torch.Tensor:
    """Clebsch-Gordan coefficients, ((l_max + 1)², Σ (2 l1 + 1) (2 l3 + 1)), path by path."""
    columns = []
    for path in plan:
        block = torch.zeros((l_max + 1) ** 2, path.coupled, dtype=torch.float64)
        coefficients = o3.wigner_3j(path.l1, path.l2, path.l3, dtype=torch.float64)
        here = slice(path.l2**2, (path.l2 + 1) ** 2)
        block[here] = coefficients.transpose(0, 1).flatten(1) * sqrt(2 * path.l3 + 1)
        columns.append(block)
    return torch.cat(columns, -1)


def _paths(irreps_in: Iterable[tuple[int, o3.Irrep]], l_max: int, wanted: set[str]) -> list[Path]:
    return [
        path
        for l1 in dict.fromkeys(ir.l for _, ir in irreps_in)
        for l2 in range(l_max + 1)
        for l3 in range(abs(l1 - l2), l1 + l2 + 1)
        for path in _runs(irreps_in, (l1, l2, l3), wanted)
    ]


def _runs(
    irreps_in: Iterable[tuple[int, o3.Irrep]], ls: tuple[int, int, int], wanted: set[str]
) -> Iterator[Path]:
    """Paths for these angular momenta: one for every run of features that have a use."""
    first = stop = 0
    run: list[tuple[str, str, int]] = []
    for mul, ir in irreps_in:
        if ir.l != ls[0]:
            continue
        target = str(o3.Irrep(ls[2], ir.p * (-1) ** ls[1]))
        if target in wanted:
            first = first if run else stop
            run.append((str(ir), target, mul))
        elif run:
            yield _path(ls, run, first)
            run = []
        stop += mul
    if run:
        yield _path(ls, run, first)


def _path(ls: tuple[int, int, int], run: Sequence[tuple[str, str, int]], start: int) -> Path:
    sources, targets, sizes = zip(*run, strict=True)
    return Path(*ls, sources, targets, sizes, start)
