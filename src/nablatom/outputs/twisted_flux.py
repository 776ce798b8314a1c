"""The heat flux of a model with message passing, from the periodic system itself.

A model that passes messages adds up what all images of an atom say, and with that the
information which image it was is lost. It comes back with a *twist*: in the backward pass,
what an edge ``p`` passes on from its center to its neighbor is multiplied by ``1 + κ · v_p``.
After the hops of a path from ``i`` to the image of ``j``, the factors have made
``1 + κ · (r_j - r_i)``, to first order, so that

``J = -d/dκ  sum_j (dE/dr_j)(κ) · v_j``  at ``κ = 0``:

one evaluation and two backward passes, with no image ever made. The same passes tell whether
the twist has reached every edge: factors ``1 + λ (φ_j - φ_i)``, with any number ``φ_i`` for
each atom and energies weighted by ``1 + λ φ_i``, must give ``sum_j φ_j dE/dr_j · v_j``. A
model in whose graph the twist cannot be put takes the long way, the unfolded system.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nablatom.models import AtomicDataDict
from nablatom.models.edge_table import EDGE_SLOTS_KEY, table_of
from nablatom.outputs.compiled import arranged
from nablatom.outputs.derivatives import Derivatives, Model, detached, pair_derivatives
from nablatom.outputs.passes import backward_pass
from nablatom.outputs.twist import weigh_gathers

__all__ = ["twisted_flux"]

GOLDEN = 0.6180339887498949  # multiples of it never come close to a whole number


def twisted_flux(
    model: Model, data: AtomicDataDict.Type, velocities: torch.Tensor, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor] | None:
    """Outputs of the model, and the potential part of the heat flux, (frames, 3).

    None if the twist does not reach every edge of the model.

    Parameters
    ----------
    velocities : (atoms, 3)
        In the precision of the positions.
    graph
        Whether both are to be differentiable.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, NequIP
    >>> model = NequIP(["Si"], cutoff=4.0, layers=2, l_max=1, features=4).eval()
    >>> data = AtomicDataDict.from_ase(bulk("Si"), cutoff=4.0)
    >>> velocities = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    >>> outputs, flux = twisted_flux(model, data, velocities, graph=False)
    >>> flux.shape
    torch.Size([1, 3])
    """
    with torch.inference_mode(False), torch.enable_grad():
        point = arranged(model, data)
        phases = _phases(velocities)
        twist = velocities.new_zeros(AtomicDataDict.num_frames(data), 4).requires_grad_()
        of_atoms = 1.0 + phases * twist[AtomicDataDict.frame_of_atoms(data), 3:]

        def twisted(given: AtomicDataDict.Type) -> AtomicDataDict.Type:
            outputs = model(given)
            gathers = _gathers(given, _factors(twist, phases, given))
            weigh_gathers(outputs[AtomicDataDict.PER_ATOM_ENERGY_KEY], gathers)
            return outputs

        energies = pair_derivatives(
            twisted,
            point,
            of=AtomicDataDict.PER_ATOM_ENERGY_KEY,
            cotangent=of_atoms,
            create_graph=True,
        )
        answer = _answer(energies, twist, phases, velocities, graph)
        # Velocities that are all alike are blind to positions that are read where nobody looks.
        probes = [] if energies.by_positions is None else [_waves(phases)]
        answers = [answer.detach()]
        answers += [_answer(energies, twist, phases, probe, graph=False) for probe in probes]
    if _is_blind(energies) or not all(
        _is_reached(energies, phases, v, x)
        for v, x in zip([velocities, *probes], answers, strict=True)
    ):
        return None
    outputs = {k: x for k, x in energies.outputs.items() if k in data or k not in point}
    return outputs if graph else detached(outputs), -answer[:, :3]


def _gathers(
    data: AtomicDataDict.Type, factors: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """How a model may take features of neighbors, edge by edge or slot by slot of a table."""
    neighbors = data[AtomicDataDict.EDGE_INDEX_KEY][1]
    yield neighbors, factors
    if EDGE_SLOTS_KEY in data:
        table = table_of(data)
        of_slots = torch.cat([factors, factors.new_ones(1)])
        yield table.neighbors(neighbors), of_slots.index_select(0, table.slots.flatten())


def _phases(velocities: torch.Tensor) -> torch.Tensor:
    """A number for each atom, different from those of other atoms, (atoms, 1)."""
    index = torch.arange(1, len(velocities) + 1, dtype=torch.float64, device=velocities.device)
    return (index * GOLDEN % 1.0).to(velocities)[:, None]


def _factors(twist: torch.Tensor, phases: torch.Tensor, data: AtomicDataDict.Type) -> torch.Tensor:
    """``1 + κ · v_p + λ (φ_neighbor - φ_center)``, (edges,), for a twist ``κ, λ`` of each frame."""
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
    across = phases[neighbor] - phases[center]
    along = torch.cat([data[AtomicDataDict.EDGE_VECTORS_KEY], across], dim=1)
    return 1.0 + (along * twist[AtomicDataDict.frame_of_edges(data)]).sum(-1)


def _waves(phases: torch.Tensor) -> torch.Tensor:
    """Velocities without any symmetry, (atoms, 3)."""
    return torch.sin(phases * phases.new_tensor([7.0, 11.0, 13.0]))


def _answer(
    energies: Derivatives,
    twist: torch.Tensor,
    phases: torch.Tensor,
    velocities: torch.Tensor,
    graph: bool,
) -> torch.Tensor:
    """The derivative of ``sum_j (dE/dr_j)(κ, λ) · v_j`` by the twist, (frames, 4)."""
    center, neighbor = energies.data[AtomicDataDict.EDGE_INDEX_KEY]
    arriving = _factors(twist, phases, energies.data)[:, None] * velocities[neighbor]
    power = (energies.by_vectors * (arriving - velocities[center])).sum()
    if energies.by_positions is not None:
        power = power + (energies.by_positions * velocities).sum()
    return backward_pass(power, twist, torch.ones_like(power), graph)


def _is_blind(energies: Derivatives) -> bool:
    """Whether centers are taken for neighbors, as each is its own: where positions are read."""
    center, neighbor = energies.data[AtomicDataDict.EDGE_INDEX_KEY]
    return energies.by_positions is not None and torch.equal(center, neighbor)


def _is_reached(
    energies: Derivatives, phases: torch.Tensor, velocities: torch.Tensor, answer: torch.Tensor
) -> bool:
    """Whether the derivative by λ is ``sum_j φ_j dE/dr_j · v_j``, as far as digits go."""
    atoms = phases * (energies.positions.detach() * velocities).sum(1, keepdim=True)
    off = answer[:, 3:] - AtomicDataDict.sum_over_atoms(atoms, energies.data)
    error = torch.finfo(off.dtype).eps ** 0.5 * _sizes(energies, velocities, answer)
    return bool((off.abs() <= error).all())


def _sizes(energies: Derivatives, velocities: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """How large what is summed over the edges of each frame is, signs left out, (frames, 1)."""
    data = energies.data
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
    speeds = velocities.norm(dim=1)
    edges = energies.by_vectors.detach().norm(dim=1) * (speeds[center] + speeds[neighbor])
    atoms = torch.zeros_like(speeds).index_add(0, center, edges)
    if energies.by_positions is not None:
        atoms = atoms + energies.by_positions.detach().norm(dim=1) * speeds
    longest = data[AtomicDataDict.EDGE_VECTORS_KEY].detach().norm(dim=1).amax() if len(edges) else 1
    sizes = AtomicDataDict.sum_over_atoms(atoms[:, None], data)
    return sizes + answer[:, :3].norm(dim=1, keepdim=True) / longest
