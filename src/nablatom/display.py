"""Text and HTML views of labels, blocks and maps, made from plain names, rows and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["axis_line", "details", "html_table", "in_line", "label_table", "shortened"]


def shortened(count: int, most: int) -> list[int | None]:
    """Which of ``count`` entries to show, at most ``most``; None stands for those left out."""
    if most < 0 or count <= most:
        return list(range(count))
    tail = most // 2
    head = max(most - tail, 1)
    return [*range(head), None, *range(count - tail, count)]


def in_line(entries: Sequence[str], most: int = 8) -> str:
    """Entries one after the other, for an error; dots and the count stand for those left out."""
    line = ", ".join(entries[:most]) or "none"
    return line if len(entries) <= most else f"{line}, … ({len(entries)} in all)"


def label_table(
    names: Sequence[str], rows: Sequence[Sequence[int] | None], *, indent: int = 0
) -> str:
    """Names over centred columns of numbers; a row that is None is drawn as dots."""
    cells = [
        ["..." if i == 0 else "" for i in range(len(names))] if row is None else list(map(str, row))
        for row in rows
    ]
    widths = [max(len(line[c]) for line in [list(names), *cells]) for c in range(len(names))]
    lines = ["  ".join(n.center(w) for n, w in zip(line, widths, strict=True)) for line in cells]
    header = "  ".join(n.center(w) for n, w in zip(names, widths, strict=True))
    return ("\n" + " " * indent).join(line.rstrip() for line in [header, *lines])


def axis_line(axis: str, shape: Iterable[int], names: Sequence[str]) -> str:
    """One axis of a block: its sizes and the names of its dimensions."""
    return f"{axis} ({', '.join(map(str, shape))}): {list(names)}"


def details(summary: str, body: str, *, opened: bool = False) -> str:
    """An HTML section that unfolds; ``summary`` and ``body`` are HTML already."""
    state = " open" if opened else ""
    indented = f"<div style='margin-left:1.5em'>{body}</div>"
    return f"<details{state}><summary>{summary}</summary>{indented}</details>"


def html_table(names: Sequence[str], rows: Sequence[Sequence[int] | None]) -> str:
    """The same table as :func:`label_table`, for notebooks."""
    header = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [
        f"<td colspan={len(names)}>…</td>" if row is None else "".join(f"<td>{v}</td>" for v in row)
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
