"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import gc
import importlib
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.bars import Figure
from benchmarks.descriptors import DESCRIPTORS
from benchmarks.duel import Duels
from benchmarks.duel import figures as duel_figures
from benchmarks.equivariant import EQUIVARIANT
from benchmarks.groups import GROUPS as MAPS
from benchmarks.groups import Group
from benchmarks.measure import measure
from benchmarks.nequip_models import LARGE_NEQUIP, NEQUIP
from benchmarks.operations import LARGE_LABELS, LARGE_OPERATIONS, OPERATIONS
from benchmarks.partial_forces import LARGE_PARTIAL_FORCES, PARTIAL_FORCES
from benchmarks.processes import command_line, import_time, resident_memory
from benchmarks.report import HEADER, bandwidths, heading, row, setting, write_json
from benchmarks.response import RESPONSES
from benchmarks.training import LOADING, TRAINING

__all__ = ["main"]

GROUPS = (
    MAPS
    | {
        "operations": OPERATIONS,
        "operations-large": LARGE_OPERATIONS,
        "operations-labels": LARGE_LABELS,
    }
    | {"training": TRAINING, "loading": LOADING}
)
DUELS: dict[str, Duels] = {
    "descriptors": DESCRIPTORS,
    "equivariant": EQUIVARIANT,
    "nequip": NEQUIP,
    "nequip-large": LARGE_NEQUIP,
    "partial-forces": PARTIAL_FORCES,
    "partial-forces-large": LARGE_PARTIAL_FORCES,
    "responses": RESPONSES,
}
PROCESSES = {"import": import_time, "help": command_line, "memory": resident_memory}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as it grows; 1 if a bar is missed or something fails, otherwise 0."""
    options = _options(arguments)
    ours, peer = importlib.import_module(options.ours), _peer(options.peer)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # what is loaded by now stays: collections between rounds need not visit it
    print(f"{setting()}\n\n{HEADER}", flush=True)
    figures: list[Figure] = []
    everything = [*GROUPS, *(name for name in DUELS if DUELS[name].by_default), *PROCESSES]
    for name in options.only or everything:
        for figure in _figures(name, ours, peer, reduced=options.quick):
            if not figures or figures[-1].group != figure.group:
                print(heading(figure.group))
            print(row(figure), flush=True)
            figures.append(figure)
    print(bandwidths(figures))
    if options.json:
        write_json(options.json, figures)
    return int(any(figure.reached is False for figure in figures))


def _figures(
    name: str, ours: ModuleType, peer: ModuleType | None, *, reduced: bool
) -> Iterator[Figure]:
    if name in GROUPS:
        return _group(GROUPS[name], ours, peer, reduced=reduced)
    if name in DUELS:
        return duel_figures(DUELS[name], reduced=reduced)
    other = peer.__name__ if peer is not None else None
    return iter([PROCESSES[name](ours.__name__, other, reduced=reduced)])


def _group(
    group: Group, ours: ModuleType, peer: ModuleType | None, *, reduced: bool
) -> Iterator[Figure]:
    """Every job of a group; one that fails does not keep the others from being measured."""
    drawn = group.draw(reduced)
    for name, job in group.jobs.items():
        try:
            yield measure(group, name, drawn, ours=ours, peer=peer)
        except Exception as error:
            told = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
            yield Figure(group.title, name, job.bar, math.nan, failure=told)


def _peer(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: bars against it are left open (pip install .[peers])")
        return None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory of nablatom beside metatensor: one table in Markdown.",
    )
    names = [*GROUPS, *DUELS, *PROCESSES]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="sizes ten times smaller")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument(
        "--ours", default="nablatom", help="'metatensor' shows how far two equal sides differ"
    )
    parser.add_argument("--peer", default="metatensor", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)
