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
from ase.data import atomic_numbers, chemical_symbols

from nablatom.block import TensorBlock
from nablatom.descriptors.plain import from_plain, to_plain
from nablatom.io import load, save
from nablatom.operations import dot, sum_over_samples
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
        return sum_over_samples(self.predict(descriptor), "atom")

    def predict(self, descriptor: TensorMap) -> TensorMap:
        """Energies of the atoms of a descriptor, with the gradients that it stores.

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
