"""Partial forces: how the energy of every atom depends on the position of every other.

``F_ij = -dE_i/dr_j`` is zero unless ``j`` is within reach of ``i``: as many edges of the
neighbor graph as the model has hops. What can be non-zero is all that is computed and stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike

from nablatom.labels import Labels
from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.derivatives import Model, returned, usable
from nablatom.outputs.planning import BATCH_EDGES, Method, rows_of, task_for
from nablatom.outputs.rows import ENERGY, POSITIONS, Rows, index
from nablatom.outputs.tensors import atom_labels, check_gradients, energy_map
from nablatom.outputs.wrapper import adopt
from nablatom.tensor import TensorMap

__all__ = [
    "PartialForceOutput",
    "atom_energies",
    "dense_partial_forces",
    "partial_forces",
]


def partial_forces(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    atoms: ArrayLike | None = None,
    method: Method = "auto",
    batch_edges: int = BATCH_EDGES,
    create_graph: bool | None = None,
) -> TensorMap:
    """Energies of atoms with their ``positions`` gradient, minus the partial forces, sparse.

    ``dE_i/dr_j = -F_ij``, with ``sum_i F_ij = F_j``, the forces, and ``sum_j F_ij = 0``.

    Parameters
    ----------
    model
        A graph module or function that gives ``atomic_energy``. Its attribute ``hops`` says how
        many edges away an atom can influence an energy; a model without is differentiated by
        all atoms of the frame.
    data
        One frame, or many, with neighbors.
    atoms : (targets,)
        Indices or a mask of the atoms whose energies are wanted, counted over all frames.
    method
        ``one-pass`` (models of one hop), ``clusters`` (receptive fields in batches),
        ``coloring``, ``loop`` (a backward pass for each atom) or ``chunks`` (the same,
        vectorised, for accelerators); by default the cheapest, from counts of edges.
    batch_edges
        Edges that are differentiated together by ``clusters``: what sets the memory.
    create_graph
        Whether the result is to be differentiable. By default it is if gradients are enabled
        and the model is in training mode, or an input requires gradients itself.

    Returns
    -------
    TensorMap
        One block, samples ``system, atom``, property ``energy`` in eV; its gradient
        ``positions`` in eV/Å has samples ``sample, system, atom``: the atoms within reach.

    Raises
    ------
    KeyError
        The data have no neighbors.
    ValueError
        The model reaches further than its ``hops``; or ``atoms`` are out of range or repeated;
        or the method needs hops that the model does not declare.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2).repeat(3), cutoff=argon.cutoff)
    >>> energies = partial_forces(argon, data)
    >>> energies.block().gradient("positions").samples.names
    ['sample', 'system', 'atom']
    >>> len(energies.block().gradient("positions").samples)  # 27 atoms, 12 neighbors each
    351
    """
    return atom_energies(
        model,
        data,
        gradients=[POSITIONS],
        atoms=atoms,
        method=method,
        batch_edges=batch_edges,
        create_graph=create_graph,
    )


def atom_energies(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    gradients: Sequence[str] = ("positions", "strain"),
    atoms: ArrayLike | None = None,
    method: Method = "auto",
    batch_edges: int = BATCH_EDGES,
    create_graph: bool | None = None,
) -> TensorMap:
    """Energies of atoms with their gradients by positions, strain and cell.

    Minus the ``strain`` gradient is the atomic virial ``W_i = -dE_i/dstrain``. Coloring gives
    positions alone; otherwise as :func:`partial_forces`.

    Parameters
    ----------
    gradients
        Any of ``positions``, ``strain`` and ``cell``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom import sum_over_samples
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2), cutoff=argon.cutoff)
    >>> energies = atom_energies(argon, data, gradients=["strain"])
    >>> sum_over_samples(energies, "atom").block().gradient("strain").shape
    (1, 3, 3, 1)
    """
    check_gradients(gradients)
    task = task_for(model, data, gradients, atoms, method, batch_edges, create_graph)
    return _tensor(rows_of(task, method), data)


def dense_partial_forces(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    atoms: ArrayLike | None = None,
    method: Method = "auto",
    batch_edges: int = BATCH_EDGES,
    create_graph: bool | None = None,
) -> torch.Tensor:
    """All partial forces ``F_ij = -dE_i/dr_j``, zeros included, (targets, atoms, 3).

    Arguments and errors are those of :func:`partial_forces`. Its memory grows as the square of
    the number of atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2).repeat(2), cutoff=argon.cutoff)
    >>> dense_partial_forces(argon, data).shape
    torch.Size([8, 8, 3])
    """
    task = task_for(model, data, [POSITIONS], atoms, method, batch_edges, create_graph)
    return _dense(rows_of(task, method), len(data[AtomicDataDict.POSITIONS_KEY]))


class PartialForceOutput(GraphModuleMixin, torch.nn.Module):
    """An energy model that also gives partial and total forces.

    It adds ``partial_forces`` (atoms, atoms, 3), ``F_ij = -dE_i/dr_j`` in eV/Å, and ``forces``
    (atoms, 3), the sums over ``i``. For many atoms, the sparse :func:`partial_forces` takes
    much less memory.

    Parameters
    ----------
    func
        The energy model, which gives ``atomic_energy``.
    vectorize
        Several backward passes at once, for accelerators. On a CPU, this is slower.
    vectorize_warnings
        Warn of operations that do not vectorise.

    create_graph
        Whether what is added is to be differentiable; by default if the wrapped model is being
        trained, or an input requires gradients.

    Raises
    ------
    TypeError, ValueError
        What is wrapped is no graph module, or gives no scalar energies of atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2).repeat(2), cutoff=argon.cutoff)
    >>> outputs = PartialForceOutput(argon)(data)
    >>> outputs["partial_forces"].shape, outputs["forces"].shape
    (torch.Size([8, 8, 3]), torch.Size([8, 3]))
    """

    def __init__(
        self,
        func: torch.nn.Module,
        vectorize: bool = False,
        vectorize_warnings: bool = False,
        *,
        create_graph: bool | None = None,
    ) -> None:
        super().__init__()
        self.func, self.create_graph = func, create_graph
        self.vectorize, self.vectorize_warnings = vectorize, vectorize_warnings
        vectors = (AtomicDataDict.PARTIAL_FORCE_KEY, AtomicDataDict.FORCE_KEY)
        self._has_total = AtomicDataDict.TOTAL_ENERGY_KEY in getattr(func, "irreps_out", ())
        gives = {AtomicDataDict.TOTAL_ENERGY_KEY: "0e", **dict.fromkeys(vectors, "1o")}
        adopt(self, func, of=ENERGY, gives=gives)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``partial_forces`` and ``forces``.

        ``total_energy``, if the model does not give it, is the sum over the atoms.
        """
        method: Method = "chunks" if self.vectorize else "auto"
        task = task_for(self.func, data, [POSITIONS], None, method, BATCH_EDGES, self.create_graph)
        with _fallback_warnings(self.vectorize_warnings):
            rows = rows_of(task, method)
        partial = _dense(rows, len(rows.reach))
        outputs = _whole(self.func, data, task.graph) if rows.outputs is None else rows.outputs
        if not self._has_total:
            total = AtomicDataDict.sum_over_atoms(outputs[ENERGY], data)
            outputs = outputs | {AtomicDataDict.TOTAL_ENERGY_KEY: total}
        return outputs | {
            AtomicDataDict.PARTIAL_FORCE_KEY: partial,
            AtomicDataDict.FORCE_KEY: partial.sum(0),
        }


