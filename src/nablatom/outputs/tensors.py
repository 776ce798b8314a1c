"""Outputs of models ⇄ energies that carry their gradients: two views of one thing.

Forces are minus the ``positions`` gradient of an energy, the stress is its ``strain`` gradient
over the volume. The energies of atoms carry partial forces and atomic virials in the same way,
and summed over the atoms they are the energies of frames, gradients included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import Model, pair_derivatives
from nablatom.outputs.rows import index
from nablatom.outputs.stress import stress_of, symmetric
from nablatom.systems.pairs import PARAMETERS
from nablatom.tensor import TensorMap

__all__ = [
    "atom_labels",
    "atoms_to_tensor",
    "energy_map",
    "frame_energies",
    "from_tensor",
    "to_tensor",
]

Integers = NDArray[np.int32]
ENERGY = Labels.range("energy", 1)
SYSTEM, ATOM = ["system"], ["system", "atom"]


def frame_energies(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    gradients: Sequence[str] = ("positions", "strain"),
    create_graph: bool | None = None,
) -> TensorMap:
    """Energies of frames with their gradients by positions, strain and cell, in one pass.

    Parameters
    ----------
    model
        Gives ``total_energy``.
    data
        One frame, or many, with neighbors.
    gradients
        Any of ``positions``, ``strain`` and ``cell``.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training mode
        or an input requires gradients.

    Returns
    -------
    One block, samples ``system``, property ``energy``; the gradients are minus the forces, the
    volume times the stress, and the derivative by the cell at fixed Cartesian positions.

    Raises
    ------
    ValueError
        A gradient is unknown.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2), cutoff=argon.cutoff)
    >>> frame_energies(argon, data).block().gradients_list()
    ['positions', 'strain']
    """
    check_gradients(gradients)
    found = pair_derivatives(model, data, create_graph=create_graph)
    values = found.outputs[AtomicDataDict.TOTAL_ENERGY_KEY].reshape(-1)
    labels = {"positions": _of_atoms(data)}
    slopes = {name: (labels.get(name, _every(values)), getattr(found, name)) for name in gradients}
    return energy_map(values, Labels.range("system", len(values)), slopes)


def to_tensor(outputs: AtomicDataDict.Type) -> TensorMap:
    """The energies of frames with all the gradients that the outputs of a model hold.

    ``forces``, ``virial`` (or ``stress``) and ``d(total_energy)/d(cell)`` become the gradients
    ``positions``, ``strain`` and ``cell``.

    Parameters
    ----------
    outputs
        What a model returns, with ``total_energy``.

    Returns
    -------
    One block, samples ``system``, property ``energy``. A frame whose stress is all that is
    known, and is NaN, has no ``strain`` row.

    Raises
    ------
    KeyError
        There is no ``total_energy``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> from nablatom.outputs import StressOutput
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2), cutoff=argon.cutoff)
    >>> energies = to_tensor(StressOutput(argon)(data))
    >>> energies.block().gradients_list()
    ['positions', 'strain']
    >>> outputs = from_tensor(energies, data)
    >>> outputs["forces"].shape, outputs["stress"].shape
    (torch.Size([1, 3]), torch.Size([1, 3, 3]))
    """
    values = _field(outputs, AtomicDataDict.TOTAL_ENERGY_KEY).reshape(-1)
    slopes = {}
    if AtomicDataDict.FORCE_KEY in outputs:
        slopes["positions"] = _of_atoms(outputs), -outputs[AtomicDataDict.FORCE_KEY]
    if AtomicDataDict.VIRIAL_KEY in outputs:
        virial = outputs[AtomicDataDict.VIRIAL_KEY].reshape(-1, 3, 3)
        slopes["strain"] = _every(values), -virial
    elif AtomicDataDict.STRESS_KEY in outputs:
        slopes["strain"] = _from_stress(outputs)
    if AtomicDataDict.CELL_DERIVATIVE_KEY in outputs:
        slopes["cell"] = (
            _every(values),
            outputs[AtomicDataDict.CELL_DERIVATIVE_KEY].reshape(-1, 3, 3),
        )
    return energy_map(values, Labels.range("system", len(values)), slopes)


def atoms_to_tensor(outputs: AtomicDataDict.Type) -> TensorMap:
    """The energies of atoms with all the gradients that the outputs of a model hold.

    ``partial_forces`` and ``atomic_virial`` become the gradients ``positions`` and ``strain``.
    Of partial forces, rows that are not exactly zero are stored, and that of the atom itself.

    Parameters
    ----------
    outputs
        What a model returns, with ``atomic_energy``.

    Returns
    -------
    One block, samples ``system, atom``, property ``energy``.

    Raises
    ------
    KeyError
        There is no ``atomic_energy``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> from nablatom.outputs import PartialForceOutput
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2).repeat(3), cutoff=argon.cutoff)
    >>> energies = atoms_to_tensor(PartialForceOutput(argon)(data))
    >>> len(energies.block().gradient("positions").samples)  # 27 atoms, 12 neighbors each
    351
    """
    values = _field(outputs, AtomicDataDict.PER_ATOM_ENERGY_KEY).reshape(-1)
    names, slopes = atom_labels(outputs), {}
    if AtomicDataDict.PARTIAL_FORCE_KEY in outputs:
        partial = outputs[AtomicDataDict.PARTIAL_FORCE_KEY]
        stored = (partial.detach() != 0).any(-1).cpu().numpy()
        np.fill_diagonal(stored, True)
        sample, atom = np.nonzero(stored)
        rows = np.column_stack([sample, names[atom]]).astype(np.int32)
        labels = Labels.unchecked(("sample", "system", "atom"), rows)
        place = index(sample * len(values) + atom, values.device)
        slopes["positions"] = labels, -partial.reshape(-1, 3).index_select(0, place)
    if AtomicDataDict.ATOMIC_VIRIAL_KEY in outputs:
        slopes["strain"] = _every(values), -outputs[AtomicDataDict.ATOMIC_VIRIAL_KEY]
    return energy_map(values, Labels.unchecked(tuple(ATOM), names), slopes)


def from_tensor(tensor: TensorMap, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The data with energies and their gradients as the fields that outputs have.

    Energies of frames (samples ``system``) become ``total_energy``; of their gradients,
    ``positions`` becomes ``forces``, ``strain`` becomes ``virial`` and, where frames have a
    volume, ``stress``. Energies of atoms (samples ``system, atom``) become ``atomic_energy``,
    ``partial_forces`` (dense) and ``atomic_virial``; the sums over atoms come along. Entries
    that the tensor does not have are NaN, gradients without a row are zero.

    Parameters
    ----------
    tensor
        One block with one property, of any array library.
    data
        The frames that it is about.

    Raises
    ------
    ValueError
        The tensor is not about energies of frames or atoms, or names some that are not there.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> from nablatom.outputs import partial_forces
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2).repeat(2), cutoff=argon.cutoff)
    >>> outputs = from_tensor(partial_forces(argon, data), data)
    >>> outputs["partial_forces"].shape, outputs["forces"].shape
    (torch.Size([8, 8, 3]), torch.Size([8, 3]))
    """
    if len(tensor) != 1 or len(tensor.block_by_id(0).properties) != 1:
        raise ValueError("expected energies in one block with one property, got another tensor")
    block = tensor.block_by_id(0)
    if block.samples.names == SYSTEM:
        return {**data, **_frame_fields(block, data)}
    if block.samples.names == ATOM:
        return {**data, **_atom_fields(block, data)}
    raise ValueError(
        f"expected energies with samples 'system' or 'system, atom', got {block.samples.names}"
    )


