"""What modules that add derivatives to an energy model have in common."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nablatom.models import GraphModuleMixin
from nablatom.outputs.derivatives import Model, makes_graph

__all__ = ["adopt", "wants_graph"]


def adopt(
    module: GraphModuleMixin,
    func: torch.nn.Module,
    *,
    of: str,
    gives: Mapping[str, str | None],
    reads: Mapping[str, str] | None = None,
) -> None:
    """Give a module the irreps, cutoff, hops and types of the model that it wraps.

    Parameters
    ----------
    of
        The scalar output of the model that is differentiated.
    gives, reads
        Field → irreps of what the module adds, and of what it reads besides the model.

    Raises
    ------
    TypeError
        If what is wrapped is no graph module.
    ValueError
        If it does not give ``of``, or ``of`` rotates.
    """
    if not isinstance(func, GraphModuleMixin):
        raise TypeError(
            f"{type(module).__name__} wraps a graph module, got {type(func).__name__}; for any "
            "other function, take the function instead of the module"
        )
    irreps = func.irreps_out.get(of)
    if irreps is None or any(irrep.l > 0 for _, irrep in irreps):
        given = ", ".join(f"{key} ({x})" for key, x in func.irreps_out.items())
        raise ValueError(
            f"{type(module).__name__} needs a model that gives scalars {of!r}; "
            f"{type(func).__name__} gives {given}"
        )
    module._init_irreps(
        {**(reads or {}), **func.irreps_in}, irreps_out={**func.irreps_out, **gives}
    )
    module.cutoff, module.hops, module.type_names = func.cutoff, func.hops, func.type_names


def wants_graph(model: Model, data: Mapping[str, torch.Tensor], create_graph: bool | None) -> bool:
    """What was asked for, or else whether a model is trained or an input needs gradients."""
    return makes_graph(model, data) if create_graph is None else create_graph
