"""Several numbers in one register of the processor, for kernels.

Numba leaves it to the compiler to find out that neighboring numbers can be worked on together,
and the compiler gives up where arrays might overlap. These few functions say so instead; only
compiled functions can call them. Numba hands over more than each of them needs.
"""
# ruff: noqa: ARG001

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

__all__ = [
    "WIDTH",
    "Lanes",
    "broadcast",
    "item",
    "load",
    "multiply_add",
    "put",
    "spread",
    "store",
    "stream",
    "total",
]

WIDTH = 8  # 512 bits; where registers are smaller, the compiler takes two
ALIGNED = 4  # bytes: arrays start and end anywhere
DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)


class Lanes(types.Type):
    """Type of `WIDTH` doubles in a register."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({WIDTH})")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, DOUBLES)  # type: ignore[no-untyped-call]


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """The instructions that the function gives, in place of a call."""
    instructions: Callable[..., Any] = intrinsic(function)
    return instructions


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(context.get_data_type(kind.dtype), WIDTH)
    return builder.bitcast(builder.gep(data, [at], inbounds=True), vector.as_pointer())


@inlined
def load(typing: Any, array: Any, at: Any) -> Any:
    """Numbers ``at`` and following of a contiguous array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        value = builder.load(_pointer(context, builder, kind, *arguments), align=ALIGNED)
        return value if kind.dtype == types.float64 else builder.fpext(value, DOUBLES)

    return lanes(array, types.intp), code


@inlined
def store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Set numbers ``at`` and following of a contiguous array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (array, at, value) = signature.args[0], arguments
        pointer = _pointer(context, builder, kind, array, at)
        if kind.dtype != types.float64:
            value = builder.fptrunc(value, pointer.type.pointee)
        builder.store(value, pointer, align=ALIGNED)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@inlined
def stream(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """As `store`, past the cache: the memory is not read first to be written over.

    For large results that are written once, where numbers ``at`` and following start at a
    multiple of their size in bytes.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (array, at, value) = signature.args[0], arguments
        pointer = _pointer(context, builder, kind, array, at)
        if kind.dtype != types.float64:
            value = builder.fptrunc(value, pointer.type.pointee)
        stored = builder.store(value, pointer, align=WIDTH * kind.dtype.bitwidth // 8)
        once = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        stored.set_metadata("nontemporal", once)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@inlined
def item(typing: Any, array: Any, at: Any) -> Any:
    """Number ``at`` of a contiguous array, counted through all its axes, never from the end."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]], inbounds=True))

    return array.dtype(array, types.intp), code


@inlined
def put(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Set number ``at`` of a contiguous array, counted through all its axes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(arguments[2], builder.gep(data, [arguments[1]], inbounds=True))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), code


@inlined
def broadcast(typing: Any, array: Any, at: Any) -> Any:
    """Number ``at`` of a contiguous array of doubles in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return _splat(builder, builder.load(builder.gep(data, [arguments[1]], inbounds=True)))

    return lanes(array, types.intp), code


def _splat(builder: Any, number: Any) -> Any:
    first = builder.insert_element(
        ir.Constant(DOUBLES, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, first, mask)


@inlined
def spread(typing: Any, number: Any) -> Any:
    """The same number in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0])

    return lanes(types.float64), code


@inlined
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, c = arguments
        together = ("contract",)  # in one instruction, where there is one
        return builder.fadd(builder.fmul(a, b, flags=together), c, flags=together)

    return lanes(lanes, lanes, lanes), code


@inlined
def total(typing: Any, value: Any) -> Any:
    """The sum over the lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = [
            builder.extract_element(arguments[0], ir.Constant(ir.IntType(32), k))
            for k in range(WIDTH)
        ]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(a, b) for a, b in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]

    return types.float64(lanes), code
