"""The Hessian of large systems, of which almost everything is zero.

``d²E/dr_i dr_j`` is zero unless some energy ``E_k`` depends on both atoms: unless ``j`` is at most
twice the hops of the model away from ``i``. The row of an atom is a matter of its surroundings
alone, and those of many atoms are cut out, differentiated as one batch, and put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.models import AtomicDataDict
from nablatom.outputs.clusters import Clusters, batches, check_whole, cluster_data, clusters
from nablatom.outputs.derivatives import Model, leaf, pair_derivatives
from nablatom.outputs.hessian import chosen_atoms, hessian
from nablatom.outputs.passes import backward_pass
from nablatom.outputs.planning import BATCH_EDGES, hops_of
from nablatom.outputs.reach import Integers, Reach, edges_by_center, reach
from nablatom.outputs.rows import DECLARE
from nablatom.outputs.tensors import atom_labels
from nablatom.outputs.wrapper import wants_graph
from nablatom.tensor import TensorMap

__all__ = ["sparse_hessian"]


def sparse_hessian(
    model: Model,
    data: AtomicDataDict.Type,
    *,
    rows: Sequence[int] | torch.Tensor | None = None,
    batch_edges: int = BATCH_EDGES,
    create_graph: bool | None = None,
) -> TensorMap:
    """Forces with their ``positions`` gradient, minus the Hessian, sparse.

    ``dF_i/dr_j = -d²E/dr_i dr_j``. Time grows with the number of rows, memory is set by the
    number of edges that are differentiated together.

    Parameters
    ----------
    model
        Gives ``atomic_energy``, and says its ``hops``: how many edges away an atom can have an
        influence on an energy.
    data
        One frame, or many, with neighbors. They are not changed.
    rows
        The atoms whose rows are wanted, in this order; by default all.
    batch_edges
        Edges that are differentiated together.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    A map with one block: samples ``system, atom``, component ``xyz``, property ``force``. Its
    gradient ``positions`` has samples ``sample, system, atom`` and components ``xyz_2``, of the
    displaced atom, and ``xyz``, of the force. In eV/Å and eV/Å² if energies are in eV.

    Raises
    ------
    ValueError
        If the model says no ``hops``, or too few: its forces are then not those of the parts.
    IndexError
        If a row is no atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=4.0)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.26).repeat(6), cutoff=4.0)
    >>> forces = sparse_hessian(argon, data, rows=[0])
    >>> len(forces.block().gradient("positions"))  # of 216 atoms, two shells of neighbors
    55
    """
    graph = wants_graph(model, data, create_graph)
    atoms = chosen_atoms(data, rows).cpu().numpy()
    hops = hops_of(model)
    if hops is None:
        raise ValueError("the model does not say how far its energies reach: give it hops")
    count = len(data[AtomicDataDict.POSITIONS_KEY])
    edges = edges_by_center(data[AtomicDataDict.EDGE_INDEX_KEY].cpu().numpy(), count)
    surroundings = reach(edges, 2 * hops, atoms)
    if len(surroundings.atom) == _pairs(data, surroundings):
        return _from_dense(model, data, surroundings, graph)
    check_whole(model, data)
    parts = [
        _part(model, data, clusters(surroundings, edges, part), hops, graph)
        for part in batches(surroundings.edges_within(edges.degree)[:, -2], batch_edges)
    ]
    like = data[AtomicDataDict.POSITIONS_KEY]
    forces = torch.cat([like.new_zeros(0, 3), *(force for force, _ in parts)])
    _check_forces(model, data, forces, atoms, hops)
    slopes = torch.cat([like.new_zeros(0, 3, 3), *(slope for _, slope in parts)])
    return _tensor(forces, slopes, surroundings, data)


def _pairs(data: AtomicDataDict.Type, surroundings: Reach) -> int:
    """Pairs of a row and an atom of the same frame."""
    frame = AtomicDataDict.frame_of_atoms(data).cpu().numpy()
    return int(np.bincount(frame)[frame[surroundings.targets]].sum()) if len(frame) else 0


def _part(
    model: Model, data: AtomicDataDict.Type, cut: Clusters, hops: int, graph: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forces on the atoms of some rows, and their derivatives, in the order of the reach."""
    with torch.inference_mode(False), torch.enable_grad():
        point = cluster_data(data, cut)
        positions = leaf(point[AtomicDataDict.POSITIONS_KEY], graph)
        energies = model({**point, AtomicDataDict.POSITIONS_KEY: positions})
        # Whatever depends on the atom of a row: energies further out are not all complete.
        energy = energies[AtomicDataDict.PER_ATOM_ENERGY_KEY][: cut.nodes_within[hops]].sum()
        every = backward_pass(energy, positions, torch.ones_like(energy), create_graph=True)
        forces = -every[: cut.nodes_within[0]]
        units = torch.eye(3).to(forces)
        slopes = [backward_pass(forces, positions, unit.expand_as(forces), graph) for unit in units]
    order = torch.as_tensor(np.argsort(cut.entry), device=forces.device)
    by_entry = torch.stack(slopes, dim=2).index_select(0, order)  # (entries, xyz_2, xyz)
    return (forces if graph else forces.detach()), by_entry


def _check_forces(
    model: Model, data: AtomicDataDict.Type, forces: torch.Tensor, atoms: Integers, hops: int
) -> None:
    """The forces of the parts are those of the whole, or an energy reaches further."""
    whole = -pair_derivatives(model, data, create_graph=False).positions
    index = torch.as_tensor(atoms, device=whole.device)
    off = (forces.detach() - whole.index_select(0, index)).abs().amax(1)
    bound = torch.finfo(off.dtype).eps ** 0.5 * max(1.0, float(whole.abs().amax()))
    if len(off) and off.max() > bound:
        worst = int(off.argmax())
        raise ValueError(
            f"the model declares hops = {hops}, but the force on atom {int(atoms[worst])} depends "
            f"on atoms further away: without them, it differs by {float(off[worst]):.1e}; {DECLARE}"
        )


def _from_dense(
    model: Model, data: AtomicDataDict.Type, surroundings: Reach, graph: bool
) -> TensorMap:
    """Every atom is within reach: nothing can be left out."""
    atoms = torch.as_tensor(surroundings.targets)
    matrix = hessian(model, data, rows=atoms, create_graph=graph)
    matrix = matrix.view(len(atoms), 3, -1, 3)
    target, atom = (
        torch.as_tensor(x, dtype=torch.int64) for x in (surroundings.target, surroundings.atom)
    )
    slopes = -matrix[target, :, atom].transpose(1, 2)
    forces = -pair_derivatives(model, data, create_graph=graph).positions
    return _tensor(forces[atoms.to(forces.device)], slopes, surroundings, data)


def _tensor(
    forces: torch.Tensor, slopes: torch.Tensor, surroundings: Reach, data: AtomicDataDict.Type
) -> TensorMap:
    names = atom_labels(data)
    samples = Labels(["system", "atom"], names[surroundings.targets])
    pairs = np.column_stack([surroundings.target, names[surroundings.atom]])
    xyz, second, force = Labels.range("xyz", 3), Labels.range("xyz_2", 3), Labels.range("force", 1)
    block = TensorBlock(forces[..., None], samples, [xyz], force)
    gradient = TensorBlock(
        slopes[..., None], Labels(["sample", "system", "atom"], pairs), [second, xyz], force
    )
    block.add_gradient("positions", gradient)
    return TensorMap(Labels.single(), [block])
