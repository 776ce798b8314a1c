"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Cutoff", "Descriptor", "Hypers", "MaxAngular", "MaxRadial", "Seed", "Width"]

PANEL = "Descriptor"

Hypers = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with the settings below; options override it.", rich_help_panel=PANEL
    ),
]
Descriptor = Annotated[
    str | None, typer.Option(help="power-spectrum or radial-spectrum.", rich_help_panel=PANEL)
]
Cutoff = Annotated[
    float | None, typer.Option(help="Radius of the neighborhood, Å.", rich_help_panel=PANEL)
]
Width = Annotated[
    float | None,
    typer.Option(help="Neighbors fade out over this distance before it, Å.", rich_help_panel=PANEL),
]
MaxRadial = Annotated[
    int | None,
    typer.Option(help="Radial functions n = 0 … max-radial.", rich_help_panel=PANEL),
]
MaxAngular = Annotated[
    int | None, typer.Option(help="Largest angular momentum l.", rich_help_panel=PANEL)
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
