"""Models: structures or descriptors to energies that carry their derivatives."""

from nablatom.models.linear import DESCRIPTORS, Calculator, LinearModel

__all__ = ["DESCRIPTORS", "Calculator", "LinearModel"]
