"""`jax-occupancy refine`: run it, say what happened and write the files."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jax_occupancy.cli._console import make_console, say, say_note
from jax_occupancy.cli._groups import choose_groups_of
from jax_occupancy.cli._maps import chosen_groups, write_maps
from jax_occupancy.cli._outputs import Outputs
from jax_occupancy.cli._report import print_input, print_solution
from jax_occupancy.cli._session import (
    NOT_CONVERGED,
    check_beam,
    crystal_of,
    note_on_dispersion,
    set_up_jax,
    settled_beam,
    warnings_as_notes,
    write_text,
)
from jax_occupancy.cli._stopwatch import STAGES, Stopwatch
from jax_occupancy.example import write_example
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections, read_model, read_reflections, write_groups
from jax_occupancy.refinement import Solution
from jax_occupancy.refinement import refine as refine_occupancies


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        outputs: the files to write.
        columns: keyword arguments of `read_reflections`.
        grouping: options about groups.
        refinement: keyword arguments of `refine`.
        model_number: which model of the file.
        quiet: print nothing unless something is wrong.
    """

    outputs: Outputs
    columns: Mapping[str, Any] = field(default_factory=dict)
    grouping: Mapping[str, Any] = field(default_factory=dict)
    refinement: Mapping[str, Any] = field(default_factory=dict)
    model_number: int | None = None
    quiet: bool = False


def run_refine(model_path: Path, reflections_path: Path, request: Request, *, begin: float) -> None:
    """Refine a model against its data, print the result and write the files.

    Raises:
        typer.Exit: with code 3 if the refinement did not converge; what it found is written nevertheless.
    """
    own_groups = request.grouping["groups"]
    inputs = [model_path, reflections_path, *([] if own_groups is None else [own_groups])]
    request.outputs.check(inputs)
    check_beam(request.refinement)
    set_up_jax()
    console, watch = make_console(quiet=request.quiet), Stopwatch(begin)
    watch.lap("start")
    model = read_model(model_path, model_number=request.model_number)
    watch.lap("read")
    with warnings_as_notes(console):
        grouping = choose_groups_of(model, request.grouping)
        _check_groups(model, grouping, request.outputs.omit)
        watch.lap("groups")
        reflections = read_reflections(reflections_path, **request.columns, **crystal_of(model))
        print_input(console, model, reflections)
        request = replace(request, refinement=settled_beam(console, model, reflections, request.refinement))
        note_on_dispersion(console, model, grouping, request.refinement, stated=reflections.wavelength)
        watch.lap("read")
    solution = _refine(console, watch, model, reflections, grouping, request)
    print_solution(console, solution)
    _write(console, watch, solution, model, request)
    _end(console, watch, solution)


def run_example(request: Request, *, begin: float) -> None:
    """Refine the simulated crystal and show what is true."""
    request.outputs.check([])
    set_up_jax()
    console, watch = make_console(quiet=request.quiet), Stopwatch(begin)
    watch.lap("start")
    with tempfile.TemporaryDirectory() as folder:
        example = write_example(folder)
        watch.lap("simulate")
        model, reflections = read_model(example.model), read_reflections(example.reflections)
        say(console, "A simulated crystal: a helix, a ligand in two poses, waters; the truth is known.")
        print_input(console, model, reflections)
        request = replace(request, refinement=settled_beam(console, model, reflections, request.refinement))
        watch.lap("read")
        solution = _refine(console, watch, model, reflections, None, request)
        print_solution(console, solution, truth=example.truth)
        _write(console, watch, solution, model, request)
    _end(console, watch, solution)


def _check_groups(model: Model, grouping: Grouping, omit: tuple[str, ...]) -> None:
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
    reflections: Reflections,
    grouping: Grouping | None,
    request: Request,
) -> Solution:
    with warnings_as_notes(console), _progress(console) as show:
        solution = refine_occupancies(
            model, reflections, groups=grouping, **request.refinement, throw=False, progress=show
        )
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


def _write(console: Console, watch: Stopwatch, solution: Solution, model: Model, request: Request) -> None:
    """Write every file that was asked for, the account of it all last."""
    outputs = request.outputs
    if outputs.model is not None:
        solution.write(model, outputs.model, shifts=outputs.write_shifts)
        header = "R values in its header, if any, are those of the model before"
        say(console, f"Wrote {outputs.model}; {header}.")
    if outputs.groups is not None:
        _write_groups(console, outputs.groups, solution, model)
    if outputs.csv is not None:
        write_text(outputs.csv, solution.table.to_csv(index=False, lineterminator="\n"))
        say(console, f"Wrote {outputs.csv}: the table.")
    if outputs.maps is not None:
        beam = {key: request.refinement[key] for key in ("radiation", "wavelength", "memory")}
        write_maps(solution, model, outputs, beam=beam)
        files = ", ".join(str(path) for path in (outputs.maps, *map(outputs.omit_map, outputs.omit)))
        say(console, f"Wrote {files}: maps, for Coot (File, Auto open MTZ).")
    _write_pictures(console, solution, model, outputs)
    watch.lap("write")
    if outputs.json is not None:
        seconds = watch.seconds | {"total": watch.total}
        write_text(outputs.json, json.dumps(solution.to_dict() | {"seconds": seconds}, indent=1) + "\n")
        say(console, f"Wrote {outputs.json}.")


def _write_pictures(console: Console, solution: Solution, model: Model, outputs: Outputs) -> None:
    """Draw the result; matplotlib, which takes a second to load, only if it is wanted."""
    if outputs.plot is None and outputs.report is None:
        return
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


def _end(console: Console, watch: Stopwatch, solution: Solution) -> None:
    say(console, watch.report(), indent=9)
    if solution.result != "converged":
        typer.echo(f"not converged: {solution.message}", err=True)
        raise typer.Exit(NOT_CONVERGED)
