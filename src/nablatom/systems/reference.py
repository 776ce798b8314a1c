"""Energies, forces and stresses as one tensor with gradients, and back onto structures.

Reference data and predictions are the same noun: a `TensorMap` with one block of energies,
one row per structure, whose ``positions`` gradient is minus the forces and whose ``strain``
gradient is the volume times the stress.
"""

from collections.abc import Sequence

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.systems.targets import energy_of, forces_of, has_stress, stress_of
from nablatom.tensor import TensorMap

__all__ = ["label_structures", "reference_energies"]

ENERGY = Labels(["energy"], np.zeros((1, 1), np.int32))
XYZ = Labels.range("xyz", 3)
STRAIN = (Labels.range("xyz_1", 3), Labels.range("xyz_2", 3))


def reference_energies(structures: Sequence[ase.Atoms]) -> TensorMap:
    """The energies that structures carry, with forces and stresses as gradients.

    One block, key ``_ = 0``, samples ``system``, property ``energy``, in eV. Gradients, where
    the structures have the labels: ``positions`` (samples ``sample, system, atom``, component
    ``xyz``) is minus the forces, eV/Å; ``strain`` (samples ``sample``, components ``xyz_1,
    xyz_2``) is ``|V| stress``, eV. A structure without forces has no ``positions`` rows, one
    without a cell or without stress no ``strain`` row.

    Raises
    ------
    ValueError
        A structure has no energy.

    Examples
    --------
    >>> from nablatom.systems import strained_cells
    >>> energies = reference_energies(strained_cells(2))
    >>> energies.block().gradients_list()
    ['positions', 'strain']
    """
    systems = Labels.range("system", len(structures))
    block = TensorBlock(_energies(structures), systems, [], ENERGY)
    forces = [forces_of(structure) for structure in structures]
    if any(f is not None for f in forces):
        block.add_gradient("positions", _position_rows(forces))
    stresses = [stress_of(structure) for structure in structures]
    if any(s is not None for s in stresses):
        block.add_gradient("strain", _strain_rows(structures, stresses))
    return TensorMap(Labels.single(), [block])


def label_structures(structures: Sequence[ase.Atoms], energies: TensorMap) -> list[ase.Atoms]:
    """Copies of structures that carry the energies, forces and stresses of a tensor.

    The way back of `reference_energies`: forces in eV/Å are minus the ``positions`` gradient
    (zero for atoms without a row), stress in eV/Å³ is the symmetrised ``strain`` gradient
    over the volume, in ASE's Voigt order. A structure without a cell gets no stress, nor does
    one without a ``strain`` row; forces and stress are left out where the gradient is.

    Raises
    ------
    ValueError
        The tensor does not have one block, one property and one row per structure.
    """
    block = _energy_block(energies, len(structures))
    frames = block.samples.column("system")
    labels: list[dict[str, object]] = [{} for _ in structures]
    for row, frame in enumerate(frames):
        labels[frame]["energy"] = float(block.values[row, 0])
    if block.has_gradient("positions"):
        _add_forces(labels, structures, block.gradient("positions"))
    if block.has_gradient("strain"):
        _add_stresses(labels, structures, frames, block.gradient("strain"))
    return [_with_labels(s, results) for s, results in zip(structures, labels, strict=True)]


def _energies(structures: Sequence[ase.Atoms]) -> NDArray[np.float64]:
    values = [energy_of(structure) for structure in structures]
    for frame, (value, structure) in enumerate(zip(values, structures, strict=True)):
        if value is None:
            others = [*structure.info, *(k for k in structure.arrays if k not in _GEOMETRY)]
            raise ValueError(
                f"frame {frame} has no energy for its present positions (as ASE's calculator "
                f"results); other entries of the frame: {', '.join(map(str, others)) or 'none'}"
            )
    return np.array(values, dtype=np.float64).reshape(-1, 1)


_GEOMETRY = ("numbers", "positions")


def _position_rows(forces: Sequence[NDArray[np.float64] | None]) -> TensorBlock:
    known = [(frame, f) for frame, f in enumerate(forces) if f is not None]
    samples = np.concatenate(
        [np.stack([np.full(len(f), frame)] * 2 + [np.arange(len(f))], axis=1) for frame, f in known]
    )
    values = -np.concatenate([f for _, f in known])[:, :, None]
    return TensorBlock(values, Labels(["sample", "system", "atom"], samples), [XYZ], ENERGY)


def _strain_rows(
    structures: Sequence[ase.Atoms], stresses: Sequence[NDArray[np.float64] | None]
) -> TensorBlock:
    known = [(frame, s) for frame, s in enumerate(stresses) if s is not None]
    values = [abs(structures[frame].cell.volume) * stress for frame, stress in known]
    samples = Labels(["sample"], np.array([[frame] for frame, _ in known]))
    return TensorBlock(np.stack(values)[..., None], samples, STRAIN, ENERGY)


def _energy_block(energies: TensorMap, structures: int) -> TensorBlock:
    if len(energies) != 1:
        raise ValueError(f"expected energies in one block, got {len(energies)}")
    block = energies.block_by_id(0)
    systems = block.samples.values
    if block.samples.names != ["system"] or not np.array_equal(
        np.sort(systems[:, 0]), range(structures)
    ):
        raise ValueError(
            f"expected one energy for each of {structures} structures (samples 'system'), got "
            f"{len(block.samples)} with samples {block.samples.names}"
        )
    if block.values.shape[1:] != (1,):
        raise ValueError(
            f"expected one property 'energy' and no components, got shape {block.shape}"
        )
    return block


def _add_forces(
    labels: list[dict[str, object]], structures: Sequence[ase.Atoms], gradient: TensorBlock
) -> None:
    first = np.cumsum([0, *(len(s) for s in structures)])
    forces = np.zeros((first[-1], 3))
    rows = first[gradient.samples.column("system")] + gradient.samples.column("atom")
    forces[rows] = -gradient.values[:, :, 0]
    for frame, results in enumerate(labels):
        results["forces"] = forces[first[frame] : first[frame + 1]]


def _add_stresses(
    labels: list[dict[str, object]],
    structures: Sequence[ase.Atoms],
    frames: NDArray[np.int32],
    gradient: TensorBlock,
) -> None:
    for row, frame in enumerate(frames[gradient.samples.column("sample")]):
        if has_stress(structures[frame]):
            derivative = gradient.values[row, :, :, 0]
            stress = (derivative + derivative.T) / 2 / abs(structures[frame].cell.volume)
            labels[frame]["stress"] = full_3x3_to_voigt_6_stress(stress)


def _with_labels(structure: ase.Atoms, results: dict[str, object]) -> ase.Atoms:
    copy = structure.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy
