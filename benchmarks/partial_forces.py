"""Partial forces of silicon beside the nequip package's, and beside one backward pass per atom.

Both models are the same NequIP with the same weights (32 features, l_max 1, 5 Å, double
precision); the peer is that package's ``PartialForceOutput`` around its energy model. A side
that would take many minutes is estimated, which the name of the figure says: from its forward
pass, and a few of its backward passes, all of which are alike.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import ase
import numpy as np
from ase.build import bulk

from benchmarks.bars import AtMost, Bar, Faster, Figure, Limit, NoBar
from benchmarks.clock import timed
from benchmarks.duel import Duel, Duels
from benchmarks.processes import peak_memory

__all__ = ["LARGE_PARTIAL_FORCES", "PARTIAL_FORCES", "Silicon"]

CUTOFF, FEATURES, NEIGHBORS = 5.0, 32, 28.0
SAMPLED = 8  # backward passes of which a total is estimated
ROUNDS = 3  # of a comparison that takes seconds


class Silicon:
    """A rattled crystal of ``8 cells³`` atoms, and NequIP twice: ours and the peer's.

    Without the peer installed, ours has weights of its own.
    """

    def __init__(self, layers: int, cells: int) -> None:
        self.layers, self.cells = layers, cells

    @cached_property
    def data(self) -> Any:
        from nablatom.models import AtomicDataDict

        return AtomicDataDict.from_ase(silicon(self.cells), cutoff=CUTOFF, types=["Si"])

    @property
    def atoms(self) -> int:
        return len(self.data["pos"])

    @cached_property
    def model(self) -> Any:
        from nablatom.models import NequIP, from_nequip_state

        settings = {
            "types": ["Si"],
            "cutoff": CUTOFF,
            "layers": self.layers,
            "l_max": 1,
            "features": FEATURES,
            "average_neighbors": NEIGHBORS,
        }
        network = peer_network(self.layers)
        if network is None:
            return NequIP(**settings).eval()
        return from_nequip_state(network.state_dict(), **settings).eval()

    @property
    def has_peer(self) -> bool:
        return peer_network(self.layers) is not None

    def ours(self) -> Any:
        from nablatom.outputs import partial_forces

        return partial_forces(self.model, self.data)

    def forces(self) -> Any:
        from nablatom.outputs import forces

        return forces(self.model, self.data)

    def peer(self) -> Any:
        from nequip.nn import PartialForceOutput

        return PartialForceOutput(energy_model(self.layers)).eval()(self.peer_data())

    def peer_data(self) -> dict[str, Any]:
        import torch

        known = ("pos", "edge_index", "edge_cell_shift", "atom_types", "cell")
        data = {key: self.data[key].clone() for key in known}
        data["batch"] = torch.zeros(self.atoms, dtype=torch.int64)
        data["num_atoms"] = torch.tensor([self.atoms])
        return data

    def peer_rows(self, count: int = SAMPLED) -> tuple[float, float]:
        """Seconds of the peer's forward pass, and of one of its backward passes."""
        import torch

        data = self.peer_data()
        data["pos"].requires_grad_()
        forward, energies = timed(lambda: energy_model(self.layers)(data)["atomic_energy"])
        return forward, _backward_pass(energies, data["pos"], count, torch)

    def our_rows(self, count: int = SAMPLED) -> tuple[float, float]:
        """The same of ours, without any use of locality."""
        import torch

        positions = self.data["pos"].clone().requires_grad_()
        data = {**self.data, "pos": positions}
        forward, energies = timed(lambda: self.model(data)["atomic_energy"])
        return forward, _backward_pass(energies, positions, count, torch)

    def peer_start(self) -> None:
        """As much of the peer's work as decides its memory: the graph, some rows, the result."""
        import torch

        self.peer_rows(2)
        torch.zeros(self.atoms, self.atoms, 3, dtype=torch.float64).add_(1)


def silicon(cells: int) -> ase.Atoms:
    structure = bulk("Si", cubic=True).repeat(cells)
    structure.rattle(0.1, seed=0)
    return structure


@cache
def peer_network(layers: int) -> Any:
    """The peer's model with its forces and stress, or None if it is not installed."""
    try:
        import nequip  # noqa: F401
    except ImportError:
        return None
    import torch

    default = torch.get_default_dtype()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nequip.model import NequIPGNNModel
        from nequip.utils.global_state import set_global_state

        set_global_state()
        network = NequIPGNNModel(
            seed=1,
            model_dtype="float64",
            type_names=["Si"],
            r_max=CUTOFF,
            num_layers=layers,
            l_max=1,
            num_features=FEATURES,
            avg_num_neighbors=NEIGHBORS,
        )
    torch.set_default_dtype(default)
    return network.eval()


def energy_model(layers: int) -> Any:
    """The peer's energies, without what wraps them."""
    network = peer_network(layers)
    while (inner := getattr(network, "func", None) or getattr(network, "model", None)) is not None:
        network = inner
    return network


def _backward_pass(energies: Any, positions: Any, count: int, torch: Any) -> float:
    seconds = []
    for atom in range(count):
        weights = torch.zeros_like(energies)
        weights[atom] = 1
        seconds.append(
            timed(lambda w=weights: torch.autograd.grad(energies, positions, w, retain_graph=True))[
                0
            ]
        )
    return statistics.median(seconds)


def assert_same_rows(ours: Any, theirs: Any) -> None:
    """The sparse rows are the peer's dense ones, and nothing else of these is there."""
    block = ours.block()
    gradient = block.gradient("positions")
    partial = theirs["partial_forces"].detach().numpy()
    dense = np.zeros_like(partial)
    rows = gradient.samples
    dense[rows.column("sample"), rows.column("atom")] = -gradient.values[..., 0].numpy()
    off = np.abs(dense - partial).max() / np.abs(partial).max()
    assert off < 1e-10, f"partial forces differ by {off:.1e} of the largest"


