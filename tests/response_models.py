"""Small models with every way to depend on their surroundings, and low-symmetry structures."""

import ase
import numpy as np
import torch
from ase.build import bulk, molecule

from nablatom.models import AtomicDataDict, GraphModuleMixin


class Messages(GraphModuleMixin, torch.nn.Module):
    """Scalars and vectors passed along edges, with SiLU: a small equivariant network.

    ``take`` says how features of neighbors are taken; with ``reads_positions`` the model makes
    its own edge vectors, as foreign ones do.
    """

    def __init__(self, hops=2, cutoff=3.2, width=4, *, take="index", reads_positions=False):
        super().__init__()
        self.hops, self.cutoff, self.type_names = hops, cutoff, ("Si", "C", "H", "O")
        self.take, self.reads_positions = take, reads_positions
        draw = np.random.default_rng(7)

        def parameter(*shape):
            return torch.nn.Parameter(torch.tensor(draw.normal(size=shape)))

        self.species = parameter(4, width)
        self.radial = torch.nn.ParameterList([parameter(3, width) for _ in range(hops)])
        self.mix = torch.nn.ParameterList([parameter(width, width) for _ in range(hops)])
        self.out = parameter(width)
        self._init_irreps(irreps_out={"atomic_energy": "0e", "total_energy": "0e"})

    def forward(self, data):
        if self.reads_positions:
            data = {k: x for k, x in data.items() if k not in ("edge_vectors", "edge_lengths")}
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        center, neighbor = data["edge_index"]
        radii = data["edge_lengths"]
        inside = radii < self.cutoff
        end = torch.where(inside, 1 - radii / self.cutoff, 0.0) ** 4
        waves = end * torch.cos(torch.arange(1, 4).to(radii) * radii)
        toward = data["edge_vectors"] / self.cutoff
        scalars = self.species[data["atom_types"]].to(radii)
        vectors = radii.new_zeros(len(scalars), 3, scalars.shape[1])
        for radial, mix in zip(self.radial, self.mix, strict=True):
            filters = waves @ radial.to(radii)
            message = filters * self.taken(scalars, neighbor)
            arrow = toward[:, :, None] * message[:, None] + filters[:, None] * self.taken(
                vectors, neighbor
            )
            vectors = torch.zeros_like(vectors).index_add(0, center, arrow)
            summed = torch.zeros_like(scalars).index_add(0, center, message)
            both = summed + vectors.square().sum(1)
            scalars = scalars + torch.nn.functional.silu(0.3 * both @ mix.to(radii))
        atomic = (scalars @ self.out.to(radii))[:, None]
        return {
            **data,
            "atomic_energy": atomic,
            "total_energy": AtomicDataDict.sum_over_atoms(atomic, data),
        }

    def taken(self, features, neighbor):
        if self.take == "index":
            return features[neighbor]
        if self.take == "index_select":
            return features.index_select(0, neighbor)
        one_hot = torch.nn.functional.one_hot(neighbor, len(features)).to(features)
        return torch.einsum("en,n...->e...", one_hot, features)


def rattled(structure, amplitude=0.08, seed=3):
    rng = np.random.default_rng(seed)
    structure.positions += amplitude * rng.normal(size=(len(structure), 3))
    return structure


def sheared(structure):
    shear = np.array([[1.02, 0.06, -0.03], [0.0, 0.97, 0.05], [0.02, 0.0, 1.01]])
    structure.set_cell(structure.cell[:] @ shear, scale_atoms=True)
    return structure


def single_atom():
    """Every neighbor is an image of the atom itself."""
    return ase.Atoms("Si", cell=[[2.6, 0.3, 0.0], [0.0, 2.5, 0.4], [0.2, 0.0, 2.7]], pbc=True)


def small_cell():
    """Three atoms in a skewed cell, smaller than the reach of two hops."""
    return rattled(sheared(bulk("Si", "fcc", a=3.4) + ase.Atoms("C", [[1.2, 1.1, 1.0]])))


def crystal():
    return rattled(sheared(bulk("SiC", "zincblende", a=4.36, cubic=True)))


def left_handed():
    structure = crystal()
    structure.set_cell(structure.cell[[1, 0, 2]])
    return structure


def slab():
    structure = crystal()
    structure.pbc = [True, True, False]
    return structure


def cluster():
    return rattled(molecule("CH3CH2OH"))


STRUCTURES = {
    "single atom": single_atom,
    "small cell": small_cell,
    "crystal": crystal,
    "left-handed": left_handed,
    "slab": slab,
    "cluster": cluster,
}


def data_of(structure, model):
    return AtomicDataDict.from_ase(structure, cutoff=model.cutoff, types=model.type_names)
