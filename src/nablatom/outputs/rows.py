"""What every way to partial forces takes and gives, and how they check themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import Model
from nablatom.outputs.reach import Edges, Reach

__all__ = ["DECLARE", "ENERGY", "POSITIONS", "Found", "Rows", "Task", "index", "joined", "stacked"]

POSITIONS = "positions"
ENERGY = AtomicDataDict.PER_ATOM_ENERGY_KEY
DECLARE = (
    "declare the number of its message-passing layers as hops, or delete the attribute: "
    "then derivatives by all atoms are computed"
)

Found = dict[str, torch.Tensor]
"""Derivatives by name: ``positions`` (entries, 3), ``strain`` and ``cell`` (targets, 3, 3).

Parts of the rows have the energies, (targets,), beside them.
"""


@dataclass(frozen=True, eq=False, slots=True)
class Task:
    """Energies to differentiate.

    Attributes
    ----------
    model, data
        Gives energies of atoms; one frame or many, with neighbors.
    reach, edges
        The targets and what they depend on; all edges.
    wrt
        Any of ``positions``, ``strain`` and ``cell``.
    graph
        Whether results are to be differentiable.
    batch_edges
        Edges that are differentiated together, where that can be chosen.
    """

    model: Model
    data: AtomicDataDict.Type
    reach: Reach
    edges: Edges
    wrt: Sequence[str]
    graph: bool
    batch_edges: int

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.data[AtomicDataDict.POSITIONS_KEY].device

    @property
    def rounding(self) -> float:
        """Relative error of one operation, in the least precise numbers that the model uses."""
        numbers = [self.data[AtomicDataDict.POSITIONS_KEY]]
        if isinstance(self.model, torch.nn.Module):
            numbers += [x for x in self.model.state_dict().values() if x.is_floating_point()]
        return max(torch.finfo(x.dtype).eps for x in numbers)


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Energies of the targets with their derivatives.

    Attributes
    ----------
    reach
        The targets and what they depend on.
    energies : (targets,)
    derivatives
        By name.
    outputs
        What else the model returned, if it was evaluated as a whole.
    """

    reach: Reach
    energies: torch.Tensor
    derivatives: Found
    outputs: AtomicDataDict.Type | None = None


def joined(task: Task, parts: Iterable[Found]) -> Rows:
    """The rows of all targets from those of some at a time, in order, their energies included."""
    found = stacked(task, parts)
    return Rows(task.reach, found.pop(ENERGY), found)


def stacked(task: Task, parts: Iterable[Found]) -> Found:
    """Derivatives of some targets after those of others.

    Without a graph each part is written to its place and forgotten, so that there is never more
    than the result and one part.
    """
    if task.graph:
        found = list(parts)
        return {name: torch.cat([each[name] for each in found]) for name in found[0]}
    result: Found = {}
    written: dict[str, int] = {}
    for part in parts:
        for name, x in part.items():
            count = len(task.reach.atom) if name == POSITIONS else len(task.reach)
            whole = result.setdefault(name, x.new_empty(count, *x.shape[1:]))
            start = written.get(name, 0)
            written[name] = start + len(x)
            whole[start : written[name]] = x
    return result


def index(rows: NDArray[np.integer], device: torch.device) -> torch.Tensor:
    """Indices for torch."""
    return torch.from_numpy(np.ascontiguousarray(rows, np.int64)).to(device)
