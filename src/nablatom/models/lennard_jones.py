"""The Lennard-Jones potential."""

from collections.abc import Sequence

from numpy.typing import ArrayLike
from torch import Tensor

from nablatom.models.pair import ONSET, PairPotential, arithmetic, geometric, of_pairs, pair_table
from nablatom.models.switching import Smoothstep, Switch

__all__ = ["LennardJones"]


class LennardJones(PairPotential):
    """``u(r) = 4 ε [(σ/r)¹² - (σ/r)⁶]`` between pairs of atoms.

    Parameters
    ----------
    types
        Element symbols.
    epsilon, sigma
        eV and Å: one number, one for each type (mixed by the Lorentz-Berthelot rule,
        ``ε_ij = √(ε_i ε_j)``, ``σ_ij = (σ_i + σ_j)/2``), or a symmetric (types, types) table.
        They are frozen parameters; ``requires_grad_()`` makes them trainable.
    cutoff
        Å.
    switch
        How the energy ends: by default `Smoothstep` from 0.8 of the cutoff.

    Raises
    ------
    ValueError
        Parameters that do not fit the types, or a switch that begins beyond the cutoff.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.26), cutoff=argon.cutoff)
    >>> round(argon(data)["total_energy"].item(), 3)  # experiment: -0.080 eV
    -0.081

    References
    ----------
    Jones, Proc. R. Soc. A 106, 463 (1924).
    """

    def __init__(
        self,
        types: Sequence[str],
        epsilon: ArrayLike,
        sigma: ArrayLike,
        *,
        cutoff: float,
        switch: Switch | None = None,
    ) -> None:
        super().__init__(types, cutoff, switch or Smoothstep(ONSET * cutoff))
        count = len(self.type_names)
        self.epsilon = pair_table("epsilon", epsilon, count, geometric)
        self.sigma = pair_table("sigma", sigma, count, arithmetic)

    def pair_energy(self, r: Tensor, pair_type: Tensor) -> Tensor:
        """``4 ε [(σ/r)¹² - (σ/r)⁶]``, (pairs,)."""
        power = (of_pairs(self.sigma, pair_type, r) / r) ** 6
        return 4.0 * of_pairs(self.epsilon, pair_type, r) * (power * power - power)
