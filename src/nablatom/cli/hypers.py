"""Settings of a descriptor as text: from a YAML file and from options, checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

import nablatom.descriptors
from nablatom.descriptors import (
    Cutoff,
    Delta,
    SoapPowerSpectrum,
    SoapRadialSpectrum,
    SphericalWaves,
)
from nablatom.descriptors.density_calculator import DensityCalculator
from nablatom.descriptors.explicit import Explicit
from nablatom.descriptors.plain import to_plain
from nablatom.descriptors.settings import calculator_from

__all__ = ["AnyCalculator", "Chosen", "Hypers", "chosen", "settings"]

AnyCalculator: TypeAlias = DensityCalculator | Explicit

Calculator: TypeAlias = DensityCalculator | Explicit

SIMPLE = ("power-spectrum", "radial-spectrum")
KINDS = tuple(
    name
    for name, kind in vars(nablatom.descriptors).items()
    if isinstance(kind, type) and issubclass(kind, DensityCalculator | Explicit)
)


class Hypers(BaseModel):
    """What a descriptor needs to know.

    The defaults are a small basis, chosen by cross-validation on the training parts of generated
    copper and of DFT silicon.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    descriptor: Literal["power-spectrum", "radial-spectrum"] = "power-spectrum"
    cutoff: float = Field(default=5.5, gt=0, allow_inf_nan=False)
    width: float = Field(default=1.5, gt=0, allow_inf_nan=False)
    max_radial: int = Field(default=5, ge=0, le=40)
    max_angular: int = Field(default=6, ge=0, le=20)

    def calculator(self) -> AnyCalculator:
        """The descriptor with these settings."""
        cutoff, radial = Cutoff(self.cutoff, width=self.width), SphericalWaves(self.max_radial)
        if self.descriptor == "radial-spectrum":
            return SoapRadialSpectrum(
                cutoff=cutoff, radial=radial, density=Delta(), center_weight=0.0
            )
        return SoapPowerSpectrum(
            cutoff=cutoff,
            radial=radial,
            density=Delta(),
            center_weight=0.0,
            max_angular=self.max_angular,
            unique=True,
            radial_spectrum=True,
        )

    def summary(self) -> str:
        """The settings in one line, with units."""
        angular = f", l ≤ {self.max_angular}" if self.descriptor == "power-spectrum" else ""
        name = self.descriptor.replace("-", " ")
        radius = f"cutoff {self.cutoff:g} Å (width {self.width:g} Å)"
        return f"{name}, {radius}, {self.max_radial + 1} radial functions{angular}"


def settings(path: Path | None, **options: str | float | None) -> Hypers:
    """The settings in a file, overridden by the options that are not None.

    Raises
    ------
    ValueError
        Not YAML, an unknown setting, or one out of range; the message names it.
    """
    found = {} if path is None else _read(path)
    found |= {name: value for name, value in options.items() if value is not None}
    try:
        return Hypers.model_validate(found)
    except ValidationError as error:
        raise ValueError("\n".join(map(_said, error.errors()))) from None


@dataclass(frozen=True)
class Chosen:
    """A calculator, in a line for people, and its settings for programs."""

    calculator: AnyCalculator
    summary: str
    settings: object


def chosen(path: Path | None, *, descriptor: str | None, **options: float | None) -> Chosen:
    """The calculator of a name, or of the name in a file of settings, or the simple one.

    The simple names of `Hypers` take the simple settings; all others, ``soap-power-spectrum`` or
    ``SoapPowerSpectrum``, a file with their own settings or with featomic's.

    Raises
    ------
    ValueError
        There is no such calculator, a setting is wrong, or an option is not for this one.
    """
    found = {} if path is None else _read(path)
    name = descriptor or _named(found)
    if name is None or name in SIMPLE:
        simple = settings(path, descriptor=name, **options)
        return Chosen(simple.calculator(), simple.summary(), simple.model_dump())
    given = [f"--{option.replace('_', '-')}" for option in options if options[option] is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)}: for {' and '.join(SIMPLE)} only; give the settings of {name} "
            "in a file, with --hypers"
        )
    found.pop("descriptor", None)
    calculator = _calculator(name, found)
    return Chosen(calculator, repr(calculator), to_plain(calculator))


def _named(found: dict[str, object]) -> str | None:
    """What a file says it is about: ``descriptor: name``, or ``Name: {settings}``."""
    if "descriptor" in found:
        return str(found["descriptor"])
    return next((name for name in found if len(found) == 1 and _class_name(name) in KINDS), None)


def _calculator(name: str, found: dict[str, object]) -> AnyCalculator:
    kind = _class_name(name)
    if kind not in KINDS:
        known = ", ".join(sorted((*SIMPLE, *map(_kebab, KINDS))))
        order = "; the name comes first, then the structures" if Path(name).exists() else ""
        raise ValueError(f"no calculator {name!r}{order}; choose from {known}")
    given = next((name for name in found if len(found) == 1 and _class_name(name) == kind), None)
    if given is not None:
        found = cast("dict[str, object]", found[given] or {})
    return cast("AnyCalculator", calculator_from(kind, found))


def _class_name(name: str) -> str:
    if "-" not in name and name[:1].isupper():
        return name
    return "".join(part.capitalize() for part in name.split("-"))


def _kebab(kind: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in kind).strip("-")


def _read(path: Path) -> dict[str, object]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} should hold settings as 'name: value', got {found!r}")
    return found


def _said(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"no setting {name!r}; choose from {', '.join(Hypers.model_fields)}"
    return f"setting {name!r}: {error['msg'].lower()}, got {error['input']!r}"
