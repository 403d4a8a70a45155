"""The commands and what they take. What they do is imported when they run, so that --help answers at once."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.errors import MarkupError

from jax_occupancy.cli._options import (
    Amplitude,
    BFactors,
    BFactorsChoice,
    Block,
    ContactDistance,
    Csv,
    DMax,
    DMin,
    ForceLinks,
    Free,
    FreeValue,
    GroupsFile,
    Hydrogens,
    HydrogensChoice,
    Intensity,
    Json,
    Link,
    Maps,
    Memory,
    ModelNumber,
    Omit,
    Out,
    Outliers,
    Plot,
    Quiet,
    RadiationChoice,
    Report,
    Seed,
    Sigma,
    Starts,
    States,
    Target,
    TargetChoice,
    Waters,
    WatersChoice,
    Wavelength,
    WriteShifts,
)

# When the command began: the times that it reports include its imports.
BEGIN = time.perf_counter()
INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Refine the occupancies of a crystal structure: groups, exact conformer sums, diffraction data.",
)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Refine the occupancies of a crystal structure: groups, exact conformer sums, diffraction data."""
    if version:
        from jax_occupancy import __version__

        typer.echo(f"jax-occupancy {__version__}")
        raise typer.Exit


@app.command(
    epilog="**Examples:** `jax-occupancy refine model.pdb data.mtz -o refined.cif --maps maps.mtz` · "
    "`jax-occupancy refine --example`\n\n"
    "**Exit codes:** 0 converged · 1 bad input, a sentence says what · 2 wrong use · "
    "3 did not converge (what was found is written nevertheless) · 130 interrupted"
)
def refine(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="Model, PDB or mmCIF (also .gz).", show_default=False)
    ] = None,
    reflections: Annotated[
        Path | None,
        typer.Argument(
            metavar="REFLECTIONS",
            help="Amplitudes or intensities, their sigmas and free flags: MTZ or mmCIF.",
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Run on a simulated crystal and show the true values beside the refined.")
    ] = False,
    out: Out = None,
    write_shifts: WriteShifts = False,
    json: Json = None,
    csv: Csv = None,
    maps: Maps = None,
    plot: Plot = None,
    report: Report = None,
    omit: Omit = None,
    quiet: Quiet = False,
    amplitude: Amplitude = None,
    intensity: Intensity = None,
    sigma: Sigma = None,
    free: Free = None,
    free_value: FreeValue = None,
    block: Block = None,
    d_min: DMin = None,
    d_max: DMax = None,
    radiation: RadiationChoice = None,
    wavelength: Wavelength = None,
    outliers: Outliers = True,
    target: TargetChoice = Target.ML,
    b_factors: BFactorsChoice = BFactors.GROUP,
    starts: Starts = 8,
    seed: Seed = 0,
    memory: Memory = 4.0,
    model_number: ModelNumber = None,
    groups: GroupsFile = None,
    state: States = None,
    link: Link = True,
    force_links: ForceLinks = False,
    waters: WatersChoice = Waters.RESIDUE,
    hydrogens: HydrogensChoice = Hydrogens.CARRIER,
    contact_distance: ContactDistance = None,
) -> None:
    """Refine occupancies against diffraction data.

    Conformers with alternate-location letters, and residues or single atoms that are partly there, get one
    occupancy each; conformers of a residue sum to one exactly. Coordinates stay as they are; the B factors of each
    group get one shift with its occupancy, which --write-shifts also writes (--b-factors held: none). Writes the
    model with nothing else changed, and beside it the groups (_groups.toml).
    """
    if omit and maps is None:
        raise typer.BadParameter("--omit adds a map; name the file of the maps, such as --maps maps.mtz")
    if example and (model is not None or reflections is not None):
        raise typer.BadParameter("--example brings its own model and data; leave MODEL and REFLECTIONS out")
    if not example and (model is None or reflections is None):
        raise typer.BadParameter("give MODEL and REFLECTIONS, or --example to see it work on a simulated crystal")
    from jax_occupancy.cli._outputs import Outputs, default_output, groups_output
    from jax_occupancy.cli._refine import Request, run_example, run_refine

    out = default_output(model) if out is None and model is not None else out
    beside = None if example or out is None else groups_output(out)
    request = Request(
        outputs=Outputs(
            model=out,
            groups=beside,
            json=json,
            csv=csv,
            maps=maps,
            plot=plot,
            report=report,
            omit=tuple(omit or ()),
            write_shifts=write_shifts,
        ),
        columns={
            "amplitude": amplitude,
            "intensity": intensity,
            "sigma": sigma,
            "free": free,
            "free_value": free_value,
            "block": block,
            "d_min": d_min,
            "d_max": d_max,
        },
        grouping=_grouping_options(groups, state, link, force_links, waters, hydrogens, contact_distance),
        refinement={
            "target": target.value,
            "b_factors": b_factors.value,
            "starts": starts,
            "seed": seed,
            "outliers": outliers,
            "radiation": radiation and radiation.value,
            "wavelength": wavelength,
            "memory": memory,
        },
        model_number=model_number,
        quiet=quiet,
    )
    if model is None or reflections is None:
        run_example(request, begin=BEGIN)
    else:
        run_refine(model, reflections, request, begin=BEGIN)


