"""A small message-passing model, as a sequence of layers and as one module."""

import torch

from nablatom.models import AtomicDataDict, GraphModuleMixin, SequentialGraphNetwork


def _linear(seed, *shape):
    return torch.nn.Parameter(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        / shape[0] ** 0.5
    )


class Embedding(GraphModuleMixin, torch.nn.Module):
    """Types to features; distances to radial functions that end smoothly at the cutoff."""

    def __init__(self, types, cutoff, features):
        super().__init__()
        self.type_names, self.cutoff = tuple(types), cutoff
        self.weight = _linear(1, len(types), features)
        self._init_irreps(irreps_out={"node_features": f"{features}x0e", "edge_embedding": "4x0e"})

    def forward(self, data):
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        x = data["edge_lengths"] / self.cutoff
        n = torch.arange(1, 5, dtype=x.dtype)
        radial = torch.sin(n * torch.pi * x) * (1 - x**2).clamp(min=0) ** 3
        features = self.weight[data["atom_types"].flatten()]
        return {**data, "node_features": features, "edge_embedding": radial}


class Layer(GraphModuleMixin, torch.nn.Module):
    """Messages of neighbors, and how they point: a scalar and a squared vector."""

    hops = 1

    def __init__(self, features, seed):
        super().__init__()
        self.radial = _linear(seed, 4, 2 * features)
        self.own, self.sent = (_linear(seed + k, features, features) for k in (1, 2))
        irreps = {"node_features": f"{features}x0e"}
        self._init_irreps(irreps, irreps_out=irreps)

    def forward(self, data):
        center, neighbor = data["edge_index"]
        h = data["node_features"]
        scalar, vector = (data["edge_embedding"] @ self.radial).chunk(2, -1)
        sent = (h @ self.sent)[neighbor]
        total = torch.zeros_like(h).index_add(0, center, scalar * sent)
        arrows = (vector * sent)[:, None] * data["edge_vectors"][:, :, None]
        squares = h.new_zeros(len(h), 3, h.shape[1]).index_add(0, center, arrows).square().sum(1)
        new = torch.nn.functional.silu(h @ self.own + total + squares)
        return {**data, "node_features": new}


class Readout(GraphModuleMixin, torch.nn.Module):
    def __init__(self, features):
        super().__init__()
        self.weight = _linear(9, features, 1)
        self._init_irreps(
            {"node_features": f"{features}x0e"},
            irreps_out={"atomic_energy": "0e", "total_energy": "0e"},
        )

    def forward(self, data):
        energies = data["node_features"] @ self.weight
        total = AtomicDataDict.sum_over_atoms(energies, data)
        return {**data, "atomic_energy": energies, "total_energy": total}


def layered(layers=2, types=("Si",), cutoff=3.0, features=6):
    """A sequence that says how many hops each of its modules takes."""
    passing = {f"layer{k}": Layer(features, seed=10 * k + 20) for k in range(layers)}
    parts = {"embedding": Embedding(types, cutoff, features), **passing}
    return SequentialGraphNetwork({**parts, "readout": Readout(features)}).eval()


class Whole(GraphModuleMixin, torch.nn.Module):
    """The same energies from a module whose layers cannot be seen; ``hops`` as one says."""

    def __init__(self, network, hops=None):
        super().__init__()
        self.network = network
        self.cutoff, self.type_names = network.cutoff, network.type_names
        self.hops = hops
        self._init_irreps(irreps_out=network.irreps_out)

    def forward(self, data):
        return self.network(data)
