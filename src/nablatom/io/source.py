"""Where bytes come from: memory (a buffer, a mapped file) or an open file, read as asked.

Both take a range of bytes and give it as ``bytes`` (headers) or as a flat array (payloads).
"""

import mmap
from io import FileIO
from typing import Protocol

import numpy as np

from nablatom.io.checksum import CHUNK, Bytes, copy, crc32

__all__ = ["Buffer", "Memory", "OpenFile", "Source", "map_file"]

Buffer = bytes | bytearray | memoryview | mmap.mmap


class Source(Protocol):
    """Bytes that can be read in any order; ``views`` says that arrays share their memory."""

    size: int
    views: bool

    def read(self, start: int, stop: int) -> bytes:
        """These bytes, copied."""

    def array(self, start: int, stop: int, crc: int | None) -> tuple[Bytes, int | None]:
        """These bytes in an array, and a checksum continued over them (None: leave it)."""


class Memory(Source):
    """A buffer; arrays are read-only views of its parts, or copies."""

    def __init__(self, buffer: Buffer, *, views: bool) -> None:
        self._bytes = buffer if isinstance(buffer, bytes) else memoryview(buffer).cast("B")
        self._flat = np.frombuffer(self._bytes, np.uint8) if self._bytes else np.empty(0, np.uint8)
        self.size = len(self._bytes)
        self.views = views

    def read(self, start: int, stop: int) -> bytes:  # noqa: D102 - inherited
        return bytes(self._bytes[start:stop])

    def array(  # noqa: D102 - inherited
        self, start: int, stop: int, crc: int | None
    ) -> tuple[Bytes, int | None]:
        part = self._flat[start:stop]
        if not self.views:
            result = np.empty_like(part)
            return result, copy(part, result, crc or 0)
        part.flags.writeable = False
        return part, None if crc is None else crc32(part, crc)


class OpenFile(Source):
    """An unbuffered file, read straight into new arrays."""

    views = False

    def __init__(self, file: FileIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, start: int, stop: int) -> bytes:  # noqa: D102 - inherited
        return self.array(start, stop, None)[0].tobytes()

    def array(  # noqa: D102 - inherited
        self, start: int, stop: int, crc: int | None
    ) -> tuple[Bytes, int | None]:
        result = np.empty(stop - start, np.uint8)
        self._file.seek(start)
        done = 0
        while done < result.size:
            chunk = result[done : done + CHUNK]
            count = self._file.readinto(chunk.data)
            if not count:
                raise ValueError(f"the file ends {result.size - done} bytes too early")
            crc = None if crc is None else crc32(chunk[:count], crc)
            done += count
        return result, crc


def map_file(file: FileIO) -> Memory:
    """A file as memory: a part is read from disk when it is touched."""
    return Memory(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), views=True)
