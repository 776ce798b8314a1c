"""Round trips through our own functions, and through files that others wrote."""

import io
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from nablatom import Labels, TensorBlock, TensorMap
from nablatom.io import (
    load,
    load_block,
    load_block_buffer,
    load_buffer,
    load_labels,
    load_labels_buffer,
    npy,
    save,
    save_buffer,
)


def assert_identical(a: TensorMap, b: TensorMap) -> None:
    assert a == b
    assert dict(a.info()) == dict(b.info())
    for one, other in zip(a, b, strict=True):
        assert one.gradients_list() == other.gradients_list()


@pytest.mark.parametrize("name", ["file.mts", "file.npz", "no extension"])
def test_file_comes_back(tensor, tmp_path, name):
    path = tmp_path / name
    save(path, tensor)
    assert_identical(load(path), tensor)
    assert_identical(load(str(path), mmap=True), tensor)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "dtype", ["bool", "complex64", "complex128", "float16", "float32", "int8", "int64", "uint16"]
)
@pytest.mark.parametrize("copy", [True, False])
def test_buffer_comes_back(make_tensor, dtype, copy):
    tensor = make_tensor(dtype)
    back = load_buffer(save_buffer(tensor), copy=copy)
    assert_identical(back, tensor)
    assert back.block_by_id(0).values.flags.writeable == copy


def test_everything_else_comes_back(tensor, tmp_path):
    block = tensor.block_by_id(1)
    save(tmp_path / "block.mts", block)
    save(tmp_path / "labels.mts", block.samples)
    assert load_block(tmp_path / "block.mts") == block
    assert load_block(tmp_path / "block.mts", gradients=["aaa"]).gradients_list() == ["aaa"]
    assert (
        load_block_buffer(save_buffer(block))
        == block
        == TensorBlock.load_buffer(block.save_buffer())
    )
    assert load_labels(tmp_path / "labels.mts") == block.samples
    assert load_labels_buffer(save_buffer(block.samples)) == block.samples


@pytest.mark.parametrize("labels", [Labels.empty(["a", "b"]), Labels([], np.zeros((0, 0), int))])
def test_empty_labels_come_back(labels):
    assert load_labels_buffer(save_buffer(labels)) == labels


def test_map_without_blocks_comes_back():
    tensor = TensorMap(Labels.empty(["key"]), [])
    assert_identical(load_buffer(save_buffer(tensor)), tensor)


def test_file_objects(tensor):
    file = io.BytesIO()
    save(file, tensor)
    assert file.getvalue() == save_buffer(tensor)
    file.seek(0)
    assert_identical(load(file), tensor)


def test_same_map_gives_the_same_bytes(make_tensor):
    assert save_buffer(make_tensor()) == save_buffer(make_tensor().copy())


def test_large_map_goes_through_memory_and_disk_alike(tmp_path):
    rows, columns = 40_000, 10
    values = np.random.default_rng(0).random((rows, columns))
    block = TensorBlock(values, Labels.range("s", rows), [], Labels.range("p", columns))
    tensor = TensorMap(Labels.single(), [block])
    save(tmp_path / "large.mts", tensor)
    data = (tmp_path / "large.mts").read_bytes()
    assert data == save_buffer(tensor)
    for back in (load(tmp_path / "large.mts"), load_buffer(data)):
        assert_identical(back, tensor)
        assert back.block_by_id(0).values.flags.writeable


# -- the layout ----------------------------------------------------------------------------


def payload_starts(data: bytes) -> dict[str, int]:
    starts = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.flag_bits == 0
            sizes = data[info.header_offset + 26 : info.header_offset + 30]
            start = info.header_offset + 30 + sizes[0] + 256 * sizes[1] + sizes[2] + 256 * sizes[3]
            if info.filename.endswith(".npy"):
                starts[info.filename] = start + npy.header_length(data[start : start + 12])
    return starts


def test_every_payload_is_aligned(tensor):
    starts = payload_starts(bytes(save_buffer(tensor)))
    assert len(starts) > 30
    assert {start % 64 for start in starts.values()} == {0}


def test_members_stand_in_the_documented_order(make_tensor):
    tensor = make_tensor()
    with zipfile.ZipFile(io.BytesIO(save_buffer(tensor))) as archive:
        names = archive.namelist()
        assert archive.read("info.json").decode() == (
            '{\n  "author": "nobody",\n  "unit": "eV \\"quoted\\" Å"\n}'
        )
    gradient = "blocks/0/gradients/positions"
    assert names[:9] == [
        "keys.npy",
        "blocks/0/values.npy",
        "blocks/0/samples.npy",
        "blocks/0/components/0.npy",
        "blocks/0/properties.npy",
        f"{gradient}/values.npy",
        f"{gradient}/samples.npy",
        f"{gradient}/components/0.npy",
        f"{gradient}/components/1.npy",
    ]
    assert names[9] == f"{gradient}/gradients/cell/values.npy"
    assert names[-1] == "info.json"


# -- mapped files --------------------------------------------------------------------------


