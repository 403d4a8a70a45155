"""The commands and what they take. What they do is imported when they run, so that --help answers at once."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.errors import MarkupError

from jax_occupancy.cli._options import (
    ContactDistance,
    ForceLinks,
    GroupsFile,
    Hydrogens,
    HydrogensChoice,
    Link,
    States,
    Target,
    Waters,
    WatersChoice,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Refine the occupancies of a crystal structure: groups, exact conformer sums, diffraction data.",
)

ModelNumber = Annotated[
    int | None, typer.Option("--model-number", metavar="N", help="Which model of a file that holds several.")
]


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
    epilog="**Examples:** `jax-occupancy refine model.pdb data.mtz -o refined.cif` · `jax-occupancy refine --example`"
)
def refine(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="Model, PDB or mmCIF (also .gz).", show_default=False)] = None,
    reflections: Annotated[
        Path | None, typer.Argument(help="Amplitudes, their sigmas and free flags: MTZ.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Refined model, .pdb or .cif (also .gz). Default: MODEL_refined, as read."),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Run on a simulated crystal and show the true values beside the refined.")
    ] = False,
    amplitude: Annotated[
        str | None, typer.Option("--amplitude", metavar="LABEL", help="MTZ column of the amplitudes.")
    ] = None,
    sigma: Annotated[str | None, typer.Option("--sigma", metavar="LABEL", help="MTZ column of their sigmas.")] = None,
    free: Annotated[str | None, typer.Option("--free", metavar="LABEL", help="MTZ column of the free flags.")] = None,
    free_value: Annotated[
        int | None,
        typer.Option("--free-value", metavar="N", help="Flag of the free set. Default: found from the data."),
    ] = None,
    target: Annotated[
        Target, typer.Option("--target", help="Maximum likelihood, or least squares for comparison.")
    ] = Target.ML,
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

    Conformers with alternate-location letters, and residues or single atoms that are partly there, get one occupancy
    each; conformers of a residue sum to one exactly. Coordinates and B factors stay as they are. Writes the model with
    nothing but the occupancies changed, and beside it the groups (_groups.toml).
    """
    begin = time.perf_counter() if context.obj is None else context.obj
    from jax_occupancy.cli._refine import run_example, run_refine

    columns = {"amplitude": amplitude, "sigma": sigma, "free": free, "free_value": free_value}
    if example:
        if model is not None or reflections is not None:
            raise typer.BadParameter("--example brings its own model and data; leave MODEL and REFLECTIONS out")
        run_example(out, begin=begin)
    elif model is None or reflections is None:
        raise typer.BadParameter("give MODEL and REFLECTIONS, or --example to see it work on a simulated crystal")
    else:
        options = {"link": link, "force_links": force_links, "waters": waters, "hydrogens": hydrogens}
        options |= {"groups": groups, "states": state, "contact_distance": contact_distance}
        run_refine(
            model,
            reflections,
            out,
            columns=columns,
            model_number=model_number,
            options=options,
            target=target.value,
            begin=begin,
        )


@app.command(
    name="groups",
    epilog="**Examples:** `jax-occupancy groups model.pdb` · `jax-occupancy groups model.cif.gz --json` · "
    "`jax-occupancy groups model.pdb --state ground=A --state bound=B --write groups.toml`",
)
def show_groups(
    model: Annotated[Path, typer.Argument(help="Model, PDB or mmCIF (also .gz).", show_default=False)],
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

    options = {"link": link, "force_links": force_links, "waters": waters, "hydrogens": hydrogens}
    options |= {"groups": groups, "states": state, "contact_distance": contact_distance}
    run_groups(model, as_json=json, write=write, model_number=model_number, options=options)


def main() -> None:
    """Run the command line; an error of the user's files is a sentence and exit code 1, not a traceback."""
    begin = time.perf_counter()
    try:
        # The commands find it as the object of their context, so that the times they report include the imports.
        app(obj=begin)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was written", err=True)
        raise SystemExit(130) from None
    except (ValueError, TypeError, OSError, MarkupError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
