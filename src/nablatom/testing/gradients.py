"""Checks of stored gradients by finite differences, for our own tests and for yours.

Each of them raises an ``AssertionError`` that shows both numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.operations import equal_metadata_raise
from nablatom.tensor import TensorMap

__all__ = ["assert_derivatives", "assert_gradients"]

Noun = TensorMap | TensorBlock


class Direction(NamedTuple):
    """What a gradient row differentiates with respect to, and along which axis."""

    names: tuple[str, ...]
    entry: tuple[int, ...]
    axis: tuple[int, ...]


def assert_gradients(
    operation: Callable[..., Noun],
    tensors: Noun | Sequence[Noun],
    parameter: str,
    *,
    step: float = 1e-5,
    tolerance: float = 1e-7,
) -> None:
    """Assert that an operation turns the gradients of its operands into those of its result.

    Along each direction that the operands have gradients for, all of them are moved by what
    their own gradients say, ``x ± h dx``. The values of the result must move by its stored
    gradient, ``h df``; where gradients have gradients of their own, so must the gradients.

    Parameters
    ----------
    operation
        Takes the tensors and returns a map or a block.
    tensors
        The operands, in double precision, with a gradient with respect to ``parameter``.
    step
        ``h`` of the central difference.
    tolerance
        Largest deviation, in units of the largest derivative along a direction (or of 1).

    Raises
    ------
    AssertionError
        If a stored gradient is wrong or missing, or if there is nothing to check.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock, multiply
    >>> block = TensorBlock(np.array([[2.0]]), Labels.single(), [], Labels.single())
    >>> sample, n = Labels.range("sample", 1), block.properties
    >>> block.add_gradient("strain", TensorBlock(np.array([[3.0]]), sample, [], n))
    >>> assert_gradients(lambda x: multiply(x, x), block, "strain")
    """
    operands = [tensors] if isinstance(tensors, TensorMap | TensorBlock) else list(tensors)
    directions = set().union(*[_directions(x, parameter) for x in operands])
    if not directions:
        raise AssertionError(f"nothing to check: no operand has rows of a gradient {parameter!r}")
    result = operation(*operands)
    _assert_no_others(result, parameter, directions)
    for direction in sorted(directions):
        before, after = (
            operation(*[_moved(x, parameter, direction, h) for x in operands])
            for h in (-step, step)
        )
        _assert_slopes(result, before, after, parameter, direction, step, tolerance)


def assert_derivatives(
    compute: Callable[[NDArray[np.float64]], Noun],
    at: NDArray[np.float64],
    parameter: str,
    *,
    step: float = 1e-5,
    tolerance: float = 1e-7,
) -> None:
    """Assert that what ``compute`` stores as a gradient is the derivative of its values.

    Parameters
    ----------
    compute
        Takes numbers like ``at`` and returns a map or a block with a gradient of this name.
    at : (*entries, *components)
        What to differentiate by. One axis for each dimension of the gradient samples after
        ``sample``, then one for each component of the parameter: ``(systems, atoms, 3)`` for
        positions, ``(3, 3)`` for a strain.
    step, tolerance
        As in :func:`assert_gradients`.

    Raises
    ------
    AssertionError
        If a stored gradient is wrong or missing.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> def squares(x):
    ...     labels = Labels.range("atom", len(x))
    ...     block = TensorBlock(x[:, None] ** 2, labels, [], Labels.single())
    ...     rows = Labels(["sample", "atom"], np.repeat(labels.values, 2, axis=1))
    ...     block.add_gradient(
    ...         "x", TensorBlock(2 * x[:, None], rows, [], block.properties)
    ...     )
    ...     return block
    >>> assert_derivatives(squares, np.array([1.0, 2.0]), "x")
    """
    result = compute(at)
    names = _dimensions(result, parameter)
    directions = {
        Direction(names, at_index[: len(names)], at_index[len(names) :])
        for at_index in np.ndindex(at.shape)
    }
    _assert_no_others(result, parameter, directions)
    for direction in sorted(directions):
        shift = np.zeros_like(at)
        shift[direction.entry + direction.axis] = step
        before, after = compute(at - shift), compute(at + shift)
        _assert_slopes(result, before, after, parameter, direction, step, tolerance)


def _blocks(tensor: Noun) -> list[tuple[str, TensorBlock]]:
    """The blocks of a map, each with its place in words."""
    if isinstance(tensor, TensorBlock):
        return [("", tensor)]
    return [(f" in the block with {key.print()}", block) for key, block in tensor.items()]


def _with_gradient(block: TensorBlock, parameter: str) -> Iterator[tuple[int, TensorBlock]]:
    """All gradients of this name, at any depth, with the number of axes the parameter brings."""
    for name, gradient in block.gradients():
        if name == parameter:
            yield len(gradient.components) - len(block.components), gradient
        yield from _with_gradient(gradient, parameter)


def _directions(tensor: Noun, parameter: str) -> set[Direction]:
    """Every direction that the gradients of this name have a row for."""
    found: set[Direction] = set()
    for _, block in _blocks(tensor):
        for own, gradient in _with_gradient(block, parameter):
            names = tuple(gradient.samples.names[1:])
            entries = set(map(tuple, gradient.samples.values[:, 1:].tolist()))
            axes = list(np.ndindex(gradient.shape[1 : 1 + own]))
            found |= {Direction(names, entry, axis) for entry in entries for axis in axes}
    return found


def _dimensions(tensor: Noun, parameter: str) -> tuple[str, ...]:
    for _, block in _blocks(tensor):
        if block.has_gradient(parameter):
            return tuple(block.gradient(parameter).samples.names[1:])
    raise AssertionError(f"nothing to check: the result has no gradient {parameter!r}")


def _assert_no_others(result: Noun, parameter: str, directions: set[Direction]) -> None:
    if others := _directions(result, parameter) - directions:
        raise AssertionError(
            f"the result has a gradient {_words(parameter, min(others))}, which nothing depends on"
        )


def _tangent(block: TensorBlock, parameter: str, direction: Direction) -> Array:
    """The stored derivative of all values along a direction; zero where there is no row."""
    if not block.has_gradient(parameter):
        return arrays.filled(block.shape, 0, block.values)
    gradient = block.gradient(parameter)
    here = (gradient.samples.values[:, 1:] == direction.entry).all(axis=1)
    rows = np.flatnonzero(here)
    values = arrays.take(gradient.values, rows)[(slice(None), *direction.axis)]
    return arrays.place_rows(values, gradient.samples.column("sample")[rows], len(block))


def _moved(tensor: Noun, parameter: str, direction: Direction, h: float) -> Noun:
    """The same tensor a step along a direction, as its own gradients say."""
    if isinstance(tensor, TensorMap):
        blocks = [_moved_block(block, parameter, direction, h) for block in tensor]
        return TensorMap.unchecked(tensor.keys, blocks, tensor.info())
    return _moved_block(tensor, parameter, direction, h)


def _moved_block(block: TensorBlock, parameter: str, direction: Direction, h: float) -> TensorBlock:
    return TensorBlock.unchecked(
        block.values + h * _tangent(block, parameter, direction),
        block.samples,
        block.components,
        block.properties,
        {name: _moved_block(g, parameter, direction, h) for name, g in block.gradients()},
    )


def _assert_slopes(
    result: Noun,
    before: Noun,
    after: Noun,
    parameter: str,
    direction: Direction,
    step: float,
    tolerance: float,
) -> None:
    for moved in (before, after):
        equal_metadata_raise(result, moved)
    for (place, block), (_, low), (_, high) in zip(
        _blocks(result), _blocks(before), _blocks(after), strict=True
    ):
        where = f"{_words(parameter, direction)}{place}"
        if not block.has_gradient(parameter):
            raise AssertionError(f"the result has no gradient {parameter!r}{place}")
        _assert_block_slopes(block, low, high, parameter, direction, step, tolerance, where)


def _assert_block_slopes(
    block: TensorBlock,
    before: TensorBlock,
    after: TensorBlock,
    parameter: str,
    direction: Direction,
    step: float,
    tolerance: float,
    where: str,
) -> None:
    """Compare the values; and the gradients, where they have such a gradient of their own."""
    stored: Any = arrays.to_numpy(_tangent(block, parameter, direction))
    slope: Any = arrays.to_numpy((after.values - before.values) / (2 * step))
    scale = max(1.0, np.abs(slope).max(initial=0.0))
    wrong = np.argwhere(~(np.abs(stored - slope) <= tolerance * scale))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        axes = [block.samples, *block.components, block.properties]
        labels = ", ".join(axis[i].print() for axis, i in zip(axes, at, strict=True))
        raise AssertionError(
            f"gradient {where} at {labels}: stored {float(stored[at]):.12g}, "
            f"finite differences {float(slope[at]):.12g}; {len(wrong)} of {stored.size} are wrong"
        )
    for name, gradient in block.gradients():
        if gradient.has_gradient(parameter):
            inside = f"{where}, of the gradient {name!r}"
            _assert_block_slopes(
                gradient,
                before.gradient(name),
                after.gradient(name),
                parameter,
                direction,
                step,
                tolerance,
                inside,
            )


def _words(parameter: str, direction: Direction) -> str:
    entry = ", ".join(map("{}={}".format, direction.names, direction.entry))
    axis = f" along {list(direction.axis)}" if direction.axis else ""
    return f"{parameter!r} ({entry}){axis}" if entry else f"{parameter!r}{axis}"
