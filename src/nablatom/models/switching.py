"""How a pair energy ends at the cutoff.

A switch turns the energy ``u(r)`` of a pair into one that is zero from the cutoff on.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Shifted", "Smoothstep", "Switch", "Xplor"]


class Switch(Protocol):
    """Energies of pairs, with the end at the cutoff."""

    def __call__(self, energy: Tensor, end: Tensor, r: Tensor, cutoff: float) -> Tensor:
        """The energy of each pair that is closer than the cutoff.

        Parameters
        ----------
        energy, end, r : (pairs,)
            ``u(r)``, ``u(cutoff)``, and the distances.
        """


@dataclass(frozen=True, slots=True)
class Shifted:
    """``u(r) - u(r_c)``: the energy ends at zero, the force jumps there by ``u'(r_c)``."""

    def __call__(
        self,
        energy: Tensor,
        end: Tensor,
        r: Tensor,  # noqa: ARG002
        cutoff: float,  # noqa: ARG002
    ) -> Tensor:
        """``u(r) - u(r_c)``, (pairs,)."""
        return energy - end


@dataclass(frozen=True, slots=True)
class Smoothstep:
    """``u(r) (1 - 10 x³ + 15 x⁴ - 6 x⁵)``, ``x`` from 0 at the onset to 1 at the cutoff.

    Energy, force and second derivative are continuous everywhere.

    Parameters
    ----------
    onset
        Å, below the cutoff; ``u`` is unchanged up to here.
    """

    onset: float

    def __call__(
        self,
        energy: Tensor,
        end: Tensor,  # noqa: ARG002
        r: Tensor,
        cutoff: float,
    ) -> Tensor:
        """The energies times the step, (pairs,)."""
        x = ((r - self.onset) / (cutoff - self.onset)).clamp(0.0, 1.0)
        return energy * (1.0 - x**3 * (10.0 - x * (15.0 - 6.0 * x)))


@dataclass(frozen=True, slots=True)
class Xplor:
    """``u(r) (r_c² - r²)² (r_c² + 2 r² - 3 r_o²) / (r_c² - r_o²)³`` beyond the onset ``r_o``.

    Energy and force are continuous. This is the smooth cutoff of ASE's Lennard-Jones.

    Parameters
    ----------
    onset
        Å, below the cutoff; ``u`` is unchanged up to here.
    """

    onset: float

    def __call__(
        self,
        energy: Tensor,
        end: Tensor,  # noqa: ARG002
        r: Tensor,
        cutoff: float,
    ) -> Tensor:
        """The energies times the polynomial, (pairs,)."""
        a, b = self.onset**2, cutoff**2
        s = (r * r).clamp(a, b)
        return energy * ((b - s) ** 2 * (b + 2.0 * s - 3.0 * a) / (b - a) ** 3)
