"""The second container: readable by the safetensors library, parts and mapping included."""

import json
import random
import struct

import numpy as np
import pytest

from nablatom import Labels
from nablatom.io import load, load_block, load_buffer, npy, save, save_buffer


@pytest.fixture
def path(tensor, tmp_path):
    save(tmp_path / "map.safetensors", tensor)
    return tmp_path / "map.safetensors"


@pytest.mark.parametrize("dtype", [np.dtype(code).name for code in npy.DTYPES if code != "c16"])
def test_file_comes_back(make_tensor, tmp_path, dtype):
    tensor = make_tensor(dtype)
    path = tmp_path / "map.safetensors"
    save(path, tensor)
    for mmap in (False, True):
        back = load(path, mmap=mmap)
        assert save_buffer(back) == save_buffer(tensor)
        assert back.block_by_id(0).values.flags.writeable != mmap
        assert back.block_by_id(0).values.flags.aligned
    save(path, tensor.block_by_id(0))
    assert load_block(path) == tensor.block_by_id(0)


def test_parts(path, tensor):
    part = load(path, keys=Labels(["center_type"], [[6]]), samples=Labels(["atom"], [[2]]))
    np.testing.assert_array_equal(part.block_by_id(0).values, tensor.block_by_id(1).values[[2]])
    assert load(path, gradients=["aaa"]).block_by_id(0).gradients_list() == ["aaa"]


def test_the_library_reads_it(path, tensor):
    arrays = pytest.importorskip("safetensors.numpy").load_file(path)
    block = tensor.block_by_id(1)
    np.testing.assert_array_equal(arrays["blocks/1/values"], block.values)
    np.testing.assert_array_equal(arrays["blocks/1/samples"], block.samples.values)


def test_what_the_format_does_not_have(make_tensor, tmp_path):
    with pytest.raises(ValueError, match=r"blocks/0/values cannot be written: .* has no c16"):
        save(tmp_path / "map.safetensors", make_tensor("complex128"))
    with pytest.raises(ValueError, match=r"labels alone have no \.safetensors form"):
        save(tmp_path / "keys.safetensors", Labels.single())
    assert not list(tmp_path.iterdir())


CHANGES = {
    "array keys: it overlaps, leaves a gap": ("keys", "data_offsets", [4, 20]),
    "no valid .safetensors header: impossible shape": ("keys", "shape", [-2, -2]),
    "no valid .safetensors header: shape .* do not need 16": ("keys", "shape", [10**9, 10**9]),
    "no valid .safetensors header: 'BF16'": ("keys", "dtype", "BF16"),
    "array keys: 'a b' is not a valid name": ("__metadata__", "keys.names", "a b,c"),
    "array keys: labels .* cannot have shape": ("__metadata__", "keys.names", "a"),
    "array blocks/1/values: labels .* cannot have shape": (
        "__metadata__",
        "blocks/1/values.names",
        "a",
    ),
    "array info.json: expected a JSON object": ("__metadata__", "info.json", "[]"),
}


@pytest.mark.parametrize("message", CHANGES)
def test_wrong_headers_are_refused(path, message):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    entry, key, value = CHANGES[message]
    header[entry][key] = value
    text = json.dumps(header).encode()
    with pytest.raises(ValueError, match=f"^buffer.*{message}"):
        load_buffer(len(text).to_bytes(8, "little") + text + data[8 + length :])


def test_damaged_headers_are_refused_or_harmless(path):
    """Only the header: the format has no checksum for the rest."""
    data = path.read_bytes()
    chance = random.Random(0)
    for length in range(0, len(data), 97):
        with pytest.raises(ValueError, match=r"^buffer"):
            load_buffer(data[:length])
    for _ in range(1000):
        damaged = bytearray(data)
        damaged[chance.randrange(min(len(data), 5000))] = chance.randrange(256)
        try:
            load_buffer(damaged)
        except ValueError as error:
            assert str(error).startswith("buffer")  # noqa: PT017 - whether it is raised is free
