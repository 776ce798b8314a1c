"""Every check of the model contract passes what is right and fails what is wrong."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("e3nn")

from nablatom.models import (  # noqa: E402
    AtomicDataDict,
    GraphModuleMixin,
    LennardJones,
    SequentialGraphNetwork,
    Shifted,
)
from nablatom.testing import MODEL_CHECKS, assert_model_contract, example_structures  # noqa: E402

STRUCTURES = example_structures(["Ar", "Ne"], bond=3.2)
ARGON = {"epsilon": [0.0104, 0.003], "sigma": [3.4, 2.8], "cutoff": 6.0}


def right():
    return LennardJones(["Ar", "Ne"], **ARGON)


class Changed(GraphModuleMixin, torch.nn.Module):
    """The model, with what a function of data and atomic energies makes of the energies."""

    def __init__(self, change):
        super().__init__()
        self.func, self.change = right(), change
        self._init_irreps(irreps_out=self.func.irreps_out)
        self.cutoff, self.hops = self.func.cutoff, self.func.hops
        self.type_names = self.func.type_names

    def forward(self, data):
        data = AtomicDataDict.with_edge_vectors(data)
        energies = self.change(data, self.func(data)["atomic_energy"])
        total = AtomicDataDict.sum_over_atoms(energies, data)
        return {**data, "atomic_energy": energies, "total_energy": total}


def per_atom(data, edges):
    """Sums over the edges of each center, (atoms, k)."""
    nothing = edges.new_zeros(len(data["pos"]), edges.shape[1])
    return nothing.index_add(0, data["edge_index"][0], edges)


def linearized(data, energies):
    """The slope is right, and constant."""
    if not data["pos"].requires_grad:
        return energies
    (slope,) = torch.autograd.grad(energies.sum(), data["pos"], retain_graph=True)
    rise = (slope.detach() * (data["pos"] - data["pos"].detach())).sum(1, keepdim=True)
    return energies.detach() + rise


def handed(data, energies):
    """A triple product of three sums over neighbors."""
    v, r = data["edge_vectors"], data["edge_lengths"]
    end = (1 - (r / 6.0) ** 2).clamp(min=0) ** 3
    a, b, c = (per_atom(data, v * end * r**k) for k in range(3))
    return energies + 1e-3 * (torch.linalg.cross(a, b) * c).sum(1, keepdim=True)


def neighbors_of_neighbors(data, energies):
    return energies + 1e-3 * per_atom(data, energies[data["edge_index"][1]] ** 2)


def alone(data, energies):
    """Per neighbor, of which there may be none."""
    count = per_atom(data, torch.ones_like(data["edge_lengths"]))
    return energies * (count / count)


def off_center(data):
    frame = AtomicDataDict.frame_of_atoms(data)
    mean = AtomicDataDict.sum_over_atoms(data["pos"], data)[frame]
    count = AtomicDataDict.sum_over_atoms(torch.ones_like(data["pos"]), data)[frame]
    return ((data["pos"] - mean / count) ** 2).sum(1, keepdim=True)


def crowd(data):
    count = AtomicDataDict.sum_over_atoms(torch.ones_like(data["pos"][:, :1]), data)
    return count[AtomicDataDict.frame_of_atoms(data)]


def volume(data):
    signed = torch.linalg.det(data["cell"].reshape(-1, 3, 3))[:, None]
    return signed[AtomicDataDict.frame_of_atoms(data)]


CHANGES = {
    "forces": (lambda d, e: e + 0.01 * e.detach(), "forces at .* expected"),
    "strain": (lambda d, e: e + 0.01 * e.detach(), "strain at .* expected"),
    "cell": (lambda d, e: e + 0.01 * e.detach(), "cell at .* expected"),
    "curvature": (linearized, "second derivatives at .* expected"),
    "sums": (lambda d, e: e + 1e-3 * d["pos"][:, :1], "sum of forces at .* expected 0 within"),
    "rotation": (
        lambda d, e: e + 1e-6 * per_atom(d, d["edge_vectors"][:, :1] ** 2),
        "energy at .* expected",
    ),
    "reflection": (handed, "energy at .* expected"),
    "translation": (lambda d, e: e + 1e-6 * d["pos"][:, :1].sin(), "energy at .* expected"),
    "permutation": (
        lambda d, e: e * (1 + torch.arange(len(e), device=e.device)[:, None]),
        "energy at .* expected",
    ),
    "supercell": (lambda d, e: e * crowd(d), "energies of a supercell at .* expected"),
    "wrapping": (lambda d, e: e + 1e-3 * off_center(d), "energy at .* expected"),
    "cells": (lambda d, e: e + 1e-3 * volume(d), "energy at .* expected"),
    "batch": (lambda d, e: e - e.mean(), "energy at .* expected"),
    "edges": (
        lambda d, e: e + 1e-3 * per_atom(d, torch.ones_like(d["edge_lengths"])),
        "energy at .* expected",
    ),
    "reach": (neighbors_of_neighbors, "slope by edges that are 1 hops away at .* expected 0"),
    "precision": (lambda d, e: (e + 1e5) - 1e5, "energy at .* expected"),
    "isolation": (alone, "the energy of one atom Ar is nan"),
    "dynamics": (
        lambda d, e: 0.7 * e + 0.3 * e.detach(),
        "with half the time step by .* times less, expected about 4",
    ),
}


@pytest.mark.parametrize("name", MODEL_CHECKS)
def test_what_is_right_passes(name):
    assert_model_contract(right(), STRUCTURES, checks=[name])


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_wrong_fails(name):
    change, message = CHANGES[name]
    with pytest.raises(AssertionError, match=message) as failure:
        assert_model_contract(Changed(change), STRUCTURES, checks=[name])
    assert f"in the check {name!r} of the structure" in failure.value.__notes__[0]


class Total(Changed):
    """The energy is not the sum of those of the atoms."""

    def forward(self, data):
        outputs = super().forward(data)
        return {**outputs, "total_energy": 1.001 * outputs["total_energy"]}


def test_energies_that_do_not_add_up_fail():
    with pytest.raises(AssertionError, match=r"sum of atomic energies: .* expected"):
        assert_model_contract(Total(lambda d, e: e), STRUCTURES, checks=["sums"])


def test_a_jump_at_the_cutoff_fails():
    shifted = LennardJones(["Ar", "Ne"], **ARGON, switch=Shifted())
    with pytest.raises(AssertionError, match=r"forces at the cutoff at .* expected"):
        assert_model_contract(shifted, STRUCTURES, checks=["smoothness"])


class Writes(Changed):
    """Does something to its input before the model reads it."""

    def __init__(self, harm):
        super().__init__(lambda data, energies: energies)
        self.harm = harm

    def forward(self, data):
        self.harm(data)
        return super().forward(data)


HARM = {
    "adds a field": (lambda d: d.update(extra=d["pos"]), "changed the field 'extra' of its input"),
    "replaces one": (lambda d: d.update(pos=d["pos"] + 0), "changed the field 'pos'"),
    "removes one": (lambda d: d.pop("pbc"), "changed the field 'pbc'"),
    "writes into one": (lambda d: d["pos"].mul_(1.0), "wrote into the field 'pos'"),
    "asks for a gradient": (lambda d: d["pos"].requires_grad_(), "left 'pos' .* in another graph"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_model_that_writes_fails(name):
    harm, message = HARM[name]
    with pytest.raises(AssertionError, match=message):
        assert_model_contract(Writes(harm), STRUCTURES, checks=["hygiene"])


class Same(Changed):
    def forward(self, data):
        data.update(super().forward(data))
        return data


def test_a_model_that_returns_its_input_fails():
    with pytest.raises(AssertionError, match="returns the dictionary it was given"):
        assert_model_contract(Same(lambda d, e: e), STRUCTURES, checks=["hygiene"])


class Double(Changed):
    def forward(self, data):
        outputs = super().forward(data)
        return {**outputs, "total_energy": outputs["total_energy"].double()}


def test_another_precision_fails():
    with pytest.raises(AssertionError, match=r"data in torch.float32 is in torch.float64"):
        assert_model_contract(Double(lambda d, e: e), STRUCTURES, checks=["precision"])


def test_every_check_has_a_model_that_fails_it():
    others = {"smoothness", "hygiene"}  # tested above, without a change of energies
    assert set(CHANGES) | others == set(MODEL_CHECKS)


def test_a_network_is_a_model():
    network = SequentialGraphNetwork({"energy": right()})
    assert_model_contract(network, STRUCTURES, checks=["forces", "batch", "reach"])


def test_an_unknown_check_is_an_error():
    with pytest.raises(KeyError, match="weather"):
        assert_model_contract(right(), STRUCTURES, checks=["weather"])
