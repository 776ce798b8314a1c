r"""One array as bytes: the header in front of the payload of a ``.npy`` file.

A file is the magic ``\x93NUMPY``, the version, the length of the header, the header itself (a
Python literal of dtype, memory order and shape, then spaces, then a newline) and the payload.
The header is read with a small grammar instead of Python's, so that a hostile one costs
nothing, and written with as many spaces as bring the payload to a multiple of 64 bytes.
"""

import re
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

__all__ = [
    "ALIGNMENT",
    "DTYPES",
    "Header",
    "descr",
    "header_length",
    "labels_descr",
    "pack",
    "parse",
]

ALIGNMENT = 64
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16")

_MAGIC = b"\x93NUMPY"
_INTEGERS = tuple(code for code in DTYPES if code[0] in "iu")
_LONGEST_IN_VERSION_1 = 0xFFFF
_MOST_DIMENSIONS, _MOST_DIGITS = 64, 18
_ITEM = re.compile(
    r"\s*'(descr|fortran_order|shape)'\s*:\s*"
    r"('[^']*'|True|False|\([\d\s,]*\)|\[[^\[\]]*\])\s*(?:,|(?=\}))",
    re.ASCII,
)
_FIELD = re.compile(r"\s*\(\s*'([A-Za-z_][A-Za-z0-9_]*)'\s*,\s*'([<>|]\w+)'\s*\)\s*(?:,|\Z)")


class Header(NamedTuple):
    """What the payload is: of labels, ``names`` are the columns; of values, they are None."""

    names: tuple[str, ...] | None
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran: bool
    nbytes: int
    is_usual: bool
    """Native byte order and C order; of labels, 32 bits in every column: no conversion."""


def descr(dtype: np.dtype[np.generic]) -> str:
    """The dtype as the header spells it, little-endian also for single bytes."""
    code = f"{dtype.kind}{dtype.itemsize}"
    if code not in DTYPES:
        raise ValueError(f"dtype {dtype} is not one of {', '.join(DTYPES)}")
    return f"'<{code}'"


@lru_cache(maxsize=256)
def labels_descr(names: tuple[str, ...]) -> str:
    """The dtype of labels: one little-endian 32-bit integer per name."""
    return "[" + ", ".join(f"('{name}', '<i4')" for name in names) + "]"


@lru_cache(maxsize=1024)
def pack(descr: str, shape: tuple[int, ...], phase: int) -> bytes:
    """A header that, started at an offset of ``phase``, ends at a multiple of 64 bytes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    version = 1 if len(text) + ALIGNMENT <= _LONGEST_IN_VERSION_1 else 2
    digits = 2 * version
    unpadded = len(_MAGIC) + 2 + digits + len(text) + 1
    text += b" " * (-(phase + unpadded) % ALIGNMENT) + b"\n"
    return _MAGIC + bytes([version, 0]) + len(text).to_bytes(digits, "little") + text


def header_length(start: bytes) -> int:
    """The length of the whole header, from the first 12 bytes of a file."""
    if len(start) < 12 or start[:6] != _MAGIC:
        raise ValueError("it is no .npy array, which begins with \\x93NUMPY")
    if start[6] not in (1, 2, 3) or start[7] != 0:
        raise ValueError(f"it is .npy of version {start[6]}.{start[7]}, not 1.0, 2.0 or 3.0")
    if start[6] == 1:
        return 10 + start[8] + (start[9] << 8)
    return 12 + int.from_bytes(start[8:12], "little")


def parse(header: bytes) -> Header:
    """The meaning of a whole header, from the magic to the newline."""
    return _parse_cached(header) if len(header) <= 1024 else _parse(header)


def _parse(header: bytes) -> Header:
    encoding = "utf-8" if header[6] == 3 else "latin1"
    items = _items(header[10 if header[6] == 1 else 12 :].decode(encoding))
    shape = _shape(items["shape"])
    fortran = items["fortran_order"] == "True"
    if items["descr"][0] == "[":
        names, dtype = _fields(items["descr"][1:-1])
    else:
        names, dtype = None, _dtype(items["descr"][1:-1], DTYPES)
    usual = dtype == np.dtype([(name, np.int32) for name in names]) if names else dtype.isnative
    nbytes = prod(shape) * dtype.itemsize
    return Header(names, dtype, shape, fortran, nbytes, usual and not fortran)


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _items(text: str) -> dict[str, str]:
    """The three entries of the header, unread."""
    text = text.strip(" \n")
    items: dict[str, str] = {}
    position = 1
    while match := _ITEM.match(text, position):
        items[match[1]] = match[2]
        position = match.end()
    if not text.startswith("{") or text[position:].strip() != "}" or len(items) != 3:
        raise ValueError(f"cannot understand the .npy header {_shortened(text)}")
    for name, first in {"descr": "'[", "fortran_order": "TF", "shape": "("}.items():
        if items[name][0] not in first:
            raise ValueError(f"cannot understand {name} {_shortened(items[name])}")
    return items


def _shape(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text[1:-1].split(",")]
    if sizes[-1] == "":
        sizes.pop()
    if len(sizes) > _MOST_DIMENSIONS or any(len(size) > _MOST_DIGITS for size in sizes):
        raise ValueError(f"the shape {_shortened(text)} is impossible")
    return tuple(map(int, sizes))


def _dtype(text: str, allowed: tuple[str, ...]) -> np.dtype[np.generic]:
    if text[:1] not in ("<", ">", "|") or text[1:] not in allowed:
        raise ValueError(f"dtype {_shortened(text)} is not one of {', '.join(allowed)}")
    return np.dtype(text)


def _fields(text: str) -> tuple[tuple[str, ...], np.dtype[np.generic]]:
    """The names and the structured dtype of labels."""
    fields: dict[str, np.dtype[np.generic]] = {}
    position = count = 0
    while match := _FIELD.match(text, position):
        fields[match[1]] = _dtype(match[2], _INTEGERS)
        position = match.end()
        count += 1
    if text[position:].strip() or len(fields) != count:
        raise ValueError(
            f"cannot understand the columns {_shortened(text)}: expected different names of "
            "letters, digits and underscores, each with an integer dtype"
        )
    return tuple(fields), np.dtype(list(fields.items()))


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "...")
