"""Singular vectors, covariance over several maps, and principal components, beside NumPy."""

import numpy as np
import pytest

from maps import tensor
from nablatom import Labels, TensorBlock, TensorMap, operations
from nablatom.operations import Covariance, dot, pca, remove_gradients, svd

N = Labels("n", [[3], [1], [2]])


def block(seed, samples=6, components=(), mean=0.0, library="numpy"):
    numbers = np.random.default_rng(seed)
    axes = [Labels.range(f"c{i}", size) for i, size in enumerate(components)]
    values = mean + numbers.normal(size=(samples, *components, 3)) * [3.0, 1.0, 0.3]
    return TensorBlock(values, Labels.range("atom", samples), axes, N).to(arrays=library)


def one(block):
    return TensorMap(Labels.single(), [block])


def flat(*blocks):
    return np.concatenate([b.to(arrays="numpy").values.reshape(-1, 3) for b in blocks])


# -- singular values ---------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [(), (2, 3)])
@pytest.mark.parametrize("samples", [0, 1, 6])
def test_factors_multiply_to_the_whole(samples, components, library):
    a = block(1, samples, components, library=library)
    u, s, v = (x.to(arrays="numpy") for x in svd(a))
    np.testing.assert_allclose((u.values * s.values) @ v.values, a.to(arrays="numpy").values)
    np.testing.assert_allclose(s.values[0], np.linalg.svd(flat(a), compute_uv=False), atol=1e-14)
    np.testing.assert_allclose(v.values @ v.values.T, np.eye(len(v)), atol=1e-14)
    assert (u.samples, u.components, v.properties) == (a.samples, a.components, N)
    assert u.properties == s.properties == v.samples == Labels.range("mode", len(v))
    assert (abs(v.values).max(axis=1) == v.values.max(axis=1)).all()


def test_rank_keeps_the_largest():
    a = block(1)
    whole, part = svd(a), svd(a, rank=2)
    for x, y in zip(whole, part, strict=True):
        np.testing.assert_array_equal(x.values[:2, ..., :2], y.values[:2, ..., :2])
    assert part[0].shape == (6, 2)
    assert part[2].shape == (2, 3)
    assert svd(a, rank=7)[1].shape == (1, 3)


def test_svd_of_maps():
    a = remove_gradients(tensor(components=1))
    u, s, v = svd(a, rank=2)
    for key, part in a.items():
        assert svd(part, rank=2) == (u.block(key), s.block(key), v.block(key))
    assert u.info() == s.info() == v.info() == a.info()
    np.testing.assert_allclose(
        dot(a, v).block_by_id(0).values, u.block_by_id(0).values * s.block_by_id(0).values
    )


def test_svd_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="svd has no rule for gradients"):
        svd(tensor())
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        svd(block(1), rank=0)


# -- covariance ---------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("components", [(), (1,)])
def test_covariance_of_all_rows(components, library):
    parts = [block(seed, seed, components, mean=5.0, library=library) for seed in (1, 0, 4, 2)]
    covariance = Covariance()
    for part in parts:
        covariance.add(one(part))
    rows = flat(*parts)
    mean, matrix = covariance.mean().block(), covariance.matrix().block()
    assert type(mean.values) is type(parts[0].values)
    np.testing.assert_allclose(mean.to(arrays="numpy").values[0], rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        matrix.to(arrays="numpy").values, np.cov(rows.T, bias=True), rtol=1e-11
    )
    assert (mean.properties, matrix.properties, matrix.samples) == (N, N, N)
    assert covariance.rows() == {(0,): 7}


def test_tensors_have_no_mean():
    a = block(1, components=(3,), mean=5.0)
    covariance = Covariance()
    covariance.add(one(a))
    assert not covariance.mean().block().values.any()
    expected = flat(a).T @ flat(a) / 18
    np.testing.assert_allclose(covariance.matrix().block().values, expected, rtol=1e-13)


