"""How many atoms of each element there are: the baseline of every energy."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.field_types import check_settings
from nablatom.labels import Labels
from nablatom.systems.pairs import PARAMETERS
from nablatom.tensor import TensorMap

__all__ = ["AtomicComposition"]


@dataclass(frozen=True)
class AtomicComposition(Explicit):
    """One for every atom, or the number of atoms of each element in every structure.

    Called with structures, it returns a `TensorMap` with keys ``center_type`` and the property
    ``count``. Nothing that moves atoms changes it: its gradients
    are zero, those by positions without rows.

    Parameters
    ----------
    per_system
        Samples are ``system`` and counts those of whole structures, zero where there is no
        such atom; else samples are ``system, atom``, and counts one.

    Examples
    --------
    >>> from ase.build import molecule
    >>> composition = AtomicComposition(per_system=True)
    >>> composition(molecule("H2O")).block(center_type=1).values
    array([[2.]])
    """

    per_system: bool = False

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self))

    @property
    def separable(self) -> bool:
        """Not whole structures: each has a row, be it zero, for what occurs in any other."""
        return not self.per_system

    def tensor(self, frames: Sequence[ase.Atoms], gradients: tuple[str, ...]) -> TensorMap:
        """The composition of some structures."""
        system = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
        atom = np.concatenate([np.arange(len(frame)) for frame in frames])
        types = np.concatenate([frame.numbers for frame in frames])
        elements = np.unique(types)
        blocks = []
        for element in elements:
            rows = np.flatnonzero(types == element)
            counts: NDArray[np.float64] = np.ones(len(rows))
            if self.per_system:
                counts = np.bincount(system[rows], minlength=len(frames)).astype(np.float64)
                samples = Labels.range("system", len(frames))
            else:
                samples = Labels(["system", "atom"], np.stack([system[rows], atom[rows]], axis=1))
            blocks.append(_block(counts[:, None], samples, gradients))
        return TensorMap(Labels("center_type", elements[:, None].astype(np.int32)), blocks)


def _block(values: NDArray[np.float64], samples: Labels, gradients: Sequence[str]) -> TensorBlock:
    properties = Labels.range("count", 1)
    block = TensorBlock(values, samples, [], properties)
    for name in gradients:
        own = PARAMETERS[name]
        rows = _nothing() if name == "positions" else Labels.range("sample", len(samples))
        zeros = np.zeros((len(rows), *(3 for _ in own), 1))
        block.add_gradient(name, TensorBlock(zeros, rows, own, properties))
    return block


def _nothing() -> Labels:
    return Labels(["sample", "system", "atom"], np.empty((0, 3), np.int32))
