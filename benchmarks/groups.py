"""What is called, on which inputs, and the bar of every call.

A group draws its arrays once. In every round each library builds its inputs from them anew, so
that nothing remembered about labels survives a round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bars import Bar, Bound, Faster, Limit, NoBar
from benchmarks.inputs import (
    Arrays,
    cube,
    draw_large,
    gradient_samples,
    large,
    many_blocks,
    nbytes,
    radial_spectrum,
)

__all__ = ["GROUPS", "Group", "Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """One call.

    Parameters
    ----------
    bar
        What it has to reach.
    inputs
        Builds what the call works on, from the library and what the group drew.
    call
        Takes the library and the inputs.
    reads
        Bytes that a perfect implementation reads, given inputs and result.
    per
        Number of things the call works on, given the inputs, where the figure is per thing.
    first
        The figure is the first call on new inputs, not the repeated ones.
    alone
        The peer has no such call.
    """

    bar: Bar
    inputs: Callable[[ModuleType, Any], tuple[Any, ...]]
    call: Callable[..., Any]
    reads: Callable[[Sequence[Any], Any], int] | None = None
    per: Callable[[Sequence[Any]], int] = lambda inputs: 1
    first: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs on arrays that are drawn once; ``draw`` takes whether sizes are reduced tenfold."""

    title: str
    draw: Callable[[bool], Any]
    jobs: Mapping[str, Job]
    memory: int = 0  # bytes that a call may ask for, touched before every timed one


class Folder:
    """A temporary folder that lives as long as the object, on the disk or in memory."""

    def __init__(self, parent: Path | None = None) -> None:
        where = parent if parent is not None and parent.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-", dir=where)

    def __truediv__(self, name: str) -> Path:
        return Path(self._folder.name) / name


@dataclass(frozen=True, slots=True)
class Folders:
    """One in memory, where the system has such a place, and one on the disk."""

    memory: Folder = field(default_factory=lambda: Folder(Path("/dev/shm")))
    disk: Folder = field(default_factory=Folder)


# The tutorial's map: what a call costs when there is next to nothing to compute.


