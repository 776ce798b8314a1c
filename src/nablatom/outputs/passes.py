"""One more backward pass through a graph that is kept."""

import torch

__all__ = ["backward_pass"]


def backward_pass(
    values: torch.Tensor, leaf: torch.Tensor, cotangent: torch.Tensor, create_graph: bool
) -> torch.Tensor:
    """The derivative of ``sum(cotangent * values)``; zero if nothing depends on the leaf.

    Examples
    --------
    >>> x = torch.ones(2, requires_grad=True)
    >>> backward_pass(x**3, x, torch.tensor([1.0, 2.0]), create_graph=False)
    tensor([3., 6.])
    """
    if not values.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(
        values,
        leaf,
        cotangent,
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return found
