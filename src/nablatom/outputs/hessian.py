"""The second derivative of the energy by positions: products with it, all of it, or rows of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.derivatives import Model, positions_of
from nablatom.outputs.products import POSITIONS, Linearization, Tangents, linearize
from nablatom.outputs.wrapper import adopt, wants_graph

__all__ = ["HessianOutput", "hessian", "hvp"]


def hvp(
    model: Model,
    data: AtomicDataDict.Type,
    tangents: Tangents,
    *,
    of: str = AtomicDataDict.TOTAL_ENERGY_KEY,
    create_graph: bool | None = None,
) -> dict[str, torch.Tensor]:
    """Second derivatives times a displacement, ``sum_q' d²E/dq dq' t_q'`` for every ``q``, exact.

    With a tangent of the positions, the Hessian times a displacement: two backward passes,
    whatever the number of atoms. That is what minimisers, Lanczos iterations and vibrational
    analyses of large systems need. For many products,
    :meth:`Linearization.hvp <nablatom.outputs.Linearization.hvp>` evaluates the model once.

    Parameters
    ----------
    model
        Gives ``total_energy``.
    data
        One frame, or many, with neighbors. They are not changed.
    tangents
        For each of ``positions``, ``strain``, ``cell`` or another field of the data that is
        moved, a tensor of its shape.
    of
        The output; its entries are summed.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    For each of the tangents, a tensor of its shape.

    Raises
    ------
    ValueError
        If a tangent does not have the shape of what it moves.

    Examples
    --------
    >>> import torch
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.26, cubic=True), cutoff=8.5)
    >>> together = torch.ones(4, 3, dtype=torch.float64)  # a translation costs nothing
    >>> product = hvp(argon, data, {"positions": together})
    >>> bool(product["positions"].abs().max() < 1e-12)
    True
    """
    point = linearize(model, data, of=of, wrt=list(tangents), create_graph=create_graph)
    return point.hvp(tangents)


def hessian(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    rows: Sequence[int] | torch.Tensor | None = None,
    create_graph: bool | None = None,
) -> torch.Tensor:
    """The Hessian ``d²E/dr_ia dr_jb`` as a matrix, (3 rows, 3 atoms), symmetric if complete.

    One backward pass for each component of each atom of the largest frame: frames of a batch
    share their passes, and the blocks between them are exactly zero.

    Parameters
    ----------
    model
        Gives ``total_energy``.
    data
        One frame, or many, with neighbors. They are not changed.
    rows
        The atoms whose rows are wanted, in this order; by default all.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    Row ``3 i + a`` belongs to component a of the i-th chosen atom, column ``3 j + b`` to
    component b of atom j. In eV/Å² if energies are in eV and positions in Å.

    Raises
    ------
    IndexError
        If a row is no atom.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> model = LennardJones(["H", "O"], epsilon=0.01, sigma=1.5, cutoff=6.0)
    >>> data = AtomicDataDict.from_ase(molecule("H2O"), cutoff=6.0)
    >>> matrix = hessian(model, data)
    >>> matrix.shape, bool((matrix - matrix.T).abs().max() < 1e-12)
    (torch.Size([9, 9]), True)
    """
    graph = wants_graph(model, data, create_graph)
    return _with_hessian(model, data, chosen_atoms(data, rows), graph)[1]


class HessianOutput(GraphModuleMixin, torch.nn.Module):
    """A model that gives ``hessian`` too, see :func:`hessian`.

    Parameters
    ----------
    func
        The energy model to wrap.
    rows
        The atoms whose rows are wanted; by default all.
    create_graph
        Whether what is added is to be differentiable; by default if the wrapped model is being
        trained, or an input requires gradients.

    Raises
    ------
    TypeError, ValueError
        If what is wrapped is no graph module, or gives no scalar energies.
    """

    def __init__(
        self,
        func: torch.nn.Module,
        rows: Sequence[int] | None = None,
        *,
        create_graph: bool | None = None,
    ) -> None:
        super().__init__()
        self.func, self.rows, self.create_graph = func, rows, create_graph
        adopt(
            self, func, of=AtomicDataDict.TOTAL_ENERGY_KEY, gives={AtomicDataDict.HESSIAN_KEY: None}
        )

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``hessian``, (3 rows, 3 atoms)."""
        graph = wants_graph(self, data, self.create_graph)
        atoms = chosen_atoms(data, self.rows)
        outputs, matrix = _with_hessian(self.func, data, atoms, graph)
        return {**outputs, AtomicDataDict.HESSIAN_KEY: matrix}


def chosen_atoms(
    data: AtomicDataDict.Type, rows: Sequence[int] | torch.Tensor | None
) -> torch.Tensor:
    """The atoms of the rows, (rows,); all of them if none are named."""
    positions = positions_of(data)
    count = len(positions)
    if rows is None:
        return torch.arange(count, device=positions.device)
    atoms = torch.as_tensor(rows, dtype=torch.int64, device=positions.device).flatten()
    wrong = atoms[(atoms < 0) | (atoms >= count)]
    if len(wrong):
        raise IndexError(f"there is no atom {int(wrong[0])}; rows are from 0 to {count - 1}")
    return atoms


def _with_hessian(
    model: Model, data: AtomicDataDict.Type, atoms: torch.Tensor, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    energy = linearize(model, data, of=AtomicDataDict.TOTAL_ENERGY_KEY, create_graph=graph)
    frame = AtomicDataDict.frame_of_atoms(data)
    turn = _turns(frame[atoms])
    result = data[AtomicDataDict.POSITIONS_KEY].new_zeros(len(atoms), 3, len(frame), 3)
    for k in range(int(turn.max()) + 1 if len(turn) else 0):
        rows = torch.nonzero(turn == k)[:, 0]
        own = (frame[atoms[rows], None] == frame)[:, None, :, None]
        parts = torch.stack([_rows(energy, atoms[rows], a, len(frame)) for a in range(3)])
        result = result.index_copy(0, rows, torch.where(own, parts, 0.0))
    return energy.outputs, result.reshape(3 * len(atoms), 3 * len(frame))


def _rows(energy: Linearization, atoms: torch.Tensor, a: int, count: int) -> torch.Tensor:
    """The rows of component a of these atoms, each of another frame, in one, (atoms, 3)."""
    tangent = energy.values.new_zeros(count, 3)
    tangent[atoms, a] = 1.0
    return energy.hvp({POSITIONS: tangent})[POSITIONS]


def _turns(frames: torch.Tensor) -> torch.Tensor:
    """For each chosen atom, how many of its frame were chosen before it."""
    order = torch.argsort(frames, stable=True)
    counts = torch.bincount(frames) if len(frames) else frames
    first = (counts.cumsum(0) - counts)[frames[order]]
    turns = torch.empty_like(frames)
    turns[order] = torch.arange(len(frames), device=frames.device) - first
    return turns
