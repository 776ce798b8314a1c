"""Every operation that the peer has, on the small map and on a large one.

A ``_block`` form is the same work on one block and has no row of its own, nor has a ``_raise``
form. Gradients are left out where the peer gets them wrong, and where it has no rule for them:
the results of both must agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.bars import Bar, Faster, Near
from benchmarks.groups import Group, Job, all_of, as_written
from benchmarks.inputs import Arrays, draw_large, large, nbytes, radial_spectrum

__all__ = ["LARGE_LABELS", "LARGE_OPERATIONS", "OPERATIONS"]

Builder = Callable[[ModuleType, Any], Any]
"""What makes an operand for a library from what the group drew."""


def bare(build: Builder) -> Builder:
    """The same map without gradients."""
    return lambda library, drawn: library.remove_gradients(build(library, drawn))


def wide(build: Builder) -> Builder:
    """The same map with a second dimension of properties, of which there are four kinds."""

    def widened(library: ModuleType, drawn: Any) -> Any:
        tensor = build(library, drawn)
        kinds = np.arange(len(tensor.block(0).properties), dtype=np.int32) % 4
        return library.insert_dimension(tensor, "properties", 0, "l", kinds)

    return widened


def shifted(build: Builder) -> Builder:
    """The same map without zeros."""
    return lambda library, drawn: library.add(build(library, drawn), 1.0)


def strided(build: Builder) -> Builder:
    """Every other property of the same map, as a view."""

    def every_other(library: ModuleType, drawn: Any) -> Any:
        tensor = build(library, drawn)
        return library.TensorMap(tensor.keys, [_every_other(library, b) for b in tensor.blocks()])

    return every_other


def _every_other(library: ModuleType, block: Any) -> Any:
    n = library.Labels.range("n", len(block.properties.values[::2]))
    part = library.TensorBlock(block.values[..., ::2], block.samples, block.components, n)
    for name, gradient in block.gradients():
        part.add_gradient(name, _every_other(library, gradient))
    return part


def few(build: Builder) -> Builder:
    """Three samples at most of every block, without gradients: weights of a linear model."""

    def cut(library: ModuleType, drawn: Any) -> Any:
        tensor = bare(build)(library, drawn)
        return library.TensorMap(
            tensor.keys,
            [
                library.TensorBlock(
                    block.values[:1], library.Labels.range("energy", 1), [], block.properties
                )
                for block in tensor.blocks()
            ],
        )

    return cut


def with_more_keys(build: Builder) -> Builder:
    return lambda library, drawn: library.append_dimension(
        build(library, drawn), "keys", "which", 0
    )


def in_torch(build: Builder) -> Builder:
    return lambda library, drawn: build(library, drawn).to(arrays="torch")


def none_of(inputs: Sequence[Any], result: Any) -> int:
    """Nothing is read but labels."""
    return 0


def lines_of(inputs: Sequence[Any], result: Any) -> int:
    """The first few columns are read with the line of 64 bytes that they are in, once."""
    part = result[0] if isinstance(result, tuple) else result
    return nbytes(part) // (8 * len(part.block(0).properties)) * 64


def axes(tensor: Any) -> tuple[Any, ...]:
    """What can be compared of maps whose numbers nobody set: their labels."""
    return (tensor.keys, *(block.samples for block in tensor.blocks()))


def squares(library: ModuleType, drawn: Any) -> Any:
    """A map of five blocks of three samples and three properties."""
    draw = np.random.default_rng(3)
    rows, n = library.Labels.range("system", 3), library.Labels.range("n", 3)
    blocks = [library.TensorBlock(draw.normal(size=(3, 3)), rows, [], n) for _ in range(5)]
    return library.TensorMap(library.Labels.range("center_type", 5), blocks)


def spectrum(library: ModuleType, drawn: None) -> Any:
    return radial_spectrum(library)


def of_large(library: ModuleType, drawn: Arrays) -> Any:
    return large(library, drawn)


def draw_eighth(reduced: bool) -> Arrays:
    return draw_large(12 if reduced else 125, seed=2)


def last_atoms(library: ModuleType, drawn: Any) -> Any:
    return library.Labels(["atom"], np.array([[0], [2], [4]], np.int32))


def parts_of_properties(library: ModuleType, drawn: Any) -> Any:
    first, second = (np.array(rows, np.int32) for rows in ([[0]], [[2], [1]]))
    return [library.Labels(["n"], first), library.Labels(["n"], second)]


def one_center(library: ModuleType, drawn: Any) -> Any:
    return library.Labels(["center_type"], np.array([[6]], np.int32))


def atoms_and_types(library: ModuleType, drawn: Any) -> Any:
    types = np.array([[1, 6], [2, 8], [5, 6], [7, 1]], np.int32)
    return library.Labels(["atom", "type"], types)


def types(library: ModuleType, drawn: Any) -> Any:
    return library.Labels(["type"], np.array([[1], [6], [7], [8]], np.int32))


@dataclass(frozen=True, slots=True)
class Row:
    """A call and what it takes, for any map; ``reads`` as for a job.

    ``takes`` builds the operands from what builds the map.
    """

    call: Callable[..., Any]
    takes: Callable[[Builder], Sequence[Builder]]
    reads: Callable[[Sequence[Any], Any], int] | None = None


def one(tensor: Builder) -> Sequence[Builder]:
    return (tensor,)


def two(tensor: Builder) -> Sequence[Builder]:
    return tensor, tensor


def values(tensor: Builder) -> Sequence[Builder]:
    return (bare(tensor),)


def two_values(tensor: Builder) -> Sequence[Builder]:
    return bare(tensor), bare(tensor)


def wide_values(tensor: Builder) -> Sequence[Builder]:
    return (bare(wide(tensor)),)


def with_one(other: Builder) -> Callable[[Builder], Sequence[Builder]]:
    return lambda tensor: (tensor, other)


ROWS = {
    # what reads and writes every value and gradient
    "abs": Row(lambda mts, a: mts.abs(a), one, all_of),
    "add": Row(lambda mts, a, b: mts.add(a, b), two, all_of),
    "subtract": Row(lambda mts, a, b: mts.subtract(a, b), two, all_of),
    "multiply": Row(lambda mts, a, b: mts.multiply(a, b), two, all_of),
    "multiply, by a number": Row(lambda mts, a: mts.multiply(a, 2.0), one, all_of),
    "divide": Row(
        lambda mts, a, b: mts.divide(a, b), lambda tensor: (tensor, shifted(tensor)), all_of
    ),
    "pow": Row(lambda mts, a: mts.pow(a, 2), one, all_of),
    "equal": Row(lambda mts, a, b: mts.equal(a, b), two, all_of),
    "allclose": Row(lambda mts, a, b: mts.allclose(a, b), two, all_of),
    "sort": Row(lambda mts, a: mts.sort(a), one, all_of),
    "sort, descending": Row(lambda mts, a: mts.sort(a, descending=True), one, all_of),
    "ones_like": Row(lambda mts, a: mts.ones_like(a), one, none_of),
    "zeros_like": Row(lambda mts, a: mts.zeros_like(a), one, none_of),
    "random_uniform_like": Row(lambda mts, a: axes(mts.random_uniform_like(a)), one),
    "make_contiguous, sliced": Row(
        lambda mts, a: mts.make_contiguous(a), lambda tensor: (strided(tensor),), all_of
    ),
    "join (samples)": Row(
        lambda mts, a, b: mts.join([a, b], "samples", add_dimension="tensor"), two, all_of
    ),
    "join (properties)": Row(
        lambda mts, a, b: mts.join([a, b], "properties", add_dimension="tensor"), two, all_of
    ),
    "slice (samples)": Row(
        lambda mts, a, atoms: mts.slice(a, "samples", atoms), with_one(last_atoms), as_written
    ),
    "slice (properties)": Row(
        lambda mts, a, n: mts.slice(a, "properties", n[1]),
        with_one(parts_of_properties),
        lines_of,
    ),
    "split (properties)": Row(
        lambda mts, a, n: tuple(mts.split(a, "properties", n)),
        with_one(parts_of_properties),
        lines_of,
    ),
    "sum_over_samples": Row(lambda mts, a: mts.sum_over_samples(a, "atom"), one, all_of),
    # where gradients are left out
    "mean_over_samples": Row(lambda mts, a: mts.mean_over_samples(a, "atom"), values, all_of),
    "var_over_samples": Row(lambda mts, a: mts.var_over_samples(a, "atom"), values, all_of),
    "std_over_samples": Row(lambda mts, a: mts.std_over_samples(a, "atom"), values, all_of),
    "sum_over_properties": Row(lambda mts, a: mts.sum_over_properties(a, "n"), wide_values, all_of),
    "mean_over_properties": Row(
        lambda mts, a: mts.mean_over_properties(a, "n"), wide_values, all_of
    ),
    "var_over_properties": Row(lambda mts, a: mts.var_over_properties(a, "n"), wide_values, all_of),
    "std_over_properties": Row(lambda mts, a: mts.std_over_properties(a, "n"), wide_values, all_of),
    "dot": Row(lambda mts, a, b: mts.dot(a, b), lambda tensor: (tensor, few(tensor))),
    "lstsq": Row(lambda mts, a, b: mts.lstsq(a, b, rcond=1e-13), two_values),
    # what shares the values, or makes none
    "append_dimension": Row(lambda mts, a: mts.append_dimension(a, "samples", "which", 3), one),
    "insert_dimension": Row(
        lambda mts, a: mts.insert_dimension(a, "properties", 0, "which", 3), one
    ),
    "permute_dimensions": Row(lambda mts, a: mts.permute_dimensions(a, "samples", [1, 0]), one),
    "remove_dimension": Row(
        lambda mts, a: mts.remove_dimension(a, "keys", "which"),
        lambda tensor: (with_more_keys(tensor),),
    ),
    "rename_dimension": Row(
        lambda mts, a: mts.rename_dimension(a, "samples", "atom", "center"), one
    ),
    "detach": Row(lambda mts, a: mts.detach(a), one),
    "remove_gradients": Row(lambda mts, a: mts.remove_gradients(a), one),
    "filter_blocks": Row(lambda mts, a, keys: mts.filter_blocks(a, keys), with_one(one_center)),
    "filter_blocks, copied": Row(
        lambda mts, a, keys: mts.filter_blocks(a, keys, copy=True), with_one(one_center), as_written
    ),
    "drop_blocks": Row(lambda mts, a, keys: mts.drop_blocks(a, keys), with_one(one_center)),
    "drop_empty_blocks": Row(lambda mts, a: mts.drop_empty_blocks(a), one),
    "make_contiguous": Row(lambda mts, a: mts.make_contiguous(a), one),
    "is_contiguous": Row(lambda mts, a: mts.is_contiguous(a), one),
    "empty_like": Row(lambda mts, a: axes(mts.empty_like(a)), one),
    "equal_metadata": Row(lambda mts, a, b: mts.equal_metadata(a, b), two),
    "unique_metadata": Row(lambda mts, a: mts.unique_metadata(a, "samples", "system"), one),
    "unique_metadata, of gradients": Row(
        lambda mts, a: mts.unique_metadata(a, "samples", "atom", "positions"), one
    ),
}
SMALL = {
    "requires_grad, torch": Row(
        lambda mts, a: axes(mts.requires_grad(a)), lambda tensor: (in_torch(tensor),)
    ),
    "solve": Row(lambda mts, a, b: mts.solve(a, b), lambda _: (squares, squares)),
    "block_from_array": Row(
        lambda mts, x: mts.block_from_array(x).values, lambda _: (lambda *_: np.ones((3, 4, 5)),)
    ),
    "one_hot": Row(lambda mts, a, b: mts.one_hot(a, b), lambda _: (atoms_and_types, types)),
}


def group(
    title: str,
    tensor: Builder,
    rows: Mapping[str, Row],
    *,
    draw: Callable[[bool], Any],
    bar: Bar,
    memory: int = 0,
) -> Group:
    def built(row: Row) -> Callable[[ModuleType, Any], tuple[Any, ...]]:
        builders = row.takes(tensor)
        return lambda library, drawn: tuple(build(library, drawn) for build in builders)

    jobs = {name: Job(bar, built(row), row.call, row.reads) for name, row in rows.items()}
    return Group(title, draw=draw, jobs=jobs, memory=memory)


OPERATIONS = group(
    "Every operation of the peer, tutorial radial spectrum (5 blocks, 1.2 kB)",
    spectrum,
    {**{name: replace(row, reads=None) for name, row in ROWS.items()}, **SMALL},
    draw=lambda reduced: None,
    bar=Faster(10),
)
LARGE = "4 blocks, 12 500 samples, 125 000 gradient rows × 100 (110 MB)"
LARGE_OPERATIONS = group(
    f"Every operation of the peer that moves numbers, {LARGE}",
    of_large,
    {name: row for name, row in ROWS.items() if row.reads is not None},
    draw=draw_eighth,
    bar=Near(2.5),
    memory=300_000_000,
)
LARGE_LABELS = group(
    f"Every operation of the peer that moves none, or counts otherwise, {LARGE}",
    of_large,
    {name: row for name, row in ROWS.items() if row.reads is None},
    draw=draw_eighth,
    bar=Faster(1),
)
