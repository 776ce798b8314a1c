"""Descriptors beside featomic, in one process and one thread, from structures to a tensor.

Silicon, water and small organic molecules; cutoff 5 Å of width 0.5 Å, Gaussians of 0.3 Å, 8
radial functions, l up to 6, double precision. The peer works as it does by default, with splined
radial integrals; its values are compared where it computes them without.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterator
from functools import cache
from threading import Thread
from typing import Any

import ase
import numpy as np
from ase.build import bulk, molecule
from ase.collections import g2

from benchmarks.bars import AtMost, Bar, Faster, Figure, Limit, NoBar
from benchmarks.duel import Duel, Duels
from benchmarks.processes import peak_memory

__all__ = ["DESCRIPTORS", "molecules", "ours", "silicon", "water"]

HYPERS: dict[str, Any] = {
    "cutoff": {"radius": 5.0, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {"type": "Gaussian", "width": 0.3},
    "basis": {
        "type": "TensorProduct",
        "max_angular": 6,
        "radial": {"type": "Gto", "max_radial": 7},
    },
}
NAMES = ("SphericalExpansion", "SoapPowerSpectrum")
POSITIONS = ["positions"]


def silicon(cells: int = 3) -> list[ase.Atoms]:
    """A rattled crystal of ``8 cells³`` atoms."""
    structure = bulk("Si", cubic=True) * (cells, cells, cells)
    structure.rattle(0.05, seed=1)
    return [structure]


def water(count: int = 4) -> list[ase.Atoms]:
    """``count³`` molecules on a cubic grid with the density of the liquid, turned at random."""
    random, box = np.random.default_rng(2), ase.Atoms(pbc=True)
    spacing = 3.105
    for place in np.ndindex(count, count, count):
        one = molecule("H2O")
        one.euler_rotate(*random.uniform(0, 360, 3), center="COM")
        one.positions += np.array(place) * spacing - one.get_center_of_mass()
        box += one
    box.set_cell([count * spacing] * 3)
    box.rattle(0.02, seed=2)
    return [box]


def molecules(count: int = 100) -> list[ase.Atoms]:
    """Rattled organic molecules of H, C, N, O and F with at least two heavy atoms."""
    chosen = []
    for name in g2.names:
        one = molecule(name)
        if set(one.numbers) <= {1, 6, 7, 8, 9} and (one.numbers > 1).sum() > 1:
            chosen.append(one)
    frames = [chosen[k % len(chosen)].copy() for k in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.03, seed=seed)
    return frames


@cache
def ours(name: str) -> Any:
    """Our calculator, whose defaults are the settings of the comparison."""
    import nablatom.descriptors

    return getattr(nablatom.descriptors, name)()


@cache
def peer(name: str, *, splined: bool = True) -> Any:
    """The peer's calculator; None where it is not installed."""
    os.environ.setdefault("RAYON_NUM_THREADS", "1")
    try:
        import featomic
    except ImportError:
        return None
    hypers = copy.deepcopy(HYPERS)
    if not splined:
        hypers["basis"]["spline_accuracy"] = None
    return getattr(featomic, name)(**hypers)


def descriptors(reduced: bool) -> Iterator[Duel | Figure]:
    """Every comparison that the documentation reports."""
    cases = {
        "Si 216": silicon(2 if reduced else 3),
        "water 192": water(2 if reduced else 4),
        "100 molecules": molecules(20 if reduced else 100),
    }
    gradients = dict(zip(NAMES, ((7, 7, 7), (9, 8, 6)), strict=True))
    for name in NAMES:
        for (case, frames), times in zip(cases.items(), gradients[name], strict=True):
            yield beside_peer(f"{name}, {case}, positions gradients", name, frames, Faster(times))
    for name in NAMES:
        for case, frames in cases.items():
            yield beside_fill(f"{name}, {case}, beside filling its memory", name, frames)
    for name in NAMES:
        for case, frames in cases.items():
            yield beside_peer(f"{name}, {case}, values", name, frames, Faster(3), ())
    for name in NAMES:
        for case, frames in cases.items():
            yield agreement(f"{name}, {case}, largest difference from the peer", name, frames)
    yield forces("forces through vjp, beside stored gradients, Si 216", cases["Si 216"])
    yield from threads(silicon(3 if reduced else 8))
    for name in NAMES:
        yield memory(name, 2 if reduced else 4)


def beside_peer(
    title: str, name: str, frames: list[ase.Atoms], bar: Bar, gradients: Any = POSITIONS
) -> Duel:
    """Results of their own on both sides, whose memory either may have had before."""
    mine, other = ours(name), peer(name)
    theirs = None if other is None else lambda: quiet(other, frames, gradients)
    return Duel(title, bar, lambda: mine(frames, gradients), theirs, same_labels)


def beside_fill(title: str, name: str, frames: list[ase.Atoms]) -> Duel:
    """With reused memory, beside writing every number of the result once."""
    from nablatom.descriptors import Workspace

    mine, workspace = ours(name), Workspace()
    result = mine(frames, POSITIONS, out=workspace)
    arrays = [block.values for block in result.blocks()]
    arrays += [block.gradient("positions").values for block in result.blocks()]
    fresh = [np.ones_like(array) for array in arrays]
    return Duel(
        title,
        AtMost(5),
        lambda: mine(frames, POSITIONS, out=workspace),
        lambda: [array.fill(1.0) for array in fresh],
        rounds=9,
    )


