"""Activations that keep equivariance: scalars open and close what is no scalar."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from nablatom.models import jets
from nablatom.models.irreps import Irreps, nn

__all__ = ["Features", "Gate"]

Features = dict[str, torch.Tensor]
"""Irrep, as ``"1o"`` → (atoms, 2l + 1, multiplicity)."""

Function = Callable[[torch.Tensor], torch.Tensor]


class Gate(torch.nn.Module):
    """Scalars through an activation; everything else times a scalar that went through one.

    Even scalars go through SiLU, odd ones through tanh, both scaled so that normally distributed
    numbers keep their second moment.

    Parameters
    ----------
    irreps_out
        Scalars first, ``0e`` among them, every irrep once.

    Attributes
    ----------
    irreps_in
        Sorted; the even scalars also hold one gate for every feature that is no scalar.

    References
    ----------
    Weiler et al., NeurIPS 2018 (arXiv:1807.02547).
    """

    moments: torch.Tensor

    def __init__(self, irreps_out: Irreps, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.irreps_out = Irreps(irreps_out)
        # Plain names and numbers, as compiled code cannot look into irreps.
        self._gated = [str(ir) for _, ir in self.irreps_out if ir.l > 0]
        self._gates = [mul for mul, ir in self.irreps_out if ir.l > 0]
        wider = [
            (mul + sum(self._gates) if str(ir) == "0e" else mul, ir) for mul, ir in self.irreps_out
        ]
        self.irreps_in = Irreps(wider).sort().irreps
        # Saved with the weights: they come from a sample, and others may draw another one.
        self.register_buffer("moments", torch.tensor(_moment_scales(), dtype=dtype))

    def forward(self, features: Features) -> Features:
        """Features of ``irreps_in`` → of ``irreps_out``."""
        return self._activated(features, lambda function, x: function(x), torch.mul)

    def of_jets(self, features: Features) -> Features:
        """The same for jets, (atoms, 2l + 1, 1 + motions, multiplicity)."""
        return self._activated(features, jets.apply, jets.product)

    def _activated(
        self,
        features: Features,
        apply: Callable[[Function, torch.Tensor], torch.Tensor],
        product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Features:
        even = apply(torch.nn.functional.silu, features["0e"]) * self.moments[0]
        sizes = [even.shape[-1] - sum(self._gates), *self._gates]
        scalars, *gates = even.split_with_sizes(sizes, -1)
        result = {"0e": scalars}
        if "0o" in features:
            result["0o"] = apply(torch.tanh, features["0o"]) * self.moments[1]
        for name, gate in zip(self._gated, gates, strict=True):
            result[name] = product(features[name], gate)
        return result


@cache
def _moment_scales() -> tuple[float, float]:
    """The factors that e3nn puts before SiLU and tanh."""
    activations = nn.Activation("0e + 0o", [torch.nn.functional.silu, torch.tanh]).acts
    silu, tanh = (float(activation.cst) for activation in activations)
    return silu, tanh
