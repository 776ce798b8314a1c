"""Embedded-atom potentials, from tables."""

from pathlib import Path
from typing import Self

import torch

from nablatom.models.graph import GraphModuleMixin
from nablatom.models.pair import ENERGIES, with_energies
from nablatom.models.setfl import Setfl
from nablatom.models.spline import Splines
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["EmbeddedAtom"]


class EmbeddedAtom(GraphModuleMixin, torch.nn.Module):
    """``E_i = F_i(sum_j ρ_ij(r_ij)) + ½ sum_j φ_ij(r_ij)``, the potential of metals.

    The functions are cubic splines of tables, those of ``r φ(r)`` divided by ``r``; beyond its
    last density, ``F`` goes on as a straight line. Pairs beyond the cutoff, or the end of the
    tables, have no influence: energies are continuous there if the tables end at zero.

    Parameters
    ----------
    tables
        Of the elements; `EmbeddedAtom.read` takes them from a file.

    Raises
    ------
    ValueError
        When read, if the file is damaged or of another kind.

    References
    ----------
    Daw, Baskes, Phys. Rev. B 29, 6443 (1984); Finnis, Sinclair, Philos. Mag. A 50, 45 (1984).
    """

    hops = 1  # the density at an atom, and with it F, is a sum over its own edges

    def __init__(self, tables: Setfl) -> None:
        super().__init__()
        count = len(tables.elements)
        self.type_names = tables.elements
        self.embedding = Splines(tables.embedding, tables.density_step)
        self.density = Splines(tables.density.reshape(count**2, -1), tables.distance_step)
        self.pair = Splines(tables.pair.reshape(count**2, -1), tables.distance_step)
        self.cutoff = min(tables.cutoff, self.pair.end)
        self._init_irreps(irreps_out=ENERGIES)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The potential in a setfl file, ``*.eam.alloy`` or ``*.eam.fs``.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is not a setfl file, or not a whole one.
        """
        return cls(Setfl.read(path))

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``atomic_energy`` (atoms, 1) and ``total_energy`` (frames, 1)."""
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        pair_type = types.index_select(0, center) * len(self.type_names)
        pair_type = pair_type + types.index_select(0, neighbor)
        r = data[AtomicDataDict.EDGE_LENGTH_KEY][:, 0]
        inside = r < self.cutoff
        r = torch.where(inside, r, self.cutoff)
        made = torch.where(inside, self.density(r, pair_type), 0.0)
        pairs = torch.where(inside, self.pair(r, pair_type) / r, 0.0)
        nothing = r.new_zeros(len(types))
        density = nothing.index_add(0, center, made)
        energies = self.embedding(density, types) + nothing.index_add(0, center, 0.5 * pairs)
        return with_energies(data, energies)
