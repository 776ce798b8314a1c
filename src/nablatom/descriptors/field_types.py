"""What settings may be, from the annotations of the class that has them."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["check_settings"]

NUMBERS = {bool: (bool,), int: (Integral,), float: (Real,), str: (str,)}


def check_settings(kind: type, settings: Mapping[str, object]) -> None:
    """Refuse settings that a dataclass does not have, of another type, or too few.

    Raises
    ------
    TypeError
        Names the setting, what was expected, and what came.

    Examples
    --------
    >>> from nablatom.descriptors import Gto
    >>> check_settings(Gto, {"max_radial": "many"})
    Traceback (most recent call last):
    TypeError: max_radial must be a whole number, got 'many'
    """
    known = {f.name: f for f in fields(kind) if f.init}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise TypeError(f"there is no {unknown[0]!r}; choose from {', '.join(known)}")
    required = [n for n, f in known.items() if f.default is f.default_factory is MISSING]
    missing = [name for name in required if name not in settings]
    if missing:
        raise TypeError(f"{', '.join(missing)} must be given; there are {', '.join(known)}")
    hints = _hints(kind)
    for name, value in settings.items():
        if not _fits(value, hints[name]):
            raise TypeError(f"{name} must be {_told(hints[name])}, got {value!r}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        parts = value if isinstance(value, tuple | list) else None
        return parts is not None and all(_fits(part, arguments[0]) for part in parts)
    if origin is Callable:
        return callable(value)
    if hint in NUMBERS:
        return isinstance(value, NUMBERS[hint]) and (hint is bool or not isinstance(value, bool))
    if getattr(hint, "_is_protocol", False):
        return not isinstance(value, type) and all(hasattr(value, one) for one in _asked(hint))
    return not isinstance(hint, type) or isinstance(value, hint)


def _asked(protocol: type) -> list[str]:
    """What a protocol asks for."""
    return [name for name in vars(protocol) if name == "__call__" or not name.startswith("_")]


def _told(hint: Any) -> str:
    """The hint in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(map(_told, arguments))
    if origin is tuple:
        return f"a list of ({_told(arguments[0])})"
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    if hint is NoneType:
        return "nothing"
    if hint in words:
        return words[hint]
    if origin is Callable:
        return "a calculator"
    return f"a {getattr(hint, '__name__', hint)}"
