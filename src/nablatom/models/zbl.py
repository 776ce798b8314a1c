"""The repulsion of screened nuclei, for short distances that no training data hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.data import atomic_numbers

from nablatom.models.graph import GraphModuleMixin
from nablatom.models.radial import envelope
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["ZBL"]

COULOMB = 14.399645  # e²/(4 π ε_0), eV Å
SCREENING_POWER = 0.23
SCREENING_LENGTH = 0.46850  # Å
SCREENING = (
    (0.02817, 0.20162),
    (0.28022, 0.40290),
    (0.50986, 0.94229),
    (0.18175, 3.19980),
)  # weight, decay


class ZBL(GraphModuleMixin, torch.nn.Module):
    """``1/2 Σ_j k Z_i Z_j / r φ(r / a) u(r / cutoff)``, half of the energy of each pair.

    ``a = 0.46850 Å / (Z_i^0.23 + Z_j^0.23)``, ``φ`` a sum of four exponentials and ``u`` the
    `envelope`. A graph module of its own, which adds to atomic energies that there are.

    Parameters
    ----------
    types
        Element symbols.
    cutoff
        Å.
    power
        Of the `envelope`.

    References
    ----------
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Matter (1985); constants as
    in LAMMPS's ``pair_style zbl``.
    """

    numbers: torch.Tensor

    def __init__(self, types: Sequence[str], cutoff: float, *, power: float = 6) -> None:
        super().__init__()
        self.type_names, self.cutoff, self.hops, self.power = tuple(types), cutoff, 1, power
        energies = (AtomicDataDict.PER_ATOM_ENERGY_KEY, AtomicDataDict.TOTAL_ENERGY_KEY)
        self._init_irreps(irreps_out=dict.fromkeys(energies, "0e"))
        numbers = torch.tensor([atomic_numbers[symbol] for symbol in types], dtype=torch.float64)
        self.register_buffer("numbers", numbers, persistent=False)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``atomic_energy`` and ``total_energy``."""
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        energies = self.atomic_energies(data)
        if AtomicDataDict.PER_ATOM_ENERGY_KEY in data:
            energies = energies + data[AtomicDataDict.PER_ATOM_ENERGY_KEY]
        return {
            **data,
            AtomicDataDict.PER_ATOM_ENERGY_KEY: energies,
            AtomicDataDict.TOTAL_ENERGY_KEY: AtomicDataDict.sum_over_atoms(energies, data),
        }

    def atomic_energies(self, data: AtomicDataDict.Type) -> torch.Tensor:
        """Energies of the atoms of prepared data, (atoms, 1) in eV."""
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
        r = data[AtomicDataDict.EDGE_LENGTH_KEY]
        charges = self.numbers.to(r.dtype)[data[AtomicDataDict.ATOM_TYPE_KEY]][:, None]
        zi, zj = charges.index_select(0, center), charges.index_select(0, neighbor)
        x = r * (zi.pow(SCREENING_POWER) + zj.pow(SCREENING_POWER)) / SCREENING_LENGTH
        screening = sum(weight * torch.exp(-decay * x) for weight, decay in SCREENING)
        pairs = COULOMB / 2 * zi * zj / r * screening * envelope(r / self.cutoff, self.power)
        return torch.zeros_like(charges).index_add(0, center, pairs)
