"""The maps and labels that are worked on, built with any library of metatensor's names."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Arrays",
    "cube",
    "draw_large",
    "gradient_samples",
    "large",
    "many_blocks",
    "nbytes",
    "radial_spectrum",
]

TUTORIAL = Path(__file__).parents[2] / "shared" / "data" / "radial-spectrum.mts"

# center and neighbor type: samples (system, atom) and gradient samples (sample, system, atom)
TUTORIAL_ROWS = {
    (6, 6): ([(0, 0)], [(0, 0, 0)]),
    (6, 8): ([(0, 0)], [(0, 0, 0), (0, 0, 1)]),
    (7, 7): ([(0, 4), (0, 5)], [(0, 0, 4), (0, 0, 5), (1, 0, 4), (1, 0, 5)]),
    (8, 6): ([(0, 1)], [(0, 0, 0), (0, 0, 1)]),
    (8, 8): (
        [(0, 1), (0, 2), (0, 3)],
        [(0, 0, 1), (1, 0, 2), (1, 0, 3), (2, 0, 2), (2, 0, 3)],
    ),
}

Arrays = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Values and gradient values, block by block."""

TYPES = (6, 8)
ATOMS_PER_TYPE = 25
NEIGHBORS = 10
PROPERTIES = 100


def radial_spectrum(library: ModuleType) -> Any:
    """The radial spectrum of metatensor's tutorial, or a random map of the same shape."""
    if TUTORIAL.exists():
        return library.load(TUTORIAL)
    draw = np.random.default_rng(0)
    blocks = [
        _block(
            library,
            (draw.normal(size=(len(samples), 3)), draw.normal(size=(len(rows), 3, 3))),
            np.array(samples),
            np.array(rows),
        )
        for samples, rows in TUTORIAL_ROWS.values()
    ]
    return library.TensorMap(_keys(library, list(TUTORIAL_ROWS)), blocks)


def many_blocks(library: ModuleType, count: int) -> Any:
    """A map of ``count`` blocks, each of 2 samples and 3 properties, with 4 gradient rows."""
    draw = np.random.default_rng(1)
    samples, rows = (np.array(part) for part in TUTORIAL_ROWS[7, 7])
    blocks = [
        _block(library, (draw.normal(size=(2, 3)), draw.normal(size=(4, 3, 3))), samples, rows)
        for _ in range(count)
    ]
    return library.TensorMap(_keys(library, [(key, 0) for key in range(count)]), blocks)


def draw_large(systems: int, seed: int) -> Arrays:
    """Values for ``large``: 100 samples and 1000 gradient rows per system, 100 properties."""
    draw = np.random.default_rng(seed)
    samples = systems * ATOMS_PER_TYPE
    return [
        (draw.random((samples, PROPERTIES)), draw.random((samples * NEIGHBORS, PROPERTIES)))
        for _ in range(len(TYPES) ** 2)
    ]


def large(library: ModuleType, arrays: Arrays, *, first_system: int = 0) -> Any:
    """Four blocks, as of a descriptor with derivatives to one number per neighbor.

    The labels are new with every call; the values are those given. Every atom has ten
    gradient rows: itself, and neighbors of the block's neighbor type.
    """
    systems = len(arrays[0][0]) // ATOMS_PER_TYPE
    keys = [(center, neighbor) for center in TYPES for neighbor in TYPES]
    blocks = []
    for (center, neighbor), values in zip(keys, arrays, strict=True):
        atoms = ATOMS_PER_TYPE * TYPES.index(center) + np.arange(ATOMS_PER_TYPE)
        system = np.repeat(np.arange(first_system, first_system + systems), ATOMS_PER_TYPE)
        samples = np.stack([system, np.tile(atoms, systems)], axis=1)
        of_atom = _neighbors(center, neighbor)
        rows = np.stack(
            [
                np.repeat(np.arange(len(samples)), NEIGHBORS),
                np.repeat(system, NEIGHBORS),
                np.tile(of_atom.ravel(), systems),
            ],
            axis=1,
        )
        blocks.append(_block(library, values, samples, rows))
    return library.TensorMap(_keys(library, keys), blocks)


def cube(side: int) -> NDArray[np.int32]:
    """All triples of numbers below ``side``, sorted: ``(side**3, 3)``."""
    return np.indices((side, side, side), dtype=np.int32).reshape(3, -1).T.copy()


def gradient_samples(systems: int) -> NDArray[np.int32]:
    """Gradient samples (sample, system, atom), sorted: 100 per system of 10 atoms."""
    sample = np.repeat(np.arange(10 * systems), NEIGHBORS)
    atom = np.tile(_neighbors(TYPES[0], TYPES[1])[:10].ravel(), systems)
    return np.stack([sample, sample // 10, atom], axis=1).astype(np.int32)


def nbytes(thing: Any) -> int:
    """Bytes of values and gradients of maps, or of a buffer; labels and answers do not count."""
    if isinstance(thing, bytes | bytearray | memoryview):
        return memoryview(thing).nbytes
    if isinstance(thing, tuple):
        return sum(map(nbytes, thing))
    if not hasattr(thing, "blocks"):
        return 0
    return sum(
        part.values.nbytes
        for block in thing.blocks()
        for part in (block, *(gradient for _, gradient in block.gradients()))
    )


def _neighbors(center: int, neighbor: int) -> NDArray[np.int64]:
    """Atoms with a gradient row, for each atom of the center type: ``(atoms, NEIGHBORS)``."""
    atoms = np.arange(ATOMS_PER_TYPE)[:, None]
    others = (atoms + np.arange(1, NEIGHBORS)) % ATOMS_PER_TYPE
    own = ATOMS_PER_TYPE * TYPES.index(center) + atoms
    return np.sort(np.hstack([own, ATOMS_PER_TYPE * TYPES.index(neighbor) + others]), axis=1)


def _block(
    library: ModuleType,
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    samples: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> Any:
    value, gradient = values
    properties = library.Labels.range("n", value.shape[-1])
    components = [library.Labels.range("xyz", 3)] if gradient.ndim == 3 else []
    block = library.TensorBlock(
        value, library.Labels(["system", "atom"], samples.astype(np.int32)), [], properties
    )
    of = library.Labels(["sample", "system", "atom"], rows.astype(np.int32))
    block.add_gradient("positions", library.TensorBlock(gradient, of, components, properties))
    return block


def _keys(library: ModuleType, keys: list[tuple[int, int]]) -> Any:
    return library.Labels(["center_type", "neighbor_type"], np.array(keys, dtype=np.int32))