# -- the groups --------------------------------------------------------------------------


def default(reduced: bool) -> Iterator[Duel | Figure]:
    three = Silicon(3, 2 if reduced else 3)
    peer = three.peer if three.has_peer else None
    name = f"3 layers, Si {three.atoms}"
    yield Duel(name, Faster(1.2), three.ours, peer, assert_same_rows, rounds=1)
    yield memory(f"{name}: memory", AtMost(1 / 2), three, "case.peer()")
    one = Silicon(1, 3 if reduced else 8)
    yield Duel(f"1 layer, Si {one.atoms}, beside forces", AtMost(1.2), one.ours, one.forces)
    yield lennard_jones(3 if reduced else 8)
    two = Silicon(2, 3 if reduced else 4)
    yield beside_loop(two, Faster(1))


def large(reduced: bool) -> Iterator[Duel | Figure]:
    middle = Silicon(3, 2 if reduced else 4)
    name = f"3 layers, Si {middle.atoms}"
    yield once(name, Faster(3), middle)
    yield memory(f"{name}: memory", AtMost(1 / 5), middle, "case.peer()")
    big = Silicon(3, 3 if reduced else 6)
    name = f"3 layers, Si {big.atoms}"
    yield estimated(name, Faster(7), big)
    label = f"{name}: memory (peer estimated: its graph, a few rows, its result once)"
    yield memory(label, AtMost(1 / 10), big, "case.peer_start()")
    small, huge = Silicon(2, 2 if reduced else 4), Silicon(2, 3 if reduced else 8)
    yield beside_loop(huge, Faster(45))
    limit = Limit(200.0, "≤ 200 MB")
    yield memory(f"2 layers, Si {huge.atoms}: memory", limit, huge, None)
    yield scaling(small, huge)


def once(name: str, bar: Bar, case: Silicon) -> Figure:
    """Both sides, one call each after a small one."""
    Silicon(case.layers, 1).ours()
    ours, rows = timed(case.ours)
    if not case.has_peer:
        return Figure("", name, bar, ours)
    Silicon(case.layers, 1).peer()
    peer, dense = timed(case.peer)
    assert_same_rows(rows, dense)
    return Figure("", name, bar, ours, peer)


def estimated(name: str, bar: Bar, case: Silicon) -> Figure:
    Silicon(case.layers, 1).ours()
    ours, _ = timed(case.ours)
    if not case.has_peer:
        return Figure("", name, bar, ours)
    Silicon(case.layers, 1).peer()
    forward, backward = case.peer_rows()
    label = f"{name} (peer estimated from {SAMPLED} of its {case.atoms} backward passes)"
    return Figure("", label, bar, ours, forward + case.atoms * backward)


def beside_loop(case: Silicon, bar: Bar) -> Figure:
    Silicon(case.layers, 1).ours()
    ours, _ = timed(case.ours)
    Silicon(case.layers, 2).our_rows(1)
    forward, backward = case.our_rows()
    name = (
        f"{case.layers} layers, Si {case.atoms}, beside one backward pass per atom "
        f"(estimated from {SAMPLED})"
    )
    return Figure("", name, bar, ours, forward + case.atoms * backward)


def scaling(small: Silicon, large: Silicon) -> Figure:
    """Time per atom of a large crystal beside that of a small one: 1 is linear."""
    Silicon(small.layers, 1).ours()
    seconds = [
        [timed(case.ours)[0] / case.atoms for case in (large, small)] for _ in range(ROUNDS - 1)
    ]
    ours, other = (statistics.median(side) for side in zip(*seconds, strict=True))
    name = f"{small.layers} layers, per atom: Si {large.atoms} beside Si {small.atoms}"
    return Figure("", name, AtMost(1.2), ours, other)


def memory(name: str, bar: Bar, case: Silicon, peer: str | None) -> Figure:
    """Peak memory of both sides, each in a process of its own."""
    setup = (
        "import torch\n"
        "torch.set_num_threads(1)\n"
        "from benchmarks.partial_forces import Silicon\n"
        "small = Silicon({layers}, 1)\n"
        "small.{warm}()\n"
        "case = Silicon({layers}, {cells})\n"
        "case.model, case.data\n"
    )
    words = {"layers": case.layers, "cells": case.cells}
    ours = peak_memory(setup.format(warm="ours", **words), "case.ours()")
    theirs = None
    if peer is not None and case.has_peer:
        theirs = peak_memory(setup.format(warm="peer", **words), peer)
    return Figure("", name, bar, ours, theirs, unit="MB")


def lennard_jones(cells: int) -> Duel:
    """The cheapest model there is: what the labels cost shows most."""
    from nablatom.models import AtomicDataDict, LennardJones
    from nablatom.outputs import forces, partial_forces

    model = LennardJones(["Si"], epsilon=0.1, sigma=2.0, cutoff=CUTOFF)
    data = AtomicDataDict.from_ase(silicon(cells), cutoff=CUTOFF, types=["Si"])
    return Duel(
        f"Lennard-Jones, {len(data['pos'])} atoms, beside forces",
        NoBar(),
        lambda: partial_forces(model, data),
        lambda: forces(model, data),
    )


TITLE = "Partial forces, NequIP l_max 1, 32 features, 5 Å, float64"
PARTIAL_FORCES = Duels(TITLE, default)
LARGE_PARTIAL_FORCES = Duels(f"{TITLE}, large", large, by_default=False)
