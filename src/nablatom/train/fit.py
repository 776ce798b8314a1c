"""Weights of a linear model in closed form, on energies, forces and stresses together.

Energies are linear in the weights, so their stored gradients are too: minus the ``positions``
gradient of the features gives the rows of the forces, the ``strain`` gradient over the volume
those of the stress. All rows go into one ridge regression. Each target counts by its weight,
divided by its variance and by its number of rows: with weights of one, the loss is the sum of
the fractions of variance that are left unexplained.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.scalars import scalars
from nablatom.labels import Labels
from nablatom.models.linear import Calculator, LinearModel
from nablatom.operations import sum_over_samples
from nablatom.systems import reference_energies
from nablatom.tensor import TensorMap
from nablatom.train.ridge import Factor, cross_validate, residual, ridge
from nablatom.train.split import deal
from nablatom.train.targets import TARGETS, by_target, frames_of

__all__ = ["WEIGHTS", "Fit", "fit_descriptor", "fit_linear"]

WEIGHTS: Mapping[str, float] = {"energy": 1.0, "forces": 1.0, "stress": 1.0}
REGULARISATIONS = np.array([10.0**power for power in range(-14, 1)])
BASELINE_SCALE = 1e3  # the ridge feels the energies of the elements a million times less
BATCH = 16  # structures whose explicit gradients are held in memory at once

Array = NDArray[np.floating]
Frames = NDArray[np.int64]
Key = tuple[int, ...]
Progress = Callable[[Sequence[Frames]], Iterable[Frames]]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model and how it came about.

    Attributes
    ----------
    regularisation
        The ``λ`` of the model, for features of unit norm over the weighted rows.
    scan
        ``λ`` → cross-validated loss; empty where ``λ`` was given.
    loss
        Sum over the targets of weight × fraction of variance left unexplained, on the
        structures of the fit.
    rows
        Target → how many numbers were fitted.
    notes
        What a reader should know: targets left out and why, a scan that ended at its edge.
    """

    model: LinearModel
    regularisation: float
    scan: Mapping[float, float]
    loss: float
    rows: Mapping[str, int]
    notes: Sequence[str]


def fit_linear(
    structures: Sequence[ase.Atoms],
    calculator: Calculator,
    *,
    weights: Mapping[str, float] = WEIGHTS,
    regularisation: float | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: Progress = iter,
) -> Fit:
    """The linear model of a descriptor that fits energies, forces and stresses together.

    Structures are taken a few at a time, so that their explicit gradients need not fit in
    memory together; what is kept is one triangular matrix per fold.

    Parameters
    ----------
    weights
        Target (``"energy"``, ``"forces"``, ``"stress"``) → its share in the loss. Zero leaves
        a target out. So does, with a note in the result, a structure that should have the
        label and does not: forces from two atoms on, stress in crystals.
    regularisation
        ``λ``; None scans powers of ten and takes the one with the least cross-validated loss
        on these structures.
    folds
        Parts of the structures for the cross-validation.
    seed
        Of the dealing of structures to folds.
    progress
        Wraps the sequence of batches, to watch it being worked off.

    Raises
    ------
    ValueError
        No target is left, a weight is negative or of an unknown target, or there are too few
        structures to cross-validate.
    """
    labels, notes = _labels(structures, weights)

    def features(frames: Frames) -> _Features:
        batch = [structures[frame] for frame in frames]
        return _features(calculator(batch, gradients=labels.gradients), batch)

    problem = _Problem(structures, labels, features)
    parts = deal(np.arange(len(structures)), folds, seed=seed)
    return _fitted(problem, progress, parts, calculator, regularisation, notes)


