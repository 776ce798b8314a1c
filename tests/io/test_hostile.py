"""Damaged and malicious files: a ValueError that names file and member, soon, in little memory."""

import io
import random
import re
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nablatom import Labels, TensorBlock, TensorMap
from nablatom.io import load, load_buffer, load_labels_buffer, npy, save_buffer, zip_writer


def simple() -> TensorMap:
    block = TensorBlock(np.eye(3), Labels.range("atom", 3), [], Labels.range("n", 3))
    samples = Labels(["sample", "atom"], [[0, 0], [2, 1]])
    gradient = TensorBlock(np.ones((2, 1, 3)), samples, [Labels.range("xyz", 1)], block.properties)
    block.add_gradient("positions", gradient)
    return TensorMap(Labels.single(), [block])


def members() -> dict[str, zip_writer.Member]:
    """The members of the simple map, by name."""
    with zipfile.ZipFile(io.BytesIO(save_buffer(simple()))) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    return {name: (name, memoryview(data), "", ()) for name, data in contents.items()}


def packed(*changed: zip_writer.Member, without: str = "") -> bytes:
    """The simple map with some members changed or added."""
    parts = {**members(), **{name: member for member in changed for name in member[:1]}}
    parts.pop(without, None)
    return b"".join(zip_writer.pack(parts.values()))


def labels(name: str, names: tuple[str, ...], rows, shape=None) -> zip_writer.Member:
    table = np.array(rows, "<i4")
    return name, table.data, npy.labels_descr(names), shape or (len(table),)


def values(name: str, array: np.ndarray, shape=None) -> zip_writer.Member:
    return name, array.data, npy.descr(array.dtype), shape or array.shape


