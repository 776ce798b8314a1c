"""The fields of an atomic data dictionary: their names, and what their rows belong to.

The names and shapes are those of NequIP (Batzner et al., Nat. Commun. 13, 2453, 2022), so that
models and data sets move between the two.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import torch

__all__ = [
    "ATOMIC_NUMBERS_KEY",
    "ATOMIC_VIRIAL_KEY",
    "ATOM_TYPE_KEY",
    "BATCH_KEY",
    "BORN_CHARGES_KEY",
    "CELL_DERIVATIVE_KEY",
    "CELL_KEY",
    "CHARGE_KEY",
    "CONVECTIVE_HEAT_FLUX_KEY",
    "DIPOLE_KEY",
    "EDGE_ATTRS_KEY",
    "EDGE_CELL_SHIFT_KEY",
    "EDGE_CUTOFF_KEY",
    "EDGE_EMBEDDING_KEY",
    "EDGE_ENERGY_KEY",
    "EDGE_FEATURES_KEY",
    "EDGE_FORCE_KEY",
    "EDGE_INDEX_KEY",
    "EDGE_LENGTH_KEY",
    "EDGE_VECTORS_KEY",
    "ELECTRIC_FIELD_KEY",
    "FORCE_KEY",
    "HEAT_FLUX_KEY",
    "HESSIAN_KEY",
    "NEIGHBOR_CUTOFF_KEY",
    "NODE_ATTRS_KEY",
    "NODE_FEATURES_KEY",
    "NUM_NODES_KEY",
    "PARTIAL_FORCE_KEY",
    "PBC_KEY",
    "PER_ATOM_ENERGY_KEY",
    "POLARIZABILITY_KEY",
    "POSITIONS_KEY",
    "ROWS",
    "STRESS_KEY",
    "TOTAL_ENERGY_KEY",
    "VELOCITIES_KEY",
    "VIRIAL_KEY",
    "Type",
]

Type: TypeAlias = dict[str, torch.Tensor]
"""What a graph module takes and gives: field → tensor."""

# Structure
POSITIONS_KEY: Final = "pos"  # (atoms, 3)
CELL_KEY: Final = "cell"  # (frames, 3, 3), rows are the cell vectors
PBC_KEY: Final = "pbc"  # (frames, 3), bool
ATOM_TYPE_KEY: Final = "atom_types"  # (atoms,), int64: index among a model's types
ATOMIC_NUMBERS_KEY: Final = "atomic_numbers"  # (atoms,), int64
BATCH_KEY: Final = "batch"  # (atoms,), int64: the frame of each atom
NUM_NODES_KEY: Final = "num_atoms"  # (frames,), int64
VELOCITIES_KEY: Final = "velocities"  # (atoms, 3)
ELECTRIC_FIELD_KEY: Final = "electric_field"  # (frames, 3)

# Edges, from a center to each of its neighbors
EDGE_INDEX_KEY: Final = "edge_index"  # (2, edges), int64: center, neighbor
EDGE_CELL_SHIFT_KEY: Final = "edge_cell_shift"  # (edges, 3), whole numbers
NEIGHBOR_CUTOFF_KEY: Final = "neighbor_cutoff"  # (frames,): the edges reach this far
EDGE_VECTORS_KEY: Final = "edge_vectors"  # (edges, 3)
EDGE_LENGTH_KEY: Final = "edge_lengths"  # (edges, 1)

# Features
NODE_ATTRS_KEY: Final = "node_attrs"
NODE_FEATURES_KEY: Final = "node_features"
EDGE_ATTRS_KEY: Final = "edge_attrs"
EDGE_EMBEDDING_KEY: Final = "edge_embedding"
EDGE_FEATURES_KEY: Final = "edge_features"
EDGE_CUTOFF_KEY: Final = "edge_cutoff"  # (edges, 1): the envelope, 1 to 0

# Results
EDGE_ENERGY_KEY: Final = "edge_energy"  # (edges, 1)
EDGE_FORCE_KEY: Final = "edge_forces"  # (edges, 3)
PER_ATOM_ENERGY_KEY: Final = "atomic_energy"  # (atoms, 1)
TOTAL_ENERGY_KEY: Final = "total_energy"  # (frames, 1)
FORCE_KEY: Final = "forces"  # (atoms, 3)
PARTIAL_FORCE_KEY: Final = "partial_forces"  # (atoms, atoms, 3)
HESSIAN_KEY: Final = "hessian"  # (3 atoms, 3 atoms); of some rows, (3 rows, 3 atoms)
STRESS_KEY: Final = "stress"  # (frames, 3, 3)
VIRIAL_KEY: Final = "virial"  # (frames, 3, 3)
CELL_DERIVATIVE_KEY: Final = "d(total_energy)/d(cell)"  # (frames, 3, 3), at fixed positions
ATOMIC_VIRIAL_KEY: Final = "atomic_virial"  # (atoms, 3, 3)
HEAT_FLUX_KEY: Final = "heat_flux"  # (frames, 3)
CONVECTIVE_HEAT_FLUX_KEY: Final = "convective_heat_flux"  # (frames, 3)
DIPOLE_KEY: Final = "dipole"  # (frames, 3)
POLARIZABILITY_KEY: Final = "polarizability"  # (frames, 3, 3)
BORN_CHARGES_KEY: Final = "born_charges"  # (atoms, 3, 3)
CHARGE_KEY: Final = "charges"  # (atoms, 1)

ROWS: Final[Mapping[str, str]] = {
    POSITIONS_KEY: "atoms",
    CELL_KEY: "frames",
    PBC_KEY: "frames",
    ATOM_TYPE_KEY: "atoms",
    ATOMIC_NUMBERS_KEY: "atoms",
    NUM_NODES_KEY: "frames",
    VELOCITIES_KEY: "atoms",
    ELECTRIC_FIELD_KEY: "frames",
    EDGE_CELL_SHIFT_KEY: "edges",
    NEIGHBOR_CUTOFF_KEY: "frames",
    EDGE_VECTORS_KEY: "edges",
    EDGE_LENGTH_KEY: "edges",
    NODE_ATTRS_KEY: "atoms",
    NODE_FEATURES_KEY: "atoms",
    EDGE_ATTRS_KEY: "edges",
    EDGE_EMBEDDING_KEY: "edges",
    EDGE_FEATURES_KEY: "edges",
    EDGE_CUTOFF_KEY: "edges",
    EDGE_ENERGY_KEY: "edges",
    EDGE_FORCE_KEY: "edges",
    PER_ATOM_ENERGY_KEY: "atoms",
    TOTAL_ENERGY_KEY: "frames",
    FORCE_KEY: "atoms",
    STRESS_KEY: "frames",
    VIRIAL_KEY: "frames",
    ATOMIC_VIRIAL_KEY: "atoms",
    HEAT_FLUX_KEY: "frames",
    CONVECTIVE_HEAT_FLUX_KEY: "frames",
    DIPOLE_KEY: "frames",
    POLARIZABILITY_KEY: "frames",
    BORN_CHARGES_KEY: "atoms",
    CHARGE_KEY: "atoms",
}
"""What the rows of each field belong to: ``atoms``, ``edges`` or ``frames``."""
