"""``nablatom convert``: the same data in another kind of file."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

__all__ = ["convert"]


def convert(
    source: Annotated[
        Path, typer.Argument(help="A .mts, .npz or .safetensors file, or labelled structures.")
    ],
    target: Annotated[Path, typer.Argument(help="A .mts, .npz or .safetensors file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert between .mts, .npz and .safetensors, or labelled structures to a tensor.

    Structures (any file that ASE reads) become their energies in eV, with minus the forces in
    eV/Å as [cyan]positions[/cyan] gradient and volume × stress in eV as [cyan]strain[/cyan]
    gradient.

    [bold]Example:[/bold]  nablatom convert descriptor.mts descriptor.safetensors
    """
    from nablatom.cli.files import TENSORS, check_suffix, open_tensor, write_tensor
    from nablatom.cli.terminal import Terminal, counted, size

    terminal = Terminal(as_json=as_json)
    check_suffix(target)
    if source.suffix in TENSORS:
        tensor = open_tensor(source)
    else:
        from nablatom.cli.steps import read_checked
        from nablatom.systems import reference_energies

        tensor = reference_energies(read_checked(source))
    write_tensor(target, tensor)
    bytes_written = target.stat().st_size
    terminal.file(target, f"{counted(len(tensor), 'block')}, {size(bytes_written)}")
    terminal.commands([f"nablatom show {quote(str(target))}"])
    terminal.result({"source": str(source), "target": str(target), "bytes": bytes_written})
