"""e3nn, of any version from 0.4.4: irreducible representations of the rotations of space.

The one place that imports it. e3nn 0.4.4 reads its constants with ``torch.load``, which since
torch 2.6 accepts slices only when told to, and it still compiles with TorchScript.
"""

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TypeAlias

import torch

with warnings.catch_warnings(), getattr(torch.serialization, "safe_globals", nullcontext)([slice]):
    warnings.simplefilter("ignore", DeprecationWarning)
    from e3nn import nn, o3
    from e3nn.o3 import Irreps

__all__ = ["Irreps", "IrrepsLike", "irreps_of", "nn", "o3"]

IrrepsLike: TypeAlias = Irreps | str | None


def irreps_of(fields: Mapping[str, IrrepsLike] | None) -> dict[str, Irreps | None]:
    """Irreps of fields, parsed; ``None`` for a field that does not rotate, as edge indices.

    Raises
    ------
    ValueError
        Something is no irreps: names the field.

    Examples
    --------
    >>> irreps_of({"node_features": "4x0e+2x1o", "edge_index": None})
    {'node_features': 4x0e+2x1o, 'edge_index': None}
    """
    return {name: _parsed(name, irreps) for name, irreps in (fields or {}).items()}


def _parsed(name: str, irreps: IrrepsLike) -> Irreps | None:
    try:
        return None if irreps is None else Irreps(irreps)
    except ValueError as error:
        raise ValueError(
            f"the field {name!r} has irreps {irreps!r}; expected something like '8x0e + 4x1o', "
            "or None for what does not rotate"
        ) from error
