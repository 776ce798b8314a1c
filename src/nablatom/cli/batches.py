"""A descriptor of many structures, a few of them at a time."""

from collections.abc import Iterator, Sequence

import ase

from nablatom.cli.steps import renumbered
from nablatom.cli.terminal import Terminal
from nablatom.descriptors.density_calculator import DensityCalculator
from nablatom.models import Calculator
from nablatom.tensor import TensorMap

__all__ = ["computed"]

# A gradient row of a power spectrum takes 10 kB, and an atom has 50 of them: 130 MB.
ATOMS = 256


def computed(
    calculator: Calculator,
    frames: Sequence[ase.Atoms],
    gradients: Sequence[str],
    threads: int,
    terminal: Terminal,
) -> Iterator[TensorMap]:
    """The descriptor of the structures, in parts whose systems are counted from the first."""
    for start, stop in terminal.track(_batches(frames), name="descriptor"):
        some = frames[start:stop]
        if isinstance(calculator, DensityCalculator):
            tensor = calculator(some, gradients, threads=threads)
        else:
            tensor = calculator(some, gradients=gradients)
        yield renumbered(tensor, start)


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