GRADIENT = "blocks/0/gradients/positions"
WRONG = {
    "missing member": (
        "member blocks/0/samples.npy: it is missing",
        lambda: packed(without="blocks/0/samples.npy"),
    ),
    "gradient without values": (
        f"member {GRADIENT}/values.npy: it is missing",
        lambda: packed(without=f"{GRADIENT}/values.npy"),
    ),
    "rows twice": (
        "member blocks/0/samples.npy: entries must be unique",
        lambda: packed(labels("blocks/0/samples.npy", ("atom",), [[0], [1], [0]])),
    ),
    "too few rows": (
        "member blocks/0/values.npy: values have 3 entries along samples, but its labels have 2",
        lambda: packed(labels("blocks/0/samples.npy", ("atom",), [[0], [1]])),
    ),
    "sample out of range": (
        f"member {GRADIENT}/samples.npy: .*from 0 to 2, got 3",
        lambda: packed(labels(f"{GRADIENT}/samples.npy", ("sample", "atom"), [[0, 0], [3, 1]])),
    ),
    "negative sample": (
        f"member {GRADIENT}/samples.npy: .*from 0 to 2, got -1",
        lambda: packed(labels(f"{GRADIENT}/samples.npy", ("sample", "atom"), [[0, 0], [-1, 1]])),
    ),
    "more keys than blocks": (
        "member blocks/1/values.npy: it is missing",
        lambda: packed(labels("keys.npy", ("_",), [[0], [1]])),
    ),
    "huge number of keys": (
        "member keys.npy: shape .* need 4000000000000 bytes, there are 4",
        lambda: packed(labels("keys.npy", ("_",), [[0]], (10**12,))),
    ),
    "many keys without columns": (
        r"member keys.npy: labels \[\] cannot have the shape",
        lambda: packed(("keys.npy", memoryview(b""), "[]", (10**12,))),
    ),
    "huge values": (
        "member blocks/0/values.npy: shape .* need .* bytes, there are 72",
        lambda: packed(values("blocks/0/values.npy", np.eye(3), (10**9, 10**8))),
    ),
    "huge empty values": (
        "member blocks/0/values.npy: ",
        lambda: packed(values("blocks/0/values.npy", np.zeros((0, 3)), (0, 10**17, 10**17))),
    ),
    "values of no axis": (
        "member blocks/0/values.npy: values have 0 axes",
        lambda: packed(("blocks/0/values.npy", memoryview(bytes(8)), "'<f8'", ())),
    ),
    "pickled objects": (
        "member blocks/0/values.npy: dtype '|O8' is not one of",
        lambda: packed(("blocks/0/values.npy", memoryview(bytes(72)), "'|O8'", (3, 3))),
    ),
    "labels for values": (
        "member blocks/0/values.npy: expected values, found labels",
        lambda: packed(labels("blocks/0/values.npy", ("a",), [[0]])),
    ),
    "values for labels": (
        "member blocks/0/samples.npy: expected labels",
        lambda: packed(values("blocks/0/samples.npy", np.zeros(3))),
    ),
    "a name that is none": (
        "member blocks/0/samples.npy: .*letters, digits and underscores",
        lambda: packed(labels("blocks/0/samples.npy", ("a b",), [[0], [1], [2]])),
    ),
    "gradient with a name that is none": (
        "member blocks/0/gradients/d-r/samples.npy: 'd-r' is not a valid name",
        lambda: b"".join(
            zip_writer.pack(
                (name.replace("positions", "d-r"), *rest) for name, *rest in members().values()
            )
        ),
    ),
    "bytes after the array": (
        "member blocks/0/values.npy: shape .* need 72 bytes, there are 80",
        lambda: packed(values("blocks/0/values.npy", np.zeros(10), (3, 3))),
    ),
    "no array at all": (
        "member keys.npy: it is no .npy array",
        lambda: packed(("keys.npy", memoryview(b"text"), "", ())),
    ),
    "header longer than the member": (
        "member keys.npy: its header of 4294967307 bytes is longer",
        lambda: packed(("keys.npy", memoryview(b"\x93NUMPY\2\0\xff\xff\xff\xff{}"), "", ())),
    ),
    "info that is no JSON": (
        "member info.json: expected a JSON object",
        lambda: packed(("info.json", memoryview(b"{'a': 1}"), "", ())),
    ),
    "info of numbers": (
        "member info.json: expected a JSON object",
        lambda: packed(("info.json", memoryview(b'{"a": 1}'), "", ())),
    ),
    "info that is too deep": (
        "member info.json: expected a JSON object",
        lambda: packed(("info.json", memoryview(b"[" * 10**6), "", ())),
    ),
    "name above": (
        "member '../keys.npy' has a name that leaves the archive",
        lambda: packed(("../keys.npy", memoryview(b""), "", ())),
    ),
    "name from the root": (
        "member '/keys.npy' has a name that leaves the archive",
        lambda: packed(("/keys.npy", memoryview(b""), "", ())),
    ),
    "name with backslashes": (
        r"member 'a\\\\..\\\\b' has a name that leaves",
        lambda: packed(("a\\..\\b", memoryview(b""), "", ())),
    ),
    "name twice": (
        "member keys.npy occurs twice",
        lambda: b"".join(zip_writer.pack([members()["keys.npy"]] * 2)),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content_is_named(case, tmp_path):
    message, make = WRONG[case]
    path = tmp_path / "wrong.mts"
    path.write_bytes(make())
    for mmap in (False, True):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}(, |: ){message}"):
            load(path, mmap=mmap)


def test_gradients_cannot_be_nested_without_end():
    parts = members()
    deep = dict(parts)
    folder = GRADIENT
    for _ in range(40):
        inner = f"{folder}/gradients/again"
        for name, (_, payload, *rest) in parts.items():
            if name.startswith(f"{GRADIENT}/"):
                deep[name.replace(GRADIENT, inner)] = (
                    name.replace(GRADIENT, inner),
                    payload,
                    *rest,
                )
        folder = inner
    with pytest.raises(ValueError, match="nested too deep"):
        load_buffer(b"".join(zip_writer.pack(deep.values())))


# -- the archive ---------------------------------------------------------------------------


def directory_entry(data: bytes, name: bytes) -> int:
    """Where the directory describes a member."""
    return data.rfind(b"PK\1\2", 0, data.rfind(name))


def patched(data: bytes, position: int, layout: str, *numbers: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, position, *numbers)
    return bytes(changed)


def test_members_that_overlap():
    data = packed()
    first, second = (directory_entry(data, name) for name in (b"keys.npy", b"blocks/0/samples.npy"))
    start = struct.unpack_from("<I", data, first + 42)
    with pytest.raises(ValueError, match="two members start at the same byte"):
        load_buffer(patched(data, second + 42, "<I", *start))
    size = struct.unpack_from("<I", data, first + 20)[0]
    with pytest.raises(ValueError, match=r"member keys\.npy overlaps"):
        load_buffer(patched(data, first + 20, "<2I", size + 64, size + 64))


@pytest.mark.parametrize("size", [2**31, 2**32 - 2])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_sizes_that_the_file_cannot_hold(size, method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, payload, *_ in members().values():
            archive.writestr(name, payload.tobytes())
    data = file.getvalue()
    entry = directory_entry(data, b"blocks/0/values.npy")
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"member blocks/0/values\.npy: .* declare"):
        load_buffer(patched(data, entry + 24, "<I", size))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6


def test_bomb_that_says_it_is_small():
    """A member that unpacks to more than the archive says is given up in time."""
    header = npy.pack("'<f8'", (3, 3), 0)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, payload, *_ in members().values():
            bomb = header + bytes(10**7) if name == "blocks/0/values.npy" else payload.tobytes()
            archive.writestr(name, bomb)
    data = file.getvalue()
    small = len(header) + 72
    data = patched(data, directory_entry(data, b"blocks/0/values.npy") + 24, "<I", small)
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"does not decompress to the declared {small} bytes"):
        load_buffer(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize(("flags", "method"), [(1, 0), (0, 12)])
def test_encrypted_and_strangely_compressed_members(flags, method):
    data = packed()
    entry = directory_entry(data, b"keys.npy")
    data = patched(patched(data, entry + 8, "<2H", flags, method), 8, "<H", method)
    with pytest.raises(ValueError, match=r"member keys\.npy: it is encrypted or compressed"):
        load_buffer(data)


def test_every_byte_of_a_payload_is_protected():
    data = packed()
    place = data.find(np.eye(3).tobytes())
    for position in range(place, place + 72):
        damaged = patched(data, position, "B", data[position] ^ 0x10)
        with pytest.raises(ValueError, match=r"blocks/0/values\.npy: its checksum is wrong"):
            load_buffer(damaged)


# -- chance --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["stored", "64-bit", "deflated by others"])
def whole(request) -> bytes:
    if request.param == "stored":
        return packed()
    if request.param == "64-bit":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zip_writer, "LIMIT32", 300)
            return packed()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, payload, *_ in members().values():
            archive.writestr(name, payload.tobytes())
    return file.getvalue()


