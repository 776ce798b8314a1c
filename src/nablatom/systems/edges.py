"""Neighbor lists and edge vectors of atomic data, and what a model asks of its input."""

from collections.abc import Mapping, Sequence

import ase
import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from nablatom.systems.batches import frame_of_atoms, frame_of_edges, num_frames
from nablatom.systems.fields import (
    ATOM_TYPE_KEY,
    ATOMIC_NUMBERS_KEY,
    CELL_KEY,
    EDGE_CELL_SHIFT_KEY,
    EDGE_INDEX_KEY,
    EDGE_LENGTH_KEY,
    EDGE_VECTORS_KEY,
    NEIGHBOR_CUTOFF_KEY,
    NODE_ATTRS_KEY,
    PBC_KEY,
    POSITIONS_KEY,
    Type,
)
from nablatom.systems.pairs import neighbor_pairs
from nablatom.systems.structures import check_geometry

__all__ = [
    "check_data",
    "prepared",
    "with_edge_vectors",
    "with_neighbors",
    "with_one_hot_types",
    "with_types",
]


def with_neighbors(data: Type, cutoff: float) -> Type:
    """The data with all edges shorter than the cutoff, sorted by center; older ones go.

    Any periodicity, any cell (skewed, left-handed, smaller than the cutoff), every image.

    Parameters
    ----------
    cutoff
        Å.

    Raises
    ------
    ValueError
        The cutoff is not positive, or a frame has a position or cell that is not finite, or
        is periodic along a cell vector of no length.

    Examples
    --------
    >>> import torch
    >>> line = {"pos": torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.5]])}
    >>> with_neighbors(line, 2.0)["edge_index"]
    tensor([[0, 1, 1, 2],
            [1, 0, 2, 1]])
    """
    frame = frame_of_atoms(data).cpu().numpy()
    atoms = [np.flatnonzero(frame == index) for index in range(num_frames(data))]
    pairs = neighbor_pairs([_geometry(data, i, rows) for i, rows in enumerate(atoms)], cutoff)
    first = np.cumsum([0, *map(len, atoms)])[pairs.system]
    order = np.concatenate([np.empty(0, np.int64), *atoms])
    index = np.stack([order[first + pairs.center], order[first + pairs.neighbor]])
    positions = data[POSITIONS_KEY]
    kept = {k: v for k, v in data.items() if k not in (EDGE_VECTORS_KEY, EDGE_LENGTH_KEY)}
    return {
        **kept,
        EDGE_INDEX_KEY: torch.as_tensor(index, device=positions.device),
        EDGE_CELL_SHIFT_KEY: torch.as_tensor(pairs.shift).to(positions),
        NEIGHBOR_CUTOFF_KEY: torch.full(
            (len(atoms),), cutoff, dtype=torch.float64, device=positions.device
        ),
    }


def with_edge_vectors(data: Type) -> Type:
    """The data with ``edge_vectors`` and ``edge_lengths``, differentiable in what they come from.

    ``v = pos[neighbor] - pos[center] + shift @ cell``. Edge vectors that are there already are
    kept, and the lengths are theirs: put your own leaf there to differentiate by it.

    Returns
    -------
    The same fields and ``edge_vectors`` (edges, 3), ``edge_lengths`` (edges, 1). The length of
    a zero vector has zero derivatives of any order.

    Raises
    ------
    KeyError
        There are no edges in the data, or none that say which image of a periodic frame they
        lead to.
    """
    vectors = data[EDGE_VECTORS_KEY] if EDGE_VECTORS_KEY in data else _edge_vectors(data)
    square = (vectors * vectors).sum(-1, keepdim=True)
    apart = square > 0
    # Masked before the root: its slope at zero is infinite.
    lengths = torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)
    return {**data, EDGE_VECTORS_KEY: vectors, EDGE_LENGTH_KEY: lengths}


