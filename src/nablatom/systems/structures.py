"""Files to checked structures, and back."""

from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.geometry import complete_cell
from ase.io.formats import UnknownFileTypeError

from nablatom.systems.pairs import neighbor_pairs
from nablatom.systems.targets import check_targets
from nablatom.systems.units import check_units

__all__ = ["check_geometry", "check_structures", "read_structures", "write_structures"]

# Shorter than any bond (H2: 0.74 A), also in hot or compressed samples.
SHORTEST_DISTANCE = 0.4
HEAVIEST_ELEMENT = 118


def read_structures(path: str | Path, index: str | int | slice = ":") -> list[ase.Atoms]:
    """Structures of a file in any format that ASE reads.

    Parameters
    ----------
    index :
        Which frames, as ASE writes it: ``":"``, ``"::10"``, ``-1``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is empty, or not in a format that ASE knows, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r} to read structures from")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: expected at least one structure")
    try:
        frames = ase.io.read(path, index)
    except UnknownFileTypeError as error:
        raise ValueError(f"{path}: ASE knows no structure format like this ({error})") from error
    except (ValueError, OSError, KeyError, IndexError, AssertionError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as structures: {error}") from error
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise ValueError(f"{path} holds no structure at index {index!r}")
    return frames


def write_structures(path: str | Path, structures: Sequence[ase.Atoms]) -> None:
    """Write structures, with their labels, in the format of the file's suffix.

    Raises
    ------
    ValueError
        There is nothing to write, or ASE cannot write this format.
    """
    if len(structures) == 0:
        raise ValueError(f"no structures to write to {path}")
    try:
        ase.io.write(path, list(structures))
    except UnknownFileTypeError as error:
        raise ValueError(f"ASE knows no format for the suffix of {path}; try .extxyz") from error


def check_structures(structures: Sequence[ase.Atoms], *, labels: bool = True) -> None:
    """Check geometry and labels of structures that came from outside.

    Refused are: no structures, no atoms, unknown elements, positions or cells that are
    not finite, periodic directions without volume, atoms closer than 0.4 Å (periodic
    images included), labels that only some frames have, labels that are not finite, and
    labels in mixed units (see `check_units`).

    Parameters
    ----------
    labels
        Whether labels are checked, which predictions have no need of.

    Raises
    ------
    ValueError
        Names the first frame at fault, counting from 0.
    """
    if len(structures) == 0:
        raise ValueError("no structures: expected at least one")
    for index, structure in enumerate(structures):
        try:
            _check_elements(structure)
            check_geometry(structure)
        except ValueError as error:
            raise ValueError(f"frame {index}: {error}") from None
    _check_distances(structures)
    if labels:
        check_targets(structures)
        check_units(structures)


def check_geometry(structure: ase.Atoms) -> None:
    """Refuse positions or a cell that are not finite, and periodic directions without volume.

    Raises
    ------
    ValueError
        Names the atom or the directions at fault.
    """
    _check_positions(structure)
    _check_cell(structure)


def _check_elements(structure: ase.Atoms) -> None:
    if len(structure) == 0:
        raise ValueError("has no atoms")
    unknown = np.flatnonzero((structure.numbers < 1) | (structure.numbers > HEAVIEST_ELEMENT))
    if len(unknown):
        atom, number = unknown[0], structure.numbers[unknown[0]]
        raise ValueError(
            f"atom {atom} is of an unknown element (atomic number {number}); "
            "expected a chemical symbol of the periodic table"
        )


def _check_positions(structure: ase.Atoms) -> None:
    wrong = np.flatnonzero(~np.isfinite(structure.positions).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"the position of atom {wrong[0]} is {structure.positions[wrong[0]]}; "
            "expected three finite numbers"
        )
    if not np.isfinite(structure.cell.array).all():
        raise ValueError(f"the cell is {structure.cell.array.tolist()}; expected finite numbers")


def _check_cell(structure: ase.Atoms) -> None:
    """Periodic directions must span a length, an area or a volume."""
    periodic = structure.cell.array * structure.pbc[:, None]
    volume = abs(np.linalg.det(complete_cell(periodic))) if structure.pbc.any() else 1.0
    edges = np.linalg.norm(periodic[structure.pbc], axis=1)
    if not volume > 1e-6 * np.prod(edges) > 0:
        directions = "".join("abc"[k] for k in np.flatnonzero(structure.pbc))
        raise ValueError(
            f"is periodic along {directions}, but those cell vectors span no volume "
            f"(cell {structure.cell.array.tolist()}); give the cell, or set pbc to False"
        )


def _check_distances(structures: Sequence[ase.Atoms]) -> None:
    pairs = neighbor_pairs(structures, SHORTEST_DISTANCE)
    if len(pairs):
        worst = int(np.argmin(pairs.distance))
        image = " of a periodic image" if pairs.shift[worst].any() else ""
        raise ValueError(
            f"frame {pairs.system[worst]}: atoms {pairs.center[worst]} and "
            f"{pairs.neighbor[worst]}{image} overlap: {pairs.distance[worst]:.3f} Å apart, "
            f"expected at least {SHORTEST_DISTANCE} Å"
        )
