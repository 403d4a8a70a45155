"""The choices of options, and the options about groups, which every command that needs groups takes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_PANEL = "Groups"


class Target(StrEnum):
    """What is minimised."""

    ML = "ml"
    LS = "ls"


class Waters(StrEnum):
    """What to do with waters."""

    RESIDUE = "residue"
    INDIVIDUAL = "individual"
    OMIT = "omit"


class Hydrogens(StrEnum):
    """What to do with hydrogens."""

    CARRIER = "carrier"
    OMIT = "omit"


GroupsFile = Annotated[
    Path | None,
    typer.Option(
        "--groups",
        metavar="FILE",
        help="Your own groups: .toml, Refmac keywords (.refmac, .txt) or phenix parameters (.eff, .params).",
        rich_help_panel=_PANEL,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="NAME=LETTERS",
        help="A state and its letters, at least two states: --state ground=A,B --state bound=C,D refines one ratio.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Link = Annotated[
    bool,
    typer.Option(
        "--link/--no-link", help="Link conformers along the chain, or residue by residue.", rich_help_panel=_PANEL
    ),
]
ForceLinks = Annotated[
    bool,
    typer.Option(
        "--force-links", help="Link neighbours even if their start occupancies differ.", rich_help_panel=_PANEL
    ),
]
WatersChoice = Annotated[
    Waters,
    typer.Option("--waters", help="As any residue, each one refined, or left as they are.", rich_help_panel=_PANEL),
]
HydrogensChoice = Annotated[
    Hydrogens,
    typer.Option("--hydrogens", help="With the atom that carries them, or left as they are.", rich_help_panel=_PANEL),
]
ContactDistance = Annotated[
    float | None,
    typer.Option(
        "--contact-distance",
        metavar="Å",
        help="Join conformers of one letter that come this close, over chains and symmetry: ligand, side chain, water.",
        rich_help_panel=_PANEL,
    ),
]
