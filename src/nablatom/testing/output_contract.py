"""What a module has to keep to that adds derivatives to a model of energies.

The checks go by the fields that the module gives: each that is a derivative is compared with
finite differences of the energies that the module itself gives, and all of them are rotated,
permuted, batched and copied by what their axes are. A field of no known meaning is left alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy

import ase
import numpy as np
import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.testing.evaluation import Numbers, assert_agree, data_of, differences
from nablatom.testing.hygiene import assert_untouched
from nablatom.testing.model_contract import DERIVATIVE, EXACT, rotation
from nablatom.testing.specimens import (
    displaced,
    example_structures,
    lonely,
    rotated,
    strained,
    without_cell,
)

__all__ = ["FIELD_AXES", "OUTPUT_CHECKS", "assert_output_contract"]

FIELD_AXES: Mapping[str, tuple[str, ...]] = {
    "atomic_energy": ("atom", "1"),
    "total_energy": ("frame", "1"),
    "forces": ("atom", "xyz"),
    "partial_forces": ("atom", "atom", "xyz"),
    "stress": ("frame", "xyz", "xyz"),
    "virial": ("frame", "xyz", "xyz"),
    "atomic_virial": ("atom", "xyz", "xyz"),
    "hessian": ("atom", "xyz", "atom", "xyz"),  # stored as (3 atoms, 3 atoms)
    "dipole": ("frame", "xyz"),
    "polarizability": ("frame", "xyz", "xyz"),
    "born_charges": ("atom", "xyz", "xyz"),
    "heat_flux": ("frame", "xyz"),
    "convective_heat_flux": ("frame", "xyz"),
}
"""What the axes of the fields are that the checks know."""

Check = Callable[[GraphModuleMixin, ase.Atoms], None]
Fields = dict[str, Numbers]


def assert_output_contract(
    module: GraphModuleMixin,
    structures: Mapping[str, ase.Atoms] | None = None,
    *,
    checks: Iterable[str] | None = None,
) -> None:
    """Assert that what a module adds to a model's energies is right, and nothing else happens.

    Parameters
    ----------
    module
        A graph module in double precision around an energy model, in evaluation mode.
    structures
        By name; by default `example_structures` of the model's types.
    checks
        Names from `OUTPUT_CHECKS`; by default all.

    Raises
    ------
    AssertionError
        A check fails: shows both numbers, and notes name the check and the structure. Also if
        the module gives no field that the checks know, but energies.
    KeyError
        There is no check of that name.

    Examples
    --------
    >>> from nablatom.models import LennardJones
    >>> from nablatom.outputs import StressOutput
    >>> model = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=6.0)
    >>> structures = example_structures(["Ar"], bond=3.4)
    >>> assert_output_contract(StressOutput(model).eval(), structures, checks=["stress"])
    """
    if structures is None:
        structures = example_structures(module.type_names)
    chosen = {name: OUTPUT_CHECKS[name] for name in (OUTPUT_CHECKS if checks is None else checks)}
    for check, run in chosen.items():
        for name, structure in structures.items():
            try:
                run(module, structure)
            except Exception as error:
                error.add_note(f"in the check {check!r} of the structure {name!r}")
                raise


def check_fields(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """There is a derivative to check, and all fields that the module says it gives."""
    found = fields(module, structure)
    if not set(found) - {"atomic_energy", "total_energy"}:
        raise AssertionError(
            f"nothing to check: the module gives none of {', '.join(list(FIELD_AXES)[2:])}"
        )
    declared = module.irreps_out.keys() - module.irreps_in.keys()
    if not structure.pbc.any():
        declared -= {"stress"}
    if missing := declared - module(data_of(module, structure)).keys():
        raise AssertionError(f"the module does not give {', '.join(missing)}, which it declares")
    if undeclared := set(found) - set(module.irreps_out):
        raise AssertionError(f"the module gives {', '.join(undeclared)}, which it does not declare")


def check_forces(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Forces are minus the differences of the total energy."""
    found = fields(module, structure)
    if "forces" in found:
        slopes = by_positions(module, structure, "total_energy").reshape(-1, 3)
        assert_agree("forces", found["forces"], -slopes, DERIVATIVE)


