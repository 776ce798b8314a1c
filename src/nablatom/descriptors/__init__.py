"""Structures → features of every atom, as tensors with explicit gradients, and their proof."""

from nablatom.descriptors.expansion import SphericalExpansion
from nablatom.descriptors.spectrum import PowerSpectrum, RadialSpectrum
from nablatom.descriptors.verify import GradientCheck, verify_gradients

__all__ = [
    "GradientCheck",
    "PowerSpectrum",
    "RadialSpectrum",
    "SphericalExpansion",
    "verify_gradients",
]
