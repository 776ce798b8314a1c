"""Atomic energies linear in a descriptor, and with them forces and stress.

``E_i = e(c_i) + sum_b w_b · x_ib``: the energy of the element of atom ``i``, and one weight for
every feature of every block ``b`` of the descriptor. The derivative of the energy is linear in
the derivative of the descriptor, with the same weights, so the stored gradients of the
descriptor become the partial forces and strain derivatives of every atom's energy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import ase
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.descriptors.plain import from_plain, to_plain
from nablatom.descriptors.scalars import scalars
from nablatom.io import load, save
from nablatom.labels import Labels
from nablatom.operations import dot, join_blocks, sort, sum_over_samples
from nablatom.systems.pairs import PARAMETERS
from nablatom.tensor import TensorMap

__all__ = ["Calculator", "LinearModel"]

KIND = "nablatom linear model"
UNITS = "energy: eV, length: Å, so forces in eV/Å and stress in eV/Å³"


class Calculator(Protocol):
    """What turns structures into a descriptor with samples ``system, atom``."""

    def __call__(
        self, structures: Sequence[ase.Atoms], *, gradients: Sequence[str] = ()
    ) -> TensorMap:
        """The descriptor, keys ``center_type`` and neighbor types, with these gradients."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """A linear model of a descriptor, in eV.

    Parameters
    ----------
    weights
        Keys of the descriptor; one row per block, its properties those of the descriptor.
    baseline
        Atomic number → energy of an atom, eV.
    calculator
        Of the descriptor.
    info
        How the model came about, as text.
    """

    weights: TensorMap
    baseline: Mapping[int, float]
    calculator: Calculator
    info: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of weights, the energies of the elements included."""
        return len(self.baseline) + sum(len(block.properties) for block in self.weights.blocks())

    def __call__(
        self,
        structures: Sequence[ase.Atoms],
        *,
        gradients: Sequence[str] = ("positions", "strain"),
    ) -> TensorMap:
        """Energies of structures, with their gradients: comparable with `reference_energies`.

        Returns
        -------
        TensorMap
            One block, samples ``system``, property ``energy`` in eV; gradients ``positions``
            (minus the forces, eV/Å) and ``strain`` (volume times stress, eV).

        Raises
        ------
        ValueError
            A structure has an element, or a pair of elements within the cutoff, that the model
            was not fitted to.
        """
        descriptor = self.calculator(structures, gradients=gradients)
        atoms = self.predict(descriptor) if len(descriptor) else None
        return sum_over_samples(self.completed(atoms, structures, gradients), "atom")

    def completed(
        self,
        energies: TensorMap | None,
        structures: Sequence[ase.Atoms],
        gradients: Sequence[str] = ("positions", "strain"),
    ) -> TensorMap:
        """Energies of all atoms: some descriptors have no row for those without neighbors.

        Such an atom feels nothing, and has the energy of its element.

        Parameters
        ----------
        energies
            What `predict` gave for these structures; None where there is no row at all.
        """
        present = set() if energies is None else _atoms_of(energies.block().samples)
        numbers = {
            (s, i): int(z) for s, one in enumerate(structures) for i, z in enumerate(one.numbers)
        }
        missing = sorted(numbers.keys() - present)
        if energies is not None and not missing:
            return energies
        for atom in missing:
            if numbers[atom] not in self.baseline:
                raise ValueError(self._unknown(["center_type"], (numbers[atom],)))
        alone = np.array([[self.baseline[numbers[atom]]] for atom in missing])
        blocks = [_constant(alone, missing, gradients)]
        if energies is not None:
            blocks.append(energies.block())
        return TensorMap(Labels.single(), [sort(join_blocks(blocks, "samples"), "samples")])

    def predict(self, descriptor: TensorMap) -> TensorMap:
        """Energies of the atoms of a descriptor, with the gradients that it stores.

        Of a descriptor that turns, the blocks of degree 0 are taken: see `scalars`.

        Returns
        -------
        TensorMap
            One block, samples ``system, atom``, property ``energy`` in eV; the ``positions``
            gradient of atom ``i`` is minus the partial forces ``F_ij``, eV/Å.

        Raises
        ------
        ValueError
            The descriptor has a key or properties that the model has no weights for.
        """
        descriptor = scalars(descriptor)
        products = dot(descriptor, self._weights_for(descriptor))
        neighbors = [name for name in products.keys.names if name != "center_type"]
        summed = sum_over_samples(products.keys_to_samples(neighbors), neighbors)
        based = TensorMap(summed.keys, [self._based(*item) for item in summed.items()])
        return sum_over_samples(based.keys_to_samples("center_type"), "center_type")

    def save(self, path: str | Path) -> None:
        """Write everything to one ``.mts`` file: weights as its blocks, the rest as its info.

        Raises
        ------
        ValueError
            The calculator is not one of `nablatom.descriptors`, so that nobody could load it.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = {
            **self.info,
            "kind": KIND,
            "units": UNITS,
            "descriptor": json.dumps(to_plain(self.calculator)),
            "baseline": json.dumps({chemical_symbols[z]: e for z, e in self.baseline.items()}),
        }
        save(path, TensorMap.unchecked(self.weights.keys, self.weights.blocks(), notes))

    @classmethod
    def load(cls, path: str | Path) -> "LinearModel":
        """The model in a file that `save` wrote.

        Raises
        ------
        ValueError
            The file holds something else than a model.
        """
        tensor = load(path)
        notes = dict(tensor.info())
        if notes.pop("kind", None) != KIND:
            raise ValueError(f"{path} holds no model: expected a file written by nablatom fit")
        try:
            calculator = cast("Calculator", from_plain(json.loads(notes.pop("descriptor"))))
            energies = json.loads(notes.pop("baseline"))
            baseline = {atomic_numbers[s]: float(energy) for s, energy in energies.items()}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path}: the notes of the model are damaged ({error!r})") from error
        notes.pop("units", None)
        return cls(TensorMap.unchecked(tensor.keys, tensor.blocks()), baseline, calculator, notes)

    def _weights_for(self, descriptor: TensorMap) -> TensorMap:
        blocks = []
        for key, block in descriptor.items():
            position = self.weights.keys.position(key)
            if position is None:
                raise ValueError(self._unknown(descriptor.keys.names, tuple(key)))
            weights = self.weights.block_by_id(position)
            if weights.properties != block.properties:
                raise ValueError(
                    f"the descriptor has {len(block.properties)} properties in block "
                    f"{tuple(key)}, the model {len(weights.properties)} or others; compute the "
                    "descriptor with the model's settings"
                )
            blocks.append(weights)
        return TensorMap(descriptor.keys, blocks)

    def _unknown(self, names: Sequence[str], key: tuple[int, ...]) -> str:
        types = ", ".join(
            f"{name} {chemical_symbols[number]}"
            for name, number in zip(names, key, strict=True)
            if number > 0
        )
        known = ", ".join(chemical_symbols[number] for number in self.baseline)
        return (
            f"the model has no weights for {types}; it was fitted to {known}: "
            "fit it again with structures that contain this combination"
        )

    def _based(self, key: Sequence[int], block: TensorBlock) -> TensorBlock:
        energy = self.baseline[key[0]]
        gradients = dict(block.gradients())
        return TensorBlock.unchecked(
            block.values + energy, block.samples, (), block.properties, gradients
        )


def _atoms_of(samples: Labels) -> set[tuple[int, int]]:
    return {(system, atom) for system, atom in samples.values.tolist()}


def _constant(
    energies: NDArray[np.float64], atoms: Sequence[tuple[int, int]], gradients: Sequence[str]
) -> TensorBlock:
    """Energies of atoms that nothing changes."""
    samples = Labels(["system", "atom"], np.array(atoms, np.int32).reshape(-1, 2))
    properties = Labels.range("energy", 1)
    block = TensorBlock(energies.reshape(-1, 1), samples, [], properties)
    for name in gradients:
        rows = Labels.range("sample", len(samples))
        if name == "positions":
            rows = Labels(["sample", "system", "atom"], np.empty((0, 3), np.int32))
        shape = (len(rows), *(3 for _ in PARAMETERS[name]), 1)
        block.add_gradient(name, TensorBlock(np.zeros(shape), rows, PARAMETERS[name], properties))
    return block
