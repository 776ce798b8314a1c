"""The potential of Stillinger and Weber, with two- and three-body terms.

In units of each pair's length ``σ`` (and ``x = r/σ``)::

    E_i = ½ sum_j ε A (B x_ij^-p - x_ij^-q) exp(1/(x_ij - a))
          + sum_(j<k) ε λ g_ij g_ik (cos θ_jik - c)²,       g_ij = exp(γ/(x_ij - a))

Because the square of the cosine is a contraction of tensors of single neighbors, the sum over
pairs of neighbors is one of neighbors only, ``sum_jk g_j g_k (û_j·û_k)² = |sum_j g_j û_j ⊗ û_j|²``:
no list of triplets is made, and the cost is linear in the number of neighbors.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nablatom.models.graph import GraphModuleMixin
from nablatom.models.pair import (
    ENERGIES,
    arithmetic,
    checked_types,
    geometric,
    of_pairs,
    pair_table,
    with_energies,
)
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["StillingerWeber"]

PAIRWISE = {
    "epsilon": geometric,
    "sigma": arithmetic,
    "A": arithmetic,
    "B": arithmetic,
    "p": arithmetic,
    "q": arithmetic,
    "a": arithmetic,
    "gamma": arithmetic,
}


class StillingerWeber(GraphModuleMixin, torch.nn.Module):
    """Bonds with a preferred angle; `StillingerWeber.silicon` has the published parameters.

    Parameters
    ----------
    types
        Element symbols.
    epsilon, sigma
        eV and Å.
    A, B, p, q, a, gamma
        Without unit. Each of these, as ``epsilon`` and ``sigma``, is one number, one for each
        type (two types have the mean, of ``epsilon`` the geometric one), or a symmetric
        (types, types) table.
    strength
        ``ε λ`` of the three-body term, eV: one number, or a (types, types, types) table of the
        center and two neighbors, symmetric in the neighbors.
    cosine
        ``c``, the preferred cosine: as ``strength``.

    Raises
    ------
    ValueError
        Parameters that do not fit the types.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, StillingerWeber
    >>> silicon = StillingerWeber.silicon()
    >>> data = AtomicDataDict.from_ase(bulk("Si", a=5.431), cutoff=silicon.cutoff)
    >>> round(silicon(data)["atomic_energy"][0].item(), 4)
    -4.3366

    References
    ----------
    Stillinger, Weber, Phys. Rev. B 31, 5262 (1985).
    """

    hops = 1
    epsilon: Tensor
    sigma: Tensor
    A: Tensor
    B: Tensor
    p: Tensor
    q: Tensor
    a: Tensor
    gamma: Tensor

    def __init__(
        self,
        types: Sequence[str],
        *,
        epsilon: ArrayLike,
        sigma: ArrayLike,
        A: ArrayLike,
        B: ArrayLike,
        p: ArrayLike,
        q: ArrayLike,
        a: ArrayLike,
        gamma: ArrayLike,
        strength: ArrayLike,
        cosine: ArrayLike = -1 / 3,
    ) -> None:
        super().__init__()
        self.type_names = checked_types(types)
        count = len(self.type_names)
        given = (epsilon, sigma, A, B, p, q, a, gamma)
        for (name, mixing), values in zip(PAIRWISE.items(), given, strict=True):
            self.register_parameter(name, pair_table(name, values, count, mixing))
        self.strength = _triplet_table("strength", strength, count)
        self.cosine = _triplet_table("cosine", cosine, count)
        self.cutoff = float((self.a * self.sigma).max())
        self._init_irreps(irreps_out=ENERGIES)

    @classmethod
    def silicon(cls) -> Self:
        """Silicon as published; its crystal has -2 ε = -4.3366 eV per atom at 5.431 Å."""
        epsilon = 2.1683  # eV, 50 kcal/mol
        return cls(
            ["Si"],
            epsilon=epsilon,
            sigma=2.0951,
            A=7.049556277,
            B=0.6022245584,
            p=4,
            q=0,
            a=1.80,
            gamma=1.20,
            strength=21.0 * epsilon,
        )

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``atomic_energy`` (atoms, 1) and ``total_energy`` (frames, 1)."""
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        neighbor_type = types.index_select(0, neighbor)
        pair_type = types.index_select(0, center) * len(self.type_names) + neighbor_type
        r = data[AtomicDataDict.EDGE_LENGTH_KEY][:, 0]
        x, inside = self._reduced(r, pair_type)
        bonds = torch.where(inside, self._bond_energy(x, pair_type), 0.0)
        energies = bonds.new_zeros(len(types)).index_add(0, center, 0.5 * bonds)
        decay = of_pairs(self.gamma, pair_type, x) / (x - of_pairs(self.a, pair_type, x))
        weight = torch.where(inside, decay.exp(), 0.0)
        # A neighbor at the very place of its center has no direction; its weight is finite.
        unit = data[AtomicDataDict.EDGE_VECTORS_KEY] / torch.where(r > 0, r, 1.0)[:, None]
        place = center * len(self.type_names) + neighbor_type
        return with_energies(data, energies + self._angle_energy(weight, unit, place, types))

    def _reduced(self, r: Tensor, pair_type: Tensor) -> tuple[Tensor, Tensor]:
        """``x = r/σ`` and whether it is inside the cutoff; beyond it, an ``x`` well inside."""
        end = of_pairs(self.a, pair_type, r)
        x = r / of_pairs(self.sigma, pair_type, r)
        inside = x < end
        # exp(1/(x - a)) and its slopes are nothing but zeros and infinities beyond the cutoff.
        return torch.where(inside, x, 0.5 * end), inside

    def _bond_energy(self, x: Tensor, pair_type: Tensor) -> Tensor:
        """``ε A (B x^-p - x^-q) exp(1/(x - a))``, (pairs,)."""
        epsilon, A, B, p, q, a = (
            of_pairs(table, pair_type, x)
            for table in (self.epsilon, self.A, self.B, self.p, self.q, self.a)
        )
        return epsilon * A * (B * x ** (-p) - x ** (-q)) * (1.0 / (x - a)).exp()

    def _angle_energy(self, weight: Tensor, unit: Tensor, place: Tensor, types: Tensor) -> Tensor:
        """``½ sum_jk`` without ``j = k``, from the moments of each type of neighbor, (atoms,)."""
        count = len(self.type_names)
        strength = self.strength.to(weight.dtype).index_select(0, types)  # (atoms, types, types)
        cosine = self.cosine.to(weight.dtype).index_select(0, types)
        square = (unit[:, :, None] * unit[:, None, :]).flatten(1)
        moments = weight[:, None] * torch.cat([torch.ones_like(unit[:, :1]), unit, square], dim=1)
        total = moments.new_zeros(len(types) * count, 13).index_add(0, place, moments)
        zeroth, first, second = torch.split(total.view(len(types), count, 13), [1, 3, 9], dim=2)
        dots = [m @ m.transpose(1, 2) for m in (zeroth, first, second)]  # (atoms, types, types)
        angles = dots[2] - 2.0 * cosine * dots[1] + cosine**2 * dots[0]
        norm = (unit * unit).sum(1)
        own = torch.diagonal(cosine, dim1=1, dim2=2).reshape(-1).index_select(0, place)
        doubled = (weight * (norm - own)) ** 2
        doubled = doubled.new_zeros(len(types) * count).index_add(0, place, doubled)
        same = torch.diagonal(strength, dim1=1, dim2=2) * doubled.view(len(types), count)
        return 0.5 * ((strength * angles).sum((1, 2)) - same.sum(1))


def _triplet_table(name: str, values: ArrayLike, count: int) -> torch.nn.Parameter:
    """One number for each center and two neighbors, (types, types, types)."""
    given = np.asarray(values, dtype=np.float64)
    shape = (count, count, count)
    symmetric = given.shape == () or (
        given.shape == shape and np.array_equal(given, given.transpose(0, 2, 1))
    )
    if not (symmetric and np.isfinite(given).all()):
        raise ValueError(
            f"{name} has shape {given.shape}; expected one finite number, or a table "
            f"{shape} of center and neighbors that is symmetric in the neighbors"
        )
    table = torch.tensor(np.broadcast_to(given, shape).copy())
    return torch.nn.Parameter(table, requires_grad=False)
