"""Models → models: energies to forces, stress and whatever else is a derivative.

Each output is a module that wraps a graph module, and a function for those who want no module.
"""

from nablatom.outputs.atomic_virial import AtomicVirialOutput, atomic_virials
from nablatom.outputs.derivatives import Derivatives, Model, pair_derivatives
from nablatom.outputs.elasticity import elastic_constants, internal_strain
from nablatom.outputs.exported import ExportedModel, export, load_exported
from nablatom.outputs.field_response import (
    FieldResponseOutput,
    born_charges,
    dipole,
    field_response,
    polarizability,
)
from nablatom.outputs.force_constants import force_constants, write_force_constants
from nablatom.outputs.gradient import GradientOutput, gradient
from nablatom.outputs.heat_flux import (
    HeatFluxOutput,
    convective_heat_flux,
    heat_flux,
    unfolded_heat_flux,
)
from nablatom.outputs.hessian import HessianOutput, hessian, hvp
from nablatom.outputs.partial_forces import (
    PartialForceOutput,
    atom_energies,
    dense_partial_forces,
    partial_forces,
)
from nablatom.outputs.products import Linearization, jvp, linearize, vjp
from nablatom.outputs.sparse_hessian import sparse_hessian
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
    "AtomicVirialOutput",
    "Derivatives",
    "ExportedModel",
    "FieldResponseOutput",
    "ForceOutput",
    "ForceStressOutput",
    "GradientOutput",
    "HeatFluxOutput",
    "HessianOutput",
    "Linearization",
    "Model",
    "PartialForceOutput",
    "StressOutput",
    "atom_energies",
    "atomic_virials",
    "atoms_to_tensor",
    "born_charges",
    "convective_heat_flux",
    "dense_partial_forces",
    "dipole",
    "elastic_constants",
    "export",
    "field_response",
    "force_constants",
    "forces",
    "forces_and_stress",
    "frame_energies",
    "from_tensor",
    "gradient",
    "heat_flux",
    "hessian",
    "hvp",
    "internal_strain",
    "jvp",
    "linearize",
    "load_exported",
    "pair_derivatives",
    "partial_forces",
    "polarizability",
    "sparse_hessian",
    "stress_of",
    "to_tensor",
    "unfolded_heat_flux",
    "vjp",
    "write_force_constants",
]
