"""Atomic virials, heat flux and Hessians beside what they would cost otherwise.

NequIP with 32 features in double precision, rattled silicon. The long way to a heat flux is one
backward pass for each atom and a sum over the dense Jacobian; so that images of an atom do not
mix in it, the reach of that model, two layers of 4 Å, is less than half the cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.bars import AtMost, Bar, Faster
from benchmarks.duel import Duel, Duels
from benchmarks.partial_forces import silicon

__all__ = ["RESPONSES"]


class Crystal:
    """A rattled crystal of ``8 cells³`` atoms that move, and a NequIP."""

    def __init__(self, cells: int, layers: int, cutoff: float) -> None:
        self.cells, self.layers, self.cutoff = cells, layers, cutoff

    def __str__(self) -> str:
        return f"{self.layers} layers × {self.cutoff:g} Å, Si {8 * self.cells**3}"

    @cached_property
    def model(self) -> Any:
        from nablatom.models import NequIP

        return NequIP(
            ["Si"],
            cutoff=self.cutoff,
            layers=self.layers,
            l_max=1,
            features=32,
            average_neighbors=28.0,
        ).eval()

    @cached_property
    def data(self) -> Any:
        from nablatom.models import AtomicDataDict

        return AtomicDataDict.from_ase(silicon(self.cells), cutoff=self.cutoff, types=["Si"])

    @cached_property
    def velocities(self) -> Any:
        import torch

        draw = np.random.default_rng(0).normal(size=(8 * self.cells**3, 3))
        return torch.tensor(draw)

    def forces(self) -> Any:
        from nablatom.outputs import forces

        return forces(self.model, self.data)

    def forces_and_stress(self) -> Any:
        from nablatom.outputs import forces_and_stress

        return forces_and_stress(self.model, self.data)

    def atomic_virials(self) -> Any:
        from nablatom.outputs import atomic_virials

        return atomic_virials(self.model, self.data)

    def heat_flux(self) -> Any:
        from nablatom.outputs import heat_flux

        return heat_flux(self.model, self.data, self.velocities)

    def heat_flux_by_jacobian(self) -> Any:
        """``sum_ij (r_i - r_j) (dE_i/dr_j · v_j)``, with the nearest image of ``j``."""
        from nablatom.outputs import dense_partial_forces

        partial = dense_partial_forces(self.model, self.data, method="loop")
        power = -(partial * self.velocities).sum(-1, keepdim=True)
        positions, edge = self.data["pos"], self.data["cell"][0].diagonal()
        apart = positions[:, None] - positions
        apart = apart - edge * (apart / edge).round()
        return (apart * power).sum((0, 1))[None]


def assert_same_virial(virials: Any, others: Any) -> None:
    _, stress = others
    off = (virials.sum(0) / stress[0]).diagonal()
    assert (off / off[0] - 1).abs().max() < 1e-8, f"virials over stresses differ: {off.tolist()}"


def assert_same_flux(ours: Any, others: Any) -> None:
    off = float((ours - others).abs().max() / others.abs().max())
    assert off < 1e-10, f"heat fluxes differ by {off:.1e} of the largest"


def responses(reduced: bool) -> Iterator[Duel]:
    far = Crystal(2 if reduced else 3, layers=3, cutoff=5.0)
    yield Duel(
        f"{far}: atomic virials beside forces and stress",
        AtMost(4),
        far.atomic_virials,
        far.forces_and_stress,
        assert_same_virial,
    )
    yield Duel(f"{far}: heat flux beside forces", AtMost(4), far.heat_flux, far.forces)
    near = Crystal(3, layers=1 if reduced else 2, cutoff=4.0)
    yield Duel(f"{near}: heat flux beside forces", AtMost(4), near.heat_flux, near.forces)
    bar: Bar = Faster(1 if reduced else 40)
    name = f"{near}: heat flux beside the sum over the dense Jacobian"
    flux, slow = near.heat_flux, near.heat_flux_by_jacobian
    yield Duel(name, bar, flux, slow, assert_same_flux, rounds=3)
    yield hessians(3 if reduced else 4)


def hessians(cells: int) -> Duel:
    """Rows of some atoms, by their surroundings and by passes through the whole crystal."""
    from nablatom.models import AtomicDataDict, StillingerWeber
    from nablatom.outputs import hessian, sparse_hessian

    model = StillingerWeber.silicon()
    structure = silicon(cells)
    data = AtomicDataDict.from_ase(structure, cutoff=model.cutoff, types=["Si"])
    rows = range(0, len(structure), 8)
    return Duel(
        f"Stillinger-Weber, Si {len(structure)}: rows of {len(rows)} atoms, sparse beside dense",
        Faster(1),
        lambda: sparse_hessian(model, data, rows=list(rows)),
        lambda: hessian(model, data, rows=list(rows)),
        rounds=3,
    )


RESPONSES = Duels("Responses, float64", responses)
