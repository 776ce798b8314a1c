"""Forces, stress and training steps of NequIP beside the nequip package, eager.

Both models have the same weights: 3 layers of 32 features of both parities, 5 Å, double
precision, rattled silicon. Compiled code is ours alone, against the peer's eager code; what
compiling took is the first call of the figure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import Any

import numpy as np
from ase.build import bulk

from benchmarks.bars import AtMost, Figure
from benchmarks.duel import Duel, Duels
from benchmarks.processes import peak_memory

__all__ = ["LARGE_NEQUIP", "NEQUIP", "Silicon"]

CUTOFF, NEIGHBORS = 5.0, 28.0
LEARNING_RATE = 1e-4
STRAINED = ("total_energy", "forces", "stress")


class Silicon:
    """A rattled crystal of ``8 cells³`` atoms, and the model twice: ours and the peer's.

    Without the peer installed, ours has weights of its own.
    """

    def __init__(self, l_max: int, cells: int) -> None:
        self.l_max, self.cells = l_max, cells

    @property
    def name(self) -> str:
        return f"l_max {self.l_max}, Si {8 * self.cells**3}"

    @cached_property
    def data(self) -> Any:
        from nablatom.models import AtomicDataDict

        structure = bulk("Si", cubic=True).repeat(self.cells)
        structure.rattle(0.05, seed=0)
        return AtomicDataDict.from_ase(structure, cutoff=CUTOFF, types=["Si"])

    @property
    def network(self) -> Any:
        """The peer's model, or None if it is not installed."""
        return peer_network(self.l_max)

    @property
    def model(self) -> Any:
        return our_model(self.l_max)

    def energy(self) -> Any:
        """The energy alone, no derivatives asked."""
        import torch

        with torch.no_grad():
            return self.model(self.data)["total_energy"]

    def eager(self) -> Any:
        from nablatom.outputs import StressOutput

        return StressOutput(self.model)(self.data)

    def compiled(self) -> Any:
        return compiled_output(self.l_max)(self.data)

    def peer(self) -> Any:
        return self.network.eval()(self.peer_data())

    def train(self) -> Any:
        return step(self._trained(compile=False), lambda model: model(self.data))

    def train_compiled(self) -> Any:
        return step(self._trained(compile=True), lambda model: model(self.data))

    def train_peer(self) -> Any:
        return step(self._trained_peer, lambda model: model(self.peer_data()))

    def peer_data(self) -> dict[str, Any]:
        """New tensors at every call: the peer writes into what it is given."""
        import torch

        known = ("pos", "edge_index", "edge_cell_shift", "atom_types")
        data = {key: self.data[key].clone() for key in known}
        data["cell"] = self.data["cell"].reshape(1, 3, 3).clone()
        data["batch"] = torch.zeros(len(data["pos"]), dtype=torch.int64)
        data["num_atoms"] = torch.tensor([len(data["pos"])])
        return data

    @cached_property
    def _trained_models(self) -> dict[bool, Any]:
        return {}

    def _trained(self, *, compile: bool) -> Any:
        """A copy of the model in training, and its optimizer."""
        import copy

        from nablatom.outputs import StressOutput

        if compile not in self._trained_models:
            model = copy.deepcopy(self.model).train()
            output = StressOutput(model, compile=compile)
            self._trained_models[compile] = output, optimizer(output)
        return self._trained_models[compile]

    @cached_property
    def _trained_peer(self) -> Any:
        import copy

        model = copy.deepcopy(self.network).train()
        return model, optimizer(model)


@cache
def our_model(l_max: int) -> Any:
    from nablatom.models import NequIP, from_nequip_state

    settings = {
        "types": ["Si"],
        "cutoff": CUTOFF,
        "l_max": l_max,
        "average_neighbors": NEIGHBORS,
    }
    network = peer_network(l_max)
    if network is None:
        return NequIP(**settings).eval()
    return from_nequip_state(network.state_dict(), **settings).eval()


@cache
def compiled_output(l_max: int) -> Any:
    """Compiled once for all sizes."""
    from nablatom.outputs import StressOutput

    return StressOutput(our_model(l_max), compile=True)