def one_spectrum(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    return (radial_spectrum(library),)


def two_spectra(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    return radial_spectrum(library), radial_spectrum(library)


def spectrum_and_atoms(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    atoms = library.Labels(["atom"], np.array([[0], [2], [4]], dtype=np.int32))
    return radial_spectrum(library), atoms


def spectrum_and_path(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    return radial_spectrum(library), folders.memory / f"{library.__name__}.mts"


def spectrum_and_disk(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    return radial_spectrum(library), folders.disk / f"{library.__name__}.mts"


def stored_spectrum(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    spectrum, path = spectrum_and_path(library, folders)
    library.save(path, spectrum)
    return (path,)


def spectrum_in_memory(library: ModuleType, folders: Folders) -> tuple[Any, ...]:
    return (library.io.save_buffer(radial_spectrum(library)),)


TUTORIAL = Group(
    "Tutorial radial spectrum (5 blocks, 1.2 kB)",
    draw=lambda reduced: Folders(),
    jobs={
        "multiply": Job(Faster(10), two_spectra, lambda mts, a, b: mts.multiply(a, b)),
        "add": Job(Faster(10), two_spectra, lambda mts, a, b: mts.add(a, b)),
        "pow": Job(Faster(10), one_spectrum, lambda mts, a: mts.pow(a, 2)),
        "sum_over_samples": Job(
            Faster(10), one_spectrum, lambda mts, a: mts.sum_over_samples(a, "atom")
        ),
        "slice": Job(
            Faster(10), spectrum_and_atoms, lambda mts, a, atoms: mts.slice(a, "samples", atoms)
        ),
        "join": Job(
            Faster(10),
            two_spectra,
            lambda mts, a, b: mts.join([a, b], "samples", add_dimension="tensor"),
        ),
        "equal": Job(Faster(10), two_spectra, lambda mts, a, b: mts.equal(a, b)),
        "keys_to_properties": Job(
            Faster(2), one_spectrum, lambda mts, a: a.keys_to_properties("neighbor_type")
        ),
        "keys_to_samples": Job(
            Faster(2), one_spectrum, lambda mts, a: a.keys_to_samples("center_type")
        ),
        "load": Job(Faster(1), stored_spectrum, lambda mts, path: mts.load(path)),
        "save": Job(Faster(1), spectrum_and_path, lambda mts, a, path: mts.save(path, a)),
        "save to disk": Job(Faster(1), spectrum_and_disk, lambda mts, a, path: mts.save(path, a)),
        "load_buffer": Job(NoBar(), spectrum_in_memory, lambda mts, file: mts.io.load_buffer(file)),
        "save_buffer": Job(NoBar(), one_spectrum, lambda mts, a: mts.io.save_buffer(a)),
    },
)


# Many tiny blocks: what one block costs.


def two_maps_of_blocks(library: ModuleType, count: int) -> tuple[Any, ...]:
    return many_blocks(library, count), many_blocks(library, count)


def blocks(inputs: Sequence[Any]) -> int:
    return len(inputs[0])


THOUSAND_BLOCKS = Group(
    "1000 tiny blocks",
    draw=lambda reduced: 100 if reduced else 1000,
    jobs={"add": Job(Faster(15), two_maps_of_blocks, lambda mts, a, b: mts.add(a, b))},
)

EIGHT = Limit(8e-6, "≤ 8 µs")

PER_BLOCK = Group(
    "10 000 tiny blocks, per block",
    draw=lambda reduced: 1000 if reduced else 10_000,
    jobs={
        "add": Job(EIGHT, two_maps_of_blocks, lambda mts, a, b: mts.add(a, b), per=blocks),
        "multiply": Job(
            EIGHT, two_maps_of_blocks, lambda mts, a, b: mts.multiply(a, b), per=blocks
        ),
    },
)


# The large map: what its bytes cost. Inputs come first, so that ``all_of`` can count them.


@dataclass(frozen=True, slots=True)
class Large:
    """Values of two maps of ``systems`` systems, and a folder to store one of them."""

    systems: int
    a: Arrays
    b: Arrays
    folder: Folder = field(default_factory=Folder)


def draw_two_large(reduced: bool) -> Large:
    systems = 100 if reduced else 1000
    return Large(systems, draw_large(systems, seed=2), draw_large(systems, seed=3))


def one_map(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    return (large(library, drawn.a),)


def two_maps(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    return large(library, drawn.a), large(library, drawn.b)


def two_maps_apart(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    """Two maps without a sample in common."""
    return large(library, drawn.a), large(library, drawn.b, first_system=drawn.systems)


def map_and_systems(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    """A map, and every other of its systems."""
    systems = np.arange(0, drawn.systems, 2, dtype=np.int32)[:, None]
    return large(library, drawn.a), library.Labels(["system"], systems)


def map_and_properties(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    """A map, and the first half of its properties."""
    return large(library, drawn.a), library.Labels.range("n", 50)


def map_in_memory(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    return (library.io.save_buffer(large(library, drawn.a)),)


def stored_map(library: ModuleType, drawn: Large) -> tuple[Any, ...]:
    path = drawn.folder / "large.mts"
    if not path.exists():
        path.write_bytes(library.io.save_buffer(large(library, drawn.a)))
    return (path,)


def all_of(inputs: Sequence[Any], result: Any) -> int:
    """Every byte of the inputs is read."""
    return sum(nbytes(part) for part in inputs)


def as_written(inputs: Sequence[Any], result: Any) -> int:
    """What is written is what was read."""
    return nbytes(result)


LARGE = Group(
    "4 blocks, 10⁵ samples × 100, 10⁶ gradient rows × 100, float64 (880 MB)",
    draw=draw_two_large,
    memory=2_000_000_000,
    jobs={
        "add": Job(Bound(2), two_maps, lambda mts, a, b: mts.add(a, b), all_of),
        "multiply": Job(Bound(2), two_maps, lambda mts, a, b: mts.multiply(a, b), all_of),
        "pow": Job(Bound(2), one_map, lambda mts, a: mts.pow(a, 2), all_of),
        "slice (half of the systems)": Job(
            Bound(2),
            map_and_systems,
            lambda mts, a, systems: mts.slice(a, "samples", systems),
            as_written,
        ),
        "slice (half of the properties)": Job(
            Bound(2),
            map_and_properties,
            lambda mts, a, half: mts.slice(a, "properties", half),
            as_written,
        ),
        "join (samples)": Job(
            Bound(2), two_maps_apart, lambda mts, a, b: mts.join([a, b], "samples"), all_of
        ),
        "join (properties)": Job(
            Bound(2),
            two_maps,
            lambda mts, a, b: mts.join([a, b], "properties", add_dimension="tensor"),
            all_of,
        ),
        "sum_over_samples": Job(
            Bound(4), one_map, lambda mts, a: mts.sum_over_samples(a, "atom"), all_of
        ),
        "keys_to_properties": Job(
            Bound(4), one_map, lambda mts, a: a.keys_to_properties("neighbor_type"), all_of
        ),
        "keys_to_samples": Job(
            Bound(4), one_map, lambda mts, a: a.keys_to_samples("center_type"), all_of
        ),
        "save_buffer": Job(Bound(4), one_map, lambda mts, a: mts.io.save_buffer(a), all_of),
        "load_buffer": Job(
            Bound(4), map_in_memory, lambda mts, file: mts.io.load_buffer(file), all_of
        ),
        "load (mmap=True)": Job(
            Limit(0.030, "≤ 30 ms"),
            stored_map,
            lambda mts, path: mts.load(path, mmap=True),
            alone=True,
        ),
    },
)


# A million labels. What counts is the first call: it is the one that builds look-up tables.
# A grid has every row that its ranges allow, gradient samples few of them.

NAMES = ["sample", "system", "atom"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in order, the same shuffled, and shuffled rows that share half of them."""

    ordered: NDArray[np.int32]
    shuffled: NDArray[np.int32]
    other: NDArray[np.int32]


def half_apart(ordered: NDArray[np.int32]) -> Rows:
    """The rows and the same moved along their first column by half of its range."""
    draw = np.random.default_rng(4)
    half = (ordered[-1, 0] + 1) // 2
    other = ordered + np.array([half, 0, 0], dtype=np.int32)
    return Rows(ordered, draw.permutation(ordered), draw.permutation(other))


def draw_grid(reduced: bool) -> Rows:
    return half_apart(cube(46 if reduced else 100))


def draw_gradient_samples(reduced: bool) -> Rows:
    return half_apart(gradient_samples(1000 if reduced else 10_000))


def ordered_rows(library: ModuleType, rows: Rows) -> tuple[Any, ...]:
    return (rows.ordered,)


def shuffled_rows(library: ModuleType, rows: Rows) -> tuple[Any, ...]:
    return (rows.shuffled,)


def equal_labels(library: ModuleType, rows: Rows) -> tuple[Any, ...]:
    """Each of an array of its own: labels that share one are compared with themselves."""
    return library.Labels(NAMES, rows.ordered), library.Labels(NAMES, rows.ordered.copy())


def overlapping_labels(library: ModuleType, rows: Rows) -> tuple[Any, ...]:
    return library.Labels(NAMES, rows.shuffled), library.Labels(NAMES, rows.other)


def labels_and_row(library: ModuleType, rows: Rows) -> tuple[Any, ...]:
    return library.Labels(NAMES, rows.shuffled), tuple(rows.shuffled[-7].tolist())


LABEL_JOBS = {
    "creation, shuffled": Job(
        Faster(2.5), shuffled_rows, lambda mts, rows: mts.Labels(NAMES, rows), first=True
    ),
    "creation, sorted": Job(
        Faster(1), ordered_rows, lambda mts, rows: mts.Labels(NAMES, rows), first=True
    ),
    "union": Job(Faster(2.5), overlapping_labels, lambda mts, a, b: a.union(b), first=True),
    "position": Job(Faster(2.5), labels_and_row, lambda mts, a, row: a.position(row), first=True),
    "==": Job(Faster(1), equal_labels, lambda mts, a, b: a == b, first=True),
}

GRID = Group(
    "Labels of 10⁶ × 3, a grid, first call",
    draw=draw_grid,
    memory=400_000_000,
    jobs=LABEL_JOBS,
)

GRADIENT_SAMPLES = Group(
    "Labels of 10⁶ × 3, gradient samples, first call",
    draw=draw_gradient_samples,
    memory=400_000_000,
    jobs=LABEL_JOBS,
)

GROUPS = {
    "tutorial": TUTORIAL,
    "blocks": THOUSAND_BLOCKS,
    "per-block": PER_BLOCK,
    "large": LARGE,
    "labels": GRID,
    "gradient-labels": GRADIENT_SAMPLES,
}