def energy_map(
    energies: torch.Tensor,
    samples: Labels,
    gradients: Mapping[str, tuple[Labels, torch.Tensor]],
) -> TensorMap:
    """One block of energies, (samples,), with gradients: their samples, and their values."""
    blocks = {
        name: TensorBlock.unchecked(values[..., None], labels, PARAMETERS[name], ENERGY)
        for name, (labels, values) in gradients.items()
    }
    block = TensorBlock.unchecked(energies[:, None], samples, (), ENERGY, blocks)
    return TensorMap(Labels.single(), [block])


def atom_labels(data: AtomicDataDict.Type) -> Integers:
    """The frame of each atom and its number there, (atoms, 2)."""
    frame = AtomicDataDict.frame_of_atoms(data).cpu().numpy()
    order = np.argsort(frame, kind="stable")
    number = np.empty_like(frame)
    number[order] = np.arange(len(frame)) - np.searchsorted(frame[order], frame[order])
    return np.column_stack([frame, number]).astype(np.int32)


def check_gradients(names: Sequence[str]) -> None:
    """Check that these are gradients which an energy has.

    Raises
    ------
    ValueError
        One of them is none.
    """
    unknown = [name for name in names if name not in PARAMETERS]
    if unknown:
        raise ValueError(
            f"no gradient with respect to {', '.join(map(repr, unknown))}; choose from "
            f"{', '.join(PARAMETERS)}"
        )


def _field(outputs: AtomicDataDict.Type, key: str) -> torch.Tensor:
    if key not in outputs:
        raise KeyError(f"the outputs have no {key!r}; there are {', '.join(sorted(outputs))}")
    return outputs[key]


def _of_atoms(data: AtomicDataDict.Type) -> Labels:
    """Rows of a derivative of every frame's energy by its own atoms, in the order of atoms."""
    names = atom_labels(data)
    return Labels.unchecked(("sample", "system", "atom"), names[:, [0, 0, 1]])


def _every(values: torch.Tensor) -> Labels:
    return Labels.range("sample", len(values))


def _from_stress(outputs: AtomicDataDict.Type) -> tuple[Labels, torch.Tensor]:
    """``|V| stress`` of the frames that have one."""
    stress = outputs[AtomicDataDict.STRESS_KEY].reshape(-1, 3, 3)
    known = torch.nonzero(~stress.isnan().flatten(1).any(1)).flatten()
    cells = outputs[AtomicDataDict.CELL_KEY].reshape(-1, 3, 3).expand(len(stress), 3, 3)
    volumes = torch.linalg.det(cells.index_select(0, known)).abs()
    rows = Labels(["sample"], known.cpu().numpy().astype(np.int32)[:, None])
    return rows, stress.index_select(0, known) * volumes[:, None, None]


