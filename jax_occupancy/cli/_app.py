"""The commands and what they take. What they do is imported when they run, so that --help answers at once."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.errors import MarkupError

from jax_occupancy._options import Options
from jax_occupancy.cli._options import Data, Groups, MapChoice, ModelNumber, ModelPath, with_options
from jax_occupancy.cli._outputs import Outputs, SeriesOutputs

# When the command began: the times that it reports include its imports.
BEGIN = time.perf_counter()
INTERRUPTED = 130

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)


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
    "`jax-occupancy refine model.cif half1.mrc half2.mrc --resolution 2.0` · "
    "`jax-occupancy refine --example`\n\n"
    "**Exit codes:** 0 converged · 1 bad input, a sentence says what · 2 wrong use · "
    "3 did not converge, or is no better than the start (what was found is written nevertheless) · 130 interrupted"
)
@with_options
def refine(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="Model, PDB or mmCIF (also .gz).", show_default=False)
    ] = None,
    reflections: Annotated[
        Path | None,
        typer.Argument(
            metavar="REFLECTIONS",
            help="Amplitudes or intensities, their sigmas and free flags: MTZ or mmCIF. Or a map of cryo-EM, or the "
            "first half map: CCP4/MRC (also .gz).",
            show_default=False,
        ),
    ] = None,
    half2: Annotated[
        Path | None, typer.Argument(metavar="HALF2", help="The second half map.", show_default=False)
    ] = None,
    *,
    example: Annotated[
        bool, typer.Option("--example", help="Run on a simulated crystal and show the true values beside the refined.")
    ] = False,
    map: Annotated[bool, typer.Option("--map", help="With --example: on simulated half maps.")] = False,
    outputs: Outputs,
    data: Data,
    maps: MapChoice,
    refinement: Options,
    model_number: ModelNumber = None,
    grouping: Groups,
) -> None:
    """Refine occupancies against diffraction data or a map of cryo-EM.

    Conformers with alternate-location letters, and residues or single atoms that are partly there, get one
    occupancy each; conformers of a residue sum to one exactly. The B factors and the position of each group are
    refined with its occupancy, for they were refined at another one; --b-factors held --positions held leaves them.
    Writes the model with nothing but the occupancies changed (with --write-shifts B factors and coordinates, too), and
    beside it the groups (_groups.toml).
    """
    if example and (model is not None or reflections is not None):
        raise typer.BadParameter("--example brings its own model and data; leave MODEL and REFLECTIONS out")
    if not example and (model is None or reflections is None):
        raise typer.BadParameter("give MODEL and REFLECTIONS, or --example to see it work on a simulated crystal")
    if map and not example:
        raise typer.BadParameter("--map goes with --example; maps of your own are told by their content")
    from jax_occupancy.cli._refine import run_example, run_refine

    if model is None or reflections is None:
        run_example(outputs, refinement, with_map=map, begin=BEGIN)
    else:
        choice: dict = {"columns": data, "maps": maps, "half2": half2, "model_number": model_number}
        run_refine(model, reflections, outputs, refinement, grouping, **choice, begin=BEGIN)


@app.command(
    name="groups",
    epilog="**Examples:** `jax-occupancy groups model.pdb` · `jax-occupancy groups model.cif.gz --json` · "
    "`jax-occupancy groups model.pdb --state ground=A --state bound=B --write groups.toml`",
)
@with_options
def show_groups(
    model: ModelPath,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write them: .toml, Refmac keywords (.refmac), servalcat (.yaml) or phenix (.eff).",
        ),
    ] = None,
    model_number: ModelNumber = None,
    grouping: Groups,
) -> None:
    """Show which atoms would share an occupancy, what sums to one, and why."""
    from jax_occupancy.cli._groups import run_groups

    run_groups(model, grouping, as_json=json, write=write, model_number=model_number)


@app.command(
    epilog="**Examples:** `jax-occupancy series model.pdb t0.mtz t1.mtz t2.mtz --csv table.csv --report series.html` · "
    "`jax-occupancy series model.pdb 0.mtz 5.mtz 20.mtz --name 0 --name 5 --name 20 -o refined`\n\n"
    "**Exit codes:** 0 all converged · 1 not one usable, a sentence says what · 2 wrong use · "
    "3 some failed, did not converge or are no better than the start (all that was found is written)"
)
@with_options
def series(
    model: ModelPath,
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...", help="Data sets in one crystal form, MTZ or mmCIF; or maps.", show_default=False
        ),
    ],
    *,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Name of a data set, once for each in order; numbers are drawn to scale. Default: the file names.",
        ),
    ] = None,
    outputs: SeriesOutputs,
    columns: Data,
    maps: MapChoice,
    refinement: Options,
    model_number: ModelNumber = None,
    grouping: Groups,
) -> None:
    """Refine the occupancies of one model against many data sets.

    Two half maps are one data set, HALF1,HALF2 with a comma. Groups are chosen once, structure factors are computed
    once for all data sets in the same cell. A data set that can't be used is reported and the others go on.
    """
    if name and not len(name) == len(set(name)) == len(data):
        raise typer.BadParameter(
            f"wanted a name of its own for each of the {len(data)} data sets, got {', '.join(name)}",
            param_hint="--name",
        )
    from jax_occupancy.cli._series import run_series

    settings: dict = {"columns": columns, "maps": maps, "names": name, "model_number": model_number}
    run_series(model, data, outputs, refinement, grouping, **settings, begin=BEGIN)


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
    except MemoryError:
        what = "take fewer data (--d-min; of a map --resolution, --mask), or a machine with more"
        typer.echo(f"error: not enough memory; {what}", err=True)
        raise SystemExit(1) from None
