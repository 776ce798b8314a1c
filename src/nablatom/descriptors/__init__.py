"""Structures → features of every atom, as tensors with explicit gradients, and their proof."""

from nablatom.descriptors.bispectrum import Bispectrum
from nablatom.descriptors.by_pair import SphericalExpansionByPair
from nablatom.descriptors.composition import AtomicComposition
from nablatom.descriptors.cutoff import Cutoff, Polynomial, ShiftedCosine, Step
from nablatom.descriptors.density import Delta, Gaussian, SmearedPowerLaw
from nablatom.descriptors.equivariant import EquivariantPowerSpectrum
from nablatom.descriptors.expansion import SphericalExpansion
from nablatom.descriptors.featomic import from_featomic
from nablatom.descriptors.lode import LodeSphericalExpansion
from nablatom.descriptors.mixed_types import MixedTypes
from nablatom.descriptors.neighbor_list import NeighborList
from nablatom.descriptors.normalization import averaged, normalized
from nablatom.descriptors.radial_basis import Gto
from nablatom.descriptors.radial_functions import Functions, Tabulated
from nablatom.descriptors.radial_polynomials import Bernstein, Monomials
from nablatom.descriptors.radial_table import RadialTable
from nablatom.descriptors.radial_waves import SphericalBessel, SphericalWaves
from nablatom.descriptors.scaling import Willatt2018
from nablatom.descriptors.settings import from_yaml, to_yaml
from nablatom.descriptors.sorted_distances import SortedDistances
from nablatom.descriptors.spectrum import SoapPowerSpectrum, SoapRadialSpectrum
from nablatom.descriptors.storage import Workspace
from nablatom.descriptors.symmetry_functions import G2, G4, G5, AtomicSymmetryFunctions
from nablatom.descriptors.verify import GradientCheck, verify_gradients

__all__ = [
    "G2",
    "G4",
    "G5",
    "AtomicComposition",
    "AtomicSymmetryFunctions",
    "Bernstein",
    "Bispectrum",
    "Cutoff",
    "Delta",
    "EquivariantPowerSpectrum",
    "Functions",
    "Gaussian",
    "GradientCheck",
    "Gto",
    "LodeSphericalExpansion",
    "MixedTypes",
    "Monomials",
    "NeighborList",
    "Polynomial",
    "RadialTable",
    "ShiftedCosine",
    "SmearedPowerLaw",
    "SoapPowerSpectrum",
    "SoapRadialSpectrum",
    "SortedDistances",
    "SphericalBessel",
    "SphericalExpansion",
    "SphericalExpansionByPair",
    "SphericalWaves",
    "Step",
    "Tabulated",
    "Willatt2018",
    "Workspace",
    "averaged",
    "from_featomic",
    "from_yaml",
    "normalized",
    "to_yaml",
    "verify_gradients",
]
