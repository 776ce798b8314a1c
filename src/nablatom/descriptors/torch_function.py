"""Calculators as functions of torch tensors: backwards by their own vjp, twice where they can.

The values are those of the calculator. Their derivative is its ``vjp``; the derivative of that by
the cotangents is its ``jvp``, both exact and without stored gradients. The derivative by positions
and cell once more comes from the same formulas in torch (`nablatom.descriptors.torch_twin`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import ase
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablatom.block import TensorBlock
from nablatom.descriptors.torch_twin import twin
from nablatom.systems.atomic_data import CELL_KEY, POSITIONS_KEY, to_ase, unbatched
from nablatom.tensor import TensorMap

__all__ = ["TorchCalculator"]


class Differentiable(Protocol):
    """A calculator with both products with its Jacobian."""

    def __call__(self, structures: Sequence[ase.Atoms], /) -> TensorMap:
        """The values."""

    def vjp(self, structures: Sequence[ase.Atoms], cotangents: TensorMap, /) -> Any:
        """Derivatives by positions, strain and cell."""

    def jvp(self, structures: Sequence[ase.Atoms], tangents: Mapping[str, Any], /) -> TensorMap:
        """Change along a direction."""


class TorchCalculator:
    """A calculator whose values are torch tensors with a graph to positions and cell.

    Called with an atomic data dictionary (of one or many frames), it returns the calculator's
    `TensorMap`, with values of the dtype and on the device of the positions. ``backward`` goes
    to ``pos`` and to ``cell``, where they require gradients, and can be differentiated again:
    forces and stresses of a model on top of a descriptor can be trained on.

    Parameters
    ----------
    calculator
        Any descriptor of `nablatom.descriptors`.
    second_derivatives
        Whether the second time also goes to positions and cell. If not, it goes to the
        cotangents only, which is all that the parameters of a model need and much quicker; what
        is asked of positions and cell is NaN then, never silently left out.

    Examples
    --------
    >>> import torch
    >>> from ase.build import molecule
    >>> from nablatom.descriptors import SoapPowerSpectrum
    >>> from nablatom.models import AtomicDataDict
    >>> data = AtomicDataDict.from_ase(molecule("H2O"))
    >>> data["pos"].requires_grad_()  # doctest: +ELLIPSIS
    tensor([[...
    >>> spectrum = TorchCalculator(SoapPowerSpectrum())(data)
    >>> energy = sum(block.values.square().sum() for block in spectrum.blocks())
    >>> (forces,) = torch.autograd.grad(-energy, data["pos"])
    >>> bool(forces.sum(0).abs().max() < 1e-12 * forces.abs().max())
    True
    """

    def __init__(self, calculator: Differentiable, *, second_derivatives: bool = True) -> None:
        self.calculator = calculator
        self.second_derivatives = second_derivatives

    def __repr__(self) -> str:
        return f"TorchCalculator({self.calculator!r})"

    def __call__(self, data: Mapping[str, Tensor]) -> TensorMap:
        """The tensor of the frames of an atomic data dictionary."""
        positions = data[POSITIONS_KEY]
        frames = _frames(data)
        cell = data.get(CELL_KEY)
        if cell is None:
            cell = positions.new_zeros((len(frames), 3, 3))
        job = _Job(self.calculator, frames, second_derivatives=self.second_derivatives)
        flat = _Values.apply(positions, cell.reshape(-1, 3, 3), job)  # type: ignore[no-untyped-call]
        return job.tensor(flat)


def _frames(data: Mapping[str, Tensor]) -> list[ase.Atoms]:
    detached = {name: value.detach() for name, value in data.items()}
    frames = [to_ase(one) for one in unbatched(detached)]
    return [frame for frame in frames if isinstance(frame, ase.Atoms)]


class _Job:
    """One evaluation: structures, their values, and products with the Jacobian there."""

    def __init__(
        self, calculator: Differentiable, frames: list[ase.Atoms], *, second_derivatives: bool
    ) -> None:
        self.calculator, self.frames = calculator, frames
        self.second_derivatives = second_derivatives
        self.values = calculator(frames)

    def flat(self, tensor: TensorMap, like: Tensor) -> Tensor:
        """All values after each other."""
        parts = [np.asarray(block.values).ravel() for block in tensor.blocks()]
        return torch.as_tensor(np.concatenate([np.zeros(0), *parts]), dtype=like.dtype).to(
            like.device
        )

    def tensor(self, flat: Tensor | NDArray[np.float64]) -> TensorMap:
        """The blocks of all values."""
        sizes = [block.values.size for block in self.values.blocks()]
        split: Sequence[Any] = (
            torch.split(flat, sizes) if isinstance(flat, Tensor) else _split(flat, sizes)
        )
        blocks = [
            TensorBlock.unchecked(
                part.reshape(block.shape), block.samples, block.components, block.properties
            )
            for part, block in zip(split, self.values.blocks(), strict=True)
        ]
        return TensorMap.unchecked(self.values.keys, blocks, self.values.info())

    def pulled(self, cotangents: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives by positions and cells."""
        given = self.tensor(cotangents.detach().cpu().double().numpy())
        found = self.calculator.vjp(self.frames, given)
        return _like(found.positions, cotangents), _like(found.cell, cotangents)

    def pushed(self, positions: Tensor, cell: Tensor) -> Tensor:
        """Change of the values along a direction."""
        tangents = {
            "positions": positions.detach().cpu().double().numpy(),
            "cell": cell.detach().cpu().double().numpy(),
        }
        return self.flat(self.calculator.jvp(self.frames, tangents), positions)

    def curved(
        self, positions: Tensor, cell: Tensor, cotangents: Tensor, directions: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Derivative by positions and cells of the derivative along a direction."""
        if not self.second_derivatives:
            return torch.full_like(positions, torch.nan), torch.full_like(cell, torch.nan)
        leaves = [x.detach().double().requires_grad_() for x in (positions, cell)]
        with torch.enable_grad():
            values = twin(self.calculator, self.values, self.frames, *leaves)
            total = (values * cotangents.detach().double()).sum()
            first = torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True)
            along = sum((g * d.double()).sum() for g, d in zip(first, directions, strict=True))
            if not (isinstance(along, Tensor) and along.requires_grad):
                return torch.zeros_like(positions), torch.zeros_like(cell)
            second = torch.autograd.grad(along, leaves, materialize_grads=True)
        return second[0].to(positions.dtype), second[1].to(cell.dtype)


def _split(flat: NDArray[np.float64], sizes: Sequence[int]) -> list[NDArray[np.float64]]:
    return np.split(flat, np.cumsum(sizes)[:-1])


def _like(array: Any, tensor: Tensor) -> Tensor:
    return torch.as_tensor(array, dtype=tensor.dtype).to(tensor.device)


class _Values(torch.autograd.Function):
    """Positions and cells → all values."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, cell: Tensor, job: _Job) -> Tensor:
        ctx.save_for_backward(positions, cell)
        ctx.job = job
        return job.flat(job.values, positions)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        pulled = _Pulled.apply(*ctx.saved_tensors, cotangents[0], ctx.job)  # type: ignore[no-untyped-call]
        return (*pulled, None)


class _Pulled(torch.autograd.Function):
    """Positions, cells and cotangents → derivatives by positions and cells."""

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, cell: Tensor, cotangents: Tensor, job: _Job
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(positions, cell, cotangents)
        ctx.job = job
        return job.pulled(cotangents)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *directions: Tensor) -> Any:
        positions, cell, cotangents = ctx.saved_tensors
        by_positions = by_cell = by_cotangents = None
        if ctx.needs_input_grad[2]:
            by_cotangents = ctx.job.pushed(*directions)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            by_positions, by_cell = ctx.job.curved(positions, cell, cotangents, directions)
        return by_positions, by_cell, by_cotangents, None
