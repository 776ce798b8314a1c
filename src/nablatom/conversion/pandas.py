"""Blocks → tidy tables of pandas: one row for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.tensor import TensorMap

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["to_pandas"]


def to_pandas(tensor: TensorMap | TensorBlock) -> Any:
    """A tidy table of a block, or one for each key of a map: a row for each number.

    The columns are the dimensions of keys, samples, components and properties, and ``value``.
    Gradients are blocks with tables of their own: ``to_pandas(block.gradient("positions"))``.

    Parameters
    ----------
    tensor
        A block, which gives a ``DataFrame``, or a map, which gives a dictionary of them by the
        values of their keys; ``pandas.concat(tables.values())`` is one table of everything.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If two columns would have the same name.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import block_from_array
    >>> block = block_from_array(np.array([[1.0, 2.0], [3.0, 4.0]]), ["atom"], [], ["n"])
    >>> print(to_pandas(block).to_string(index=False))
     atom  n  value
        0  0    1.0
        0  1    2.0
        1  0    3.0
        1  1    4.0
    """
    if isinstance(tensor, TensorBlock):
        return _table(tensor, {})
    if not isinstance(tensor, TensorMap):
        raise TypeError(f"expected a TensorMap or a TensorBlock, got {type(tensor).__name__}")
    return {
        tuple(key): _table(block, dict(zip(key.names, key, strict=True)))
        for key, block in tensor.items()
    }


def _table(block: TensorBlock, key: dict[str, int]) -> DataFrame:
    import pandas as pd

    axes = [block.samples, *block.components, block.properties]
    names = [*key, *[name for labels in axes for name in labels.names], "value"]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"two columns of the table would be called {min(repeated)!r}; rename_dimension tells "
            "them apart"
        )
    columns: dict[str, Any] = {name: np.full(_size(block), value) for name, value in key.items()}
    for i, labels in enumerate(axes):
        shape = [len(labels) if i == j else 1 for j in range(len(axes))]
        for name in labels.names:
            along = np.broadcast_to(labels.column(name).reshape(shape), block.shape)
            columns[name] = along.reshape(-1)
    columns["value"] = np.asarray(arrays.to_numpy(block.values)).reshape(-1)
    return pd.DataFrame(columns)


def _size(block: TensorBlock) -> int:
    return int(np.prod(block.shape))
