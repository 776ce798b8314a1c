"""Force constants of a supercell, and files of them that phonopy reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike, fspath

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nablatom.io import atomic
from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import Model
from nablatom.outputs.hessian import hessian

__all__ = ["force_constants", "write_force_constants"]

UNIT = "eV/angstrom^2"  # phonopy's word for it


def force_constants(
    model: Model, data: AtomicDataDict.Type, *, rows: Sequence[int] | torch.Tensor | None = None
) -> torch.Tensor:
    """Force constants ``Φ_ij,ab = d²E/dr_ia dr_jb``, (rows, atoms, 3, 3), as phonopy has them.

    Exact derivatives: no displacement has to be chosen. Force constants of periodic images
    of an atom are summed, as phonopy expects, so the supercell has to be larger than twice
    what the model sees.

    Parameters
    ----------
    model
        Gives ``total_energy``.
    data
        One supercell, with neighbors, its atoms in phonopy's order.
    rows
        The atoms whose rows are wanted; phonopy's ``primitive.p2s_map`` gives its compact
        form. By default all.

    Returns
    -------
    In eV/Å² if energies are in eV and positions in Å, detached.

    Raises
    ------
    ValueError
        If there is more than one frame.
    IndexError
        If a row is no atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> supercell = bulk("Ar", a=5.26, cubic=True).repeat(2)
    >>> data = AtomicDataDict.from_ase(supercell, cutoff=8.5)
    >>> constants = force_constants(argon, data, rows=[0])
    >>> constants.shape
    torch.Size([1, 32, 3, 3])
    >>> bool(constants.sum(1).abs().max() < 1e-12)  # moving all atoms costs nothing
    True
    """
    frames = AtomicDataDict.num_frames(data)
    if frames != 1:
        raise ValueError(f"force constants belong to one supercell; the data have {frames} frames")
    matrix = hessian(model, data, rows=rows, create_graph=False)
    atoms = len(data[AtomicDataDict.POSITIONS_KEY])
    return matrix.view(-1, 3, atoms, 3).transpose(1, 2).contiguous()


def write_force_constants(
    path: str | PathLike[str],
    constants: torch.Tensor | NDArray[np.float64],
    *,
    rows: ArrayLike | None = None,
) -> None:
    """Write force constants for phonopy: ``FORCE_CONSTANTS``, or HDF5 if named ``….hdf5``.

    Parameters
    ----------
    path
        With HDF5, the package h5py is needed.
    constants : (rows, atoms, 3, 3), eV/Å²
        As :func:`force_constants` gives them.
    rows
        The atoms of the rows, if they are not all atoms.

    Raises
    ------
    ValueError
        If the shape is another one, or atoms and rows are not as many.

    Examples
    --------
    >>> import numpy as np
    >>> spring = np.einsum("ij,ab->ijab", [[1.0, -1.0], [-1.0, 1.0]], np.eye(3))
    >>> write_force_constants("FORCE_CONSTANTS", spring)
    >>> with open("FORCE_CONSTANTS") as file:
    ...     print(*[" ".join(file.readline().split()) for _ in range(3)], sep="; ")
    2 2; 1 1; 1.000000000000000 0.000000000000000 0.000000000000000
    """
    numbers = constants.detach().cpu() if isinstance(constants, torch.Tensor) else constants
    values = np.asarray(numbers, dtype=np.float64)
    atoms = _checked(values, rows)
    if fspath(path).endswith(".hdf5"):
        _write_hdf5(path, values, atoms)
    else:
        atomic.write(path, _lines(values, atoms))


def _checked(values: NDArray[np.float64], rows: ArrayLike | None) -> NDArray[np.int64]:
    """The atoms of the rows."""
    if values.ndim != 4 or values.shape[2:] != (3, 3):
        raise ValueError(f"force constants have shape {values.shape}; expected (rows, atoms, 3, 3)")
    if rows is None and len(values) != values.shape[1]:
        raise ValueError(
            f"there are {len(values)} rows for {values.shape[1]} atoms: say which atoms they are "
            "with rows"
        )
    atoms = np.arange(len(values)) if rows is None else np.asarray(rows, np.int64).reshape(-1)
    if len(atoms) != len(values):
        raise ValueError(f"there are {len(values)} rows of force constants, but {len(atoms)} atoms")
    return atoms


def _lines(values: NDArray[np.float64], atoms: NDArray[np.int64]) -> Iterator[bytes]:
    """Phonopy's text: sizes; for each pair of atoms, counted from 1, three rows of numbers."""
    yield f"{values.shape[0]:4d} {values.shape[1]:4d}\n".encode()
    for atom, row in zip(atoms, values, strict=True):
        for other, matrix in enumerate(row):
            rows = "\n".join("".join(f"{x:22.15f}" for x in numbers) for numbers in matrix)
            yield f"{atom + 1} {other + 1}\n{rows}\n".encode()


def _write_hdf5(
    path: str | PathLike[str], values: NDArray[np.float64], atoms: NDArray[np.int64]
) -> None:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "w") as file:
        file["force_constants"] = values
        file["p2s_map"] = atoms
        file["physical_unit"] = [UNIT]
