"""The virial of each atom: how its own energy answers to a strain of the whole system.

``W_i = -dE_i/dstrain``. Contributions of pairs are not split between the two atoms: with
message passing, that would sum to the same virial but be wrong for every single atom.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin
from nablatom.outputs.derivatives import (
    Derivatives,
    Model,
    detached,
    pair_derivatives,
    point_of,
    positions_of,
    returned,
    usable,
)
from nablatom.outputs.planning import hops_of
from nablatom.outputs.wrapper import adopt, wants_graph

__all__ = ["AtomicVirialOutput", "atomic_virials"]

SYMMETRIC = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))  # an energy knows no rotation


@runtime_checkable
class Movable(Protocol):
    """A model that carries changes of its edges along, from the edges to the energies."""

    def moved(
        self, data: AtomicDataDict.Type, motions: torch.Tensor
    ) -> tuple[AtomicDataDict.Type, torch.Tensor]:
        """The outputs, and the changes of ``atomic_energy``, (atoms, motions).

        Parameters
        ----------
        data
            With ``edge_vectors``, all that the model reads of positions and cells.
        motions : (edges, motions, 3)
        """


def atomic_virials(
    model: Model, data: AtomicDataDict.Type, *, create_graph: bool | None = None
) -> torch.Tensor:
    """The virial of each atom, ``W_i = -dE_i/dstrain``, symmetric, (atoms, 3, 3).

    Exact at any depth of message passing and for any periodicity. A model whose edges each
    enter the energy of their center only (``hops`` is 1) takes one backward pass,
    ``W_i = -sum_(p from i) v_p dE/dv_p``. A model that can carry motions of its edges along,
    with a method ``moved`` as ``NequIP`` has, takes one evaluation for all six components; any
    other takes one pass and, through that pass, one for each of them.

    Parameters
    ----------
    model
        Gives ``atomic_energy``.
    data
        One frame, or many, with neighbors. They are not changed.
    create_graph
        Whether the result is to be differentiable; by default if the model is in training
        mode or an input requires gradients.

    Returns
    -------
    In eV if energies are, with the sign of a virial: the sum over the atoms of a frame is
    ``-V stress``.

    Raises
    ------
    KeyError
        If the model gives no ``atomic_energy``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict, LennardJones
    >>> argon = LennardJones(["Ar"], epsilon=0.0104, sigma=3.4, cutoff=8.5)
    >>> data = AtomicDataDict.from_ase(bulk("Ar", a=5.2, cubic=True), cutoff=8.5)
    >>> virials = atomic_virials(argon, data)
    >>> virials.shape
    torch.Size([4, 3, 3])
    >>> bool((virials[:, 0, 0] > 0).all())  # this crystal wants to expand
    True
    """
    graph = wants_graph(model, data, create_graph)
    return _with_virials(model, data, graph)[1]


class AtomicVirialOutput(GraphModuleMixin, torch.nn.Module):
    """A model that gives ``atomic_virial`` too, see :func:`atomic_virials`.

    Parameters
    ----------
    func
        The energy model to wrap.
    create_graph
        Whether what is added is to be differentiable; by default if the wrapped model is being
        trained, or an input requires gradients.

    Raises
    ------
    TypeError, ValueError
        If what is wrapped is no graph module, or gives no scalar energies.
    """

    def __init__(self, func: torch.nn.Module, *, create_graph: bool | None = None) -> None:
        super().__init__()
        self.func, self.create_graph = func, create_graph
        of = AtomicDataDict.PER_ATOM_ENERGY_KEY
        adopt(self, func, of=of, gives={AtomicDataDict.ATOMIC_VIRIAL_KEY: "0e + 1e + 2e"})

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The outputs of the model with ``atomic_virial``, (atoms, 3, 3)."""
        graph = wants_graph(self, data, self.create_graph)
        outputs, virials = _with_virials(self.func, data, graph)
        return {**outputs, AtomicDataDict.ATOMIC_VIRIAL_KEY: virials}


def _with_virials(
    model: Model, data: AtomicDataDict.Type, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    if hops_of(model) == 1:
        energies = pair_derivatives(
            model, data, of=AtomicDataDict.PER_ATOM_ENERGY_KEY, create_graph=graph
        )
        if energies.by_positions is None and energies.by_cell is None:
            return energies.outputs, _sum_over_edges(energies)
    elif isinstance(model, Movable) and AtomicDataDict.EDGE_INDEX_KEY in data:
        return _in_strained_motion(model, data, graph)
    return _through_weights(model, data, graph)


def _sum_over_edges(energies: Derivatives) -> torch.Tensor:
    """``-sum_(p from i) v_p dE/dv_p``, where every edge belongs to its center."""
    vectors = energies.data[AtomicDataDict.EDGE_VECTORS_KEY]
    center = energies.data[AtomicDataDict.EDGE_INDEX_KEY][0]
    products = vectors[:, :, None] * energies.by_vectors[:, None, :]
    count = len(energies.data[AtomicDataDict.POSITIONS_KEY])
    total = vectors.new_zeros(count, 3, 3).index_add(0, center, products)
    return -0.5 * (total + total.transpose(1, 2))


def _in_strained_motion(
    model: Movable, data: AtomicDataDict.Type, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    """Six strains at once: each changes an edge by ``v strain``."""
    with torch.inference_mode(False), torch.set_grad_enabled(graph):
        point = point_of(usable(data))
        vectors = point[AtomicDataDict.EDGE_VECTORS_KEY]
        motions = torch.stack([_sheared(vectors, a, b) for a, b in SYMMETRIC], dim=1)
        outputs, changes = model.moved(point, motions)
    return returned(outputs, data, graph), _tensors(-changes)


def _sheared(vectors: torch.Tensor, a: int, b: int) -> torch.Tensor:
    strain = vectors.new_zeros(3, 3)
    strain[a, b] += 0.5
    strain[b, a] += 0.5
    return vectors @ strain


def _through_weights(
    model: Model, data: AtomicDataDict.Type, graph: bool
) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    """Each energy has a weight; how the strain derivative answers to it is that atom's share."""
    with torch.inference_mode(False), torch.enable_grad():
        positions = positions_of(data)
        weights = positions.new_ones(len(positions), 1).requires_grad_()
        energies = pair_derivatives(
            model,
            data,
            of=AtomicDataDict.PER_ATOM_ENERGY_KEY,
            cotangent=weights,
            create_graph=True,
        )
        virial = -energies.strain.sum(0)
        shares = [_share(virial, weights, a, b, graph) for a, b in SYMMETRIC]
    outputs = energies.outputs if graph else detached(energies.outputs)
    return outputs, _tensors(torch.stack(shares, dim=-1))


def _share(
    virial: torch.Tensor, weights: torch.Tensor, a: int, b: int, graph: bool
) -> torch.Tensor:
    """One component of the virial of every atom, (atoms,)."""
    if not virial.requires_grad:
        return torch.zeros_like(weights[:, 0])
    (share,) = torch.autograd.grad(
        0.5 * (virial[a, b] + virial[b, a]), weights, retain_graph=True, create_graph=graph
    )
    return share[:, 0]


def _tensors(components: torch.Tensor) -> torch.Tensor:
    """Symmetric tensors (atoms, 3, 3) from their six components (atoms, 6)."""
    return components[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].view(-1, 3, 3)
