"""Whether all structures carry energies, forces and stresses in the same units.

Magnitudes alone do not tell: forces vanish in a relaxed crystal and are large in a hot one.
So every frame is compared with what the *other frames* lead one to expect:

- forces and stresses with those of a crude pair potential, fitted to all frames at once.
  It gets the direction of the label in most frames; where it does (cosine above 0.7), the
  ratio of the lengths is between 0.4 and 2.5 in ordinary data, and above 9 or below 1/9 if
  the units differ. A stress of the opposite sign shows as well.
- energies per atom with a sum over the composition, where that sum is large compared with
  the spread around it. (Energies relative to the elements, like those of EMT, are not; for
  them there is no honest test, and none is made.)

The test finds frames that differ from the majority. Whether the majority is in eV and Å,
nobody can tell from the numbers.
"""

from collections.abc import Mapping, Sequence

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.systems.pairs import Pairs, neighbor_pairs
from nablatom.systems.targets import energy_of, forces_of, stress_of

__all__ = ["check_units"]

Array = NDArray[np.float64]

MOST = 1000  # structures that are compared
REACH = 6.0  # of the pair potential, Å
POWERS = range(1, 9)  # of 1/r in the pair potential
SAME_DIRECTION = 0.7  # cosine between label and fit
OPPOSITE_DIRECTION = -0.85
AGREEMENT = 12.0  # numbers times cosine²: 3.5 standard deviations of a random direction
FACTOR = 8.0  # between ordinary scatter and the smallest factor of a unit, 9.6
BEYOND_UNITS = 1e5  # a fit that is zero but for rounding says nothing
# eV in Hartree, Rydberg, kcal/mol and kJ/mol, and back
ENERGY_FACTORS = (1 / 27.2114, 1 / 13.6057, 23.0605, 96.4853)
HINTS = {
    "energy": "1 eV is 0.0367 Ha, 23.06 kcal/mol, 96.49 kJ/mol",
    "forces": "1 eV/Å is 0.0194 Ha/bohr, 23.06 kcal/mol/Å, 96.49 kJ/mol/Å",
    "stress": "1 eV/Å³ is 160.2 GPa, 1602 kbar",
}


def check_units(structures: Sequence[ase.Atoms]) -> None:
    """Refuse energies, forces or stresses that differ by a unit from those of the rest.

    At most 1000 structures, evenly spread, are compared.

    Raises
    ------
    ValueError
        Names the frames that differ, by how much, and the usual factors.
    """
    frames = np.unique(np.linspace(0, len(structures) - 1, MOST, dtype=np.int64)).tolist()
    sample = {frame: structures[frame] for frame in frames}
    _check_energies(sample)
    pairs = neighbor_pairs(list(sample.values()), REACH)
    if len(pairs) > 0:
        shapes = _pair_shapes(list(sample.values()), pairs)
        _check_forces(sample, pairs, shapes)
        _check_stresses(sample, pairs, shapes)


def _check_energies(structures: Mapping[int, ase.Atoms]) -> None:
    """One-atom frames are left out: an isolated atom differs by its cohesive energy."""
    known = [(i, energy_of(s)) for i, s in structures.items() if len(s) > 1]
    frames = [i for i, energy in known if energy is not None]
    if len(frames) < 10:
        return
    per_atom = np.array([e / len(structures[i]) for i, e in known if e is not None])
    expected = _median_fit(_compositions([structures[i] for i in frames]), per_atom)
    spread = 1.4826 * np.median(np.abs(per_atom - expected))
    close = np.maximum(4 * spread, 0.02 * np.abs(expected))
    apart = np.abs(per_atom - expected) > np.maximum(8 * spread, 0.5 * np.abs(expected))
    for factor in (*ENERGY_FACTORS, *(1 / f for f in ENERGY_FACTORS)):
        off = apart & (np.abs(per_atom - factor * expected) < factor * close)
        # Energies that scatter over decades meet some factor by chance.
        if off.any() and np.all(off | (np.abs(per_atom - expected) < 0.5 * np.abs(expected))):
            _refuse("energy", _chosen(frames, off), factor)


def _compositions(structures: Sequence[ase.Atoms]) -> Array:
    """Fraction of every element, (structures, elements)."""
    elements = np.unique(np.concatenate([s.numbers for s in structures]))
    return np.array([(s.numbers[:, None] == elements).mean(axis=0) for s in structures])


def _median_fit(x: Array, y: Array) -> Array:
    """Least absolute deviations by reweighted least squares: outliers do not pull."""
    weights = np.ones(len(y))
    for _ in range(30):
        root = np.sqrt(weights)
        fit = x @ np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(y - fit), 1e-6 * np.abs(y).max() + 1e-300)
    return fit


def _pair_shapes(structures: Sequence[ase.Atoms], pairs: Pairs) -> Array:
    """Radial functions of every pair, in the columns of its two elements, (pairs, columns)."""
    numbers = np.concatenate([s.numbers for s in structures])
    first = np.cumsum([0, *(len(s) for s in structures)])[pairs.system]
    elements, element = np.unique(numbers, return_inverse=True)
    two = np.sort(element[[first + pairs.center, first + pairs.neighbor]], axis=0)
    kinds, kind = np.unique(two[0] * len(elements) + two[1], return_inverse=True)
    r = pairs.distance
    radial = np.stack([(1 - r / REACH) ** 2 * r**-k for k in POWERS], axis=1)
    shapes = np.zeros((len(pairs), len(kinds), len(POWERS)))
    shapes[np.arange(len(pairs)), kind] = radial
    return shapes.reshape(len(pairs), -1)


