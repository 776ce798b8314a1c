"""Choosing, ordering and repeating what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows, checked_names, listed_names, remembered
from nablatom.operations.chain import Route, followed, gather, linear
from nablatom.operations.lift import blockwise
from nablatom.operations.operands import check_labels, check_map, check_tensor
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = [
    "drop_blocks",
    "drop_empty_blocks",
    "expand_samples",
    "filter_blocks",
    "remove_gradients",
    "repeat",
    "slice",
    "sort",
    "split",
]

_AXES = ("samples", "components", "properties", "keys")


@blockwise
def slice(tensor: TensorBlock, axis: str, selection: Labels | Sequence[int]) -> TensorBlock:
    """The entries of one axis that match a selection, in their old order.

    ``selection`` are labels with some of the dimensions of the axis, or indices, which also
    set the order. Gradient rows follow their samples. Blocks without any match stay, empty.

    Raises
    ------
    ValueError
        If the axis is not ``"samples"`` or ``"properties"``, or has no such dimension.
    IndexError
        If an index is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, block_from_array
    >>> block = block_from_array(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), ["atom"])
    >>> slice(block, "samples", Labels(["atom"], [[2], [1]])).values
    array([[3., 4.],
           [5., 6.]])
    """
    if axis == "samples":
        return gather(tensor, _chosen(tensor.samples, selection))
    if axis != "properties":
        raise ValueError(f'axis must be "samples" or "properties", got {axis!r}')
    chosen = _chosen(tensor.properties, selection)
    return linear(lambda x: arrays.take(x, chosen.rows, axis=-1), tensor, properties=chosen.samples)


@traceable
def split(tensor: Any, axis: str, selections: Sequence[Labels | Sequence[int]]) -> list[Any]:
    """One map or block for each of several selections; see :func:`slice`.

    The selections may overlap, and need not be of everything. Gradient rows follow their
    samples. Errors are those of :func:`slice`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> first, last = split(block, "samples", [[0, 1], [2]])
    >>> last.values
    array([[5., 6.]])
    """
    check_tensor("split", tensor)
    if not isinstance(selections, list | tuple):
        raise TypeError(
            f"split needs a list of selections, got {type(selections).__name__}; one selection "
            "alone is put into a list too"
        )
    return [slice(tensor, axis, selection) for selection in selections]


def _chosen(labels: Labels, selection: Labels | Sequence[int]) -> Route:
    if isinstance(selection, Labels):
        return _selected(labels, selection)
    rows = _indices(selection)
    if len(rows) and (rows.min() < -len(labels) or rows.max() >= len(labels)):
        raise IndexError(f"indices must be below {len(labels)}, got {rows.min()} to {rows.max()}")
    rows = rows.astype(np.int64) % max(1, len(labels))
    if len(np.unique(rows)) != len(rows):
        raise ValueError("an index occurs more than once")
    return Route(labels.take(rows), rows)


def _indices(selection: Any) -> Rows:
    """Whole numbers, or where a table of yes and no says yes."""
    rows = np.asarray(arrays.to_numpy(selection))
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise TypeError(
            f"a selection is Labels or a list of indices, got {type(selection).__name__}"
            + (f" of shape {rows.shape}" if rows.ndim > 1 else "")
        )
    return rows


@remembered
def _selected(labels: Labels, selection: Labels) -> Route:
    rows = labels.select(selection)
    return Route(labels.take(rows), rows)


@traceable
def sort(tensor: Any, axes: str | Sequence[str] = "all", descending: bool = False) -> Any:
    """The same entries in lexicographic order of their labels.

    ``axes`` are some of ``"samples"``, ``"components"``, ``"properties"`` and, for maps,
    ``"keys"``. Gradient rows are sorted with the samples. Components and properties that are in
    order already cost nothing.

    Raises
    ------
    ValueError
        If an axis has another name.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorBlock
    >>> atoms = Labels(["atom"], [[2], [0]])
    >>> block = TensorBlock(np.array([[1.0], [5.0]]), atoms, [], Labels.single())
    >>> sort(block, "samples").values
    array([[5.],
           [1.]])
    """
    check_tensor("sort", tensor)
    chosen = list(listed_names(axes))
    chosen = list(_AXES) if chosen == ["all"] else chosen
    for axis in chosen:
        if axis not in _AXES:
            raise ValueError(f"axes are {', '.join(_AXES)} or all, got {axis!r}")
    descending = bool(descending)
    result = _sorted(tensor, chosen, descending)
    if isinstance(tensor, TensorMap) and "keys" in chosen:
        keys = _in_order(tensor.keys, descending)
        return _chosen_blocks(result, keys.samples, keys.rows.tolist())
    return result


@blockwise
def _sorted(a: TensorBlock, axes: list[str], descending: bool) -> TensorBlock:
    properties = None
    if "properties" in axes and _is_whole(properties := _in_order(a.properties, descending)):
        properties = None
    if "samples" in axes:
        route = _in_order(a.samples, descending)
        a = _sorted_samples(a, route, properties, descending)
    elif properties is not None:
        at = properties.rows
        a = linear(lambda x: arrays.take(x, at, axis=-1), a, properties=properties.samples)
    return _sorted_components(a, descending) if "components" in axes else a


@remembered
def _in_order(labels: Labels, descending: bool) -> Route:
    """The entries of labels, sorted."""
    rows = _order(labels, descending)
    return Route(labels.take(rows), rows)


@remembered
def _in_order_with_samples(samples: Labels, route: Route, descending: bool) -> Route:
    """Gradient samples, sorted once the samples of the values are."""
    moved = followed(samples, route)
    order = _order(moved.samples, descending)
    return Route(moved.samples.take(order), moved.rows[order])


def _order(labels: Labels, descending: bool) -> Rows:
    return labels.order()[::-1] if descending else labels.order()


def _sorted_samples(
    a: TensorBlock, route: Route, properties: Route | None, descending: bool
) -> TensorBlock:
    """Rows in the order of a route and, unless there is none, columns in that of another."""
    gradients = {}
    for name, gradient in a.gradients():
        own = _in_order_with_samples(gradient.samples, route, descending)
        gradients[name] = _sorted_samples(gradient, own, properties, descending)
    if properties is None:
        values, columns = arrays.take(a.values, route.rows), a.properties
    else:
        values = arrays.take_both(a.values, route.rows, properties.rows)
        columns = properties.samples
    return TensorBlock.unchecked(values, route.samples, a.components, columns, gradients)


def _sorted_components(a: TensorBlock, descending: bool) -> TensorBlock:
    """The components of the values and, in their gradients, the parameter's own too."""
    if not a.components and not a.has_any_gradient():
        return a
    values, components = a.values, []
    for axis, component in enumerate(a.components, start=1):
        route = _in_order(component, descending)
        if not _is_whole(route):
            values = arrays.take(values, route.rows, axis=axis)
        components.append(route.samples)
    gradients = {name: _sorted_components(g, descending) for name, g in a.gradients()}
    return TensorBlock.unchecked(values, a.samples, components, a.properties, gradients)