def with_types(data: Type, types: Sequence[str]) -> Type:
    """The data with ``atom_types``, the index of each atom's element among the types.

    Types that are there already are kept, once it is sure that they mean the same elements.

    Raises
    ------
    KeyError
        The data has neither types nor atomic numbers.
    ValueError
        An element is not among the types, or a type stands for another element than the atomic
        number, or is out of range: names the atom and the frame.
    """
    if ATOM_TYPE_KEY in data:
        if not _traced():
            _check_types(data, types)
        return data
    if ATOMIC_NUMBERS_KEY not in data:
        raise KeyError("the data has no field 'atom_types', and no 'atomic_numbers' to make it of")
    numbers = data[ATOMIC_NUMBERS_KEY]
    table = torch.full((len(chemical_symbols),), -1, dtype=torch.int64, device=numbers.device)
    for index, symbol in enumerate(types):
        table[atomic_numbers[symbol]] = index
    found = {**data, ATOM_TYPE_KEY: table[numbers]}
    if not _traced():
        _check_types(found, types)
    return found


def with_one_hot_types(data: Type, types: Sequence[str]) -> Type:
    """The data with ``atom_types`` and, as ``node_attrs``, a one in the column of each type.

    Returns
    -------
    The same fields, and these; ``node_attrs`` is (atoms, types), in the precision of the
    positions.

    Raises
    ------
    KeyError, ValueError
        As `with_types`.

    Examples
    --------
    >>> import torch
    >>> water = {"pos": torch.zeros(3, 3), "atomic_numbers": torch.tensor([8, 1, 1])}
    >>> with_one_hot_types(water, ["H", "O"])["node_attrs"]
    tensor([[0., 1.],
            [1., 0.],
            [1., 0.]])
    """
    data = with_types(data, types)
    columns = torch.arange(len(types), device=data[ATOM_TYPE_KEY].device)
    ones = data[ATOM_TYPE_KEY].reshape(-1, 1) == columns
    return {**data, NODE_ATTRS_KEY: ones.to(data[POSITIONS_KEY].dtype)}


def check_data(data: object) -> None:
    """Refuse what is no dictionary of tensors, such as a structure.

    Raises
    ------
    TypeError
        Says what came instead, and what makes atomic data of a structure.

    Examples
    --------
    >>> from ase.build import molecule
    >>> check_data(molecule("H2"))
    Traceback (most recent call last):
    TypeError: expected atomic data, a dictionary of tensors, got Atoms; make it with
    AtomicDataDict.from_ase(structure, cutoff=model.cutoff)
    """
    if not isinstance(data, Mapping):
        raise TypeError(
            f"expected atomic data, a dictionary of tensors, got {type(data).__name__}; make it "
            "with AtomicDataDict.from_ase(structure, cutoff=model.cutoff)"
        )


def prepared(data: Type, *, cutoff: float, types: Sequence[str]) -> Type:
    """The data as a model reads it: with types, edge vectors and lengths, and checked.

    Values are looked at in eager mode only; nothing is checked while a graph is traced.

    Raises
    ------
    KeyError
        A field is missing: says which, and what makes it.
    ValueError
        The neighbor list ends before the cutoff of the model, a position or a cell is not
        finite, or an element is not one of the model's.
    """
    if not _traced():
        check_data(data)
    for key in (POSITIONS_KEY, EDGE_INDEX_KEY):
        if key not in data:
            raise KeyError(
                f"the data has no field {key!r}, which the model reads; make it with "
                f"from_ase(structure, cutoff={cutoff}) or with_neighbors(data, {cutoff})"
            )
    if not _traced():
        _check_finite(data)
        if NEIGHBOR_CUTOFF_KEY in data:
            _check_reach(data[NEIGHBOR_CUTOFF_KEY], cutoff)
    return with_edge_vectors(with_types(data, types))


def _geometry(data: Type, index: int, atoms: NDArray[np.int64]) -> ase.Atoms:
    """One frame as far as neighbors go, checked."""
    positions = data[POSITIONS_KEY].detach().cpu().numpy()[atoms].astype(np.float64)
    pbc = _of_frame(data, PBC_KEY, index, (3,))
    cell = _of_frame(data, CELL_KEY, index, (3, 3))
    numbers = np.zeros(len(atoms), dtype=np.int64)
    structure = ase.Atoms(numbers=numbers, positions=positions, cell=cell, pbc=pbc > 0)
    try:
        check_geometry(structure)
    except ValueError as error:
        raise ValueError(f"frame {index}: {error}") from None
    return structure


