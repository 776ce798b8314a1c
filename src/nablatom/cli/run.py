"""The main job: structures → descriptor with gradients → verified, fitted force field.

Every step calls the same functions as the verb of its name, prints what it found with units,
and hands plain data to the next.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from shlex import quote

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rich.text import Text

from nablatom.cli.files import write_tensor
from nablatom.cli.hypers import Chosen
from nablatom.cli.report import Check, Report, write_report
from nablatom.cli.steps import describe, descriptor_of, fit_summary, read_labelled
from nablatom.cli.terminal import Terminal, errors_table, number, table
from nablatom.descriptors import GradientCheck, verify_gradients
from nablatom.models import Calculator
from nablatom.operations import sum_over_samples
from nablatom.systems import (
    label_structures,
    reference_energies,
    strained_cells,
    write_structures,
)
from nablatom.tensor import TensorMap
from nablatom.train import Comparison, Fit, compare, fit_descriptor, split_frames

__all__ = ["Source", "run"]

GRADIENTS = ("positions", "strain")
CHECKS = 9  # finite differences: three each of positions, strain and cell
Split = Mapping[str, NDArray[np.int64]]
Comparisons = Mapping[str, Mapping[str, Comparison]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the structures come from: a file, or else these elements, so many, labelled by EMT."""

    path: Path | None
    symbols: str
    count: int


@dataclass(slots=True)
class _Clock:
    """Durations of the steps."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def run(
    source: Source, hypers: Chosen, folder: Path, seed: int, terminal: Terminal
) -> tuple[dict[str, object], bool]:
    """Everything that was found, for programs, and whether all gradients were right."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file: expected a folder to write to, with --output")
    folder.mkdir(parents=True, exist_ok=True)
    clock, calculator = _Clock(), hypers.calculator
    with clock.step("structures"):
        structures, path = _structures(source, folder, seed, terminal)
    with clock.step("descriptor"):
        descriptor, summary = _descriptor(structures, hypers, folder, terminal)
    with clock.step("verification"):
        checks = _verification(calculator, structures, seed, terminal)
    with clock.step("fit"):
        split = dict(zip(("train", "test"), split_frames(len(structures), seed=seed), strict=True))
        fit, fitted = _fit(descriptor, structures, calculator, split["train"], seed, terminal)
        fit.model.save(folder / "model.mts")
    with clock.step("evaluation"):
        comparisons = _evaluation(fit, descriptor, structures, split, folder, terminal)
    report = Report(
        title=f"Force field for {_composition(structures)}",
        subtitle=f"{len(structures)} structures from {_origin(source)}; {hypers.summary}",
        comparisons=comparisons,
        checks=checks,
        stored=_stored(descriptor, structures),
        seconds=clock.seconds,
        scan=fit.scan,
        chosen=fit.regularisation,
        settings=_settings(hypers, fit, split, seed),
        notes=fit.notes,
        next=_commands(path, folder),
        footer=f"nablatom {version('nablatom')}",
    )
    _report(report, folder, terminal)
    passed = all(check.passed for check in checks)
    return _payload(report, split, fitted, summary, path, folder), passed


def _structures(
    source: Source, folder: Path, seed: int, terminal: Terminal
) -> tuple[list[ase.Atoms], Path]:
    terminal.step(1, "Structures")
    if source.path is not None:
        structures, path = read_labelled(source.path), source.path
    else:
        structures = strained_cells(source.count, source.symbols, seed)
        path = folder / "structures.extxyz"
        write_structures(path, structures)
    sizes = [len(atoms) for atoms in structures]
    terminal.say(
        f"{len(structures)} structures of {min(sizes)} to {max(sizes)} atoms "
        f"({sum(sizes):,} in all), {_composition(structures)}, from {_origin(source)}"
    )
    if source.path is None:
        terminal.file(path, "energies (eV), forces (eV/Å), stresses (eV/Å³)")
    return structures, path


def _descriptor(
    structures: Sequence[ase.Atoms], hypers: Chosen, folder: Path, terminal: Terminal
) -> tuple[TensorMap, dict[str, object]]:
    terminal.step(2, "Descriptor with explicit gradients")
    terminal.say(hypers.summary)
    tensor = descriptor_of(structures, hypers.calculator, GRADIENTS, terminal)
    path = folder / "descriptor.mts"
    write_tensor(path, tensor)
    summary = describe(tensor, path)
    terminal.file(path, str(summary["text"]))
    return tensor, summary


def _verification(
    calculator: Calculator, structures: Sequence[ase.Atoms], seed: int, terminal: Terminal
) -> list[Check]:
    terminal.step(3, "Verification of the stored gradients")
    records = verify_gradients(calculator, structures, seed=seed, count=CHECKS)
    checks = [_check(record) for record in records]
    terminal.say("derivatives of features: per Å of positions and cell, per unit of strain")
    columns = ("check", "frame", "stored", "reference", "error", "")
    terminal.say(table(columns, [_check_row(check) for check in checks]))
    terminal.say(_verdict(checks))
    return checks


def _verdict(checks: Sequence[Check]) -> Text:
    failed = [check for check in checks if not check.passed]
    if failed:
        return Text(f"{len(failed)} of {len(checks)} checks failed", style="bold red")
    return Text(f"all {len(checks)} pairs of numbers agree within their tolerance", style="green")


