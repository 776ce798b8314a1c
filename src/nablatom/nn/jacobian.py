"""A chain of layers from its output backwards: one Jacobian for each sample.

Stored gradients can go through a chain of layers in two ways, which differ in the order of
the same products:

``W_3 (s_2 (W_2 (s_1 (W_1 dx))))``
    Layer by layer. Every gradient row goes through every layer.
``(W_3 s_2 W_2 s_1 W_1) dx``
    The Jacobian of each sample first, and then one product for each gradient row. A sample
    has many gradient rows, and an energy is one number: this saves all products between
    hidden layers.

The second is a sum over properties for each row, ``dy_reo = sum_p J_iop dx_rep`` with ``i`` the
sample of row ``r``, and its transpose in the backward pass. Both read ``dx`` once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nablatom.labels import Labels, Rows, remembered

__all__ = ["Slopes", "called", "chained", "contracted", "is_cheaper"]

Slopes = dict[type[torch.nn.Module], Callable[[Tensor], Tensor]]
"""The derivatives of modules that act on every entry by itself."""


def is_cheaper(modules: Sequence[torch.nn.Module], samples: int, rows: int) -> bool:
    """Whether a chain, with so many gradient rows, needs fewer products from behind."""
    layers = [module for module in modules if isinstance(module, torch.nn.Linear)]
    if len(layers) < 2:
        return False
    widths = [layer.in_features * layer.out_features for layer in layers]
    made = layers[-1].out_features
    jacobians = samples * made * sum(widths[:-1]) + rows * layers[0].in_features * made
    return jacobians < rows * sum(widths)


def chained(modules: Sequence[torch.nn.Module], x: Tensor, slopes: Slopes) -> tuple[Tensor, Tensor]:
    """The values of a chain, and its Jacobian of shape ``(samples, …, outputs, inputs)``.

    Of a chain that is linear, it is the same for all samples: ``(outputs, inputs)``.
    """
    inputs = []
    for module in modules:
        inputs.append(x)
        x = called(module, x)
    jacobian = None
    for module, before in zip(reversed(modules), reversed(inputs), strict=True):
        if isinstance(module, torch.nn.Linear):
            jacobian = module.weight if jacobian is None else jacobian @ module.weight
        else:
            slope = slopes[type(module)](before)
            jacobian = (
                torch.diag_embed(slope) if jacobian is None else jacobian * slope.unsqueeze(-2)
            )
    assert jacobian is not None
    return x, jacobian


def called(module: torch.nn.Module, x: Tensor) -> Tensor:
    """What a module makes of an array that it does not write into."""
    result: Tensor = module(x.clone() if module.__dict__.get("inplace") else x)
    return result


def contracted(jacobian: Tensor, dx: Tensor, samples: Labels) -> Tensor:
    """``sum_p J[i, …, o, p] dx[r, a, …, p]``, ``i`` the sample of row ``r``: ``(r, a, …, o)``.

    Differentiable, as often as one likes, with respect to both.
    """
    if jacobian.ndim == 2:  # the same for all
        return functional.linear(dx, jacobian)
    return _contraction(jacobian, dx, samples)


# -- the product, its transpose, and each the derivative of the other ---------------------


class _Contraction(torch.autograd.Function):
    """``dy[r, a, c, o] = sum_p J[i, c, o, p] dx[r, a, c, p]``, for any number of axes a and c."""

    @staticmethod
    def forward(jacobian: Tensor, dx: Tensor, samples: Labels) -> Tensor:
        plan = _Bags.of(jacobian.shape, dx, samples)
        # what torch calls in the backward pass of embedding_bag: dot products by index
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward
        table, outputs = dx.reshape(-1, dx.shape[-1]), jacobian.shape[-2]
        columns = [
            plan.back(dots(part, table, plan.order, plan.starts, plan.bags, _SUM))
            for part in jacobian.reshape(-1, *jacobian.shape[-2:]).unbind(1)
        ]
        whole = columns[0] if outputs == 1 else torch.stack(columns, -1)
        return whole.reshape(*dx.shape[:-1], outputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        jacobian, dx, ctx.samples = inputs
        ctx.save_for_backward(jacobian, dx)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        jacobian, dx = ctx.saved_tensors
        first, second, _ = ctx.needs_input_grad
        return (
            _transposed(dy, dx, ctx.samples, tuple(jacobian.shape)) if first else None,
            _outer(dy, jacobian, ctx.samples) if second else None,
            None,
        )


class _Transpose(torch.autograd.Function):
    """``J[i, c, o, p] = sum_ra dy[r, a, c, o] dx[r, a, c, p]`` over the rows of each sample."""

    @staticmethod
    def forward(dy: Tensor, dx: Tensor, samples: Labels, shape: tuple[int, ...]) -> Tensor:
        plan = _Bags.of(shape, dx, samples)
        table = dx.reshape(-1, dx.shape[-1])
        sums = [
            functional.embedding_bag(
                plan.order, table, plan.starts, mode="sum", per_sample_weights=plan.there(column)
            )
            for column in dy.reshape(-1, dy.shape[-1]).unbind(-1)
        ]
        return (sums[0] if len(sums) == 1 else torch.stack(sums, 1)).reshape(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        dy, dx, ctx.samples, _ = inputs
        ctx.save_for_backward(dy, dx)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        dy, dx = ctx.saved_tensors
        first, second, *_ = ctx.needs_input_grad
        return (
            _contraction(change, dx, ctx.samples) if first else None,
            _outer(dy, change, ctx.samples) if second else None,
            None,
            None,
        )


# torch asks for the signatures at every call, which takes longer than a small product
setattr(_Contraction.forward, "__signature__", signature(_Contraction.forward))  # noqa: B010
setattr(_Transpose.forward, "__signature__", signature(_Transpose.forward))  # noqa: B010

_contraction: Callable[..., Tensor] = _Contraction.apply


def _transposed(dy: Tensor, dx: Tensor, samples: Labels, shape: tuple[int, ...]) -> Tensor:
    """The transpose; without the bookkeeping for a derivative that nobody can ask for."""
    if not torch.is_grad_enabled():
        return _Transpose.forward(dy, dx, samples, shape)
    result: Tensor = _Transpose.apply(dy, dx, samples, shape)  # type: ignore[no-untyped-call]
    return result


def _outer(dy: Tensor, jacobian: Tensor, samples: Labels) -> Tensor:
    """``dx[r, a, c, p] = sum_o dy[r, a, c, o] J[i, c, o, p]``."""
    rows = torch.as_tensor(samples.values[:, 0].astype(np.int64), device=dy.device)
    taken = jacobian[rows]
    taken = taken.reshape(len(rows), *[1] * (dy.ndim + 1 - taken.ndim), *taken.shape[1:])
    return (dy.unsqueeze(-2) @ taken).squeeze(-2)


_SUM = 0  # torch's number for mode="sum"


class _Bags:
    """The entries of ``dx`` sorted into one bag for each sample and component, for torch."""

    def __init__(
        self, order: Rows, starts: Rows, bags: Rows, in_order: bool, device: torch.device
    ) -> None:
        self.order, self.starts, self.bags = (
            torch.as_tensor(part, device=device) for part in (order, starts, bags)
        )
        self._in_order = in_order

    @staticmethod
    def of(shape: Sequence[int], dx: Tensor, samples: Labels) -> _Bags:
        """Those of a Jacobian of this shape, ``(samples, *components, outputs, inputs)``."""
        components, own = prod(shape[1:-2]), prod(dx.shape[1 : dx.ndim + 2 - len(shape)])
        return _Bags(*_plan(samples, shape[0], own, components), dx.device)

    def there(self, column: Tensor) -> Tensor:
        """Numbers for the entries of ``dx``, in the order of the bags."""
        return column.contiguous() if self._in_order else column[self.order]

    def back(self, column: Tensor) -> Tensor:
        """Numbers in the order of the bags, for the entries of ``dx``."""
        if self._in_order:
            return column
        return torch.empty_like(column).index_copy(0, self.order, column)


@remembered  # in NumPy: a tensor made while torch traces would not be a real one
def _plan(samples: Labels, count: int, own: int, components: int) -> tuple[Rows, Rows, Rows, bool]:
    """The order of the entries by bag, where each bag begins, and the bag of each entry."""
    rows = samples.values[:, 0].astype(np.int64)
    bag = (rows[:, None, None] * components + np.arange(components)).repeat(own, axis=1).ravel()
    sizes = np.bincount(bag, minlength=count * components)
    order = np.argsort(bag, kind="stable")
    in_order = bool((order == np.arange(len(order))).all())
    return order, np.cumsum(sizes) - sizes, bag[order], in_order
