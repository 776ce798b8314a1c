"""TensorMap → TensorMap: operations that carry stored gradients along.

Each operation is one of the six rules of :mod:`nablatom.operations.chain`, lifted from
blocks to maps by :func:`nablatom.operations.lift.blockwise`.
"""

from nablatom.operations.applying import apply
from nablatom.operations.arithmetic import abs, add, divide, multiply, pow, subtract
from nablatom.operations.comparison import (
    allclose,
    allclose_raise,
    equal,
    equal_metadata,
    equal_metadata_raise,
    equal_raise,
)
from nablatom.operations.contraction import dot
from nablatom.operations.functions import clip, cos, exp, log, maximum, relu, silu, sin, sqrt, tanh
from nablatom.operations.joining import join
from nablatom.operations.norms import norm
from nablatom.operations.reduction import (
    mean_over_properties,
    mean_over_samples,
    std_over_properties,
    std_over_samples,
    sum_over_properties,
    sum_over_samples,
    var_over_properties,
    var_over_samples,
)
from nablatom.operations.selection import remove_gradients, slice, sort
from nablatom.operations.summation import einsum

__all__ = [
    "abs",
    "add",
    "allclose",
    "allclose_raise",
    "apply",
    "clip",
    "cos",
    "divide",
    "dot",
    "einsum",
    "equal",
    "equal_metadata",
    "equal_metadata_raise",
    "equal_raise",
    "exp",
    "join",
    "log",
    "maximum",
    "mean_over_properties",
    "mean_over_samples",
    "multiply",
    "norm",
    "pow",
    "relu",
    "remove_gradients",
    "silu",
    "sin",
    "slice",
    "sort",
    "sqrt",
    "std_over_properties",
    "std_over_samples",
    "subtract",
    "sum_over_properties",
    "sum_over_samples",
    "tanh",
    "var_over_properties",
    "var_over_samples",
]
