"""The same labels around other arrays."""

import numpy as np
import pytest
import torch

from maps import tensor
from nablatom import operations

LIKE = {
    "zeros_like": lambda x: (x == 0).all(),
    "ones_like": lambda x: (x == 1).all(),
    "empty_like": lambda x: True,
    "random_uniform_like": lambda x: ((x >= 0) & (x < 1)).all(),
}


def arrays_of(tensor):
    """All arrays, those of gradients of gradients too."""
    for block in tensor if hasattr(tensor, "keys") else [tensor]:
        yield block.values
        for _, gradient in block.gradients():
            yield from arrays_of(gradient)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", LIKE)
def test_the_same_labels_around_new_numbers(name, library):
    a = tensor(components=1, nested=True, library=library)
    result = getattr(operations, name)(a)
    operations.equal_metadata_raise(result, a)
    for new, old in zip(arrays_of(result), arrays_of(a), strict=True):
        assert type(new) is type(old)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        assert LIKE[name](new)
    assert not any(new is old for new, old in zip(arrays_of(result), arrays_of(a), strict=True))


@pytest.mark.parametrize("name", LIKE)
def test_some_gradients_only(name):
    like, a = getattr(operations, name), tensor()
    assert like(a, gradients=[]).block_by_id(0).gradients_list() == []
    assert like(a, gradients="strain").block_by_id(0).gradients_list() == ["strain"]
    with pytest.raises(KeyError, match="no gradient 'cell'"):
        like(a, gradients=["cell"])


@pytest.mark.parametrize("name", LIKE)
def test_torch_records_what_follows(name):
    like = getattr(operations, name)
    result = like(tensor(library="torch"), requires_grad=True)
    assert all(x.requires_grad and x.is_leaf for x in arrays_of(result))
    with pytest.raises(ValueError, match='arrays="torch"'):
        like(tensor(), requires_grad=True)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_random_numbers_follow_their_generator(library):
    a = tensor(library=library)
    one, two, other = (
        operations.random_uniform_like(a, generator=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    operations.equal_raise(one, two)
    assert not operations.allclose(one, other)
    values = np.concatenate([np.asarray(x).reshape(-1) for x in arrays_of(one)])
    assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * values.size)  # four standard errors


def test_random_numbers_of_torch():
    a = tensor(library="torch")
    one, two = (
        operations.random_uniform_like(a, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    operations.equal_raise(one, two)
    assert not operations.allclose(operations.random_uniform_like(a), one)


def test_random_numbers_that_cannot_be():
    with pytest.raises(TypeError, match=r"needs a numpy\.random\.Generator, got Generator"):
        operations.random_uniform_like(tensor(), generator=torch.Generator())
    with pytest.raises(TypeError, match="int32"):
        operations.random_uniform_like(tensor().to(dtype=np.int32))


def test_in_and_out_of_the_graph():
    a = tensor(library="torch", nested=True)
    live = operations.requires_grad(a)
    assert all(x.requires_grad for x in arrays_of(live))
    assert not any(x.requires_grad for x in arrays_of(a))
    doubled = live * 2
    for out in (operations.detach(doubled), operations.requires_grad(doubled, False)):
        assert not any(x.requires_grad for x in arrays_of(out))
        operations.equal_raise(out, a * 2)
    same = operations.requires_grad(doubled)
    assert all(x.grad_fn is not None for x in arrays_of(same))
    for new, old in zip(arrays_of(live), arrays_of(a), strict=True):
        assert new.data_ptr() == old.data_ptr()


def test_numpy_is_never_in_a_graph():
    a = tensor()
    assert all(x is y for x, y in zip(arrays_of(operations.detach(a)), arrays_of(a), strict=True))
    operations.equal_raise(operations.requires_grad(a, False), a)
    with pytest.raises(ValueError, match="record no gradients"):
        operations.requires_grad(a)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_contiguous(library):
    a = operations.make_contiguous(tensor(components=1, library=library))
    assert operations.is_contiguous(a)
    again = operations.make_contiguous(a)
    assert all(x is y for x, y in zip(arrays_of(again), arrays_of(a), strict=True))
    spread = operations.block_from_array(a.block_by_id(0).values[:, ::1, ::2])
    assert not operations.is_contiguous(spread)
    packed = operations.make_contiguous(spread)
    assert operations.is_contiguous(packed)
    operations.equal_raise(packed, spread)


def test_one_gradient_that_is_not_contiguous():
    block = tensor().block_by_id(0).copy()
    old = block.gradient("positions")
    fresh = operations.remove_gradients(block)
    turned = type(block)(np.asfortranarray(old.values), old.samples, old.components, old.properties)
    fresh.add_gradient("positions", turned)
    assert not operations.is_contiguous(fresh)
    assert operations.is_contiguous(operations.make_contiguous(fresh))
