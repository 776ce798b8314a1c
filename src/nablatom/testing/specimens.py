"""Small structures of low symmetry that models are held to, and the same ones moved."""

from collections.abc import Sequence

import ase
import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

__all__ = [
    "displaced",
    "example_structures",
    "lonely",
    "rotated",
    "strained",
    "without_cell",
]

Numbers = NDArray[np.float64]


def example_structures(
    types: Sequence[str], *, bond: float | None = None, seed: int = 0
) -> dict[str, ase.Atoms]:
    """Rattled structures of all types, by name, to hold a model to.

    Triclinic crystals, one of them left-handed, a slab, a wire, a molecule, and one atom in a
    cell so small that it sees several of its own images. All of them have velocities, and are in
    an electric field.

    Parameters
    ----------
    types
        Element symbols.
    bond
        Å: about the distance of neighbors; by default 2.1 covalent radii.

    Examples
    --------
    >>> structures = example_structures(["Cu", "Ag"])
    >>> {name: len(structure) for name, structure in structures.items()}
    {'crystal': 4, 'left-handed': 4, 'slab': 4, 'wire': 4, 'molecule': 4, 'one atom': 1}
    """
    random = np.random.default_rng(seed)
    if bond is None:
        bond = 2.1 * float(np.mean([covalent_radii[atomic_numbers[symbol]] for symbol in types]))
    crystal = _crystal(types, bond, random)
    flipped = crystal.copy()
    flipped.set_cell(crystal.cell[[1, 0, 2]])
    slab, wire, molecule = crystal.copy(), crystal.copy(), without_cell(crystal)
    slab.pbc, wire.pbc = (True, True, False), (False, True, False)
    lattice = bond * np.array([[1.0, 0.1, 0.0], [0.2, 1.05, 0.1], [0.0, 0.3, 1.1]])
    one = ase.Atoms(types[0], positions=[[0.3, 0.2, 0.1]], cell=lattice, pbc=True)
    structures = {
        "crystal": crystal,
        "left-handed": flipped,
        "slab": slab,
        "wire": wire,
        "molecule": molecule,
        "one atom": one,
    }
    for structure in structures.values():
        structure.set_velocities(random.normal(scale=0.01, size=structure.positions.shape))
        structure.info["electric_field"] = random.normal(scale=0.1, size=3)
    return structures


def _crystal(types: Sequence[str], bond: float, random: np.random.Generator) -> ase.Atoms:
    """Four atoms of a skewed, rattled face-centred cell, some of them outside the cell."""
    places = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    cell = np.sqrt(2.0) * bond * (np.eye(3) + random.uniform(-0.1, 0.1, (3, 3)))
    symbols = [types[i % len(types)] for i in range(4)]
    crystal = ase.Atoms(symbols, scaled_positions=places, cell=cell, pbc=True)
    crystal.positions += random.normal(scale=0.04 * bond, size=(4, 3))
    crystal.positions[1] += 2 * cell[0] - cell[2]
    return crystal


def displaced(structure: ase.Atoms, displacement: Numbers) -> ase.Atoms:
    """The structure with its atoms moved by (atoms, 3), Å."""
    moved = structure.copy()
    moved.positions += displacement
    return moved


def strained(structure: ase.Atoms, strain: Numbers) -> ase.Atoms:
    """The structure, and all vectors that it has, times ``1 + strain``."""
    return rotated(structure, np.eye(3) + strain)


def rotated(structure: ase.Atoms, matrix: Numbers) -> ase.Atoms:
    """The structure with the rows of all that is a vector times a matrix."""
    turned = structure.copy()
    turned.set_cell(structure.cell.array @ matrix)
    turned.positions = structure.positions @ matrix
    if structure.has("momenta"):
        turned.set_velocities(structure.get_velocities() @ matrix)
    if "electric_field" in structure.info:
        turned.info["electric_field"] = structure.info["electric_field"] @ matrix
    return turned


def without_cell(structure: ase.Atoms) -> ase.Atoms:
    """The same atoms as a molecule."""
    molecule = structure.copy()
    molecule.pbc = False
    molecule.cell[:] = 0.0
    return molecule


def lonely(structure: ase.Atoms) -> ase.Atoms:
    """The first atom alone, without a cell."""
    return without_cell(structure[:1])
