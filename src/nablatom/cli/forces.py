"""``nablatom forces``: energies of structures by a model, with all the derivatives asked for."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nablatom.cli.derivatives import Wanted

__all__ = ["forces"]

PANEL = "Derivatives"


def forces(
    model: Annotated[
        Path,
        typer.Argument(
            help="A folder or .safetensors file of trained weights, a .yaml file that names a "
            "potential and its parameters, a .mts file written by nablatom fit, or a model of "
            "nequip (.nequip.zip) or MACE (.model)."
        ),
    ],
    structures: Annotated[Path, typer.Argument(help="Any file that ASE reads.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a tensor (.mts) or structures (.extxyz)."),
    ] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="The stress, eV/Å³.", rich_help_panel=PANEL)
    ] = False,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Partial forces, minus the energy of each atom by the position of each, eV/Å.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    atomic_virial: Annotated[
        bool,
        typer.Option("--atomic-virial", help="The virial of each atom, eV.", rich_help_panel=PANEL),
    ] = False,
    hessian: Annotated[
        bool,
        typer.Option("--hessian", help="Second derivatives, eV/Å².", rich_help_panel=PANEL),
    ] = False,
    heat_flux: Annotated[
        bool,
        typer.Option(
            "--heat-flux",
            help="The heat flux of structures with velocities, in eV, Å and ASE's unit of time.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Open models of nequip and MACE, whose files can run any code."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute energies and forces of structures, and other derivatives on request.

    The model comes first. A tensor file holds the energies with forces and stress as gradients.
    Partial forces and atomic virials, the Hessian, and the heat flux go to files of their own
    beside it.

    [bold]Example:[/bold]  nablatom forces model/ structures.extxyz --stress -o forces.mts
    """
    from nablatom.cli.derivatives import Wanted, check_output, derivatives_of, write_derivatives
    from nablatom.cli.models import open_model
    from nablatom.cli.steps import read_checked
    from nablatom.cli.summary import summary, summary_table, sums_off
    from nablatom.cli.terminal import Terminal, number
    from nablatom.systems.targets import has_stress

    terminal = Terminal(as_json=as_json)
    wanted = Wanted(stress, partial, atomic_virial, hessian, heat_flux)
    check_output(output, wanted)
    opened, frames = open_model(model, trust=trust), read_checked(structures, labels=False)
    terminal.title("Forces", f"{model} on {len(frames)} structures of {structures}")
    found = derivatives_of(opened, frames, wanted, terminal)
    told = summary(found, frames)
    terminal.say(summary_table(told))
    without = sum(not has_stress(frame) for frame in frames) if stress else 0
    if without:
        terminal.note(
            f"{without} of {len(frames)} structures have no stress: they are not periodic, or "
            "have no cell"
        )
    payload: dict[str, object] = {"model": str(model), "structures": len(frames), "summary": told}
    if partial:
        payload["partial_forces_off"] = off = sums_off(found)
        within = f"within {number(off)} eV/Å" if off else "exactly"
        terminal.say(f"partial forces sum to the forces {within}")
    written = []
    if output is not None:
        written = write_derivatives(output, found, frames, terminal)
        payload["files"] = [str(path) for path in written]
    terminal.commands(_next(model, structures, wanted, written))
    terminal.result(payload)


def _next(model: Path, structures: Path, wanted: "Wanted", written: list[Path]) -> list[str]:
    """What to try: look at tensors, or write what was found."""
    tensors = [path for path in written if path.suffix != ".extxyz"]
    if tensors:
        return [f"nablatom show {quote(str(path))}" for path in tensors]
    asked = [f"--{name.replace('_', '-')}" for name, said in asdict(wanted).items() if said]
    options = " ".join(asked or ["--stress", "--partial"])
    given = f"{quote(str(model))} {quote(str(structures))}"
    return [f"nablatom forces {given} {options} -o forces.mts"]
