"""The training step with gradients by torch's kernels on bare arrays: what is left without labels.

The derivatives go through the fewest products there are: one Jacobian for each sample, which
meets its gradient rows once forward and, transposed, once backward. All indices are known before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["bare_step"]


class Part(NamedTuple):
    """The arrays of one block, the sums that its rows belong to, and the weights of its layers."""

    x: Tensor
    dx: Tensor
    """(rows and directions, properties), sample by sample."""
    samples: Tensor
    """The sample of each row of dx."""
    starts: Tensor
    """The first row of dx of each sample."""
    system: tuple[Tensor, int]
    """The sum that each sample belongs to, and how many there are."""
    moved: tuple[Tensor, int]
    """The same for the gradient rows."""
    weights: tuple[Tensor, Tensor, Tensor, Tensor]


class _Product(torch.autograd.Function):
    """``sum_p J[i, p] dx[r, p]``, ``i`` the sample of row ``r``."""

    @staticmethod
    def forward(ctx: Any, jacobian: Tensor, part: Part, order: Tensor) -> Tensor:
        ctx.part, ctx.order = part, order
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward
        result: Tensor = dots(jacobian, part.dx, order, part.starts, part.samples, 0)
        return result

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        part = ctx.part
        bags = torch.embedding_bag(part.dx, ctx.order, part.starts, False, 0, False, dy)
        return bags[0], None, None


def bare_step(x: Any, hidden: int) -> Callable[[], float]:
    """One step on the arrays of a map with ``positions`` gradients, as the benchmark's."""
    torch.manual_seed(0)
    parts = [_part(block, hidden) for block in x.blocks()]
    orders = [torch.arange(len(part.dx)) for part in parts]
    weights = [w for part in parts for w in part.weights]
    optimizer = torch.optim.Adam(weights, lr=1e-5, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        loss = sum(_loss(part, order) for part, order in zip(parts, orders, strict=True))
        assert isinstance(loss, Tensor)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _part(block: Any, hidden: int) -> Part:
    gradient = block.gradient("positions")
    rows = gradient.samples.values
    samples = np.repeat(rows[:, 0], 3).astype(np.int64)
    first = torch.nn.Linear(block.shape[-1], hidden)
    last = torch.nn.Linear(hidden, 1)
    return Part(
        block.values,
        gradient.values.reshape(-1, block.shape[-1]),
        torch.from_numpy(samples),
        torch.from_numpy(np.searchsorted(samples, np.arange(len(block)))),
        _places(block.samples.values[:, :1]),
        _places(rows[:, 1:]),
        (first.weight, first.bias, last.weight, last.bias),
    )


def _loss(part: Part, order: Tensor) -> Tensor:
    w1, b1, w2, b2 = part.weights
    z = functional.linear(part.x, w1, b1)
    s = torch.sigmoid(z)
    energies = functional.linear(z * s, w2, b2)
    jacobian = (w2 * (s * (1 + z * (1 - s)))) @ w1
    derivatives = _Product.apply(jacobian, part, order).reshape(-1, 3, 1)  # type: ignore[no-untyped-call]
    return _mean_square(energies, part.system) + _mean_square(derivatives, part.moved)


def _places(rows: Any) -> tuple[Tensor, int]:
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    return torch.from_numpy(place.reshape(-1)), len(distinct)


def _mean_square(x: Tensor, places: tuple[Tensor, int]) -> Tensor:
    place, count = places
    return (x.new_zeros((count, *x.shape[1:])).index_add(0, place, x) ** 2).mean()
