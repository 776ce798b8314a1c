"""The card of a model: in JSON, what its weights are for and where they come from."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from nablatom.models.architectures import Storable, architecture_of

__all__ = ["FORMAT", "Card", "card_of", "dtype_of"]

FORMAT = "nablatom model"
UNITS = {"energy": "eV", "length": "Å"}
LIBRARIES = ("nablatom", "torch", "e3nn")


class Card(BaseModel):
    """What stands beside the weights.

    Attributes
    ----------
    format, version
        Of the card itself.
    architecture, settings
        The model, and its arguments that are no weights.
    types, cutoff, units
        Element symbols by type, the cutoff in Å, and what energies and lengths are in.
    dtype
        Of the weights.
    parameters
        How many numbers were or can be trained.
    versions
        Of the libraries that wrote it.
    training
        How it was trained, in the words of who trained it.
    sha256
        Of the file of weights, where that is another file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = FORMAT
    version: int = 1
    architecture: str
    settings: dict[str, JsonValue]
    types: tuple[str, ...]
    cutoff: float
    units: dict[str, str] = Field(default_factory=lambda: dict(UNITS))
    dtype: str
    parameters: int
    versions: dict[str, str]
    training: dict[str, JsonValue] = Field(default_factory=dict)
    sha256: str | None = None

    @classmethod
    def read(cls, text: str | bytes, origin: object) -> Card:
        """The card in JSON, or a ValueError that says what is wrong with it, and where."""
        try:
            card = cls.model_validate_json(text)
        except ValidationError as error:
            told = "; ".join(
                f"{'.'.join(map(str, found['loc'])) or 'all of it'}: {found['msg'].lower()}"
                for found in error.errors()
            )
            raise ValueError(f"{origin} holds no card of a model: {told}") from None
        card.check(origin)
        return card

    def check(self, origin: object) -> None:
        """That this version can read it, and that it does not contradict itself."""
        if self.format != FORMAT or self.version != 1:
            raise ValueError(
                f"{origin} is in the format {self.format!r}, version {self.version}; this version "
                f"of nablatom reads {FORMAT!r}, version 1"
            )
        if self.units != UNITS:
            raise ValueError(f"{origin} is for the units {self.units}; expected {UNITS}")
        for name in ("types", "cutoff"):
            told, meant = getattr(self, name), self.settings.get(name)
            if told != (tuple(meant) if isinstance(meant, list) else meant):
                raise ValueError(
                    f"{origin} contradicts itself: {name} are {told}, but {meant} in the settings"
                )


def card_of(model: Storable, training: Mapping[str, Any]) -> Card:
    """The card of a model, as it is now.

    Raises
    ------
    TypeError
        The model is of a kind that cannot be made again.
    """
    first = next(chain(model.parameters(), model.buffers()))
    return Card(
        architecture=type(model).__name__,
        settings=architecture_of(model).settings(model),
        types=model.type_names,
        cutoff=model.cutoff,
        dtype=str(first.dtype).removeprefix("torch."),
        parameters=sum(p.numel() for p in model.parameters()),
        versions={"python": platform.python_version()} | {k: _version(k) for k in LIBRARIES},
        training=dict(training),
    )


def dtype_of(card: Card) -> torch.dtype:
    """The precision of the weights."""
    known = {"float32": torch.float32, "float64": torch.float64}
    if card.dtype not in known:
        raise ValueError(f"weights in {card.dtype!r}; expected {' or '.join(known)}")
    return known[card.dtype]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
