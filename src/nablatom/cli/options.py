"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Cutoff", "Descriptor", "Hypers", "MaxAngular", "MaxRadial", "Seed", "Width"]

PANEL = "Descriptor"

Hypers = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with settings, such as 'cutoff: 5.0'; options override it.",
        rich_help_panel=PANEL,
    ),
]
Descriptor = Annotated[
    str | None,
    typer.Option(
        help="power-spectrum, if not given, or radial-spectrum; or any calculator, such as "
        "bispectrum, whose settings are in the file.",
        rich_help_panel=PANEL,
    ),
]
Cutoff = Annotated[
    float | None,
    typer.Option(help="Radius of the neighborhood, Å; 5.5 if not given.", rich_help_panel=PANEL),
]
Width = Annotated[
    float | None,
    typer.Option(
        help="Neighbors fade out over this distance before it, Å; 1.5 if not given.",
        rich_help_panel=PANEL,
    ),
]
MaxRadial = Annotated[
    int | None,
    typer.Option(
        help="Radial functions n = 0 … max-radial; 5 if not given.", rich_help_panel=PANEL
    ),
]
MaxAngular = Annotated[
    int | None,
    typer.Option(help="Largest angular momentum l; 6 if not given.", rich_help_panel=PANEL),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
