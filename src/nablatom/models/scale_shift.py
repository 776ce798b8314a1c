"""Energies of atoms from numbers of order one: a scale and a shift for every element."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["ScaleShift"]


class ScaleShift(torch.nn.Module):
    """``scale[type] · x + shift[type]``, in the precision of ``x``.

    Parameters
    ----------
    scales, shifts
        One for every type, eV. The shift is the energy of an atom without neighbors.
    trainable_scales, trainable_shifts
        Whether they are parameters.
    """

    scales: torch.Tensor
    shifts: torch.Tensor

    def __init__(
        self,
        scales: Sequence[float],
        shifts: Sequence[float],
        *,
        trainable_scales: bool = False,
        trainable_shifts: bool = False,
    ) -> None:
        super().__init__()
        for name, values, trainable in (
            ("scales", scales, trainable_scales),
            ("shifts", shifts, trainable_shifts),
        ):
            column = torch.tensor(values, dtype=torch.float64)[:, None]
            if trainable:
                self.register_parameter(name, torch.nn.Parameter(column))
            else:
                self.register_buffer(name, column)

    def forward(self, x: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """(atoms, 1) and (atoms,) → (atoms, 1)."""
        return self.shifts.to(x.dtype)[types] + self.scaled(x, types)

    def scaled(self, x: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Differences of energies, which no shift changes: (atoms, …) → (atoms, …)."""
        return self.scales.to(x.dtype)[types] * x