def test_a_large_mean_costs_no_digits():
    parts = [block(seed, 50) for seed in range(4)]
    far = [TensorBlock(p.values + 1e8, p.samples, [], N) for p in parts]
    near, away = Covariance(), Covariance()
    for p, q in zip(parts, far, strict=True):
        near.add(one(p))
        away.add(one(q))
    # the rows themselves are rounded to 1e-8
    np.testing.assert_allclose(
        away.matrix().block().values, near.matrix().block().values, atol=1e-6
    )


def test_single_precision_is_summed_in_double():
    a = one(block(1, 2000, mean=100.0))
    single, double = Covariance(), Covariance()
    single.add(a.to(dtype=np.float32))
    double.add(a)
    assert single.matrix().block().dtype == np.float32
    np.testing.assert_allclose(
        single.matrix().block().values, double.matrix().block().values, rtol=1e-3, atol=1e-4
    )


def test_parts_can_be_merged():
    a, b = tensor(1), tensor(2)
    one_by_one, first, second = Covariance(), Covariance(), Covariance()
    for sums, t in ((one_by_one, a), (one_by_one, b), (first, a), (second, b)):
        sums.add(t)
    first.merge(second)
    first.merge(Covariance())
    operations.equal_raise(first.matrix(), one_by_one.matrix())
    operations.equal_raise(first.mean(), one_by_one.mean())


def test_keys_may_come_later():
    a = tensor(1)
    covariance = Covariance()
    for k in (2, 0):
        covariance.add(TensorMap(Labels(a.keys.names, [list(a.keys[k])]), [a.block_by_id(k)]))
    covariance.add(a)
    assert list(covariance.rows()) == [(1, 1), (8, 1), (1, 8), (8, 8)]
    assert list(covariance.rows().values()) == [8, 6, 2, 0]


def test_what_does_not_go_together():
    covariance = Covariance()
    with pytest.raises(ValueError, match="no map has been added yet"):
        covariance.mean()
    with pytest.raises(TypeError, match=r"needs a TensorMap for .tensor., got a TensorBlock"):
        covariance.add(block(1))
    covariance.add(one(block(1)))
    with pytest.raises(ValueError, match=r"key dimensions \['_'\], got \['center_type'"):
        covariance.add(tensor())
    other = TensorBlock(np.zeros((1, 1)), Labels.single(), [], Labels.single())
    with pytest.raises(ValueError, match="properties must be those of the maps") as caught:
        covariance.add(one(other))
    assert "in the block with (_=0)" in caught.value.__notes__


# -- principal components -------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_components_are_singular_vectors_of_centred_rows(library):
    a = block(1, 20, mean=2.0, library=library)
    found = pca(one(a))
    rows = flat(a) - flat(a).mean(axis=0)
    _, s, vt = np.linalg.svd(rows, full_matrices=False)
    modes = found.modes.block().to(arrays="numpy").values
    np.testing.assert_allclose(abs(modes @ vt.T), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(
        found.variances.block().to(arrays="numpy").values[0], s**2 / 20, rtol=1e-12
    )
    projected = found.project(one(a)).block().to(arrays="numpy")
    np.testing.assert_allclose(projected.values, rows @ modes.T, atol=1e-12)
    assert projected.properties == Labels.range("mode", 3)


def test_restore_undoes_project():
    a = tensor(1)
    found = pca(a)
    operations.allclose_raise(found.restore(found.project(a)), a, rtol=1e-11, atol=1e-11)


def test_few_components_keep_most_of_the_variance():
    a = one(block(1, 50))
    found = pca(a, 1)
    left = a.block().values - found.restore(found.project(a)).block().values
    total = a.block().values.var(axis=0).sum()
    kept = found.variances.block().values.sum()
    np.testing.assert_allclose((left**2).sum(axis=1).mean(), total - kept, rtol=1e-12)


def test_projecting_what_the_directions_know_nothing_of():
    found = pca(one(block(1)), 2)
    with pytest.raises(ValueError, match="properties must be those that the directions"):
        found.project(found.project(one(block(1))))
    with pytest.raises(ValueError, match="properties must be those that the directions"):
        found.restore(one(block(1)))
    with pytest.raises(ValueError, match="count must be at least 1"):
        pca(one(block(1)), 0)
