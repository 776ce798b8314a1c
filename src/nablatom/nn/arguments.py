"""What the constructors of layers have in common: one value for each key, and invariant keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nablatom.labels import Labels, Rows

__all__ = ["Features", "input_features", "invariant", "output_features", "per_key"]

Features = int | Labels | Sequence[int] | Sequence[Labels]
"""The number of properties, or their labels, for all keys or for each."""


def per_key(value: object, name: str, kinds: tuple[type, ...], count: int) -> list[Any]:
    """The values for each of ``count`` keys, from one for all of them or from a list.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If there is not one for each key.
    """
    values = list(value) if isinstance(value, list | tuple) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name} must have one value for each of {count} keys, got {len(values)}")
    for each in values:
        if not isinstance(each, kinds) or (isinstance(each, bool) and bool not in kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(
                f"{name} must be {expected}, for all keys or in a list with one for each, "
                f"got {each!r}"
            )
        if isinstance(each, int) and each < 0:
            raise ValueError(f"{name} must not be negative, got {each}")
    return values


def input_features(value: Features, count: int) -> tuple[list[int], list[Labels] | None]:
    """The number of properties for each key, and their labels where these were given."""
    features = per_key(value, "in_features", (int, Labels), count)
    numbers = [len(x) if isinstance(x, Labels) else x for x in features]
    labels = [x for x in features if isinstance(x, Labels)]
    if labels and len(labels) < count:
        raise TypeError("in_features must be numbers for all keys or labels for all keys")
    return numbers, labels or None


def output_features(
    value: int | Sequence[int] | None, out_properties: Sequence[Labels] | None, count: int
) -> list[int]:
    """The number of properties for each key, from themselves or from their labels."""
    if out_properties is not None:
        numbers = [len(x) for x in per_key(out_properties, "out_properties", (Labels,), count)]
        if value is not None and per_key(value, "out_features", (int,), count) != numbers:
            raise ValueError(f"out_features is {value}, but out_properties have {numbers} entries")
        return numbers
    if value is None:
        raise ValueError("give out_features or out_properties")
    return per_key(value, "out_features", (int,), count)


def invariant(in_keys: Labels, invariant_keys: Labels | None) -> Rows:
    """The places of the invariant keys: those with ``o3_lambda=0, o3_sigma=1`` by default."""
    selection = invariant_keys
    if selection is None:
        selection = Labels(["o3_lambda", "o3_sigma"], [[0, 1]])
    try:
        return in_keys.select(selection)
    except ValueError as error:
        error.add_note("invariant_keys selects the keys of invariant blocks")
        raise
