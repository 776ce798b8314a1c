"""Batches of samples, with maps and tensors joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from nablatom.nn.record import Record, record
from nablatom.operations import join
from nablatom.tensor import TensorMap

__all__ = ["DataLoader", "group", "group_and_join"]


class DataLoader(torch.utils.data.DataLoader[Any]):
    """Batches of a dataset: ``torch.utils.data.DataLoader`` that joins maps along samples.

    Parameters
    ----------
    dataset
        Such as :class:`~nablatom.nn.Dataset`.
    collate_fn
        What makes a batch of a list of samples: :func:`group_and_join`, :func:`group` or a
        function of your own. For options, ``functools.partial(group_and_join, …)``.
    **kwargs
        All that torch's own takes: ``batch_size``, ``shuffle``, ``num_workers``,
        ``pin_memory``, ….

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> from nablatom.nn import Dataset
    >>> def energy(system):
    ...     samples = Labels(["system"], [[system]])
    ...     values = torch.tensor([[float(system)]])
    ...     block = TensorBlock(values, samples, [], Labels.range("energy", 1))
    ...     return TensorMap(Labels.single(), [block])
    >>> loader = DataLoader(Dataset(energy=energy, size=3), batch_size=2)
    >>> [batch.energy.block().values.flatten().tolist() for batch in loader]
    [[0.0, 1.0], [2.0]]
    """

    def __init__(
        self,
        dataset: torch.utils.data.Dataset[Any],
        collate_fn: Callable[[list[Any]], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset, collate_fn=collate_fn or group_and_join, **kwargs)


def group(batch: Sequence[Any]) -> Record:
    """The samples of a batch field by field: a tuple of values for each.

    Examples
    --------
    >>> from nablatom.nn import Dataset
    >>> group(list(Dataset(number=[1, 2], letter=["a", "b"])))
    Batch(number=(1, 2), letter=('a', 'b'))
    """
    names = _names(batch)
    return record("Batch", names)(*zip(*batch, strict=True))


def group_and_join(
    batch: Sequence[Any],
    fields_to_join: Sequence[str] | None = None,
    join_kwargs: Mapping[str, Any] | None = None,
) -> Record:
    """The samples of a batch field by field, maps and tensors joined along their samples.

    Maps are joined by :func:`nablatom.join`, with their gradients, tensors stacked by
    ``torch.vstack``; other fields, and ``sample_id``, stay tuples of values.

    Parameters
    ----------
    fields_to_join
        The fields to join where that can be done; by default all.
    join_kwargs
        Options of :func:`nablatom.join`, such as ``{"different_keys": "union"}`` for maps
        that do not all have the same keys.

    Raises
    ------
    ValueError
        If maps or tensors do not go together; the note says in which field.

    Examples
    --------
    >>> import torch
    >>> from nablatom import Labels, TensorBlock, TensorMap
    >>> from nablatom.nn import Dataset
    >>> def energy(system):
    ...     samples = Labels(["system"], [[system]])
    ...     block = TensorBlock(torch.ones(1, 1), samples, [], Labels.range("energy", 1))
    ...     return TensorMap(Labels.single(), [block])
    >>> batch = group_and_join(Dataset(energy=[energy(3), energy(7)], name=["a", "b"]))
    >>> batch.energy.block().samples["system"], batch.name
    (array([3, 7], dtype=int32), ('a', 'b'))
    """
    names, options = _names(batch), dict(join_kwargs or {})
    data = []
    for name, values in zip(names, zip(*batch, strict=True), strict=True):
        wanted = name != "sample_id" and (fields_to_join is None or name in fields_to_join)
        try:
            data.append(_joined(values, options) if wanted else values)
        except (ValueError, RuntimeError) as error:
            error.add_note(f"in the field {name!r} of a batch")
            raise
    return record("Batch", names)(*data)


def _names(batch: Sequence[Any]) -> tuple[str, ...]:
    if not batch:
        raise ValueError("a batch has at least one sample")
    return tuple(batch[0]._fields)


def _joined(values: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if isinstance(values[0], TensorMap):
        return join(values, **{"axis": "samples", **options})
    if isinstance(values[0], torch.Tensor):
        return torch.vstack(values)
    return values
