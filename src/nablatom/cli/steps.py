"""The steps that verbs share: a batch of structures at a time, with a progress bar."""

from collections.abc import Sequence
from pathlib import Path

import ase

from nablatom.cli.terminal import Terminal, counted, size
from nablatom.descriptors.assembly import renumbered
from nablatom.models import Calculator, LinearModel
from nablatom.operations import join
from nablatom.systems import check_structures, read_structures, reference_energies
from nablatom.tensor import TensorMap
from nablatom.train import Fit, compare, split_frames

__all__ = [
    "describe",
    "descriptor_of",
    "fit_summary",
    "gradient_names",
    "labelled_errors",
    "parts_of",
    "predict",
    "read_checked",
    "read_labelled",
]

BATCH = 16
GRADIENTS = ("positions", "strain", "cell")


def read_checked(path: Path, *, labels: bool = True) -> list[ase.Atoms]:
    """The structures of a file, checked; the file is named if they are at fault."""
    structures = read_structures(path)
    try:
        check_structures(structures, labels=labels)
    except ValueError as error:
        error.add_note(f"in {path}")
        raise
    return structures


def read_labelled(path: Path) -> list[ase.Atoms]:
    """The same for structures that all have energies, as a fit needs them."""
    structures = read_checked(path)
    try:
        reference_energies(structures)
    except ValueError as error:
        error.add_note(f"in {path}: expected energies, and forces and stresses if there are any")
        raise
    return structures


def gradient_names(text: str) -> tuple[str, ...]:
    """Names of gradients from a comma-separated list; ``none`` is the empty one."""
    names = tuple(name.strip() for name in text.split(",")) if text != "none" else ()
    for name in names:
        if name not in GRADIENTS:
            raise ValueError(f"no gradient {name!r}; choose from {', '.join(GRADIENTS)}, or none")
    return names


def descriptor_of(
    structures: Sequence[ase.Atoms],
    calculator: Calculator,
    gradients: Sequence[str],
    terminal: Terminal,
) -> TensorMap:
    """The descriptor of all structures."""
    parts = [
        renumbered(calculator(structures[start : start + BATCH], gradients=gradients), start)
        for start in terminal.track(range(0, len(structures), BATCH), name="descriptor")
    ]
    return join(parts, "samples", different_keys="union") if len(parts) > 1 else parts[0]


def predict(model: LinearModel, structures: Sequence[ase.Atoms], terminal: Terminal) -> TensorMap:
    """Energies of all structures, with ``positions`` and ``strain`` gradients."""
    parts = [
        renumbered(model(structures[start : start + BATCH]), start)
        for start in terminal.track(range(0, len(structures), BATCH), name="prediction")
    ]
    return join(parts, "samples") if len(parts) > 1 else parts[0]


def labelled_errors(
    energies: TensorMap, structures: Sequence[ase.Atoms]
) -> dict[str, dict[str, float | int | str]]:
    """Target → MAE, RMSE and their unit; empty if the structures have no energies."""
    if all(structure.calc is None for structure in structures):
        return {}
    found = compare(energies, reference_energies(structures), structures)
    return {target: comparison.summary() for target, comparison in found.items()}


def parts_of(
    structures: Sequence[ase.Atoms], *, test: float, seed: int
) -> dict[str, list[ase.Atoms]]:
    """Training and test structures; no test if its share is zero."""
    if test == 0:
        return {"train": list(structures)}
    split = split_frames(len(structures), fraction=1 - test, seed=seed)
    names = ("train", "test")
    return {n: [structures[i] for i in rows] for n, rows in zip(names, split, strict=True)}


def fit_summary(fit: Fit, terminal: Terminal) -> dict[str, object]:
    """Say how a fit came about, and return it for programs."""
    rows = ", ".join(f"{count:,} of {target}" for target, count in fit.rows.items())
    terminal.say(f"{fit.model.size:,} weights from {sum(fit.rows.values()):,} numbers ({rows})")
    how = "cross-validated" if fit.scan else "as given"
    terminal.say(f"regularisation λ = {fit.regularisation:g}, {how}")
    for note in fit.notes:
        terminal.note(note)
    return {
        "regularisation": fit.regularisation,
        "scan": [[strength, loss] for strength, loss in fit.scan.items()],
        "rows": dict(fit.rows),
        "weights": fit.model.size,
        "notes": list(fit.notes),
    }


def describe(tensor: TensorMap, path: Path) -> dict[str, object]:
    """Blocks, features, gradient rows and bytes of a descriptor that was written to a file."""
    features = sum(len(block.properties) for block in tensor.blocks())
    rows = {
        name: sum(len(block.gradient(name).samples) for block in tensor.blocks())
        for name in (tensor.block_by_id(0).gradients_list() if len(tensor) else [])
    }
    stored = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    bytes_written = path.stat().st_size
    counts = f"{counted(len(tensor), 'block')}, {counted(features, 'feature')}"
    text = f"{counts}, {size(bytes_written)}"
    return {
        "text": text + (f", gradient rows: {stored}" if stored else ""),
        "file": str(path),
        "blocks": len(tensor),
        "features": features,
        "gradient_rows": rows,
        "bytes": bytes_written,
    }
