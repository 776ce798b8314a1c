"""Functions of the length of an edge: Bessel functions that end smoothly at the cutoff."""

from __future__ import annotations

import torch

__all__ = ["BesselBasis", "envelope"]


def envelope(x: torch.Tensor, power: float) -> torch.Tensor:
    """A polynomial from 1 at 0 to 0 from ``x = 1`` on, with two continuous derivatives.

    ``1 - x^p [(p+1)(p+2)/2 - p(p+2) x + p(p+1)/2 x²]``.

    Parameters
    ----------
    x
        Lengths over the cutoff, of any shape.
    power
        ``p``: the larger, the later it falls.

    Examples
    --------
    >>> envelope(torch.tensor([0.0, 0.5, 1.0, 2.0]), 6)
    tensor([1.0000, 0.8555, 0.0000, 0.0000])

    References
    ----------
    Gasteiger, Groß, Günnemann, ICLR 2020 (arXiv:2003.03123).
    """
    p = float(power)
    inner = (p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2))
    return torch.where(x < 1, 1 - x.pow(p) * inner, 0.0)


class BesselBasis(torch.nn.Module):
    """``2/cutoff² · sin(n π r / cutoff) / (r / cutoff)`` times the envelope, for n = 1 … size.

    Parameters
    ----------
    cutoff
        Å.
    size
        Number of functions.
    power
        Of the `envelope`.
    trainable
        Whether the frequencies ``n`` are parameters.

    References
    ----------
    Gasteiger, Groß, Günnemann, ICLR 2020 (arXiv:2003.03123).
    """

    frequencies: torch.Tensor

    def __init__(
        self,
        cutoff: float,
        size: int = 8,
        power: float = 6,
        *,
        trainable: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.cutoff, self.power = cutoff, power
        frequencies = torch.arange(1, size + 1, dtype=dtype)
        if trainable:
            self.frequencies = torch.nn.Parameter(frequencies)
        else:
            self.register_buffer("frequencies", frequencies)

    def forward(self, lengths: torch.Tensor) -> torch.Tensor:
        """(..., 1) in Å → (..., size)."""
        x = lengths / self.cutoff
        n = self.frequencies.to(x.dtype)
        factor = 2 * torch.pi / self.cutoff**2
        return torch.sinc(x * n) * n * (factor * envelope(x, self.power))
