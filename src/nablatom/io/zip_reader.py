"""Reading the members of a ZIP archive that is not trusted.

The directory at the end says where every member is. All of it is checked before a member is
read: the ranges lie in the file, do not overlap and have distinct names that stay inside the
archive. No array is allocated before its declared size was compared with the room there is.
"""

import re
import struct
import zlib

from nablatom.io import npy
from nablatom.io.checksum import Bytes, crc32
from nablatom.io.source import Source

__all__ = ["Archive", "Payload", "is_archive"]

_END = struct.Struct("<4s6xH2IH")  # signature, entries, size and start of the directory, comment
_END64_PLACE = struct.Struct("<4s4xQ4x")
_END64 = struct.Struct("<4s28x3Q")
_ENTRY = struct.Struct("<4s4xHH4x3I3H8xI")
_LOCAL = struct.Struct("<4s4xH16xHH")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the 64-bit field"
_HEAD = 2048  # bytes that hold the local header, the array's header and a small payload
_LARGEST_EXPANSION = 1032  # of any DEFLATE stream


Entry = tuple[int, int, int, int, int, int]
"""Flags, method, CRC-32, stored and full size, and start of a member."""

_OURS = re.compile(
    r"(keys|info|(blocks/\d+/)?(gradients/[^/]+/)*(values|samples|properties|components/\d+))"
    r"\.(npy|json)"
)

Payload = memoryview | Bytes
"""The bytes of an array: of a small one read-only, of others new or a view of the source."""