def fit_descriptor(
    descriptor: TensorMap,
    structures: Sequence[ase.Atoms],
    calculator: Calculator,
    *,
    frames: Frames | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    regularisation: float | None = None,
    folds: int = 5,
    seed: int = 0,
    progress: Progress = iter,
) -> Fit:
    """`fit_linear` on a descriptor that is already there, and on some of its structures.

    Parameters
    ----------
    descriptor
        What ``calculator(structures)`` gave, with the gradients that the targets need.
    frames
        The structures to fit; None for all of them.

    Raises
    ------
    ValueError
        The descriptor is of other structures, or lacks a gradient; and the errors of
        :func:`fit_linear`.
    """
    frames = np.arange(len(structures)) if frames is None else np.unique(frames)
    chosen = [structures[frame] for frame in frames]
    labels, notes = _labels(chosen, weights)
    _check_systems(descriptor, frames, len(structures))
    _check_gradients(descriptor, labels.gradients)
    everything = _features(descriptor, structures)
    problem = _Problem(chosen, labels, lambda rows: everything.of(frames[rows], structures))
    parts = deal(np.arange(len(chosen)), folds, seed=seed)
    return _fitted(problem, progress, parts, calculator, regularisation, notes)


def _check_systems(descriptor: TensorMap, frames: Frames, count: int) -> None:
    columns = [block.samples.column("system") for block in descriptor.blocks()]
    systems = np.unique(np.concatenate([np.empty(0, np.int64), *columns]))
    beyond, missing = systems[systems >= count], np.setdiff1d(frames, systems)
    if beyond.size:
        raise ValueError(
            f"the descriptor has system {beyond[-1]}, but there are {count} structures, counted "
            "from 0; give the structures that it was computed for, in their order"
        )
    if missing.size:
        raise ValueError(
            f"the descriptor has no samples of {_listed(missing, count)}; compute it for all "
            "structures, or name those to fit with frames="
        )


def _check_gradients(descriptor: TensorMap, names: Sequence[str]) -> None:
    missing = [name for name in names if not all(b.has_gradient(name) for b in descriptor.blocks())]
    if missing:
        raise ValueError(
            f"the descriptor has no gradient {', '.join(map(repr, missing))}, which forces and "
            f"stresses are fitted with; compute it with gradients={list(names)}, or give these "
            "targets no weight"
        )


@dataclass(frozen=True, slots=True)
class _Labels:
    """What to fit: per target the numbers (rows, components), NaN where there is none.

    ``weights`` multiply the rows of a target; ``shares`` are the weights as they were asked for.
    """

    values: Mapping[str, Array]
    weights: Mapping[str, float]
    shares: Mapping[str, float]
    elements: NDArray[np.int64]
    fractions: Array  # (structures, elements)
    baseline: Array  # (elements,)

    @property
    def gradients(self) -> tuple[str, ...]:
        named = {"forces": "positions", "stress": "strain"}
        return tuple(named[target] for target in self.values if target in named)


def _labels(
    structures: Sequence[ase.Atoms], weights: Mapping[str, float]
) -> tuple[_Labels, list[str]]:
    _check_weights(weights)
    found = by_target(reference_energies(structures).block(), structures, fill=np.nan)
    values, notes = {}, []
    for target in (name for name in TARGETS if weights.get(name, 0) > 0):
        missing = _frames_without(target, found, structures)
        if len(missing):
            notes.append(f"{target} left out: no label in {_listed(missing, len(structures))}")
        else:
            values[target] = found[target][..., 0]
    if not values:
        raise ValueError(f"nothing to fit: {'; '.join(notes) or 'all weights are zero'}")
    elements, fractions = _compositions(structures)
    baseline: Array = np.zeros(len(elements))
    if "energy" in values:
        baseline, _, rank, _ = np.linalg.lstsq(fractions, values["energy"][:, 0])
        values["energy"] = values["energy"] - (fractions @ baseline)[:, None]
        if rank < len(elements):
            notes.append(
                f"the compositions fix {rank} of {len(elements)} energies of elements; the model "
                "is for structures with compositions like these"
            )
    factors = {target: _factor(weights[target], v) for target, v in values.items()}
    shares = {target: weights[target] for target in values}
    return _Labels(values, factors, shares, elements, fractions, baseline), notes


