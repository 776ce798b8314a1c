"""Elastic constants: how the energy answers to two strains, with the atoms held or let go.

``C_JK = 1/V d²E/dη_J dη_K`` for the six strains ``η`` of Voigt, ``xx, yy, zz, yz, xz, xy``,
the last three being twice the component of a symmetric ``ε``: ``r → r (1 + ε)``, ``H → H (1 + ε)``.
These are the clamped-ion constants. Where the strain moves atoms against each other, forces

``Λ_J = -d²E/dr dη_J``

appear (internal strain), and atoms that follow them lower the energy: the relaxed-ion constants
are ``C_JK - 1/V Λ_J · H⁺ Λ_K`` with the pseudo-inverse of the Hessian.

At a minimum of the energy, all definitions of elastic constants agree. Elsewhere, these are the
second derivatives of the energy in this strain.

References: Born and Huang, Dynamical Theory of Crystal Lattices (1954), chapter V; Wu,
Vanderbilt, Hamann, PRB 72, 035105 (2005), for internal strain.
"""

from __future__ import annotations

import torch

from nablatom.models import AtomicDataDict
from nablatom.outputs.derivatives import Model
from nablatom.outputs.hessian import hessian
from nablatom.outputs.products import POSITIONS, STRAIN, linearize
from nablatom.outputs.stress import volumes
from nablatom.outputs.wrapper import wants_graph

__all__ = ["elastic_constants", "internal_strain"]

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def elastic_constants(
    model: Model,
    data: AtomicDataDict.Type,
    relaxed: bool = True,
    *,
    create_graph: bool | None = None,
) -> torch.Tensor:
    """The elastic constants of each frame in Voigt's notation, (frames, 6, 6), symmetric.

    Seven backward passes with the atoms held; with atoms that follow the strain, those of
    the Hessian too.

    Parameters
    ----------
    model
        Gives ``total_energy``.
    data
        One periodic frame, or many, with neighbors; best at a minimum of the energy. They are
        not changed.
    relaxed
        Whether the atoms follow the strain.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    In eV/Å³ if energies are in eV and positions in Å; divide by ``ase.units.GPa`` for GPa. The
    order is ``xx, yy, zz, yz, xz, xy``.

    Raises
    ------
    ValueError
        If a frame has no cell, or one without volume: names the frame.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.units import GPa
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.26, cubic=True), cutoff=8.5)
    >>> constants = elastic_constants(argon, data)[0] / GPa
    >>> bool(constants[0, 0] > constants[0, 1] > 0)
    True
    """
    graph = wants_graph(model, data, create_graph)
    volume = _volumes(data)[:, None, None]
    clamped, internal = _strain_response(model, data, graph)
    if not relaxed:
        return clamped / volume
    matrix = hessian(model, data, create_graph=graph)
    softer = [_softening(matrix, internal, atoms) for atoms in _atoms_of_frames(data)]
    return (clamped - torch.stack(softer)) / volume


def internal_strain(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> torch.Tensor:
    """Forces on the atoms for each strain of Voigt, ``Λ_iaJ = -d²E/dr_ia dη_J``, (atoms, 3, 6).

    Positions change with the strain; the forces are those in addition to it. They sum to zero
    over the atoms of a frame.

    Parameters
    ----------
    model, data, create_graph
        As for :func:`elastic_constants`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.26, cubic=True), cutoff=8.5)
    >>> forces = internal_strain(argon, data)  # none: each atom is a center of inversion
    >>> forces.shape, bool(forces.abs().max() < 1e-12)
    (torch.Size([4, 3, 6]), True)
    """
    graph = wants_graph(model, data, create_graph)
    return _strain_response(model, data, graph)[1]


def _strain_response(
    model: Model, data: AtomicDataDict.Type, graph: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """``d²E/dη dη``, (frames, 6, 6), and ``-d²E/dr dη``, (atoms, 3, 6)."""
    energy = linearize(
        model,
        data,
        of=AtomicDataDict.TOTAL_ENERGY_KEY,
        wrt=(POSITIONS, STRAIN),
        create_graph=graph,
    )
    frames = AtomicDataDict.num_frames(data)
    rows = [
        energy.hvp({STRAIN: unit.expand(frames, 3, 3)})
        for unit in _units(data[AtomicDataDict.POSITIONS_KEY])
    ]
    by_strain = torch.stack([_voigt(row[STRAIN]) for row in rows], dim=1)
    by_positions = torch.stack([row[POSITIONS] for row in rows], dim=2)
    return by_strain, -by_positions


def _units(like: torch.Tensor) -> torch.Tensor:
    """The symmetric strain of each of Voigt's components, (6, 3, 3)."""
    units = like.new_zeros(6, 3, 3)
    for J, (a, b) in enumerate(VOIGT):
        units[J, a, b] += 0.5
        units[J, b, a] += 0.5
    return units


def _voigt(slope: torch.Tensor) -> torch.Tensor:
    """Derivatives by Voigt's strains from those by a matrix, (frames, 6)."""
    return torch.stack([0.5 * (slope[:, a, b] + slope[:, b, a]) for a, b in VOIGT], dim=1)


def _softening(matrix: torch.Tensor, internal: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
    """``Λ_J · H⁺ Λ_K`` of one frame, (6, 6)."""
    rows = (3 * atoms[:, None] + torch.arange(3, device=atoms.device)).flatten()
    own = matrix[rows][:, rows]
    # Translations, and whatever else costs no energy to rounding, takes no force either.
    free = torch.finfo(own.dtype).eps ** 0.5
    inverse = torch.linalg.pinv(0.5 * (own + own.T), rtol=free, hermitian=True)
    forces = internal[atoms].reshape(-1, 6)
    return forces.T @ inverse @ forces


def _atoms_of_frames(data: AtomicDataDict.Type) -> list[torch.Tensor]:
    frame = AtomicDataDict.frame_of_atoms(data)
    return [torch.nonzero(frame == f)[:, 0] for f in range(AtomicDataDict.num_frames(data))]


def _volumes(data: AtomicDataDict.Type) -> torch.Tensor:
    """The volume of each frame, (frames,)."""
    if AtomicDataDict.CELL_KEY not in data:
        raise ValueError("elastic constants need a cell; the data have none")
    volume = volumes(data, AtomicDataDict.num_frames(data))
    without = torch.nonzero(volume == 0)
    if len(without):
        raise ValueError(
            f"elastic constants need a cell; frame {int(without[0])} has no volume, or is not "
            "periodic"
        )
    return volume
