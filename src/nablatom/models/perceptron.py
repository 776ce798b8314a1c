"""Layers of scalars without bias, so that zero goes in and zero comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import sqrt

import torch

from nablatom.models import jets

__all__ = ["Perceptron"]


class Perceptron(torch.nn.Module):
    """Matrices with SiLU between them, scaled so that entries stay of order one.

    Parameters
    ----------
    sizes
        Of what goes in, of the hidden layers, of what comes out.

    Examples
    --------
    >>> Perceptron([8, 16, 1])(torch.zeros(2, 8, dtype=torch.float64)).tolist()
    [[0.0], [0.0]]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        dtype: torch.dtype = torch.float64,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList(
            uniform(before, after, dtype=dtype, generator=generator)
            for before, after in pairwise(sizes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., first size) → (..., last size)."""
        return self._layers(x, torch.nn.functional.silu)

    def of_jets(self, x: torch.Tensor) -> torch.Tensor:
        """The same for jets, (..., 1 + motions, first size)."""
        return self._layers(x, partial(jets.apply, torch.nn.functional.silu))

    def _layers(
        self, x: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        for layer, weight in enumerate(self.weights):
            # SiLU halves the second moment, about
            gain = sqrt(2) if layer else 1.0
            x = activation(x) if layer else x
            x = x @ (weight * (gain / sqrt(len(weight))))
        return x


def uniform(
    *shape: int, dtype: torch.dtype, generator: torch.Generator | None = None
) -> torch.nn.Parameter:
    """Uniformly distributed numbers of mean 0 and variance 1."""
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
    return torch.nn.Parameter(((2 * drawn - 1) * sqrt(3)).to(dtype))