@app.command(
    name="groups",
    epilog="**Examples:** `jax-occupancy groups model.pdb` · `jax-occupancy groups model.cif.gz --json` · "
    "`jax-occupancy groups model.pdb --state ground=A --state bound=B --write groups.toml`",
)
def show_groups(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model, PDB or mmCIF (also .gz).", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="Also write them: .toml, Refmac keywords (.refmac) or phenix (.eff)."
        ),
    ] = None,
    model_number: ModelNumber = None,
    groups: GroupsFile = None,
    state: States = None,
    link: Link = True,
    force_links: ForceLinks = False,
    waters: WatersChoice = Waters.RESIDUE,
    hydrogens: HydrogensChoice = Hydrogens.CARRIER,
    contact_distance: ContactDistance = None,
) -> None:
    """Show which atoms would share an occupancy, what sums to one, and why."""
    from jax_occupancy.cli._groups import run_groups

    options = _grouping_options(groups, state, link, force_links, waters, hydrogens, contact_distance)
    run_groups(model, as_json=json, write=write, model_number=model_number, options=options)


@app.command(
    epilog="**Examples:** `jax-occupancy series model.pdb t0.mtz t1.mtz t2.mtz --csv table.csv --plot series.png` · "
    "`jax-occupancy series model.pdb 0.mtz 5.mtz 20.mtz --name 0 --name 5 --name 20 -o refined`\n\n"
    "**Exit codes:** 0 all converged · 1 not one usable, a sentence says what · 2 wrong use · "
    "3 some failed or did not converge (the others are written)"
)
def series(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model, PDB or mmCIF (also .gz).", show_default=False)],
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Data sets in one crystal form: MTZ or mmCIF.", show_default=False),
    ],
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            show_default=False,
            help="Of each data set in turn, once for each; numbers are drawn to scale. Default: those of the files.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="Write a refined model for each data set into this folder."),
    ] = None,
    json: Json = None,
    csv: Csv = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw occupancies against data sets: .png, .svg or .pdf."),
    ] = None,
    quiet: Quiet = False,
    amplitude: Amplitude = None,
    intensity: Intensity = None,
    sigma: Sigma = None,
    free: Free = None,
    free_value: FreeValue = None,
    block: Block = None,
    d_min: DMin = None,
    d_max: DMax = None,
    radiation: RadiationChoice = None,
    wavelength: Wavelength = None,
    outliers: Outliers = True,
    target: TargetChoice = Target.ML,
    b_factors: BFactorsChoice = BFactors.GROUP,
    starts: Starts = 8,
    seed: Seed = 0,
    memory: Memory = 4.0,
    model_number: ModelNumber = None,
    groups: GroupsFile = None,
    state: States = None,
    link: Link = True,
    force_links: ForceLinks = False,
    waters: WatersChoice = Waters.RESIDUE,
    hydrogens: HydrogensChoice = Hydrogens.CARRIER,
    contact_distance: ContactDistance = None,
) -> None:
    """Refine the occupancies of one model against many data sets.

    Groups are chosen once, structure factors are computed once for all data sets in the same cell. A data set that
    can't be used is reported and the others go on.
    """
    from jax_occupancy.cli._series import SeriesOutputs, run_series

    run_series(
        model,
        data,
        names=name,
        outputs=SeriesOutputs(folder=out, json=json, csv=csv, plot=plot),
        columns={
            "amplitude": amplitude,
            "intensity": intensity,
            "sigma": sigma,
            "free": free,
            "free_value": free_value,
            "block": block,
            "d_min": d_min,
            "d_max": d_max,
        },
        grouping=_grouping_options(groups, state, link, force_links, waters, hydrogens, contact_distance),
        refinement={
            "target": target.value,
            "b_factors": b_factors.value,
            "starts": starts,
            "seed": seed,
            "outliers": outliers,
            "radiation": radiation and radiation.value,
            "wavelength": wavelength,
            "memory": memory,
        },
        model_number=model_number,
        quiet=quiet,
        begin=BEGIN,
    )


def _grouping_options(groups, states, link, force_links, waters, hydrogens, contact_distance) -> dict[str, Any]:
    """The options about groups under the names that `group_model` has for them."""
    if force_links and not link:
        raise typer.BadParameter("--no-link and --force-links exclude each other; choose one")
    return {
        "groups": groups,
        "states": states,
        "link": link,
        "force_links": force_links,
        "waters": waters,
        "hydrogens": hydrogens,
        "contact_distance": contact_distance,
    }


def main() -> None:
    """Run the command line; an error of the user's files is a sentence and exit code 1, not a traceback."""
    try:
        app()
    except SystemExit as end:
        # Ctrl-C, of which typer says nothing
        if end.code == INTERRUPTED:
            typer.echo("interrupted; no file is half written", err=True)
        raise
    except (ValueError, TypeError, OSError, MarkupError) as error:
        from jax_occupancy.cli._console import as_options

        typer.echo(f"error: {as_options(str(error))}", err=True)
        raise SystemExit(1) from None
