"""Weights of the nequip package for our NequIP: the same numbers in another order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch

from nablatom.models.convolution import Convolution
from nablatom.models.nequip import NequIP
from nablatom.models.zbl import COULOMB

__all__ = ["from_nequip_state"]

_EMBEDDING = "type_embed.embed_module.weight"

# A cutoff may have been stored in single precision.
TOLERANCE = 1e-6
# Follow from the settings.
_CONSTANTS = ("._w3j_", ".output_mask", "._rmax_recip", ".atomic_numbers", "._qqr2exesquare")

State = Mapping[str, torch.Tensor]


def from_nequip_state(state: State, **settings: Any) -> NequIP:
    """The model with the weights of a model of the nequip package, version 0.19.

    Parameters
    ----------
    state
        ``state_dict()`` of what ``NequIPGNNModel`` of that package builds.
    settings
        Arguments of `NequIP` that tell the same model: ``l_max``, ``features``, ``parity`` …

    Raises
    ------
    ValueError
        A weight is missing, of another shape than these settings ask for, or left over:
        names it. The cutoff is another one, or differs between pairs of types. There is a
        repulsion of nuclei and the settings tell of none, or the other way round.
    """
    read = _Reader(state)
    model = NequIP(**settings, dtype=read(_EMBEDDING, None).dtype)
    _check_constants(model, read)
    with torch.no_grad():
        model.embedding.copy_(read(_EMBEDDING, model.embedding.shape))
        frequencies = model.bessel.frequencies
        frequencies.copy_(read("bessel_encode.bessel_weights", (1, len(frequencies)))[0])
        for index, layer in enumerate(model.layers):
            assert isinstance(layer, Convolution)
            _fill(layer, read, f"layer{index}_convnet.conv")
        _fill_perceptron(model.readout.weights, read, "per_atom_energy_readout.mlp_module.mlp")
        for name in ("scales", "shifts"):
            _fill_column(getattr(model.scale_shift, name), read, name)
    read.check_nothing_left()
    return model


def _check_constants(model: NequIP, read: _Reader) -> None:
    """What is no weight, but says what the weights are for."""
    inverse = read("edge_norm._rmax_recip", None)
    if inverse.numel() != 1:
        raise ValueError("cutoffs that differ between pairs of types are not supported")
    if abs(float(inverse) * model.cutoff - 1) > TOLERANCE:
        raise ValueError(
            f"the weights are for a cutoff of {1 / float(inverse):g}, not {model.cutoff:g}"
        )
    prefactor = "pair_potential._qqr2exesquare"
    if (prefactor in read) != (model.repulsion is not None):
        raise ValueError(f"set zbl={prefactor in read}, as in the model that the weights are from")
    if prefactor in read and abs(float(read(prefactor, ())) * 2 / COULOMB - 1) > TOLERANCE:
        raise ValueError("the repulsion of nuclei is not in eV and Å")


class _Reader:
    """Reads tensors by the names they have inside the network, and knows what was read."""

    def __init__(self, state: State) -> None:
        self._state, self._seen = state, set[str]()
        found = [name for name in state if name.endswith(_EMBEDDING)]
        if len(found) != 1:
            raise ValueError(
                f"expected one weight {_EMBEDDING!r}, as in the state of nequip's NequIPGNNModel; "
                f"found {len(found)}"
            )
        self._prefix = found[0].removesuffix(_EMBEDDING)

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._state

    def __call__(self, name: str, shape: tuple[int, ...] | None) -> torch.Tensor:
        if name not in self:
            raise ValueError(f"the state has no weight {self._prefix + name!r}")
        tensor = self._state[self._prefix + name]
        if shape is not None and tuple(tensor.shape) != tuple(shape):
            raise ValueError(
                f"the weight {name!r} has shape {tuple(tensor.shape)}; "
                f"these settings ask for {tuple(shape)}"
            )
        self._seen.add(self._prefix + name)
        return tensor

    def check_nothing_left(self) -> None:
        """Constants aside, all that is in the state was read."""
        left = [
            name
            for name, tensor in self._state.items()
            if name not in self._seen
            and tensor.numel()
            and not any(constant in name for constant in _CONSTANTS)
        ]
        if left:
            raise ValueError(f"these settings have no place for the weights {', '.join(left)}")


def _fill(layer: Convolution, read: _Reader, name: str) -> None:
    """Flat weights of linear maps hold one matrix after the other, irrep by irrep."""
    given = [str(ir) for _, ir in layer.irreps_in]
    asked = [str(ir) for _, ir in layer.gate.irreps_in]
    _fill_flat(layer.before, given, read, f"{name}.linear_1.weight")
    _fill_flat(layer.after, asked, read, f"{name}.linear_2.weight")
    for target, weight in layer.after.items():
        weight.copy_(weight[_message_rows(layer, target)])
    columns = _radial_columns(layer)
    _fill_perceptron(layer.radial.weights, read, f"{name}.edge_mlp.mlp", columns)
    if len(layer.itself):
        kept = [key for key in given if key in layer.itself]
        _fill_flat(layer.itself, kept, read, f"{name}.sc.weight")


def _fill_flat(weights: torch.nn.ParameterDict, order: list[str], read: _Reader, name: str) -> None:
    flat = read(name, (sum(weights[key].numel() for key in order),))
    blocks = flat.split_with_sizes([weights[key].numel() for key in order])
    for key, block in zip(order, blocks, strict=True):
        weights[key].copy_(block.view_as(weights[key]))


def _message_rows(layer: Convolution, target: str) -> torch.Tensor:
    """Where each of our messages stands among theirs, which come by input and harmonic."""
    order = [str(ir) for _, ir in layer.irreps_in]
    return _permutation(
        [
            ((order.index(source), path.l2), size)
            for path in layer.paths
            for source, end, size in zip(path.sources, path.targets, path.sizes, strict=True)
            if end == target
        ]
    )


def _radial_columns(layer: Convolution) -> torch.Tensor:
    """Where each of our radial functions stands among theirs, which come by input first."""
    order = [str(ir) for _, ir in layer.irreps_in]
    return _permutation(
        [
            ((order.index(source), path.l2, path.l3), size)
            for path in layer.paths
            for source, size in zip(path.sources, path.sizes, strict=True)
        ]
    )


def _permutation(blocks: list[tuple[tuple[int, ...], int]]) -> torch.Tensor:
    """Indices that bring blocks which are sorted by these keys into the order given."""
    order = sorted(range(len(blocks)), key=lambda i: blocks[i][0])
    starts = dict(zip(order, accumulate([blocks[i][1] for i in order], initial=0), strict=False))
    return torch.cat(
        [torch.arange(starts[i], starts[i] + size) for i, (_, size) in enumerate(blocks)]
    )


def _fill_perceptron(
    weights: torch.nn.ParameterList,
    read: _Reader,
    name: str,
    columns: torch.Tensor | None = None,
) -> None:
    for layer, weight in enumerate(weights):
        found = read(f"{name}.{2 * layer}.weight", tuple(weight.shape))
        last = layer == len(weights) - 1
        weight.copy_(found[:, columns] if last and columns is not None else found)


def _fill_column(column: torch.Tensor, read: _Reader, name: str) -> None:
    """One number for all types is one for each."""
    name = f"per_type_energy_scale_shift.{name}"
    found = read(name, None) if name in read else column.new_empty(0)
    if found.numel():
        column.copy_(found.expand_as(column))
