"""Weights on what edges hand from neighbors to centers, in the backward pass only.

A model takes features of neighbors with ``features[neighbor]`` or ``index_select``. In the
graph that autograd made, these steps are found by their indices, and what passes backwards
through them is multiplied by a weight for each row. Values stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import torch

__all__ = ["weigh_gathers"]

Cotangents: TypeAlias = tuple[torch.Tensor | None, ...]


def weigh_gathers(
    values: torch.Tensor, weights: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Multiply what goes back through ``features[index]``, on the way from these values.

    Parameters
    ----------
    values
        Whatever a model gives; the graph behind it is changed.
    weights
        For each index to look for, (rows,), the weights of these rows. They may be part of a
        graph themselves: then so is what comes of a backward pass.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> index = torch.tensor([1, 0, 1])
    >>> total = x[index].sum()
    >>> weigh_gathers(total, [(index, torch.tensor([10.0, 1.0, 5.0]))])
    >>> torch.autograd.grad(total, x)
    (tensor([ 1., 15.]),)
    """
    known = list(weights)
    for node in list(_nodes(values)):
        taken = _row_index(node)
        for index, factors in known:
            if taken is not None and torch.equal(taken, index):
                node.register_prehook(_weighing(factors))
                break


def _weighing(factors: torch.Tensor) -> Callable[[Cotangents], Cotangents]:
    def weigh(cotangents: Cotangents) -> Cotangents:
        return tuple(None if x is None else x * _shaped(factors, x) for x in cotangents)

    return weigh


def _nodes(values: torch.Tensor) -> Iterator[Any]:
    """Every step of the graph behind the values, once."""
    waiting, seen = [values.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting.extend(before for before, _ in node.next_functions)


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
