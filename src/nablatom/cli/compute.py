"""``nablatom compute``: the descriptor of structures, with explicit gradients."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from nablatom.cli import options

__all__ = ["compute"]


def compute(
    first: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A calculator, such as soap-power-spectrum or lode-spherical-expansion; "
            "may be left out.",
            show_default=False,
        ),
    ] = "",
    second: Annotated[
        Path | None, typer.Argument(metavar="STRUCTURES", help="Any file that ASE reads.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mts file to write.")],
    gradients: Annotated[
        str, typer.Option(help="Comma-separated: positions, strain, cell; or none.")
    ] = "positions,strain",
    threads: Annotated[
        int, typer.Option(min=1, help="How many threads work on one batch of structures.")
    ] = 1,
    hypers: options.Hypers = None,
    descriptor: options.Descriptor = None,
    cutoff: options.Cutoff = None,
    width: options.Width = None,
    max_radial: options.MaxRadial = None,
    max_angular: options.MaxAngular = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute a descriptor of every atom, with its gradients, and save it.

    With a NAME, the file of settings holds those of this calculator, written as
    nablatom.descriptors or featomic write them. Without one, the settings are the simple ones
    below. The result goes to disk structure by structure: it may be larger than memory.

    [bold]Example:[/bold]  nablatom compute soap-power-spectrum structures.extxyz
    --hypers soap.yaml --gradients positions,strain -o soap.mts --threads 2
    """
    from nablatom.cli.batches import computed
    from nablatom.cli.files import check_suffix, write_tensor
    from nablatom.cli.hypers import chosen
    from nablatom.cli.steps import describe, gradient_names, read_checked
    from nablatom.cli.terminal import Terminal
    from nablatom.io.spool import Spool

    terminal = Terminal(as_json=as_json)
    if not first:
        raise ValueError("expected structures: nablatom compute [NAME] STRUCTURES -o FILE")
    check_suffix(output)
    structures = Path(first) if second is None else second
    name = descriptor if second is None else first
    if descriptor not in (None, name):
        raise ValueError(f"{name} and --descriptor {descriptor}: choose one of them")
    found = chosen(
        hypers,
        descriptor=name,
        cutoff=cutoff,
        width=width,
        max_radial=max_radial,
        max_angular=max_angular,
    )
    names = gradient_names(gradients)
    frames = read_checked(structures, labels=False)
    terminal.title("Descriptor", found.summary)
    output.parent.mkdir(parents=True, exist_ok=True)
    with Spool(output.parent) as spool:
        for part in computed(found.calculator, frames, names, threads, terminal):
            spool.append(part)
        tensor = spool.tensor()
        write_tensor(output, tensor)
        described = describe(tensor, output)
    terminal.file(output, str(described["text"]))
    terminal.commands([f"nablatom show {quote(str(output))}"])
    terminal.result({"structures": len(frames), "settings": found.settings, **described})
