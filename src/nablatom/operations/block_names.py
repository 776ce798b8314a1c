"""Names for operations on single blocks, as in metatensor: here, one function takes both."""

from __future__ import annotations

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
from nablatom.operations.functions import (
    clip,
    cos,
    exp,
    log,
    maximum,
    relu,
    silu,
    sin,
    sqrt,
    tanh,
)
from nablatom.operations.joining import join_blocks
from nablatom.operations.linear_algebra import lstsq, matmul, ridge, solve
from nablatom.operations.metadata import (
    append_dimension,
    insert_dimension,
    permute_dimensions,
    remove_dimension,
    rename_dimension,
    unique_metadata,
)
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
from nablatom.operations.selection import remove_gradients, repeat, slice, sort, split
from nablatom.operations.summation import einsum

__all__ = [
    "abs_block",
    "add_block",
    "allclose_block",
    "allclose_block_raise",
    "append_dimension_block",
    "apply_block",
    "clip_block",
    "cos_block",
    "detach_block",
    "divide_block",
    "dot_block",
    "einsum_block",
    "empty_like_block",
    "equal_block",
    "equal_block_raise",
    "equal_metadata_block",
    "equal_metadata_block_raise",
    "exp_block",
    "insert_dimension_block",
    "is_contiguous_block",
    "join_blocks",
    "log_block",
    "lstsq_block",
    "make_contiguous_block",
    "matmul_block",
    "maximum_block",
    "mean_over_properties_block",
    "mean_over_samples_block",
    "multiply_block",
    "norm_block",
    "ones_like_block",
    "permute_dimensions_block",
    "pow_block",
    "random_uniform_like_block",
    "relu_block",
    "remove_dimension_block",
    "remove_gradients_block",
    "rename_dimension_block",
    "repeat_block",
    "requires_grad_block",
    "ridge_block",
    "silu_block",
    "sin_block",
    "slice_block",
    "solve_block",
    "sort_block",
    "split_block",
    "sqrt_block",
    "std_over_properties_block",
    "std_over_samples_block",
    "subtract_block",
    "sum_over_properties_block",
    "sum_over_samples_block",
    "tanh_block",
    "unique_metadata_block",
    "var_over_properties_block",
    "var_over_samples_block",
    "zeros_like_block",
]

abs_block = abs
add_block = add
allclose_block = allclose
allclose_block_raise = allclose_raise
append_dimension_block = append_dimension
apply_block = apply
clip_block = clip
cos_block = cos
detach_block = detach
divide_block = divide
dot_block = dot
einsum_block = einsum
empty_like_block = empty_like
equal_block = equal
equal_block_raise = equal_raise
equal_metadata_block = equal_metadata
equal_metadata_block_raise = equal_metadata_raise
exp_block = exp
insert_dimension_block = insert_dimension
is_contiguous_block = is_contiguous
log_block = log
lstsq_block = lstsq
make_contiguous_block = make_contiguous
matmul_block = matmul
maximum_block = maximum
mean_over_properties_block = mean_over_properties
mean_over_samples_block = mean_over_samples
multiply_block = multiply
norm_block = norm
ones_like_block = ones_like
permute_dimensions_block = permute_dimensions
pow_block = pow
random_uniform_like_block = random_uniform_like
relu_block = relu
remove_dimension_block = remove_dimension
remove_gradients_block = remove_gradients
rename_dimension_block = rename_dimension
repeat_block = repeat
requires_grad_block = requires_grad
ridge_block = ridge
silu_block = silu
sin_block = sin
slice_block = slice
solve_block = solve
sort_block = sort
split_block = split
sqrt_block = sqrt
std_over_properties_block = std_over_properties
std_over_samples_block = std_over_samples
subtract_block = subtract
sum_over_properties_block = sum_over_properties
sum_over_samples_block = sum_over_samples
tanh_block = tanh
unique_metadata_block = unique_metadata
var_over_properties_block = var_over_properties
var_over_samples_block = var_over_samples
zeros_like_block = zeros_like
