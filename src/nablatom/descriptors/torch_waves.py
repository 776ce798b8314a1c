"""The field of all atoms of a crystal in torch: the sum over waves of `LodeSphericalExpansion`."""

from collections.abc import Sequence

import ase
import numpy as np
import torch
from torch import Tensor

from nablatom.descriptors.lode import (
    LodeSphericalExpansion,
    center,
    half_space,
    has_mean,
    integrals,
    transform,
)
from nablatom.descriptors.torch_jets import harmonics, jet, length

__all__ = ["fields"]


def fields(
    lode: LodeSphericalExpansion, frames: Sequence[ase.Atoms], positions: Tensor, cell: Tensor
) -> dict[int, Tensor]:
    """Neighbor type → the field around every atom, (atoms, lm, n)."""
    parts = torch.split(positions, [len(frame) for frame in frames])
    elements = np.unique(np.concatenate([frame.numbers for frame in frames])).tolist()
    of_frames = [
        _of_frame(lode, frame, part, own, elements)
        for frame, part, own in zip(frames, parts, cell, strict=True)
    ]
    return {z: torch.cat([found[z] for found in of_frames]) for z in elements}


def _of_frame(
    lode: LodeSphericalExpansion,
    frame: ase.Atoms,
    positions: Tensor,
    cell: Tensor,
    elements: Sequence[int],
) -> dict[int, Tensor]:
    angular, n = lode.max_angular, lode.radial.size
    size = (angular + 1) ** 2
    if len(frame) == 0:
        return {z: positions.new_zeros((0, size, n)) for z in elements}
    l = np.repeat(np.arange(angular + 1), 2 * np.arange(angular + 1) + 1)
    index = positions.new_tensor(half_space(frame.cell.array, lode.longest))
    k = 2 * torch.pi * index @ torch.linalg.inv(cell).T
    r = length(k)
    volume = torch.linalg.det(cell).abs()
    table = integrals(lode.radial, lode.longest, angular)
    radial = jet(r, table).reshape(len(k), -1, n)[:, torch.tensor(l)]
    strength = jet(r, lambda x: transform(lode.density, x))
    sign = positions.new_tensor([1.0, -1.0, -1.0, 1.0])[torch.tensor(l % 4)]
    waves = radial * (strength[:, None] * harmonics(k / r[:, None], angular) * sign)[..., None]
    waves = waves * (8 * torch.pi / volume)  # (waves, lm, n)
    constant = positions.new_zeros(n)
    if has_mean(lode.density):
        zero = float(transform(lode.density, np.zeros(1))[0][0])
        mean = 4 * np.pi * zero * table(np.zeros(1))[0][0, :n] / np.sqrt(4 * np.pi)
        constant = positions.new_tensor(mean) / volume
    own = (lode.center_weight - 1) * center(lode.radial, lode.density)
    cosine, sine = torch.cos(positions @ k.T), torch.sin(positions @ k.T)
    odd = torch.tensor(l % 2 == 1)[:, None]
    found = {}
    for z in elements:
        here = torch.tensor(frame.numbers == z)
        C, S = cosine[here].sum(dim=0), sine[here].sum(dim=0)
        even = torch.einsum("ik,kmn->imn", cosine * C + sine * S, waves)
        field = torch.where(odd, torch.einsum("ik,kmn->imn", sine * C - cosine * S, waves), even)
        scalar = int(here.sum()) * constant + here[:, None] * positions.new_tensor(own)
        found[z] = field + torch.nn.functional.pad(scalar[:, None], (0, 0, 0, size - 1))
    return found
