"""Energies, forces and stresses as plain arrays, read off a tensor with gradients.

The same reading serves labels (one property), predictions (one property) and the features
of a linear model (many): forces are minus the ``positions`` gradient, the stress is the
``strain`` gradient over the volume, in Voigt order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.systems.targets import has_stress

__all__ = ["TARGETS", "VOIGT", "Target", "by_target", "frames_of"]

Array = NDArray[np.float64]
Integers = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Target:
    """What a target is called in a table, and the unit its errors are printed in."""

    name: str
    unit: str
    factor: float


EV_PER_CUBIC_ANGSTROM_IN_GPA = 160.2176634  # exact: the elementary charge in 1e-21 C
TARGETS: Mapping[str, Target] = {
    "energy": Target("energy", "meV/atom", 1e3),
    "forces": Target("forces", "meV/Å", 1e3),
    "stress": Target("stress", "GPa", EV_PER_CUBIC_ANGSTROM_IN_GPA),
}
VOIGT = (np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1]))


def by_target(
    block: TensorBlock, structures: Sequence[ase.Atoms], *, fill: float
) -> dict[str, Array]:
    """Energy per atom, forces and stress of every structure, ``fill`` where none is stored.

    Parameters
    ----------
    block
        Samples ``system``, numbered as ``structures``; gradients ``positions`` (samples
        ``sample, system, atom``) and ``strain`` (samples ``sample``) where known.
    fill
        NaN for labels, of which some may be missing; zero for features and predictions,
        whose absent rows are zero.

    Returns
    -------
    dict
        ``"energy"`` (structures, 1, properties) in eV/atom; ``"forces"`` (atoms, 3, properties)
        in eV/Å; ``"stress"`` (structures, 6, properties) in eV/Å³, Voigt order, NaN where the
        cell has no volume. Only the targets whose gradient the block stores.
    """
    counts = np.array([len(atoms) for atoms in structures])
    systems = block.samples.column("system")
    energy = _placed(
        block.values[:, None] / counts[systems, None, None], systems, len(counts), fill
    )
    found = {"energy": energy}
    if block.has_gradient("positions"):
        found["forces"] = _forces(block.gradient("positions"), counts, fill)
    if block.has_gradient("strain"):
        found["stress"] = _stress(block.gradient("strain"), systems, structures, fill)
    return found


def frames_of(target: str, structures: Sequence[ase.Atoms]) -> Integers:
    """The structure that every row of a target belongs to: (rows,)."""
    frames = np.arange(len(structures))
    return np.repeat(frames, [len(a) for a in structures]) if target == "forces" else frames


def _forces(gradient: TensorBlock, counts: Integers, fill: float) -> Array:
    first = np.concatenate([[0], np.cumsum(counts)])
    atoms = first[gradient.samples.column("system")] + gradient.samples.column("atom")
    return _placed(-gradient.values, atoms, int(first[-1]), fill)


def _stress(
    gradient: TensorBlock, systems: Integers, structures: Sequence[ase.Atoms], fill: float
) -> Array:
    volumes = np.array([abs(s.cell.volume) if has_stress(s) else np.nan for s in structures])
    frames = systems[gradient.samples.column("sample")]
    symmetric = (gradient.values + gradient.values.swapaxes(1, 2)) / 2
    stress = symmetric[:, *VOIGT] / volumes[frames, None, None]  # (rows, 6, properties)
    return _placed(stress, frames, len(volumes), fill)


def _placed(values: Array, rows: Integers, count: int, fill: float) -> Array:
    placed = np.full((count, *values.shape[1:]), fill)
    placed[rows] = values
    return placed
