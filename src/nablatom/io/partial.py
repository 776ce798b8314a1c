"""Parts of blocks: the rows and columns that match a selection, copied out of a larger block.

With a block whose values are a view of a file, this reads the part alone.
"""

import numpy as np

from nablatom import arrays
from nablatom.block import TensorBlock
from nablatom.labels import Labels, Rows

__all__ = ["select"]


def select(block: TensorBlock, samples: Labels | None, properties: Labels | None) -> TensorBlock:
    """The rows that match ``samples``, the columns that match ``properties``, gradients too.

    Raises
    ------
    ValueError
        If a selection has a dimension that the block does not have.
    """
    rows = None if samples is None else block.samples.select(samples)
    columns = None if properties is None else block.properties.select(properties)
    chosen = block.properties if columns is None else _taken(block.properties, columns)
    kept = block.samples if rows is None else _taken(block.samples, rows)
    return _part(block, rows, columns, kept, chosen)


def _part(
    block: TensorBlock, rows: Rows | None, columns: Rows | None, samples: Labels, properties: Labels
) -> TensorBlock:
    """These rows and columns (None: all), which the labels describe."""
    values = block.values
    if rows is not None:
        values = arrays.take(values, rows)
    if columns is not None:
        values = arrays.take(values, columns, axis=-1)
    gradients = {}
    for parameter, gradient in block.gradients():
        inner, labels = _gradient_rows(gradient.samples, rows, len(block.samples))
        gradients[parameter] = _part(gradient, inner, columns, labels, properties)
    return TensorBlock.unchecked(values, samples, tuple(block.components), properties, gradients)


def _gradient_rows(samples: Labels, rows: Rows | None, count: int) -> tuple[Rows | None, Labels]:
    """The gradient rows of some rows of the values, and their labels with these rows counted."""
    if rows is None:
        return None, samples
    place = np.full(count, -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    moved = place[samples.column("sample")]
    inner = np.flatnonzero(moved >= 0)
    values = samples.values[inner]
    values[:, 0] = moved[inner]
    return inner, Labels.unchecked(tuple(samples.names), values)


def _taken(labels: Labels, entries: Rows) -> Labels:
    return Labels.unchecked(tuple(labels.names), labels.values[entries])
