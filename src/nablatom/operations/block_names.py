"""metatensor's names for operations on single blocks: here, the same function takes both."""

from __future__ import annotations

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
from nablatom.operations.creation import (
    detach,
    empty_like,
    is_contiguous,
    make_contiguous,
    ones_like,
    random_uniform_like,
    requires_grad,
    zeros_like,
)
from nablatom.operations.joining import join_blocks
from nablatom.operations.metadata import unique_metadata
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
from nablatom.operations.selection import remove_gradients, slice, sort, split

__all__ = [
    "abs_block",
    "add_block",
    "allclose_block",
    "allclose_block_raise",
    "detach_block",
    "divide_block",
    "dot_block",
    "empty_like_block",
    "equal_block",
    "equal_block_raise",
    "equal_metadata_block",
    "equal_metadata_block_raise",
    "is_contiguous_block",
    "join_blocks",
    "make_contiguous_block",
    "mean_over_properties_block",
    "mean_over_samples_block",
    "multiply_block",
    "ones_like_block",
    "pow_block",
    "random_uniform_like_block",
    "remove_gradients_block",
    "requires_grad_block",
    "slice_block",
    "sort_block",
    "split_block",
    "std_over_properties_block",
    "std_over_samples_block",
    "subtract_block",
    "sum_over_properties_block",
    "sum_over_samples_block",
    "unique_metadata_block",
    "var_over_properties_block",
    "var_over_samples_block",
    "zeros_like_block",
]

abs_block = abs
add_block = add
allclose_block = allclose
allclose_block_raise = allclose_raise
detach_block = detach
divide_block = divide
dot_block = dot
empty_like_block = empty_like
equal_block = equal
equal_block_raise = equal_raise
equal_metadata_block = equal_metadata
equal_metadata_block_raise = equal_metadata_raise
is_contiguous_block = is_contiguous
make_contiguous_block = make_contiguous
mean_over_properties_block = mean_over_properties
mean_over_samples_block = mean_over_samples
multiply_block = multiply
ones_like_block = ones_like
pow_block = pow
random_uniform_like_block = random_uniform_like
remove_gradients_block = remove_gradients
requires_grad_block = requires_grad
slice_block = slice
sort_block = sort
split_block = split
std_over_properties_block = std_over_properties
std_over_samples_block = std_over_samples
subtract_block = subtract
sum_over_properties_block = sum_over_properties
sum_over_samples_block = sum_over_samples
unique_metadata_block = unique_metadata
var_over_properties_block = var_over_properties
var_over_samples_block = var_over_samples
zeros_like_block = zeros_like
