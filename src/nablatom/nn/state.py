"""The labels of layers beside their parameters, and both in ``.safetensors`` files."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nablatom.io import atomic
from nablatom.labels import Labels

__all__ = ["Axes", "as_tensor", "assert_same", "from_tensor", "load_state", "save_state"]

_SUFFIX = "_extra_state"


class Axes(NamedTuple):
    """The labels that the parameters of a layer were made for."""

    in_keys: Labels
    in_properties: list[Labels] | None
    out_properties: list[Labels] | None


def as_tensor(axes: Axes) -> Tensor:
    """The labels as text in a tensor of bytes."""
    return _bytes(json.dumps({name: _plain(x) for name, x in axes._asdict().items()}))


def from_tensor(state: Tensor) -> dict[str, Any]:
    """What :func:`as_tensor` wrote, in plain lists."""
    try:
        stored = json.loads(_text(state))
        return {name: stored[name] for name in Axes._fields}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the state holds no labels of a layer ({error!r})") from error


def assert_same(stored: dict[str, Any], axes: Axes) -> None:
    """Raise an error if the labels in a state are not those of the layer."""
    for name, own in axes._asdict().items():
        if stored[name] != _plain(own):
            raise ValueError(
                f"the state was saved with other {name} than this layer has: "
                f"{_difference(stored[name], _plain(own))}"
            )


def save_state(path: str | PathLike[str], module: torch.nn.Module) -> None:
    """Write the parameters, buffers and labels of a model to a ``.safetensors`` file.

    Labels stand as JSON in the metadata of the file. It is written whole or not at all.

    Raises
    ------
    TypeError
        If a layer of the model has a state that is no tensor.

    Examples
    --------
    >>> from nablatom import Labels
    >>> from nablatom.nn import Linear
    >>> keys = Labels(["center_type"], [[1], [8]])
    >>> save_state("model.safetensors", Linear(keys, 4, 2))
    >>> load_state("model.safetensors", Linear(keys, 4, 2))
    """
    from safetensors.torch import save

    tensors, metadata = {}, {"format": "pt"}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is no tensor but {type(value).__name__}: it cannot be saved")
        if name.endswith(_SUFFIX) and value.dtype == torch.uint8:
            metadata[name] = _text(value)
        else:
            tensors[name] = value.detach().contiguous()
    atomic.write(path, [save(tensors, metadata)])


def load_state(path: str | PathLike[str], module: torch.nn.Module) -> None:
    """Read what :func:`save_state` wrote into a model of the same layers.

    Everything is compared before anything is copied: a model is never half loaded.

    Raises
    ------
    ValueError
        If keys or properties of a layer are others than those that were saved, if parameters
        are missing, left over or of another shape, or if the file is no such file.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels
    >>> from nablatom.nn import Linear
    >>> keys = Labels(["center_type"], [[1], [8]])
    >>> trained, fresh = Linear(keys, 4, 2), Linear(keys, 4, 2)
    >>> save_state("model.safetensors", trained)
    >>> load_state("model.safetensors", fresh)
    >>> all(map(torch.equal, fresh.parameters(), trained.parameters()))
    True
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            state = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is no valid .safetensors file: {error}") from error
    state |= {name: _bytes(text) for name, text in metadata.items() if name.endswith(_SUFFIX)}
    try:
        _compare(state, module)
    except ValueError as error:
        error.add_note(f"in {path}")
        raise
    module.load_state_dict(state)


def _compare(state: dict[str, Tensor], module: torch.nn.Module) -> None:
    own = module.state_dict()
    for name in own:
        if name.endswith(_SUFFIX) and name in state:
            place = name.removesuffix(_SUFFIX).rstrip(".")
            try:
                module.get_submodule(place).set_extra_state(state[name])
            except ValueError as error:
                error.add_note(f"in the layer {place or 'itself'}")
                raise
    if missing := own.keys() - state.keys():
        raise ValueError(f"the state lacks {', '.join(sorted(missing))}")
    if others := state.keys() - own.keys():
        raise ValueError(f"the model has no {', '.join(sorted(others))}")
    for name, value in own.items():
        if not name.endswith(_SUFFIX) and value.shape != state[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}, in the state {tuple(state[name].shape)}"
            )


# -- text ------------------------------------------------------------------------------


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _text(tensor: Tensor) -> str:
    return bytes(tensor.cpu().tolist()).decode()


def _plain(labels: Labels | list[Labels] | None) -> Any:
    """Names and entries in plain lists, as JSON has them."""
    if labels is None:
        return None
    if isinstance(labels, Labels):
        return {"names": labels.names, "values": labels.values.tolist()}
    return [_plain(x) for x in labels]


def _difference(stored: Any, own: Any) -> str:
    """The first thing in which labels differ, in words."""
    if stored is None or own is None:
        return f"{_given(stored)} in the state, {_given(own)} here"
    if isinstance(stored, list) and isinstance(own, list):
        if len(stored) != len(own):
            return f"for {len(stored)} keys in the state, for {len(own)} here"
        i = next(i for i in range(len(own)) if stored[i] != own[i])
        return f"for key {i}, {_difference(stored[i], own[i])}"
    if stored["names"] != own["names"]:
        return f"dimensions {stored['names']} in the state, {own['names']} here"
    a, b = stored["values"], own["values"]
    for i, (there, here) in enumerate(zip(a, b, strict=False)):
        if there != here:
            return f"entry {i} is {there} in the state, {here} here"
    return f"{len(a)} entries in the state, {len(b)} here"


def _given(labels: Any) -> str:
    return "not given" if labels is None else "given"
