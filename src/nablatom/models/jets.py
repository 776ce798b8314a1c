"""Values and how they change, side by side in one evaluation: forward differentiation.

A *jet* is ``(..., 1 + motions, columns)``: first the value, then its change under each motion.
What is linear in the columns takes a jet like any other rows; what is not is here.
"""

from collections.abc import Callable

import torch

__all__ = ["apply", "changes", "product"]


def apply(function: Callable[[torch.Tensor], torch.Tensor], jet: torch.Tensor) -> torch.Tensor:
    """The jet of a function that acts on every entry by itself.

    Examples
    --------
    >>> apply(torch.square, torch.tensor([[3.0], [1.0], [10.0]])).flatten()
    tensor([ 9.,  6., 60.])
    """
    value, pullback, *_ = torch.func.vjp(function, jet[..., :1, :])
    (slope,) = pullback(torch.ones_like(value))
    return torch.cat([value, jet[..., 1:, :] * slope], -2)


def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The jet of a product, entry by entry.

    Examples
    --------
    >>> product(torch.tensor([[3.0], [1.0]]), torch.tensor([[2.0], [10.0]])).flatten()
    tensor([ 6., 32.])
    """
    change = x[..., :1, :] * y[..., 1:, :] + x[..., 1:, :] * y[..., :1, :]
    return torch.cat([x[..., :1, :] * y[..., :1, :], change], -2)


def changes(
    function: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, motions: torch.Tensor
) -> torch.Tensor:
    """How the result of a function that acts on every row by itself changes.

    Parameters
    ----------
    rows : (rows, columns)
    motions : (rows, motions, columns)

    Returns
    -------
    (rows, motions, columns of the result)

    Examples
    --------
    >>> motions = torch.eye(2)[None]
    >>> changes(lambda x: x.norm(dim=1, keepdim=True), torch.tensor([[3.0, 4.0]]), motions)
    tensor([[[0.6000],
             [0.8000]]])
    """
    result, pullback, *_ = torch.func.vjp(function, rows)
    columns = torch.eye(result.shape[-1], dtype=result.dtype, device=result.device)
    (slopes,) = torch.func.vmap(pullback)(columns[:, None].expand(-1, *result.shape))
    return motions @ slopes.permute(1, 2, 0)
