"""Settings of a descriptor as text: from a YAML file and from options, checked."""

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

__all__ = ["Hypers", "calculator_named", "settings"]

Calculator: TypeAlias = DensityCalculator | Explicit

SIMPLE = ("power-spectrum", "radial-spectrum")
CALCULATORS = tuple(
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

    def calculator(self) -> Calculator:
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


def calculator_named(
    name: str, path: Path | None, **options: str | float | None
) -> tuple[Calculator, object]:
    """The calculator of a name, ``soap-power-spectrum`` or ``SoapPowerSpectrum``, and its settings.

    The simple names of `Hypers` take the simple settings; all others take a file with their own
    settings, or with featomic's.

    Raises
    ------
    ValueError
        There is no such calculator, a setting is wrong, or an option is not for this one.
    """
    if name in SIMPLE:
        if options.get("descriptor") not in (None, name):
            raise ValueError(f"{name} and --descriptor {options['descriptor']}: choose one of them")
        simple = settings(path, **{**options, "descriptor": name})
        return simple.calculator(), simple.model_dump()
    given = [f"--{option.replace('_', '-')}" for option, value in options.items() if value]
    if given:
        raise ValueError(
            f"{', '.join(given)}: for {' and '.join(SIMPLE)} only; give the settings of {name} "
            "in a file, with --hypers"
        )
    found = {} if path is None else _read(path)
    kind = name if "-" not in name and name[:1].isupper() else _class_name(name)
    if len(found) == 1 and kind in found:
        found = cast("dict[str, object]", found[kind] or {})
    if kind not in CALCULATORS:
        known = ", ".join(sorted((*SIMPLE, *map(_kebab, CALCULATORS))))
        order = "; the name comes first, then the structures" if Path(name).exists() else ""
        raise ValueError(f"no calculator {name!r}{order}; choose from {known}")
    calculator = cast("Calculator", calculator_from(kind, found))
    return calculator, to_plain(calculator)


def _class_name(name: str) -> str:
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
