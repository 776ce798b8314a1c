"""Frames ⇄ batches of frames, and sums over the atoms of each frame.

A frame is one structure; a batch holds several as one graph without edges between them. Its
``batch`` says which frame an atom belongs to; data without ``batch`` is a single frame.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import torch

from nablatom.systems.fields import (
    BATCH_KEY,
    CELL_KEY,
    CHARGE_KEY,
    DIPOLE_KEY,
    EDGE_INDEX_KEY,
    FORCE_KEY,
    HESSIAN_KEY,
    NUM_NODES_KEY,
    PARTIAL_FORCE_KEY,
    PBC_KEY,
    PER_ATOM_ENERGY_KEY,
    POSITIONS_KEY,
    ROWS,
    STRESS_KEY,
    TOTAL_ENERGY_KEY,
    VELOCITIES_KEY,
    VIRIAL_KEY,
    Type,
)

__all__ = [
    "batched",
    "frame_of_atoms",
    "frame_of_edges",
    "num_frames",
    "sum_over_atoms",
    "unbatched",
]

# A frame may lack these while others have them: NaN stands for "not known".
LABELS = (
    PER_ATOM_ENERGY_KEY,
    TOTAL_ENERGY_KEY,
    FORCE_KEY,
    STRESS_KEY,
    VIRIAL_KEY,
    DIPOLE_KEY,
    CHARGE_KEY,
    VELOCITIES_KEY,
)

# As `GradientOutput` names them, for the field that they are taken by.
GRADIENT = re.compile(r"d\(.+\)/d\(([^()]+)\)")

# Of pairs of atoms: so many rows, and as many columns, belong to an atom.
SQUARE = {PARTIAL_FORCE_KEY: 1, HESSIAN_KEY: 3}


def num_frames(data: Type) -> int:
    """Number of frames, frames without atoms included; known from shapes where possible."""
    if NUM_NODES_KEY in data:
        return data[NUM_NODES_KEY].numel()
    if BATCH_KEY not in data:
        return 1
    if CELL_KEY in data and data[CELL_KEY].dim() == 3:
        return len(data[CELL_KEY])
    batch = data[BATCH_KEY]
    return int(batch.max()) + 1 if len(batch) else 0


def frame_of_atoms(data: Type) -> torch.Tensor:
    """The frame that each atom belongs to, (atoms,)."""
    if BATCH_KEY in data:
        return data[BATCH_KEY]
    positions = data[POSITIONS_KEY]
    return torch.zeros(len(positions), dtype=torch.int64, device=positions.device)


def frame_of_edges(data: Type) -> torch.Tensor:
    """The frame that each edge belongs to, (edges,)."""
    return frame_of_atoms(data).index_select(0, data[EDGE_INDEX_KEY][0])


def sum_over_atoms(values: torch.Tensor, data: Type) -> torch.Tensor:
    """Sums over the atoms of each frame, (atoms, k) → (frames, k); zero for an empty frame."""
    if BATCH_KEY not in data:
        return values.sum(0, keepdim=True)
    total = values.new_zeros(num_frames(data), *values.shape[1:])
    return total.index_add(0, data[BATCH_KEY], values)


def batched(frames: Iterable[Type], rows: Mapping[str, str] | None = None) -> Type:
    """One graph of several frames (or batches), in this order.

    Labels (energies, forces, stress …) and velocities that only some of the frames have are NaN
    for the others.

    Parameters
    ----------
    rows
        For fields of your own: whether their rows are ``"atoms"``, ``"edges"`` or ``"frames"``.

    Raises
    ------
    KeyError
        A frame lacks a field that is no label, or a field is not known and not in ``rows``.
    ValueError
        There are no frames.

    Examples
    --------
    >>> import torch
    >>> frame = {"pos": torch.zeros(2, 3)}
    >>> batched([frame, frame])["batch"]
    tensor([0, 0, 1, 1])
    """
    parts = [_explicit(frame) for frame in frames]
    if not parts:
        raise ValueError("no frames to batch: expected at least one")
    keys = list(dict.fromkeys(key for part in parts for key in part))
    known = {**_rows_of(keys), **(rows or {}), BATCH_KEY: "atoms"}
    _check_fields(parts, keys, known)
    atoms = _starts([len(part[POSITIONS_KEY]) for part in parts])
    frame = _starts([len(part[NUM_NODES_KEY]) for part in parts])
    result = {key: _joined(parts, key, known) for key in keys if key in known}
    result[BATCH_KEY] = torch.cat([p[BATCH_KEY] + s for p, s in zip(parts, frame, strict=True)])
    if EDGE_INDEX_KEY in keys:
        shifted = [p[EDGE_INDEX_KEY] + s for p, s in zip(parts, atoms, strict=True)]
        result[EDGE_INDEX_KEY] = torch.cat(shifted, dim=1)
    for key in SQUARE.keys() & set(keys):
        result[key] = _diagonal([part[key] for part in parts])
    return result


def unbatched(data: Type, rows: Mapping[str, str] | None = None) -> list[Type]:
    """The frames of a batch, each as a dictionary of its own.

    Parameters
    ----------
    rows
        For fields of your own: whether their rows are ``"atoms"``, ``"edges"`` or ``"frames"``.

    Raises
    ------
    KeyError
        A field is not known and not in ``rows``.
    """
    data = _explicit(data)
    known = {**_rows_of(data), **(rows or {})}
    _check_fields([data], [key for key in data if key != BATCH_KEY], known)
    return [_frame(data, index, known) for index in range(num_frames(data))]


def _rows_of(keys: Iterable[str]) -> dict[str, str]:
    """What rows belong to; gradients have a row for each of what they are taken by."""
    by = {key: match[1] for key in keys if (match := GRADIENT.fullmatch(key))}
    return {**ROWS, **{key: ROWS[field] for key, field in by.items() if field in ROWS}}


def _explicit(data: Type) -> Type:
    """The data with ``batch``, ``num_atoms`` and the frame axis of cell and periodicity."""
    frame, count = frame_of_atoms(data), num_frames(data)
    result = {**data, BATCH_KEY: frame}
    result[NUM_NODES_KEY] = torch.bincount(frame, minlength=count)
    for key, axes in ((CELL_KEY, 3), (PBC_KEY, 2)):
        if key in data and data[key].dim() < axes:
            result[key] = data[key].expand(count, *data[key].shape)
    return result


def _check_fields(parts: Sequence[Type], keys: Sequence[str], known: Mapping[str, str]) -> None:
    for key in keys:
        if key not in known and key not in (EDGE_INDEX_KEY, *SQUARE):
            raise KeyError(
                f"no rule for the rows of the field {key!r}; say rows={{{key!r}: 'atoms'}} "
                "(or 'edges', 'frames'), or leave the field out"
            )
        missing = [i for i, part in enumerate(parts) if key not in part]
        if missing and key not in LABELS:
            raise KeyError(
                f"frame {missing[0]} has no field {key!r}, which others have; "
                "frames of one batch need the same fields"
            )


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _joined(parts: Sequence[Type], key: str, known: Mapping[str, str]) -> torch.Tensor:
    like = next(part[key] for part in parts if key in part)
    length = {"atoms": POSITIONS_KEY, "frames": NUM_NODES_KEY}.get(known[key], POSITIONS_KEY)
    return torch.cat(
        [
            part[key]
            if key in part
            else like.new_full((len(part[length]), *like.shape[1:]), torch.nan)
            for part in parts
        ]
    )


def _diagonal(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    """(atoms, atoms, *) of a batch, zero between frames."""
    sizes = [len(block) for block in blocks]
    result = blocks[0].new_zeros(sum(sizes), sum(sizes), *blocks[0].shape[2:])
    for block, start in zip(blocks, _starts(sizes), strict=True):
        result[start : start + len(block), start : start + len(block)] = block
    return result


def _frame(data: Type, index: int, known: Mapping[str, str]) -> Type:
    """One frame of a batch whose atoms may stand in any order."""
    here = {
        "atoms": torch.nonzero(data[BATCH_KEY] == index).flatten(),
        "frames": torch.tensor([index], device=data[BATCH_KEY].device),
    }
    if EDGE_INDEX_KEY in data:
        here["edges"] = torch.nonzero(frame_of_edges(data) == index).flatten()
    result = {k: v.index_select(0, here[known[k]]) for k, v in data.items() if k in known}
    if EDGE_INDEX_KEY in data:
        place = torch.empty_like(data[BATCH_KEY])
        place[here["atoms"]] = torch.arange(len(here["atoms"]), device=place.device)
        result[EDGE_INDEX_KEY] = place[data[EDGE_INDEX_KEY].index_select(1, here["edges"])]
    for key in SQUARE.keys() & data.keys():
        each = torch.arange(SQUARE[key], device=here["atoms"].device)
        rows = (here["atoms"][:, None] * SQUARE[key] + each).flatten()
        result[key] = data[key].index_select(0, rows).index_select(1, rows)
    return result
