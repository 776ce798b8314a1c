"""Stored gradients ⇄ autograd: ``attach`` (stored → graph) and ``record`` (graph → stored).

A stored gradient is a Jacobian, row by row. :func:`attach` gives values a backward pass that
multiplies with it, so that energies made from stored descriptors have forces by autograd.
:func:`record` goes the other way: it writes the derivatives that autograd finds into a sparse
gradient block, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, listed_names
from nablatom.tensor import TensorMap

__all__ = ["attach", "record"]


def attach(tensor: TensorMap, **parameters: torch.Tensor | Sequence[torch.Tensor]) -> TensorMap:
    """Values whose backward pass uses the stored gradients, ``dL/dp += sum dL/dx dx/dp``.

    Parameters
    ----------
    tensor
        A map with torch values and a stored gradient for each parameter.
    **parameters
        For each gradient to attach, such as ``positions`` or ``strain``, the torch tensor
        that the values are to depend on: one for each ``system`` of the samples, of shape
        (atoms, 3) for positions and (3, 3) for strain and cell, or, where there is only
        system 0, that tensor itself.

    Returns
    -------
    The same values, in a graph that leads to the parameters; their gradients with respect to
    these parameters now are in the graph and no longer stored. The graph gives first
    derivatives with respect to the parameters; these can be differentiated once more with
    respect to anything that comes after the values, such as the weights of a model.

    Raises
    ------
    TypeError
        If the values are NumPy arrays.
    KeyError
        If there is no stored gradient with respect to a parameter.
    ValueError
        If the shape of a parameter does not fit its gradient.
    RuntimeError
        In a second backward pass that asks for second derivatives with respect to the
        parameters themselves, which are not stored: name the weights that you want
        derivatives for, as in ``loss.backward(inputs=weights)``.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> block = TensorBlock(torch.tensor([[4.0]]), Labels(["system"], [[0]]), [], Labels.single())
    >>> rows, xyz = Labels(["sample", "system", "atom"], [[0, 0, 1]]), Labels.range("xyz", 3)
    >>> slope = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> block.add_gradient("positions", TensorBlock(slope, rows, [xyz], block.properties))
    >>> positions = torch.zeros(2, 3, requires_grad=True)
    >>> attached = attach(TensorMap(Labels.single(), [block]), positions=positions)
    >>> (attached.block().values**2).sum().backward()
    >>> positions.grad
    tensor([[ 0.,  0.,  0.],
            [ 8., 16., 24.]])
    """
    listed = {
        # a view, as the engine tells of a leaf only sometimes whether its gradient is asked for
        name: [x.view_as(x) for x in ([given] if isinstance(given, torch.Tensor) else given)]
        for name, given in parameters.items()
    }
    blocks = [_attached(block, listed) for block in tensor]
    return TensorMap.unchecked(tensor.keys, blocks, tensor.info())


def _attached(block: TensorBlock, parameters: Mapping[str, list[torch.Tensor]]) -> TensorBlock:
    values = block.values
    if not isinstance(values, torch.Tensor):
        raise TypeError(
            f"values must be torch tensors, got {type(values).__name__}: convert the tensor with "
            '.to(arrays="torch")'
        )
    for name, systems in parameters.items():
        gradient = block.gradient(name)
        own = len(gradient.components) - len(block.components)
        rows = _rows_of_parameter(block, gradient, name, systems, own)
        at = [_index(row, values) for row in (gradient.samples.column("sample"), rows)]
        values = _apply(_Attach, values, gradient.values, *at, own, *systems)
    kept = {name: g for name, g in block.gradients() if name not in parameters}
    return TensorBlock.unchecked(values, block.samples, block.components, block.properties, kept)


def _rows_of_parameter(
    block: TensorBlock, gradient: TensorBlock, name: str, systems: list[torch.Tensor], own: int
) -> Rows:
    """For each gradient row, the row of all systems' parameters, one after the other."""
    samples = gradient.samples
    system = _systems(block, gradient)
    if len(system) and system.max() >= len(systems):
        raise ValueError(
            f"{name}: a gradient row belongs to system {system.max()}, but there are tensors for "
            f"{len(systems)} only"
        )
    inner = [dimension for dimension in samples.names[1:] if dimension != "system"]
    shape = [len(component) for component in gradient.components[:own]]
    for i, given in enumerate(systems):
        if given.ndim != len(inner) + own or list(given.shape[len(inner) :]) != shape:
            raise ValueError(
                f"{name}: expected {len(inner)} axes for {inner} followed by {shape} for system "
                f"{i}, got shape {tuple(given.shape)}"
            )
    if not inner:
        return system
    index = samples.column(inner[0]).astype(np.int64)
    sizes = np.array([len(given) for given in systems], np.int64)
    if len(inner) > 1 or (len(index) and bool((index >= sizes[system]).any())):
        raise ValueError(f"{name}: a gradient row names {inner} that the tensors do not have")
    return (np.cumsum(sizes) - sizes)[system] + index