def _check_weights(weights: Mapping[str, float]) -> None:
    for target, weight in weights.items():
        if target not in TARGETS:
            raise ValueError(f"no target {target!r}; choose from {', '.join(TARGETS)}")
        if not 0 <= weight < np.inf:
            raise ValueError(f"the weight of {target} must not be negative, got {weight}")


def _frames_without(
    target: str, found: Mapping[str, Array], structures: Sequence[ase.Atoms]
) -> Frames:
    """Structures that should have a label and do not; all of them if nobody has it."""
    known = found.get(target)
    if known is None or not np.isfinite(known).any():
        return np.arange(len(structures))
    lacking = np.unique(frames_of(target, structures)[~np.isfinite(known).all(axis=(1, 2))])
    return np.array([frame for frame in lacking if _expects(target, structures[frame])], np.int64)


def _expects(target: str, structure: ase.Atoms) -> bool:
    """An atom alone feels no force, and only a crystal has a stress."""
    if target == "forces":
        return len(structure) > 1
    return target == "energy" or bool(structure.pbc.all())


def _listed(frames: Frames, count: int) -> str:
    if len(frames) == count:
        return "any structure"
    shown = ", ".join(map(str, frames[:3]))
    return f"{len(frames)} of {count} structures (frame {shown}{', …' * (len(frames) > 3)})"


def _compositions(structures: Sequence[ase.Atoms]) -> tuple[NDArray[np.int64], Array]:
    elements = np.unique(np.concatenate([atoms.numbers for atoms in structures]))
    shares = [(atoms.numbers[:, None] == elements).mean(axis=0) for atoms in structures]
    return elements.astype(np.int64), np.array(shares)


def _factor(weight: float, values: Array) -> float:
    """Factor of a target's rows; a target that vanishes counts in eV, eV/Å, eV/Å³."""
    known = values[np.isfinite(values)]
    return float((weight / (float((known**2).mean()) or 1.0) / known.size) ** 0.5)


@dataclass(frozen=True, slots=True)
class _Features:
    """Sums over atoms of every block of a descriptor, per target as in `by_target`."""

    names: tuple[str, ...]
    properties: Mapping[Key, Labels]
    values: Mapping[Key, Mapping[str, Array]]

    def of(self, frames: Frames, structures: Sequence[ase.Atoms]) -> "_Features":
        """Those of some of the structures."""
        values = {key: _of(frames, v, structures) for key, v in self.values.items()}
        return _Features(self.names, self.properties, values)


def _features(descriptor: TensorMap, structures: Sequence[ase.Atoms]) -> _Features:
    summed = sum_over_samples(scalars(descriptor), "atom")
    blocks: dict[Key, TensorBlock] = {tuple(key): block for key, block in summed.items()}
    return _Features(
        tuple(summed.keys.names),
        {key: block.properties for key, block in blocks.items()},
        {key: by_target(block, structures, fill=0.0) for key, block in blocks.items()},
    )


def _of(
    frames: Frames, values: Mapping[str, Array], structures: Sequence[ase.Atoms]
) -> dict[str, Array]:
    return {t: v[np.isin(frames_of(t, structures), frames)] for t, v in values.items()}


