"""A descriptor of many structures, a few of them at a time."""

from collections.abc import Iterator, Sequence

import ase

from nablatom.cli.terminal import Terminal
from nablatom.descriptors.assembly import renumbered
from nablatom.descriptors.density_calculator import DensityCalculator
from nablatom.descriptors.explicit import Explicit
from nablatom.tensor import TensorMap

__all__ = ["computed"]

# A gradient row of a power spectrum takes 10 kB, and an atom has 50 of them: 130 MB.
ATOMS = 256


def computed(
    calculator: DensityCalculator | Explicit,
    frames: Sequence[ase.Atoms],
    gradients: Sequence[str],
    threads: int,
    terminal: Terminal,
) -> Iterator[TensorMap]:
    """The descriptor of the structures, in parts whose systems are counted from the first."""
    whole = isinstance(calculator, Explicit) and not calculator.separable
    batches = [(0, len(frames))] if whole else _batches(frames)
    for start, stop in terminal.track(batches, name="descriptor"):
        yield renumbered(calculator(frames[start:stop], gradients, threads=threads), start)


def _batches(frames: Sequence[ase.Atoms]) -> list[tuple[int, int]]:
    """Ranges of structures with few atoms together, or of one structure."""
    batches: list[tuple[int, int]] = []
    start = atoms = 0
    for index, frame in enumerate(frames):
        if index > start and atoms + len(frame) > ATOMS:
            batches.append((start, index))
            start, atoms = index, 0
        atoms += len(frame)
    return [*batches, (start, len(frames))]
