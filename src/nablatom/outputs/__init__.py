"""Models → models: energies to forces, stress and whatever else is a derivative.

Each output is a module that wraps a graph module, and a function for those who want no module.
"""

from nablatom.outputs.derivatives import Derivatives, Model, pair_derivatives
from nablatom.outputs.products import Linearization, jvp, linearize, vjp

__all__ = ["Derivatives", "Linearization", "Model", "jvp", "linearize", "pair_derivatives", "vjp"]