def assert_refused_or_right(data: bytes) -> None:
    """No other error, no other content, no waste of time or memory, mapped or not."""
    for copy in (True, False):
        tracemalloc.reset_peak()
        started = time.perf_counter()
        try:
            tensor = load_buffer(data, copy=copy)
        except ValueError as error:
            assert str(error).startswith("buffer")  # noqa: PT017 - whether it is raised is free
        else:
            assert tensor == simple() or not copy
        assert time.perf_counter() - started < 1
        assert tracemalloc.get_traced_memory()[1] < 2_000_000


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_truncated_files_are_refused(whole, traced):
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"^buffer"):
            load_buffer(whole[:length])


def test_flipped_bits(whole, traced):
    chance = random.Random(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 1, 2, 8])):
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        assert_refused_or_right(bytes(damaged))


@pytest.mark.parametrize("lost", [b"gradients/", b"info.json"])
def test_members_misspelt_in_the_directory_are_not_overlooked(lost):
    tensor = simple()
    tensor.set_info("source", "a test")
    data = save_buffer(tensor)
    assert lost in bytes(data)
    directory = bytes(data).index(b"PK\1\2")
    misspelt = bytes(data[directory:]).replace(lost, lost.replace(b"i", b"j"))
    with pytest.raises(ValueError, match="contradicts the directory"):
        load_buffer(bytes(data[:directory]) + misspelt)


def test_numbers_replaced_by_extreme_ones(whole, traced):
    chance = random.Random(1)
    for _ in range(500):
        damaged = bytearray(whole)
        size = chance.choice([1, 2, 4, 8])
        number = chance.choice([0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), len(whole)])
        place = chance.randrange(len(whole) - size)
        damaged[place : place + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
        assert_refused_or_right(bytes(damaged))


def test_pieces_moved_about(whole, traced):
    chance = random.Random(2)
    for _ in range(150):
        a, b, c = sorted(chance.randrange(len(whole)) for _ in range(3))
        for damaged in (whole[:a] + whole[b:], whole[:a] + whole[b:c] + whole[a:b] + whole[c:]):
            assert_refused_or_right(damaged)
        assert_refused_or_right(whole[:b] + whole[a:])


def resealed(header: bytes, payload: bytes) -> bytes:
    """The simple map with other samples, whose checksum is right."""
    return packed(("blocks/0/samples.npy", memoryview(header + payload), "", ()))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_headers_with_a_right_checksum(data):
    """What a checksum cannot catch: headers that somebody wrote on purpose."""
    alphabet = st.sampled_from(["'descr'", ":", "[", "]", "(", ")", ",", "'<i4'", "'a'", "3", "-1"])
    words = ["{'descr': [('atom', '<i4')], ", "'fortran_order': False, ", "'shape': (3,)}", "\n"]
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(words)))
        words.insert(place, data.draw(alphabet | st.text(max_size=5)))
    text = "".join(words).encode("utf-8", "surrogatepass")
    version = data.draw(st.sampled_from([1, 2, 3, 4]))
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    payload = data.draw(st.sampled_from([np.arange(3, dtype="<i4").tobytes(), b"", bytes(12)]))
    try:
        tensor = load_buffer(resealed(b"\x93NUMPY" + bytes([version, 0]) + length + text, payload))
    except ValueError as error:
        assert "member blocks/0/" in str(error)  # noqa: PT017 - whether it is raised is free
    else:
        assert len(tensor.block_by_id(0).samples) == 3


@given(st.binary(max_size=400))
def test_any_bytes(data):
    for start in (b"", b"PK\3\4", b"\x93NUMPY\1\0"):
        for read in (load_buffer, load_labels_buffer):
            with pytest.raises(ValueError, match=r"^buffer"):
                read(start + data)