def is_archive(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a ZIP archive."""
    return start[:4] in (b"PK\3\4", b"PK\5\6")


class Archive:
    """The members of a ZIP archive by name, in the order of its directory."""

    def __init__(self, source: Source, file: str) -> None:
        self.file = file
        self.views = source.views
        self._source = source
        try:
            count, start, stop = _directory_range(source)
            self.entries = _entries(source.read(start, stop), count)
            self._limits = _limits(self.entries, start)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        for name in self.entries:
            if not _OURS.fullmatch(name):
                self._check_really_unknown(name)

    def _check_really_unknown(self, name: str) -> None:
        """Nobody will open a member that is not ours: it must not be one of ours, misspelt."""
        try:
            self._open(name)
        except ValueError as error:
            raise self.refusal(name, error) from error

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        try:
            crc, size, start, head = self._open(name)
            data = head if len(head) == size else self._source.read(start, start + size)
            _check(crc, crc32(data))
        except ValueError as error:
            raise self.refusal(name, error) from error
        return data

    def array(self, name: str, *, verify: bool = True) -> tuple[npy.Header, Payload]:
        """The header and the payload of a member; the checksum of a view only on request."""
        try:
            return self._array(name, verify)
        except ValueError as error:
            raise self.refusal(name, error) from error

    def refusal(self, name: str, why: object) -> ValueError:
        """The error that names file and member."""
        return ValueError(f"{self.file}, member {name}: {why}")

    def _array(self, name: str, verify: bool) -> tuple[npy.Header, Payload]:
        crc, size, start, head = self._open(name)
        length = npy.header_length(head)
        if length > size:
            raise ValueError(f"its header of {length} bytes is longer than its {size} bytes")
        if length > len(head):
            head = self._source.read(start, start + length)
        header = npy.parse(head[:length])
        if length + header.nbytes != size:
            raise ValueError(
                f"shape {header.shape} and dtype {header.dtype} need {header.nbytes} bytes, "
                f"there are {size - length}"
            )
        if len(head) == size and not (self.views and start):
            _check(crc, crc32(head))
            return header, memoryview(head)[length:]
        partial = crc32(head[:length]) if verify or not self.views else None
        payload, found = self._source.array(start + length, start + size, partial)
        _check(crc, crc if found is None else found)
        return header, payload

    def _open(self, name: str) -> tuple[int, int, int, bytes]:
        """CRC-32, size and start of a member's data, and the first bytes of it.

        Of a compressed member they are all bytes, unpacked, and the start is 0.
        """
        if name not in self.entries:
            raise ValueError("it is missing")
        flags, method, crc, stored, size, start = self.entries[name]
        limit = self._limits[start]
        encoded = name.encode()
        end = _LOCAL.size + len(encoded)
        head = self._source.read(start, min(start + end + _HEAD, limit))
        signature, local_method, name_length, extra_length = _LOCAL.unpack_from(head)
        if signature != b"PK\3\4" or local_method != method or head[_LOCAL.size : end] != encoded:
            raise ValueError("its own header contradicts the directory of the archive")
        begin = _LOCAL.size + name_length + extra_length
        start += begin
        if start + stored > limit:
            raise ValueError("it overlaps with what follows it")
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            raise ValueError("it is encrypted or compressed by another method than DEFLATE")
        if method == _DEFLATED:
            return crc, size, 0, _inflate(self._source.read(start, start + stored), size)
        if stored != size:
            raise ValueError(f"it declares {size} bytes and stores {stored}")
        return crc, size, start, head[begin : begin + size]


def _check(expected: int, found: int) -> None:
    if found != expected:
        raise ValueError("its checksum is wrong: the file is damaged")


def _inflate(data: bytes, size: int) -> bytes:
    """The DEFLATE stream unpacked, if it gives exactly as many bytes as it should."""
    if size > _LARGEST_EXPANSION * len(data):
        raise ValueError(f"{len(data)} compressed bytes cannot hold the declared {size}")
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        result = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"it cannot be decompressed: {error}") from error
    if len(result) != size or not stream.eof or stream.unused_data:
        raise ValueError(f"it does not decompress to the declared {size} bytes")
    return result


def _entries(directory: bytes, count: int) -> dict[str, Entry]:
    """What the directory says of each of its members."""
    entries: dict[str, Entry] = {}
    stop = 0
    for _ in range(count):
        begin = stop + _ENTRY.size
        if begin > len(directory):
            raise ValueError("the directory of the archive is incomplete")
        signature, flags, method, crc, stored, size, letters, extra, comment, start = (
            _ENTRY.unpack_from(directory, stop)
        )
        end = begin + letters
        stop = end + extra + comment
        if signature != b"PK\1\2" or stop > len(directory):
            raise ValueError("the directory of the archive is damaged")
        name = directory[begin:end].decode()
        _check_name(name)
        if name in entries:
            raise ValueError(f"member {name} occurs twice")
        if extra and _FULL32 in (size, stored, start):
            size, stored, start = _wide(directory[end : end + extra], size, stored, start)
        entries[name] = flags, method, crc, stored, size, start
    if stop != len(directory):
        raise ValueError("the directory of the archive is longer than it should be")
    return entries


def _check_name(name: str) -> None:
    if not name or name[0] == "/" or "\\" in name or (".." in name and ".." in name.split("/")):
        raise ValueError(f"member {name!r} has a name that leaves the archive")


def _wide(extra: bytes, *fields: int) -> list[int]:
    """The fields, with those that are full replaced by the 64-bit ones of the extra field."""
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if tag == 1 and 8 * fields.count(_FULL32) <= min(length, len(extra) - position):
            numbers = iter(struct.unpack_from(f"<{fields.count(_FULL32)}Q", extra, position))
            return [next(numbers) if field == _FULL32 else field for field in fields]
        position += length
    raise ValueError("the directory of the archive lacks a 64-bit size")


def _limits(entries: dict[str, Entry], directory: int) -> dict[int, int]:
    """Where each member that starts at a byte has to stop; no two may overlap."""
    starts = sorted([entry[-1] for entry in entries.values()])
    limits = dict(zip(starts, [*starts[1:], directory], strict=True))
    if len(limits) != len(entries):
        raise ValueError("two members start at the same byte")
    for name, (_, _, _, stored, _, start) in entries.items():
        if start + _LOCAL.size + len(name) + stored > limits[start]:
            raise ValueError(f"member {name} overlaps with what follows it")
    return limits


def _directory_range(source: Source) -> tuple[int, int, int]:
    """How many members there are, and where the directory starts and stops."""
    base = max(0, source.size - _END.size - _FULL16)
    tail = source.read(base, source.size)
    position = tail.rfind(b"PK\5\6")
    if position < 0 or position + _END.size > len(tail):
        raise ValueError("the directory of the archive is missing: the file is truncated")
    _, count, length, start, comment = _END.unpack_from(tail, position)
    if position + _END.size + comment != len(tail):
        raise ValueError("the archive does not end where its directory says")
    stop = base + position
    if count == _FULL16 or _FULL32 in (length, start):
        count, length, start, stop = _directory_range_64(source, stop)
    if start + length != stop or count * _ENTRY.size > length:
        raise ValueError("the directory of the archive is not where it should be")
    return count, start, stop


def _directory_range_64(source: Source, stop: int) -> tuple[int, int, int, int]:
    place = stop - _END64_PLACE.size
    if place >= 0:
        signature, position = _END64_PLACE.unpack(source.read(place, stop))
        if signature == b"PK\6\7" and position + _END64.size <= place:
            found, *numbers = _END64.unpack(source.read(position, position + _END64.size))
            if found == b"PK\6\6":
                count, length, start = numbers
                return count, length, start, position
    raise ValueError("the 64-bit directory of the archive is missing")
