"""The options of the commands, by what they are about, and what can be chosen."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_PANEL = "Groups"
_DATA = "Data"
_REFINEMENT = "Refinement"
_OUTPUT = "Output"


class Target(StrEnum):
    """What is minimised."""

    ML = "ml"
    LS = "ls"


class BFactors(StrEnum):
    """What to do with B factors."""

    GROUP = "group"
    HELD = "held"


class Radiation(StrEnum):
    """What the crystal was measured with."""

    XRAY = "xray"
    ELECTRON = "electron"
    NEUTRON = "neutron"


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

ModelNumber = Annotated[
    int | None, typer.Option("--model-number", metavar="N", help="Which model of a file that holds several.")
]

Amplitude = Annotated[
    str | None,
    typer.Option("--amplitude", metavar="LABEL", help="Column of the amplitudes.", rich_help_panel=_DATA),
]
Intensity = Annotated[
    str | None,
    typer.Option(
        "--intensity", metavar="LABEL", help="Column of the intensities, in place of amplitudes.", rich_help_panel=_DATA
    ),
]
Sigma = Annotated[
    str | None,
    typer.Option("--sigma", metavar="LABEL", help="Column of their sigmas.", rich_help_panel=_DATA),
]
Free = Annotated[
    str | None,
    typer.Option("--free", metavar="LABEL", help="Column of the free flags.", rich_help_panel=_DATA),
]
FreeValue = Annotated[
    int | None,
    typer.Option(
        "--free-value", metavar="N", help="Flag of the free set. Default: found from the data.", rich_help_panel=_DATA
    ),
]
Block = Annotated[
    str | None,
    typer.Option("--block", metavar="NAME", help="Data block of an mmCIF file of reflections.", rich_help_panel=_DATA),
]
DMin = Annotated[
    float | None,
    typer.Option("--d-min", metavar="Å", help="Leave out reflections of higher resolution.", rich_help_panel=_DATA),
]
DMax = Annotated[
    float | None,
    typer.Option("--d-max", metavar="Å", help="Leave out reflections of lower resolution.", rich_help_panel=_DATA),
]
RadiationChoice = Annotated[
    Radiation | None,
    typer.Option(
        "--radiation",
        help="What the crystal was measured with. Default: what the files say, else X-rays.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
Wavelength = Annotated[
    float | None,
    typer.Option(
        "--wavelength",
        metavar="Å",
        help="Of the X-rays, to add f' of every element. Default: without f'.",
        rich_help_panel=_DATA,
    ),
]
Outliers = Annotated[
    bool,
    typer.Option(
        "--outliers/--no-outliers",
        help="Leave out reflections that are too unlikely for the model, or keep them.",
        rich_help_panel=_DATA,
    ),
]
TargetChoice = Annotated[
    Target,
    typer.Option("--target", help="Maximum likelihood, or least squares for comparison.", rich_help_panel=_REFINEMENT),
]
BFactorsChoice = Annotated[
    BFactors,
    typer.Option(
        "--b-factors",
        help="Refine one shift of the B factors of each group, or hold them.",
        rich_help_panel=_REFINEMENT,
    ),
]
Starts = Annotated[
    int,
    typer.Option(
        "--starts", metavar="N", min=0, help="Random starts that check the answer.", rich_help_panel=_REFINEMENT
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", metavar="N", min=0, help="Seed of the random starts.", rich_help_panel=_REFINEMENT),
]
Memory = Annotated[
    float,
    typer.Option(
        "--memory",
        metavar="GB",
        min=0,
        help="Limit for the structure factors of the groups; beyond it they are computed in passes.",
        rich_help_panel=_REFINEMENT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FILE",
        help="Refined model, .pdb or .cif (also .gz). Default: MODEL_refined, as read.",
        rich_help_panel=_OUTPUT,
    ),
]
WriteShifts = Annotated[
    bool,
    typer.Option(
        "--write-shifts",
        help="Write the shifted B factors too; without it the refined model differs in its occupancies alone.",
        rich_help_panel=_OUTPUT,
    ),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write all results as JSON.", rich_help_panel=_OUTPUT),
]
Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the table of occupancies.", rich_help_panel=_OUTPUT),
]
Maps = Annotated[
    Path | None,
    typer.Option(
        "--maps",
        metavar="FILE.mtz",
        help="Write map coefficients: FWT, PHWT, DELFWT, PHDELWT, FOM.",
        rich_help_panel=_OUTPUT,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        help="Draw occupancies with error bars, convergence, R by resolution, correlations: .png, .svg or .pdf.",
        rich_help_panel=_OUTPUT,
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Write a report with the table and the pictures, one file for any browser.",
        rich_help_panel=_OUTPUT,
    ),
]
Omit = Annotated[
    list[str] | None,
    typer.Option(
        "--omit",
        metavar="NAME",
        show_default=False,
        help="Also a map without this group (A/54/ARG:A) or all its conformers (A/54/ARG), FILE_omit_NAME.mtz; "
        "may be repeated.",
        rich_help_panel=_OUTPUT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Print nothing unless something is wrong.", rich_help_panel=_OUTPUT),
]
