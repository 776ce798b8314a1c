"""Layer normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.nn.arguments import Features, input_features, invariant, per_key
from nablatom.nn.module_map import Layer
from nablatom.nn.rules import SampleWise
from nablatom.operations.chain import pointwise

__all__ = ["InvariantLayerNorm", "LayerNorm"]


class LayerNorm(Layer):
    """``(x - ⟨x⟩) / sqrt(⟨(x - ⟨x⟩)²⟩ + eps) w + b``, the means over all but the samples.

    With ``c = x - ⟨x⟩`` and ``s = (⟨c²⟩ + eps)^(-1/2)``, gradients follow
    ``(s (dx - ⟨dx⟩) - s³ ⟨c dx⟩ c) w``.

    Parameters
    ----------
    in_keys
        The keys that the layer can take.
    in_features
        The number of properties, for all keys or for each. Labels instead of numbers are
        checked in every call and stored with the parameters.
    out_properties
        The properties of the result for each key; by default they are counted.
    eps, elementwise_affine, bias
        As for ``torch.nn.LayerNorm``; ``elementwise_affine`` is whether there are ``w`` and
        ``b``. For all keys or for each.
    mean
        Whether the mean is taken away from ``x``; the variance is about the mean anyway.

    Raises
    ------
    TypeError, ValueError
        If an argument does not have one value for each key, or of the wrong type.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels.single(), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[1.0, 5.0]]), Labels.single(), [], n)
    >>> layer = LayerNorm(keys, 2, eps=0.0, elementwise_affine=False)
    >>> layer(TensorMap(keys, [block])).block().values
    tensor([[-1.,  1.]])

    References
    ----------
    Ba, Kiros, Hinton, arXiv:1607.06450 (2016).
    """

    def __init__(
        self,
        in_keys: Labels,
        in_features: Features,
        out_properties: Sequence[Labels] | None = None,
        *,
        eps: float | Sequence[float] = 1e-5,
        elementwise_affine: bool | Sequence[bool] = True,
        bias: bool | Sequence[bool] = True,
        mean: bool | Sequence[bool] = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        numbers, in_properties = input_features(in_features, len(in_keys))
        modules = _norms(numbers, eps, elementwise_affine, bias, mean, device, dtype)
        super().__init__(in_keys, modules, out_properties, in_properties=in_properties)


class InvariantLayerNorm(Layer):
    """:class:`LayerNorm` of the invariant blocks; the others stay as they are.

    Gradients follow as for :class:`LayerNorm`, or stay.

    Parameters
    ----------
    in_keys, out_properties
        As for :class:`LayerNorm`.
    in_features, eps, elementwise_affine, bias, mean
        As for :class:`LayerNorm`, for all invariant keys or for each of them.
    invariant_keys
        Selects the keys of invariant blocks; by default ``o3_lambda=0, o3_sigma=1``.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels(["o3_lambda", "o3_sigma"], [[0, 1], [0, -1]]), Labels.range("n", 2)
    >>> block = TensorBlock(torch.tensor([[1.0, 3.0]]), Labels.single(), [], n)
    >>> scalar, pseudoscalar = InvariantLayerNorm(keys, 2, eps=0.0)(TensorMap(keys, [block] * 2))
    >>> scalar.values.tolist(), pseudoscalar.values.tolist()
    ([[-1.0, 1.0]], [[1.0, 3.0]])
    """

    def __init__(
        self,
        in_keys: Labels,
        in_features: Features,
        out_properties: Sequence[Labels] | None = None,
        invariant_keys: Labels | None = None,
        *,
        eps: float | Sequence[float] = 1e-5,
        elementwise_affine: bool | Sequence[bool] = True,
        bias: bool | Sequence[bool] = True,
        mean: bool | Sequence[bool] = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        places = invariant(in_keys, invariant_keys).tolist()
        numbers, _ = input_features(in_features, len(places))
        norms = _norms(numbers, eps, elementwise_affine, bias, mean, device, dtype)
        modules: list[torch.nn.Module] = [torch.nn.Identity() for _ in in_keys]
        for place, norm in zip(places, norms, strict=True):
            modules[place] = norm
        super().__init__(in_keys, modules, out_properties)


def _norms(
    in_features: list[int],
    eps: float | Sequence[float],
    elementwise_affine: bool | Sequence[bool],
    bias: bool | Sequence[bool],
    mean: bool | Sequence[bool],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> list[torch.nn.Module]:
    count = len(in_features)
    columns = (
        in_features,
        per_key(eps, "eps", (float, int), count),
        per_key(elementwise_affine, "elementwise_affine", (bool,), count),
        per_key(bias, "bias", (bool,), count),
        per_key(mean, "mean", (bool,), count),
    )
    return [_Norm(*row, device, dtype) for row in zip(*columns, strict=True)]


class _Norm(SampleWise):
    """The normalisation of one block."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        eps: float,
        affine: bool,
        bias: bool,
        mean: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.in_features, self.eps, self.mean = in_features, eps, mean
        weight = torch.ones(in_features, device=device, dtype=dtype)
        self.weight = torch.nn.Parameter(weight) if affine else None
        self.bias = torch.nn.Parameter(torch.zeros_like(weight)) if affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The normalised values of one block."""
        axes = tuple(range(1, x.ndim))
        centred, scale = _centred(x, axes, self.eps)
        result = (centred if self.mean else x) * scale
        result = result if self.weight is None else result * self.weight
        return result if self.bias is None else result + self.bias

    def through(self, block: TensorBlock) -> TensorBlock:
        """The normalised block, with its gradients."""
        if block.shape[-1] != self.in_features:
            raise ValueError(
                f"this normalisation takes {self.in_features} properties, the block has "
                f"{block.shape[-1]}"
            )
        axes = tuple(range(-(len(block.components) + 1), 0))
        return pointwise(self, lambda x, dx: self._tangent(x, dx, axes), block)

    def _tangent(self, x: Tensor, dx: Tensor, axes: tuple[int, ...]) -> Tensor:
        centred, scale = _centred(x, axes, self.eps)
        bend = scale**3 * (centred * dx).mean(axes, keepdim=True)
        if self.mean:
            result = scale * (dx - dx.mean(axes, keepdim=True)) - bend * centred
        else:
            result = scale * dx - bend * x
        return result if self.weight is None else result * self.weight

    def extra_repr(self) -> str:
        """The settings in the printed form of the module."""
        return f"{self.in_features}, eps={self.eps}, mean={self.mean}"


def _centred(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """``x - ⟨x⟩`` and one over its standard deviation."""
    centred = x - x.mean(axes, keepdim=True)
    return centred, (centred**2).mean(axes, keepdim=True).add(eps).rsqrt()
