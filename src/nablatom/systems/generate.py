"""Small labelled data sets, made on the spot with ASE's effective medium theory."""

import ase
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import reference_states

__all__ = ["strained_cells"]

# Cubic (4 atoms) and primitive (1 atom) face-centred cells, repeated to 4 ... 32 atoms.
_CELLS = (
    (True, (1, 1, 1)),
    (False, (2, 2, 2)),
    (True, (2, 1, 1)),
    (False, (2, 2, 3)),
    (True, (2, 2, 1)),
    (False, (3, 3, 2)),
    (True, (2, 2, 2)),
)


def strained_cells(n: int = 60, symbols: str = "Cu", seed: int = 0) -> list[ase.Atoms]:
    """Strained and rattled face-centred cells with EMT energies, forces and stresses.

    Cells of 4 to 32 atoms, cubic and skewed; volume strain up to 5 % per edge, shear up
    to 5 %, root-mean-square displacements of 0.05 to 0.2 Å. With several elements the
    lattice sites are occupied at random, and the lattice constant follows Vegard's law.

    Parameters
    ----------
    symbols :
        Elements that EMT knows: Al, Ni, Cu, Pd, Ag, Pt, Au; ``"CuAu"`` mixes two.
    seed :
        The same seed gives the same structures.

    Raises
    ------
    ValueError
        An element that EMT does not know, or fewer than one structure.

    Examples
    --------
    >>> frames = strained_cells(2, "CuAu")
    >>> frames[0].get_chemical_formula(), frames[0].get_stress().shape
    ('Au3Cu', (6,))
    """
    if n < 1:
        raise ValueError(f"expected at least one structure, got n={n}")
    elements = _elements(symbols)
    random = np.random.default_rng(seed)
    return [_labelled(_distorted(_crystal(i, elements, random), random)) for i in range(n)]


def _elements(symbols: str) -> list[str]:
    known = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
    try:
        elements = list(dict.fromkeys(ase.Atoms(symbols).get_chemical_symbols()))
    except (KeyError, ValueError):
        raise ValueError(f"expected element symbols, such as 'CuAu', got {symbols!r}") from None
    unknown = [element for element in elements if element not in known]
    if unknown or not elements:
        raise ValueError(
            f"EMT has no parameters for {', '.join(unknown) or repr(symbols)}; "
            f"choose from {', '.join(known)}"
        )
    return elements


def _crystal(index: int, elements: list[str], random: np.random.Generator) -> ase.Atoms:
    cubic, repeats = _CELLS[index % len(_CELLS)]
    crystal = bulk("Cu", "fcc", a=1.0, cubic=cubic).repeat(repeats)
    crystal.symbols[:] = random.choice(elements, size=len(crystal))
    lattice = np.mean([reference_states[z]["a"] for z in crystal.numbers])
    crystal.set_cell(crystal.cell * lattice, scale_atoms=True)
    return crystal


def _distorted(crystal: ase.Atoms, random: np.random.Generator) -> ase.Atoms:
    shear = random.uniform(-0.05, 0.05, (3, 3))
    strain = (shear + shear.T) / 2 + random.uniform(-0.05, 0.05) * np.eye(3)
    crystal.set_cell(crystal.cell @ (np.eye(3) + strain), scale_atoms=True)
    per_axis = random.uniform(0.05, 0.2) / np.sqrt(3)
    crystal.positions += random.normal(scale=per_axis, size=(len(crystal), 3))
    return crystal


def _labelled(structure: ase.Atoms) -> ase.Atoms:
    """The structure with its EMT labels, without the calculator that made them."""
    structure.calc = EMT()
    labels = {
        "energy": structure.get_potential_energy(),
        "forces": structure.get_forces(),
        "stress": structure.get_stress(),
    }
    structure.calc = SinglePointCalculator(structure, **labels)
    return structure
