"""Running a sequence of layers on clusters, each layer only on what can still matter.

After a layer, the features of the outermost atoms are no longer needed: with ``k`` hops to go,
only atoms within ``k`` hops of a target are. As atoms and edges of clusters are sorted by hops,
leaving the others out is a slice.
"""

from __future__ import annotations

from collections.abc import Callable

from nablatom.models import AtomicDataDict, SequentialGraphNetwork
from nablatom.outputs.clusters import Clusters, row_kind
from nablatom.outputs.derivatives import Model

__all__ = ["is_layered", "pruned"]


def is_layered(model: object) -> bool:
    """Whether the model is a sequence whose modules say how many hops they take."""
    return isinstance(model, SequentialGraphNetwork)


def pruned(model: Model, cut: Clusters) -> Callable[[AtomicDataDict.Type], AtomicDataDict.Type]:
    """The model on clusters, without what no target depends on; its results are for targets.

    A model that is not a sequence runs as it is.
    """

    def run(data: AtomicDataDict.Type) -> AtomicDataDict.Type:
        if not isinstance(model, SequentialGraphNetwork):
            return _first(model(data), cut.nodes_within[0], 0)
        left = model.hops
        for module in model:
            # pair terms after the last layer still see the neighbors of a target
            data = _first(data, cut.nodes_within[max(left, 1)], cut.edges_within[max(left - 1, 0)])
            data = module(data)
            left -= getattr(module, "hops", 0)
        return _first(data, cut.nodes_within[0], 0)

    return run


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
