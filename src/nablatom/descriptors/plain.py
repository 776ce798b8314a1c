"""Descriptors ⇄ plain data: what JSON and YAML can hold.

A calculator, or a building block of one, is a mapping with one entry: the name of its class →
its settings, ``{"Cutoff": {"radius": 5.0, "width": 0.5}}``.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import nablatom.descriptors
from nablatom.descriptors.field_types import check_settings

__all__ = ["from_plain", "to_plain"]


def to_plain(thing: object) -> object:
    """Plain data that `from_plain` turns back; settings that have their default are left out.

    Raises
    ------
    ValueError
        It is, or contains, something that is not of `nablatom.descriptors`.

    Examples
    --------
    >>> from nablatom.descriptors import Cutoff, SoapRadialSpectrum
    >>> to_plain(SoapRadialSpectrum(cutoff=Cutoff(4.0, width=1.0)))
    {'SoapRadialSpectrum': {'cutoff': {'Cutoff': {'radius': 4.0, 'width': 1.0}}}}
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, tuple | list):
        return [to_plain(part) for part in thing]
    name = type(thing).__name__
    if _class(name) is not type(thing) or not is_dataclass(thing):
        raise ValueError(
            f"a {name} cannot be saved as text; what can are numbers, names, and the "
            "calculators and building blocks of nablatom.descriptors"
        )
    given = {f.name: getattr(thing, f.name) for f in fields(thing) if f.init}
    default = {f.name: f.default for f in fields(thing)}
    return {name: {k: to_plain(v) for k, v in given.items() if v != default[k]}}


def from_plain(plain: object) -> object:
    """The calculator that plain data describe.

    Raises
    ------
    ValueError
        There is no such class, or its settings are wrong.

    Examples
    --------
    >>> from_plain({"Gto": {"max_radial": 3}})
    Gto(max_radial=3, radius=None)
    """
    if isinstance(plain, list):
        return tuple(from_plain(part) for part in plain)
    if not isinstance(plain, Mapping):
        return plain
    if len(plain) != 1:
        raise ValueError(f"expected one class with its settings, got {', '.join(map(str, plain))}")
    [(name, settings)] = plain.items()
    kind = _class(str(name))
    if kind is None or not is_dataclass(kind):
        known = [k for k in nablatom.descriptors.__all__ if is_dataclass(_class(k))]
        raise ValueError(
            f"nablatom.descriptors has no class {name!r}; choose from {', '.join(known)}"
        )
    if not isinstance(settings, Mapping):
        raise ValueError(f"expected the settings of {name} as a mapping, got {settings!r}")
    given = {str(key): from_plain(value) for key, value in settings.items()}
    try:
        check_settings(kind, given)
        return kind(**given)
    except TypeError as error:
        raise ValueError(f"settings of {name}: {error}") from None


def _class(name: str) -> type | None:
    public = name in nablatom.descriptors.__all__
    kind = getattr(nablatom.descriptors, name) if public else None
    return kind if isinstance(kind, type) else None