@cache
def peer_network(l_max: int) -> Any:
    """The peer's model, or None if it is not installed; building it sets defaults of torch."""
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
            num_layers=3,
            l_max=l_max,
            num_features=32,
            avg_num_neighbors=NEIGHBORS,
        )
    torch.set_default_dtype(default)
    return network


def optimizer(model: Any) -> Any:
    import torch

    return torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)


def step(trained: Any, run: Callable[[Any], Any]) -> float:
    """One step on energy, forces and stress: the loss, its derivatives, new weights."""
    model, adam = trained
    adam.zero_grad()
    found = run(model)
    loss = sum(found[name].square().mean() for name in STRAINED)
    loss.backward()
    adam.step()
    return float(loss.detach())


def assert_same(ours: Any, theirs: Any) -> None:
    for name in STRAINED:
        found, expected = ours[name].detach().numpy(), theirs[name].detach().numpy()
        off = np.abs(found - expected).max() / np.abs(expected).max()
        assert off < 1e-10, f"{name} differ by {off:.1e} of the largest"


def assert_same_loss(ours: float, theirs: float) -> None:
    assert abs(ours - theirs) < 1e-8 * abs(theirs), f"losses are {ours} and {theirs}"


# -- the groups -------------------------------------------------------------------------------


def default(reduced: bool) -> Iterator[Duel | Figure]:
    for l_max in (1, 2):
        yield from forces(Silicon(l_max, 2))
        if not reduced:
            yield from forces(Silicon(l_max, 3))
        yield from training(Silicon(l_max, 1 if reduced else 2))


def large(reduced: bool) -> Iterator[Duel | Figure]:
    for l_max in (1, 2):
        yield from forces(Silicon(l_max, 3 if reduced else 4), rounds=3)


def forces(case: Silicon, rounds: int = 7) -> Iterator[Duel | Figure]:
    name = f"{case.name}: forces and stress"
    peer = case.peer if case.network is not None else None
    yield Duel(name, AtMost(0.9), case.eager, peer, assert_same, rounds=rounds)
    yield Duel(f"{name}, compiled", AtMost(0.5), case.compiled, peer, assert_same, rounds=rounds)
    yield Duel(f"{name}, beside energy alone", AtMost(3.0), case.eager, case.energy, rounds=rounds)
    yield memory(f"{name}: memory", case, "case.eager()", "case.peer()")


def training(case: Silicon) -> Iterator[Duel | Figure]:
    name = f"{case.name}: training step"
    peer = case.train_peer if case.network is not None else None
    yield Duel(name, AtMost(0.9), case.train, peer, assert_same_loss)
    yield Duel(f"{name}, compiled", AtMost(0.6), case.train_compiled, peer, rounds=5)
    yield memory(f"{name}: memory", case, "case.train()", "case.train_peer()")


def memory(name: str, case: Silicon, ours: str, theirs: str) -> Figure:
    """Peaks of both sides, each in a process of its own, after a small call of the same kind.

    What building the models left free is given back to the system first: what a call takes
    from there would not be seen.
    """
    setup = (
        "import torch; torch.set_num_threads(1)\n"
        "from benchmarks.nequip_models import Silicon\n"
        "case = Silicon({}, 1); {}\n"
        "case = Silicon({}, {}); case.data; case.model; case.network\n"
        "import ctypes, gc; gc.collect(); ctypes.CDLL(None).malloc_trim(0)"
    )
    peaks = [
        peak_memory(setup.format(case.l_max, call, case.l_max, case.cells), call)
        for call in (ours, theirs)
        if case.network is not None or call == ours
    ]
    peer = peaks[1] if len(peaks) > 1 else None
    return Figure("", name, AtMost(0.9), peaks[0], peer, unit="MB")


NEQUIP = Duels("NequIP, 3 layers, 32 features, 5 Å, beside nequip 0.19.1 eager", default)
LARGE_NEQUIP = Duels("The same, 512 atoms", large, by_default=False)