def forces(title: str, frames: list[ase.Atoms]) -> Duel:
    """Derivatives of a number that is linear in the power spectrum."""
    name = "SoapPowerSpectrum"
    mine, other = ours(name), peer(name)
    values = mine(frames)
    random = np.random.default_rng(0)
    weights = [random.normal(size=block.shape[1]) for block in values.blocks()]
    cotangents = _like(values, weights)

    def theirs() -> Any:
        result = np.zeros((len(frames[0]), 3))
        for block, weight in zip(quiet(other, frames, POSITIONS).blocks(), weights, strict=True):
            gradient = block.gradient("positions")
            np.add.at(result, gradient.samples["atom"], gradient.values @ weight)
        return result

    def agree(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a.positions, b, atol=1e-5 * np.abs(b).max())

    opponent = None if other is None else theirs
    return Duel(title, Faster(25), lambda: mine.vjp(frames, cotangents), opponent, agree)


def _like(tensor: Any, weights: list[Any]) -> Any:
    from nablatom import TensorBlock, TensorMap

    blocks = [
        TensorBlock(np.tile(weight, (len(b), 1)), b.samples, b.components, b.properties)
        for b, weight in zip(tensor.blocks(), weights, strict=True)
    ]
    return TensorMap(tensor.keys, blocks)


def threads(frames: list[ase.Atoms]) -> Iterator[Duel]:
    """Two threads beside one, on one large structure; and what they give at best."""
    yield Duel(
        "matrix products of NumPy, two threads beside one",
        NoBar(),
        lambda: matrix_products(2),
        lambda: matrix_products(1),
        rounds=9,
    )
    for name in NAMES:
        mine = ours(name)
        values = mine(frames)
        random = np.random.default_rng(0)
        blocks = [random.normal(size=block.shape) for block in values.blocks()]
        cotangents = _filled(values, blocks)
        size = f"{len(frames[0])} atoms, two threads beside one"
        yield Duel(
            f"{name}, values, {size}",
            Faster(1.6),
            lambda mine=mine: mine(frames, threads=2),
            lambda mine=mine: mine(frames, threads=1),
        )
        yield Duel(
            f"{name}, vjp, {size}",
            Faster(1.6),
            lambda mine=mine, c=cotangents: mine.vjp(frames, c, threads=2),
            lambda mine=mine, c=cotangents: mine.vjp(frames, c, threads=1),
        )


def matrix_products(threads: int) -> None:
    """The same number of small products, dealt to some threads, each with matrices of its own."""
    count, size = 400, 192

    def share() -> None:
        a, b, product = (np.ones((size, size)) for _ in range(3))
        for _ in range(count // threads):
            np.matmul(a, b, out=product)

    running = [Thread(target=share) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _filled(tensor: Any, arrays: list[Any]) -> Any:
    from nablatom import TensorBlock, TensorMap

    blocks = [
        TensorBlock(array, b.samples, b.components, b.properties)
        for b, array in zip(tensor.blocks(), arrays, strict=True)
    ]
    return TensorMap(tensor.keys, blocks)


def agreement(title: str, name: str, frames: list[ase.Atoms]) -> Figure:
    """Values to 1e-9 and gradients to 1e-8 of the largest, in units of these bounds."""
    other = peer(name, splined=False)
    bar = Limit(1.0, "≤ 1e-9; gradients ≤ 1e-8 relative")
    if other is None:
        return Figure("", title, bar, float("nan"), unit="bounds")
    a, b = ours(name)(frames, POSITIONS), quiet(other, frames, POSITIONS)
    same_labels(a, b)
    worst = 0.0
    for x, y in zip(a.blocks(), b.blocks(), strict=True):
        worst = max(worst, np.abs(x.values - y.values).max() / 1e-9)
        g, h = (block.gradient("positions").values for block in (x, y))
        worst = max(worst, np.abs(g - h).max() / (1e-8 * max(1.0, np.abs(h).max())))
    return Figure("", title, bar, float(worst), unit="bounds")


def memory(name: str, cells: int) -> Figure:
    """Peak of what a call adds to memory, beside the size of its result."""
    setup = (
        "from benchmarks.descriptors import ours, silicon\n"
        f"mine, frames = ours({name!r}), silicon({cells})\n"
        "mine(silicon(1), ['positions'])\n"
    )
    peak = peak_memory(setup, "mine(frames, ['positions'])")
    result = ours(name)(silicon(cells), POSITIONS)
    size = sum(b.values.nbytes + b.gradient("positions").values.nbytes for b in result.blocks())
    title = f"{name}, Si {8 * cells**3}, peak memory beside the result"
    return Figure("", title, AtMost(1.1), peak, size / 1e6, unit="MB")


def quiet(calculator: Any, frames: list[ase.Atoms], gradients: Any) -> Any:
    """The peer without what it says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return calculator.compute(frames, gradients=list(gradients))


def same_labels(a: Any, b: Any) -> None:
    """Both sides gave the same keys, samples, gradient samples and properties."""
    assert np.array_equal(a.keys.values, b.keys.values)
    for x, y in zip(a.blocks(), b.blocks(), strict=True):
        assert np.array_equal(x.samples.values, y.samples.values)
        assert np.array_equal(x.properties.values, y.properties.values)
        for name, gradient in x.gradients():
            assert np.array_equal(gradient.samples.values, y.gradient(name).samples.values)


DESCRIPTORS = Duels("Descriptors, 8 radial functions, l ≤ 6, 5 Å, float64", descriptors)
