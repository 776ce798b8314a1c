"""The report of a run: one HTML file with everything in it, figures included."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from nablatom.cli.terminal import number
from nablatom.train.metrics import Comparison

__all__ = ["Check", "Report", "write_report"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verification: two numbers that should agree."""

    name: str
    frame: int
    place: str
    stored: float
    reference: float
    error: float
    tolerance: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows.

    Attributes
    ----------
    comparisons
        Part (``"train"``, ``"test"``) → target → labels and predictions.
    stored
        For one structure: has the descriptor of atom i (row) a gradient for atom j (column)?
    seconds
        Step → duration.
    scan, chosen
        Cross-validated loss along the regularisation, and the value taken.
    settings
        Name → value, for the table of what was done.
    next
        Commands to try.
    """

    title: str
    subtitle: str
    comparisons: Mapping[str, Mapping[str, Comparison]]
    checks: Sequence[Check]
    stored: NDArray[np.bool_]
    seconds: Mapping[str, float]
    scan: Mapping[float, float]
    chosen: float
    settings: Mapping[str, str]
    notes: Sequence[str]
    next: Sequence[str]
    footer: str


def write_report(path: Path, report: Report) -> None:
    """Write the report as one self-contained HTML file.

    Raises
    ------
    ModuleNotFoundError
        matplotlib, which draws the figures, is not installed.
    """
    from nablatom.cli import figures

    targets = list(report.comparisons["test"])
    by_target = {t: {p: c[t] for p, c in report.comparisons.items() if t in c} for t in targets}
    details = [_figure(figures.sparsity(report.stored), _sparsity_caption(report.stored))]
    if report.scan:
        caption = f"Cross-validation on the training structures chose λ = {report.chosen:g}."
        details.append(_figure(figures.scan(report.scan, report.chosen), caption))
    details.append(_figure(figures.timings(report.seconds), "Time for each step."))
    template = Template(files("nablatom.cli").joinpath("report.html").read_text("utf-8"))
    html = template.substitute(
        title=escape(report.title),
        subtitle=escape(report.subtitle),
        cards="".join(_card(report.comparisons["test"][t]) for t in targets),
        errors=_errors(by_target),
        parity="".join(_parity(figures.parity(parts), t) for t, parts in by_target.items()),
        histograms="".join(_figure(figures.histogram(parts), "") for parts in by_target.values()),
        verified=escape(_verdict(report.checks)),
        verification=_verification(report.checks),
        details="".join(details),
        settings=_table(["Setting", "Value"], [[k, v] for k, v in report.settings.items()], text=2),
        notes="".join(f"<p>Note: {escape(note)}</p>" for note in report.notes),
        next=escape("\n".join(report.next)),
        footer=escape(report.footer),
    )
    path.write_text(html, encoding="utf-8")


def _card(comparison: Comparison) -> str:
    value, unit = number(comparison.rmse), escape(comparison.unit)
    label = f"{comparison.target}, RMSE on the test structures"
    return f'<div class="card">{label}<b>{value} <small>{unit}</small></b></div>'


def _errors(by_target: Mapping[str, Mapping[str, Comparison]]) -> str:
    parts = list(next(iter(by_target.values())))
    head = ["Target", "Unit", *(f"{p} {m}" for p in parts for m in ("MAE", "RMSE", "numbers"))]
    rows = []
    for target, comparisons in by_target.items():
        cells = [target, next(iter(comparisons.values())).unit]
        for c in comparisons.values():
            cells += [number(c.mae), number(c.rmse), f"{len(c.errors):,}"]
        rows.append(cells)
    return _table(head, rows, text=2)


def _verdict(checks: Sequence[Check]) -> str:
    failed = sum(not check.passed for check in checks)
    if failed:
        return f"{failed} of {len(checks)} checks failed: do not trust the forces and stresses."
    return f"All {len(checks)} checks passed: the stored number and an independent one agree."


def _verification(checks: Sequence[Check]) -> str:
    head = ["Check", "Where", "Stored", "Reference", "Difference", "Tolerance", "Result"]
    rows = []
    for c in checks:
        numbers = [
            f"{c.stored:+.9e}",
            f"{c.reference:+.9e}",
            f"{c.error:.1e}",
            f"{c.tolerance:.0e}",
        ]
        rows.append([c.name, c.place, *numbers, "PASS" if c.passed else "FAIL"])
    return _table(head, rows, text=2)


def _sparsity_caption(stored: NDArray[np.bool_]) -> str:
    return (
        f"One structure of {len(stored)} atoms: {stored.mean():.0%} of the atom pairs have a "
        "stored position gradient (dark); the others are zero and take no memory."
    )


def _parity(svg: str, target: str) -> str:
    return _figure(svg, f"{target.capitalize()}: dots on the line are predicted exactly.")


def _figure(svg: str, caption: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    text = escape(caption)
    alt = text or "Histogram of errors"
    below = f"<figcaption>{text}</figcaption>" if text else ""
    return f'<figure><img alt="{alt}" src="data:image/svg+xml;base64,{data}">{below}</figure>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: int) -> str:
    """A table whose first ``text`` columns are words and whose others are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(_cell(cell, tag, "text" if i < text else "") for i, cell in enumerate(cells))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _cell(cell: str, tag: str, style: str) -> str:
    style = {"PASS": "pass", "FAIL": "fail"}.get(cell, style)
    attribute = f' class="{style}"' if style else ""
    return f"<{tag}{attribute}>{escape(cell)}</{tag}>"
