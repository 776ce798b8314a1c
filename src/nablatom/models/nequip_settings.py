"""The settings of NequIP: from arguments, YAML and cards, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from nablatom.models.irreps import Irreps

__all__ = ["NequIPSettings", "read_settings"]

NAME = "NequIP"


class NequIPSettings(BaseModel):
    """What makes a NequIP before its weights; the meaning of each is in `NequIP`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    types: tuple[str, ...] = Field(min_length=1)
    cutoff: float = Field(gt=0)
    layers: int = Field(default=3, ge=1)
    l_max: int = Field(default=1, ge=0, le=10)
    features: int | tuple[int, ...] = 32
    parity: bool = True
    radial_functions: int = Field(default=8, ge=1)
    trainable_radial: bool = False
    cutoff_power: float = Field(default=6, ge=2)
    radial_hidden: tuple[int, ...] = (128,)
    readout_hidden: tuple[int, ...] = ()
    type_features: int | None = Field(default=None, ge=1)
    average_neighbors: float | dict[str, float] = 1.0
    scales: float | dict[str, float] = 1.0
    shifts: float | dict[str, float] = 0.0
    trainable_scales: bool = False
    trainable_shifts: bool = False
    zbl: bool = False
    seed: int = 0

    @classmethod
    def checked(cls, settings: Mapping[str, Any]) -> NequIPSettings:
        """The settings, or a ValueError that names what is wrong with which."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            told = (f"{_place(found['loc'])}: {_reason(found)}" for found in error.errors())
            raise ValueError(f"settings of {NAME}: " + "; ".join(dict.fromkeys(told))) from None

    @field_validator("types")
    @classmethod
    def _elements(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in types:
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(f"{symbol!r} is no element symbol")
        if len(set(types)) < len(types):
            raise ValueError(f"an element stands twice in {', '.join(types)}")
        return types

    @model_validator(mode="after")
    def _consistent(self) -> NequIPSettings:
        if len(self.widths) != self.l_max + 1 or min(self.widths) < 1:
            raise ValueError(
                f"features are {self.features}; expected one positive number, or one for each l "
                f"from 0 to l_max = {self.l_max}"
            )
        for name in ("average_neighbors", "scales", "shifts"):
            values = getattr(self, name)
            if isinstance(values, dict) and set(values) != set(self.types):
                raise ValueError(
                    f"{name} are for {', '.join(values)}; expected {', '.join(self.types)}"
                )
        if min(self.by_type(self.average_neighbors)) <= 0:
            raise ValueError(f"average_neighbors are {self.average_neighbors}, not positive")
        if min((*self.radial_hidden, *self.readout_hidden), default=1) < 1:
            raise ValueError("a hidden layer has no neurons")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of features for each l."""
        same = (self.features,) * (self.l_max + 1)
        return same if isinstance(self.features, int) else self.features  # type: ignore[return-value]

    @property
    def type_width(self) -> int:
        """Size of the embedding of types."""
        return self.type_features or self.widths[0]

    @property
    def hidden(self) -> Irreps:
        """Of the features between layers, in full."""
        parities = {l: (1, -1) if self.parity else ((-1) ** l,) for l in range(self.l_max + 1)}
        return Irreps([(self.widths[l], (l, p)) for l, both in parities.items() for p in both])

    def by_type(self, values: float | Mapping[str, float]) -> list[float]:
        """One value for each type."""
        if isinstance(values, Mapping):
            return [float(values[symbol]) for symbol in self.types]
        return [float(values)] * len(self.types)


def read_settings(path: str | Path) -> NequIPSettings:
    """The settings in a file ``model.yaml``; ``model: nequip`` may say what they are for.

    Raises
    ------
    ValueError
        The file is no YAML, is for another model, or a setting is unknown, missing or out of
        range: names it.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} should hold settings as 'name: value', got {found!r}")
    kind = found.pop("model", NAME)
    if str(kind).lower() != NAME.lower():
        raise ValueError(f"{path} describes the model {kind!r}; expected {NAME.lower()!r}")
    try:
        return NequIPSettings.checked(found)
    except ValueError as error:
        error.add_note(f"in {path}")
        raise


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location[:1])) or "together"


def _reason(found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return f"there is no such setting; choose from {', '.join(NequIPSettings.model_fields)}"
    if found["type"] == "missing":
        return "is missing"
    message = str(found["msg"]).removeprefix("Value error, ")
    return (
        message if found["type"] == "value_error" else f"{message.lower()}, got {found['input']!r}"
    )
