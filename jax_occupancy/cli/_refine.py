"""`jax-occupancy refine`: run it, say what happened and write the files."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jax_occupancy import refinement
from jax_occupancy._options import Options
from jax_occupancy.cli._console import say, say_note
from jax_occupancy.cli._groups import choose_groups_of, states_of
from jax_occupancy.cli._maps import chosen_groups, write_difference_maps, write_maps
from jax_occupancy.cli._options import Data, Groups, MapChoice
from jax_occupancy.cli._outputs import Outputs, default_output, groups_output
from jax_occupancy.cli._report import print_input, print_solution
from jax_occupancy.cli._session import (
    NOT_CONVERGED,
    STAGES,
    Stopwatch,
    note_on_dispersion,
    read_data,
    settled_beam,
    start,
    warnings_as_notes,
    write_text,
)
from jax_occupancy.example import Example, write_example, write_map_example
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Maps, Model, Reflections, is_map, read_maps, read_model, read_reflections, write_groups
from jax_occupancy.refinement import Solution

# Of the simulated half maps, in Å.
RESOLUTION = 2.0


def run_refine(
    model_path: Path,
    reflections_path: Path,
    outputs: Outputs,
    options: Options,
    groups: Groups,
    *,
    columns: Data,
    maps: MapChoice,
    half2: Path | None,
    model_number: int | None,
    begin: float,
) -> None:
    """Refine a model against its data, print the result and write the files, also if it did not converge."""
    out = outputs.out or default_output(model_path)
    outputs, beside = dataclasses.replace(outputs, out=out), groups_output(out)
    outputs.check([model_path, reflections_path, half2, maps.mask, groups.groups], groups=beside)
    outputs.check_maps(of_map=is_map(reflections_path))
    states = states_of(groups)
    console, watch = start(options, quiet=outputs.quiet, begin=begin)
    model = read_model(model_path, model_number=model_number)
    watch.lap("read")
    with warnings_as_notes(console):
        grouping = choose_groups_of(model, groups, states)
        _check_groups(model, grouping, outputs.omit or ())
        watch.lap("groups")
        reflections = read_data(reflections_path, columns, model, maps, half2)
        print_input(console, model, reflections)
        options = settled_beam(console, model, reflections, options)
        stated = None if isinstance(reflections, Maps) else reflections.wavelength
        note_on_dispersion(console, model, grouping, options, stated=stated)
        watch.lap("read")
    solution = _refine(console, watch, model, reflections, grouping, options)
    print_solution(console, solution)
    _write(console, solution, model, reflections, outputs, options, beside)
    _end(console, watch, solution, outputs)


def run_example(outputs: Outputs, options: Options, *, with_map: bool, begin: float) -> None:
    """Refine the simulated crystal, or particle, and show what is true."""
    outputs.check([])
    outputs.check_maps(of_map=with_map)
    console, watch = start(options, quiet=outputs.quiet, begin=begin)
    with tempfile.TemporaryDirectory() as folder:
        example = write_map_example(folder) if with_map else write_example(folder)
        watch.lap("simulate")
        model = read_model(example.model)
        if isinstance(example, Example):
            reflections, what = read_reflections(example.reflections), "crystal"
        else:
            reflections, what = read_maps(example.half1, example.half2, resolution=RESOLUTION), "particle in half maps"
        say(console, f"A simulated {what}: a helix, a ligand in two poses, waters; the truth is known.")
        print_input(console, model, reflections)
        options = settled_beam(console, model, reflections, options)
        watch.lap("read")
        solution = _refine(console, watch, model, reflections, None, options)
        print_solution(console, solution, truth=example.truth)
        _write(console, solution, model, reflections, outputs, options)
    _end(console, watch, solution, outputs)


def _check_groups(model: Model, grouping: Grouping, omit: Sequence[str]) -> None:
    """Say at once what would be found out at the end of the work."""
    if not any(s.refinable for s in grouping.sets):
        found = "all of them are fixed" if grouping.groups else "there are none"
        raise ValueError(
            f"{model.path}: no occupancy to refine. Atoms with an alternate-location letter, atoms with an occupancy "
            f"between 0 and 1, and groups of your own (--groups) are refined; {found}"
        )
    for name in omit:
        chosen_groups(grouping, name)


def _refine(
    console: Console,
    watch: Stopwatch,
    model: Model,
    reflections: Reflections | Maps,
    grouping: Grouping | None,
    options: Options,
) -> Solution:
    with warnings_as_notes(console), _progress(console) as show:
        solution = refinement.refine(model, reflections, groups=grouping, **vars(options), throw=False, progress=show)
    watch.lap("finish", parts=solution.seconds)
    if solution.result == "nothing_to_refine":
        raise ValueError(f"{model.path}: no occupancy can move: those that are fixed leave nothing to share out")
    return solution


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """Show the stage and how long it has taken so far; only on a terminal, and gone afterwards."""
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("")
        yield lambda stage: progress.update(task, description=STAGES[stage])


def _write(
    console: Console,
    solution: Solution,
    model: Model,
    data: Reflections | Maps,
    outputs: Outputs,
    options: Options,
    beside: Path | None = None,
) -> None:
    """Write every file that was asked for but the account of it all; `beside` is that of the groups."""
    if outputs.out is not None:
        solution.write(model, outputs.out, shifts=outputs.write_shifts)
        header = "R values in its header, if any, are those of the model before"
        say(console, f"Wrote {outputs.out}; {header}.")
    if beside is not None:
        _write_groups(console, beside, solution, model)
    if outputs.csv is not None:
        write_text(outputs.csv, solution.table.to_csv(index=False, lineterminator="\n"))
        say(console, f"Wrote {outputs.csv}: the table.")
    if isinstance(data, Maps):
        maps = write_difference_maps(solution, model, data, outputs)
        what = "map minus model around the groups, on the grid of the map"
    else:
        maps, what = write_maps(solution, model, outputs, options), "maps, for Coot (File, Auto open MTZ)"
    if maps:
        say(console, f"Wrote {', '.join(map(str, maps))}: {what}.")
    if outputs.plot is not None or outputs.report is not None:
        # matplotlib takes a second to load.
        from jax_occupancy.plotting import write_plot, write_report

        if outputs.plot is not None:
            write_plot(outputs.plot, solution)
            say(console, f"Wrote {outputs.plot}: the pictures.")
        if outputs.report is not None:
            write_report(outputs.report, solution, model)
            say(console, f"Wrote {outputs.report}: the report, for a browser.")


def _write_groups(console: Console, path: Path, solution: Solution, model: Model) -> None:
    """Write the groups; labels that do not tell atoms apart cost the file of groups, not the refined model."""
    try:
        write_groups(path, solution.grouping, model.atoms)
    except ValueError as error:
        say_note(console, f"the groups were not written: {error}")
    else:
        say(console, f"Wrote {path}: the groups, for --groups.")


def _end(console: Console, watch: Stopwatch, solution: Solution, outputs: Outputs) -> None:
    watch.lap("write")
    if outputs.json is not None:
        seconds = watch.seconds | {"total": watch.total}
        write_text(outputs.json, json.dumps(solution.to_dict() | {"seconds": seconds}, indent=1) + "\n")
        say(console, f"Wrote {outputs.json}.")
    say(console, watch.report(), indent=9)
    if solution.result != "converged":
        typer.echo(f"not converged: {solution.message}", err=True)
        raise typer.Exit(NOT_CONVERGED)
