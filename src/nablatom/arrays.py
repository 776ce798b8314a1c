"""What array libraries spell differently, once; array-api-compat does the rest.

Nothing else in the library asks which library an array belongs to.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Columns",
    "add_columns",
    "add_rows",
    "add_rows_of",
    "column",
    "columns",
    "constant",
    "contiguous",
    "copied",
    "detached",
    "dtype_name",
    "einsum",
    "filled",
    "imported",
    "in_pieces",
    "is_array",
    "is_contiguous",
    "is_small",
    "larger",
    "lstsq",
    "move",
    "namespace",
    "part",
    "permuted",
    "pieces",
    "pinned",
    "place_rows",
    "precision",
    "product",
    "rows_of",
    "rowwise",
    "same_values",
    "sigmoid",
    "sign",
    "smaller",
    "stack",
    "take",
    "take_both",
    "to_numpy",
    "total",
    "transposed",
    "uniform",
    "with_graph",
]

Array = Any
"""An array of any library: NumPy, torch, …"""

Rows = NDArray[np.signedinteger[Any]]
"""Indices of rows."""


def namespace(array: Array) -> ModuleType:
    """The functions for this array: ``numpy`` itself, or the array-API view of its library."""
    if isinstance(array, np.ndarray):
        return np
    from array_api_compat import array_namespace  # NumPy alone does not need it

    found: ModuleType = array_namespace(array)
    return found


def _torch() -> ModuleType | None:
    """torch, if somebody has imported it: without it, no array can be a tensor."""
    return sys.modules.get("torch")


def _is_tensor(array: Array) -> bool:
    torch = _torch()
    return torch is not None and isinstance(array, torch.Tensor)


def is_array(value: object) -> bool:
    """Whether this is an array of some library, rather than a number or a list."""
    return (
        isinstance(value, np.ndarray) or hasattr(value, "__array_namespace__") or _is_tensor(value)
    )


def to_numpy(array: Array) -> Array:
    """The same numbers in NumPy, on the CPU; lists and NumPy arrays pass through."""
    if not _is_tensor(array):
        return array
    on_cpu = array.detach().cpu().resolve_conj().resolve_neg()
    try:
        return on_cpu.numpy()
    except TypeError:
        raise TypeError(
            f"NumPy has no {dtype_name(array)}; convert the values first, for example with "
            ".to(dtype=torch.float32)"
        ) from None


def dtype_name(array: Array) -> str:
    """The dtype without its library: ``float64`` for NumPy and torch alike."""
    return str(array.dtype).removeprefix("torch.")


def move(
    array: Array, *, dtype: Any = None, device: Any = None, arrays: str | None = None
) -> Array:
    """The array with another dtype, on another device, in ``"numpy"`` or ``"torch"``."""
    if arrays not in (None, "numpy", "torch"):
        raise ValueError(f'arrays must be "numpy" or "torch", got {arrays!r}')
    if arrays == "numpy":
        array = to_numpy(array)
    elif arrays == "torch" and not _is_tensor(array):
        import torch

        array = torch.from_numpy(np.asarray(array))
    if isinstance(array, np.ndarray):
        if device not in (None, "cpu"):
            raise ValueError(f'NumPy arrays live on the CPU; add arrays="torch" for {device!r}')
        return array if dtype is None else array.astype(_numpy_dtype(dtype), copy=False)
    return array.to(dtype=None if dtype is None else _torch_dtype(dtype), device=device)


def _numpy_dtype(dtype: Any) -> Any:
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"a dtype of NumPy is needed for NumPy arrays, such as numpy.float64, got {dtype!r}"
        ) from None


def _torch_dtype(dtype: Any) -> Any:
    torch = _torch()
    assert torch is not None
    if not isinstance(dtype, torch.dtype):
        raise TypeError(
            f"a dtype of torch is needed for its tensors, such as torch.float64, got {dtype!r}"
        )
    return dtype


def imported(array: Any, library: str) -> Array:
    """An array of ``"numpy"`` or ``"torch"`` that shares memory with one that speaks DLPack."""
    if library == "numpy":
        return np.from_dlpack(array)
    if library != "torch":
        raise ValueError(f'the library must be "numpy" or "torch", got {library!r}')
    from torch.utils import dlpack

    return dlpack.from_dlpack(array)


def precision(array: Array) -> float:
    """The distance from 1 to the next number of the same dtype."""
    return _precision(array.dtype if isinstance(array, np.ndarray) else dtype_name(array))


@cache
def _precision(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def filled(shape: Sequence[int], value: float, like: Array) -> Array:
    """A new array full of one value, with the dtype and device of another."""
    if isinstance(like, np.ndarray):
        # zeros come straight from the system, untouched until somebody writes to them
        return np.zeros(shape, like.dtype) if value == 0 else np.full(shape, value, like.dtype)
    return like.new_full(tuple(shape), value)


def constant(numbers: NDArray[Any], like: Array) -> Array:
    """NumPy numbers as an array of the library, dtype and device of another."""
    if _is_tensor(like):
        torch = _torch()
        assert torch is not None
        # torch does not take read-only arrays
        numbers = np.require(numbers, requirements="W")
        return torch.as_tensor(numbers, dtype=like.dtype, device=like.device)
    return numbers.astype(like.dtype, copy=False)


def pinned(array: Array) -> Array:
    """The same numbers where a GPU can fetch them; NumPy arrays stay where they are."""
    return array.pin_memory() if _is_tensor(array) else array


def copied(array: Array) -> Array:
    """An independent copy, in the same graph where there is one."""
    return array.clone() if _is_tensor(array) else array.copy()


def detached(array: Array) -> Array:
    """The same numbers, sharing memory, outside of any graph."""
    return array.detach() if _is_tensor(array) else array


def with_graph(array: Array) -> Array:
    """The same numbers, sharing memory, with a graph that starts here unless they have one."""
    if not _is_tensor(array):
        raise ValueError(
            'NumPy arrays record no gradients; move the tensor first: .to(arrays="torch")'
        )
    return array if array.requires_grad else array.detach().requires_grad_(True)


def is_contiguous(array: Array) -> bool:
    """Whether the numbers stand in memory in the order of the axes, without gaps."""
    return array.is_contiguous() if _is_tensor(array) else array.flags.c_contiguous


def contiguous(array: Array) -> Array:
    """The array itself if it is contiguous, or else a contiguous copy."""
    return array.contiguous() if _is_tensor(array) else np.ascontiguousarray(array)


def uniform(generator: Any = None) -> Callable[[Array], Array]:
    """What makes arrays like others, of random numbers evenly spread between 0 and 1.

    ``generator`` is one of NumPy, or, for torch, one of torch. Without one, NumPy makes a new
    one and torch takes its global one.
    """
    numbers = generator if isinstance(generator, np.random.Generator) else None

    def filled_with_numbers(like: Array) -> Array:
        nonlocal numbers
        if not _has_fractions(like):
            name = dtype_name(like)
            raise TypeError(f"random numbers are not integers, but the values are {name}")
        if numbers is None and _is_tensor(like):
            torch = _torch()
            assert torch is not None
            shape, dtype = like.shape, like.dtype
            return torch.rand(shape, generator=generator, dtype=dtype, device=like.device)
        if numbers is None:
            if generator is not None:
                kind = type(generator).__name__
                raise TypeError(f"NumPy needs a numpy.random.Generator, got {kind}")
            numbers = np.random.default_rng()
        return constant(numbers.random(tuple(like.shape)), like)

    return filled_with_numbers


def _has_fractions(array: Array) -> bool:
    if _is_tensor(array):
        return array.is_floating_point() or array.is_complex()
    return array.dtype.kind in "fc"


def same_values(a: Array, b: Array) -> bool:
    """Whether shape, dtype and every number agree."""
    if type(a) is not type(b) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    return all(bool((rows_of(a, rows) == rows_of(b, rows)).all()) for rows in pieces(a))


def _index(rows: Rows | slice, like: Array) -> Any:
    """Rows in the form that indexes this array."""
    if isinstance(rows, slice) or not _is_tensor(like):
        return rows
    torch = _torch()
    assert torch is not None
    # torch takes neither read-only arrays nor those that run backwards, even with one entry
    if not rows.flags.writeable or rows.dtype != np.int64 or rows.strides[0] != rows.itemsize:
        rows = np.array(rows, np.int64, order="C")
    return torch.as_tensor(rows, device=like.device)


def take(array: Array, rows: Rows, axis: int = 0) -> Array:
    """The given entries of one axis."""
    if isinstance(array, np.ndarray):
        if axis == 0 and array.size > _LARGE and isinstance(where := _as_slice(rows), slice):
            return array[where].copy()
        return array.take(rows, axis=axis)
    return array.index_select(axis, _index(rows, array))


def part(array: Array, rows: Rows, axis: int = 0) -> Array:
    """The given entries of one axis: a view where they are evenly spaced, else a copy."""
    step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if step < 1 or bool((np.diff(rows) != step).any()):
        return take(array, rows, axis)
    evenly = slice(int(rows[0]), int(rows[-1]) + 1, step) if len(rows) else slice(0)
    return array[(slice(None),) * (axis % array.ndim) + (evenly,)]


def place_rows(array: Array, rows: Rows, length: int, *, fill: float = 0.0, axis: int = 0) -> Array:
    """An array with ``array`` at these entries of one axis and ``fill`` at the others."""
    shape = list(array.shape)
    shape[axis] = length
    out = filled(shape, fill, array)
    if _is_tensor(array):
        return out.index_copy(axis, _index(rows, array), array)
    out[(slice(None),) * (axis % array.ndim) + (rows,)] = array
    return out


def transposed(matrix: Array) -> Array:
    """A matrix with its two axes exchanged."""
    return matrix.T


def permuted(array: Array, order: tuple[int, ...]) -> Array:
    """The same numbers with the axes in another order."""
    return array.permute(order) if _is_tensor(array) else array.transpose(order)


def add_rows(array: Array, rows: Rows, length: int, factors: Array | None = None) -> Array:
    """``out[rows[i]] += factors[i] array[i]`` into ``length`` rows of zeros."""
    shape = (length, *array.shape[1:])
    if _is_tensor(array):
        array = array if factors is None else array * column(factors, array)
        return array.new_zeros(shape).index_add(0, _index(rows, array), array)
    if array.size > _LARGE and array.dtype.char in "fdFD":
        return _add_many_rows(array, rows, length, factors)
    array = array if factors is None else array * column(factors, array)
    out = np.zeros(shape, array.dtype)
    np.add.at(out, rows, array)
    return out


def _add_many_rows(array: Array, rows: Rows, length: int, factors: Array | None) -> Array:
    """The same as a sparse matrix of factors times the rows, which reads each row once."""
    from scipy.sparse import csr_array

    order = np.argsort(rows, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=length))])
    entries = np.ones(len(rows), array.dtype) if factors is None else factors[order]
    sums = csr_array((entries, order, starts), shape=(length, len(rows)))
    return (sums @ array.reshape(len(array), -1)).reshape(length, *array.shape[1:])


def add_rows_of(
    function: Callable[[Rows | slice], Array],
    rows: Rows,
    length: int,
    like: Array,
    out: Array | None = None,
) -> Array:
    """``out[rows[i]] += function(some)[i]``, large NumPy arrays in pieces that stay in the cache.

    ``function`` takes a slice of rows, or their indices, of arrays as large as ``like``. ``out``
    is nobody else's, or a new array of zeros.
    """
    if is_small(like):
        added = add_rows(function(slice(None)), rows, length)
        return added if out is None else out + added
    order = None if bool((rows[1:] >= rows[:-1]).all()) else np.argsort(rows, kind="stable")
    size = _PIECE // max(1, like.nbytes // len(like)) + 1
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        values = function(piece if order is None else order[piece])
        at = rows[piece] if order is None else rows[order[piece]]
        low, high = int(at[0]), int(at[-1]) + 1
        if out is None:
            out = np.zeros((length, *values.shape[1:]), values.dtype)
        out[low:high] += add_rows(values, at - low, high - low)
    return out


def column(numbers: Array, like: Array) -> Array:
    """One number for each row of another array, in a shape that goes with it."""
    return numbers.reshape((-1, *[1] * (like.ndim - 1)))


def rows_of(array: Array, rows: Rows | slice) -> Array:
    """Some rows: the array or a view of it for a slice, or else a copy."""
    if not isinstance(rows, slice):
        return take(array, rows)
    return array if rows == slice(None) else array[rows]


def einsum(subscripts: str, *operands: Array) -> Array:
    """Products summed over axes, in the notation of ``numpy.einsum``."""
    if not _is_tensor(operands[0]):
        return np.einsum(subscripts, *operands)
    torch = _torch()
    assert torch is not None
    return torch.einsum(subscripts, *operands)


def sign(array: Array) -> Array:
    """-1, 0 or 1 for each entry; NaN stays."""
    if not _is_tensor(array):
        return np.sign(array)
    torch = _torch()
    assert torch is not None
    return torch.where(array == array, array.sign(), array)


def sigmoid(array: Array) -> Array:
    """``1 / (1 + e^-x)``, without overflow."""
    if _is_tensor(array):
        return array.sigmoid()
    from scipy.special import expit

    return expit(array)


def lstsq(a: Array, b: Array, rcond: float | None, driver: str | None) -> Array:
    """The least-squares solution ``x`` of ``a x = b``; of several, the one of least norm."""
    if not a.shape[0]:
        return filled((a.shape[1], b.shape[1]), 0, a)
    if isinstance(a, np.ndarray):
        return np.linalg.lstsq(a, b, rcond)[0]
    torch = _torch()
    assert torch is not None
    if driver is None and a.device.type == "cpu":
        driver = "gelsd"  # as NumPy; torch's own choice does not look for the least norm
    return torch.linalg.lstsq(a, b, rcond=rcond, driver=driver).solution


def larger(array: Array, bound: float) -> Array:
    """The larger of each entry and a number; in a graph, equal ones have no slope."""
    if not _is_tensor(array):
        return np.maximum(array, bound)
    torch = _torch()
    assert torch is not None
    return torch.where(array <= bound, bound, array)


def smaller(array: Array, bound: float) -> Array:
    """The smaller of each entry and a number; in a graph, equal ones have no slope."""
    return -larger(-array, -bound) if _is_tensor(array) else np.minimum(array, bound)


class Columns(NamedTuple):
    """Which columns go together: in order of their group, and where each group starts."""

    length: int
    order: Rows | None
    """None if they are in order."""
    starts: Rows


def columns(places: Rows, length: int) -> Columns:
    """A plan for :func:`add_columns`: column ``i`` goes to ``places[i]``, each gets some."""
    order = np.argsort(places, kind="stable")
    count = np.bincount(places, minlength=length)
    in_order = bool((places[1:] >= places[:-1]).all())
    return Columns(length, None if in_order else order, np.cumsum(count) - count)


def add_columns(array: Array, places: Rows, plan: Columns) -> Array:
    """``out[..., places[i]] += array[..., i]``."""
    if _is_tensor(array):
        shape = (*array.shape[:-1], plan.length)
        return array.new_zeros(shape).index_add(-1, _index(places, array), array)
    if plan.length == 1:
        return array.sum(axis=-1, keepdims=True)
    if plan.length == 0:
        return np.zeros((*array.shape[:-1], 0), array.dtype)
    if plan.order is None:
        return np.add.reduceat(array, plan.starts, axis=-1)
    return rowwise(
        lambda rows, out: np.add.reduceat(
            array[rows].take(plan.order, -1), plan.starts, axis=-1, out=out
        ),
        len(array),
        array,
    )


def rowwise(function: Callable[[slice, Array | None], Array], rows: int, like: Array) -> Array:
    """``function(all rows, None)``; for large NumPy arrays in pieces that stay in the cache.

    ``function`` takes a slice of the rows and, where there is already a place for its result,
    that place, which it may fill and return.
    """
    piece = rows if is_small(like) else _PIECE // (like.nbytes // len(like)) + 1
    if rows <= 2 * piece:
        return function(slice(0, rows), None)
    first = function(slice(0, piece), None)
    out = np.empty((rows, *first.shape[1:]), first.dtype)
    out[:piece] = first
    for start in range(piece, rows, piece):
        place = out[start : start + piece]
        result = function(slice(start, start + piece), place)
        if result is not place:
            place[...] = result
    return out


def pieces(array: Array) -> list[slice]:
    """Consecutive rows that stay in the cache; all of them for what is small."""
    if is_small(array):
        return [slice(None)]
    size = _PIECE // max(1, array.nbytes // max(1, len(array))) + 1
    return [slice(start, start + size) for start in range(0, len(array), size)]


def in_pieces(function: Callable[..., Array], *operands: Array) -> Array:
    """``function(*operands)``, which works row by row and makes little on the way like this."""
    if is_small(operands[0]):
        return function(*operands)
    return rowwise(
        lambda rows, _: function(*[x[rows] for x in operands]), len(operands[0]), operands[0]
    )


def take_both(array: Array, rows: Rows, columns: Rows) -> Array:
    """The given entries of the first axis and of the last one."""
    if is_small(array):
        return take(take(array, rows), columns, -1)
    return rowwise(lambda part, _: take(take(array, rows[part]), columns, -1), len(rows), array)


def is_small(array: Array) -> bool:
    """Whether there is nothing to gain from pieces: all of it fits in the cache."""
    return not isinstance(array, np.ndarray) or array.nbytes <= 2 * _PIECE


def total(a: Array, b: Array, out: Array | None) -> Array:
    """``a + b``, in its place if there is one for it."""
    return a + b if out is None else np.add(a, b, out=out)


def product(a: Array, b: Array, out: Array | None) -> Array:
    """``a b``, in its place if there is one for it."""
    return a * b if out is None else np.multiply(a, b, out=out)


# Beyond this many numbers a sparse product beats adding row by row.
_LARGE = 1 << 14
# Bytes of one operand in a piece: a few such temporaries fit in the cache of one core, and a piece
# is long enough to hide the cost of calling NumPy.
_PIECE = 1 << 20


def stack(
    parts: Sequence[Array],
    rows: Sequence[Rows],
    columns: Sequence[Rows],
    shape: tuple[int, int],
    *,
    fill: float,
    axis: str,
) -> Array:
    """One array of ``shape`` (first and last axis) with each part at its rows and columns.

    The parts meet in no entry: along ``axis="samples"`` they have different rows, along
    ``axis="properties"`` different columns. Entries that no part has are ``fill``.
    """
    whole = (shape[0], *parts[0].shape[1:-1], shape[1])
    if not _is_tensor(parts[0]):
        covered = sum(part.size for part in parts) == math.prod(whole)
        out = np.empty(whole, parts[0].dtype) if covered else filled(whole, fill, parts[0])
        at = [
            (_as_slice(row), _as_slice(column)) for row, column in zip(rows, columns, strict=True)
        ]
        whole_rows = slice(0, len(out))
        if all(isinstance(row, slice) and row == whole_rows for row, _ in at):
            _place_side_by_side(out, parts, at)
        else:
            for part, (row, column) in zip(parts, at, strict=True):
                _place(out, part, row, column)
        return out
    stacked, places, other, length = (0, rows, columns, shape)
    if axis == "properties":
        stacked, places, other, length = -1, columns, rows, shape[::-1]
    wide = [
        place_rows(part, place, length[1], fill=fill, axis=-1 - stacked)
        for part, place in zip(parts, other, strict=True)
    ]
    joined = namespace(parts[0]).concat(wide, axis=stacked)
    return place_rows(joined, np.concatenate(places), length[0], fill=fill, axis=stacked)


Place = Rows | slice


def _place(out: Array, part: Array, row: Place, column: Place) -> None:
    """``out[row, …, column] = part``."""
    if isinstance(column, slice) or isinstance(row, slice):
        out[row, ..., column] = part
    else:
        strip = out[row]
        strip[..., column] = part
        out[row] = strip


def _place_side_by_side(out: Array, parts: Sequence[Array], at: list[tuple[Place, Place]]) -> None:
    """The same for parts that have all rows, some rows of each at a time: each is written once."""
    piece = _PIECE // max(1, out.nbytes // max(1, len(out))) + 1
    for start in range(0, len(out), piece):
        some = slice(start, start + piece)
        for part, (_, column) in zip(parts, at, strict=True):
            out[some, ..., column] = part[some]


def _as_slice(places: Rows) -> Rows | slice:
    count = len(places)
    if count and places[-1] - places[0] == count - 1 and bool((places[1:] > places[:-1]).all()):
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
