"""The part of a descriptor that does not turn: what an energy can be made of."""

import numpy as np

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.operations import filter_blocks, rename_dimension, sum_over_samples
from nablatom.operations.chain import linear
from nablatom.tensor import TensorMap

__all__ = ["scalars"]

SPHERICAL = ("o3_lambda", "o3_sigma")
OF_PAIRS = {"first_atom_type": "center_type", "second_atom_type": "neighbor_type"}


def scalars(descriptor: TensorMap) -> TensorMap:
    """The blocks of degree 0 of a descriptor, with gradients, and what pairs have per atom.

    Descriptors that are invariant already stay what they are. Keys lose ``o3_lambda`` and
    ``o3_sigma``, and blocks their components. Pairs are summed to their first atom.

    Returns
    -------
    TensorMap
        Keys ``center_type`` and others, samples ``system, atom``, no components.

    Raises
    ------
    ValueError
        Nothing in the descriptor is invariant, or it is not about atoms.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SphericalExpansion
    >>> scalars(SphericalExpansion(max_angular=1)(molecule("H2"))).keys.names
    ['center_type', 'neighbor_type']
    """
    if SPHERICAL[0] in descriptor.keys.names:
        descriptor = _of_degree_zero(descriptor)
    if "first_atom" in descriptor.sample_names:
        descriptor = _per_atom(descriptor)
    if descriptor.component_names:
        raise ValueError(
            "an energy is linear in invariants only, and this descriptor has components "
            f"{', '.join(descriptor.component_names)}; make invariants of it, or take another"
        )
    if descriptor.sample_names != ["system", "atom"]:
        raise ValueError(
            "expected a descriptor of atoms, with samples system, atom, got samples "
            f"{', '.join(descriptor.sample_names)}"
        )
    return descriptor


def _of_degree_zero(descriptor: TensorMap) -> TensorMap:
    chosen = filter_blocks(descriptor, Labels(list(SPHERICAL), np.array([[0, 1]], np.int32)))
    rest = [name for name in chosen.keys.names if name not in SPHERICAL]
    columns = [chosen.keys.names.index(name) for name in rest]
    keys = Labels(rest, np.ascontiguousarray(chosen.keys.values[:, columns]))
    blocks = [_without_component(block) for block in chosen.blocks()]
    return TensorMap.unchecked(keys, blocks, dict(descriptor.info()))


def _without_component(block: TensorBlock) -> TensorBlock:
    return linear(lambda x: x[..., 0, :], block, components=(), properties=block.properties)


def _per_atom(descriptor: TensorMap) -> TensorMap:
    others = [n for n in descriptor.sample_names if n not in ("system", "first_atom")]
    summed = sum_over_samples(descriptor, others)
    found: TensorMap = rename_dimension(summed, "samples", "first_atom", "atom")
    for old, new in OF_PAIRS.items():
        found = rename_dimension(found, "keys", old, new)
    return found