@dataclass(slots=True)
class _Problem:
    """The rows of the regression, and which columns belong to which block.

    Columns are the elements' energies, then the features, block after block as they turn up.
    """

    structures: Sequence[ase.Atoms]
    labels: _Labels
    features: Callable[[Frames], _Features]
    names: tuple[str, ...] = ()
    properties: dict[Key, Labels] = field(default_factory=dict)
    places: dict[Key, slice] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return len(self.labels.elements) + sum(map(len, self.properties.values()))

    def factor(self, frames: Frames) -> Factor:
        """The rows of some structures, which are in rising order."""
        features = self.features(frames)
        self._make_room(features)
        known = _of(frames, self.labels.values, self.structures)
        x = [self._columns(target, features, frames) for target in known]
        y = [self.labels.weights[t] * numbers.ravel() for t, numbers in known.items()]
        labelled = np.isfinite(np.concatenate(y))
        return Factor.of(np.concatenate(x)[labelled], np.concatenate(y)[labelled])

    def _make_room(self, features: _Features) -> None:
        self.names = features.names
        for key, properties in features.properties.items():
            if key not in self.places:
                self.places[key] = slice(self.width, self.width + len(properties))
                self.properties[key] = properties

    def _columns(self, target: str, features: _Features, frames: Frames) -> Array:
        shape = next(iter(features.values.values()))[target].shape
        columns = np.zeros((*shape[:2], self.width))
        if target == "energy":
            columns[:, 0, : len(self.labels.elements)] = self.labels.fractions[frames]
        for key, values in features.values.items():
            columns[..., self.places[key]] = values[target]
        return self.labels.weights[target] * columns.reshape(-1, self.width)

    def model(self, weights: Array, calculator: Calculator, info: Mapping[str, str]) -> LinearModel:
        """The model with these weights for the columns."""
        count = len(self.labels.elements)
        energies = self.labels.baseline + weights[:count]
        keys = sorted(self.places)
        blocks = [self._block(weights, key) for key in keys]
        return LinearModel(
            TensorMap(Labels(self.names, np.array(keys)), blocks),
            dict(zip(self.labels.elements.tolist(), energies.tolist(), strict=True)),
            calculator,
            info,
        )

    def _block(self, weights: Array, key: Key) -> TensorBlock:
        row = weights[None, self.places[key]]
        return TensorBlock(row, Labels.range("energy", 1), [], self.properties[key])


def _fitted(
    problem: _Problem,
    progress: Progress,
    parts: Sequence[Frames],
    calculator: Calculator,
    regularisation: float | None,
    notes: Sequence[str],
) -> Fit:
    factors = _factors(problem, progress, parts)
    whole = Factor.merged(factors)
    scale = whole.scale
    scale[: len(problem.labels.elements)] /= BASELINE_SCALE
    scan: dict[float, float] = {}
    if regularisation is None:
        losses = cross_validate(factors, scale, REGULARISATIONS)
        scan = dict(zip(REGULARISATIONS.tolist(), losses.tolist(), strict=True))
        regularisation = min(scan, key=lambda strength: scan[strength])
    weights = ridge(whole, scale, np.array([regularisation]))
    rows = {t: int(np.isfinite(v).sum()) for t, v in problem.labels.values.items()}
    how = {"loss weights": problem.labels.shares, "regularisation": regularisation, "numbers": rows}
    model = problem.model(weights[:, 0], calculator, {"fit": json.dumps(how)})
    loss = float(residual(whole, weights)[0])
    return Fit(model, regularisation, scan, loss, rows, [*notes, *_edge(regularisation, scan)])


def _factors(problem: _Problem, progress: Progress, parts: Sequence[Frames]) -> list[Factor]:
    """One factor per part, worked off a batch of structures at a time."""
    cuts = [range(BATCH, len(part), BATCH) for part in parts]
    batches = [b for part, cut in zip(parts, cuts, strict=True) for b in np.split(part, cut)]
    pending = iter([problem.factor(frames) for frames in progress(batches)])
    return [Factor.merged([next(pending) for _ in range(len(cut) + 1)]) for cut in cuts]


def _edge(regularisation: float, scan: Mapping[float, float]) -> list[str]:
    if scan and regularisation in (min(scan), max(scan)):
        side = "weakest" if regularisation == min(scan) else "strongest"
        return [f"the {side} regularisation of the scan, {regularisation:g}, was the best"]
    return []
