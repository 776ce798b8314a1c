"""What an energy model has to keep to, as a table of checks.

A check takes a model and one structure and raises an ``AssertionError`` that shows both numbers.
Derivatives are compared with finite differences, everything else with the same model on another
description of the same physics. All is in double precision but for the check of single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import product

import ase
import numpy as np
import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.testing.evaluation import (
    Evaluation,
    Numbers,
    assert_agree,
    data_of,
    differences,
    evaluated,
)
from nablatom.testing.hygiene import assert_untouched
from nablatom.testing.specimens import displaced, example_structures, lonely, rotated, strained

__all__ = ["MODEL_CHECKS", "assert_model_contract"]

DERIVATIVE = 1e-7  # of differences of four points with steps of 2e-4
EXACT = 1e-10  # of sums that only round
FAR = 1e-8  # 1000 Å away, where positions keep 13 digits
SINGLE = 1e-3  # positions of 10 Å are off by 1e-6 Å, and springs are some 100 eV/Å²
SMOOTH = 1e-6  # of a step of 1e-7 cutoffs

Check = Callable[[GraphModuleMixin, ase.Atoms], None]


def assert_model_contract(
    model: GraphModuleMixin,
    structures: Mapping[str, ase.Atoms] | None = None,
    *,
    checks: Iterable[str] | None = None,
) -> None:
    """Assert that a model keeps to everything that a model of atoms has to keep to.

    Parameters
    ----------
    model
        A graph module in double precision, with ``cutoff``, ``hops`` and ``type_names``.
    structures
        By name; by default `example_structures` of the model's types.
    checks
        Names from `MODEL_CHECKS`; by default all.

    Raises
    ------
    AssertionError
        A check fails: shows both numbers, and notes name the check and the structure.
    KeyError
        There is no check of that name.

    Examples
    --------
    >>> from nablatom.models import LennardJones
    >>> model = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=6.0)
    >>> assert_model_contract(model, checks=["forces", "rotation", "supercell"])
    """
    if structures is None:
        structures = example_structures(model.type_names)
    chosen = {name: MODEL_CHECKS[name] for name in (MODEL_CHECKS if checks is None else checks)}
    for check, run in chosen.items():
        for name, structure in list(structures.items())[: 1 if run in OWN_STRUCTURES else None]:
            try:
                run(model, structure)
            except Exception as error:
                error.add_note(f"in the check {check!r} of the structure {name!r}")
                raise


def check_forces(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Forces are minus the differences of the energy."""

    def moved(direction: int, step: float) -> ase.Atoms:
        unit = np.eye(structure.positions.size)[direction]
        return displaced(structure, step * unit.reshape(-1, 3))

    slopes = differences(lambda s: energies(model, s), moved, structure.positions.size)
    assert_agree("forces", of(model, structure).forces, -slopes.reshape(-1, 3), DERIVATIVE)


