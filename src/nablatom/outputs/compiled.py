"""Derivatives compiled, and models exported with their derivatives.

``torch.compile`` cannot differentiate what it has compiled twice, as training on forces asks
for; but it can compile a function that takes the derivative itself, in functional form
(``torch.func.grad``), as one graph. That graph is then differentiated by the parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import (
    READ,
    Derivatives,
    Model,
    chosen,
    makes_graph,
    point_of,
    returned,
    usable,
)

__all__ = ["Compiled", "Totals", "arranged", "compiled_derivatives", "slopes", "totals"]

Fields = dict[str, torch.Tensor]


class Totals(NamedTuple):
    """The sums of :class:`~nablatom.outputs.Derivatives` that compiled code gives.

    Attributes
    ----------
    outputs
        What the model returned.
    data
        What it was given.
    positions : (atoms, 3)
    strain : (frames, 3, 3)
    """

    outputs: Fields
    data: Fields
    positions: torch.Tensor
    strain: torch.Tensor


class Compiled:
    """A function that is compiled when it is first called, once for each copy of this object.

    Copies and pickles leave the compiled code behind.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        if self._compiled is None:
            self._compiled = _compile(self.function)
        return self._compiled(*arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function, "_compiled": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def compiled_derivatives(
    compiled: Compiled,
    model: Model,
    data: AtomicDataDict.Type,
    *,
    of: str = AtomicDataDict.TOTAL_ENERGY_KEY,
    create_graph: bool | None = None,
) -> Totals:
    """As :func:`~nablatom.outputs.pair_derivatives`, by compiled :func:`totals`."""
    graph = makes_graph(model, data) if create_graph is None else create_graph
    with torch.inference_mode(False), torch.set_grad_enabled(graph):
        point = point_of(usable(arranged(model, sized(data))))
        outputs, positions, strain = compiled(model, point, of)
    return Totals(returned(data | outputs, data, graph), data, positions, strain)


def totals(model: Model, point: Fields, of: str) -> tuple[Fields, torch.Tensor, torch.Tensor]:
    """What the model adds to a point, and the derivatives by positions and strain."""
    wrt = [key for key in READ if key in point]
    outputs, found = slopes(model, point, of, wrt)
    vectors, positions, cell = (found.get(key) for key in READ)
    assert vectors is not None
    cell = None if cell is None else cell.reshape(-1, 3, 3)
    derivatives = Derivatives(outputs, point, vectors, positions, cell)
    return outputs, derivatives.positions, derivatives.strain


def slopes(model: Model, point: Fields, of: str, wrt: Sequence[str]) -> tuple[Fields, Fields]:
    """What the model adds to a point, and the derivative of an output by each of its fields."""

    def scalar(leaves: Fields) -> tuple[torch.Tensor, Fields]:
        outputs = model({**point, **leaves})
        new = {k: x for k, x in outputs.items() if k not in wrt and x is not point.get(k)}
        return chosen(outputs, of).sum(), new

    found, outputs = torch.func.grad(scalar, has_aux=True)({key: point[key] for key in wrt})
    return outputs, found


def sized(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """Batches with ``num_atoms``, so that the number of frames is a shape and not a value."""
    if AtomicDataDict.BATCH_KEY not in data or AtomicDataDict.NUM_NODES_KEY in data:
        return data
    frames = AtomicDataDict.num_frames(data)
    atoms = torch.bincount(data[AtomicDataDict.BATCH_KEY], minlength=frames)
    return data | {AtomicDataDict.NUM_NODES_KEY: atoms}


def arranged(model: Model, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The data with what a part of the model makes of values before it is compiled."""
    for part in model.modules() if isinstance(model, torch.nn.Module) else ():
        arrange = getattr(part, "arranged", None)
        data = data if arrange is None else arrange(data)
    return data


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """One graph for all sizes."""
    options: dict[str, Any] = {"fullgraph": True, "dynamic": True}
    # Models that share this function do not share the number of times it may be compiled.
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        options["isolate_recompiles"] = True
    return torch.compile(function, **options)
