"""Are the stored gradients those of the stored values? Two numbers for every answer.

Finite differences of the values, and the identities that hold for every function of the
relative positions of atoms: ``sum_j dX/dr_j = 0`` and
``dX/dstrain_ab = sum_j r_ja dX/dr_jb + sum_k H_ka dX/dH_kb``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import ase
import numpy as np
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

__all__ = ["GradientCheck", "verify_gradients"]

Array = NDArray[np.float64]

# Å or strain. The largest is best for smooth values; the smaller ones step over a neighbor
# that passes a kink of the cutoff function.
STEPS = (1e-3, 1e-4, 1e-5)
TOLERANCE = 1e-7  # of the largest gradient in the structure
ROUNDING = 1e-11  # of the largest value, over the smallest step
IDENTITY = 1e-11  # of the largest sum of absolute terms, or of the largest value
AXES = "xyz"


class Calculator(Protocol):
    """Structures → tensor of samples ``system, atom`` or ``system``."""

    def __call__(
        self, structures: Sequence[ase.Atoms], *, gradients: Sequence[str] = ()
    ) -> TensorMap:
        """The tensor with these gradients: some of positions, strain and cell."""


@dataclass(frozen=True)
class GradientCheck:
    """A stored number beside what it should be, where the two differ most.

    Attributes
    ----------
    name
        ``"positions"``, ``"strain"``, ``"cell"``: stored gradient and finite difference;
        ``"translation"``, ``"strain identity"``: the two sides of an identity.
    frame
        Index of the structure.
    place
        Which derivative, of which value.
    stored, reference, error
        The two numbers and their distance, infinite if one of them is not finite.
    tolerance
        1e-7 of the largest gradient of the structure; more only where the finite difference
        itself is less certain, because a neighbor passes a kink of the cutoff function.
    """

    name: str
    frame: int
    place: str
    stored: float
    reference: float
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def verify_gradients(
    calculator: Calculator,
    structures: Sequence[ase.Atoms],
    *,
    seed: int = 0,
    count: int = 8,
    gradients: Sequence[str] = ("positions", "strain", "cell"),
) -> list[GradientCheck]:
    """Checks of stored gradients, on a random sample of structures and directions.

    First ``count`` finite differences, each in a structure drawn at random: in turn one atom
    displaced along one axis, the structure strained along one component and, if it is
    periodic, one component of a cell vector changed. Every value of the structure is compared
    with what its stored gradients say; the worst is reported. Then the identities, for all
    gradients of the same structures; the worst of all is reported.

    Raises
    ------
    KeyError
        The calculator does not store one of the gradients.
    ValueError
        There is nothing to check.

    Examples
    --------
    >>> from nablatom.descriptors import SoapRadialSpectrum
    >>> from nablatom.systems import strained_cells
    >>> checks = verify_gradients(SoapRadialSpectrum(), strained_cells(3), count=3)
    >>> [check.name for check in checks]
    ['positions', 'strain', 'cell', 'translation', 'strain identity']
    >>> all(check.passed for check in checks)
    True
    """
    if len(structures) == 0 or count < 1:
        raise ValueError(f"at least one structure and one check, got {len(structures)} and {count}")
    random = np.random.default_rng(seed)
    order = random.permutation(len(structures))
    checks: list[GradientCheck] = []
    identities: list[GradientCheck] = []
    for turn, frame in enumerate(np.resize(order, count).tolist()):
        structure = structures[frame]
        tensor = calculator([structure], gradients=gradients)
        possible = [p for p in gradients if p != "cell" or structure.pbc.any()]
        direction = _random_direction(structure, possible[turn % len(possible)], random)
        checks.append(_compare(calculator, structure, frame, tensor, direction))
        identities += _identities(structure, frame, tensor, gradients)
    names = dict.fromkeys(check.name for check in identities)
    return checks + [max((c for c in identities if c.name == name), key=_excess) for name in names]


def _excess(check: GradientCheck) -> float:
    """How far a check is beyond its tolerance."""
    return check.error - check.tolerance


# -- finite differences --------------------------------------------------------------------


@dataclass(frozen=True)
class _Direction:
    """A derivative with respect to one number: an atom or cell vector or axis, and an axis."""

    parameter: str
    first: int
    axis: int

    def __str__(self) -> str:
        what = {"positions": f"atom {self.first}", "cell": f"vector {'abc'[self.first % 3]}"}
        return f"{what.get(self.parameter, AXES[self.first % 3])}, {AXES[self.axis]}"

    def change(self, structure: ase.Atoms, step: float) -> ase.Atoms:
        """A copy of the structure after one step."""
        changed = structure.copy()
        changed.set_constraint()
        cell, positions = structure.cell.array.copy(), structure.positions.copy()
        if self.parameter == "positions":
            positions[self.first, self.axis] += step
        elif self.parameter == "cell":
            cell[self.first, self.axis] += step
        else:
            strain = np.eye(3)
            strain[self.first, self.axis] += step
            cell, positions = cell @ strain, positions @ strain
        changed.set_cell(cell)
        changed.positions = positions
        return changed

    def of(self, block: TensorBlock) -> Array:
        """The stored derivative of every value of a block."""
        gradient = block.gradient(self.parameter)
        derivative = np.zeros(block.shape)
        samples = gradient.samples.column("sample")
        if self.parameter == "positions":
            rows = np.flatnonzero(gradient.samples.column("atom") == self.first)
            derivative[samples[rows]] = gradient.values[rows, self.axis]
        else:
            derivative[samples] = gradient.values[:, self.first, self.axis]
        return derivative


def _random_direction(
    structure: ase.Atoms, parameter: str, random: np.random.Generator
) -> _Direction:
    choices = {
        "positions": np.arange(len(structure)),
        "strain": np.arange(3),
        "cell": np.flatnonzero(structure.pbc),
    }
    return _Direction(parameter, int(random.choice(choices[parameter])), int(random.integers(3)))


def _compare(
    calculator: Calculator,
    structure: ase.Atoms,
    frame: int,
    tensor: TensorMap,
    direction: _Direction,
) -> GradientCheck:
    """The worst of all values of a structure along one direction."""
    gradients = [block.gradient(direction.parameter).values for block in tensor.blocks()]
    values = [block.values for block in tensor.blocks()]
    tolerance = TOLERANCE * _largest(gradients) + ROUNDING * _largest(values)
    stored = _flat([direction.of(block) for block in tensor.blocks()])

    def at(steps: Array) -> Array:
        changed = calculator([direction.change(structure, step) for step in steps])
        return np.stack([_values(changed, system, like=tensor) for system in range(len(steps))])

    reference, uncertainty = _difference(at, tolerance)
    tolerances = np.maximum(tolerance, 2 * uncertainty)
    return _worst(direction.parameter, frame, str(direction), tensor, stored, reference, tolerances)


def _difference(at: Callable[[Array], Array], enough: float) -> tuple[Array, Array]:
    """Derivative and its uncertainty, from two Richardson extrapolations of each step."""
    best = uncertainty = np.array(np.inf)
    for step in STEPS:
        steps = step / np.array([1, 2, 4])
        plus, minus = np.split(at(np.concatenate([steps, -steps])), 2)
        d = (plus - minus) / (2 * steps[:, None])
        coarse, fine = (4 * d[1:] - d[:-1]) / 3
        doubt = np.abs(fine - coarse)
        best = np.where(doubt < uncertainty, fine, best)
        uncertainty = np.fmin(doubt, uncertainty)
        if np.all(uncertainty <= enough / 4):
            break
    return best, uncertainty


def _values(tensor: TensorMap, system: int, *, like: TensorMap) -> Array:
    """The values of one structure, in the order of another tensor; zero where there are none."""
    parts = []
    for key, block in like.items():
        values = np.zeros(block.shape)
        position = tensor.keys.position(key)
        if position is not None:
            other = tensor.block_by_id(position)
            wanted = block.samples.values.copy()
            wanted[:, block.samples.names.index("system")] = system
            place = other.samples.union_and_mapping(Labels(block.samples.names, wanted))[2]
            known = place < len(other)
            values[known] = other.values[place[known]]
        parts.append(values)
    return _flat(parts)


# -- identities ----------------------------------------------------------------------------


def _identities(
    structure: ase.Atoms, frame: int, tensor: TensorMap, gradients: Sequence[str]
) -> Iterator[GradientCheck]:
    if "positions" not in gradients:
        return
    blocks = tensor.blocks()
    # Where gradients vanish by symmetry, they are sums of terms as large as the values.
    rounding = _largest([block.values for block in blocks])
    total, size = _joined(_summed(block, np.ones((len(structure), 1))) for block in blocks)
    tolerance = np.full_like(total, IDENTITY * max(_largest([size]), rounding))
    zero = np.zeros_like(total)
    yield _worst("translation", frame, "sum over atoms", tensor, total, zero, tolerance)
    if "strain" in gradients and ("cell" in gradients or not structure.pbc.any()):
        stored = _flat([_dense(block, "strain") for block in blocks])
        total, size = _joined(_strain_by_parts(block, structure) for block in blocks)
        tolerance = np.full_like(total, IDENTITY * max(_largest([size]), rounding))
        yield _worst("strain identity", frame, "from parts", tensor, stored, total, tolerance)


def _summed(block: TensorBlock, weights: Array) -> tuple[Array, Array]:
    """``sum_j w_ja dX/dr_jb``, (samples, a, b, …), and the same of absolute terms."""
    gradient = block.gradient("positions")
    atoms = gradient.samples.column("atom")
    terms = np.einsum("ra,rb...->rab...", weights[atoms], gradient.values)
    total, size = np.zeros((2, len(block), *terms.shape[1:]))
    with np.errstate(invalid="ignore"):  # infinity minus infinity is wrong, and is reported
        np.add.at(total, gradient.samples.column("sample"), terms)
        np.add.at(size, gradient.samples.column("sample"), np.abs(terms))
    return total, size


def _strain_by_parts(block: TensorBlock, structure: ase.Atoms) -> tuple[Array, Array]:
    total, size = _summed(block, structure.positions)
    if block.has_gradient("cell"):
        cell = np.einsum("ka,skb...->sab...", structure.cell.array, _dense(block, "cell"))
        total, size = total + cell, size + np.abs(cell)
    return total, size


def _dense(block: TensorBlock, parameter: str) -> Array:
    """A strain or cell gradient with a row for every sample."""
    gradient = block.gradient(parameter)
    dense = np.zeros((len(block), *gradient.shape[1:]))
    dense[gradient.samples.column("sample")] = gradient.values
    return dense


# -- reports -------------------------------------------------------------------------------


def _worst(
    name: str,
    frame: int,
    what: str,
    tensor: TensorMap,
    stored: Array,
    reference: Array,
    tolerance: Array,
) -> GradientCheck:
    """The entry that exceeds its tolerance by most; NaN is infinitely wrong."""
    if stored.size == 0:
        return GradientCheck(name, frame, f"{what}; no values", 0.0, 0.0, 0.0, 0.0)
    finite = np.isfinite(stored) & np.isfinite(reference)
    error = np.full(stored.shape, np.inf)
    np.subtract(stored, reference, out=error, where=finite)
    error = np.abs(error)
    k = int(np.argmax(error - tolerance))
    place = f"{what}; {_entry(tensor, k, stored.size)}"
    return GradientCheck(
        name,
        frame,
        place,
        float(stored[k]),
        float(reference[k]),
        float(error[k]),
        float(tolerance[k]),
    )


def _entry(tensor: TensorMap, k: int, total: int) -> str:
    """Key, sample and property of one number among the flattened entries of a tensor."""
    copies = total // max(1, sum(block.values.size for block in tensor.blocks()))
    for key, block in tensor.items():
        size = block.values.size * copies
        if k < size:
            row, column = k // (size // len(block)), k % len(block.properties)
            return (
                f"{key.print()}, {block.samples[row].print()}, {block.properties[column].print()}"
            )
        k -= size
    raise AssertionError("no such entry")


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.zeros(0), *(part.ravel() for part in parts)])


def _joined(pairs: Iterable[tuple[Array, Array]]) -> tuple[Array, Array]:
    parts = list(pairs)
    return _flat([first for first, _ in parts]), _flat([second for _, second in parts])


def _largest(arrays: Sequence[Array]) -> float:
    """The largest finite magnitude: a NaN must not make a tolerance of NaN."""
    finite = (np.abs(x[np.isfinite(x)]) for x in arrays)
    return max((float(x.max(initial=0.0)) for x in finite), default=0.0)
