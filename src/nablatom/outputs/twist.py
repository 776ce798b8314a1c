"""Weights on what edges hand from neighbors to centers, in the backward pass only.

A model takes features of neighbors with ``features[neighbor]`` or ``index_select``. In the
graph that autograd made, these steps are found by their indices, and what passes backwards
through them is multiplied by a weight for each edge. Values stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["weigh_gathers"]


def weigh_gathers(values: torch.Tensor, edge_index: torch.Tensor, weights: torch.Tensor) -> None:
    """Multiply what goes back to neighbors, on the way from these values, by the weights.

    Parameters
    ----------
    values
        Whatever a model gives; the graph behind it is changed.
    edge_index : (2, edges)
        Centers and neighbors, as the model was given them.
    weights : (edges,)
        May be part of a graph themselves: then so is what comes of a backward pass.
    """

    def weigh(cotangents: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor | None, ...]:
        return tuple(None if x is None else x * _shaped(weights, x) for x in cotangents)

    for node in list(_nodes(values)):
        if _takes_neighbors(node, edge_index):
            node.register_prehook(weigh)


def _nodes(values: torch.Tensor) -> Iterator[Any]:
    """Every step of the graph behind the values, once."""
    waiting, seen = [values.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting.extend(before for before, _ in node.next_functions)


def _takes_neighbors(node: Any, edge_index: torch.Tensor) -> bool:
    """Whether this step is ``features[neighbor]``."""
    index = _row_index(node)
    center, neighbor = edge_index
    if index is None or index.shape != neighbor.shape:
        return False
    if index.data_ptr() == neighbor.data_ptr():
        return True
    # A copy of the indices is as good, unless it could be one of the centers.
    return torch.equal(index, neighbor) and not torch.equal(center, neighbor)


def _row_index(node: Any) -> torch.Tensor | None:
    """The rows that a step takes, if that is what it does."""
    if node.name() == "IndexSelectBackward0" and node._saved_dim == 0:
        return node._saved_index
    if node.name() == "IndexBackward0":
        first, *others = node._saved_indices
        return None if others else first
    return None


def _shaped(weights: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return weights.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))