def check_strain(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Strain derivatives are differences of the energy, also those of rotations (zero)."""

    def moved(direction: int, step: float) -> ase.Atoms:
        return strained(structure, step * np.eye(9)[direction].reshape(3, 3))

    slopes = differences(lambda s: energies(model, s), moved, 9)
    assert_agree("strain", of(model, structure).strain[0], slopes.reshape(3, 3), DERIVATIVE)


def check_cell(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Derivatives by the cell at fixed positions are differences of the energy."""

    def moved(direction: int, step: float) -> ase.Atoms:
        other = structure.copy()
        other.set_cell(structure.cell.array + step * np.eye(9)[direction].reshape(3, 3))
        return other

    if structure.pbc.any():
        slopes = differences(lambda s: energies(model, s), moved, 9)
        assert_agree("cell", of(model, structure).cell[0], slopes.reshape(3, 3), DERIVATIVE)


def check_curvature(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Second derivatives along a direction are differences of the forces."""
    direction = np.random.default_rng(0).normal(size=structure.positions.shape)

    def moved(_: int, step: float) -> ase.Atoms:
        return displaced(structure, step * direction)

    slopes = differences(lambda s: _split(of(model, s).forces, s), moved, 1)[0]
    data = data_of(model, structure)
    positions = data[AtomicDataDict.POSITIONS_KEY].requires_grad_()
    energy = model(data)[AtomicDataDict.TOTAL_ENERGY_KEY].sum()
    found = torch.zeros_like(positions)
    if energy.requires_grad:
        (slope,) = torch.autograd.grad(energy, positions, create_graph=True)
        work = (slope * torch.from_numpy(direction)).sum()
        if work.requires_grad:
            (found,) = torch.autograd.grad(work, positions)
    assert_agree("second derivatives", -found.numpy(), slopes, 100 * DERIVATIVE)


def check_sums(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Energies of atoms add up; no net force or torque; the forms of the strain agree."""
    result = of(model, structure)
    assert_agree("sum of atomic energies", result.atomic.sum(), result.energy[0], EXACT)
    assert_agree("sum of forces", result.forces.sum(0), np.zeros(3), EXACT)
    assert_agree("transposed strain", result.strain[0].T, result.strain[0], EXACT)
    parts = structure.cell.array.T @ result.cell[0] - structure.positions.T @ result.forces
    assert_agree("strain from positions and cell", parts, result.strain[0], EXACT)


def check_rotation(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Energies stay; forces and strain derivatives turn with the structure."""
    assert_turned(model, structure, rotation())


def check_reflection(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Energies are those of the mirror image."""
    assert_turned(model, structure, -rotation())


def check_translation(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Nothing depends on where the structure is, also 1000 Å away."""
    for shift, tolerance in ((0.37, EXACT), (1000.0, FAR)):
        away = displaced(structure, shift * np.array([1.0, -0.7, 0.4]))
        assert_same(of(model, away), of(model, structure), tolerance)


def check_permutation(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Atoms may come in any order."""
    order = np.random.default_rng(0).permutation(len(structure))
    expected = of(model, structure)
    ordered = expected._replace(atomic=expected.atomic[order], forces=expected.forces[order])
    assert_same(of(model, structure[order]), ordered, EXACT)


def check_supercell(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Twice the cell in each periodic direction has the same energies and forces."""
    repeats = 1 + structure.pbc
    copies = int(repeats.prod())
    one, many = of(model, structure), of(model, structure.repeat(repeats))
    assert_agree("energies of a supercell", many.atomic, np.tile(one.atomic, copies), EXACT)
    assert_agree("forces of a supercell", many.forces, np.tile(one.forces, (copies, 1)), EXACT)
    assert_agree("strain of a supercell", many.strain, copies * one.strain, EXACT)


def check_wrapping(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Atoms may be described by any of their images."""
    steps = np.random.default_rng(0).integers(-3, 4, (len(structure), 3)) * structure.pbc
    moved = displaced(structure, steps @ structure.cell.array)
    assert_same(of(model, moved), of(model, structure), EXACT)


def check_cells(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Cells of the same lattice are the same: swapped (of the other hand) and sheared."""
    swapped = structure.copy()
    swapped.set_cell(structure.cell.array[[0, 2, 1]])
    swapped.pbc = structure.pbc[[0, 2, 1]]
    assert_same(of(model, swapped), of(model, structure), EXACT)
    for k, l in product(np.flatnonzero(structure.pbc), repeat=2):
        if k != l:
            sheared = structure.copy()
            cell = structure.cell.array.copy()
            cell[k] += cell[l]
            sheared.set_cell(cell)
            assert_same(of(model, sheared), of(model, structure), EXACT)


def check_batch(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """A frame is the same alone and among others, and nothing passes between frames."""
    nothing, larger = structure[:0], strained(structure, 0.05 * np.eye(3))
    others = [nothing, larger, lonely(structure), structure, nothing]
    alone = [of(model, frame) for frame in others]
    whole = Evaluation(*map(np.concatenate, zip(*alone, strict=True)))
    assert_same(of(model, others), whole, EXACT)
    data = data_of(model, others)
    positions = data[AtomicDataDict.POSITIONS_KEY].requires_grad_()
    energy = model(data)[AtomicDataDict.TOTAL_ENERGY_KEY]
    if energy.requires_grad:
        (slope,) = torch.autograd.grad(energy[1].sum(), positions)
        elsewhere = AtomicDataDict.frame_of_atoms(data) != 1
        assert_agree("slope across frames", slope[elsewhere], 0 * slope[elsewhere], 0.0)


def check_edges(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Edges may come in any order, and may be longer than the cutoff; tensors may be views."""
    data = AtomicDataDict.with_neighbors(data_of(model, structure), 1.25 * model.cutoff)
    edges = data[AtomicDataDict.EDGE_INDEX_KEY].shape[1]
    order = torch.from_numpy(np.random.default_rng(0).permutation(edges))
    data = {
        **{key: _view(x) for key, x in data.items()},
        AtomicDataDict.EDGE_INDEX_KEY: data[AtomicDataDict.EDGE_INDEX_KEY][:, order],
        AtomicDataDict.EDGE_CELL_SHIFT_KEY: data[AtomicDataDict.EDGE_CELL_SHIFT_KEY][order],
    }
    assert_same(evaluated(model, data), of(model, structure), EXACT)


def check_smoothness(model: GraphModuleMixin, structure: ase.Atoms) -> None:  # noqa: ARG001
    """Energy and forces are continuous where an atom passes the cutoff of another."""
    near, step = 0.6 * model.cutoff, 1e-7 * model.cutoff
    for first, second, third in product(model.type_names, repeat=3):
        inside, at, outside = (
            ase.Atoms([first, second, third], [[0, 0, 0], [model.cutoff + h, 0, 0], [0, near, 0]])
            for h in (-step, 0.0, step)
        )
        for trimer in (inside, at):
            result, expected = of(model, trimer), of(model, outside)
            assert_agree("energy at the cutoff", result.energy, expected.energy, SMOOTH)
            assert_agree("forces at the cutoff", result.forces, expected.forces, SMOOTH)


def check_reach(model: GraphModuleMixin, structure: ase.Atoms) -> None:  # noqa: ARG001
    """Atoms more than ``hops`` edges away have no influence at all on an energy.

    With one hop, no edge has an influence on any other energy than that of its center.
    """
    count = model.hops + 2
    places = 0.6 * model.cutoff * np.arange(count)[:, None] * np.eye(3)[0]
    symbols = [model.type_names[i % len(model.type_names)] for i in range(count)]
    data = AtomicDataDict.with_edge_vectors(data_of(model, ase.Atoms(symbols, places)))
    vectors = data[AtomicDataDict.EDGE_VECTORS_KEY].requires_grad_()
    energy = model(data)[AtomicDataDict.PER_ATOM_ENERGY_KEY]
    if not energy.requires_grad:
        return
    (slope,) = torch.autograd.grad(energy[0].sum(), vectors)
    center = data[AtomicDataDict.EDGE_INDEX_KEY][0]
    beyond = slope[center >= model.hops]
    assert_agree(
        f"slope by edges that are {model.hops} hops away", beyond, torch.zeros_like(beyond), 0.0
    )


def check_hygiene(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """What the model is given stays as it is, also if the model raises."""
    assert_untouched(model, data_of(model, structure))


def check_precision(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """In single precision, results are of single precision, and near those of double."""
    single = deepcopy(model).float()  # type: ignore[attr-defined]
    data = data_of(model, structure, torch.float32)
    dtype = single(data)[AtomicDataDict.TOTAL_ENERGY_KEY].dtype
    if dtype is not torch.float32:
        raise AssertionError(f"the energy of data in torch.float32 is in {dtype}")
    assert_same(evaluated(single, data), of(model, structure), SINGLE)


def check_isolation(model: GraphModuleMixin, structure: ase.Atoms) -> None:  # noqa: ARG001
    """An atom without neighbors has a finite energy and no forces; no atom, no energy."""
    for symbol in model.type_names:
        result = of(model, ase.Atoms(symbol))
        if not np.isfinite(result.energy).all():
            raise AssertionError(f"the energy of one atom {symbol} is {result.energy[0]}")
        assert_agree(f"forces on one atom {symbol}", result.forces, np.zeros((1, 3)), 0.0)
    assert_agree("energy of no atoms", of(model, ase.Atoms()).energy, np.zeros(1), 0.0)


def check_dynamics(model: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The error of the total energy falls with the square of the time step."""
    coarse, fine = (_energy_error(model, structure, steps) for steps in (12, 24))
    if (
        coarse > EXACT * max(1.0, float(np.abs(of(model, structure).energy[0])))
        and not 3.0 < coarse / fine < 5.0
    ):
        raise AssertionError(
            f"the total energy is off by {coarse:.4g} eV, with half the time step by {fine:.4g} "
            f"eV: {coarse / fine:.3g} times less, expected about 4"
        )


MODEL_CHECKS: Mapping[str, Check] = {
    "forces": check_forces,
    "strain": check_strain,
    "cell": check_cell,
    "curvature": check_curvature,
    "sums": check_sums,
    "rotation": check_rotation,
    "reflection": check_reflection,
    "translation": check_translation,
    "permutation": check_permutation,
    "supercell": check_supercell,
    "wrapping": check_wrapping,
    "cells": check_cells,
    "batch": check_batch,
    "edges": check_edges,
    "smoothness": check_smoothness,
    "reach": check_reach,
    "hygiene": check_hygiene,
    "precision": check_precision,
    "isolation": check_isolation,
    "dynamics": check_dynamics,
}
"""Name → check of a model and one structure."""

OWN_STRUCTURES = (check_smoothness, check_reach, check_isolation)  # so that once is enough


def of(model: GraphModuleMixin, structures: ase.Atoms | Sequence[ase.Atoms]) -> Evaluation:
    """The model's energies and derivatives, with neighbors of these structures."""
    return evaluated(model, data_of(model, structures))


def energies(model: GraphModuleMixin, structures: Sequence[ase.Atoms]) -> Numbers:
    """Total energies, (structures,)."""
    return model(data_of(model, structures))[AtomicDataDict.TOTAL_ENERGY_KEY][:, 0].detach().numpy()


def rotation() -> Numbers:
    """A proper rotation about no special axis."""
    matrix = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
    return matrix * np.linalg.det(matrix)


def assert_same(got: Evaluation, expected: Evaluation, tolerance: float) -> None:
    """Assert that energies, forces and strain derivatives agree."""
    for name in ("energy", "atomic", "forces", "strain"):
        assert_agree(name, getattr(got, name), getattr(expected, name), tolerance)


def assert_turned(model: GraphModuleMixin, structure: ase.Atoms, matrix: Numbers) -> None:
    """Assert that a structure times a matrix has the results times the matrix."""
    result = of(model, structure)
    turned = result._replace(
        forces=result.forces @ matrix, strain=matrix.T @ result.strain @ matrix
    )
    assert_same(of(model, rotated(structure, matrix)), turned, EXACT)


def _view(values: torch.Tensor) -> torch.Tensor:
    """The same numbers, with others between them."""
    return torch.stack([values, values], dim=-1)[..., 0]


def _split(values: Numbers, structures: Sequence[ase.Atoms]) -> Numbers:
    """Rows of atoms of structures of one size, (structures, atoms, 3)."""
    return values.reshape(len(structures), -1, 3)


def _energy_error(model: GraphModuleMixin, structure: ase.Atoms, steps: int) -> float:
    """Largest change of the total energy within half a vibration, by the Verlet algorithm, eV.

    The masses are 1, and time has the unit that this leaves.
    """
    random = np.random.default_rng(1)
    direction = random.normal(scale=0.01, size=structure.positions.shape)
    now = of(model, structure)
    change = of(model, displaced(structure, direction)).forces - now.forces
    frequency = np.sqrt(np.linalg.norm(change) / np.linalg.norm(direction))
    if frequency == 0.0:
        return 0.0
    step, velocity = 2.0 / (frequency * steps), frequency * direction
    total = []
    for _ in range(steps):
        total.append(now.energy[0] + 0.5 * (velocity**2).sum())
        velocity = velocity + 0.5 * step * now.forces
        structure = displaced(structure, step * velocity)
        now = of(model, structure)
        velocity = velocity + 0.5 * step * now.forces
    total.append(now.energy[0] + 0.5 * (velocity**2).sum())
    return float(np.abs(np.array(total) - total[0]).max())
