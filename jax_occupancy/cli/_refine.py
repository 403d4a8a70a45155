"""`jax-occupancy refine`: run it, say what happened and write the files."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jax_occupancy import io, refinement
from jax_occupancy._options import Options
from jax_occupancy.cli import _session as session
from jax_occupancy.cli._console import Console, say, say_note, say_written
from jax_occupancy.cli._groups import choose_groups_of, states_of
from jax_occupancy.cli._maps import chosen_groups, write_difference_maps, write_maps
from jax_occupancy.cli._options import Data, Groups, MapChoice
from jax_occupancy.cli._outputs import Outputs, default_output, groups_output
from jax_occupancy.cli._report import print_input, print_solution
from jax_occupancy.cli._viewers import chimerax_script, coot_script
from jax_occupancy.example import Example, write_example, write_map_example
from jax_occupancy.groups import Grouping
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
    outputs = outputs.with_names(model_path, of_map=io.is_map(reflections_path))
    out = outputs.out or default_output(model_path)
    outputs, beside = dataclasses.replace(outputs, out=out), groups_output(out)
    outputs.check([model_path, reflections_path, half2, maps.mask, groups.groups], groups=beside)
    outputs.check_maps(of_map=io.is_map(reflections_path))
    states = states_of(groups)
    console, watch = session.start(options, quiet=outputs.quiet, begin=begin)
    files = {"model": model_path, "data": reflections_path, "half2": half2}
    console.about["files"] = {what: str(path) for what, path in files.items() if path is not None}
    model = io.read_model(model_path, model_number=model_number)
    with session.warnings_as_notes(console):
        reflections = session.read_data(reflections_path, columns, model, maps, half2)
        model = model if isinstance(reflections, io.Maps) else io.placed_in(model, reflections)
        watch.lap("read")
        grouping = choose_groups_of(model, groups, states)
        _check_groups(model, grouping, outputs.omit or ())
        if outputs.write is not None:  # said now what could not be written in the end
            io.text_of_groups(outputs.write, grouping, model.atoms)
        watch.lap("groups")
        print_input(console, model, reflections)
        options = session.settled_beam(console, model, reflections, options)
        stated = None if isinstance(reflections, io.Maps) else reflections.wavelength
        session.note_on_dispersion(console, model, grouping, options, stated=stated)
        watch.lap("read")
    solution = _refine(console, watch, model, reflections, grouping, options)
    print_solution(console, solution, brief=outputs.brief)
    changes = _changes(console, solution, model, outputs)
    _write(console, solution, model, reflections, outputs, options, beside, changes)
    chosen = vars(options) | vars(columns) | vars(maps) | vars(groups) | {"model_number": model_number}
    _end(console, watch, solution, outputs, chosen)


def run_example(outputs: Outputs, options: Options, *, with_map: bool, begin: float) -> None:
    """Refine the simulated crystal, or particle, and show what is true."""
    outputs = outputs.with_names(Path("example.pdb"), of_map=with_map)
    beside = None if outputs.prefix is None or outputs.out is None else groups_output(outputs.out)
    outputs.check([], groups=beside)
    outputs.check_maps(of_map=with_map)
    console, watch = session.start(options, quiet=outputs.quiet, begin=begin)
    with tempfile.TemporaryDirectory() as folder:
        example = write_map_example(folder) if with_map else write_example(folder)
        watch.lap("simulate")
        model = io.read_model(example.model)
        if isinstance(example, Example):
            reflections, what = io.read_reflections(example.reflections), "crystal"
        else:
            reflections = io.read_maps(example.half1, example.half2, resolution=RESOLUTION)
            what = "particle in half maps"
        say(console, f"A simulated {what}: a helix, a ligand in two poses, waters; the truth is known.")
        print_input(console, model, reflections)
        options = session.settled_beam(console, model, reflections, options)
        watch.lap("read")
        solution = _refine(console, watch, model, reflections, None, options)
        print_solution(console, solution, brief=outputs.brief, truth=example.truth)
        changes = _changes(console, solution, model, outputs)
        _write(console, solution, model, reflections, outputs, options, beside, changes)
    _end(console, watch, solution, outputs, vars(options))


def _check_groups(model: io.Model, grouping: Grouping, omit: Sequence[str]) -> None:
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
    watch: session.Stopwatch,
    model: io.Model,
    reflections: io.Reflections | io.Maps,
    grouping: Grouping | None,
    options: Options,
) -> Solution:
    with session.warnings_as_notes(console), _progress(console) as show:
        solution = refinement.refine(model, reflections, groups=grouping, **vars(options), throw=False, progress=show)
    watch.lap("finish", parts=solution.seconds)
    if solution.result == "nothing_to_refine":
        raise ValueError(f"{model.path}: no occupancy can move: those that are fixed leave nothing to share out")
    return solution


def _changes(console: Console, solution: Solution, model: io.Model, outputs: Outputs) -> dict[str, Any]:
    """What `Solution.write` is to leave out and to fill up, which is said; empty unless it was asked for."""
    changes = {}
    if outputs.prune:
        changes["without"] = console.about["pruned"] = solution.unsupported(model)
        names = ", ".join(changes["without"])
        said = f"left out of the refined model, for the data do not support them: {names}. Conformers that stay take "
        said += "over their shares; refine again, with the groups beside the model"
        say_note(console, f"--prune: {said if names else 'no group that the data do not support can be left out'}")
    if outputs.full_waters:
        changes["full"] = console.about["full_waters"] = solution.full_waters(model)
        names = ", ".join(changes["full"]) or "none"
        say_note(console, f"--full-waters: written with 1.00, for the data do not tell them from full: {names}")
    return changes


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """Show the stage and how long it has taken so far; only on a terminal, and gone afterwards."""
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("")
        yield lambda stage: progress.update(task, description=session.STAGES[stage])


def _write(
    console: Console,
    solution: Solution,
    model: io.Model,
    data: io.Reflections | io.Maps,
    outputs: Outputs,
    options: Options,
    beside: Path | None,
    changes: dict[str, tuple[str, ...]],
) -> None:
    """Write every file that was asked for but the account of it all; `beside` is that of the groups."""
    if outputs.out is not None:
        solution.write(model, outputs.out, shifts=outputs.write_shifts, **changes)
        say_written(console, "; R values in its header, if any, are those of the model that was read.", outputs.out)
    for groups in (beside, outputs.write):
        if groups is not None:
            _write_groups(console, groups, solution.grouping, model, **changes)
    if outputs.csv is not None:
        session.write_text(outputs.csv, solution.table.to_csv(index=False, lineterminator="\n"))
        say_written(console, ": the table.", outputs.csv)
    if isinstance(data, io.Maps):
        maps = write_difference_maps(solution, model, data, outputs)
        what = ": map minus model around the groups, on the grid of the map."
        # those of the example are gone when it ends
        seen = dict.fromkeys(maps[:1], True) | dict.fromkeys(data.paths[:1] if "files" in console.about else (), False)
    else:
        maps, what = write_maps(solution, model, outputs, options), ": maps, for Coot (File, Auto open MTZ)."
        seen = dict.fromkeys(maps[:1], False)
    if maps:
        say_written(console, what, *maps)
    if outputs.out is not None:
        names: dict = {"refined": outputs.out, "maps": seen}
        if outputs.coot is not None:
            session.write_text(outputs.coot, coot_script(outputs.coot, solution, model, **names))
            say_written(console, ": for Coot (Calculate, Run Script).", outputs.coot)
        if outputs.chimerax is not None:
            session.write_text(outputs.chimerax, chimerax_script(outputs.chimerax, **names))
            say_written(console, ": for ChimeraX.", outputs.chimerax)
    if outputs.plot is not None or outputs.report is not None:
        # matplotlib takes a second to load.
        from jax_occupancy.plotting import write_plot, write_report

        if outputs.plot is not None:
            say_written(console, ": the pictures.", *write_plot(outputs.plot, solution))
        if outputs.report is not None:
            write_report(outputs.report, solution, model, notes=console.notes, about=console.about)
            say_written(console, ": the report, for a browser.", outputs.report)


def _write_groups(
    console: Console,
    path: Path,
    grouping: Grouping,
    model: io.Model,
    *,
    without: tuple[str, ...] = (),
    full: tuple[str, ...] = (),
) -> None:
    """Write the groups of the refined model.

    Labels that do not tell atoms apart cost the file of groups, not the refined model.
    """
    gone = refinement.atoms_of_groups(grouping, without, model.atoms)
    left = grouping.without(gone)
    left = dataclasses.replace(left, sets=tuple(s for s in left.sets if s.groups[0].name not in full))
    try:
        io.write_groups(path, left, model.atoms.drop(index=np.flatnonzero(gone)).reset_index(drop=True))
    except ValueError as error:
        say_note(console, f"the groups were not written: {error}")
    else:
        say_written(console, ": the groups, for --groups.", path)


def _end(
    console: Console, watch: session.Stopwatch, solution: Solution, outputs: Outputs, chosen: dict[str, Any]
) -> None:
    """Write the account of it all, and say how it ended."""
    watch.lap("write")
    about, failed = console.about, session.failure(solution)
    if outputs.json is not None:
        account = solution.to_dict() | about | {"options": chosen, "notes": console.notes}
        account |= {"written": console.written, "seconds": watch.seconds | {"total": watch.total}}
        session.write_text(outputs.json, json.dumps(account, indent=1, default=str) + "\n")
        say_written(console, ".", outputs.json)
    say(console, watch.report(), indent=9)
    if outputs.log is not None:
        say_written(console, ": all of this.", outputs.log)
        head = [about["command"], about["date"], ", ".join(f"{what} {one}" for what, one in about["versions"].items())]
        end = f"{failed}: {solution.message}\n" if failed else ""
        session.write_text(outputs.log, "\n".join([*head, "", console.text + end]))
    if failed:
        typer.echo(f"{failed}: {solution.message}", err=True)
        raise typer.Exit(session.NOT_CONVERGED)
