"""Methods of maps that move dimensions between keys and axes, as functions."""

from __future__ import annotations

from collections.abc import Sequence

from nablatom.labels import Labels
from nablatom.operations.operands import check_map
from nablatom.tensor import TensorMap

__all__ = ["components_to_properties", "keys_to_properties", "keys_to_samples"]


def keys_to_samples(
    tensor: TensorMap,
    keys_to_move: str | Sequence[str],
    *,
    fill_value: float = 0.0,
    sort_samples: bool = True,
) -> TensorMap:
    """Blocks merged along samples: :meth:`TensorMap.keys_to_samples` as a function.

    Gradients, and theirs, are merged like values; the rows of each follow its samples.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> tensor = TensorMap(Labels(["center_type"], [[1], [8]]), [block, block])
    >>> keys_to_samples(tensor, "center_type").block().samples["center_type"]
    array([1, 8], dtype=int32)
    """
    check_map("keys_to_samples", tensor)
    return tensor.keys_to_samples(keys_to_move, fill_value=fill_value, sort_samples=sort_samples)


def keys_to_properties(
    tensor: TensorMap,
    keys_to_move: str | Sequence[str] | Labels,
    *,
    fill_value: float = 0.0,
    sort_samples: bool = True,
) -> TensorMap:
    """Blocks merged along properties: :meth:`TensorMap.keys_to_properties` as a function.

    Gradients, and theirs, are merged like values; a row that a block does not have is zero there.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> block = block_from_array(np.array([[1.0, 2.0]]))
    >>> tensor = TensorMap(Labels(["center_type"], [[1], [8]]), [block, block])
    >>> keys_to_properties(tensor, "center_type").block().values
    array([[1., 2., 1., 2.]])
    """
    check_map("keys_to_properties", tensor)
    return tensor.keys_to_properties(keys_to_move, fill_value=fill_value, sort_samples=sort_samples)


def components_to_properties(tensor: TensorMap, dimensions: str | Sequence[str]) -> TensorMap:
    """Components before the properties: :meth:`TensorMap.components_to_properties` as a function.

    Gradients, and theirs, are rearranged like values; their own components stay.

    Examples
    --------
    >>> import numpy as np
    >>> from nablatom import Labels, TensorMap, block_from_array
    >>> tensor = TensorMap(Labels.single(), [block_from_array(np.ones((1, 3, 2)))])
    >>> components_to_properties(tensor, "component_1").block().shape
    (1, 6)
    """
    check_map("components_to_properties", tensor)
    return tensor.components_to_properties(dimensions)
