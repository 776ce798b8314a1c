"""Equivariant convolution over edges: the layer of a message-passing network.

Features are kept irrep by irrep, components before multiplicity: (atoms, 2l + 1, multiplicity).
For every path ``l1 x l2 -> l3`` of a neighbor's features and the harmonics of the edge,

``m_i[c, u] = Σ_j Σ_a (R_ij[u] x_j[a, u]) (Σ_b C_abc Y_ij[b])``,

with ``C`` the Clebsch-Gordan coefficients. The two brackets are all that is made for every edge;
the sum over neighbors ``j`` and components ``a`` together is one batched matrix product.
Even and odd features of one ``l`` share the second bracket and stand beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt

import torch

from nablatom.models.gate import Features, Gate
from nablatom.models.irreps import Irreps
from nablatom.models.messages import EdgeJets, Edges, jets_of_messages, messages
from nablatom.models.paths import coupling, message_sizes, paths, reachable
from nablatom.models.perceptron import Perceptron, uniform

__all__ = ["Convolution"]


class Convolution(torch.nn.Module):
    """One layer: linear, convolution over neighbors, linear, self-connection, gate.

    Parameters
    ----------
    irreps_in
        Of the features, ordered by ``l``, every irrep once.
    wanted
        Irreps of the result; those that cannot be reached from ``irreps_in`` are left out.
    l_max
        Of the harmonics.
    radial_sizes
        Of the perceptron of the radial functions: its input and its hidden layers.
    neighbor_norms
        One over the root of the usual number of neighbors, for every type.
    type_features
        Size of the embedding of types; None for a layer without self-connection.

    Attributes
    ----------
    irreps_out
        Of the result.

    References
    ----------
    Thomas et al., arXiv:1802.08219; Batzner et al., Nat. Commun. 13, 2453 (2022).
    """

    neighbor_norms: torch.Tensor
    coupling: torch.Tensor

    def __init__(
        self,
        irreps_in: Irreps,
        wanted: Irreps,
        *,
        l_max: int,
        radial_sizes: Sequence[int],
        neighbor_norms: Sequence[float],
        type_features: int | None,
        dtype: torch.dtype,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        self.gate = Gate(reachable(self.irreps_in, l_max, wanted), dtype=dtype)
        self.irreps_out = self.gate.irreps_out
        self.paths = paths(self.irreps_in, l_max, self.gate.irreps_in)
        # Plain names and numbers, as compiled code cannot look into irreps.
        used = {source for path in self.paths for source in path.sources}
        self._sources = [(str(ir), ir.l) for _, ir in self.irreps_in if str(ir) in used]

        def draw(*shape: int) -> torch.nn.Parameter:
            return uniform(*shape, dtype=dtype, generator=generator)

        given = {str(ir): mul for mul, ir in self.irreps_in}
        messages = message_sizes(self.paths)
        asked = {str(ir): mul for mul, ir in self.gate.irreps_in}
        kept = [name for name in asked if name in given] if type_features else []
        self.before = torch.nn.ParameterDict({k: draw(n, n) for k, n in given.items()})
        self.after = torch.nn.ParameterDict({k: draw(messages[k], n) for k, n in asked.items()})
        self.itself = torch.nn.ParameterDict(
            {k: draw(given[k], type_features or 0, asked[k]) for k in kept}
        )
        sizes = [*radial_sizes, sum(path.width for path in self.paths)]
        self.radial = Perceptron(sizes, dtype=dtype, generator=generator)
        norms = torch.tensor(neighbor_norms, dtype=dtype)[:, None, None]
        self.register_buffer("neighbor_norms", norms)
        constants = coupling(self.paths, l_max).to(dtype)
        self.register_buffer("coupling", constants, persistent=False)

    def forward(
        self, features: Features, types: torch.Tensor, embedding: torch.Tensor, edges: Edges
    ) -> Features:
        """Features of the centers of the edges, the first of the atoms, of ``irreps_out``.

        Parameters
        ----------
        features
            Of ``irreps_in``.
        types : (atoms,)
        embedding : (types, type features)
        """
        weights = self.radial(edges.radial)
        received = self._received(self._sent(features, types), weights, messages, edges)
        first = {name: x[: edges.atoms] for name, x in features.items()}
        own = self._own(first, types[: edges.atoms], embedding)
        return self.gate(self._sums(own, received, edges))

    def of_jets(
        self, features: Features, types: torch.Tensor, embedding: torch.Tensor, edges: EdgeJets
    ) -> Features:
        """The same for jets (`nablatom.models.jets`), (atoms, 2l + 1, 1 + motions, multiplicity).

        Parameters
        ----------
        features
            Of all atoms.
        """
        flat = {name: x.flatten(1, 2) for name, x in features.items()}
        sent = self._sent(flat, types)
        pieces = [
            self._received(sent, self.radial.of_jets(piece.radial), jets_of_messages, piece)
            for piece in edges.pieces()
        ]
        received = {name: torch.cat([piece[name] for piece in pieces]) for name in self.after}
        sums = self._sums(self._own(flat, types, embedding), received, edges)
        jet = edges.harmonics.shape[1]
        return self.gate.of_jets(
            {k: x.view(x.shape[0], x.shape[1] // jet, jet, x.shape[2]) for k, x in sums.items()}
        )

    def _sums(self, own: Features, received: Features, edges: Edges | EdgeJets) -> Features:
        """What atoms tell themselves, and what all rows of the table tell them."""
        result = {}
        for name, weights in self.after.items():
            rows = received[name] @ scaled(weights)
            total = own.get(name, rows.new_zeros(edges.atoms, *rows.shape[1:]))
            result[name] = total.index_add(0, edges.table.centers, rows)
        return result

    def _sent(self, features: Features, types: torch.Tensor) -> dict[int, torch.Tensor]:
        """What atoms tell others, for every l: (atoms, 2l + 1, columns)."""
        norms = self.neighbor_norms[types]
        sent: dict[int, list[torch.Tensor]] = {}
        for name, l in self._sources:
            x = features[name] @ scaled(self.before[name])
            sent.setdefault(l, []).append(x * norms)
        return {l: torch.cat(x, -1) for l, x in sent.items()}

    def _received(
        self,
        sent: dict[int, torch.Tensor],
        weights: torch.Tensor,
        messages: Callable[..., torch.Tensor],
        edges: Edges | EdgeJets,
    ) -> Features:
        """Messages summed over the slots of each row: (rows, 2l + 1, columns)."""
        near = {l: x.index_select(0, edges.neighbors) for l, x in sent.items()}
        weight_of = weights.split_with_sizes([path.width for path in self.paths], -1)
        angular = edges.harmonics @ self.coupling
        coupled = angular.split_with_sizes([path.coupled for path in self.paths], -1)
        received: dict[str, list[torch.Tensor]] = {}
        for path, weight, matrix in zip(self.paths, weight_of, coupled, strict=True):
            x = near[path.l1]
            if path.width < x.shape[-1]:
                x = x.narrow(-1, path.start, path.width)
            matrix = matrix.view(*matrix.shape[:-1], 2 * path.l1 + 1, 2 * path.l3 + 1)
            x = messages(x, weight, matrix, edges)
            parts = x.split_with_sizes(path.sizes, -1)
            for target, part in zip(path.targets, parts, strict=True):
                received.setdefault(target, []).append(part)
        return {target: torch.cat(parts, -1) for target, parts in received.items()}

    def _own(self, features: Features, types: torch.Tensor, embedding: torch.Tensor) -> Features:
        """What an atom tells itself, with a matrix for its type."""
        own = {}
        for name, weights in self.itself.items():
            matrices = torch.einsum("tv,uvw->tuw", embedding, weights)
            matrices = matrices / sqrt(prod(weights.shape[:2]))
            own[name] = features[name] @ matrices[types]
        return own


def scaled(weights: torch.Tensor) -> torch.Tensor:
    """Weights over the root of the number of their inputs."""
    return weights / sqrt(len(weights))
