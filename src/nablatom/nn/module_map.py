"""One torch module for each key of a map."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from nablatom import tracing
from nablatom.block import TensorBlock
from nablatom.display import in_line
from nablatom.labels import Labels, remembered
from nablatom.nn.arguments import per_key
from nablatom.nn.rules import counted, relabelled, through
from nablatom.nn.state import Axes, as_tensor, assert_same, from_tensor
from nablatom.tensor import TensorMap

__all__ = ["Layer", "ModuleMap", "Sequential"]


class ModuleMap(torch.nn.Module):
    """``y_k = f_k(x_k)``: a map whose blocks go each through the module of their key.

    Stored gradients follow the chain rule, ``dy_k = ∂f_k/∂x_k dx_k``; the table in
    :mod:`nablatom.nn.rules` says how. Everything is differentiable with respect to the
    parameters of the modules, gradients included.

    Parameters
    ----------
    in_keys
        The keys that there are modules for. A map may have some of them, in any order.
    modules
        One for each key: any torch module that works sample by sample, and keeps components.
    out_properties
        The properties of the result for each key; by default they are counted, named ``_``.
    in_properties
        The properties that the input must have for each key. They are checked and stored with
        the parameters; by default nothing is asked of them.

    Raises
    ------
    KeyError
        When called, if the map has a key without a module.
    ValueError
        If there is not one module for each key; when called, if a block does not fit its
        module or the ``in_properties``.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> keys, n = Labels(["center_type"], [[1], [8]]), Labels.range("n", 2)
    >>> block = TensorBlock(torch.ones(3, 2), Labels.range("atom", 3), [], n)
    >>> modules = [torch.nn.Linear(2, 4), torch.nn.Linear(2, 5)]
    >>> result = ModuleMap(keys, modules)(TensorMap(keys, [block, block.copy()]))
    >>> [block.shape for block in result]
    [(3, 4), (3, 5)]
    """

    def __init__(
        self,
        in_keys: Labels,
        modules: Sequence[torch.nn.Module],
        out_properties: Sequence[Labels] | None = None,
        *,
        in_properties: Sequence[Labels] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(in_keys, Labels):
            raise TypeError(f"in_keys must be Labels, got {type(in_keys).__name__}")
        if len(in_keys) != len(modules):
            raise ValueError(f"there are {len(in_keys)} keys, but {len(modules)} modules")
        self.module_list = torch.nn.ModuleList(modules)
        self._axes = Axes(
            in_keys,
            _labels(in_properties, "in_properties", len(in_keys)),
            _labels(out_properties, "out_properties", len(in_keys)),
        )
        self._name = _named(self)

    @classmethod
    def from_module(
        cls,
        in_keys: Labels,
        module: torch.nn.Module,
        out_properties: Sequence[Labels] | None = None,
    ) -> ModuleMap:
        """A copy of one module, with parameters of its own, for each key."""
        return cls(in_keys, [deepcopy(module) for _ in range(len(in_keys))], out_properties)

    @property
    def in_keys(self) -> Labels:
        """The keys that there are modules for."""
        return self._axes.in_keys

    @property
    def in_properties(self) -> list[Labels] | None:
        """The properties that the input must have for each key, if they were given."""
        return self._axes.in_properties

    @property
    def out_properties(self) -> list[Labels] | None:
        """The properties of the result for each key, if they were given."""
        return self._axes.out_properties

    def forward(self, tensor: TensorMap) -> TensorMap:
        """The map of what the modules make of each block, with gradients."""
        if not isinstance(tensor, TensorMap):
            raise TypeError(f"layers take a TensorMap, got {type(tensor).__name__}")
        if tracing.compiling():
            tensors = dict(self.named_parameters()) | dict(self.named_buffers())
            return _forward(tensor, self._name, self.training, tensors)
        places, modules = _places(tensor.keys, self.in_keys), list(self.module_list)
        blocks = []
        for i, (place, block) in enumerate(zip(places, tensor.blocks(), strict=True)):
            try:
                blocks.append(self._block(modules[place], place, block))
            except (ValueError, TypeError) as error:
                error.add_note(f"in the block with {tensor.keys[i].print()}")
                raise
        return TensorMap.unchecked(tensor.keys, blocks, tensor.info())

    def _block(self, module: torch.nn.Module, place: int, block: TensorBlock) -> TensorBlock:
        _check_arrays(module, block)
        if self.in_properties is not None and block.properties != self.in_properties[place]:
            raise ValueError(
                f"this layer takes the properties {self.in_properties[place]!r}, the block has "
                f"{block.properties!r}"
            )
        result = through(module, block)
        properties = self.out_properties
        if properties is None:
            return relabelled(result, counted(result.values.shape[-1]))
        return relabelled(result, properties[place])

    # -- state -------------------------------------------------------------------------

    def get_extra_state(self) -> Tensor:
        """The labels as text in a tensor of bytes, so that every format takes them."""
        return as_tensor(self._axes)

    def set_extra_state(self, state: Tensor) -> None:
        """Raise an error if a state was saved with other labels."""
        assert_same(from_tensor(state), self._axes)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._name = _named(self)

    def extra_repr(self) -> str:
        """The keys in the printed form of the module."""
        return f"{len(self.in_keys)} keys: {', '.join(self.in_keys.names)}"


class Layer(torch.nn.Module):
    """A module map with a name of its own: what all layers here have in common."""

    def __init__(
        self,
        in_keys: Labels,
        modules: Sequence[torch.nn.Module],
        out_properties: Sequence[Labels] | None = None,
        *,
        in_properties: Sequence[Labels] | None = None,
    ) -> None:
        super().__init__()
        self.module_map = ModuleMap(in_keys, modules, out_properties, in_properties=in_properties)

    @property
    def in_keys(self) -> Labels:
        """The keys that the layer can take."""
        return self.module_map.in_keys

    @property
    def out_properties(self) -> list[Labels] | None:
        """The properties of the result for each key, if they were given."""
        return self.module_map.out_properties

    def forward(self, tensor: TensorMap) -> TensorMap:
        """The transformed map, with the gradients that the map has."""
        result: TensorMap = self.module_map(tensor)
        return result


class Sequential(Layer):
    """``y = f_n(… f_2(f_1(x)))``: a map that goes through several layers in turn.

    Gradients follow the chain rule, layer by layer.

    Parameters
    ----------
    in_keys
        The keys that the model can take; every layer has them.
    *args
        The layers. The properties of the result are those of the last, those asked of the
        input are those of the first.

    Raises
    ------
    ValueError
        If there is no layer, or if a layer lacks one of the keys.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> from nablatom.nn import Linear, SiLU
    >>> keys = Labels(["center_type"], [[1]])
    >>> model = Sequential(keys, Linear(keys, 2, 8), SiLU(keys), Linear(keys, 8, 1))
    >>> x = TensorBlock(torch.ones(3, 2), Labels.range("atom", 3), [], Labels.range("n", 2))
    >>> model(TensorMap(keys, [x])).block().shape
    (3, 1)
    """

    def __init__(self, in_keys: Labels, *args: Layer | ModuleMap) -> None:
        if not isinstance(in_keys, Labels):
            raise TypeError(f"in_keys must be Labels, got {type(in_keys).__name__}")
        if not args:
            raise ValueError("a sequence needs at least one layer")
        maps = [_module_map(arg) for arg in args]
        places = [_places(in_keys, each.in_keys) for each in maps]
        modules = [
            torch.nn.Sequential(
                *[each.module_list[at[i]] for each, at in zip(maps, places, strict=True)]
            )
            for i in range(len(in_keys))
        ]
        first, last = maps[0].in_properties, maps[-1].out_properties
        super().__init__(
            in_keys,
            modules,
            None if last is None else [last[i] for i in places[-1]],
            in_properties=None if first is None else [first[i] for i in places[0]],
        )


def _module_map(layer: object) -> ModuleMap:
    if isinstance(layer, ModuleMap):
        return layer
    if not isinstance(layer, Layer):
        raise TypeError(
            f"a sequence is made of layers and module maps, got {type(layer).__name__}; "
            "ModuleMap.from_module makes one of a torch module"
        )
    return layer.module_map


def _labels(value: Sequence[Labels] | None, name: str, count: int) -> list[Labels] | None:
    return None if value is None else per_key(value, name, (Labels,), count)


@remembered
def _places(keys: Labels, in_keys: Labels) -> list[int]:
    """The place of the module of each key."""
    places = [in_keys.position(key) for key in keys]
    if None in places:
        missing = keys[places.index(None)].print()
        known = in_line([key.print() for key in in_keys])
        raise KeyError(f"no module for the key {missing}; this layer has {known}")
    return [place for place in places if place is not None]


def _check_arrays(module: torch.nn.Module, block: TensorBlock) -> None:
    values = block.values
    if not isinstance(values, Tensor):
        raise TypeError(
            f"layers take torch values, got {type(values).__name__}: convert the map with "
            '.to(arrays="torch")'
        )
    parameter = _first_parameter(module)
    if parameter is None:
        return
    if parameter.dtype != values.dtype or parameter.device != values.device:
        raise TypeError(
            f"the values are {values.dtype} on {values.device}, the parameters of this layer "
            f"{parameter.dtype} on {parameter.device}: move one of them with .to(…)"
        )


def _first_parameter(module: torch.nn.Module) -> Tensor | None:
    """What ``next(module.parameters())`` gives, without its chain of generators."""
    for parameter in module._parameters.values():
        if parameter is not None:
            return parameter
    for child in module._modules.values():
        if child is not None and (found := _first_parameter(child)) is not None:
            return found
    return None


# -- torch.compile: the whole layer is one step, with its parameters as operands ----------

_alive: WeakValueDictionary[str, ModuleMap] = WeakValueDictionary()


def _named(module: ModuleMap) -> str:
    """A name by which the step finds the module that it stands for."""
    name = uuid.uuid4().hex
    _alive[name] = module
    return name


@tracing.traceable
def _forward(
    tensor: TensorMap,
    name: str,
    training: bool,  # noqa: ARG001  other code for training than for evaluation
    tensors: dict[str, Tensor],
) -> TensorMap:
    result: TensorMap = torch.func.functional_call(_alive[name], tensors, (tensor,))
    return result
