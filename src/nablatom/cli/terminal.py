"""Where a verb writes: rich text for people, or one JSON object for programs."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Terminal", "counted", "errors_table", "number", "size", "table"]

T = TypeVar("T")
Json = Mapping[str, object]

PATIENCE = 2.0  # seconds before a progress bar shows


class Terminal:
    """The output of one verb.

    Parameters
    ----------
    as_json
        Print nothing but the object given to `result`.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._out = Console(quiet=as_json, highlight=False)
        self._err = Console(stderr=True, quiet=as_json)
        self._started = time.perf_counter()

    def title(self, text: str, subtitle: str) -> None:
        """The first line of a verb with several steps."""
        self._out.print(Text.assemble((text, "bold"), "  ", (subtitle, "dim")), soft_wrap=True)

    def step(self, count: int, name: str) -> None:
        """The head of a step."""
        self._out.print()
        self._out.print(Text.assemble((f" {count} ", "bold black on cyan"), " ", (name, "bold")))

    def say(self, *items: RenderableType) -> None:
        """Lines or tables below the head of a step."""
        for item in items:
            self._out.print(Padding(item, (0, 0, 0, 4), expand=False))

    def commands(self, lines: Sequence[str]) -> None:
        """What to try next, each on a line of its own that can be copied."""
        self._out.print("\n    [bold]Next, try:[/bold]")
        for line in lines:
            self._out.print(Text(f"    {line}"), soft_wrap=True)

    def draw(self, item: RenderableType) -> None:
        """Something that needs the whole width."""
        self._out.print(item)

    def note(self, text: str) -> None:
        """Something a reader should know before trusting the numbers."""
        self.say(Text(f"Note: {text}", style="yellow"))

    def file(self, path: object, what: str) -> None:
        """A file that was written."""
        line = Text.assemble(("    wrote ", "dim"), (str(path), "cyan"), (f"  {what}", "dim"))
        self._out.print(line, soft_wrap=True)

    def track(self, items: Sequence[T], *, name: str) -> Iterator[T]:
        """The items, with a progress bar if working them off lasts longer than two seconds."""
        columns = (TextColumn("    {task.description}"), BarColumn(), MofNCompleteColumn())
        progress = Progress(*columns, TimeRemainingColumn(), console=self._err, transient=True)
        task = progress.add_task(name, total=len(items))
        started = time.perf_counter()
        try:
            for item in items:
                if not progress.live.is_started and time.perf_counter() - started > PATIENCE:
                    progress.start()
                yield item
                progress.advance(task)
        finally:
            progress.stop()

    def tracker(self, name: str) -> Callable[[Sequence[T]], Iterator[T]]:
        """`track` with its name filled in, for functions that take a ``progress``."""
        return lambda items: self.track(items, name=name)

    def result(self, payload: Json) -> None:
        """What programs read: printed as JSON, and only if that was asked for."""
        if self._as_json:
            print(json.dumps(payload, indent=2, ensure_ascii=False, default=str))


def number(value: float, digits: int = 3) -> str:
    """A number with this many significant digits, in plain notation where it can be read."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - _exponent(rounded))
    return f"{rounded:,.{decimals}f}"


def counted(count: int, noun: str) -> str:
    """How many of something: 1 block, 1,118 weights."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """A number of bytes, with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{number(count)} {unit}"
        count /= 1000
    return f"{number(count)} TB"


def table(columns: Iterable[str], rows: Iterable[Sequence[str | Text]], *, text: int = 1) -> Table:
    """A table whose first ``text`` columns are words and whose others are numbers."""
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index < text else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    return drawn


def errors_table(parts: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Table:
    """MAE and RMSE per target, for each part of the data (train, test), with units."""
    columns = ["target", "unit"]
    columns += [f"{part} {measure}" for part in parts for measure in ("MAE", "RMSE")]
    first = next(iter(parts.values()))
    rows = [_error_row(target, parts) for target in first]
    return table(columns, rows, text=2)


def _error_row(
    target: str, parts: Mapping[str, Mapping[str, Mapping[str, object]]]
) -> list[str | Text]:
    cells: list[str | Text] = [target, str(next(iter(parts.values()))[target]["unit"])]
    for part, errors in parts.items():
        style = "bold" if part == "test" else ""
        cells.append(number(float(str(errors[target]["mae"]))))
        cells.append(Text(number(float(str(errors[target]["rmse"]))), style=style))
    return cells


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1])
