import numpy as np
import pytest

import nablatom
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.io.spool import Spool


def part(system, keys=(0, 1), size=2, *, dtype=np.float64, gradient=True):
    """A map of one system, with a gradient whose rows are fewer than the samples."""
    random = np.random.default_rng(system)
    xyz = Labels.range("xyz", 3)
    blocks = []
    for _ in keys:
        samples = Labels(["system", "atom"], [[system, i] for i in range(3)])
        values = random.normal(size=(3, size)).astype(dtype)
        block = TensorBlock(values, samples, [], Labels.range("n", size))
        if gradient:
            rows = Labels(["sample", "system", "atom"], [[0, system, 1], [2, system, 0]])
            moved = random.normal(size=(2, 3, size)).astype(dtype)
            block.add_gradient("positions", TensorBlock(moved, rows, [xyz], block.properties))
        blocks.append(block)
    return TensorMap(Labels("key", [[k] for k in keys]), blocks)


def test_parts_are_joined(tmp_path):
    parts = [part(0), part(1, keys=(1, 2)), part(2, keys=(0,))]
    expected = nablatom.sort(nablatom.join(parts, "samples", different_keys="union"), "keys")
    with Spool(tmp_path) as spool:
        for one in parts:
            spool.append(one)
        nablatom.save(tmp_path / "joined.mts", spool.tensor())
    found = nablatom.load(tmp_path / "joined.mts")
    assert found.keys == expected.keys
    for a, b in zip(found.blocks(), expected.blocks(), strict=True):
        assert nablatom.equal_block(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["joined.mts"]


def test_values_stay_on_disk(tmp_path):
    with Spool(tmp_path) as spool:
        spool.append(part(0))
        spool.append(part(1))
        block = spool.tensor().block_by_id(0)
        assert isinstance(block.values, np.memmap)
        assert isinstance(block.gradient("positions").values, np.memmap)
        assert block.gradient("positions").samples["sample"].tolist() == [0, 2, 3, 5]


def test_the_folder_is_gone_also_after_an_error(tmp_path):
    with pytest.raises(AttributeError, match="keys"), Spool(tmp_path) as spool:
        spool.append(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other", [{"size": 3}, {"dtype": np.float32}, {"gradient": False}], ids=str
)
def test_parts_that_do_not_fit_are_refused(tmp_path, other):
    with Spool(tmp_path) as spool:
        spool.append(part(0))
        with pytest.raises(ValueError, match="other labels, gradients or another dtype"):
            spool.append(part(1, **other))
        with pytest.raises(ValueError, match="parts have keys"):
            spool.append(nablatom.rename_dimension(part(1), "keys", "key", "other"))


def test_no_rows(tmp_path):
    """A block without samples, and a gradient without rows."""
    empty = nablatom.slice(part(0), "samples", Labels("system", [[5]]))
    with Spool(tmp_path) as spool:
        spool.append(empty)
        assert spool.tensor().block_by_id(0).shape == (0, 2)
