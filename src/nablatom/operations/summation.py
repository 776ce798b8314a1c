"""Einstein summation that speaks the names of labels.

The label part is a plan: which axes are the same, which entries meet, what the result is
called. It is made once; after that, only arrays are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from operator import add
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, remembered
from nablatom.operations.chain import bilinear, linear, pointwise
from nablatom.operations.lift import blockwise
from nablatom.operations.matching import Joined, joined_labels
from nablatom.operations.operands import check_library
from nablatom.operations.products import contract

__all__ = ["einsum"]


@blockwise
def einsum(expression: str, *blocks: TensorBlock) -> TensorBlock:
    """Products of maps or blocks, summed over every name that the result does not have.

    ``"samples n, samples m -> samples n m"``: before the arrow, each operand lists its axes by
    the names of their dimensions, in any order; after it stands what is left. The word
    ``samples`` is the rows, which all operands share. Where operands have the same name, they
    have the same axis, entry by entry. ``old:new`` gives a dimension another name.

    Components that are left stay components, in the order written. Properties that are left
    label the products: ``n m`` has an entry for each ``n`` of the one with each ``m`` of the
    other. Properties of several dimensions may share some of them: ``"samples l n:n_1, samples
    l n:n_2 -> samples l n_1 n_2"`` multiplies the entries of equal ``l`` only.

    An operand without ``samples`` is a constant, such as the weights of a model: it lists the
    dimensions of its own samples instead. Gradients follow the product rule of all others.

    Parameters
    ----------
    expression
        An axis with the single entry ``_ = 0`` can be left out.
    *blocks
        Maps or blocks, one for each part before the arrow.

    Raises
    ------
    ValueError
        If the expression cannot be read, names something that an operand does not have or
        leaves out something that it has, if axes of the same name have other entries, or if a
        constant has gradients.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> xyz, atom = Labels.range("xyz", 3), Labels.range("atom", 1)
    >>> a = TensorBlock(np.array([[[1.0], [2.0], [2.0]]]), atom, [xyz], Labels.range("n", 1))
    >>> squares = einsum("samples xyz n:n_1, samples xyz n:n_2 -> samples n_1 n_2", a, a)
    >>> squares.values
    array([[9.]])
    >>> squares.properties.names
    ['n_1', 'n_2']
    """
    if not isinstance(expression, str):
        raise TypeError(
            f'the expression of einsum is text, such as "{_SHOWN}", got {type(expression).__name__}'
        )
    terms, _ = _parsed(expression)
    if len(terms) != len(blocks):
        raise ValueError(f"einsum {expression!r} is about {len(terms)} operands, got {len(blocks)}")
    check_library(blocks)
    moving = [block for block, term in zip(blocks, terms, strict=True) if term.has_samples]
    if not moving:
        raise ValueError(f"einsum {expression!r}: at least one operand must have samples")
    labels: list[Labels] = []
    for i, (block, term) in enumerate(zip(blocks, terms, strict=True)):
        if not term.has_samples:
            _check_constant(expression, i, block)
            labels.append(block.samples)
        labels += [*block.components, block.properties]
    plan = _plan(labels[0], expression, tuple(len(b.components) for b in blocks), *labels[1:])
    constants = [None if t.has_samples else b.values for b, t in zip(blocks, terms, strict=True)]

    def function(*x: Array) -> Array:
        given = iter(x)
        return plan.applied([next(given) if c is None else c for c in constants])

    components, properties = plan.components, plan.properties
    if len(moving) == 1:
        return linear(
            lambda x: arrays.in_pieces(function, x),
            *moving,
            components=components,
            properties=properties,
        )
    if len(moving) == 2:
        return bilinear(function, *moving, components=components, properties=properties)

    def tangent(*x_and_dx: Array) -> Array:
        return _product_rule(function, x_and_dx)

    return pointwise(function, tangent, *moving, components=components, properties=properties)


def _product_rule(function: Any, x_and_dx: Sequence[Array]) -> Array:
    count = len(x_and_dx) // 2
    x, dx = x_and_dx[:count], x_and_dx[count:]
    return reduce(add, [function(*x[:i], dx[i], *x[i + 1 :]) for i in range(count)])


def _check_constant(expression: str, i: int, block: TensorBlock) -> None:
    if block.has_any_gradient():
        raise ValueError(
            f"einsum {expression!r}: operand {i + 1} has no samples and is a constant, but has "
            f"gradients {block.gradients_list()}; take them away with remove_gradients"
        )


# -- the expression --------------------------------------------------------------------


class _Term(NamedTuple):
    """What one operand lists: pairs of the name of a dimension and what it is called here."""

    names: tuple[tuple[str, str], ...]
    has_samples: bool


@cache
def _parsed(expression: str) -> tuple[tuple[_Term, ...], tuple[str, ...]]:
    """The operands and, after ``samples``, the result."""
    where = f"einsum {expression!r}"
    if expression.count("->") != 1:
        raise ValueError(f'{where}: expected "operand, operand -> result", such as "{_SHOWN}"')
    operands, result = expression.split("->")
    terms = []
    for text in operands.split(","):
        words = text.split()
        if not words:
            raise ValueError(f"{where}: there is an operand without any names")
        listed = [word.split(":", 1)[0] for word in words]
        if twice := [name for name in listed if listed.count(name) > 1]:
            raise ValueError(f"{where}: an operand lists {twice[0]!r} twice")
        names = [tuple(word.split(":", 1)) if ":" in word else (word, word) for word in words]
        names = [name for name in names if name != ("samples", "samples")]
        for old, new in names:
            if not (old.isidentifier() and new.isidentifier()):
                raise ValueError(f'{where}: names are words, or "old:new", got {old}:{new}')
        terms.append(_Term(tuple(names), len(names) < len(words)))  # type: ignore[arg-type]
    first, *kept = result.split() or [""]
    if first != "samples":
        raise ValueError(
            f"{where}: the result starts with samples; sum_over_samples takes sums over them"
        )
    known = {new for term in terms for _, new in term.names}
    for name in kept:
        if name not in known:
            raise ValueError(f"{where}: {name!r} is in the result, but in no operand")
    if len(set(kept)) < len(kept):
        raise ValueError(f"{where}: the result has a name twice")
    return tuple(terms), tuple(kept)


_SHOWN = "samples n, samples m -> samples n m"


# -- the plan --------------------------------------------------------------------------


class _Axis(NamedTuple):
    """An axis of an operand, its dimensions under the names that they have here."""

    labels: Labels
    is_component: bool

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.labels.names)


class _Plan(NamedTuple):
    """What to do with the arrays, and how the result is labelled."""

    letters: tuple[str, ...]
    result: str
    taken: tuple[tuple[int, Rows] | None, ...]
    added: tuple[int, Rows, int] | None
    components: tuple[Labels, ...]
    properties: Labels

    def applied(self, x: Sequence[Array]) -> Array:
        """The product of arrays whose last axes are those of the operands."""
        chosen = [
            array if at is None else arrays.take(array, at[1], axis=array.ndim + at[0])
            for array, at in zip(x, self.taken, strict=True)
        ]
        product = contract(self.letters, self.result, chosen)
        if self.added is not None:
            product = _add_along(product, *self.added)
        lead = product.shape[: product.ndim - len(self.result)]
        axes = [len(labels) for labels in self.components]
        return product.reshape((*lead, *axes, len(self.properties)))


def _add_along(array: Array, axis: int, places: Rows, length: int) -> Array:
    """``out[…, places[i], …] += array[…, i, …]`` along one axis, counted from the right."""
    first = axis % array.ndim
    order = (first, *[i for i in range(array.ndim) if i != first])
    added = arrays.add_rows(arrays.permuted(array, order), places, length)
    return arrays.permuted(added, tuple(np.argsort(order).tolist()))


@remembered
def _plan(first: Labels, expression: str, components: tuple[int, ...], *others: Labels) -> _Plan:
    terms, kept = _parsed(expression)
    labels, operands = iter([first, *others]), []
    for i, (term, count) in enumerate(zip(terms, components, strict=True)):
        try:
            operands.append(_axes(term, labels, count))
        except ValueError as error:
            raise ValueError(f"einsum {expression!r}, operand {i + 1}: {error}") from None
    try:
        return _planned(operands, kept)
    except ValueError as error:
        raise ValueError(f"einsum {expression!r}: {error}") from None


def _axes(term: _Term, labels: Any, components: int) -> list[_Axis]:
    """The axes of an operand, each under the names that it has in the expression."""
    own = [] if term.has_samples else [(next(labels), False)]
    own += [(next(labels), True) for _ in range(components)]
    own.append((next(labels), False))
    left = list(term.names)
    axes = []
    for axis, is_component in own:
        names = tuple(_called(name, axis, left) for name in axis.names)
        if len(set(names)) < len(names):
            raise ValueError(f"two dimensions of one axis are both called {max(names)!r}")
        same = names == tuple(axis.names)
        axes.append(_Axis(axis if same else Labels.unchecked(names, axis.values), is_component))
    if left:
        has = [name for axis, _ in own for name in axis.names]
        raise ValueError(f"it has no dimension {left[0][0]!r}; it has {has}")
    return axes


def _called(name: str, axis: Labels, left: list[tuple[str, str]]) -> str:
    """What the expression calls a dimension; taken off the list."""
    for pair in left:
        if pair[0] == name:
            left.remove(pair)
            return pair[1]
    if name == "_" and len(axis) == 1:
        return "_"
    raise ValueError(f"its dimension {name!r} is not named")


def _planned(operands: list[list[_Axis]], kept: tuple[str, ...]) -> _Plan:
    tangled = _tangled({axis.names for axes in operands for axis in axes}, set(kept))
    joined = joined_labels([_only_tangled(axes, tangled) for axes in operands], kept)
    letter = dict.fromkeys(tangled, _JOINED)
    axis_of = {} if joined is None else {_JOINED: _Axis(joined.labels, is_component=False)}
    for axes in operands:
        for axis in axes:
            if axis.names not in tangled:
                code = letter.setdefault(axis.names, _OTHERS[len(axis_of)])
                axis_of[code] = _same(axis_of.get(code, axis), axis)
    spelled = tuple("".join(letter[axis.names] for axis in axes) for axes in operands)
    order = [code for name in kept for code, axis in axis_of.items() if name in axis.names]
    order = list(dict.fromkeys(order))
    stay = [code for code in order if axis_of[code].is_component]
    multiplied = [code for code in order if not axis_of[code].is_component]
    return _Plan(
        spelled,
        "".join(stay + multiplied),
        *_through_join(joined, spelled, "".join(stay + multiplied)),
        tuple(axis_of[code].labels for code in stay),
        _product([axis_of[code].labels for code in multiplied], kept),
    )


def _through_join(
    joined: Joined | None, spelled: tuple[str, ...], result: str
) -> tuple[tuple[tuple[int, Rows] | None, ...], tuple[int, Rows, int] | None]:
    """What is taken from each operand before they are multiplied, and where it is added up."""
    if joined is None:
        return (None,) * len(spelled), None
    taken = tuple(
        None if rows is None else (letters.index(_JOINED) - len(letters), rows)
        for rows, letters in zip(joined.rows, spelled, strict=True)
    )
    if joined.places is None or _JOINED not in result:
        return taken, None
    return taken, (result.index(_JOINED) - len(result), joined.places, len(joined.labels))


# The letter of the axis that several operands share in parts.
_JOINED, _OTHERS = ascii_letters[0], ascii_letters[1:]


def _same(first: _Axis, other: _Axis) -> _Axis:
    """The first of two axes with the same names, whose entries must be the same."""
    names = first.labels.names
    columns = [other.labels.names.index(name) for name in names]
    if not np.array_equal(first.labels.values, other.labels.values[:, columns]):
        raise ValueError(
            f"the entries of {' '.join(names)} must be the same, in the same order, in all "
            f"operands; call them differently, as in {names[0]}:other, where they are not the "
            "same axis"
        )
    return first._replace(is_component=first.is_component or other.is_component)


def _tangled(axes: set[frozenset[str]], kept: set[str]) -> set[frozenset[str]]:
    """The axes that share some of their names with others, or that stay in parts."""
    parts = {a for a in axes if a & kept and a - kept}
    return parts | {a for a in axes for b in axes if a != b and a & b}


def _only_tangled(axes: list[_Axis], tangled: set[frozenset[str]]) -> Labels | None:
    found = [axis for axis in axes if axis.names in tangled]
    if len(found) > 1:
        raise ValueError(
            f"the axes {found[0].labels.names} and {found[1].labels.names} of one operand cannot "
            "both share parts of their names with others"
        )
    return found[0].labels if found else None


def _product(axes: list[Labels], kept: tuple[str, ...]) -> Labels:
    """An entry for every combination of entries of the axes, dimensions in the order written."""
    if not axes:
        return Labels.single()
    names = tuple(name for name in kept for labels in axes if name in labels.names)
    if len(axes) == 1 and names == tuple(axes[0].names):
        return axes[0]
    places = np.indices([len(labels) for labels in axes]).reshape(len(axes), -1)
    columns = {
        name: labels.column(name)[place]
        for labels, place in zip(axes, places, strict=True)
        for name in labels.names
    }
    return Labels.unchecked(names, np.column_stack([columns[name] for name in names]))
