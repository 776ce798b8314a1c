"""Models → models: energies to forces, stress and whatever else is a derivative.

Each output is a module that wraps a graph module, and a function for those who want no module.
"""

from nablatom.outputs.derivatives import Derivatives, Model, pair_derivatives
from nablatom.outputs.gradient import GradientOutput, gradient
from nablatom.outputs.partial_forces import (
    PartialForceOutput,
    atom_energies,
    dense_partial_forces,
    partial_forces,
)
from nablatom.outputs.products import Linearization, jvp, linearize, vjp
from nablatom.outputs.stress import (
    ForceOutput,
    ForceStressOutput,
    StressOutput,
    forces,
    forces_and_stress,
    stress_of,
)
from nablatom.outputs.tensors import atoms_to_tensor, frame_energies, from_tensor, to_tensor

__all__ = [
    "Derivatives",
    "ForceOutput",
    "ForceStressOutput",
    "GradientOutput",
    "Linearization",
    "Model",
    "PartialForceOutput",
    "StressOutput",
    "atom_energies",
    "atoms_to_tensor",
    "dense_partial_forces",
    "forces",
    "forces_and_stress",
    "frame_energies",
    "from_tensor",
    "gradient",
    "jvp",
    "linearize",
    "pair_derivatives",
    "partial_forces",
    "stress_of",
    "to_tensor",
    "vjp",
]
