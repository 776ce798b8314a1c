"""The archive itself: written for Python's zipfile, read back, in 32 and 64 bits."""

import io
import zipfile

import numpy as np
import pytest

from nablatom.io import npy, zip_writer
from nablatom.io.source import Memory
from nablatom.io.zip_reader import Archive


def members(count: int = 3):
    for i in range(count):
        array = np.arange(7.0 * i).reshape(7, i)
        yield f"folder/{i}.npy", array.data, npy.descr(array.dtype), array.shape
    yield "info.json", memoryview(b"{}"), "", ()


@pytest.fixture(params=["32 bits", "64-bit members", "64-bit directory"])
def packed(request, monkeypatch):
    """An archive; the 64-bit forms of huge ones are made at once."""
    if request.param == "64-bit members":
        monkeypatch.setattr(zip_writer, "LIMIT32", 100)
    if request.param == "64-bit directory":
        monkeypatch.setattr(zip_writer, "LIMIT16", 2)
    return b"".join(zip_writer.pack(members()))


def test_zipfile_reads_it(packed):
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["folder/0.npy", "folder/1.npy", "folder/2.npy", "info.json"]
        array = np.lib.format.read_array(io.BytesIO(archive.read("folder/2.npy")))
    np.testing.assert_array_equal(array, np.arange(14.0).reshape(7, 2))


@pytest.mark.parametrize("views", [True, False])
def test_it_comes_back(packed, views):
    archive = Archive(Memory(packed, views=views), "file")
    assert list(archive.entries) == ["folder/0.npy", "folder/1.npy", "folder/2.npy", "info.json"]
    header, payload = archive.array("folder/2.npy")
    assert (header.shape, bytes(payload)) == ((7, 2), np.arange(14.0).tobytes())
    assert archive.read("info.json") == b"{}"


def test_one_buffer_holds_the_same_bytes(packed):
    assert zip_writer.pack_buffer(list(members())) == packed


def test_more_members_than_16_bits_count():
    names = [f"{i}" for i in range(70_000)]
    packed = b"".join(zip_writer.pack((name, memoryview(b""), "", ()) for name in names))
    assert list(Archive(Memory(packed, views=False), "file").entries) == names
    assert zipfile.ZipFile(io.BytesIO(packed)).namelist() == names


def test_comment_at_the_end_is_fine():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("info.json", "{}")
        archive.comment = b"written by hand"
    assert Archive(Memory(file.getvalue(), views=False), "file").read("info.json") == b"{}"
