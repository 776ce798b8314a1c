"""The figures of the report, each as one SVG string."""

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nablatom.train.metrics import Comparison

__all__ = ["histogram", "parity", "scan", "sparsity", "timings"]

INK, GRID, TRAIN, TEST = "#1f2933", "#e4e7eb", "#9fb3c8", "#d9480f"
STYLE = {"train": (TRAIN, 7, 1), "test": (TEST, 9, 2)}  # color, size, drawing order


def parity(parts: Mapping[str, Comparison]) -> str:
    """Predicted against reference for every labelled number, one color for each part."""
    figure, axes = _axes(3.4, 3.3)
    first = next(iter(parts.values()))
    ends = np.array([f(c.reference) for c in parts.values() for f in (np.min, np.max)])
    low, high = ends.min(), ends.max()
    margin = 0.05 * (high - low or 1.0)
    line = (low - margin, high + margin)
    axes.plot(line, line, color=INK, linewidth=0.7, zorder=0)
    for part, c in parts.items():
        color, area, order = STYLE[part]
        axes.scatter(
            c.reference, c.predicted, area, color, alpha=0.6, linewidths=0, zorder=order,
            label=part, rasterized=True,
        )  # fmt: skip
    axes.set(xlim=line, ylim=line, aspect="equal")
    axes.locator_params(nbins=5)
    axes.set_xlabel(f"reference {first.target} ({first.unit})")
    axes.set_ylabel(f"predicted {first.target} ({first.unit})")
    axes.legend(frameon=False, loc="upper left", handletextpad=0.2, markerscale=1.6)
    return _svg(figure)


def histogram(parts: Mapping[str, Comparison]) -> str:
    """Density of the errors of each part, on a common scale."""
    figure, axes = _axes(3.4, 2.3)
    first = next(iter(parts.values()))
    everything = np.concatenate([c.errors for c in parts.values()])
    reach = float(np.quantile(np.abs(everything), 0.995)) or 1.0
    bins = 20 if min(len(c.errors) for c in parts.values()) < 100 else 40
    edges = np.linspace(-reach, reach, bins + 1).tolist()
    for part, c in parts.items():
        color, _, order = STYLE[part]
        filled = part == "train"
        axes.hist(
            np.clip(c.errors, -reach, reach), edges, density=True, color=color, zorder=order,
            histtype="stepfilled" if filled else "step", alpha=0.7 if filled else 1.0,
            linewidth=1.4, label=part,
        )  # fmt: skip
    axes.set_xlabel(f"error in {first.target} ({first.unit})")
    axes.set_yticks([])
    axes.legend(frameon=False, loc="upper left", handlelength=1.2)
    return _svg(figure)


def sparsity(present: NDArray[np.bool_]) -> str:
    """Which descriptors (rows: atoms) have a stored gradient for which atoms (columns)."""
    figure, axes = _axes(3.4, 3.3)
    shades = np.where(present, 1.0, 0.0)
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
    axes.set_xlabel("moved atom j")
    axes.set_ylabel("descriptor of atom i")
    axes.grid(visible=False)
    return _svg(figure)


def timings(seconds: Mapping[str, float]) -> str:
    """How long each step took."""
    figure, axes = _axes(3.4, 0.5 + 0.32 * len(seconds))
    names = list(seconds)
    axes.barh(names, list(seconds.values()), color=TRAIN, height=0.6)
    for row, value in enumerate(seconds.values()):
        axes.annotate(
            f"{value:.2f} s", (value, row), (4, 0), textcoords="offset points", va="center"
        )
    axes.invert_yaxis()
    axes.set_xlabel("time (s)")
    axes.set_xlim(0, 1.2 * max(seconds.values()))
    axes.grid(visible=False)
    return _svg(figure)


def scan(losses: Mapping[float, float], chosen: float) -> str:
    """The cross-validated loss along the regularisation, and the one that was chosen."""
    figure, axes = _axes(3.4, 2.3)
    axes.loglog(list(losses), list(losses.values()), color=INK, marker="o", ms=3, linewidth=1)
    axes.loglog([chosen], [losses[chosen]], color=TEST, marker="o", ms=6)
    axes.set_xlabel("regularisation λ")
    axes.set_ylabel("cross-validated loss")
    return _svg(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=160)
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set(color=INK, size=9)
    axes.yaxis.label.set(color=INK, size=9)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()
