"""The formulas of descriptors in torch, for derivatives that no kernel gives.

Radial functions have two derivatives (`nablatom.descriptors.torch_jets`): nobody may ask for a
third.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from math import sqrt
from typing import Any, NamedTuple

import ase
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nablatom.block import TensorBlock
from nablatom.descriptors.bispectrum import Bispectrum
from nablatom.descriptors.by_pair import SphericalExpansionByPair
from nablatom.descriptors.composition import AtomicComposition
from nablatom.descriptors.density_calculator import DensityCalculator
from nablatom.descriptors.equivariant import EquivariantPowerSpectrum
from nablatom.descriptors.expansion import SphericalExpansion
from nablatom.descriptors.lode import LodeSphericalExpansion
from nablatom.descriptors.mixed_types import MixedTypes
from nablatom.descriptors.neighbor_list import NeighborList
from nablatom.descriptors.radial_table import radial_table
from nablatom.descriptors.sorted_distances import SortedDistances, places
from nablatom.descriptors.spectrum import SoapPowerSpectrum, SoapRadialSpectrum
from nablatom.descriptors.surroundings import Surroundings
from nablatom.descriptors.symmetry_functions import G4, AtomicSymmetryFunctions, triples
from nablatom.descriptors.torch_jets import harmonics, jet, length
from nablatom.descriptors.torch_waves import fields
from nablatom.operations.coupling import clebsch_gordan
from nablatom.tensor import TensorMap

__all__ = ["twin"]

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@singledispatch
def twin(
    calculator: object,
    values: TensorMap,  # noqa: ARG001
    frames: Sequence[ase.Atoms],  # noqa: ARG001
    positions: Tensor,  # noqa: ARG001
    cell: Tensor,  # noqa: ARG001
) -> Tensor:
    """All values after each other, with a graph to positions and cells.

    Raises
    ------
    NotImplementedError
        Of this calculator, second derivatives by positions are not known.
    """
    raise _unknown(calculator)


def _unknown(calculator: object) -> NotImplementedError:
    return NotImplementedError(
        f"{type(calculator).__name__} has no second derivatives by positions and cell; "
        "with torch(second_derivatives=False) the second time goes to the cotangents only"
    )


class _System(NamedTuple):
    """Atoms and pairs, and the pair vectors in torch."""

    atoms: Surroundings
    vectors: Tensor

    @staticmethod
    def of(frames: Sequence[ase.Atoms], cutoff: float, positions: Tensor, cell: Tensor) -> _System:
        atoms = Surroundings.of(frames, cutoff)
        shift = positions.new_tensor(atoms.pairs.shift)
        periodic = torch.einsum("pk,pka->pa", shift, cell[torch.tensor(atoms.pairs.system)])
        center, neighbor = (torch.tensor(rows) for rows in (atoms.center, atoms.neighbor))
        return _System(atoms, positions[neighbor] - positions[center] + periodic)

    def summed(self, terms: Tensor, pairs: Rows) -> Tensor:
        """Sums over some pairs of each atom, (atoms, …)."""
        total = terms.new_zeros((len(self.atoms.type), *terms.shape[1:]))
        center = torch.tensor(self.atoms.center[pairs])
        return total.index_add(0, center, terms[torch.tensor(pairs)])


def _rows(frames: Sequence[ase.Atoms], block: TensorBlock, name: str = "atom") -> Tensor:
    """The atoms that samples are about."""
    counts = np.array([len(frame) for frame in frames])
    first = (np.cumsum(counts) - counts)[block.samples.column("system")]
    return torch.tensor(first + block.samples.column(name))


# -- densities -----------------------------------------------------------------------------


def _radial(
    calculator: DensityCalculator | SphericalExpansionByPair, angular: int, r: Tensor
) -> Tensor:
    """Radial integrals times the cutoff, (pairs, l, n)."""
    table = radial_table(calculator.radial, calculator.density, calculator.cutoff.radius, angular)
    radial = jet(r, table) * jet(r, calculator.cutoff)[:, None]
    if calculator.scaling is not None:
        radial = radial * jet(r, calculator.scaling)[:, None]
    return radial.reshape(len(r), angular + 1, calculator.radial.size)


def _densities(calculator: DensityCalculator, angular: int, system: _System) -> dict[int, Tensor]:
    """Neighbor type → the density around every atom, (atoms, lm, n)."""
    atoms, r = system.atoms, length(system.vectors)
    l = np.repeat(np.arange(angular + 1), 2 * np.arange(angular + 1) + 1)
    F = _radial(calculator, angular, r)[:, torch.tensor(l)]
    terms = harmonics(system.vectors / r[:, None], angular)[:, :, None] * F
    found = {}
    types = atoms.types_of_pairs()[1]
    for neighbor in np.unique(atoms.type).tolist():
        total = system.summed(terms, np.flatnonzero(types == neighbor))
        own = torch.tensor(atoms.type == neighbor)
        center = total.new_zeros(total.shape)
        center[own, 0] = total.new_tensor(_center(calculator, angular))
        found[neighbor] = total + center
    return found


def _center(calculator: DensityCalculator, angular: int) -> Array:
    """What an atom adds to its own density, (n,)."""
    origin = np.zeros(1)
    weight = calculator.center_weight * float(calculator.cutoff(origin)[0][0])
    if calculator.scaling is not None and weight:
        weight *= float(calculator.scaling(origin)[0][0])
    table = radial_table(calculator.radial, calculator.density, calculator.cutoff.radius, angular)
    return weight * table.center


@singledispatch
def _around(
    calculator: object,
    frames: Sequence[ase.Atoms],  # noqa: ARG001
    positions: Tensor,  # noqa: ARG001
    cell: Tensor,  # noqa: ARG001
) -> dict[int, Tensor]:
    """Neighbor type → what an expansion has around every atom, (atoms, lm, n)."""
    raise _unknown(calculator)


@_around.register
def _(
    calculator: SphericalExpansion, frames: Sequence[ase.Atoms], positions: Tensor, cell: Tensor
) -> dict[int, Tensor]:
    system = _System.of(frames, calculator.cutoff.radius, positions, cell)
    return _densities(calculator, calculator.max_angular, system)


@_around.register
def _(
    calculator: LodeSphericalExpansion,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> dict[int, Tensor]:
    return fields(calculator, frames, positions, cell)


@_around.register
def _(
    calculator: MixedTypes, frames: Sequence[ase.Atoms], positions: Tensor, cell: Tensor
) -> dict[int, Tensor]:
    of_types = _around(calculator.expansion, frames, positions, cell)
    weights = dict(zip(calculator.types, calculator.weights, strict=True))
    parts = [
        torch.stack([weight * density for weight in weights[z]]) for z, density in of_types.items()
    ]
    return dict(enumerate(torch.stack(parts).sum(dim=0)))


@twin.register(SphericalExpansion)
@twin.register(LodeSphericalExpansion)
@twin.register(MixedTypes)
def _(
    calculator: SphericalExpansion | LodeSphericalExpansion | MixedTypes,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    density = _around(calculator, frames, positions, cell)
    parts = []
    for key, block in values.items():
        l, n = key["o3_lambda"], torch.tensor(block.properties.column("n"))
        of_type = density[key["neighbor_type"]][_rows(frames, block), l * l : (l + 1) ** 2]
        parts.append(of_type[:, :, n].flatten())
    return torch.cat(parts)


@twin.register
def _(
    calculator: SoapRadialSpectrum,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    system = _System.of(frames, calculator.cutoff.radius, positions, cell)
    density = _densities(calculator, 0, system)
    return torch.cat(
        [density[k["neighbor_type"]][_rows(frames, b), 0].flatten() for k, b in values.items()]
    )


@twin.register
def _(
    calculator: SoapPowerSpectrum,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    system = _System.of(frames, calculator.cutoff.radius, positions, cell)
    density = _densities(calculator, calculator.max_angular, system)
    parts = []
    for (_, a, b), block in ((tuple(key), block) for key, block in values.items()):
        rows = _rows(frames, block)
        l, first, second = (torch.tensor(column) for column in block.properties.values.T)
        if a == 0:  # the radial spectrum
            parts.append(density[b][rows, 0][:, second].flatten())
            continue
        x, y = density[a][rows], density[b][rows]
        products = torch.stack([_scalar(x, y, i) for i in range(calculator.max_angular + 1)], 1)
        factors = x.new_full((len(l),), 1.0 if a == b else sqrt(2.0))
        if a == b and calculator.unique:
            factors[first != second] = sqrt(2.0)
        parts.append((products[:, l, first, second] * factors).flatten())
    return torch.cat(parts)


def _scalar(x: Tensor, y: Tensor, l: int) -> Tensor:
    lm = slice(l * l, (l + 1) ** 2)
    return torch.einsum("imn,imk->ink", x[:, lm], y[:, lm]) * ((-1) ** l / sqrt(2 * l + 1))


# -- products of densities -----------------------------------------------------------------


@twin.register
def _(
    calculator: EquivariantPowerSpectrum,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    first = _around(calculator.expansion, frames, positions, cell)
    second = first
    if calculator.other is not None:
        second = _around(calculator.other, frames, positions, cell)
    parts = []
    for key, block in values.items():
        rows, degree = _rows(frames, block), key["o3_lambda"]
        x, y = first[key["neighbor_1_type"]][rows], second[key["neighbor_2_type"]][rows]
        pairs = dict.fromkeys(map(tuple, block.properties.values[:, :2].tolist()))
        products = [_coupled(x, y, l1, l2, degree).flatten(2) for l1, l2 in pairs]
        parts.append(torch.cat(products, dim=2).flatten())
    return torch.cat(parts)


@twin.register
def _(
    calculator: Bispectrum,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    density = _around(calculator.expansion, frames, positions, cell)
    parts = []
    for (_, *types), block in ((tuple(key), block) for key, block in values.items()):
        x, y, z = (density[neighbor][_rows(frames, block)] for neighbor in types)
        products = []
        for l1, l2, l3 in dict.fromkeys(map(tuple, block.properties.values[:, :3].tolist())):
            pair = _coupled(x, y, l1, l2, l3)
            third = z[:, l3 * l3 : (l3 + 1) ** 2] * ((-1) ** l3 / sqrt(2 * l3 + 1))
            products.append(torch.einsum("imab,imc->iabc", pair, third).flatten(1))
        parts.append(torch.cat(products, dim=1).flatten())
    return torch.cat(parts)


def _coupled(x: Tensor, y: Tensor, l1: int, l2: int, degree: int) -> Tensor:
    """``sum C x y``, (samples, μ, n_1, n_2)."""
    C = x.new_tensor(clebsch_gordan(l1, l2, degree))
    a, b = x[:, l1 * l1 : (l1 + 1) ** 2], y[:, l2 * l2 : (l2 + 1) ** 2]
    return torch.einsum("ixa,iyb,xym->imab", a, b, C)


# -- distances and angles ------------------------------------------------------------------


@twin.register
def _(
    calculator: AtomicSymmetryFunctions,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    system = _System.of(frames, calculator.cutoff.radius, positions, cell)
    parts = []
    for (center, a, b), block in ((tuple(key), block) for key, block in values.items()):
        types = np.stack(system.atoms.types_of_pairs(), axis=1)
        of_center = types[:, 0] == center
        functions = [calculator.functions[i] for i in block.properties.column("function")]
        if a == 0:
            rows = np.flatnonzero(of_center & (types[:, 1] == b))
            terms = _radial_functions(system.vectors[torch.tensor(rows)], functions, calculator)
            first = rows
        else:
            first, second = triples(system.atoms.center)
            two = np.sort(types[:, 1][np.stack([first, second], axis=1)], axis=1)
            here = of_center[first] & (two == (a, b)).all(axis=1)
            first, second = first[here], second[here]
            v, w = (system.vectors[torch.tensor(rows)] for rows in (first, second))
            terms = _angular_functions(v, w, functions, calculator)
        total = terms.new_zeros((len(system.atoms.type), len(functions)))
        total = total.index_add(0, torch.tensor(system.atoms.center[first]), terms)
        parts.append(total[_rows(frames, block)].flatten())
    return torch.cat(parts)


def _radial_functions(
    v: Tensor, functions: Sequence[Any], calculator: AtomicSymmetryFunctions
) -> Tensor:
    r = length(v)
    f = jet(r, calculator.cutoff)
    return torch.stack([torch.exp(-g.eta * (r - g.shift) ** 2) * f for g in functions], dim=1)


def _angular_functions(
    v: Tensor, w: Tensor, functions: Sequence[Any], calculator: AtomicSymmetryFunctions
) -> Tensor:
    r, s, t = length(v), length(w), length(w - v)
    cosine = (v * w).sum(dim=1) / (r * s)
    f_two = jet(r, calculator.cutoff) * jet(s, calculator.cutoff)
    f_three = f_two * jet(t, calculator.cutoff)
    columns = []
    for g in functions:
        near = isinstance(g, G4)
        angle = 2 ** (1 - g.zeta) * (1 + g.lam * cosine).clamp(min=0) ** g.zeta
        square = r * r + s * s + (t * t if near else 0.0)
        columns.append(angle * torch.exp(-g.eta * square) * (f_three if near else f_two))
    return torch.stack(columns, dim=1)


@twin.register
def _(
    calculator: SortedDistances,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    system = _System.of(frames, calculator.cutoff, positions, cell)
    r = length(system.vectors)
    center, neighbor = system.atoms.types_of_pairs()
    parts = []
    for key, block in values.items():
        kept = center == key["center_type"]
        if calculator.separate_neighbor_types:
            kept = kept & (neighbor == key["neighbor_type"])
        pairs = np.flatnonzero(kept)
        place = places(system.atoms.center[pairs], r.detach().numpy()[pairs])
        pairs, place = (x[place < calculator.max_neighbors] for x in (pairs, place))
        shape = (len(system.atoms.type), calculator.max_neighbors)
        index = torch.tensor(system.atoms.center[pairs]), torch.tensor(place)
        far = r.new_full(shape, calculator.cutoff)
        distances = far.index_put(index, r[torch.tensor(pairs)])
        parts.append(distances[_rows(frames, block)].flatten())
    return torch.cat(parts)


@twin.register
def _(
    calculator: NeighborList,  # noqa: ARG001
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    parts = [_pair_vectors(b, frames, positions, cell).flatten() for b in values.blocks()]
    return torch.cat(parts)


def _pair_vectors(
    block: TensorBlock, frames: Sequence[ase.Atoms], positions: Tensor, cell: Tensor
) -> Tensor:
    """Of the pairs that samples are about, (pairs, 3)."""
    first, second = (positions[_rows(frames, block, f"{n}_atom")] for n in ("first", "second"))
    shift = positions.new_tensor(block.samples.values[:, 3:])
    system = torch.tensor(block.samples.column("system"))
    return second - first + torch.einsum("pk,pka->pa", shift, cell[system])


@twin.register
def _(
    calculator: SphericalExpansionByPair,
    values: TensorMap,
    frames: Sequence[ase.Atoms],
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    parts = []
    for key, block in values.items():
        l, v = key["o3_lambda"], _pair_vectors(block, frames, positions, cell)
        alone = (v.detach() == 0).all(dim=1)
        v = torch.where(alone[:, None], torch.ones_like(v), v)
        r = length(v)
        F = _radial(calculator, l, r)[:, l]
        lm = slice(l * l, (l + 1) ** 2)
        terms = harmonics(v / r[:, None], l)[:, lm, None] * F[:, None]
        constant = positions.new_tensor(block.values)
        parts.append(torch.where(alone[:, None, None], constant, terms).flatten())
    return torch.cat(parts)


@twin.register
def _(
    calculator: AtomicComposition,  # noqa: ARG001
    values: TensorMap,
    frames: Sequence[ase.Atoms],  # noqa: ARG001
    positions: Tensor,
    cell: Tensor,
) -> Tensor:
    counts = np.concatenate([block.values.ravel() for block in values.blocks()])
    return positions.new_tensor(counts) + 0 * positions.sum() + 0 * cell.sum()
