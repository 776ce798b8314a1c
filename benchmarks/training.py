"""Training of layers and loading of batches, beside metatensor-learn.

A batch is like one of QM7: 32 molecules of 12 to 17 atoms of four species, 100 properties, and
the derivative of every atom's properties with respect to every atom of its molecule. The peer
has no gradients through its layers: it trains on values alone. The loss is of the sums over the
atoms of each species: the peer cannot add these up, as it moves no keys of torch values.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.bars import Faster, NoBar
from benchmarks.groups import Group, Job

__all__ = ["LOADING", "TRAINING"]

SPECIES, SHARES = (1, 6, 7, 8), (0.5, 0.3, 0.1, 0.1)
MOLECULES, SIZES = 32, (12, 18)
PROPERTIES, HIDDEN = 100, 32
BATCH = 32

Molecules = list[np.ndarray[Any, Any]]
"""Atomic numbers, molecule by molecule."""


@dataclass(frozen=True, slots=True)
class Training:
    """A library, its layers, and one step that changes the weights and returns the loss."""

    step: Callable[[], float]


def draw_molecules(reduced: bool) -> Molecules:
    draw = np.random.default_rng(5)
    count = 4 if reduced else MOLECULES
    return [draw.choice(SPECIES, draw.integers(*SIZES), p=SHARES) for _ in range(count)]


def values_only(library: ModuleType, molecules: Molecules) -> tuple[Any, ...]:
    return (training(library, descriptor(library, molecules, gradients=False)),)


def with_gradients(library: ModuleType, molecules: Molecules) -> tuple[Any, ...]:
    """Energies and their derivatives for us, energies for the peer."""
    gradients = library.__name__ == "nablatom"
    return (training(library, descriptor(library, molecules, gradients=gradients)),)


def with_gradients_alike(library: ModuleType, molecules: Molecules) -> tuple[Any, ...]:
    """Energies and derivatives for both: the other side has torch's kernels and no labels."""
    nablatom = importlib.import_module("nablatom")
    x = descriptor(nablatom, molecules, gradients=True)
    if library is nablatom:
        return (training(library, x),)
    bare = importlib.import_module("benchmarks.bare_training")
    return (Training(bare.bare_step(x, HIDDEN)),)


def descriptor(
    library: ModuleType,
    molecules: Molecules,
    *,
    gradients: bool,
    properties: int = PROPERTIES,
    first: int = 0,
    seed: int = 6,
) -> Any:
    """Random numbers with the labels of a radial spectrum, in single precision."""
    draw = np.random.default_rng(seed)
    n, xyz = library.Labels.range("n", properties), library.Labels.range("xyz", 3)
    blocks = []
    for species in SPECIES:
        atoms = [
            (i, a) for i, types in enumerate(molecules) for a in np.flatnonzero(types == species)
        ]
        samples = np.reshape(np.array(atoms, np.int32), (-1, 2)) + np.array([first, 0], np.int32)
        block = library.TensorBlock(
            numbers(draw, len(atoms), properties),
            library.Labels(["system", "atom"], samples),
            [],
            n,
        )
        if gradients:
            rows = [
                (row, first + i, b)
                for row, (i, _) in enumerate(atoms)
                for b in range(len(molecules[i]))
            ]
            labels = library.Labels(
                ["sample", "system", "atom"], np.reshape(np.array(rows, np.int32), (-1, 3))
            )
            values = numbers(draw, len(rows), 3, properties)
            block.add_gradient("positions", library.TensorBlock(values, labels, [xyz], n))
        blocks.append(block)
    keys = library.Labels(["center_type"], np.array(SPECIES, np.int32)[:, None])
    return library.TensorMap(keys, blocks)


def numbers(draw: np.random.Generator, *shape: int) -> Any:
    import torch

    return torch.from_numpy(draw.normal(size=shape).astype(np.float32))


def training(library: ModuleType, x: Any) -> Training:
    """Two layers for each species, and the sums over the atoms of each molecule."""
    import torch

    kit = _learn(library)
    torch.manual_seed(0)
    layers = (
        kit.Linear(x.keys, PROPERTIES, HIDDEN),
        kit.SiLU(x.keys),
        kit.Linear(x.keys, HIDDEN, 1),
    )
    model = kit.Sequential(x.keys, *layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        blocks = library.sum_over_samples(model(x), "atom").blocks()
        loss = sum((block.values**2).mean() for block in blocks)
        loss = loss + sum((g.values**2).mean() for block in blocks for _, g in block.gradients())
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return Training(step)


def _learn(library: ModuleType) -> Any:
    if library.__name__ == "nablatom":
        return importlib.import_module("nablatom.nn")
    return importlib.import_module("metatensor.learn.nn")


def one_step(library: ModuleType, trained: Training) -> None:
    """Both start from the same weights; what they reach is compared by the tests of the layers."""
    trained.step()


TRAINING = Group(
    "A training step of two layers, 32 molecules × 15 atoms, 4 species, 100 properties, float32",
    draw=draw_molecules,
    jobs={
        "values alone": Job(Faster(3), values_only, one_step),
        "with gradients, the peer on values alone": Job(NoBar(), with_gradients, one_step),
        "with gradients, beside torch's kernels alone": Job(
            NoBar(), with_gradients_alike, one_step
        ),
    },
)


# Many small maps: what a sample of a batch costs.


def draw_small(reduced: bool) -> int:
    return 1000 if reduced else 10_000


def small_maps(*, gradients: bool) -> Callable[[ModuleType, int], tuple[Any, ...]]:
    def build(library: ModuleType, count: int) -> tuple[Any, ...]:
        molecule = [np.array([6, 1, 1, 1, 8, 7])]
        maps = [
            descriptor(library, molecule, gradients=gradients, properties=4, first=i, seed=i)
            for i in range(count)
        ]
        kit = importlib.import_module(
            "nablatom.nn" if library.__name__ == "nablatom" else "metatensor.learn"
        )
        order = np.random.default_rng(7).permutation(count).tolist()
        return kit.DataLoader(kit.Dataset(x=maps), batch_size=BATCH, sampler=order), count

    return build


def read_all(library: ModuleType, loader: Any, count: int) -> Any:
    """The last batch, when all have been made."""
    for batch in loader:
        last = batch.x
    return last


def maps(inputs: Sequence[Any]) -> int:
    return int(inputs[1])


LOADING = Group(
    "DataLoader over 10⁴ maps of one molecule, 4 blocks each, batches of 32, per map",
    draw=draw_small,
    jobs={
        "values alone": Job(Faster(5), small_maps(gradients=False), read_all, per=maps),
        "with gradients": Job(Faster(5), small_maps(gradients=True), read_all, per=maps),
    },
)
