"""Energies of a model and their derivatives, by the plainest route: one leaf each, autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ase
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nablatom.models import AtomicDataDict, GraphModuleMixin

__all__ = ["Evaluation", "Model", "assert_agree", "data_of", "differences", "evaluated"]

Numbers = NDArray[np.float64]
Model = Callable[[AtomicDataDict.Type], AtomicDataDict.Type]
STENCIL = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
FRAMES = 64  # in one batch


class Evaluation(NamedTuple):
    """What a model says of structures; the derivatives are those of all energies together."""

    energy: Numbers  # (frames,)
    atomic: Numbers  # (atoms,)
    forces: Numbers  # (atoms, 3)
    strain: Numbers  # (frames, 3, 3)
    cell: Numbers  # (frames, 3, 3)


def data_of(
    model: GraphModuleMixin,
    structures: ase.Atoms | Sequence[ase.Atoms],
    dtype: torch.dtype = torch.float64,
) -> AtomicDataDict.Type:
    """Structures as the model reads them."""
    return AtomicDataDict.from_ase(structures, model.cutoff, model.type_names, dtype)


def evaluated(model: Model, data: AtomicDataDict.Type) -> Evaluation:
    """Energies, and derivatives through a leaf of positions, of strain, and of the cell.

    The strain deforms what the model reads: ``r (1 + ε)`` and ``H (1 + ε)``.
    """
    with torch.enable_grad():
        positions = data[AtomicDataDict.POSITIONS_KEY].detach().requires_grad_()
        cell = data[AtomicDataDict.CELL_KEY].detach().reshape(-1, 3, 3).requires_grad_()
        strain = torch.zeros_like(cell).requires_grad_()
        frame = AtomicDataDict.frame_of_atoms(data)
        read = {
            **data,
            AtomicDataDict.POSITIONS_KEY: positions
            + torch.einsum("na,nab->nb", positions, strain[frame]),
            AtomicDataDict.CELL_KEY: cell + cell @ strain,
        }
        outputs = model(read)
        energy = outputs[AtomicDataDict.TOTAL_ENERGY_KEY]
        slopes = _slopes(energy.sum(), (positions, strain, cell))
    by_positions, by_strain, by_cell = (slope.double().numpy() for slope in slopes)
    return Evaluation(
        _numbers(energy)[:, 0],
        _numbers(outputs[AtomicDataDict.PER_ATOM_ENERGY_KEY])[:, 0],
        -by_positions,
        by_strain,
        by_cell,
    )


def differences(
    quantity: Callable[[Sequence[ase.Atoms]], Numbers],
    moved: Callable[[int, float], ase.Atoms],
    directions: int,
    step: float = 2e-4,
) -> Numbers:
    """Derivatives of a quantity of structures along directions, by differences of four points.

    Parameters
    ----------
    quantity
        Takes structures and returns one row for each, (structures, *).
    moved
        The structure a step along a direction.

    Returns
    -------
    (directions, *), good to the fourth order in the step.
    """
    points = [(k, m * step) for k in range(directions) for m in STENCIL]
    rows = [
        quantity([moved(*point) for point in points[i : i + FRAMES]])
        for i in range(0, len(points), FRAMES)
    ]
    values = np.concatenate(rows).reshape(directions, len(STENCIL), -1)
    slopes = np.tensordot(np.array(list(STENCIL.values())), values, axes=(0, 1)) / step
    return slopes.reshape(directions, *rows[0].shape[1:])


def assert_agree(what: str, got: ArrayLike, expected: ArrayLike, tolerance: float) -> None:
    """Assert that two arrays agree, relative to the largest entry expected (or to 1).

    Raises
    ------
    AssertionError
        Shows the entries that differ most.
    """
    a, b = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if a.shape != b.shape:
        raise AssertionError(f"{what}: shape {a.shape}, expected {b.shape}")
    scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    deviation = np.abs(a - b)
    wrong = ~(deviation <= tolerance * scale) & ~(np.isnan(a) & np.isnan(b))
    if wrong.any():
        at = np.unravel_index(
            np.argmax(np.where(wrong, np.nan_to_num(deviation, nan=np.inf), -1)), a.shape
        )
        place = f" at {tuple(int(i) for i in at)}" if a.ndim else ""
        raise AssertionError(
            f"{what}{place}: {a[at]:.12g}, expected {b[at]:.12g} within {tolerance * scale:.2g}; "
            f"{np.count_nonzero(wrong)} of {a.size} are wrong"
        )


def _slopes(energy: torch.Tensor, leaves: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Derivatives, zero where there is no dependence at all."""
    if not energy.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(energy, leaves, allow_unused=True)
    return [
        torch.zeros_like(leaf) if slope is None else slope
        for leaf, slope in zip(leaves, found, strict=True)
    ]


def _numbers(values: torch.Tensor) -> Numbers:
    return values.detach().double().numpy()
