"""What modules do to the data they are given: nothing."""

from collections.abc import Callable

import torch

from nablatom.models import AtomicDataDict

__all__ = ["assert_untouched"]

Module = Callable[[AtomicDataDict.Type], AtomicDataDict.Type]


def assert_untouched(module: Module, data: AtomicDataDict.Type) -> None:
    """Assert that a module leaves its input alone, also when it raises for a missing field.

    Raises
    ------
    AssertionError
        Names the field that was added, removed, replaced or changed.
    """
    _assert_left_alone(module, data)
    types = (AtomicDataDict.ATOM_TYPE_KEY, AtomicDataDict.ATOMIC_NUMBERS_KEY)
    _assert_left_alone(module, {key: x for key, x in data.items() if key not in types})


def _assert_left_alone(module: Module, data: AtomicDataDict.Type) -> None:
    given = dict(data)
    copies = {key: x.detach().clone() for key, x in data.items()}
    marks = {key: (x._version, x.requires_grad, x.grad) for key, x in data.items()}
    try:
        result = module(data)
    except (KeyError, ValueError, RuntimeError):
        result = {}
    if result is data:
        raise AssertionError("the module returns the dictionary it was given, not a new one")
    for key in (*given, *data):
        if data.get(key) is not given.get(key):
            raise AssertionError(f"the module changed the field {key!r} of its input")
        version, requires_grad, grad = marks[key]
        if data[key].requires_grad is not requires_grad or data[key].grad is not grad:
            raise AssertionError(f"the module left {key!r} of its input in another graph")
        if data[key]._version != version or not torch.equal(data[key], copies[key]):
            raise AssertionError(f"the module wrote into the field {key!r} of its input")
