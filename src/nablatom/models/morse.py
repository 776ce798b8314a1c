"""The Morse potential."""

from collections.abc import Sequence

from numpy.typing import ArrayLike
from torch import Tensor

from nablatom.models.pair import ONSET, PairPotential, arithmetic, geometric, of_pairs, pair_table
from nablatom.models.switching import Smoothstep, Switch

__all__ = ["Morse"]


class Morse(PairPotential):
    """``u(r) = D [(1 - exp(-α (r - r_0)))² - 1]`` between pairs of atoms.

    Parameters
    ----------
    types
        Element symbols.
    depth, alpha, distance
        ``D`` in eV, ``α`` in 1/Å and ``r_0`` in Å: one number, one for each type (two types
        have the geometric mean of their depths and the means of the others), or a symmetric
        (types, types) table. They are frozen parameters; ``requires_grad_()`` makes them
        trainable.
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
    >>> from ase.build import molecule
    >>> from nablatom.models import AtomicDataDict, Morse
    >>> hydrogen = Morse(["H"], depth=4.75, alpha=1.94, distance=0.741, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(molecule("H2"), cutoff=4.0)
    >>> round(hydrogen(data)["total_energy"].item(), 2)
    -4.75

    References
    ----------
    Morse, Phys. Rev. 34, 57 (1929).
    """

    def __init__(
        self,
        types: Sequence[str],
        depth: ArrayLike,
        alpha: ArrayLike,
        distance: ArrayLike,
        *,
        cutoff: float,
        switch: Switch | None = None,
    ) -> None:
        super().__init__(types, cutoff, switch or Smoothstep(ONSET * cutoff))
        count = len(self.type_names)
        self.depth = pair_table("depth", depth, count, geometric)
        self.alpha = pair_table("alpha", alpha, count, arithmetic)
        self.distance = pair_table("distance", distance, count, arithmetic)

    def pair_energy(self, r: Tensor, pair_type: Tensor) -> Tensor:
        """``D (x² - 2 x)`` with ``x = exp(-α (r - r_0))``, (pairs,)."""
        stretch = r - of_pairs(self.distance, pair_type, r)
        x = (-of_pairs(self.alpha, pair_type, r) * stretch).exp()
        return of_pairs(self.depth, pair_type, r) * (x * x - 2.0 * x)