def test_mapped_values_are_views_of_the_file(tmp_path):
    rows = 500_000
    values = np.random.default_rng(0).random((rows, 8))  # 32 MB
    block = TensorBlock(values, Labels.range("s", rows), [], Labels.range("p", 8))
    save(tmp_path / "large.mts", TensorMap(Labels.single(), [block]))
    tracemalloc.start()
    mapped = load(tmp_path / "large.mts", mmap=True).block_by_id(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < values.nbytes / 2  # labels and their check, but not the values
    assert not mapped.values.flags.writeable
    assert mapped.values.flags.aligned
    assert mapped.values.ctypes.data % 64 == 0
    np.testing.assert_array_equal(mapped.values, values)


def test_mapped_file_can_be_replaced(tmp_path):
    path = tmp_path / "file.mts"
    rows = 50_000

    def constant(value):
        values = np.full((rows, 1), float(value))
        block = TensorBlock(values, Labels.range("s", rows), [], Labels.range("p", 1))
        return TensorMap(Labels.single(), [block])

    save(path, constant(1))
    old = load(path, mmap=True)
    save(path, constant(2))
    assert_identical(old, constant(1))
    assert_identical(load(path, mmap=True), constant(2))


# -- what others write ---------------------------------------------------------------------


def parts(data: memoryview) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(data)))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("change", ["as it is", "big-endian", "Fortran", "both"])
@pytest.mark.parametrize("copy", [True, False])
def test_archives_written_by_numpy(make_tensor, write, change, copy):
    tensor = make_tensor()
    tensor.set_info("unit", "eV")
    members = {
        name: part for name, part in parts(save_buffer(tensor)).items() if name != "info.json"
    }
    for name, part in members.items():
        if name.endswith("values") and change in ("Fortran", "both"):
            members[name] = np.asfortranarray(part)
        if change in ("big-endian", "both"):
            members[name] = members[name].astype(part.dtype.newbyteorder(">"))
    file = io.BytesIO()
    write(file, **members)
    back = load_buffer(file.getvalue(), copy=copy)
    assert back == tensor
    values = back.block_by_id(0).values
    assert values.dtype.isnative
    assert values.flags.writeable == copy
    assert not copy or values.flags.c_contiguous


@pytest.mark.parametrize("code", ["<i8", ">i2", "|u1", "<u4", ">u8"])
def test_labels_of_other_integers_are_converted(code):
    file = io.BytesIO()
    np.save(file, np.array([(1, 2), (3, 4)], [("a", code), ("b", "<i8")]))
    assert load_labels_buffer(file.getvalue()) == Labels(["a", "b"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(("value", "code"), [(2**40, "<i8"), (-(2**31) - 1, ">i8"), (2**63, "<u8")])
def test_labels_that_do_not_fit_are_refused(value, code):
    file = io.BytesIO()
    np.save(file, np.array([(7, value)], [("a", "<i4"), ("b", code)]))
    with pytest.raises(ValueError, match=f"value {value} does not fit"):
        load_labels_buffer(file.getvalue())


# -- values of other libraries -------------------------------------------------------------


def test_torch_values_are_written(tensor):
    pytest.importorskip("torch")
    moved = tensor.to(arrays="torch")
    for block in moved:
        block.values.requires_grad_(True)
    assert save_buffer(moved) == save_buffer(tensor)


def test_strided_and_conjugated_torch_values_are_written():
    torch = pytest.importorskip("torch")
    values = torch.tensor([[1 + 2j, 3j], [4.0, 5.0]])
    for odd in (values.conj(), values.T, values.conj().T.imag):
        block = TensorBlock(odd, Labels.range("s", 2), [], Labels.range("p", 2))
        stored = load_block_buffer(save_buffer(block)).values
        np.testing.assert_array_equal(stored, odd.resolve_conj().resolve_neg().numpy())


def test_dtypes_without_a_name_in_the_format_are_named():
    torch = pytest.importorskip("torch")
    for values in (torch.zeros(2, 1, dtype=torch.bfloat16), np.zeros((2, 1), np.longdouble)):
        block = TensorBlock(values, Labels.range("s", 2), [], Labels.range("p", 1))
        name = str(values.dtype).removeprefix("torch.")
        tensor = TensorMap(Labels.single(), [block])
        with pytest.raises(ValueError, match=rf"blocks/0/values.npy .* has no {name}.*\.to\(dtype"):
            save_buffer(tensor)


def test_reading_and_writing_never_import_torch():
    code = (
        "import sys, nablatom.io as io; from nablatom import Labels; "
        "io.load_labels_buffer(io.save_buffer(Labels.single())); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- errors --------------------------------------------------------------------------------


def test_the_wrong_function_names_the_right_one(tensor, tmp_path):
    save(tmp_path / "map.mts", tensor)
    save(tmp_path / "block.mts", tensor.block_by_id(0))
    save(tmp_path / "labels.mts", tensor.keys)
    with pytest.raises(ValueError, match=r"map.mts holds a TensorMap: use load"):
        load_block(tmp_path / "map.mts")
    with pytest.raises(ValueError, match=r"block.mts holds a TensorBlock: use load_block"):
        load(tmp_path / "block.mts")
    with pytest.raises(ValueError, match=r"labels.mts holds Labels: use load_labels"):
        load(tmp_path / "labels.mts")
    with pytest.raises(ValueError, match=r"map.mts: it is no .npy array"):
        load_labels(tmp_path / "map.mts")


def test_missing_and_empty_files(tmp_path):
    (tmp_path / "empty.mts").touch()
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.mts")
    with pytest.raises(ValueError, match=r"empty.mts is empty: expected what save wrote"):
        load(tmp_path / "empty.mts", mmap=True)
    with pytest.raises(
        TypeError, match="expected a TensorMap, a TensorBlock or Labels, got ndarray"
    ):
        save(tmp_path / "array.mts", np.zeros(3))


def test_equal_labels_of_a_file_are_one_object(tutorial):
    blocks = load(tutorial).blocks()
    assert blocks[0].properties is blocks[1].properties
