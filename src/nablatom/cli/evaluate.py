"""``nablatom eval``: the errors of a model on labelled structures."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model written by nablatom fit.")],
    structures: Annotated[Path, typer.Argument(help="Any file that ASE reads.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the predictions (.extxyz).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict energies, forces and stresses, and compare them with the labels, if any.

    [bold]Example:[/bold]  nablatom eval model.mts structures.extxyz -o predictions.extxyz
    """
    from nablatom.cli.steps import labelled_errors, predict, read_checked
    from nablatom.cli.terminal import Terminal, errors_table
    from nablatom.models import LinearModel
    from nablatom.systems import label_structures, write_structures

    terminal = Terminal(as_json=as_json)
    frames = read_checked(structures)
    energies = predict(LinearModel.load(model), frames, terminal)
    errors = labelled_errors(energies, frames)
    terminal.title("Errors", f"{model} on {len(frames)} structures of {structures}")
    if errors:
        terminal.say(errors_table({"": errors}))
    else:
        terminal.note(f"{structures} has no energies to compare with")
    if output is not None:
        write_structures(output, label_structures(frames, energies))
        terminal.file(output, "predicted energies (eV), forces (eV/Å), stresses (eV/Å³)")
    terminal.result({"model": str(model), "structures": len(frames), "errors": errors})
