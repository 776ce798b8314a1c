"""What derivatives are like, in a table: how large, and how many numbers."""

from collections.abc import Iterator, Mapping, Sequence

import ase
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from nablatom.cli.derivatives import Found
from nablatom.cli.terminal import number, table
from nablatom.operations import sum_over_samples
from nablatom.train.targets import TARGETS, by_target

__all__ = ["summary", "summary_table", "sums_off"]

FLUX_UNIT = "eV·Å/t"
Summary = Mapping[str, Mapping[str, float | int | str]]


def summary(
    found: Found, structures: Sequence[ase.Atoms]
) -> dict[str, dict[str, float | int | str]]:
    """Quantity → its unit, root mean square, largest magnitude and number of numbers."""
    return {
        name: {
            "unit": unit,
            "rms": float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0,
            "largest": float(np.abs(values).max(initial=0.0)),
            "count": int(values.size),
        }
        for name, unit, values in _quantities(found, structures)
    }


def summary_table(told: Summary) -> Table:
    """The summary for people."""
    columns = ("quantity", "unit", "root mean square", "largest", "numbers")
    rows = [
        [
            name,
            str(row["unit"]),
            number(float(row["rms"])),
            number(float(row["largest"])),
            f"{row['count']:,}",
        ]
        for name, row in told.items()
    ]
    return table(columns, rows, text=2)


def sums_off(found: Found) -> float:
    """By how much the partial forces of all atoms miss the forces, at most, eV/Å."""
    summed = sum_over_samples(found["atoms"], "atom").block().gradient("positions")
    forces = found["energies"].block().gradient("positions")
    return float(np.abs(summed.values - forces.values).max(initial=0.0))


def _quantities(
    found: Found, structures: Sequence[ase.Atoms]
) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    frames = by_target(found["energies"].block(), structures, fill=np.nan)
    yield "energy", "eV/atom", frames["energy"]
    yield "forces", "eV/Å", frames["forces"]
    stress = frames.get("stress", np.empty(0))
    if np.isfinite(stress).any():
        yield "stress", "GPa", stress[np.isfinite(stress)] * TARGETS["stress"].factor
    if "atoms" in found:
        gradients = dict(found["atoms"].block().gradients())
        if "positions" in gradients:
            yield "partial forces", "eV/Å", gradients["positions"].values
        if "strain" in gradients:
            yield "atomic virials", "eV", gradients["strain"].values
    if "hessian" in found:
        yield "Hessian", "eV/Å²", found["hessian"].block().gradient("positions").values
    if "heat-flux" in found:
        yield "heat flux", FLUX_UNIT, found["heat-flux"].block().values.sum(-1)