def _systems(block: TensorBlock, gradient: TensorBlock) -> Rows:
    """The system that each gradient row belongs to."""
    if "system" in gradient.samples.names:
        return gradient.samples.column("system").astype(np.int64)
    if "system" in block.samples.names:
        return block.samples.column("system")[gradient.samples.column("sample")].astype(np.int64)
    return np.zeros(len(gradient.samples), np.int64)


def _index(rows: NDArray[np.integer[Any]], like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.array(rows, np.int64), device=like.device)


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> torch.Tensor:
    result: torch.Tensor = function.apply(*inputs)  # type: ignore[no-untyped-call]
    return result


class _Attach(torch.autograd.Function):
    """The values as they are; backward, the cotangents times the stored gradient."""

    @staticmethod
    def forward(values: torch.Tensor, *_: Any) -> torch.Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004
        _, slopes, sample, rows, ctx.own, *systems = inputs
        ctx.save_for_backward(slopes, sample, rows, *systems)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
        slopes, sample, rows, *systems = ctx.saved_tensors
        own = slopes.shape[1 : 1 + ctx.own]
        columns = cotangent[sample].flatten(1)[:, :, None]  # (rows, components * properties, 1)
        each = (slopes.reshape(len(slopes), own.numel(), -1) @ columns)[..., 0]
        lengths = [given.numel() // own.numel() for given in systems]
        total = each.new_zeros(sum(lengths), own.numel()).index_add(0, rows, each)
        total = _apply(_FirstDerivative, total, *systems)
        parts = [
            part.reshape(given.shape)
            for part, given in zip(torch.split(total, lengths), systems, strict=True)
        ]
        return cotangent, None, None, None, None, *parts


class _FirstDerivative(torch.autograd.Function):
    """A first derivative, which refuses to be differentiated by the same parameters again."""

    @staticmethod
    def forward(derivative: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return derivative.view_as(derivative)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
        parameters = [node for node, _ in ctx.next_functions[1:] if node is not None]
        if any(torch._C._will_engine_execute_node(node) for node in parameters):
            raise RuntimeError(
                "second derivatives with respect to attached parameters are not stored; ask only "
                "for what you need, as in loss.backward(inputs=weights) or "
                "torch.autograd.grad(loss, weights)"
            )
        return cotangent, *[None] * len(ctx.next_functions[1:])


# -- autograd → stored -------------------------------------------------------------------

Data = Mapping[str, torch.Tensor]
Quantity = Callable[[Data], torch.Tensor]

_OWN = {
    "positions": [Labels.range("xyz", 3)],
    "strain": [Labels.range("xyz_1", 3), Labels.range("xyz_2", 3)],
    "cell": [Labels.range("abc", 3), Labels.range("xyz", 3)],
}


def record(
    function: Callable[[dict[str, torch.Tensor]], Any],
    systems: Sequence[Data],
    *,
    of: str | None = None,
    wrt: str | Sequence[str] = ("positions",),
    properties: Labels | None = None,
) -> TensorMap:
    """What a torch function gives for each system, with its autograd derivatives stored.

    Parameters
    ----------
    function
        Takes one system, as a dictionary, and returns its quantities: (atoms, properties) for
        a quantity of each atom, or (properties,) for one of the whole system; or a dictionary
        of them, as models do.
    systems
        Dictionaries with ``pos`` (atoms, 3) and, where there is one, ``cell`` (3, 3), rows
        being the cell vectors. They are not changed.
    of
        The name of the quantity, such as ``atomic_energy``, where the function returns a
        dictionary. One row for several atoms is a quantity of the whole system.
    wrt
        Any of ``positions``, ``strain`` and ``cell``.
    properties
        The labels of the quantities; by default they count them, as ``property``.

    Returns
    -------
    A map with one block, of samples ``system, atom`` or ``system``. Of its gradients, those
    rows are stored that are not exactly zero, and the row of an atom itself. It takes one
    backward pass for each quantity; the values are detached.

    Raises
    ------
    TypeError
        If the function returns a dictionary and ``of`` does not say what is meant, or no tensor.
    KeyError
        If there is no quantity of the name ``of``.
    ValueError
        If a parameter is unknown, if there are no systems, if one has no cell to differentiate
        by, or if the function returns other shapes for different systems.

    Examples
    --------
    >>> spring = lambda data: (data["pos"][1] - data["pos"][0]).square().sum()[None]
    >>> ends = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]])
    >>> energy = record(spring, [{"pos": ends}], properties=Labels.range("energy", 1))
    >>> energy.block().gradient("positions").values[:, :, 0]
    tensor([[ 0.,  0., -3.],
            [ 0.,  0.,  3.]])
    """
    wrt = listed_names(wrt)
    for name in wrt:
        if name not in _OWN:
            raise ValueError(
                f"no derivative with respect to {name!r}: choose from {', '.join(_OWN)}"
            )
    if not len(systems):
        raise ValueError(
            "there are no systems to record: the labels of the result would be unknown"
        )
    quantity = _quantity(function, of, systems)
    recorded = [_recorded(quantity, data, wrt, i) for i, data in enumerate(systems)]
    shapes = {(values.ndim, values.shape[-1]) for values, _ in recorded}
    if len(shapes) != 1:
        raise ValueError(f"the function must return the same kind of values, got {sorted(shapes)}")
    ndim, count = shapes.pop()
    if properties is None:
        properties = Labels.range("property", count)
    values = torch.cat([values.reshape(-1, count) for values, _ in recorded])
    samples = _samples([len(values) if ndim == 2 else None for values, _ in recorded])
    block = TensorBlock(values, samples, [], properties)
    offsets = np.cumsum([0, *[values.numel() // count for values, _ in recorded]])
    for name in wrt:
        dense = [derivatives[name] for _, derivatives in recorded]
        block.add_gradient(name, _sparse(dense, offsets, name, properties))
    return TensorMap(Labels.single(), [block])


def _quantity(function: Callable[..., Any], of: str | None, systems: Sequence[Data]) -> Quantity:
    """What the function returns, or the part of it that is meant."""
    if of is None:
        return lambda data: _tensor(function(data))

    def named(data: Data) -> torch.Tensor:
        return _tensor(_named(function(data), of))

    several = next((data for data in systems if len(data["pos"]) > 1), None)
    if several is None or (values := named(several)).ndim != 2 or len(values) > 1:
        return named
    return lambda data: named(data)[0]  # (frames, properties), as the energies of models


def _tensor(returned: object) -> torch.Tensor:
    if not isinstance(returned, torch.Tensor):
        raise TypeError(
            f"the function must return a tensor, got {type(returned).__name__}"
            + ("; say which of its entries with of" if isinstance(returned, Mapping) else "")
        )
    return returned


def _named(returned: object, of: str) -> Any:
    if not isinstance(returned, Mapping):
        raise TypeError(
            f"of={of!r} names an entry of a dictionary, but the function returns "
            f"{type(returned).__name__}"
        )
    if of not in returned:
        raise KeyError(f"no {of!r} in what the function returns: {', '.join(map(str, returned))}")
    return returned[of]


def _recorded(
    function: Quantity,
    data: Data,
    wrt: Sequence[str],
    index: int,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The values of one system, and the derivatives, (*values, *parameter)."""
    if "cell" in wrt and "cell" not in data:
        raise ValueError(f"system {index} has no cell to differentiate by")
    leaves, copy = _with_leaves(data, wrt)
    with torch.enable_grad():
        values = function(copy)
    if values.ndim not in (1, 2):
        raise ValueError(
            f"the function must return (atoms, properties) or (properties,), got shape "
            f"{tuple(values.shape)} for system {index}"
        )
    if values.ndim == 2 and len(values) != len(data["pos"]):
        raise ValueError(
            f"a quantity of each atom has a row for each of the {len(data['pos'])} atoms of system "
            f"{index}, got {len(values)}"
        )
    rows = [
        torch.autograd.grad(
            value,
            list(leaves.values()),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        for value in values.reshape(-1)
    ]
    derivatives = {
        name: torch.stack([row[k] for row in rows]).reshape(*values.shape, *leaf.shape)
        for k, (name, leaf) in enumerate(leaves.items())
    }
    return values.detach(), derivatives


def _with_leaves(
    data: Data, wrt: Sequence[str]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """New leaves for what to differentiate by, and the system that depends on them."""
    if not isinstance(data, Mapping):
        raise TypeError(
            f"systems must be dictionaries of tensors, such as {{'pos': …}}, got "
            f"{type(data).__name__}; nablatom.models.AtomicDataDict.from_ase makes them"
        )
    copy = dict(data)
    leaves = {}
    for name, key in (("positions", "pos"), ("cell", "cell")):
        if name in wrt:
            copy[key] = leaves[name] = data[key].detach().clone().requires_grad_()
    if "strain" in wrt:
        leaves["strain"] = data["pos"].new_zeros(3, 3).requires_grad_()
        for key in ("pos", "cell"):
            if key in copy:
                copy[key] = copy[key] + copy[key] @ leaves["strain"]
    return {name: leaves[name] for name in wrt}, copy


def _samples(atoms: list[int | None]) -> Labels:
    if None in atoms:
        return Labels.range("system", len(atoms))
    rows = [(system, atom) for system, n in enumerate(atoms) for atom in range(n or 0)]
    return Labels(["system", "atom"], np.array(rows, np.int32).reshape(-1, 2))


def _sparse(dense: list[torch.Tensor], offsets: Rows, name: str, properties: Labels) -> TensorBlock:
    """One gradient block from the dense derivatives of every system."""
    samples, values = [], []
    for system, derivative in enumerate(dense):
        ndim = derivative.ndim - len(_OWN[name]) - (1 if name == "positions" else 0)
        own = derivative.movedim(ndim - 1, -1)  # ([atoms], [movers], *own, properties)
        own = own if ndim == 2 else own[None]
        if name != "positions":
            rows = np.arange(len(own))[:, None]
            values.append(own)
        else:
            stored = (own != 0).flatten(2).any(-1).cpu().numpy()
            if ndim == 2:
                np.fill_diagonal(stored, True)
            sample, atom = np.nonzero(stored)
            rows = np.stack([sample, np.full(len(sample), system), atom], axis=1)
            values.append(own[torch.as_tensor(stored, device=own.device)])
        rows[:, 0] += offsets[system]
        samples.append(rows)
    names = ["sample", "system", "atom"] if name == "positions" else ["sample"]
    return TensorBlock(
        torch.cat(values), Labels(names, np.concatenate(samples)), _OWN[name], properties
    )
