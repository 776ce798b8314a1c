"""Calculators ⇄ YAML, and from the dictionaries that featomic takes."""

from collections.abc import Mapping

import yaml

from nablatom.descriptors.featomic import from_featomic
from nablatom.descriptors.plain import from_plain, to_plain

__all__ = ["calculator_from", "from_yaml", "to_yaml"]


def to_yaml(calculator: object) -> str:
    """The text that `from_yaml` turns back; settings that have their default are left out.

    Raises
    ------
    ValueError
        It contains something that text cannot hold, such as a function.

    Examples
    --------
    >>> from nablatom.descriptors import Cutoff, SoapPowerSpectrum
    >>> print(to_yaml(SoapPowerSpectrum(cutoff=Cutoff(4.0), max_angular=4)))
    SoapPowerSpectrum:
      cutoff:
        Cutoff:
          radius: 4.0
      max_angular: 4
    <BLANKLINE>
    """
    return yaml.safe_dump(to_plain(calculator), sort_keys=False)


def from_yaml(text: str) -> object:
    """The calculator that a text describes: the name of its class, then its settings.

    Settings may also be those of featomic.

    Raises
    ------
    ValueError
        Not YAML, no such class, or wrong settings; the message names them.

    Examples
    --------
    >>> from_yaml("SortedDistances: {cutoff: 4.0, max_neighbors: 8}")
    SortedDistances(cutoff=4.0, max_neighbors=8, separate_neighbor_types=True)
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"this is not YAML: {error}") from error
    if not isinstance(found, Mapping) or len(found) != 1:
        raise ValueError(f"expected one calculator, 'name: settings', got {found!r}")
    [(name, settings)] = found.items()
    return calculator_from(str(name), settings)


def calculator_from(name: str, settings: object) -> object:
    """A calculator by the name of its class, with its own settings or featomic's.

    Raises
    ------
    ValueError
        There is no such class, or its settings are wrong.
    """
    if settings is None:
        settings = {}
    if not isinstance(settings, Mapping):
        raise ValueError(f"expected the settings of {name} as 'name: value', got {settings!r}")
    if "basis" in settings or _has_smoothing(settings.get("cutoff")):
        return from_featomic(name, settings)
    return from_plain({name: settings})


def _has_smoothing(cutoff: object) -> bool:
    return isinstance(cutoff, Mapping) and "radius" in cutoff
