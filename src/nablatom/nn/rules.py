"""How torch modules act on blocks: their values, and by the chain rule their gradients.

=============================  =========================================================
module                         rule for a tangent
=============================  =========================================================
``torch.nn.Identity``          as it is
``torch.nn.Linear``            ``W dx``: the bias has no gradient, second derivatives pass
``ReLU``, ``SiLU``, ``Tanh``   ``f'(x) dx``
:class:`SampleWise`            as the module says
``torch.nn.Sequential``        one module after the other
anything else                  by forward-mode differentiation, sample by sample
=============================  =========================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.nn.jacobian import Slopes, called, chained, contracted, is_cheaper
from nablatom.operations import apply
from nablatom.operations.chain import elementwise, linear

__all__ = ["SLOPES", "SampleWise", "counted", "relabelled", "through"]


class SampleWise(torch.nn.Module, ABC):
    """A module that says itself what it makes of a block."""

    @abstractmethod
    def through(self, block: TensorBlock) -> TensorBlock:
        """The block of its values and gradients."""


def _silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


SLOPES: Slopes = {
    torch.nn.ReLU: lambda x: (x > 0).to(x.dtype),
    torch.nn.SiLU: _silu_slope,
    torch.nn.Tanh: lambda x: 1 - torch.tanh(x) ** 2,
}
"""The derivatives of modules that act on every entry by itself."""


def through(module: torch.nn.Module, block: TensorBlock) -> TensorBlock:
    """The block that a module makes of the values of a block, with every stored gradient.

    Samples and components stay. The properties stay, or are counted: what they are called is the
    business of the layer.

    Raises
    ------
    ValueError
        If the block has another number of properties than the module takes, if the module
        changes the number of samples or components, or if gradients have gradients of their
        own and the module is not linear.
    """
    if isinstance(module, torch.nn.Sequential):
        return _chain(list(module), block)
    if isinstance(module, SampleWise):
        return module.through(block)
    if isinstance(module, torch.nn.Linear):
        return _affine(module, block)
    if isinstance(module, torch.nn.Identity):
        return block
    if type(module) in SLOPES:
        return elementwise(lambda x: called(module, x), SLOPES[type(module)], block)
    return _differentiated(module, block)


def _chain(modules: list[torch.nn.Module], block: TensorBlock) -> TensorBlock:
    """One module after the other; see :mod:`nablatom.nn.jacobian` for the two ways to do it."""
    if all(type(f) in SLOPES or isinstance(f, torch.nn.Linear) for f in modules) and modules:
        if not block.has_any_gradient():
            return _values_alone(modules, block)
        if _can_go_backwards(modules, block):
            return _by_jacobian(modules, block)
    for module in modules:
        block = through(module, block)
    return block


def _values_alone(modules: list[torch.nn.Module], block: TensorBlock) -> TensorBlock:
    """A chain of linear modules and functions of every entry, with one block at its end."""
    _check_widths(modules, block)
    x = block.values
    for module in modules:
        x = called(module, x)
    return TensorBlock.unchecked(x, block.samples, block.components, counted(x.shape[-1]))


def _can_go_backwards(modules: list[torch.nn.Module], block: TensorBlock) -> bool:
    parts = [gradient for _, gradient in block.gradients()]
    if any(part.has_any_gradient() for part in parts):
        return False
    if block.dtype not in (torch.float32, torch.float64):  # all that torch has dot products for
        return False
    rows, samples = (sum(prod(x.shape[:-1]) for x in blocks) for blocks in (parts, [block]))
    return is_cheaper(modules, samples, rows)


def _by_jacobian(modules: list[torch.nn.Module], block: TensorBlock) -> TensorBlock:
    """The same chain with its gradients."""
    _check_widths(modules, block)
    values, jacobian = chained(modules, block.values, SLOPES)
    properties = counted(values.shape[-1])
    gradients = {
        name: _times(jacobian, gradient, properties) for name, gradient in block.gradients()
    }
    return TensorBlock.unchecked(values, block.samples, block.components, properties, gradients)


def _times(jacobian: Tensor, gradient: TensorBlock, properties: Labels) -> TensorBlock:
    return linear(
        lambda dx: contracted(jacobian, dx, gradient.samples), gradient, properties=properties
    )


def _check_widths(modules: list[torch.nn.Module], block: TensorBlock) -> None:
    width = block.values.shape[-1]
    for module in modules:
        if isinstance(module, torch.nn.Linear):
            if module.in_features != width:
                raise ValueError(
                    f"this linear layer takes {module.in_features} properties, the block has "
                    f"{width}"
                )
            width = module.out_features


def _affine(module: torch.nn.Linear, block: TensorBlock) -> TensorBlock:
    """``W x + b``, and ``W dx`` for gradients and theirs."""
    weight, properties = module.weight, counted(module.out_features)
    _check_widths([module], block)
    gradients = {
        name: linear(lambda dx: functional.linear(dx, weight), gradient, properties=properties)
        for name, gradient in block.gradients()
    }
    values = functional.linear(block.values, weight, module.bias)
    return TensorBlock.unchecked(values, block.samples, block.components, properties, gradients)


def _differentiated(module: torch.nn.Module, block: TensorBlock) -> TensorBlock:
    """Any module, whose derivatives torch finds."""
    values = called(module, block.values)
    if values.shape[:-1] != block.values.shape[:-1]:
        raise ValueError(
            "a module must keep samples and components, but "
            f"{type(module).__name__} made shape {tuple(values.shape)} of {block.shape}"
        )
    properties = block.properties
    if values.shape[-1] != len(properties):
        properties = counted(values.shape[-1])
    if block.has_any_gradient():
        return apply(module, block, properties=properties)
    return TensorBlock.unchecked(values, block.samples, block.components, properties)


@cache
def counted(count: int) -> Labels:
    """The properties of results that nobody named: ``_`` from 0 to ``count - 1``."""
    return Labels.range("_", count)


def relabelled(block: TensorBlock, properties: Labels) -> TensorBlock:
    """The same arrays with other properties.

    Raises
    ------
    ValueError
        If there are not as many of them.
    """
    if properties is block.properties:
        return block
    if len(properties) != block.shape[-1]:
        raise ValueError(
            f"out_properties has {len(properties)} entries, but the layer made {block.shape[-1]} "
            "properties"
        )
    gradients = {name: relabelled(g, properties) for name, g in block.gradients()}
    return TensorBlock.unchecked(
        block.values, block.samples, block.components, properties, gradients
    )