def check_partial_forces(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Partial forces are minus the differences of each atom's energy, and add up."""
    found = fields(module, structure)
    if "partial_forces" not in found:
        return
    partial = found["partial_forces"]
    slopes = by_positions(module, structure, "atomic_energy")  # (3 atoms, atoms)
    expected = -slopes.T.reshape(partial.shape)
    assert_agree("partial forces", partial, expected, DERIVATIVE)
    assert_agree("sum over positions", partial.sum(1), np.zeros_like(partial[0]), EXACT)
    if "forces" in found:
        assert_agree("sum over energies", partial.sum(0), found["forces"], EXACT)


def check_stress(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The stress is the symmetric strain derivative per volume, or there is none."""
    found = fields(module, structure)
    if "stress" not in found:
        return
    stress, volume = found["stress"][0], abs(np.linalg.det(structure.cell.array))
    if volume == 0 or not structure.pbc.any():
        raise AssertionError(f"a structure without cell has a stress: {stress.tolist()}")
    slopes = by_strain(module, structure, "total_energy").reshape(3, 3)
    expected = (slopes + slopes.T) / 2
    assert_agree("stress times volume", stress * volume, expected, DERIVATIVE)
    assert_agree("transposed stress", stress.T, stress, EXACT)
    if "virial" in found:
        assert_agree("virial", found["virial"][0], -volume * stress, EXACT)


def check_virial(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The virial is minus the symmetric strain derivative; those of the atoms add up to it."""
    found = fields(module, structure)
    for name, energy in (("virial", "total_energy"), ("atomic_virial", "atomic_energy")):
        if name in found:
            slopes = by_strain(module, structure, energy).T.reshape(-1, 3, 3)
            expected = -(slopes + slopes.transpose(0, 2, 1)) / 2
            assert_agree(name, found[name], expected, DERIVATIVE)
    if {"virial", "atomic_virial"} <= set(found):
        total = found["atomic_virial"].sum(0)
        assert_agree("sum of atomic virials", total, found["virial"][0], EXACT)


def check_hessian(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The Hessian is the differences of the energy's slopes, symmetric, and its rows add to zero.

    The slopes are those of the energy model at the core of the module.
    """
    found = fields(module, structure)
    if "hessian" not in found:
        return
    size = structure.positions.size
    core = _core(module)

    def slopes(structures: Sequence[ase.Atoms]) -> Numbers:
        data = data_of(core, structures)
        positions = data[AtomicDataDict.POSITIONS_KEY].requires_grad_()
        energy = core(data)[AtomicDataDict.TOTAL_ENERGY_KEY].sum()
        (slope,) = torch.autograd.grad(energy, positions)
        return slope.numpy().reshape(len(structures), size)

    expected = differences(slopes, lambda k, h: _moved(structure, k, h), size)
    hessian = found["hessian"].reshape(size, size)
    assert_agree("hessian", hessian, expected, 100 * DERIVATIVE)
    assert_agree("transposed hessian", hessian.T, hessian, EXACT)
    assert_agree(
        "sums of the hessian",
        found["hessian"].sum(2),
        np.zeros_like(expected[:, :3].reshape(-1, 3, 3)),
        EXACT,
    )


def check_field(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The dipole is minus the differences of the energy in the field; the rest, of the dipole."""
    found = fields(module, structure)

    def charged(direction: int, step: float) -> ase.Atoms:
        other = structure.copy()
        other.info["electric_field"] = other.info["electric_field"] + step * np.eye(3)[direction]
        return other

    if "dipole" in found:
        slopes = differences(lambda s: _rows(module, s, "total_energy"), charged, 3)
        assert_agree("dipole", found["dipole"][0], -slopes[:, 0], DERIVATIVE)
    if "polarizability" in found:
        slopes = differences(lambda s: _rows(module, s, "dipole"), charged, 3)
        assert_agree("polarizability", found["polarizability"][0], slopes.T, DERIVATIVE)
    if "born_charges" in found:
        slopes = by_positions(module, structure, "dipole").reshape(-1, 3, 3).transpose(0, 2, 1)
        assert_agree("born charges", found["born_charges"], slopes, DERIVATIVE)


def check_heat_flux(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The flux of a cluster is how fast its center of energy moves, kinetic energy included."""
    found = fields(module, structure)
    if "heat_flux" not in found or structure.pbc.any():
        return
    velocities = structure.get_velocities()

    def later(_: int, time: float) -> ase.Atoms:
        return displaced(structure, time * velocities)

    power = differences(lambda s: _rows(module, s, "atomic_energy"), later, 1)[0]
    forces = -by_positions(module, structure, "total_energy").reshape(-1, 3)
    power = power + (forces * velocities).sum(1)
    assert_agree("heat flux", found["heat_flux"][0], structure.positions.T @ power, DERIVATIVE)
    if "convective_heat_flux" in found:
        convective = velocities.T @ found["atomic_energy"][:, 0]
        assert_agree("convective flux", found["convective_heat_flux"][0], convective, EXACT)


def check_rotation(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Every Cartesian axis turns with the structure, also in a mirror."""
    for matrix in (rotation(), -rotation()):
        expected = {
            name: _turned(values, FIELD_AXES[name], matrix)
            for name, values in fields(module, structure).items()
        }
        assert_fields(fields(module, rotated(structure, matrix)), expected)


def check_permutation(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Every axis of atoms follows their order."""
    order = np.random.default_rng(0).permutation(len(structure))
    expected = {
        name: _taken(values, FIELD_AXES[name], order)
        for name, values in fields(module, structure).items()
    }
    assert_fields(fields(module, structure[order]), expected)


def check_cells(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Nothing depends on the place, on images of atoms, or on the hand of the cell."""
    steps = np.random.default_rng(0).integers(-2, 3, (len(structure), 3)) * structure.pbc
    moved = displaced(structure, steps @ structure.cell.array + [0.3, -0.8, 0.5])
    moved.set_cell(moved.cell.array[[1, 0, 2]])
    moved.pbc = structure.pbc[[1, 0, 2]]
    assert_fields(fields(module, moved), fields(module, structure))


def check_batch(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Every frame is the same alone and among others; between frames, there is nothing."""
    others = [lonely(structure), strained(structure, 0.03 * np.eye(3)), structure]
    frames = [*others, structure[:0]]
    data = data_of(module, frames)
    given = _fields(module(data), sum(map(len, frames)))
    frame = AtomicDataDict.frame_of_atoms(data).numpy()
    for index, alone in enumerate(others):
        expected = fields(module, alone)
        own = {"atom": np.flatnonzero(frame == index), "frame": np.array([index])}
        found = {
            name: _part(values, FIELD_AXES[name], own)
            for name, values in given.items()
            if name in expected or np.isfinite(_part(values, FIELD_AXES[name], own)).any()
        }
        assert_fields(found, expected)
        for name, values in given.items():
            if FIELD_AXES[name].count("atom") == 2:
                across = values[own["atom"]].swapaxes(0, FIELD_AXES[name].index("atom", 1))
                elsewhere = across[frame != index]
                assert_agree(f"{name} across frames", elsewhere, np.zeros_like(elsewhere), 0.0)


def check_hygiene(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """The input stays as it is, also after an error; results of an evaluation hold no graph."""
    data = data_of(module, structure)
    assert_untouched(module, data)
    held = [name for name, values in module(data).items() if values.requires_grad]
    if held:
        raise AssertionError(f"in evaluation mode, {', '.join(held)} hold a graph")


def check_training(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """In training mode, all derivatives can be differentiated by the parameters.

    The slopes of what is known are finite, also if a frame without cell is in the batch.
    """
    trained = deepcopy(module).train().requires_grad_()  # type: ignore[attr-defined]
    if not list(trained.parameters()):
        return
    outputs = trained(data_of(module, [structure, without_cell(structure)]))
    given = {name: outputs[name] for name in FIELD_AXES if name in outputs}
    weights = dict(trained.named_parameters())
    for name, values in given.items():
        if not values.requires_grad:
            raise AssertionError(f"in training mode, {name} is not differentiable")
        loss = torch.where(values.isfinite(), values, 0.0).square().sum()
        slopes: Sequence[torch.Tensor | None] = torch.autograd.grad(
            loss, list(weights.values()), retain_graph=True, allow_unused=True
        )
        for parameter, slope in zip(weights, slopes, strict=True):
            if slope is not None and not slope.isfinite().all():
                raise AssertionError(f"the slope of {name} by {parameter} is {slope}")


def check_copies(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """A deep copy and a pickled copy give the same."""
    expected = fields(module, structure)
    assert_fields(fields(deepcopy(module), structure), expected)
    assert_fields(fields(pickle.loads(pickle.dumps(module)), structure), expected)  # noqa: S301


def check_precision(module: GraphModuleMixin, structure: ase.Atoms) -> None:
    """Results have the precision of the data."""
    single = deepcopy(module).float()  # type: ignore[attr-defined]
    outputs = single(data_of(module, structure, torch.float32))
    for name in FIELD_AXES:
        if name in outputs and outputs[name].dtype is not torch.float32:
            raise AssertionError(f"{name} of data in torch.float32 is in {outputs[name].dtype}")


OUTPUT_CHECKS: Mapping[str, Check] = {
    "fields": check_fields,
    "forces": check_forces,
    "partial forces": check_partial_forces,
    "stress": check_stress,
    "virial": check_virial,
    "hessian": check_hessian,
    "field": check_field,
    "heat flux": check_heat_flux,
    "rotation": check_rotation,
    "permutation": check_permutation,
    "cells": check_cells,
    "batch": check_batch,
    "hygiene": check_hygiene,
    "training": check_training,
    "copies": check_copies,
    "precision": check_precision,
}
"""Name → check of a module and one structure."""


def fields(module: GraphModuleMixin, structure: ase.Atoms) -> Fields:
    """All fields that the checks know, with the axes that they are said to have."""
    return _fields(module(data_of(module, structure)), len(structure))


def by_positions(module: GraphModuleMixin, structure: ase.Atoms, energy: str) -> Numbers:
    """Differences of energies, (3 atoms, rows of the energy)."""
    size = structure.positions.size
    return differences(
        lambda s: _rows(module, s, energy), lambda k, h: _moved(structure, k, h), size
    )


def by_strain(module: GraphModuleMixin, structure: ase.Atoms, energy: str) -> Numbers:
    """Differences of energies, (9, rows of the energy)."""

    def moved(direction: int, step: float) -> ase.Atoms:
        return strained(structure, step * np.eye(9)[direction].reshape(3, 3))

    return differences(lambda s: _rows(module, s, energy), moved, 9)


def assert_fields(got: Fields, expected: Fields) -> None:
    """Assert that the same fields are there, with the same numbers."""
    if set(got) != set(expected):
        raise AssertionError(f"there are {', '.join(got)}; expected {', '.join(expected)}")
    for name in expected:
        assert_agree(name, got[name], expected[name], EXACT)


def _fields(outputs: AtomicDataDict.Type, atoms: int) -> Fields:
    known = {name: outputs[name].detach().numpy() for name in FIELD_AXES if name in outputs}
    if "hessian" in known:
        known["hessian"] = known["hessian"].reshape(atoms, 3, atoms, 3)
    return known


def _rows(module: GraphModuleMixin, structures: Sequence[ase.Atoms], energy: str) -> Numbers:
    """Energies, one row for each structure."""
    values = module(data_of(module, structures))[energy]
    return values.detach().numpy().reshape(len(structures), -1)


def _moved(structure: ase.Atoms, direction: int, step: float) -> ase.Atoms:
    unit = np.eye(structure.positions.size)[direction]
    return displaced(structure, step * unit.reshape(-1, 3))


def _core(module: GraphModuleMixin) -> GraphModuleMixin:
    """The energy model inside all wrappers."""
    while isinstance(inner := getattr(module, "func", None), GraphModuleMixin):
        module = inner
    return module


def _axes(axes: Sequence[str], name: str) -> Iterator[int]:
    return (axis for axis, of in enumerate(axes) if of == name)


def _turned(values: Numbers, axes: Sequence[str], matrix: Numbers) -> Numbers:
    for axis in _axes(axes, "xyz"):
        values = np.moveaxis(np.moveaxis(values, axis, -1) @ matrix, -1, axis)
    return values


def _taken(values: Numbers, axes: Sequence[str], rows: np.ndarray) -> Numbers:
    for axis in _axes(axes, "atom"):
        values = np.take(values, rows, axis)
    return values


def _part(values: Numbers, axes: Sequence[str], own: Mapping[str, np.ndarray]) -> Numbers:
    """What belongs to one frame."""
    values = _taken(values, axes, own["atom"])
    return np.take(values, own["frame"], 0) if axes[0] == "frame" else values
