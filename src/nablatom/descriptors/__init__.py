"""Structures → features of every atom, as tensors with explicit gradients, and their proof."""

from nablatom.descriptors.cutoff import Cutoff, Polynomial, ShiftedCosine, Step
from nablatom.descriptors.density import Delta, Gaussian, SmearedPowerLaw
from nablatom.descriptors.expansion import SphericalExpansion
from nablatom.descriptors.radial_basis import Gto
from nablatom.descriptors.radial_functions import Functions, Tabulated
from nablatom.descriptors.radial_polynomials import Bernstein, Monomials
from nablatom.descriptors.radial_table import RadialTable
from nablatom.descriptors.radial_waves import SphericalBessel, SphericalWaves
from nablatom.descriptors.scaling import Willatt2018
from nablatom.descriptors.spectrum import PowerSpectrum, RadialSpectrum
from nablatom.descriptors.verify import GradientCheck, verify_gradients

__all__ = [
    "Bernstein",
    "Cutoff",
    "Delta",
    "Functions",
    "Gaussian",
    "GradientCheck",
    "Gto",
    "Monomials",
    "Polynomial",
    "PowerSpectrum",
    "RadialSpectrum",
    "RadialTable",
    "ShiftedCosine",
    "SmearedPowerLaw",
    "SphericalBessel",
    "SphericalExpansion",
    "SphericalWaves",
    "Step",
    "Tabulated",
    "Willatt2018",
    "verify_gradients",
]
