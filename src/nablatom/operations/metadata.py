"""Labels of maps and blocks: reading them out, and changing their dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nablatom import arrays
from nablatom.arrays import Array
from nablatom.block import TensorBlock
from nablatom.labels import Labels, checked_names, listed_names, remembered
from nablatom.merge import merged_labels
from nablatom.operations.lift import blockwise
from nablatom.operations.operands import check_labels, check_tensor
from nablatom.tensor import TensorMap
from nablatom.tracing import traceable

__all__ = [
    "append_dimension",
    "block_from_array",
    "insert_dimension",
    "one_hot",
    "permute_dimensions",
    "remove_dimension",
    "rename_dimension",
    "unique_metadata",
]

Change = Callable[[Labels], Labels]


# -- dimensions ------------------------------------------------------------------------


@traceable
def append_dimension(tensor: Any, axis: str, name: str, values: ArrayLike | int) -> Any:
    """The same numbers with one more dimension after the last of an axis.

    Parameters
    ----------
    axis
        ``"keys"``, ``"samples"`` or ``"properties"``. Gradients have the same properties, and
        their samples stay as they are.
    values
        One integer for each entry, or one for all of them.

    Raises
    ------
    ValueError
        If the axis has another name, if the dimension is there already, or if there is not one
        value for each entry.

    Examples
    --------
    >>> import numpy as np
    >>> block = block_from_array(np.ones((2, 1)), ["atom"])
    >>> print(append_dimension(block, "samples", "type", [8, 1]).samples)
    Labels(
        atom  type
         0     8
         1     1
    )
    """
    return _changed(tensor, axis, lambda labels: _inserted(labels, len(labels.names), name, values))


@traceable
def insert_dimension(tensor: Any, axis: str, index: int, name: str, values: ArrayLike | int) -> Any:
    """The same numbers with one more dimension before the one at ``index``.

    Gradients have the same properties, and their samples stay as they are. The other arguments
    and the errors are those of :func:`append_dimension`.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.ones((2, 1)), ["atom"])
    >>> insert_dimension(block, "samples", 0, "system", 0).samples.names
    ['system', 'atom']
    """
    return _changed(tensor, axis, lambda labels: _inserted(labels, index, name, values))


@traceable
def permute_dimensions(tensor: Any, axis: str, dimensions_indexes: Sequence[int]) -> Any:
    """The same numbers with the dimensions of an axis in another order.

    Parameters
    ----------
    axis
        ``"keys"``, ``"samples"`` or ``"properties"``. Gradients have the same properties, and
        their samples stay as they are.
    dimensions_indexes
        The index of each dimension, in the new order.

    Raises
    ------
    ValueError
        If the axis has another name, or if the indices are not each dimension once.

    Examples
    --------
    >>> import numpy as np
    >>> block = block_from_array(np.ones((1, 2, 1)), ["system", "atom"])
    >>> permute_dimensions(block, "samples", [1, 0]).samples.names
    ['atom', 'system']
    """
    return _changed(tensor, axis, lambda labels: _permuted(labels, tuple(dimensions_indexes)))


@traceable
def remove_dimension(tensor: Any, axis: str, name: str) -> Any:
    """The same numbers without one dimension of an axis.

    ``axis`` is ``"keys"``, ``"samples"`` or ``"properties"``. Gradients have the same
    properties, and their samples stay as they are.

    Raises
    ------
    ValueError
        If the axis has another name or no such dimension, if it is the only one, or if without
        it two entries would be the same.

    Examples
    --------
    >>> import numpy as np
    >>> block = block_from_array(np.ones((1, 2, 1)), ["system", "atom"])
    >>> remove_dimension(block, "samples", "system").samples.names
    ['atom']
    """
    return _changed(tensor, axis, lambda labels: _removed(labels, name))


@traceable
def rename_dimension(tensor: Any, axis: str, old: str, new: str) -> Any:
    """The same numbers with another name for one dimension of an axis.

    ``axis`` is ``"keys"``, ``"samples"``, ``"components"`` or ``"properties"``. The dimension
    is renamed in the gradients too, where they have it.

    Raises
    ------
    ValueError
        If the axis has another name or no such dimension, or if the new name is taken.

    Examples
    --------
    >>> import numpy as np
    >>> block = block_from_array(np.ones((2, 3, 1)), ["atom"], ["m"])
    >>> rename_dimension(block, "components", "m", "o3_mu").components[0].names
    ['o3_mu']
    """
    if axis == "components":
        return _rename_component(tensor, old, new)
    if axis == "samples":
        return _rename_samples(tensor, old, new)
    return _changed(tensor, axis, lambda labels: _renamed(labels, old, new))


def _changed(tensor: Any, axis: str, change: Change) -> Any:
    """Other labels along one axis."""
    check_tensor("a change of dimensions", tensor)
    if axis == "keys":
        if not isinstance(tensor, TensorMap):
            raise ValueError('a block has no keys: axis must be "samples" or "properties"')
        return TensorMap.unchecked(change(tensor.keys), tensor.blocks(), tensor.info())
    if axis not in ("samples", "properties"):
        raise ValueError(f'axis must be "keys", "samples" or "properties", got {axis!r}')
    return (_relabel_samples if axis == "samples" else _relabel_properties)(tensor, change)


@blockwise
def _relabel_samples(block: TensorBlock, change: Change) -> TensorBlock:
    return TensorBlock.unchecked(
        block.values,
        change(block.samples),
        block.components,
        block.properties,
        dict(block.gradients()),
    )


@blockwise
def _relabel_properties(block: TensorBlock, change: Change) -> TensorBlock:
    return _with_properties(block, change(block.properties))


def _with_properties(block: TensorBlock, properties: Labels) -> TensorBlock:
    gradients = {name: _with_properties(g, properties) for name, g in block.gradients()}
    return TensorBlock.unchecked(
        block.values, block.samples, block.components, properties, gradients
    )


@blockwise
def _rename_samples(block: TensorBlock, old: str, new: str) -> TensorBlock:
    def renamed(part: TensorBlock, samples: Labels) -> TensorBlock:
        gradients = {
            name: renamed(g, _renamed(g.samples, old, new) if old in g.samples.names else g.samples)
            for name, g in part.gradients()
        }
        return TensorBlock.unchecked(
            part.values, samples, part.components, part.properties, gradients
        )

    return renamed(block, _renamed(block.samples, old, new))


@blockwise
def _rename_component(block: TensorBlock, old: str, new: str) -> TensorBlock:
    names = _component_names(block)
    if old not in names:
        raise ValueError(f"no component {old!r} in the block: {sorted(names) or 'it has none'}")
    if new in names:
        raise ValueError(f"there is a component {new!r} already: {sorted(names)}")
    return _with_component_renamed(block, old, new)


def _component_names(block: TensorBlock) -> set[str]:
    names = {component.names[0] for component in block.components}
    return names.union(*[_component_names(gradient) for _, gradient in block.gradients()])


def _with_component_renamed(block: TensorBlock, old: str, new: str) -> TensorBlock:
    components = [_renamed(c, old, new) if c.names == [old] else c for c in block.components]
    gradients = {name: _with_component_renamed(g, old, new) for name, g in block.gradients()}
    return TensorBlock.unchecked(
        block.values, block.samples, components, block.properties, gradients
    )


def _inserted(labels: Labels, index: int, name: str, values: ArrayLike | int) -> Labels:
    """With one value for all entries, or one for each."""
    if isinstance(values, int):
        return _inserted_number(labels, index, name, values)
    column = np.asarray(arrays.to_numpy(values))
    if column.ndim == 0 and column.dtype.kind not in "iu":
        raise TypeError(f"values must be whole numbers, one or several, got {values!r}")
    if column.ndim == 0:
        return _inserted_number(labels, index, name, column.item())
    return labels.insert(index, name, column)


@remembered
def _inserted_number(labels: Labels, index: int, name: str, value: int) -> Labels:
    return labels.insert(index, name, np.full(len(labels), value))


@remembered
def _permuted(labels: Labels, order: tuple[int, ...]) -> Labels:
    return labels.permute(order)


@remembered
def _removed(labels: Labels, name: str) -> Labels:
    return labels.remove(name)


@remembered
def _renamed(labels: Labels, old: str, new: str) -> Labels:
    return labels.rename(old, new)


# -- reading labels out ----------------------------------------------------------------


def unique_metadata(
    tensor: TensorMap | TensorBlock,
    axis: str,
    names: str | Sequence[str],
    gradient: str | None = None,
) -> Labels:
    """The distinct rows, sorted, of some dimensions of all samples or properties.

    Parameters
    ----------
    axis
        ``"samples"`` or ``"properties"``.
    names
        The dimensions.
    gradient
        The name of a gradient whose samples are meant, instead of those of the values.

    Raises
    ------
    ValueError
        If the axis has another name or no such dimension.
    KeyError
        If there is no such gradient.

    Examples
    --------
    >>> import numpy as np
    >>> block = block_from_array(np.ones((2, 3, 1)), ["system", "atom"])
    >>> print(unique_metadata(block, "samples", "system"))
    Labels(
        system
          0
          1
    )
    """
    if axis not in ("samples", "properties"):
        raise ValueError(f'axis must be "samples" or "properties", got {axis!r}')
    check_tensor("unique_metadata", tensor)
    wanted = listed_names(names)
    if not wanted:
        raise ValueError("name at least one dimension")
    blocks = [tensor] if isinstance(tensor, TensorBlock) else tensor.blocks()
    blocks = [block if gradient is None else block.gradient(gradient) for block in blocks]
    if not blocks:
        return Labels.empty(wanted)
    return merged_labels([getattr(b, axis).unique(wanted)[0] for b in blocks], sort=True)[0]


def one_hot(labels: Labels, dimension: Labels) -> NDArray[np.int32]:
    """One row for each entry: 1 in the column of its value of a dimension, 0 elsewhere.

    A plain table of whole numbers, without gradients.

    Parameters
    ----------
    dimension
        The name of the dimension and all values that it can have, one for each column.

    Returns
    -------
    : (labels, dimension)

    Raises
    ------
    ValueError
        If ``dimension`` has more than one dimension, or if it lacks a value.

    Examples
    --------
    >>> from nablatom import Labels
    >>> atoms = Labels(["atom", "type"], [[0, 8], [1, 1], [2, 1]])
    >>> one_hot(atoms, Labels(["type"], [[1], [6], [8]]))
    array([[0, 0, 1],
           [1, 0, 0],
           [1, 0, 0]], dtype=int32)
    """
    check_labels("one_hot", labels, "labels")
    if len(labels) <= _FEW:
        return _known_table(labels, dimension).copy()
    return _table(labels, dimension)


def _table(labels: Labels, dimension: Labels) -> NDArray[np.int32]:
    check_labels("one_hot", dimension, "dimension")
    if len(dimension.names) != 1:
        raise ValueError(f"one_hot needs one dimension, got {dimension.names}")
    present, place = labels.unique(dimension.names)
    column = dimension.union_and_mapping(present)[2]
    if len(unknown := np.flatnonzero(column >= len(dimension))):
        raise ValueError(
            f"{present[int(unknown[0])]} is in the labels, but not among the values of the "
            f"dimension, {dimension.column(dimension.names[0]).tolist()}"
        )
    table = np.zeros((len(labels), len(dimension)), np.int32)
    table[np.arange(len(labels)), column[place]] = 1
    return table


_known_table = remembered(_table)


def block_from_array(
    array: Array,
    sample_names: Sequence[str] | None = None,
    component_names: Sequence[str] | None = None,
    property_names: Sequence[str] | None = None,
) -> TensorBlock:
    """A block around an array, with labels that count the entries of each axis.

    The first axes are samples, one for each of their names, the last ones properties, and those
    in between components. The block shares memory with the array where it can.

    Parameters
    ----------
    array : (*samples, *components, *properties)
        Of any library.
    sample_names, component_names, property_names
        Without names, there is one axis ``sample``, one axis ``property``, and components
        ``component_1``, ``component_2``, …

    Raises
    ------
    TypeError
        If this is not an array.
    ValueError
        If the array does not have as many axes as there are names.

    Examples
    --------
    >>> import numpy as np
    >>> print(block_from_array(np.ones((2, 4, 3, 5)), ["system", "atom"]))
    TensorBlock
        samples (8): ['system', 'atom']
        components (3): ['component_1']
        properties (5): ['property']
        gradients: None
    """
    if not arrays.is_array(array):
        raise TypeError(f"expected an array (NumPy, torch, …), got {type(array).__name__}")
    shape = tuple(array.shape)
    axes = _known_grids if prod(shape[:-1]) <= _FEW else _grids
    samples, components, properties = axes(
        shape, _names(sample_names), _names(component_names), _names(property_names)
    )
    sizes = [len(samples), *map(len, components), len(properties)]
    return TensorBlock(array.reshape(sizes), samples, components, properties)


Names = tuple[str, ...] | None
# Up to so many rows, what was made of labels or of a shape is kept for the next time.
_FEW = 1 << 10


def _grids(
    shape: tuple[int, ...], samples: Names, components: Names, properties: Names
) -> tuple[Labels, tuple[Labels, ...], Labels]:
    """Labels that count along every axis of an array."""
    samples = ("sample",) if samples is None else samples
    properties = ("property",) if properties is None else properties
    if not samples or not properties:
        raise ValueError("name at least one axis of samples and one of properties, or give None")
    between = len(shape) - len(samples) - len(properties)
    if components is None:
        components = tuple(f"component_{i + 1}" for i in range(between))
    if between < 0 or len(components) != between:
        raise ValueError(
            f"an array of shape {shape} has {len(shape)} axes, but there are "
            f"{len(samples)} names for samples, {len(components)} for components and "
            f"{len(properties)} for properties"
        )
    first, last = len(samples), len(shape) - len(properties)
    middle = tuple(map(Labels.range, components, shape[first:last]))
    return _grid(samples, shape[:first]), middle, _grid(properties, shape[last:])


_known_grids = lru_cache(maxsize=64)(_grids)


def _names(names: Sequence[str] | None) -> Names:
    return None if names is None else checked_names(names)


def _grid(names: Sequence[str], sizes: Sequence[int]) -> Labels:
    """All combinations of the entries of some axes, the last one fastest."""
    if len(names) == 1:
        return Labels.range(names[0], sizes[0])
    table = np.indices(tuple(sizes), np.int32).reshape(len(names), -1)
    return Labels(names, table.T, assume_unique=True)
