"""Structures in and out: files, checks, reference labels, generated data, neighbor pairs."""

from nablatom.systems.generate import strained_cells
from nablatom.systems.pairs import Pairs, PairSum, neighbor_pairs
from nablatom.systems.reference import label_structures, reference_energies
from nablatom.systems.structures import check_structures, read_structures, write_structures

__all__ = [
    "PairSum",
    "Pairs",
    "check_structures",
    "label_structures",
    "neighbor_pairs",
    "read_structures",
    "reference_energies",
    "strained_cells",
    "write_structures",
]
