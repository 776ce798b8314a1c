"""What stands for an atom in the density of neighbors."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, roots_jacobi

__all__ = ["Delta", "Density", "Gaussian", "SmearedPowerLaw"]

Array = NDArray[np.float64]

# Gaussians that a power law is made of; 1/r smeared by 0.2 is exact to 1e-14 up to 25 away.
MEMBERS = 64


class Density(Protocol):
    """A smooth function of the distance, as a sum of Gaussians."""

    def __hash__(self) -> int: ...

    def gaussians(self) -> tuple[Array, Array]:
        """Weights ``w`` and exponents ``a`` of ``g(r) = sum w exp(-a r²)``."""


@dataclass(frozen=True)
class Delta:
    """All of the atom at its center, ``δ(r)``: nothing is smeared."""


@dataclass(frozen=True)
class Gaussian:
    """``g(r) = (π σ²)^(-3/4) exp(-r²/2σ²)``, whose square has the integral 1.

    Parameters
    ----------
    width : length
        ``σ``.
    """

    width: float

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"the width of a Gaussian must be positive, got {self.width}")

    def gaussians(self) -> tuple[Array, Array]:
        """One."""
        weight = (np.pi * self.width**2) ** -0.75
        return np.array([weight]), np.array([0.5 / self.width**2])


@dataclass(frozen=True)
class SmearedPowerLaw:
    """``g(r) = γ(p/2, r²/2σ²)/(Γ(p/2) r^p)``, which is ``1/r^p`` from a few ``σ`` on.

    It is a superposition of Gaussians, ``1/Γ(p/2) int_0^(1/2σ²) t^(p/2 - 1) exp(-t r²) dt``,
    and is evaluated as one.

    Parameters
    ----------
    smearing : length
        ``σ``.
    exponent
        ``p``: 1 for electric potentials, 6 for dispersion.

    References
    ----------
    Huguenin-Dumittan, Loche, Haoran, Ceriotti, J. Phys. Chem. Lett. 14, 9612 (2023).
    """

    smearing: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if not (self.smearing > 0 and self.exponent > 0):
            raise ValueError(f"expected smearing > 0 and exponent > 0, got {self}")

    def gaussians(self) -> tuple[Array, Array]:
        """Those of the integral, whose nodes ``t = u²/2σ²`` crowd where ``t`` is small."""
        half = self.exponent / 2
        nodes, weights = roots_jacobi(MEMBERS, 0.0, self.exponent - 1)
        u = (1 + nodes) / 2
        weights = weights * 2 * 0.5**self.exponent / gamma(half)  # dt of u² and of [-1, 1]
        return weights * (0.5 / self.smearing**2) ** half, u**2 * 0.5 / self.smearing**2