@remembered
def _is_whole_of(labels: Labels, route: Route) -> bool:
    return bool((route.rows == np.arange(len(labels))).all())


def _is_whole(route: Route) -> bool:
    """Whether every entry stays where it is, and can be shared."""
    return _is_whole_of(route.samples, route)


@blockwise
def remove_gradients(tensor: TensorBlock, remove: str | Sequence[str] | None = None) -> TensorBlock:
    """The same values without some gradients, or without any.

    Raises
    ------
    KeyError
        If a gradient to remove is not there.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, block_from_array
    >>> block = block_from_array(np.ones((1, 1)))
    >>> slope = block_from_array(np.ones((1, 1)))
    >>> block.add_gradient("length", slope)
    >>> remove_gradients(block).gradients_list()
    []
    """
    names = None if remove is None else listed_names(remove)
    for name in names or []:
        tensor.gradient(name)
    kept = {name: g for name, g in tensor.gradients() if names is not None and name not in names}
    return TensorBlock.unchecked(
        tensor.values, tensor.samples, tensor.components, tensor.properties, kept
    )


# -- blocks by their keys --------------------------------------------------------------


@traceable
def filter_blocks(tensor: TensorMap, keys: Labels, copy: bool = False) -> TensorMap:
    """The blocks whose keys match any row of a selection, in their old order.

    ``keys`` are labels with some of the dimensions of the keys. The blocks are shared with
    ``tensor``, gradients included, or else copied.

    Raises
    ------
    ValueError
        If the keys do not have one of the dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> blocks = [block_from_array(np.ones((n, 1))) for n in (1, 2, 3)]
    >>> tensor = TensorMap(Labels(["o3_lambda", "center_type"], [[0, 1], [1, 1], [0, 8]]), blocks)
    >>> print(filter_blocks(tensor, Labels(["o3_lambda"], [[0]])))
    TensorMap with 2 blocks
    keys: o3_lambda  center_type
              0           1
              0           8
    """
    check_map("filter_blocks", tensor)
    check_labels("filter_blocks", keys, "keys")
    return _chosen_blocks(tensor, *_matching(tensor.keys, keys, True), copy)


