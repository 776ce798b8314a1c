"""Models of the mace package as graph modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols

from nablatom.models.graph import GraphModuleMixin
from nablatom.systems import atomic_data as AtomicDataDict

__all__ = ["MACE"]


class MACE(GraphModuleMixin, torch.nn.Module):
    """The energies of a MACE model; outputs of ours go around it.

    Works in eager mode: the model's own code is compiled with TorchScript by e3nn 0.4.4.

    Parameters
    ----------
    model
        A ``MACE`` or ``ScaleShiftMACE`` of mace-torch 0.3, not compiled.
    head
        Name of the head, for models with several.

    Raises
    ------
    TypeError
        The model tells no cutoff, elements and layers, as MACE models do.
    ValueError
        There is no head of that name, or several and none is named.

    Examples
    --------
    >>> model = MACE.load("MACE-OFF23_small.model")  # doctest: +SKIP
    >>> StressOutput(model)(data)["stress"]  # doctest: +SKIP

    References
    ----------
    Batatia, Kovács, Simm, Ortner, Csányi, NeurIPS 2022 (arXiv:2206.07697).
    """

    def __init__(self, model: torch.nn.Module, *, head: str | None = None) -> None:
        super().__init__()
        missing = [
            k for k in ("r_max", "atomic_numbers", "num_interactions") if not hasattr(model, k)
        ]
        if missing:
            raise TypeError(
                f"expected a MACE model; a {type(model).__name__} has no {', '.join(missing)}"
            )
        self.model = model
        self.cutoff = float(model.r_max)  # type: ignore[arg-type]
        self.hops = int(model.num_interactions)  # type: ignore[arg-type]
        self.type_names = tuple(chemical_symbols[int(z)] for z in model.atomic_numbers)  # type: ignore[union-attr]
        self._head = _head_index(list(getattr(model, "heads", None) or ["Default"]), head)
        energies = (AtomicDataDict.PER_ATOM_ENERGY_KEY, AtomicDataDict.TOTAL_ENERGY_KEY)
        self._init_irreps(irreps_out=dict.fromkeys(energies, "0e"))

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> MACE:
        """The model in a file ``….model``, on the CPU.

        The format is a pickle, which can run any code: open only what you trust. Options go to
        the constructor.

        Raises
        ------
        ImportError
            mace is not installed.
        """
        import mace.modules  # noqa: F401  # its classes, which the pickle asks for

        model = torch.load(path, map_location="cpu", weights_only=False)
        return cls(model.eval(), **options)

    def forward(self, data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The data with ``atomic_energy`` and ``total_energy``."""
        data = AtomicDataDict.prepared(data, cutoff=self.cutoff, types=self.type_names)
        vectors = data[AtomicDataDict.EDGE_VECTORS_KEY]
        found = self.model(self._given(data), compute_force=False)
        energies = found["node_energy"].to(vectors.dtype)[:, None]
        return {
            **data,
            AtomicDataDict.PER_ATOM_ENERGY_KEY: energies,
            AtomicDataDict.TOTAL_ENERGY_KEY: AtomicDataDict.sum_over_atoms(energies, data),
        }

    def _given(self, data: AtomicDataDict.Type) -> dict[str, torch.Tensor]:
        """The data in the words of MACE, whose edges lead from a neighbor to its center.

        MACE makes vectors of positions and shifts. Positions are given without derivatives and
        shifts are what they lack, so that its vectors are ours, and derivatives go by them.
        """
        dtype = next(self.model.parameters()).dtype
        center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
        # a copy, because MACE asks for gradients by what it is given
        positions = data[AtomicDataDict.POSITIONS_KEY].detach().to(dtype, copy=True)
        between = positions.index_select(0, center) - positions.index_select(0, neighbor)
        shifts = -data[AtomicDataDict.EDGE_VECTORS_KEY].to(dtype) - between
        frame, frames = AtomicDataDict.frame_of_atoms(data), AtomicDataDict.num_frames(data)
        types = data[AtomicDataDict.ATOM_TYPE_KEY].flatten()
        return {
            "positions": positions,
            "shifts": shifts,
            "unit_shifts": torch.zeros_like(shifts),
            "cell": positions.new_zeros(3 * frames, 3),
            "edge_index": torch.stack([neighbor, center]),
            "node_attrs": torch.nn.functional.one_hot(types, len(self.type_names)).to(dtype),
            "batch": frame,
            "ptr": torch.nn.functional.pad(
                torch.bincount(frame, minlength=frames).cumsum(0), (1, 0)
            ),
            "head": torch.full((frames,), self._head, dtype=torch.int64, device=frame.device),
        }


def _head_index(heads: list[str], head: str | None) -> int:
    if head is None and len(heads) == 1:
        return 0
    if head not in heads:
        raise ValueError(f"head is {head!r}; the heads of the model are {', '.join(heads)}")
    return heads.index(head)
