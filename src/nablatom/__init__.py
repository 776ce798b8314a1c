"""nablatom: gradients of atomistic quantities as first-class data.

Energies, descriptors and any other property are labelled, block-sparse tensors that carry
their derivatives with respect to positions, strain and cell; every operation carries the
derivatives along. From the bottom up:

``labels``, ``block``, ``tensor``
    The nouns: :class:`Labels`, :class:`TensorBlock`, :class:`TensorMap`.
``io``
    Bytes ⇄ nouns: :func:`load`, :func:`save`.
``operations``
    TensorMap → TensorMap, gradients included.
``systems``, ``descriptors``
    Structures → neighbour pairs → descriptors with explicit gradients.
``models``, ``train``
    Descriptors → energies with forces and stress; fitting and errors.
``cli``
    The command ``nablatom``.

Importing it imports NumPy and nothing heavier; the last three are imported by name.
"""

from nablatom.block import TensorBlock
from nablatom.io import (
    load,
    load_block,
    load_block_buffer,
    load_buffer,
    load_labels,
    load_labels_buffer,
    save,
    save_buffer,
)
from nablatom.labels import Labels, LabelsEntry
from nablatom.operations import (
    abs,
    add,
    allclose,
    allclose_raise,
    apply,
    clip,
    cos,
    divide,
    dot,
    einsum,
    equal,
    equal_metadata,
    equal_metadata_raise,
    equal_raise,
    exp,
    join,
    log,
    maximum,
    mean_over_properties,
    mean_over_samples,
    multiply,
    norm,
    pow,
    relu,
    remove_gradients,
    silu,
    sin,
    slice,
    sort,
    sqrt,
    std_over_properties,
    std_over_samples,
    subtract,
    sum_over_properties,
    sum_over_samples,
    tanh,
    var_over_properties,
    var_over_samples,
)
from nablatom.tensor import TensorMap

__version__ = "0.1.0"

__all__ = [
    "Labels",
    "LabelsEntry",
    "TensorBlock",
    "TensorMap",
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
    "load",
    "load_block",
    "load_block_buffer",
    "load_buffer",
    "load_labels",
    "load_labels_buffer",
    "log",
    "maximum",
    "mean_over_properties",
    "mean_over_samples",
    "multiply",
    "norm",
    "pow",
    "relu",
    "remove_gradients",
    "save",
    "save_buffer",
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