def _check_forces(structures: Mapping[int, ase.Atoms], pairs: Pairs, shapes: Array) -> None:
    directions = pairs.vector / pairs.distance[:, None]
    rows = np.searchsorted(pairs.system, np.arange(len(structures) + 1))
    features, labels, frames = [], [], []
    for k, (frame, structure) in enumerate(structures.items()):
        forces = forces_of(structure)
        if forces is None or not forces.any():
            continue
        here = slice(rows[k], rows[k + 1])
        sums = np.zeros((len(structure), 3, shapes.shape[1]))
        np.add.at(sums, pairs.center[here], directions[here, :, None] * shapes[here, None, :])
        features.append(sums.reshape(3 * len(structure), -1))
        labels.append(forces.ravel())
        frames.append(frame)
    _check_scales("forces", frames, features, labels)


def _check_stresses(structures: Mapping[int, ase.Atoms], pairs: Pairs, shapes: Array) -> None:
    rows = np.searchsorted(pairs.system, np.arange(len(structures) + 1))
    features, labels, frames = [], [], []
    for k, (frame, structure) in enumerate(structures.items()):
        stress = stress_of(structure)
        if stress is None or not stress.any() or not structure.pbc.all():
            continue
        here = slice(rows[k], rows[k + 1])
        vectors = pairs.vector[here]
        dyads = vectors[:, :, None] * vectors[:, None, :] / pairs.distance[here, None, None]
        features.append(dyads.reshape(-1, 9).T @ shapes[here] / structure.get_volume())
        labels.append(stress.ravel())
        frames.append(frame)
    _check_scales("stress", frames, features, labels)


def _check_scales(
    name: str, frames: Sequence[int], features: Sequence[Array], labels: Sequence[Array]
) -> None:
    """Compare the length of each label with that of the fit, where the directions agree."""
    if len(frames) < 3:
        return
    fits, error = _majority_fit(features, labels)
    fit = np.array([_length(f) for f in fits])
    label = np.array([_length(y) for y in labels])
    products = [np.mean(f * y) for f, y in zip(fits, labels, strict=True)]
    cosine = products / np.maximum(fit * label, 1e-300)
    # Few numbers agree in direction by chance, or nearly vanish: then the length must stand
    # out from the error of the fit as well.
    numbers = np.array([len(y) for y in labels])
    chance = np.where(numbers * cosine**2 > AGREEMENT, 0.0, error)
    alike = (cosine > SAME_DIRECTION) & (label < BEYOND_UNITS * fit)
    larger = alike & (label > FACTOR * (fit + chance))
    smaller = alike & (fit > FACTOR * (label + chance))
    for off in sorted((larger, smaller), key=np.count_nonzero, reverse=True):
        if off.any():
            _refuse(name, _chosen(frames, off), float(np.median((label / fit)[off])))
    opposite = (cosine < OPPOSITE_DIRECTION) & (np.minimum(fit, label) > 2 * error)
    if opposite.any() and name == "stress":
        _refuse(name, _chosen(frames, opposite), -1.0)


def _chosen(frames: Sequence[int], where: NDArray[np.bool_]) -> list[int]:
    return [frame for frame, yes in zip(frames, where, strict=True) if yes]


def _majority_fit(
    features: Sequence[Array], labels: Sequence[Array]
) -> tuple[list[Array], np.floating]:
    """What most frames say each label should be, and the error of that, as median.

    Frames are reweighted until the sum of their errors, not of the squares, is least: a
    minority of frames in other units does not pull the fit.
    """
    scale = np.sqrt(np.mean(np.concatenate(features) ** 2, axis=0)) + 1e-300
    features = [f / scale for f in features]
    errors = np.array([_length(y) for y in labels])
    for _ in range(15):
        weights = 1 / np.maximum(errors, 0.1 * np.median(errors) + 1e-300)
        x = np.concatenate([f * np.sqrt(w) for f, w in zip(features, weights, strict=True)])
        y = np.concatenate([t * np.sqrt(w) for t, w in zip(labels, weights, strict=True)])
        normal = x.T @ x
        ridge = 1e-6 * np.trace(normal) / len(normal) * np.eye(len(normal))
        solution = np.linalg.solve(normal + ridge, x.T @ y)
        fits = [f @ solution for f in features]
        errors = np.array([_length(t - f) for t, f in zip(labels, fits, strict=True)])
    return fits, np.median(errors)


def _length(x: Array) -> float:
    return float(np.sqrt(np.mean(x * x)))


def _refuse(name: str, frames: Sequence[int], factor: float) -> None:
    shown = ", ".join(str(i) for i in frames[:8]) + (", …" if len(frames) > 8 else "")
    how = (
        "opposite in sign to"
        if factor < 0
        else f"about {factor:.3g} times"
        if factor > 1
        else f"about {1 / factor:.3g} times smaller than"
    )
    raise ValueError(
        f"mixed units: the {name} of frame(s) {shown} is {how} what the other frames lead to "
        f"expect; expected eV and Å everywhere, stress positive under tension ({HINTS[name]})"
    )
