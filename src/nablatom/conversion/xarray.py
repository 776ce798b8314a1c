"""Blocks ⇄ datasets of xarray, and maps ⇄ trees of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels
from nablatom.tensor import TensorMap

if TYPE_CHECKING:
    from xarray import Coordinates, Dataset

__all__ = ["from_xarray", "to_xarray"]

_INFO = "info: "


def to_xarray(tensor: TensorMap | TensorBlock) -> Any:
    """A block as a ``Dataset``, or a map as a ``DataTree`` with a dataset for each key.

    The variable ``values`` has an axis for samples, each component and properties. Labels of
    one dimension are a coordinate of that name, those of several a multi-index ``samples`` or
    ``properties`` with a level for each, so that ``dataset.sel(system=0)`` works. A gradient is
    a variable of its own name, and so are, after a dot, its rows: ``positions.sample``,
    ``positions.atom``. Arrays are shared if they are NumPy's, else copied to the CPU.

    Raises
    ------
    ImportError
        If xarray is not installed.
    ValueError
        If two dimensions of a block have the same name.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.arange(6.0).reshape(1, 3, 2), ["system", "atom"], [], ["n"])
    >>> to_xarray(block)["values"].sel(atom=2, n=1).item()
    5.0
    """
    import xarray

    if isinstance(tensor, TensorBlock):
        return _dataset(tensor)
    if not isinstance(tensor, TensorMap):
        raise TypeError(f"expected a TensorMap or a TensorBlock, got {type(tensor).__name__}")
    nodes = {}
    for key, block in tensor.items():
        attributes = dict(zip(key.names, key, strict=True))
        nodes[", ".join(map("{}={}".format, key.names, key))] = _dataset(block).assign_attrs(
            attributes
        )
    tree = xarray.DataTree.from_dict(nodes)
    tree.attrs = {"keys": tensor.keys.names}
    tree.attrs |= {_INFO + name: text for name, text in tensor.info().items()}
    return tree


def from_xarray(data: Any) -> Any:
    """A block from a ``Dataset`` or ``DataArray``, or a map from a ``DataTree``.

    Takes what :func:`to_xarray` gives, also after a selection or a computation, and any
    ``DataArray``: its first axis are the samples, its last one the properties. Axes without
    integer coordinates are counted.

    Raises
    ------
    TypeError
        If this is none of the three, or if coordinates are not integers.
    ValueError
        If the parts do not fit together, for example if rows of values were selected, but not
        those of their gradients.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray
    >>> data = xarray.DataArray(np.ones((2, 3)), dims=["atom", "n"], coords={"n": [4, 5, 6]})
    >>> print(from_xarray(data).properties)
    Labels(
        n
        4
        5
        6
    )
    """
    import xarray

    if isinstance(data, xarray.DataTree):
        return _map(data)
    if isinstance(data, xarray.DataArray):
        data = xarray.Dataset({"values": data})
    if not isinstance(data, xarray.Dataset):
        raise TypeError(
            f"expected a Dataset, a DataArray or a DataTree of xarray, got {type(data).__name__}"
        )
    if "values" not in data:
        raise ValueError(f"the dataset has no variable 'values', but {list(data.data_vars)}")
    return _block(data, "values", "")


# -- to --------------------------------------------------------------------------------


def _dataset(block: TensorBlock) -> Dataset:
    import xarray

    dims: dict[str, Labels] = {}
    variables = {}
    for name, prefix, part in _parts(block, "values", ""):
        axes = [_dimension(part.samples, prefix, "samples")]
        axes += [(component.names[0], component) for component in part.components]
        axes.append(_dimension(block.properties, "", "properties"))
        for dim, labels in axes:
            if dims.setdefault(dim, labels) != labels:
                raise _twice(dim)
        if len({dim for dim, _ in axes}) < len(axes):
            raise _twice(axes[0][0])
        values = np.asarray(arrays.to_numpy(part.values))
        variables[name] = ([dim for dim, _ in axes], values)
    levels = [name for labels in dims.values() for name in labels.names]
    if len(set(levels)) < len(levels):
        raise _twice(max(levels, key=levels.count))
    result = xarray.Dataset(variables)
    for dim, labels in dims.items():
        result = result.assign_coords(_coordinates(dim, labels))
    return result


def _parts(block: TensorBlock, name: str, prefix: str) -> Iterator[tuple[str, str, TensorBlock]]:
    """The values and every gradient, with its name and what stands before those of its rows."""
    rows = [prefix + dimension for dimension in block.samples.names]
    yield name, prefix, _with_sample_names(block, rows)
    for parameter, gradient in block.gradients():
        yield from _parts(gradient, prefix + parameter, f"{prefix}{parameter}.")


def _with_sample_names(block: TensorBlock, names: list[str]) -> TensorBlock:
    samples = Labels.unchecked(tuple(names), block.samples.values)
    return TensorBlock.unchecked(block.values, samples, block.components, block.properties)


def _dimension(labels: Labels, prefix: str, axis: str) -> tuple[str, Labels]:
    """The name of an axis: that of its one dimension, or what it is."""
    return (labels.names[0] if len(labels.names) == 1 else prefix + axis), labels


def _coordinates(dim: str, labels: Labels) -> Coordinates:
    import pandas as pd
    import xarray

    if labels.names == [dim]:
        return xarray.Coordinates({dim: labels.column(dim)})
    columns = [labels.column(name) for name in labels.names]
    index = pd.MultiIndex.from_arrays(columns, names=labels.names)
    return xarray.Coordinates.from_pandas_multiindex(index, dim)


def _twice(name: str) -> ValueError:
    return ValueError(
        f"two axes of the dataset would have the name {name!r}; rename_dimension tells them apart"
    )


# -- from ------------------------------------------------------------------------------


def _map(tree: Any) -> TensorMap:
    nodes = list(tree.children.values())
    names = tree.attrs.get("keys") or (list(nodes[0].attrs) if nodes else ["_"])
    names = [names] if isinstance(names, str) else list(names)
    try:
        rows = [[int(node.attrs[name]) for name in names] for node in nodes]
    except KeyError as error:
        raise ValueError(
            f"each node of the tree needs its key in its attributes, {names}; {error} is missing"
        ) from None
    keys = Labels(names, np.reshape(np.array(rows, int), (-1, len(names))))
    blocks = [from_xarray(node.to_dataset()) for node in nodes]
    tensor = TensorMap(keys, blocks)
    for name, text in tree.attrs.items():
        if name.startswith(_INFO):
            tensor.set_info(name.removeprefix(_INFO), text)
    return tensor


def _block(data: Any, name: str, prefix: str) -> TensorBlock:
    variable = data[name]
    if variable.ndim < 2:
        raise ValueError(f"{name!r} needs two or more axes, got {variable.dims}")
    first, *middle, last = variable.dims
    block = TensorBlock(
        variable.to_numpy(),
        _labels(data, first, prefix),
        [_labels(data, dim, "") for dim in middle],
        _labels(data, last, ""),
    )
    for parameter in [str(other) for other in data.data_vars if other != "values"]:
        inner = parameter.removeprefix(prefix)
        if parameter.startswith(prefix) and "." not in inner:
            block.add_gradient(inner, _block(data, parameter, f"{parameter}."))
    return block


def _labels(data: Any, dim: str, prefix: str) -> Labels:
    index = data.indexes.get(dim)
    if index is None:
        return Labels.range(dim.removeprefix(prefix), data.sizes[dim])
    table = index.to_frame().to_numpy()
    names = [dim] if index.nlevels == 1 else index.names
    return Labels([name.removeprefix(prefix) for name in names], table)