# -- what comes out ----------------------------------------------------------------------


def _tensor(rows: Rows, data: AtomicDataDict.Type) -> TensorMap:
    """One block, labelled by frame and atom."""
    reached, names = rows.reach, atom_labels(data)
    every = Labels.range("sample", len(reached))
    pairs = np.empty((len(reached.atom), 3), np.int32)
    pairs[:, 0], pairs[:, 1:] = reached.target, names[reached.atom]
    labels = {POSITIONS: Labels.unchecked(("sample", "system", "atom"), pairs)}
    slopes = {name: (labels.get(name, every), x) for name, x in rows.derivatives.items()}
    samples = Labels.unchecked(("system", "atom"), names[reached.targets])
    return energy_map(rows.energies, samples, slopes)


def _dense(rows: Rows, atoms: int) -> torch.Tensor:
    """``F_ij``, (targets, atoms, 3)."""
    reached, slopes = rows.reach, rows.derivatives[POSITIONS]
    place = index(reached.target * atoms + reached.atom, slopes.device)
    dense = slopes.new_zeros(len(reached) * atoms, 3).index_copy(0, place, -slopes)
    return dense.reshape(len(reached), atoms, 3)


def _whole(model: Model, data: AtomicDataDict.Type, graph: bool) -> AtomicDataDict.Type:
    """What the model returns of data that were differentiated in parts."""
    with torch.inference_mode(False), torch.set_grad_enabled(graph):
        return returned(model(usable(data)), data, graph)


@contextmanager
def _fallback_warnings(wanted: bool) -> Iterator[None]:
    """Let torch warn of operations that do not vectorise."""
    shown = torch._C._debug_only_are_vmap_fallback_warnings_enabled()  # type: ignore[attr-defined]
    torch._C._debug_only_display_vmap_fallback_warnings(wanted)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._debug_only_display_vmap_fallback_warnings(shown)  # type: ignore[attr-defined]
