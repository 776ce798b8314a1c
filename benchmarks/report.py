"""Figures as a table in Markdown and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.bars import Figure

__all__ = ["HEADER", "bandwidths", "heading", "row", "setting", "write_json"]

COLUMNS = ("", "ours", "first call", "peer", "faster", "bound", "over bound", "bar", "")
HEADER = "| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS)
VERDICTS = {True: "PASS", False: "**FALLS SHORT**", None: ""}
PACKAGES = ("numpy", "torch", "metatensor-core", "metatensor-operations")


def heading(group: str) -> str:
    """The line of the table above the figures of a group."""
    return f"| **{group}** |" + " |" * (len(COLUMNS) - 1)


def row(figure: Figure) -> str:
    """One line of the table."""
    if figure.failure:
        return f"| {figure.name} | {figure.failure} |" + " |" * 5 + f" {figure.bar} | **FAILS** |"
    cells = [
        figure.name,
        amount(figure.ours, figure.unit),
        amount(figure.first, figure.unit),
        amount(figure.peer, figure.unit),
        times(figure.faster) if figure.unit == "s" else "",
        amount(figure.bound, figure.unit),
        times(figure.over_bound),
        str(figure.bar),
        VERDICTS[figure.reached],
    ]
    return "| " + " | ".join(cells) + " |"


def setting() -> str:
    """Versions and machine, in one line."""
    versions = [f"{package} {_version(package)}" for package in PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", *versions, _processor()])


def bandwidths(figures: Sequence[Figure]) -> str:
    """The copy bandwidths that the bounds were taken from, in one line; empty if there are none."""
    fresh = [figure.fresh for figure in figures if figure.fresh is not None]
    resident = [figure.resident for figure in figures if figure.resident is not None]
    if not fresh or not resident:
        return ""
    return (
        "\nCopy of 200 MB, bytes read plus written: "
        f"{statistics.median(fresh) / 1e9:.1f} GB/s into fresh memory (the bound; "
        f"{min(fresh) / 1e9:.1f} to {max(fresh) / 1e9:.1f} over the jobs), "
        f"{statistics.median(resident) / 1e9:.1f} GB/s into resident memory."
    )


def write_json(path: Path, figures: Sequence[Figure]) -> None:
    """Figures in seconds (or their own unit), with ratios and verdicts."""
    plain = {"setting": setting(), "figures": [_plain(figure) for figure in figures]}
    path.write_text(json.dumps(plain, indent=2) + "\n")


def amount(value: float | None, unit: str) -> str:
    """Three digits and a unit that fits."""
    if value is None:
        return ""
    if unit != "s":
        return f"{value:.3g} {unit}"
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def times(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ×" if value < 100 else f"{value:.0f} ×"


def _plain(figure: Figure) -> dict[str, Any]:
    return asdict(figure) | {
        "bar": str(figure.bar),
        "faster": figure.faster,
        "over_bound": figure.over_bound,
        "reached": figure.reached,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(from source)"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in names if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
