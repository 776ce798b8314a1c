"""Models from data: splits, closed-form fits, and how good the result is."""

from nablatom.train.fit import WEIGHTS, Fit, fit_descriptor, fit_linear
from nablatom.train.metrics import Comparison, compare
from nablatom.train.split import split_frames
from nablatom.train.targets import TARGETS, Target

__all__ = [
    "TARGETS",
    "WEIGHTS",
    "Comparison",
    "Fit",
    "Target",
    "compare",
    "fit_descriptor",
    "fit_linear",
    "split_frames",
]
