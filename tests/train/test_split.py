import numpy as np
import pytest

from nablatom.train.split import deal, split_frames


@pytest.mark.parametrize("count", [2, 3, 10, 61])
def test_split_is_a_partition_that_leaves_no_part_empty(count):
    train, test = split_frames(count, seed=3)
    assert sorted([*train, *test]) == list(range(count))
    assert len(train)
    assert len(test)


def test_same_seed_same_split_other_seed_another():
    first, again, other = (split_frames(50, seed=s)[1].tolist() for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"count": 1}, "at least 2 frames"), ({"count": 5, "fraction": 1.0}, "between 0 and 1")],
)
def test_split_that_leaves_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_frames(**arguments)


@pytest.mark.parametrize(("count", "folds"), [(10, 5), (3, 5), (11, 4)])
def test_deal_is_a_partition_into_parts_of_similar_size(count, folds):
    parts = deal(np.arange(count), folds, seed=0)
    sizes = [len(part) for part in parts]
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1