@traceable
def drop_blocks(tensor: TensorMap, keys: Labels, copy: bool = False) -> TensorMap:
    """The blocks whose keys match no row of a selection; see :func:`filter_blocks`.

    They are shared with ``tensor``, gradients included, or else copied.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> block = block_from_array(np.ones((1, 1)))
    >>> tensor = TensorMap(Labels(["center_type"], [[1], [8]]), [block, block])
    >>> print(drop_blocks(tensor, Labels(["center_type"], [[1]])))
    TensorMap with 1 blocks
    keys: center_type
               8
    """
    check_map("drop_blocks", tensor)
    check_labels("drop_blocks", keys, "keys")
    return _chosen_blocks(tensor, *_matching(tensor.keys, keys, False), copy)


@traceable
def drop_empty_blocks(tensor: TensorMap, copy: bool = False) -> TensorMap:
    """The blocks that have samples, components and properties at all, shared or copied.

    Gradients do not count, and stay with their values.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> blocks = [block_from_array(np.ones((n, 1))) for n in (0, 2)]
    >>> print(drop_empty_blocks(TensorMap(Labels(["center_type"], [[1], [8]]), blocks)))
    TensorMap with 1 blocks
    keys: center_type
               8
    """
    check_map("drop_empty_blocks", tensor)
    kept = [i for i, block in enumerate(tensor) if all(block.shape)]
    return _chosen_blocks(tensor, tensor.keys.take(np.array(kept, np.int64)), kept, copy)


@remembered
def _matching(keys: Labels, selection: Labels, kept: bool) -> tuple[Labels, list[int]]:
    """The keys that match a selection, or those that do not, and where they are."""
    matching = np.zeros(len(keys), bool)
    matching[keys.select(selection)] = True
    rows = np.flatnonzero(matching == kept)
    return keys.take(rows), rows.tolist()


def _chosen_blocks(
    tensor: TensorMap, keys: Labels, indices: Sequence[int], copy: bool = False
) -> TensorMap:
    blocks = tensor.blocks_by_id(indices)
    blocks = [block.copy() for block in blocks] if copy else blocks
    return TensorMap.unchecked(keys, blocks, tensor.info())


# -- more rows than there were ---------------------------------------------------------


@blockwise
def repeat(
    tensor: TensorBlock, repeats: int | Sequence[int], dimension: str = "repeat"
) -> TensorBlock:
    """Every sample several times in a row, counted by a new last dimension of the samples.

    Each repetition has its own gradient rows.

    Parameters
    ----------
    repeats
        How many times: one number, or one for each sample (0 leaves it out).
    dimension
        The name of the new dimension.

    Raises
    ------
    ValueError
        If a number is negative, or if there is not one for each sample.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0], [2.0]]), ["system"])
    >>> print(repeat(block, [1, 2], "copy").samples)
    Labels(
        system  copy
          0      0
          1      0
          1      1
    )
    """
    times = np.asarray(arrays.to_numpy(repeats))
    if times.dtype.kind not in "iu" or (times < 0).any():
        raise ValueError(f"repeats must be whole numbers from 0, got {repeats}")
    if times.shape not in ((), (len(tensor),)):
        raise ValueError(
            f"repeats must be one number or one for each of the {len(tensor)} samples, got "
            f"{times.shape}"
        )
    rows = np.repeat(np.arange(len(tensor)), times)
    first = np.searchsorted(rows, rows)
    names = checked_names((*tensor.samples.names, dimension))
    count = (np.arange(len(rows)) - first).astype(np.int32)
    values = np.concatenate([tensor.samples.values[rows], count[:, None]], axis=1)
    return gather(tensor, Route(Labels.unchecked(names, values), rows))


@blockwise
def expand_samples(tensor: TensorBlock, samples: Labels) -> TensorBlock:
    """A row for each of these samples: that of the sample it belongs to.

    Something known for each system is brought to each of its atoms, the opposite of a sum over
    atoms. Each row has its own gradient rows.

    Parameters
    ----------
    samples
        Labels with all dimensions of the samples, by which the row is found, and others.

    Raises
    ------
    ValueError
        If a dimension is missing, or if a sample belongs to none that is there.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, block_from_array
    >>> energies = block_from_array(np.array([[1.0], [2.0]]), ["system"])
    >>> atoms = Labels(["system", "atom"], [[0, 0], [1, 0], [1, 1]])
    >>> expand_samples(energies, atoms).values
    array([[1.],
           [2.],
           [2.]])
    """
    check_labels("expand_samples", samples, "samples")
    return gather(tensor, _expanded(tensor.samples, samples))


@remembered
def _expanded(labels: Labels, samples: Labels) -> Route:
    if missing := [name for name in labels.names if name not in samples.names]:
        raise ValueError(f"the samples need the dimension {missing[0]!r}, got {samples.names}")
    distinct, place = samples.unique(labels.names)
    found = labels.union_and_mapping(distinct)[2]
    if len(others := np.flatnonzero(found >= len(labels))):
        raise ValueError(f"there is no row for {distinct[int(others[0])]} among the samples")
    return Route(samples, found[place])
