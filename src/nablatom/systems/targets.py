"""The energies, forces and stresses that structures carry: reading and checking them."""

from collections.abc import Sequence

import ase
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

__all__ = ["check_targets", "energy_of", "forces_of", "has_stress", "stress_of"]


def energy_of(structure: ase.Atoms) -> float | None:
    """Total energy stored with a structure, in eV, or None."""
    energy = _stored(structure, "energy")
    return None if energy is None else float(energy)


def forces_of(structure: ase.Atoms) -> NDArray[np.float64] | None:
    """Forces stored with a structure, (atoms, 3) in eV/Å, or None; constraints ignored."""
    return _stored(structure, "forces")


def has_stress(structure: ase.Atoms) -> bool:
    """Whether there can be a stress: periodic along some direction, with a cell of some volume.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> has_stress(bulk("Cu")), has_stress(molecule("H2O", vacuum=5.0))
    (True, False)
    """
    return bool(structure.pbc.any() and structure.cell.rank == 3)


def stress_of(structure: ase.Atoms) -> NDArray[np.float64] | None:
    """Stress stored with a structure, (3, 3) in eV/Å³, positive under tension, or None.

    A structure without a cell or without periodicity has no stress, whatever is stored.
    """
    stress = _stored(structure, "stress")
    if stress is None or not has_stress(structure):
        return None
    return voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress.reshape(3, 3)


def check_targets(structures: Sequence[ase.Atoms]) -> None:
    """Refuse targets that are not finite, or that only some of the structures have.

    A structure of one atom may lack forces and stress (they vanish or are of no use for an
    isolated atom), and a structure without three periodic directions may lack stress.

    Raises
    ------
    ValueError
        Names the frames that lack a target, or the frame with a wrong one.
    """
    everyone = range(len(structures))
    several = [i for i in everyone if len(structures[i]) > 1]
    crystals = [i for i in several if structures[i].pbc.all()]
    _check_target("energy", structures, everyone)
    _check_target("forces", structures, several)
    _check_target("stress", structures, crystals)


def _stored(structure: ase.Atoms, name: str) -> NDArray[np.float64] | None:
    """A result that is already there and still belongs to these positions; nothing is run."""
    if structure.calc is None:
        return None
    try:
        result = structure.calc.get_property(name, structure, allow_calculation=False)
    except PropertyNotImplementedError:
        return None
    return None if result is None else np.asarray(result, dtype=np.float64)


def _check_target(name: str, structures: Sequence[ase.Atoms], expected: Sequence[int]) -> None:
    missing = [i for i in expected if _stored(structures[i], name) is None]
    if missing and len(missing) < len(expected):
        raise ValueError(
            f"{len(missing)} of {len(expected)} frames have no {name}, the others do: "
            f"{_listed(missing)}; remove those frames, or label them"
        )
    for i, structure in enumerate(structures):
        values = _stored(structure, name)
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"frame {i}: the {name} holds NaN or infinity; remove the frame")


def _listed(frames: Sequence[int]) -> str:
    """A few frame numbers, for a message."""
    shown = ", ".join(str(i) for i in frames[:8])
    return f"frame {shown}" if len(frames) == 1 else f"frames {shown}" + ", …" * (len(frames) > 8)
