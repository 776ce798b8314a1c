"""``nablatom compute``: the descriptor of structures, with explicit gradients."""

from pathlib import Path
from typing import Annotated

import typer

from nablatom.cli import options

__all__ = ["compute"]


def compute(
    structures: Annotated[Path, typer.Argument(help="Any file that ASE reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mts file to write.")],
    gradients: Annotated[
        str, typer.Option(help="Comma-separated: positions, strain; or none.")
    ] = "positions,strain",
    hypers: options.Hypers = None,
    descriptor: options.Descriptor = None,
    cutoff: options.Cutoff = None,
    width: options.Width = None,
    max_radial: options.MaxRadial = None,
    max_angular: options.MaxAngular = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute a descriptor of every atom, with its gradients, and save it.

    [bold]Example:[/bold]  nablatom compute structures.extxyz -o descriptor.mts --cutoff 5
    """
    from nablatom.cli.files import write_tensor
    from nablatom.cli.hypers import settings
    from nablatom.cli.steps import describe, descriptor_of, gradient_names, read_checked
    from nablatom.cli.terminal import Terminal

    terminal = Terminal(as_json=as_json)
    chosen = settings(
        hypers,
        descriptor=descriptor,
        cutoff=cutoff,
        width=width,
        max_radial=max_radial,
        max_angular=max_angular,
    )
    calculator = chosen.calculator()
    names = gradient_names(gradients)
    frames = read_checked(structures)
    terminal.title("Descriptor", chosen.summary())
    tensor = descriptor_of(frames, calculator, names, terminal)
    write_tensor(output, tensor)
    summary = describe(tensor, output)
    terminal.file(output, str(summary["text"]))
    terminal.result({"structures": len(frames), "settings": chosen.model_dump(), **summary})
