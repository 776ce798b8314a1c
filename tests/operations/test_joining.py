"""Batches: joining many maps takes another way than joining few, to the same result."""

from functools import reduce

import numpy as np
import pytest

from maps import KEYS, tensor
from nablatom import Labels, TensorMap, equal_raise, join
from nablatom.testing import assert_gradients

OPTIONS = {
    "plain": {},
    "components": {"components": 2},
    "second derivatives": {"components": 1, "nested": True},
}


def systems(count, **options):
    """Maps of different systems with gradient rows of their own, the last sizes repeated."""
    return [shifted(tensor(seed, rows=seed, **options), 2 * seed) for seed in range(count)]


def shifted(x, system):
    """The same map of systems that come later."""
    blocks = [block.copy(deep=False) for block in x]
    for block in blocks:
        values = np.array(block.samples.values)
        values[:, 0] += system
        block._samples = Labels(block.samples.names, values)
    return TensorMap(x.keys, blocks)


def two_by_two(maps, *options):
    return reduce(lambda a, b: join([a, b], "samples", *options), maps)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", OPTIONS)
def test_many_maps_as_two_by_two(name, library):
    maps = systems(20, library=library, **OPTIONS[name])
    equal_raise(join(maps, "samples"), two_by_two(maps))


def test_many_maps_with_a_number_for_each():
    maps = [tensor(seed, rows=seed) for seed in range(20)]
    joined = join(maps, "samples", add_dimension="which")
    for i, (key, block) in enumerate(joined.items()):
        which = block.samples.column("which")
        for k in range(20):
            np.testing.assert_array_equal(block.values[which == k], maps[k].block(key).values)
        assert block.samples.names == ["system", "atom", "which"]
        assert len(block) == 20 * len(maps[0].block_by_id(i))


@pytest.mark.parametrize("different_keys", ["union", "intersection"])
def test_many_maps_of_different_keys(different_keys):
    maps = systems(12)
    few = TensorMap(KEYS.take(np.array([2, 0])), maps[5].blocks_by_id([2, 0]))
    maps[5] = few
    equal_raise(join(maps, "samples", different_keys), two_by_two(maps, different_keys))


def test_keys_in_another_order_are_matched():
    maps = systems(12)
    turned = TensorMap(KEYS.take(np.array([3, 1, 0, 2])), maps[5].blocks_by_id([3, 1, 0, 2]))
    equal_raise(join([*maps[:5], turned, *maps[6:]], "samples"), join(maps, "samples"))


def test_stored_gradients_of_many():
    maps = systems(10)
    for parameter in ("positions", "strain"):
        assert_gradients(lambda *x: join(x, "samples"), maps, parameter)


def test_a_repeated_entry_is_named():
    maps = systems(12)
    with pytest.raises(ValueError, match=r"\(system=\d+, atom=\d+\) is in the samples of more"):
        join([*maps, maps[3]], "samples")


def test_other_properties_are_refused():
    other = shifted(tensor(properties=Labels("n", [[2], [-1]])), 99)
    with pytest.raises(ValueError, match="properties must be the same"):
        join([*systems(12), other], "samples")