def _of_frame(data: Type, key: str, index: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The row of a frame; zero where there is no such field."""
    if key not in data:
        return np.zeros(shape)
    values = data[key].detach().cpu().numpy().astype(np.float64).reshape(-1, *shape)
    return values[index if len(values) > 1 else 0]


def _edge_vectors(data: Type) -> torch.Tensor:
    if EDGE_INDEX_KEY not in data:
        raise KeyError(
            "the data has no field 'edge_index' to make edge vectors from; "
            "make it with with_neighbors(data, cutoff)"
        )
    positions, (center, neighbor) = data[POSITIONS_KEY], data[EDGE_INDEX_KEY]
    # index_select: its backward pass is an index_add, several times faster than indexing's.
    vectors = positions.index_select(0, neighbor) - positions.index_select(0, center)
    if EDGE_CELL_SHIFT_KEY not in data and PBC_KEY in data and not _traced():
        _check_open(data[PBC_KEY])
    if CELL_KEY not in data or EDGE_CELL_SHIFT_KEY not in data:
        return vectors
    shift, cell = data[EDGE_CELL_SHIFT_KEY].to(vectors.dtype), data[CELL_KEY].reshape(-1, 3, 3)
    if len(cell) == 1:
        return vectors + shift @ cell[0]
    return vectors + torch.einsum("ea,eab->eb", shift, cell.index_select(0, frame_of_edges(data)))


def _traced() -> bool:
    """Whether values are not there to be looked at."""
    if torch.compiler.is_compiling():
        return True
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return get_proxy_mode() is not None


def _true(flag: torch.Tensor) -> bool:
    """Whether a flag is set; not, if it is one of many under vmap, which have no one value."""
    try:
        return bool(flag)
    except RuntimeError:
        return False


def _check_open(pbc: torch.Tensor) -> None:
    if _true(pbc.any()):
        raise KeyError(
            "the data has no field 'edge_cell_shift', without which edges of periodic frames do "
            "not say to which image they lead; make it with with_neighbors(data, cutoff)"
        )


def _check_finite(data: Type) -> None:
    positions = data[POSITIONS_KEY].detach()
    if _true(~positions.isfinite().all()):
        atom = int(torch.nonzero(~positions.isfinite())[0, 0])
        frame, number = _place(data, atom)
        raise ValueError(
            f"frame {frame}: the position of atom {number} is "
            f"{positions[atom].tolist()}; expected three finite numbers"
        )
    if CELL_KEY in data and _true(~data[CELL_KEY].detach().isfinite().all()):
        raise ValueError(f"the cell is {data[CELL_KEY].tolist()}; expected finite numbers")


def _check_types(data: Type, types: Sequence[str]) -> None:
    indices = data[ATOM_TYPE_KEY].flatten()
    wrong = (indices < 0) | (indices >= len(types))
    numbers = data.get(ATOMIC_NUMBERS_KEY)
    if numbers is not None:
        own = torch.tensor([atomic_numbers[symbol] for symbol in types], device=indices.device)
        wrong = wrong | (own[indices.clamp(0, len(types) - 1)] != numbers.flatten())
    if not _true(wrong.any()):
        return
    atom = int(torch.nonzero(wrong)[0])
    frame, number = _place(data, atom)
    index = int(indices[atom])
    element = "" if numbers is None else f" ({chemical_symbols[int(numbers.flatten()[atom])]})"
    if index >= 0:
        raise ValueError(
            f"frame {frame}: atom {number}{element} is of type {index}, but the types are "
            f"{_numbered(types)}; leave 'atom_types' out, or make it with these types"
        )
    raise ValueError(
        f"frame {frame}: atom {number}{element} is of an element that the model does not know; "
        f"its types are {', '.join(types)}"
    )


def _place(data: Type, atom: int) -> tuple[int, int]:
    """The frame of an atom of a batch, and its number there."""
    frames = frame_of_atoms(data)
    return int(frames[atom]), int((frames[:atom] == frames[atom]).sum())


def _numbered(types: Sequence[str]) -> str:
    return ", ".join(f"{index} {symbol}" for index, symbol in enumerate(types))


def _check_reach(reach: torch.Tensor, cutoff: float) -> None:
    short = torch.nonzero(reach.flatten() < cutoff * (1 - 1e-12))
    if len(short):
        frame = int(short[0])
        raise ValueError(
            f"frame {frame} has neighbors within {float(reach.flatten()[frame]):g} Å, but the "
            f"model reaches {cutoff:g} Å; make them with with_neighbors(data, {cutoff:g})"
        )
