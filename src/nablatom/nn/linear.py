"""Linear layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nablatom.labels import Labels
from nablatom.nn.arguments import Features, input_features, invariant, output_features, per_key
from nablatom.nn.module_map import Layer

__all__ = ["EquivariantLinear", "Linear"]


class Linear(Layer):
    """``y_k = W_k x_k + b_k`` for each key ``k``; gradients follow ``dy_k = W_k dx_k``.

    Gradients of gradients follow in the same way. The bias has no gradient.

    Parameters
    ----------
    in_keys
        The keys that the layer can take.
    in_features
        The number of properties of the input, for all keys or for each. Labels instead of
        numbers are checked in every call and stored with the parameters.
    out_features
        The number of properties of the result.
    out_properties
        Their labels for each key, instead of a number; by default they are counted.
    bias
        Whether there is ``b``, for all keys or for each.

    Raises
    ------
    TypeError, ValueError
        If an argument does not have one value for each key, or of the wrong type.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels(["center_type"], [[1]]), Labels.range("n", 2)
    >>> block = TensorBlock(torch.ones(1, 2), Labels.range("atom", 1), [], n)
    >>> rows = Labels(["sample", "atom"], [[0, 0], [0, 1]])
    >>> gradient = TensorBlock(torch.eye(2)[:, None], rows, [Labels.range("x", 1)], n)
    >>> block.add_gradient("positions", gradient)
    >>> layer = Linear(keys, in_features=2, out_features=1)
    >>> energy = layer(TensorMap(keys, [block])).block()
    >>> weight = layer.module_map.module_list[0].weight
    >>> bool((energy.gradient("positions").values.flatten() == weight).all())
    True
    """

    def __init__(
        self,
        in_keys: Labels,
        in_features: Features,
        out_features: int | Sequence[int] | None = None,
        out_properties: Sequence[Labels] | None = None,
        *,
        bias: bool | Sequence[bool] = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        count = len(in_keys)
        numbers, in_properties = input_features(in_features, count)
        modules = _linear_modules(
            numbers,
            output_features(out_features, out_properties, count),
            per_key(bias, "bias", (bool,), count),
            device,
            dtype,
        )
        super().__init__(in_keys, modules, out_properties, in_properties=in_properties)


class EquivariantLinear(Layer):
    """A :class:`Linear` layer that commutes with rotations: only invariant blocks have a bias.

    ``y_m = W x_m`` for every component ``m``, plus ``b`` where there is nothing to rotate.
    Gradients follow ``W dx_m``, and have no bias.

    Parameters
    ----------
    in_keys, in_features, out_features, out_properties
        As for :class:`Linear`.
    invariant_keys
        Selects the keys of invariant blocks; by default ``o3_lambda=0, o3_sigma=1``.
    bias
        Whether there is ``b``, for all invariant keys or for each of them.

    Raises
    ------
    TypeError, ValueError
        As for :class:`Linear`; or if the keys lack a dimension of ``invariant_keys``.

    Examples
    --------
    >>> from nablatom import Labels
    >>> keys = Labels(["o3_lambda", "o3_sigma"], [[0, 1], [1, 1]])
    >>> layer = EquivariantLinear(keys, in_features=4, out_features=2)
    >>> [module.bias is not None for module in layer.module_map.module_list]
    [True, False]
    """

    def __init__(
        self,
        in_keys: Labels,
        in_features: Features,
        out_features: int | Sequence[int] | None = None,
        out_properties: Sequence[Labels] | None = None,
        invariant_keys: Labels | None = None,
        *,
        bias: bool | Sequence[bool] = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        count, places = len(in_keys), invariant(in_keys, invariant_keys).tolist()
        numbers, in_properties = input_features(in_features, count)
        wanted = dict(zip(places, per_key(bias, "bias", (bool,), len(places)), strict=True))
        modules = _linear_modules(
            numbers,
            output_features(out_features, out_properties, count),
            [wanted.get(i, False) for i in range(count)],
            device,
            dtype,
        )
        super().__init__(in_keys, modules, out_properties, in_properties=in_properties)


def _linear_modules(
    in_features: list[int],
    out_features: list[int],
    bias: list[bool],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> list[torch.nn.Module]:
    return [
        torch.nn.Linear(i, o, bias=b, device=device, dtype=dtype)
        for i, o, b in zip(in_features, out_features, bias, strict=True)
    ]
