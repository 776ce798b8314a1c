"""Checks that can fail, for our own tests and for yours.

Each of them raises an ``AssertionError`` that shows both numbers.

``assert_gradients``, ``assert_derivatives``
    Stored gradients by finite differences.
``assert_model_contract``, ``MODEL_CHECKS``
    What an energy model has to keep to: derivatives, symmetries, locality, batching.
``assert_output_contract``, ``OUTPUT_CHECKS``
    What a module has to keep to that adds derivatives (forces, stress …) to a model.
``example_structures``
    Small structures to hold a model to: crystals, a slab, a wire, a molecule, one atom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nablatom.testing.gradients import assert_derivatives, assert_gradients

if TYPE_CHECKING:
    from nablatom.testing.model_contract import MODEL_CHECKS, assert_model_contract
    from nablatom.testing.output_contract import OUTPUT_CHECKS, assert_output_contract
    from nablatom.testing.specimens import example_structures

__all__ = [
    "MODEL_CHECKS",
    "OUTPUT_CHECKS",
    "assert_derivatives",
    "assert_gradients",
    "assert_model_contract",
    "assert_output_contract",
    "example_structures",
]

_HOMES = {
    "MODEL_CHECKS": "model_contract",
    "OUTPUT_CHECKS": "output_contract",
    "assert_model_contract": "model_contract",
    "assert_output_contract": "output_contract",
    "example_structures": "specimens",
}


def __getattr__(name: str) -> Any:
    """Checks of models, which need torch, loaded when they are first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nablatom.testing' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"nablatom.testing.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
