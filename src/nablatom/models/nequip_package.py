"""Models of the nequip package (NequIP, Allegro …) as graph modules."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from nablatom.models.graph import GraphModuleMixin
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["NequIPPackage"]

_READ = (
    AtomicDataDict.POSITIONS_KEY,
    AtomicDataDict.ATOM_TYPE_KEY,
    AtomicDataDict.EDGE_INDEX_KEY,
    AtomicDataDict.EDGE_VECTORS_KEY,
    AtomicDataDict.CELL_KEY,
    AtomicDataDict.EDGE_CELL_SHIFT_KEY,
)


class NequIPPackage(GraphModuleMixin, torch.nn.Module):
    """The energies of any model of the nequip package; outputs of ours go around it.

    Its own derivatives are left out: only the energy model inside is run, on a copy of the
    dictionary. Energies are in the units that the model was trained in, expected eV and Å.

    Parameters
    ----------
    model
        A ``GraphModel`` of nequip 0.19, eager; with derivatives around its energies, or without.
    hops
        How many edges away an atom can have an influence. By default the number of interaction
        blocks of a NequIP, and 1 if there are none, as in Allegro.

    Raises
    ------
    TypeError
        The model tells no types and no cutoff, as nequip's models do.

    Examples
    --------
    >>> model = NequIPPackage.load("model.nequip.zip")  # doctest: +SKIP
    >>> StressOutput(model)(data)["stress"]  # doctest: +SKIP
    """

    def __init__(self, model: torch.nn.Module, *, hops: int | None = None) -> None:
        super().__init__()
        metadata = getattr(model, "metadata", {})
        if "r_max" not in metadata or "type_names" not in metadata:
            raise TypeError(
                f"expected a model of the nequip package, with 'r_max' and 'type_names' in its "
                f"metadata; got a {type(model).__name__}"
            )
        self.model = _energies(model)
        self.cutoff = float(metadata["r_max"])
        self.type_names = tuple(metadata["type_names"].split())
        # By name: a packaged model brings classes of its own.
        blocks = sum(type(part).__name__ == "InteractionBlock" for part in model.modules())
        self.hops = hops or max(blocks, 1)
        energies = (AtomicDataDict.PER_ATOM_ENERGY_KEY, AtomicDataDict.TOTAL_ENERGY_KEY)
        self._init_irreps(irreps_out=dict.fromkeys(energies, "0e"))

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> NequIPPackage:
        """The model in a file ``….nequip.zip`` or a checkpoint ``….ckpt``.

        Both formats hold pickled code: open only what you trust. Options go to the constructor.

        Raises
        ------
        ImportError
            nequip is not installed.
        """
        from nequip.model import ModelFromCheckpoint, ModelFromPackage

        # its global defaults, and its warnings about them, are no business of the caller's
        before = torch.get_default_dtype()
        read = ModelFromPackage if str(path).endswith(".nequip.zip") else ModelFromCheckpoint
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = read(str(path), compile_mode="eager")
        finally:
            torch.set_default_dtype(before)
        # a checkpoint holds all models of a run by name
        return cls(
            model["sole_model"] if isinstance(model, torch.nn.ModuleDict) else model, **options
        )

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``atomic_energy`` and ``total_energy``."""
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        given = {key: data[key] for key in _READ if key in data}
        given[AtomicDataDict.ATOM_TYPE_KEY] = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        if AtomicDataDict.CELL_KEY in given:
            given[AtomicDataDict.CELL_KEY] = data[AtomicDataDict.CELL_KEY].reshape(-1, 3, 3)
        given[AtomicDataDict.BATCH_KEY] = AtomicDataDict.frame_of_atoms(data)
        given[AtomicDataDict.NUM_NODES_KEY] = torch.bincount(
            given[AtomicDataDict.BATCH_KEY], minlength=AtomicDataDict.num_frames(data)
        )
        energies = self.model(given)[AtomicDataDict.PER_ATOM_ENERGY_KEY]
        energies = energies.to(data[AtomicDataDict.EDGE_VECTORS_KEY].dtype)
        return {
            **data,
            AtomicDataDict.PER_ATOM_ENERGY_KEY: energies,
            AtomicDataDict.TOTAL_ENERGY_KEY: AtomicDataDict.sum_over_atoms(energies, data),
        }


def _energies(model: torch.nn.Module) -> torch.nn.Module:
    """The part of a model that gives energies: what is inside of its derivatives."""
    inner = getattr(model, "model", model)
    while isinstance(func := getattr(inner, "func", None), torch.nn.Module):
        inner = func
    return inner