def _check(record: GradientCheck) -> Check:
    numbers = (record.stored, record.reference, record.error, record.tolerance)
    place = f"frame {record.frame}, {record.place}"
    return Check(record.name, record.frame, place, *numbers, record.passed)


def _check_row(check: Check) -> list[str | Text]:
    verdict = Text("PASS", style="bold green") if check.passed else Text("FAIL", style="bold red")
    numbers = (f"{check.stored:+.8e}", f"{check.reference:+.8e}", f"{check.error:.1e}")
    return [check.name, str(check.frame), *numbers, verdict]


def _fit(
    descriptor: TensorMap,
    structures: Sequence[ase.Atoms],
    calculator: Calculator,
    train: NDArray[np.int64],
    seed: int,
    terminal: Terminal,
) -> tuple[Fit, dict[str, object]]:
    terminal.step(4, "Fit of energies, forces and stresses together")
    fit = fit_descriptor(
        descriptor,
        structures,
        calculator,
        frames=train,
        seed=seed,
        progress=terminal.tracker("fit"),
    )
    terminal.say(f"{len(train)} structures to fit, {len(structures) - len(train)} to test")
    return fit, fit_summary(fit, terminal)


def _evaluation(
    fit: Fit,
    descriptor: TensorMap,
    structures: Sequence[ase.Atoms],
    split: Split,
    folder: Path,
    terminal: Terminal,
) -> Comparisons:
    terminal.step(5, "Errors")
    atoms = fit.model.completed(fit.model.predict(descriptor), structures, GRADIENTS)
    energies = sum_over_samples(atoms, "atom")
    everything = compare(energies, reference_energies(structures), structures)
    comparisons = {
        part: {target: c.of(frames) for target, c in everything.items()}
        for part, frames in split.items()
    }
    terminal.say(errors_table(_summaries(comparisons)))
    terminal.file(folder / "model.mts", "the fitted model")
    path = folder / "predictions.extxyz"
    write_structures(path, label_structures(structures, energies))
    terminal.file(path, "energies (eV), forces (eV/Å), stresses (eV/Å³)")
    return comparisons


def _report(report: Report, folder: Path, terminal: Terminal) -> None:
    try:
        write_report(folder / "report.html", report)
        terminal.file(folder / "report.html", "open it in a browser")
    except ModuleNotFoundError as error:
        terminal.note(f"no report.html: {error.name} is missing; pip install 'nablatom[plot]'")
    terminal.commands(report.next)


def _stored(descriptor: TensorMap, structures: Sequence[ase.Atoms]) -> NDArray[np.bool_]:
    """Which atoms of the largest structure have gradients for which atoms."""
    frame = int(np.argmax([len(atoms) for atoms in structures]))
    present = np.zeros((len(structures[frame]),) * 2, dtype=bool)
    for block in descriptor.blocks():
        rows = block.gradient("positions").samples
        here = rows.column("system") == frame
        center = "atom" if "atom" in block.samples.names else "first_atom"
        centers = block.samples.column(center)[rows.column("sample")[here]]
        present[centers, rows.column("atom")[here]] = True
    return present


def _origin(source: Source) -> str:
    return "ASE's EMT" if source.path is None else source.path.name


def _composition(structures: Sequence[ase.Atoms]) -> str:
    elements = sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    return "".join(elements)


def _commands(structures: Path, folder: Path) -> list[str]:
    model, given = quote(str(folder / "model.mts")), quote(str(structures))
    return [
        f"nablatom show {quote(str(folder / 'descriptor.mts'))}",
        f"nablatom eval {model} {given}",
        f"nablatom forces {model} {given} --stress --partial -o forces.mts",
    ]


def _settings(hypers: Chosen, fit: Fit, split: Split, seed: int) -> dict[str, str]:
    return {
        "Descriptor": hypers.summary,
        "Training structures": str(len(split["train"])),
        "Test structures": str(len(split["test"])),
        "Numbers fitted": ", ".join(f"{count:,} of {t}" for t, count in fit.rows.items()),
        "Weights": str(fit.model.size),
        "Regularisation λ": f"{fit.regularisation:g}",
        "Energies of the elements": ", ".join(
            f"{chemical_symbols[z]} {number(energy, 5)} eV"
            for z, energy in fit.model.baseline.items()
        ),
        "Seed": str(seed),
    }


def _summaries(comparisons: Comparisons) -> dict[str, dict[str, dict[str, float | int | str]]]:
    return {
        part: {target: c.summary() for target, c in found.items()}
        for part, found in comparisons.items()
    }


def _payload(
    report: Report,
    split: Split,
    fitted: Mapping[str, object],
    descriptor: Mapping[str, object],
    structures: Path,
    folder: Path,
) -> dict[str, object]:
    written = ("descriptor.mts", "model.mts", "predictions.extxyz", "report.html")
    return {
        "structures": {"file": str(structures)}
        | {part: [int(frame) for frame in frames] for part, frames in split.items()},
        "descriptor": {key: value for key, value in descriptor.items() if key != "text"},
        "verification": [
            {
                "name": check.name,
                "frame": check.frame,
                "place": check.place,
                "stored": check.stored,
                "reference": check.reference,
                "error": check.error,
                "tolerance": check.tolerance,
                "passed": check.passed,
            }
            for check in report.checks
        ],
        "fit": fitted,
        "errors": _summaries(report.comparisons),
        "seconds": dict(report.seconds),
        "files": [str(folder / name) for name in written if (folder / name).exists()],
    }
