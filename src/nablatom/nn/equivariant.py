"""Transformations of covariant blocks by functions of their norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.nn.arguments import Features, input_features, invariant, output_features
from nablatom.nn.module_map import Layer
from nablatom.nn.rules import SampleWise, through
from nablatom.operations.chain import bilinear, pointwise

__all__ = ["EquivariantTransformation"]


class EquivariantTransformation(Layer):
    """``f(x)`` of invariant blocks, and ``f(|x|) x`` of the others, which commutes with rotations.

    ``|x|`` is the norm over the component, and multiplies each of its entries. Gradients
    follow the product rule, with ``d|x| = x·dx / |x|``, and zero where ``x`` vanishes.

    Parameters
    ----------
    modules
        The functions ``f``, one for each key: any torch modules that work sample by sample
        and keep the number of properties.
    in_keys
        The keys that the layer can take.
    in_features
        The number of properties, for all keys or for each. Labels instead of numbers are
        checked in every call and stored with the parameters.
    out_features, out_properties
        The properties of the result, whose number is that of the input for covariant blocks;
        by default they are counted.
    invariant_keys
        Selects the keys of invariant blocks; by default ``o3_lambda=0, o3_sigma=1``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not have one value for each key, or of the wrong type; when called,
        if a covariant block does not have one component.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, xyz = Labels(["o3_lambda", "o3_sigma"], [[1, 1]]), Labels.range("o3_mu", 3)
    >>> vector = torch.tensor([[[3.0], [0.0], [4.0]]])
    >>> block = TensorBlock(vector, Labels.range("atom", 1), [xyz], Labels.range("n", 1))
    >>> layer = EquivariantTransformation([torch.nn.Tanh()], keys, in_features=1)
    >>> layer(TensorMap(keys, [block])).block().values.flatten()
    tensor([2.9997, 0.0000, 3.9996])
    """

    def __init__(
        self,
        modules: Sequence[torch.nn.Module],
        in_keys: Labels,
        in_features: Features,
        out_features: int | Sequence[int] | None = None,
        out_properties: Sequence[Labels] | None = None,
        invariant_keys: Labels | None = None,
    ) -> None:
        count, places = len(in_keys), set(invariant(in_keys, invariant_keys).tolist())
        if len(modules) != count:
            raise ValueError(f"there are {count} keys, but {len(modules)} modules")
        numbers, in_properties = input_features(in_features, count)
        if out_features is not None or out_properties is not None:
            made = output_features(out_features, out_properties, count)
            for i in set(range(count)) - places:
                if made[i] != numbers[i]:
                    raise ValueError(
                        f"the covariant block with {in_keys[i].print()} keeps its {numbers[i]} "
                        f"properties, it cannot become {made[i]}"
                    )
        transforms = [f if i in places else _Covariant(f) for i, f in enumerate(modules)]
        super().__init__(in_keys, transforms, out_properties, in_properties=in_properties)


class _Covariant(SampleWise):
    """``f(|x|) x`` of one block."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The values ``f(|x|) x`` of one block."""
        result: Tensor = self.module(_norm(x)) * x
        return result

    def through(self, block: TensorBlock) -> TensorBlock:
        """The block of ``f(|x|) x``, with its gradients."""
        if len(block.components) != 1:
            raise ValueError(
                f"a covariant block has one component, got {[c.names[0] for c in block.components]}"
            )
        (component,) = block.components
        one = Labels.range(component.names[0], 1)
        factors = through(self.module, pointwise(_norm, _norm_tangent, block, components=[one]))
        if factors.shape[-1] != block.shape[-1]:
            raise ValueError(
                f"the module of a covariant block must keep its {block.shape[-1]} properties, it "
                f"made {factors.shape[-1]}"
            )
        return bilinear(lambda x, factor: x * factor, block, factors)


def _norm(x: Tensor) -> Tensor:
    """The norm over the component, whose slope at zero is zero: ``(…, 1, properties)``."""
    squares = (x * x).sum(-2, keepdim=True)
    vanishes = squares == 0
    return torch.where(vanishes, 0, torch.where(vanishes, 1, squares).sqrt())


def _norm_tangent(x: Tensor, dx: Tensor) -> Tensor:
    norm = _norm(x)
    return (x * dx).sum(-2, keepdim=True) / torch.where(norm == 0, 1, norm)
