"""Writing members one after the other as a ZIP archive whose arrays are aligned.

Members are stored as they are. The archive is a list of buffers to be written in order: a few
kilobytes of headers, and between them the arrays themselves, which are not copied.
"""

import struct
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nablatom.io import checksum, npy
from nablatom.io.checksum import crc32

__all__ = ["Member", "pack", "pack_buffer"]

Member = tuple[str, memoryview, str, tuple[int, ...]]
"""The ASCII name of a file in the archive, its payload, and the dtype and shape that its array
header shall declare; with an empty dtype, the payload is the whole file."""

Placing = Callable[[memoryview, int, int], int]
"""Is shown a payload and its place in the archive, and continues a checksum over it."""

_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the 64-bit field"
LIMIT16, LIMIT32 = _FULL16, _FULL32  # from here on

_LOCAL = struct.Struct("<14s3I2H")
_ENTRY = struct.Struct("<16s3I2H10sI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_PLACE = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_WIDE = struct.Struct("<2H2Q")
_VERSION, _VERSION_64 = 20, 45  # of the format that a reader must know, times ten
_UNIX = 3 << 8
# No flags, stored, on the first of January 1980: the same content gives the same bytes.
_FLAGS_METHOD_TIME_DATE = (0, 0, 0, 0x21)
_LOCAL_START, _LOCAL_START_64 = (
    struct.pack("<4s5H", b"PK\3\4", version, *_FLAGS_METHOD_TIME_DATE)
    for version in (_VERSION, _VERSION_64)
)
_ENTRY_START, _ENTRY_START_64 = (
    struct.pack("<4s6H", b"PK\1\2", _UNIX | version, version, *_FLAGS_METHOD_TIME_DATE)
    for version in (_VERSION, _VERSION_64)
)
_REGULAR_FILE = struct.pack("<3HI", 0, 0, 0, 0o100644 << 16)
_HEADROOM = 4096


def pack(members: Iterable[Member]) -> list[bytes | memoryview]:
    """The archive in pieces, to be written one after the other."""
    return _pack(members, lambda payload, _, crc: crc32(payload, crc))


def pack_buffer(members: Sequence[Member]) -> memoryview:
    """The archive in one buffer, into which each payload goes while its checksum is taken."""
    room = sum(
        payload.nbytes + 3 * len(name) + 2 * len(descr) for name, payload, descr, _ in members
    )
    buffer = np.empty(room + _HEADROOM * (1 + len(members)), np.uint8)

    def place(payload: memoryview, start: int, crc: int) -> int:
        source = np.frombuffer(payload, np.uint8) if payload.nbytes else buffer[:0]
        return checksum.copy(source, buffer[start : start + payload.nbytes], crc)

    stop = 0
    for piece in _pack(members, place):
        start, stop = stop, stop + memoryview(piece).nbytes
        if isinstance(piece, bytes):
            buffer.data[start:stop] = piece
    return buffer[:stop].data


def _pack(members: Iterable[Member], place: Placing) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    directory: list[bytes] = []
    offset = 0
    for name, payload, descr, shape in members:
        encoded = name.encode("ascii")
        wide = payload.nbytes + len(descr) + _HEADROOM > LIMIT32
        start = offset + _LOCAL.size + len(encoded) + (_WIDE.size if wide else 0)
        header = npy.pack(descr, shape, start % npy.ALIGNMENT) if descr else b""
        size = len(header) + payload.nbytes
        crc = place(payload, start + len(header), crc32(header))
        pieces += (_local(encoded, crc, size, wide), header, payload)
        directory.append(_entry(encoded, crc, size, offset))
        offset = start + size
    return [*pieces, *directory, _end(len(directory), sum(map(len, directory)), offset)]


def _local(name: bytes, crc: int, size: int, wide: bool) -> bytes:
    """The header in front of a member; the size of a large one follows the name."""
    if not wide:
        return _LOCAL.pack(_LOCAL_START, crc, size, size, len(name), 0) + name
    fields = _LOCAL.pack(_LOCAL_START_64, crc, _FULL32, _FULL32, len(name), _WIDE.size)
    return fields + name + _WIDE.pack(1, 16, size, size)


def _entry(name: bytes, crc: int, size: int, offset: int) -> bytes:
    """A member in the directory; numbers that need 64 bits follow the name."""
    if size < LIMIT32 and offset < LIMIT32:
        fields = (_ENTRY_START, crc, size, size, len(name), 0, _REGULAR_FILE, offset)
        return _ENTRY.pack(*fields) + name
    numbers = [number for number in (size, size, offset) if number >= LIMIT32]
    extra = struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
    size, offset = _narrow(size), _narrow(offset)
    fields = (_ENTRY_START_64, crc, size, size, len(name), len(extra), _REGULAR_FILE, offset)
    return _ENTRY.pack(*fields) + name + extra


def _narrow(number: int) -> int:
    return number if number < LIMIT32 else _FULL32


def _end(count: int, length: int, offset: int) -> bytes:
    """What follows the directory of ``count`` members that starts at ``offset``."""
    wide = b""
    if count >= LIMIT16 or length >= LIMIT32 or offset >= LIMIT32:
        versions = (_UNIX | _VERSION_64, _VERSION_64)
        record = (b"PK\6\6", _END64.size - 12, *versions, 0, 0, count, count, length, offset)
        wide = _END64.pack(*record) + _END64_PLACE.pack(b"PK\6\7", 0, offset + length, 1)
        count, length, offset = _FULL16, _narrow(length), _narrow(offset)
    return wide + _END.pack(b"PK\5\6", 0, 0, count, count, length, offset, 0)
