"""Models → models: energies to forces, stress and whatever else is a derivative.

Each output is a module that wraps a graph module, and a function for those who want no module.
"""

from nablatom.outputs.derivatives import Derivatives, Model, pair_derivatives
from nablatom.outputs.gradient import GradientOutput, gradient
from nablatom.outputs.products import Linearization, jvp, linearize, vjp
from nablatom.outputs.stress import (
    ForceOutput,
    ForceStressOutput,
    StressOutput,
    forces,
    forces_and_stress,
    stress_of,
)

__all__ = [
    "Derivatives",
    "ForceOutput",
    "ForceStressOutput",
    "GradientOutput",
    "Linearization",
    "Model",
    "StressOutput",
    "forces",
    "forces_and_stress",
    "gradient",
    "jvp",
    "linearize",
    "pair_derivatives",
    "stress_of",
    "vjp",
]
