"""Files go both ways between this library and metatensor."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nablatom import Labels, TensorBlock, TensorMap
from nablatom.io import (
    load,
    load_block_buffer,
    load_buffer,
    load_labels_buffer,
    npy,
    save,
    save_buffer,
    zip_writer,
)

metatensor = pytest.importorskip("metatensor")

DTYPES = [np.dtype(code).name for code in npy.DTYPES]


def assert_same_labels(ours, theirs) -> None:
    assert ours.names == theirs.names
    np.testing.assert_array_equal(ours.values, theirs.values)


def assert_same_block(ours, theirs) -> None:
    assert ours.values.dtype == theirs.values.dtype
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert_same_labels(ours.samples, theirs.samples)
    assert_same_labels(ours.properties, theirs.properties)
    for axis, other in zip(ours.components, theirs.components, strict=True):
        assert_same_labels(axis, other)
    assert sorted(ours.gradients_list()) == sorted(theirs.gradients_list())
    for parameter, gradient in ours.gradients():
        assert_same_block(gradient, theirs.gradient(parameter))


def assert_same(ours, theirs) -> None:
    assert_same_labels(ours.keys, theirs.keys)
    assert dict(ours.info()) == dict(theirs.info())
    for block, other in zip(ours.blocks(), theirs.blocks(), strict=True):
        assert_same_block(block, other)


def assert_travels(tensor: TensorMap) -> None:
    """Ours → theirs → ours, with nothing lost on either leg."""
    theirs = metatensor.io.load_buffer(save_buffer(tensor))
    assert_same(tensor, theirs)
    assert_same(load_buffer(metatensor.io.save_buffer(theirs)), theirs)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(make_tensor, dtype, nested):
    assert_travels(make_tensor(dtype, nested=nested))


def test_numpy_serialiser_of_the_peer(tensor):
    """It writes big files with 64-bit headers and reads ours with NumPy."""
    theirs = metatensor.io.load_buffer(save_buffer(tensor), use_numpy=True)
    file = io.BytesIO()
    metatensor.save(file, theirs, use_numpy=True)
    back = load_buffer(file.getvalue())
    assert back == load_buffer(save_buffer(tensor))


def test_64_bit_archives(tensor, monkeypatch):
    monkeypatch.setattr(zip_writer, "LIMIT32", 500)
    monkeypatch.setattr(zip_writer, "LIMIT16", 2)
    assert_travels(tensor)


def test_blocks_and_labels(tensor):
    block = tensor.block_by_id(0)
    theirs = metatensor.io.load_block_buffer(save_buffer(block))
    assert_same_block(block, theirs)
    assert_same_block(load_block_buffer(metatensor.io.save_buffer(theirs)), theirs)
    many = Labels([f"name_{i}" for i in range(5000)], np.arange(10_000).reshape(2, -1))
    for labels in (block.samples, Labels.empty(["a"]), many):
        other = metatensor.io.load_labels_buffer(save_buffer(labels))
        assert_same_labels(labels, other)
        assert load_labels_buffer(metatensor.io.save_buffer(other)) == labels


def test_files_on_disk(tensor, tmp_path):
    save(tmp_path / "ours.mts", tensor)
    theirs = metatensor.load(tmp_path / "ours.mts")
    assert_same(tensor, theirs)
    metatensor.save(tmp_path / "theirs.mts", theirs)
    assert_same(load(tmp_path / "theirs.mts"), theirs)
    mapped = load(tmp_path / "theirs.mts", mmap=True)  # whose arrays are not aligned
    assert_same(mapped, theirs)


def test_tutorial_files(tutorial):
    for name in ("radial-spectrum.mts", "spherical-expansion.mts"):
        path = tutorial.with_name(name)
        theirs = metatensor.load(path)
        assert_same(load(path), theirs)
        assert_same(load(path, mmap=True), theirs)


def test_compressed_archives_of_the_peer(tensor):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(save_buffer(tensor))) as plain,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert_same(tensor, metatensor.io.load_buffer(file.getvalue()))
    assert load_buffer(file.getvalue()) == tensor


# -- maps made by hypothesis ---------------------------------------------------------------

NAMES = st.lists(st.sampled_from(["a", "B", "_", "n_1", "neighbor_type"]), unique=True, max_size=3)
SIZES = st.integers(1, 3)
INTEGERS = st.integers(-(2**31), 2**31 - 1)
# What the peer cannot hold: a NUL in a string, an empty string, a component without entries.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@st.composite
def labels(draw, names=None, size=None):
    names = draw(NAMES.filter(bool)) if names is None else names
    size = draw(st.integers(0, 4)) if size is None else size
    row = st.tuples(*[INTEGERS] * len(names))
    rows = draw(st.lists(row, min_size=size, max_size=size, unique=True))
    return Labels(names, np.array(rows, np.int32).reshape(size, len(names)))


def values(draw, dtype, *axes):
    shape = tuple(len(axis) for axis in axes)
    seed = draw(st.integers(0, 2**32))
    data = np.random.default_rng(seed).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    array = np.frombuffer(data, "u1" if dtype == "bool" else dtype).reshape(shape)
    return array > 127 if dtype == "bool" else array


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(DTYPES))
    keys = draw(labels())
    axes = draw(st.lists(st.sampled_from(["mu", "q"]), unique=True))
    columns, samples = draw(NAMES.filter(bool)), draw(NAMES.filter(bool))
    own = draw(st.lists(st.sampled_from(["xyz", "abc"]), unique=True))
    parameters = draw(
        st.lists(st.sampled_from(["positions", "cell", "a"]), unique=True, max_size=2)
    )
    blocks = []
    for _ in range(len(keys)):
        components = [draw(labels([axis], draw(SIZES))) for axis in axes]
        parts = draw(labels(samples)), *components, draw(labels(columns))
        block = TensorBlock(values(draw, dtype, *parts), parts[0], components, parts[-1])
        for parameter in parameters:
            extra = [draw(labels([axis], draw(SIZES))) for axis in own]
            rows = [[row, i] for i in range(2) for row in range(len(parts[0]))]
            stored = Labels(["sample", "i"], np.array(rows, np.int32).reshape(-1, 2))
            data = values(draw, dtype, stored, *extra, *components, parts[-1])
            block.add_gradient(parameter, TensorBlock(data, stored, extra + components, parts[-1]))
        blocks.append(block)
    tensor = TensorMap(keys, blocks)
    for key, value in draw(st.dictionaries(TEXTS, TEXTS, max_size=3)).items():
        tensor.set_info(key, value)
    return tensor


@settings(max_examples=100, deadline=None)
@given(tensors())
def test_any_map(tensor):
    back = load_buffer(save_buffer(tensor))
    assert save_buffer(back) == save_buffer(tensor)  # bytes, as numbers may be NaN
    assert dict(back.info()) == dict(tensor.info())
    assert_travels(tensor)
