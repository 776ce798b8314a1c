"""``nablatom eval``: the errors of a model on labelled structures."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model written by nablatom fit.")],
    structures: Annotated[Path, typer.Argument(help="Any file that ASE reads.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the predictions (.extxyz): eV, eV/Å, eV/Å³."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict energies, forces and stresses, and compare them with the labels, if any.

    [bold]Example:[/bold]  nablatom eval model.mts structures.extxyz -o predictions.extxyz
    """
    from nablatom.cli.files import check_suffix
    from nablatom.cli.steps import labelled_errors, predict, read_checked
    from nablatom.cli.terminal import Terminal, errors_table
    from nablatom.models import LinearModel
    from nablatom.systems import label_structures, write_structures

    terminal = Terminal(as_json=as_json)
    if model.suffix != ".mts":
        raise ValueError(
            f"expected a model written by nablatom fit (.mts) first and then structures, got "
            f"{model.name!r}; models of other kinds are for nablatom forces"
        )
    if output is not None:
        check_suffix(output, [".extxyz"])
    opened, frames = LinearModel.load(model), read_checked(structures)
    energies = predict(opened, frames, terminal)
    errors = labelled_errors(energies, frames)
    terminal.title("Errors", f"{model} on {len(frames)} structures of {structures}")
    if errors:
        terminal.say(errors_table({"": errors}))
    else:
        terminal.note(f"{structures} has no energies to compare with")
    if output is not None:
        write_structures(output, label_structures(frames, energies))
        terminal.file(output, "predicted energies (eV), forces (eV/Å), stresses (eV/Å³)")
    else:
        given = f"{quote(str(model))} {quote(str(structures))}"
        terminal.commands([f"nablatom eval {given} -o predictions.extxyz"])
    terminal.result({"model": str(model), "structures": len(frames), "errors": errors})
