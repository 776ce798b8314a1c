"""``nablatom demo``: from structures to a fitted, verified force field."""

from pathlib import Path
from typing import Annotated

import typer

from nablatom.cli import options

__all__ = ["demo"]


def demo(
    structures: Annotated[
        Path | None, typer.Option(help="Labelled structures in any file that ASE reads.")
    ] = None,
    symbols: Annotated[
        str, typer.Option(help="Without a file: elements to generate, such as Cu or CuAu.")
    ] = "Cu",
    frames: Annotated[
        int, typer.Option(min=2, help="Without a file: how many structures to generate.")
    ] = 60,
    seed: options.Seed = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for everything that is written.")
    ] = Path("nablatom-demo"),
    hypers: options.Hypers = None,
    descriptor: options.Descriptor = None,
    cutoff: options.Cutoff = None,
    width: options.Width = None,
    max_radial: options.MaxRadial = None,
    max_angular: options.MaxAngular = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make or read structures, compute a descriptor, verify its gradients, fit, and report.

    Energies, forces and stresses are fitted together, in closed form, through the explicit
    gradients of the descriptor. Without a file, structures are made and labelled with ASE's
    effective medium theory.

    [bold]Example:[/bold]  nablatom demo --structures silicon.extxyz -o silicon
    """
    from nablatom.cli.hypers import chosen
    from nablatom.cli.run import Source, run
    from nablatom.cli.terminal import Terminal

    terminal = Terminal(as_json=as_json)
    found = chosen(
        hypers,
        descriptor=descriptor,
        cutoff=cutoff,
        width=width,
        max_radial=max_radial,
        max_angular=max_angular,
    )
    terminal.title("nablatom demo", "structures → descriptor with gradients → force field")
    payload, passed = run(Source(structures, symbols, frames), found, output, seed, terminal)
    terminal.result(payload)
    if not passed:
        raise typer.Exit(1)
