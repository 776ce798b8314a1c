"""``nablatom fit``: a linear model of labelled structures, in closed form."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from nablatom.cli import options

__all__ = ["fit"]

PANEL = "Loss"


def fit(
    structures: Annotated[Path, typer.Argument(help="Labelled structures, any ASE format.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model to write (.mts).")],
    test: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the structures kept for the test.")
    ] = 0.2,
    seed: options.Seed = 0,
    hypers: options.Hypers = None,
    descriptor: options.Descriptor = None,
    cutoff: options.Cutoff = None,
    width: options.Width = None,
    max_radial: options.MaxRadial = None,
    max_angular: options.MaxAngular = None,
    energy: Annotated[
        float, typer.Option(min=0, help="Weight of the energies.", rich_help_panel=PANEL)
    ] = 1.0,
    forces: Annotated[
        float, typer.Option(min=0, help="Weight of the forces.", rich_help_panel=PANEL)
    ] = 1.0,
    stress: Annotated[
        float, typer.Option(min=0, help="Weight of the stresses.", rich_help_panel=PANEL)
    ] = 1.0,
    regularisation: Annotated[
        float | None,
        typer.Option(min=0, help="λ; cross-validated if not given.", rich_help_panel=PANEL),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit energies, forces and stresses together, and save the model.

    A weight says how much the unexplained fraction of a target's variance counts.

    [bold]Example:[/bold]  nablatom fit structures.extxyz -o model.mts --cutoff 5 --test 0.1
    """
    from nablatom.cli.files import check_suffix
    from nablatom.cli.hypers import chosen
    from nablatom.cli.steps import fit_summary, labelled_errors, parts_of, predict, read_labelled
    from nablatom.cli.terminal import Terminal, errors_table
    from nablatom.train import fit_linear

    terminal = Terminal(as_json=as_json)
    check_suffix(output, [".mts"])
    described = chosen(
        hypers,
        descriptor=descriptor,
        cutoff=cutoff,
        width=width,
        max_radial=max_radial,
        max_angular=max_angular,
    )
    frames = read_labelled(structures)
    parts = parts_of(frames, test=test, seed=seed)
    terminal.title("Fit", f"{len(parts['train'])} of {len(frames)} structures")
    terminal.say(described.summary)
    found = fit_linear(
        parts["train"],
        described.calculator,
        weights={"energy": energy, "forces": forces, "stress": stress},
        regularisation=regularisation,
        seed=seed,
        progress=terminal.tracker("fit"),
    )
    found.model.save(output)
    errors = {
        part: labelled_errors(predict(found.model, members, terminal), members)
        for part, members in parts.items()
    }
    summary = fit_summary(found, terminal)
    terminal.say(errors_table(errors))
    terminal.file(output, "the fitted model")
    given = f"{quote(str(output))} {quote(str(structures))}"
    terminal.commands(
        [
            f"nablatom eval {given} -o predictions.extxyz",
            f"nablatom forces {given} --stress --partial -o forces.mts",
        ]
    )
    terminal.result({"model": str(output), **summary, "errors": errors})
