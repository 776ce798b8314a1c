"""The program ``nablatom`` and its verbs.

Verbs import what they need when they run, so that ``--help`` answers at once.
"""

from typing import Annotated

import typer

from nablatom.cli.compute import compute
from nablatom.cli.convert import convert
from nablatom.cli.demo import demo
from nablatom.cli.errors import Reported
from nablatom.cli.evaluate import evaluate
from nablatom.cli.fit import fit
from nablatom.cli.forces import forces
from nablatom.cli.show import show

__all__ = ["app", "main"]

app = typer.Typer(
    name="nablatom",
    cls=Reported,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("compute")(compute)
app.command("fit")(fit)
app.command("eval")(evaluate)
app.command("forces")(forces)
app.command("show")(show)
app.command("convert")(convert)


def main() -> None:
    """Run the command line on the arguments of the process."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nablatom {version('nablatom')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error comes from, for reporting it.")
    ] = False,
) -> None:
    """Atomistic quantities as labelled, block-sparse tensors that carry their derivatives.

    Start with [bold]nablatom demo[/bold]: from structures to a verified, fitted force field.
    """
