"""Atomic data dictionaries: what graph modules take and give, in one namespace.

``from nablatom.models import AtomicDataDict`` gives this module: the type, the names of the
fields (``AtomicDataDict.POSITIONS_KEY`` …), and functions that return new dictionaries and
leave those they are given alone.

``from_ase``, ``to_ase``
    Structures with their results, in and out.
``with_neighbors``, ``with_edge_vectors``, ``with_types``, ``with_one_hot_types``, ``prepared``
    Data with edges, with their vectors and lengths, with types, as columns too; with all a model
    reads, checked.
``check_data``
    Refuses what is no dictionary.
``batched``, ``unbatched``
    Several frames in one graph, and back.
``num_frames``, ``frame_of_atoms``, ``frame_of_edges``, ``sum_over_atoms``
    Which rows belong together.
"""

from nablatom.systems import fields
from nablatom.systems.ase_data import from_ase, to_ase
from nablatom.systems.batches import (
    batched,
    frame_of_atoms,
    frame_of_edges,
    num_frames,
    sum_over_atoms,
    unbatched,
)
from nablatom.systems.edges import (
    check_data,
    prepared,
    with_edge_vectors,
    with_neighbors,
    with_one_hot_types,
    with_types,
)
from nablatom.systems.fields import *  # noqa: F403

__all__ = [
    "batched",
    "check_data",
    "frame_of_atoms",
    "frame_of_edges",
    "from_ase",
    "num_frames",
    "prepared",
    "sum_over_atoms",
    "to_ase",
    "unbatched",
    "with_edge_vectors",
    "with_neighbors",
    "with_one_hot_types",
    "with_types",
]
__all__ += fields.__all__
