"""How far predictions are from the labels: MAE and RMSE with units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.tensor import TensorMap
from nablatom.train.targets import TARGETS, by_target, frames_of

__all__ = ["Comparison", "compare"]

Array = NDArray[np.float64]
Frames = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Labels and predictions of one target, in the unit its errors are printed in.

    Parameters
    ----------
    reference, predicted : (numbers,)
        Every labelled number: one per structure, three per atom, six per stress.
    frames : (numbers,)
        The structure each number belongs to.
    """

    target: str
    unit: str
    reference: Array
    predicted: Array
    frames: Frames

    @property
    def errors(self) -> Array:
        """Predicted minus reference: (numbers,)."""
        return self.predicted - self.reference

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.errors).mean())

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return float(np.sqrt((self.errors**2).mean()))

    def of(self, frames: Sequence[int] | Frames) -> "Comparison":
        """The part that belongs to some structures."""
        kept = np.isin(self.frames, frames)
        parts = (self.reference[kept], self.predicted[kept], self.frames[kept])
        return Comparison(self.target, self.unit, *parts)

    def summary(self) -> dict[str, float | int | str]:
        """MAE, RMSE, their unit and the count of numbers compared, for tables and JSON."""
        return {
            "unit": self.unit,
            "mae": self.mae,
            "rmse": self.rmse,
            "count": len(self.reference),
        }


def compare(
    predicted: TensorMap, reference: TensorMap, structures: Sequence[ase.Atoms]
) -> Mapping[str, Comparison]:
    """Energies per atom, forces and stresses beside their labels, wherever there are labels.

    Parameters
    ----------
    predicted, reference
        One block of energies in eV with samples ``system`` and, where known, the gradients
        ``positions`` and ``strain``; as ``LinearModel`` and ``reference_energies`` give them.

    Returns
    -------
    mapping
        ``"energy"``, ``"forces"``, ``"stress"`` → comparison; only targets that both sides know.
    """
    known = by_target(reference.block(), structures, fill=np.nan)
    guessed = by_target(predicted.block(), structures, fill=0.0)
    found = {}
    for name in TARGETS:
        if name in known and name in guessed and np.isfinite(known[name]).any():
            found[name] = _comparison(name, known[name], guessed[name], structures)
    return found


def _comparison(
    name: str, known: Array, guessed: Array, structures: Sequence[ase.Atoms]
) -> Comparison:
    target = TARGETS[name]
    labelled = np.isfinite(known)
    frames = np.broadcast_to(frames_of(name, structures)[:, None, None], known.shape)
    parts = (known[labelled] * target.factor, guessed[labelled] * target.factor)
    return Comparison(name, target.unit, *parts, frames[labelled])
