"""Functions of every entry, for all blocks or for the invariant ones.

They take ``in_place`` so that scripts move over, and never write into their input: its
gradients, and a backward pass, still need it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nablatom.labels import Labels
from nablatom.nn.arguments import invariant
from nablatom.nn.module_map import Layer

__all__ = ["InvariantReLU", "InvariantSiLU", "InvariantTanh", "ReLU", "SiLU", "Tanh"]


class ReLU(Layer):
    """``max(x, 0)`` of every entry; gradients follow ``dx`` where ``x > 0``, else zero.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels.single(), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[-1.0, 2.0]]), Labels.single(), [], n)
    >>> ReLU(keys)(TensorMap(keys, [block])).block().values
    tensor([[0., 2.]])
    """

    def __init__(
        self,
        in_keys: Labels,
        out_properties: Sequence[Labels] | None = None,
        *,
        in_place: bool = False,  # noqa: ARG002
    ) -> None:
        super().__init__(in_keys, [torch.nn.ReLU() for _ in in_keys], out_properties)


class SiLU(Layer):
    """``x σ(x)`` of every entry, with ``σ(x) = 1/(1 + exp(-x))``.

    Gradients follow ``σ(x) (1 + x (1 - σ(x))) dx``.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels.single(), Labels.range("n", 1)
    >>> block = TensorBlock(torch.tensor([[0.0]]), Labels.single(), [], n)
    >>> rows = Labels.range("sample", 1)
    >>> block.add_gradient("x", TensorBlock(torch.tensor([[1.0]]), rows, [], n))
    >>> SiLU(keys)(TensorMap(keys, [block])).block().gradient("x").values
    tensor([[0.5000]])
    """

    def __init__(
        self,
        in_keys: Labels,
        out_properties: Sequence[Labels] | None = None,
        *,
        in_place: bool = False,  # noqa: ARG002
    ) -> None:
        super().__init__(in_keys, [torch.nn.SiLU() for _ in in_keys], out_properties)


class Tanh(Layer):
    """The hyperbolic tangent of every entry; gradients follow ``(1 - tanh² x) dx``.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels.single(), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[0.0, 99.0]]), Labels.single(), [], n)
    >>> Tanh(keys)(TensorMap(keys, [block])).block().values
    tensor([[0., 1.]])
    """

    def __init__(self, in_keys: Labels, out_properties: Sequence[Labels] | None = None) -> None:
        super().__init__(in_keys, [torch.nn.Tanh() for _ in in_keys], out_properties)


class InvariantReLU(Layer):
    """:class:`ReLU` of the invariant blocks; the others stay as they are.

    ``invariant_keys`` selects the keys of invariant blocks; by default ``o3_lambda=0,
    o3_sigma=1``. Gradients follow as for :class:`ReLU`, or stay.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels(["o3_lambda", "o3_sigma"], [[0, 1], [0, -1]]), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[-1.0, 2.0]]), Labels.single(), [], n)
    >>> scalar, pseudoscalar = InvariantReLU(keys)(TensorMap(keys, [block, block]))
    >>> scalar.values
    tensor([[0., 2.]])
    >>> torch.equal(pseudoscalar.values, block.values)
    True
    """

    def __init__(
        self,
        in_keys: Labels,
        out_properties: Sequence[Labels] | None = None,
        invariant_keys: Labels | None = None,
        *,
        in_place: bool = False,  # noqa: ARG002
    ) -> None:
        modules = _where_invariant(torch.nn.ReLU, in_keys, invariant_keys)
        super().__init__(in_keys, modules, out_properties)


class InvariantSiLU(Layer):
    """:class:`SiLU` of the invariant blocks; the others stay as they are.

    ``invariant_keys`` selects the keys of invariant blocks; by default ``o3_lambda=0,
    o3_sigma=1``. Gradients follow as for :class:`SiLU`, or stay.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels(["o3_lambda", "o3_sigma"], [[0, 1], [0, -1]]), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[0.0, 100.0]]), Labels.single(), [], n)
    >>> scalar, pseudoscalar = InvariantSiLU(keys)(TensorMap(keys, [block, block]))
    >>> scalar.values
    tensor([[  0., 100.]])
    >>> torch.equal(pseudoscalar.values, block.values)
    True
    """

    def __init__(
        self,
        in_keys: Labels,
        out_properties: Sequence[Labels] | None = None,
        invariant_keys: Labels | None = None,
        *,
        in_place: bool = False,  # noqa: ARG002
    ) -> None:
        modules = _where_invariant(torch.nn.SiLU, in_keys, invariant_keys)
        super().__init__(in_keys, modules, out_properties)


class InvariantTanh(Layer):
    """:class:`Tanh` of the invariant blocks; the others stay as they are.

    ``invariant_keys`` selects the keys of invariant blocks; by default ``o3_lambda=0,
    o3_sigma=1``. Gradients follow as for :class:`Tanh`, or stay.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels(["o3_lambda", "o3_sigma"], [[0, 1], [0, -1]]), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[0.0, 99.0]]), Labels.single(), [], n)
    >>> scalar, pseudoscalar = InvariantTanh(keys)(TensorMap(keys, [block, block]))
    >>> scalar.values
    tensor([[0., 1.]])
    >>> torch.equal(pseudoscalar.values, block.values)
    True
    """

    def __init__(
        self,
        in_keys: Labels,
        out_properties: Sequence[Labels] | None = None,
        invariant_keys: Labels | None = None,
    ) -> None:
        modules = _where_invariant(torch.nn.Tanh, in_keys, invariant_keys)
        super().__init__(in_keys, modules, out_properties)


def _where_invariant(
    activation: type[torch.nn.Module], in_keys: Labels, invariant_keys: Labels | None
) -> list[torch.nn.Module]:
    places = set(invariant(in_keys, invariant_keys).tolist())
    return [activation() if i in places else torch.nn.Identity() for i in range(len(in_keys))]
