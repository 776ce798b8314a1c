"""NequIP: energies of atoms from equivariant message passing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nablatom.models import jets
from nablatom.models.convolution import Convolution
from nablatom.models.edge_table import table_of, with_edge_table
from nablatom.models.graph import GraphModuleMixin
from nablatom.models.harmonics import spherical_harmonics
from nablatom.models.irreps import Irreps
from nablatom.models.messages import EdgeJets, Edges
from nablatom.models.nequip_settings import NequIPSettings, read_settings
from nablatom.models.perceptron import Perceptron, uniform
from nablatom.models.radial import BesselBasis
from nablatom.models.scale_shift import ScaleShift
from nablatom.models.zbl import ZBL
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["NequIP"]


class NequIP(GraphModuleMixin, torch.nn.Module):
    """Atomic and total energies in eV, invariant under rotations, reflections, permutations.

    Types are embedded as vectors, lengths of edges as Bessel functions with a smooth cutoff,
    directions as spherical harmonics. Each layer sums messages of neighbors, adds what an atom
    keeps of its own, and passes everything through a gate; the energy of an atom is linear in
    the scalars of the last one, then scaled and shifted by type. An atom without neighbors has
    the energy of its shift. Positions may have more digits than the weights: geometry and
    energies keep the precision of the positions.

    Parameters
    ----------
    types
        Element symbols; ``atom_types`` are indices among them.
    cutoff
        Å. The receptive field of an atom is ``layers`` times as wide.
    features
        Number of features of each ``l`` and parity; or one number for each ``l``.
    parity
        Whether there are features of both parities for each ``l``, and not only (−1)^l.
    radial_functions, trainable_radial, cutoff_power
        The Bessel functions: how many, whether their frequencies are trained, and how late
        they fall to zero (`nablatom.models.radial.envelope`).
    radial_hidden
        Hidden layers of the perceptrons that make weights of radial functions.
    readout_hidden
        Hidden layers of the one that makes energies of scalars.
    type_features
        Size of the embedding of types; by default the number of features of l = 0.
    average_neighbors
        The usual number of neighbors within the cutoff, for all types or by type: sums of
        messages are divided by its root.
    scales, shifts
        eV, for all types or by type: usually the root mean square of the forces in eV/Å, and
        the energies of free atoms.
    zbl
        Whether the repulsion of nuclei (`ZBL`) is added.
    seed
        Of the random weights.
    dtype
        Of the weights.

    Raises
    ------
    ValueError
        A setting is out of range or of an unknown type: names it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from nablatom.models import AtomicDataDict
    >>> model = NequIP(types=["Si"], cutoff=4.0, layers=2, l_max=1, features=4)
    >>> data = AtomicDataDict.from_ase(bulk("Si"), cutoff=4.0)
    >>> model(data)["total_energy"].shape
    torch.Size([1, 1])

    References
    ----------
    Batzner et al., Nat. Commun. 13, 2453 (2022). With the same weights it gives the energies
    of the nequip package, version 0.19 (`from_nequip_state`).
    """

    def __init__(
        self,
        types: Sequence[str],
        cutoff: float,
        *,
        layers: int = 3,
        l_max: int = 1,
        features: int | Sequence[int] = 32,
        parity: bool = True,
        radial_functions: int = 8,
        trainable_radial: bool = False,
        cutoff_power: float = 6,
        radial_hidden: Sequence[int] = (128,),
        readout_hidden: Sequence[int] = (),
        type_features: int | None = None,
        average_neighbors: float | Mapping[str, float] = 1.0,
        scales: float | Mapping[str, float] = 1.0,
        shifts: float | Mapping[str, float] = 0.0,
        trainable_scales: bool = False,
        trainable_shifts: bool = False,
        zbl: bool = False,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        given = {k: v for k, v in locals().items() if k in NequIPSettings.model_fields}
        self.settings = settings = NequIPSettings.checked(given)
        self.type_names, self.cutoff, self.hops = settings.types, settings.cutoff, settings.layers
        self._init_irreps(
            irreps_out={
                AtomicDataDict.NODE_FEATURES_KEY: Irreps([(settings.widths[0], (0, 1))]),
                AtomicDataDict.PER_ATOM_ENERGY_KEY: "0e",
                AtomicDataDict.TOTAL_ENERGY_KEY: "0e",
            }
        )
        generator = torch.Generator().manual_seed(settings.seed)
        self.embedding = uniform(
            len(settings.types), settings.type_width, dtype=dtype, generator=generator
        )
        self.bessel = BesselBasis(
            settings.cutoff,
            settings.radial_functions,
            settings.cutoff_power,
            trainable=settings.trainable_radial,
        )
        self.layers = torch.nn.ModuleList(_layers(settings, dtype, generator))
        self.readout = Perceptron(
            [settings.widths[0], *settings.readout_hidden, 1], dtype=dtype, generator=generator
        )
        self.scale_shift = ScaleShift(
            settings.by_type(settings.scales),
            settings.by_type(settings.shifts),
            trainable_scales=settings.trainable_scales,
            trainable_shifts=settings.trainable_shifts,
        )
        self.repulsion = None
        if settings.zbl:
            self.repulsion = ZBL(settings.types, settings.cutoff, power=settings.cutoff_power)

    @classmethod
    def from_settings(cls, settings: NequIPSettings, **options: Any) -> NequIP:
        """The model with these settings; options as ``dtype`` go to the constructor."""
        return cls(**settings.model_dump(), **options)

    @classmethod
    def from_yaml(cls, path: str | Path, **options: Any) -> NequIP:
        """The model described in a file ``model.yaml``: names of arguments and their values.

        Raises
        ------
        ValueError
            The file is no YAML, or a setting is unknown, missing or out of range: names it.
        """
        return cls.from_settings(read_settings(path), **options)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``node_features``, ``atomic_energy`` and ``total_energy``.

        Raises
        ------
        KeyError
            A field that the model reads is missing.
        ValueError
            An element is not among the types, or neighbors end before the cutoff.
        """
        count = data[AtomicDataDict.POSITIONS_KEY].shape[0]
        return self.of_first(data, [count] * (self.hops + 1))

    def arranged(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with the table of their edges, which compiled code cannot make."""
        return with_edge_table(data)

    def of_first(self, data: AtomicDataDict.Type, within: Sequence[int]) -> AtomicDataDict.Type:
        """What `forward` gives, for the first ``within[0]`` atoms alone.

        Parameters
        ----------
        within : (layers + 1,)
            How many atoms are at most 0, 1, 2 … edges away from those. Atoms must be sorted
            by that number, so that these are the first; the last is all there are.
        """
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        scalars = self._scalars(types, self._edges(data), within)
        return self._outputs(data, scalars, self.readout(scalars))

    def moved(
        self, data: AtomicDataDict.Type, motions: torch.Tensor
    ) -> tuple[AtomicDataDict.Type, torch.Tensor]:
        """What `forward` gives, and how the energies change when edges do: all in one go.

        This is forward differentiation. Radial weights, the largest part of an evaluation, change
        with the length of their edge alone, so that their slopes serve all motions.

        Parameters
        ----------
        motions : (edges, motions, 3)
            Changes of the edge vectors.

        Returns
        -------
        The outputs, and ``Σ_p dE_i/dv_p · motion_p``, (atoms, motions).
        """
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        at_rest = self.embedding[types][:, None, None]
        features = {"0e": torch.nn.functional.pad(at_rest, (0, 0, 0, motions.shape[1]))}
        edges = self._moving_edges(data, motions)
        for layer in self.layers:
            assert isinstance(layer, Convolution)
            features = layer.of_jets(features, types, self.embedding, edges)
        scalars = features["0e"].squeeze(1)
        energies = self.readout.of_jets(scalars)  # (atoms, 1 + motions, 1)
        changes = self.scale_shift.scaled(energies[:, 1:, 0].to(motions.dtype), types)
        if self.repulsion is not None:
            changes = changes + self._moved_repulsion(data, motions)
        return self._outputs(data, scalars[:, 0], energies[:, 0]), changes

    def _moved_repulsion(self, data: AtomicDataDict.Type, motions: torch.Tensor) -> torch.Tensor:
        """How the repulsion changes, (atoms, motions); each edge is part of its center alone."""
        assert self.repulsion is not None
        repulsion = self.repulsion.atomic_energies

        def energies(vectors: torch.Tensor) -> torch.Tensor:
            given = {**data, AtomicDataDict.EDGE_VECTORS_KEY: vectors}
            return repulsion(AtomicDataDict.with_edge_vectors(given))

        values, pullback, *_ = torch.func.vjp(energies, data[AtomicDataDict.EDGE_VECTORS_KEY])
        (slopes,) = pullback(torch.ones_like(values))
        of_edges = (motions @ slopes[:, :, None]).squeeze(-1)
        centers = data[AtomicDataDict.EDGE_INDEX_KEY][0]
        zeros = values.new_zeros(len(values), motions.shape[1])
        return zeros.index_add(0, centers, of_edges)

    def _outputs(
        self, data: AtomicDataDict.Type, scalars: torch.Tensor, energies: torch.Tensor
    ) -> AtomicDataDict.Type:
        """The data with energies of the first atoms, scaled, from what the readout gives."""
        first = scalars.shape[0]
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()[:first]
        energies = energies.to(data[AtomicDataDict.EDGE_VECTORS_KEY].dtype)
        energies = self.scale_shift(energies, types)
        if self.repulsion is not None:
            energies = energies + self.repulsion.atomic_energies(data)[:first]
        own = data
        if first < data[AtomicDataDict.POSITIONS_KEY].shape[0]:
            own = {**data, AtomicDataDict.BATCH_KEY: data[AtomicDataDict.BATCH_KEY][:first]}
        return {
            **data,
            AtomicDataDict.NODE_FEATURES_KEY: scalars,
            AtomicDataDict.PER_ATOM_ENERGY_KEY: energies,
            AtomicDataDict.TOTAL_ENERGY_KEY: AtomicDataDict.sum_over_atoms(energies, own),
        }

    def _scalars(self, types: torch.Tensor, edges: Edges, within: Sequence[int]) -> torch.Tensor:
        """Features of the first atoms after the last layer, (atoms, features)."""
        features = {"0e": self.embedding[types][:, None]}
        for layer, atoms in zip(self.layers, within[-2::-1], strict=True):
            edges = edges.of_first(atoms)
            features = layer(features, types, self.embedding, edges)
            types = types[:atoms]
        return features["0e"].squeeze(1)

    def _edges(self, data: AtomicDataDict.Type) -> Edges:
        """What layers read of the edges, in the precision of the weights."""
        table, dtype = table_of(data), self.embedding.dtype
        neighbors = table.neighbors(data[AtomicDataDict.EDGE_INDEX_KEY][1])
        vectors = table.vectors(data[AtomicDataDict.EDGE_VECTORS_KEY], empty=self.cutoff)
        geometry = self._geometry(vectors)
        harmonics, radial = geometry[:, :-1].to(dtype), self.bessel(geometry[:, -1:]).to(dtype)
        atoms = data[AtomicDataDict.POSITIONS_KEY].shape[0]
        return Edges(table, neighbors, harmonics, radial, atoms)

    def _moving_edges(self, data: AtomicDataDict.Type, motions: torch.Tensor) -> EdgeJets:
        """The same of edges that move."""
        table, dtype = table_of(data), self.embedding.dtype
        neighbors = table.neighbors(data[AtomicDataDict.EDGE_INDEX_KEY][1])
        vectors = table.vectors(data[AtomicDataDict.EDGE_VECTORS_KEY], empty=self.cutoff)
        at_rest = self._geometry(vectors)[:, None]
        moved = jets.changes(self._geometry, vectors, table.motions(motions))
        lengths = at_rest[..., -1:].expand(-1, 1, len(self.bessel.frequencies))
        radial = jets.apply(self.bessel, torch.cat([lengths, torch.ones_like(lengths)], 1))
        return EdgeJets(
            table,
            neighbors,
            torch.cat([at_rest, moved], 1)[..., :-1].to(dtype),
            radial.to(dtype),
            moved[..., -1].to(dtype),
            data[AtomicDataDict.POSITIONS_KEY].shape[0],
        )

    def _geometry(self, vectors: torch.Tensor) -> torch.Tensor:
        """Harmonics of the directions, and as last column lengths: (rows, (l_max + 1)² + 1)."""
        geometry = AtomicDataDict.with_edge_vectors({AtomicDataDict.EDGE_VECTORS_KEY: vectors})
        lengths = geometry[AtomicDataDict.EDGE_LENGTH_KEY]
        # Coincident atoms have no direction; zero instead keeps derivatives finite.
        directions = vectors / torch.where(lengths > 0, lengths, 1.0)
        harmonics = spherical_harmonics(directions, self.settings.l_max)
        return torch.cat([harmonics, lengths], -1)


def _layers(
    settings: NequIPSettings, dtype: torch.dtype, generator: torch.Generator
) -> list[Convolution]:
    """The layers; the last one gives nothing but even scalars."""
    layers: list[Convolution] = []
    irreps = Irreps([(settings.type_width, (0, 1))])
    for index in range(settings.layers):
        last = index == settings.layers - 1
        layers.append(
            Convolution(
                irreps,
                Irreps([(settings.widths[0], (0, 1))]) if last else settings.hidden,
                l_max=settings.l_max,
                radial_sizes=[settings.radial_functions, *settings.radial_hidden],
                neighbor_norms=[n**-0.5 for n in settings.by_type(settings.average_neighbors)],
                # Without it in the first layer, an atom that is alone has no features left.
                type_features=settings.type_width if index else None,
                dtype=dtype,
                generator=generator,
            )
        )
        irreps = layers[-1].irreps_out
    return layers