# -- back --------------------------------------------------------------------------------


def _frame_fields(block: TensorBlock, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    positions = data[AtomicDataDict.POSITIONS_KEY]
    frames, frame = AtomicDataDict.num_frames(data), block.samples.column("system")
    _check_range(frame, frames, "frames")
    energies = _like(block.values[:, 0], positions)
    fields = {AtomicDataDict.TOTAL_ENERGY_KEY: _placed(energies, frame, frames)[:, None]}
    if block.has_gradient("positions"):
        gradient = block.gradient("positions")
        slope = _summed(_like(gradient.values[..., 0], positions), _atoms(gradient, data), data)
        fields[AtomicDataDict.FORCE_KEY] = -slope
    for name in ("strain", "cell"):
        if block.has_gradient(name):
            gradient = block.gradient(name)
            rows = frame[gradient.samples.column("sample")]
            slope = _placed(_like(gradient.values[..., 0], positions), rows, frames)
            fields |= (
                _of_strain(slope, data)
                if name == "strain"
                else {AtomicDataDict.CELL_DERIVATIVE_KEY: slope}
            )
    return fields


def _atom_fields(block: TensorBlock, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    positions = data[AtomicDataDict.POSITIONS_KEY]
    count, atom = len(positions), _atoms(block, data)
    energies = _placed(_like(block.values[:, 0], positions), atom, count)[:, None]
    fields = {
        AtomicDataDict.PER_ATOM_ENERGY_KEY: energies,
        AtomicDataDict.TOTAL_ENERGY_KEY: AtomicDataDict.sum_over_atoms(energies, data),
    }
    if block.has_gradient("positions"):
        gradient = block.gradient("positions")
        slopes = _like(gradient.values[..., 0], positions)
        sample = gradient.samples.column("sample").astype(np.int64)
        place = index(sample * count + _atoms(gradient, data), positions.device)
        dense = slopes.new_zeros(len(block) * count, 3).index_copy(0, place, -slopes)
        partial = _placed(dense.reshape(len(block), count, 3), atom, count)
        fields[AtomicDataDict.PARTIAL_FORCE_KEY] = partial
        fields[AtomicDataDict.FORCE_KEY] = partial.sum(0)
    if block.has_gradient("strain"):
        gradient = block.gradient("strain")
        rows = atom[gradient.samples.column("sample")]
        slope = symmetric(_placed(_like(gradient.values[..., 0], positions), rows, count))
        total = AtomicDataDict.sum_over_atoms(slope.flatten(1), data).reshape(-1, 3, 3)
        fields |= {AtomicDataDict.ATOMIC_VIRIAL_KEY: -slope} | _of_strain(total, data)
    return fields


def _of_strain(slope: torch.Tensor, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
    stress = stress_of(slope, data)
    fields = {AtomicDataDict.VIRIAL_KEY: -symmetric(slope)}
    return fields if stress is None else fields | {AtomicDataDict.STRESS_KEY: stress}


def _like(values: object, like: torch.Tensor) -> torch.Tensor:
    """The values in the precision and on the device of the data, in their graph if any."""
    return torch.as_tensor(values).to(like)


def _atoms(block: TensorBlock, data: AtomicDataDict.Type) -> NDArray[np.int64]:
    """Index among all atoms of what the rows name."""
    system, number = (block.samples.column(name).astype(np.int64) for name in ATOM)
    names = atom_labels(data).astype(np.int64)
    frames = AtomicDataDict.num_frames(data)
    _check_range(system, frames, "frames")
    counts = np.bincount(names[:, 0], minlength=frames)
    first = np.cumsum(counts) - counts
    if len(number) and (number >= counts[system]).any():
        wrong = int(np.flatnonzero(number >= counts[system])[0])
        raise ValueError(
            f"the tensor names atom {number[wrong]} of system {system[wrong]}, which has "
            f"{counts[system[wrong]]} atoms"
        )
    at = np.empty(len(names), np.int64)
    at[first[names[:, 0]] + names[:, 1]] = np.arange(len(names))
    return at[first[system] + number]


def _check_range(system: NDArray[np.integer], count: int, what: str) -> None:
    if len(system) and int(system.max()) >= count:
        raise ValueError(f"the tensor names system {system.max()}, the data have {count} {what}")


def _placed(values: torch.Tensor, rows: NDArray[np.integer], count: int) -> torch.Tensor:
    """Values at these rows, NaN elsewhere."""
    empty = values.new_full((count, *values.shape[1:]), torch.nan)
    return empty.index_copy(0, index(rows, values.device), values)


def _summed(
    values: torch.Tensor, rows: NDArray[np.integer], data: AtomicDataDict.Type
) -> torch.Tensor:
    """Values added up at these atoms, zero elsewhere."""
    total = values.new_zeros(len(data[AtomicDataDict.POSITIONS_KEY]), *values.shape[1:])
    return total.index_add(0, index(rows, values.device), values)
