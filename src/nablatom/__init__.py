"""nablatom: gradients of atomistic quantities as first-class data.

Energies, descriptors and any other property are labelled, block-sparse tensors that carry
their derivatives with respect to positions, strain and cell; every operation carries the
derivatives along. From the bottom up:

``labels``, ``block``, ``tensor``
    The nouns: :class:`Labels`, :class:`TensorBlock`, :class:`TensorMap`.
``io``
    Bytes ⇄ nouns: :func:`load`, :func:`save`.
``conversion``
    Nouns ⇄ the data of metatensor, xarray, pandas and of any library that speaks DLPack.
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

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nablatom.block import TensorBlock
from nablatom.labels import Labels, LabelsEntry
from nablatom.tensor import TensorMap

if TYPE_CHECKING:
    from nablatom.conversion import (
        from_dlpack,
        from_metatensor,
        from_xarray,
        to_dlpack,
        to_metatensor,
        to_pandas,
        to_xarray,
    )
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
    from nablatom.operations import (
        PCA,
        Covariance,
        abs,
        abs_block,
        add,
        add_block,
        allclose,
        allclose_block,
        allclose_block_raise,
        allclose_raise,
        append_dimension,
        apply,
        block_from_array,
        clip,
        cos,
        detach,
        detach_block,
        divide,
        divide_block,
        dot,
        dot_block,
        drop_blocks,
        drop_empty_blocks,
        einsum,
        empty_like,
        empty_like_block,
        equal,
        equal_block,
        equal_block_raise,
        equal_metadata,
        equal_metadata_block,
        equal_metadata_block_raise,
        equal_metadata_raise,
        equal_raise,
        exp,
        expand_samples,
        filter_blocks,
        insert_dimension,
        is_contiguous,
        is_contiguous_block,
        join,
        join_blocks,
        log,
        lstsq,
        make_contiguous,
        make_contiguous_block,
        matmul,
        maximum,
        mean_over_properties,
        mean_over_properties_block,
        mean_over_samples,
        mean_over_samples_block,
        multiply,
        multiply_block,
        norm,
        one_hot,
        ones_like,
        ones_like_block,
        pca,
        permute_dimensions,
        pow,
        pow_block,
        random_uniform_like,
        random_uniform_like_block,
        relu,
        remove_dimension,
        remove_gradients,
        remove_gradients_block,
        rename_dimension,
        repeat,
        requires_grad,
        requires_grad_block,
        ridge,
        silu,
        sin,
        slice,
        slice_block,
        solve,
        sort,
        sort_block,
        split,
        split_block,
        sqrt,
        std_over_properties,
        std_over_properties_block,
        std_over_samples,
        std_over_samples_block,
        subtract,
        subtract_block,
        sum_over_properties,
        sum_over_properties_block,
        sum_over_samples,
        sum_over_samples_block,
        svd,
        tanh,
        tensor_product,
        unique_metadata,
        unique_metadata_block,
        var_over_properties,
        var_over_properties_block,
        var_over_samples,
        var_over_samples_block,
        zeros_like,
        zeros_like_block,
    )

__version__ = "0.1.0"

__all__ = [
    "PCA",
    "Covariance",
    "Labels",
    "LabelsEntry",
    "TensorBlock",
    "TensorMap",
    "abs",
    "abs_block",
    "add",
    "add_block",
    "allclose",
    "allclose_block",
    "allclose_block_raise",
    "allclose_raise",
    "append_dimension",
    "apply",
    "block_from_array",
    "clip",
    "cos",
    "detach",
    "detach_block",
    "divide",
    "divide_block",
    "dot",
    "dot_block",
    "drop_blocks",
    "drop_empty_blocks",
    "einsum",
    "empty_like",
    "empty_like_block",
    "equal",
    "equal_block",
    "equal_block_raise",
    "equal_metadata",
    "equal_metadata_block",
    "equal_metadata_block_raise",
    "equal_metadata_raise",
    "equal_raise",
    "exp",
    "expand_samples",
    "filter_blocks",
    "from_dlpack",
    "from_metatensor",
    "from_xarray",
    "insert_dimension",
    "is_contiguous",
    "is_contiguous_block",
    "join",
    "join_blocks",
    "load",
    "load_block",
    "load_block_buffer",
    "load_buffer",
    "load_labels",
    "load_labels_buffer",
    "log",
    "lstsq",
    "make_contiguous",
    "make_contiguous_block",
    "matmul",
    "maximum",
    "mean_over_properties",
    "mean_over_properties_block",
    "mean_over_samples",
    "mean_over_samples_block",
    "multiply",
    "multiply_block",
    "norm",
    "one_hot",
    "ones_like",
    "ones_like_block",
    "pca",
    "permute_dimensions",
    "pow",
    "pow_block",
    "random_uniform_like",
    "random_uniform_like_block",
    "relu",
    "remove_dimension",
    "remove_gradients",
    "remove_gradients_block",
    "rename_dimension",
    "repeat",
    "requires_grad",
    "requires_grad_block",
    "ridge",
    "save",
    "save_buffer",
    "silu",
    "sin",
    "slice",
    "slice_block",
    "solve",
    "sort",
    "sort_block",
    "split",
    "split_block",
    "sqrt",
    "std_over_properties",
    "std_over_properties_block",
    "std_over_samples",
    "std_over_samples_block",
    "subtract",
    "subtract_block",
    "sum_over_properties",
    "sum_over_properties_block",
    "sum_over_samples",
    "sum_over_samples_block",
    "svd",
    "tanh",
    "tensor_product",
    "to_dlpack",
    "to_metatensor",
    "to_pandas",
    "to_xarray",
    "unique_metadata",
    "unique_metadata_block",
    "var_over_properties",
    "var_over_properties_block",
    "var_over_samples",
    "var_over_samples_block",
    "zeros_like",
    "zeros_like_block",
]


def __getattr__(name: str) -> Any:
    """Files, operations and conversions, loaded when one of them is first asked for."""
    if name not in __all__:
        try:
            return import_module(f"nablatom.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"nablatom.{name}":
                raise  # there is such a module, and it lacks a library
            raise AttributeError(f"module 'nablatom' has no attribute {name!r}") from None
    found = globals()[name] = getattr(import_module(_home(name)), name)
    return found


def _home(name: str) -> str:
    """The package that a public name comes from."""
    if name.startswith(("load", "save")):
        return "nablatom.io"
    return "nablatom.conversion" if name.startswith(("from_", "to_")) else "nablatom.operations"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
