"""ASE structures ⇄ atomic data."""

from collections.abc import Callable, Sequence

import ase
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from nablatom.systems.batches import batched, unbatched
from nablatom.systems.edges import with_neighbors, with_types
from nablatom.systems.fields import (
    ATOMIC_NUMBERS_KEY,
    BATCH_KEY,
    CELL_KEY,
    ELECTRIC_FIELD_KEY,
    FORCE_KEY,
    PBC_KEY,
    PER_ATOM_ENERGY_KEY,
    POSITIONS_KEY,
    STRESS_KEY,
    TOTAL_ENERGY_KEY,
    VELOCITIES_KEY,
    Type,
)
from nablatom.systems.structures import check_geometry
from nablatom.systems.targets import energy_of, forces_of, stress_of

__all__ = ["from_ase", "to_ase"]

Numbers = NDArray[np.float64]
RESULTS: dict[str, tuple[str, Callable[[Numbers], float | Numbers]]] = {
    TOTAL_ENERGY_KEY: ("energy", lambda values: values.item()),
    PER_ATOM_ENERGY_KEY: ("energies", lambda values: values[:, 0]),
    FORCE_KEY: ("forces", lambda values: values),
    STRESS_KEY: ("stress", lambda values: full_3x3_to_voigt_6_stress(values[0])),
}
STRUCTURE = (
    POSITIONS_KEY,
    CELL_KEY,
    PBC_KEY,
    ATOMIC_NUMBERS_KEY,
    VELOCITIES_KEY,
    ELECTRIC_FIELD_KEY,
)


def from_ase(
    structure: ase.Atoms | Sequence[ase.Atoms],
    cutoff: float | None = None,
    types: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Type:
    """Atomic data of a structure, or of several in one batch, with stored results as labels.

    Parameters
    ----------
    cutoff
        Å. With it, the data has edges to all neighbors within the cutoff.
    types
        Element symbols: with them, the data has ``atom_types``.

    Returns
    -------
    ``pos``, ``cell`` (frames, 3, 3), ``pbc`` (frames, 3) and ``atomic_numbers``; as asked,
    ``edge_index``, ``edge_cell_shift`` and ``atom_types``; ``batch`` and ``num_atoms`` if there
    are several structures. Energy, forces and stress that the structure carries become
    ``total_energy``, ``forces``, ``stress``, in eV and Å; its momenta become ``velocities`` in
    ASE's unit, and an ``electric_field`` among its ``info`` the field of that name, V/Å.

    Raises
    ------
    TypeError
        What is given is no structure.
    ValueError
        A position or cell is not finite, a periodic direction has no cell vector, or an
        element is not among the types: names the frame.

    Examples
    --------
    >>> from ase.build import bulk
    >>> data = from_ase(bulk("Cu", a=3.6), cutoff=3.0, types=["Cu"])
    >>> data["edge_index"].shape
    torch.Size([2, 12])
    """
    if isinstance(structure, ase.Atoms):
        data = _from_one(structure, 0, dtype, device)
    else:
        data = batched(_from_one(each, i, dtype, device) for i, each in enumerate(structure))
    if types is not None:
        data = with_types(data, types)
    return data if cutoff is None else with_neighbors(data, cutoff)


def to_ase(data: Type) -> ase.Atoms | list[ase.Atoms]:
    """The structure, or for a batch the list of structures, with results where there are any.

    Energy, energies of the atoms, forces and stress become results of a calculator; those
    that are NaN are left out.

    Raises
    ------
    KeyError
        The data has no atomic numbers.
    """
    if ATOMIC_NUMBERS_KEY not in data:
        raise KeyError("the data has no field 'atomic_numbers', which says what the atoms are")
    wanted = (*STRUCTURE, BATCH_KEY, *RESULTS)
    frames = unbatched({key: data[key].detach() for key in wanted if key in data})
    structures = [_to_one(frame) for frame in frames]
    return structures if BATCH_KEY in data else structures[0]


def _from_one(
    structure: ase.Atoms, index: int, dtype: torch.dtype, device: torch.device | str | None
) -> Type:
    if not isinstance(structure, ase.Atoms):
        raise TypeError(
            f"frame {index}: expected ase.Atoms, got {type(structure).__name__}; "
            "ase.io.read(path, ':') reads the structures of a file"
        )
    try:
        check_geometry(structure)
    except ValueError as error:
        raise ValueError(f"frame {index}: {error}") from None
    real = {
        POSITIONS_KEY: structure.positions,
        CELL_KEY: structure.cell.array[None],
        TOTAL_ENERGY_KEY: _shaped(energy_of(structure), 1, 1),
        FORCE_KEY: forces_of(structure),
        STRESS_KEY: _shaped(stress_of(structure), 1, 3, 3),
        VELOCITIES_KEY: structure.get_velocities() if structure.has("momenta") else None,
        ELECTRIC_FIELD_KEY: _shaped(structure.info.get(ELECTRIC_FIELD_KEY), 1, 3),
    }
    found = {key: values for key, values in real.items() if values is not None}
    numbers = torch.tensor(structure.numbers, dtype=torch.int64, device=device)
    return {
        **{k: torch.tensor(v, dtype=dtype, device=device) for k, v in found.items()},
        PBC_KEY: torch.tensor(structure.pbc[None], device=device),
        ATOMIC_NUMBERS_KEY: numbers,
    }


def _shaped(values: object, *shape: int) -> Numbers | None:
    return None if values is None else np.reshape(np.asarray(values, dtype=np.float64), shape)


def _to_one(frame: Type) -> ase.Atoms:
    arrays = {key: values.cpu().numpy() for key, values in frame.items()}
    structure = ase.Atoms(
        numbers=arrays[ATOMIC_NUMBERS_KEY].reshape(-1),
        positions=arrays[POSITIONS_KEY],
        cell=arrays[CELL_KEY][0] if CELL_KEY in arrays else None,
        pbc=arrays[PBC_KEY][0] if PBC_KEY in arrays else None,
    )
    if VELOCITIES_KEY in arrays and not np.isnan(arrays[VELOCITIES_KEY]).any():
        structure.set_velocities(arrays[VELOCITIES_KEY])
    if ELECTRIC_FIELD_KEY in arrays:
        structure.info[ELECTRIC_FIELD_KEY] = arrays[ELECTRIC_FIELD_KEY][0]
    results = {
        name: shape(arrays[key].astype(np.float64))
        for key, (name, shape) in RESULTS.items()
        if key in arrays and not np.isnan(arrays[key]).any()
    }
    if results:
        structure.calc = SinglePointCalculator(structure, **results)
    return structure
