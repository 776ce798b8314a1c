"""``nablatom show``: what is in a file, without reading its numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.tree import Tree

    from nablatom.block import TensorBlock
    from nablatom.tensor import TensorMap

__all__ = ["show"]

BLOCKS_SHOWN = 12


def show(
    file: Annotated[Path, typer.Argument(help="A .mts, .npz or .safetensors file.")],
    every: Annotated[bool, typer.Option("--all", help="Every block, however many.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the tree of a file: keys, blocks, shapes, dtypes, gradients and fill.

    Arrays are memory-mapped, not read: files larger than the memory are no trouble. A gradient is
    "98% filled" if it has rows for this share of the atoms of each structure.

    [bold]Example:[/bold]  nablatom show nablatom-demo/descriptor.mts
    """
    from nablatom.cli.files import open_tensor
    from nablatom.cli.terminal import Terminal

    terminal = Terminal(as_json=as_json)
    tensor = open_tensor(file)
    terminal.draw(_tree(file, tensor, len(tensor) if every else BLOCKS_SHOWN))
    terminal.result(_payload(file, tensor))


def _tree(file: Path, tensor: "TensorMap", shown: int) -> "Tree":
    from rich.text import Text
    from rich.tree import Tree

    from nablatom.cli.terminal import counted, size

    keys = ", ".join(tensor.keys.names)
    head = Text.assemble(
        (file.name, "bold cyan"), f"  {counted(len(tensor), 'block')}, keys {keys}, "
    )
    tree = Tree(head + Text(f"{size(file.stat().st_size)}"))
    for name, value in dict(tensor.info()).items():
        short = value if len(value) <= 100 else f"{value[:99]}…"
        tree.add(Text.assemble((name, "magenta"), f" = {short}"))
    for key, block in list(tensor.items())[:shown]:
        named = ", ".join(f"{n}={v}" for n, v in zip(tensor.keys.names, key, strict=True))
        _add_block(tree.add(Text.assemble((named, "bold"), "  ", _line(block))), block)
    if shown < len(tensor):
        more = len(tensor) - shown
        text = f"… {counted(more, 'more block')} (--all shows them)"
        tree.add(Text(text, style="dim"))
    return tree


def _add_block(branch: "Tree", block: "TensorBlock") -> None:
    from rich.text import Text

    for axis, labels in _axes(block):
        branch.add(Text.assemble((f"{axis}: ", "dim"), labels))
    for name, gradient in block.gradients():
        share = f"  {block.fill(name):.0%} filled" if "atom" in gradient.samples.names else ""
        line = Text.assemble(("∇ ", "green"), (name, "bold green"), "  ", _line(gradient), share)
        _add_block(branch.add(line), gradient)


def _axes(block: "TensorBlock") -> Iterator[tuple[str, str]]:
    yield "samples", f"{len(block.samples)} × ({', '.join(block.samples.names)})"
    for component in block.components:
        yield "components", f"{len(component)} × ({', '.join(component.names)})"
    yield "properties", f"{len(block.properties)} × ({', '.join(block.properties.names)})"


def _line(block: "TensorBlock") -> str:
    from nablatom.cli.terminal import size

    shape = " × ".join(map(str, block.shape))
    return f"{shape} {block.values.dtype}, {size(block.values.nbytes)}"


def _payload(file: Path, tensor: "TensorMap") -> dict[str, object]:
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "info": dict(tensor.info()),
        "keys": {"names": list(tensor.keys.names), "values": tensor.keys.values.tolist()},
        "blocks": [_block_payload(block) for block in tensor.blocks()],
    }


def _block_payload(block: "TensorBlock") -> dict[str, object]:
    return {
        "shape": list(block.shape),
        "dtype": str(block.values.dtype),
        "bytes": int(block.values.nbytes),
        "samples": {"names": list(block.samples.names), "count": len(block.samples)},
        "components": [{"names": list(c.names), "count": len(c)} for c in block.components],
        "properties": {"names": list(block.properties.names), "count": len(block.properties)},
        "gradients": {
            name: _block_payload(gradient)
            | ({"fill": block.fill(name)} if "atom" in gradient.samples.names else {})
            for name, gradient in block.gradients()
        },
    }
