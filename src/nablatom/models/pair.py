"""Energies that are sums over pairs of atoms.

``E_i = ½ sum_j u_{t_i t_j}(r_ij)``, every periodic image of a neighbor ``j`` counted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nablatom.models.graph import GraphModuleMixin
from nablatom.models.switching import Switch
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = [
    "ENERGIES",
    "ONSET",
    "PairPotential",
    "arithmetic",
    "checked_types",
    "geometric",
    "of_pairs",
    "pair_table",
    "with_energies",
]

ONSET = 0.8  # of the cutoff: where potentials begin to end, if nothing else is said

Numbers = NDArray[np.float64]
Mixing = Callable[[Numbers, Numbers], Numbers]

ENERGIES = {
    AtomicDataDict.PER_ATOM_ENERGY_KEY: "0e",
    AtomicDataDict.TOTAL_ENERGY_KEY: "0e",
}


def with_energies(data: AtomicDataDict.Type, energies: Tensor) -> AtomicDataDict.Type:
    """The data with the energies of its atoms, (atoms,), and those of its frames."""
    atomic = energies[:, None]
    total = AtomicDataDict.sum_over_atoms(atomic, data)
    return {
        **data,
        AtomicDataDict.PER_ATOM_ENERGY_KEY: atomic,
        AtomicDataDict.TOTAL_ENERGY_KEY: total,
    }


class PairPotential(GraphModuleMixin, torch.nn.Module, ABC):
    """``E_i = ½ sum_j u_{t_i t_j}(r_ij)``; what ``u`` is, a potential of this kind says.

    Parameters
    ----------
    types
        Element symbols.
    cutoff
        Å.
    switch
        How the energy of a pair ends at the cutoff.
    """

    hops = 1

    def __init__(self, types: Sequence[str], cutoff: float, switch: Switch) -> None:
        super().__init__()
        self.type_names = checked_types(types)
        self.cutoff = positive("cutoff", cutoff)
        self.switch = switch
        onset = getattr(switch, "onset", 0.0)
        if not 0.0 <= onset < cutoff:
            raise ValueError(
                f"the switch begins at {onset} Å; expected between 0 and the cutoff, {cutoff} Å"
            )
        self._init_irreps(irreps_out=ENERGIES)

    @abstractmethod
    def pair_energy(self, r: Tensor, pair_type: Tensor) -> Tensor:
        """``u(r)`` without any cutoff, (pairs,).

        Parameters
        ----------
        r : (pairs,), Å
        pair_type : (pairs,)
            ``t_i * types + t_j``, the row of a flattened table of pair parameters.
        """

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``atomic_energy`` (atoms, 1) and ``total_energy`` (frames, 1)."""
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        pair_type = types.index_select(0, center) * len(self.type_names)
        pair_type = pair_type + types.index_select(0, neighbor)
        energies = self._ended(data[AtomicDataDict.EDGE_LENGTH_KEY][:, 0], pair_type)
        atomic = energies.new_zeros(types.shape[0]).index_add(0, center, 0.5 * energies)
        return with_energies(data, atomic)

    def _ended(self, r: Tensor, pair_type: Tensor) -> Tensor:
        """Energies of pairs, zero from the cutoff on."""
        inside = r < self.cutoff
        # Longer pairs are put at the cutoff, so that no derivative can overflow there.
        r = torch.where(inside, r, self.cutoff)
        end = self.pair_energy(torch.full_like(r, self.cutoff), pair_type)
        energy = self.switch(self.pair_energy(r, pair_type), end, r, self.cutoff)
        return torch.where(inside, energy, 0.0)


def checked_types(types: Sequence[str]) -> tuple[str, ...]:
    """Element symbols, different ones.

    Raises
    ------
    ValueError
        There are none, one comes twice, or one is no element.
    """
    names = tuple([types] if isinstance(types, str) else types)
    wrong = [name for name in names if name not in atomic_numbers]
    if wrong or not names or len(set(names)) < len(names):
        raise ValueError(f"types are {list(names)}; expected different element symbols")
    return names


def arithmetic(a: Numbers, b: Numbers) -> Numbers:
    """The mean, as lengths mix."""
    return (a + b) / 2


def geometric(a: Numbers, b: Numbers) -> Numbers:
    """The geometric mean, as energies mix."""
    return (a * b) ** 0.5


def pair_table(name: str, values: ArrayLike, count: int, mixing: Mixing) -> torch.nn.Parameter:
    """One number for each pair of types, (types, types), frozen until you thaw it.

    Parameters
    ----------
    values
        One for all, one for each type, or one for each pair of types.
    mixing
        What two types make of their numbers, where there is one for each type.

    Raises
    ------
    ValueError
        The numbers are not as many as there are types, not symmetric or not finite.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim == 1 and len(given) == count:
        given = mixing(given[:, None], given[None, :])
    table = np.broadcast_to(given, (count, count)) if given.shape in ((), (count, count)) else None
    if table is None or not np.isfinite(table).all() or not np.array_equal(table, table.T):
        raise ValueError(
            f"{name} is {np.asarray(values).tolist()}; expected one number, one for each of the "
            f"{count} types, or a symmetric table for their pairs"
        )
    return torch.nn.Parameter(torch.tensor(table), requires_grad=False)


def of_pairs(table: Tensor, pair_type: Tensor, like: Tensor) -> Tensor:
    """The number of each pair, in the precision of the distances."""
    return table.flatten().index_select(0, pair_type).to(like.dtype)


def positive(name: str, value: float) -> float:
    """A positive length in Å, or an error that names it."""
    if not value > 0:
        raise ValueError(f"{name} is {value}; expected a positive number of Å")
    return float(value)
