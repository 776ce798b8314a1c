"""Running layers on clusters, each layer only on what can still matter.

After a layer, the features of the outermost atoms are no longer needed: with ``k`` hops to go,
only atoms within ``k`` hops of a target are. As atoms and edges of clusters are sorted by hops,
leaving the others out is a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from nablatom.models import AtomicDataDict, SequentialGraphNetwork
from nablatom.outputs.clusters import Clusters, row_kind
from nablatom.outputs.derivatives import Model

__all__ = ["Layered", "is_layered", "pruned"]


@runtime_checkable
class Layered(Protocol):
    """A model that can leave out atoms layer by layer."""

    def of_first(self, data: AtomicDataDict.Type, within: Sequence[int]) -> AtomicDataDict.Type:
        """The energies of the first ``within[0]`` atoms; ``within[k]`` are within k hops."""


def is_layered(model: object) -> bool:
    """Whether the model can leave out atoms layer by layer."""
    return isinstance(model, SequentialGraphNetwork | Layered)


def pruned(model: Model, cut: Clusters) -> Callable[[AtomicDataDict.Type], AtomicDataDict.Type]:
    """The model on clusters, without what no target depends on; its results are for targets.

    A model whose layers cannot be seen runs as it is.
    """

    def run(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        if isinstance(model, Layered):
            return model.of_first(data, cut.nodes_within)
        if isinstance(model, SequentialGraphNetwork):
            data = _through(model, data, cut)
        else:
            data = model(data)
        return _first(data, cut.nodes_within[0], 0)

    return run


def _through(
    model: SequentialGraphNetwork, data: AtomicDataDict.Type, cut: Clusters
) -> AtomicDataDict.Type:
    """The modules one by one, on fewer and fewer atoms."""
    left = model.hops
    for module in model:
        # pair terms after the last layer still see the neighbors of a target
        data = _first(data, cut.nodes_within[max(left, 1)], cut.edges_within[max(left - 1, 0)])
        data = module(data)
        left -= getattr(module, "hops", 0)
    return data


def _first(data: AtomicDataDict.Type, nodes: int, edges: int) -> AtomicDataDict.Type:
    """The first so many atoms and edges of the data."""
    if len(data[AtomicDataDict.POSITIONS_KEY]) == nodes:
        return data
    count = {"atoms": nodes, "edges": edges}
    kept = {}
    for key, x in data.items():
        kind = "atoms" if key == AtomicDataDict.BATCH_KEY else row_kind(key, x, data)
        kept[key] = x[: count[kind]] if kind in count else x
    kept[AtomicDataDict.EDGE_INDEX_KEY] = data[AtomicDataDict.EDGE_INDEX_KEY][:, :edges]
    return kept
