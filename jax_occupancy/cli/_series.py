"""`jax-occupancy series`: one model against many data sets."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jax_occupancy import _tables as tables
from jax_occupancy._options import Options
from jax_occupancy._tables import dataset_name
from jax_occupancy.cli import _session as session
from jax_occupancy.cli._console import Console, as_options, print_columns, say, say_note
from jax_occupancy.cli._groups import choose_groups_of, states_of
from jax_occupancy.cli._options import Data, Groups, MapChoice
from jax_occupancy.cli._outputs import SeriesOutputs
from jax_occupancy.cli._report import HEADINGS, print_notes
from jax_occupancy.io import Model, Reflections, placed_in, read_model
from jax_occupancy.refinement import DataSet, SeriesSolution, names_of, refine_series

STYLE = {"box": box.HORIZONTALS, "padding": (0, 1, 0, 0)}


def run_series(
    model_path: Path,
    data_paths: list[Path],
    outputs: SeriesOutputs,
    options: Options,
    groups: Groups,
    *,
    columns: Data,
    maps: MapChoice,
    names: list[str] | None,
    model_number: int | None,
    begin: float,
) -> None:
    """Refine one model against many data sets, print the table and write the files of those that can be refined."""
    pairs = [half_maps(path) for path in data_paths]
    outputs.check([model_path, *(path for pair in pairs for path in pair), groups.groups])
    states = states_of(groups)
    console, watch = session.start(options, quiet=outputs.quiet, begin=begin)
    model = read_model(model_path, model_number=model_number)
    say(console, f"Model  {model.path}: {model.n_atoms} atoms; {len(data_paths)} data sets", indent=7)
    print_notes(console, model)
    columns_shown = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with (
        session.warnings_as_notes(console),
        Progress(*columns_shown, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("computing structure factors", total=len(data_paths))
        datasets = [_read_or_leave(pair, columns, model, maps) for pair in pairs]
        for crystal in (one for one in datasets if isinstance(one, Reflections)):
            model = placed_in(model, crystal)
        chosen = choose_groups_of(model, groups, states)
        series = refine_series(
            model,
            datasets,
            names=_numbers_or_names(names or names_of([first for first, _ in pairs])),
            groups=chosen,
            **vars(options),
            progress=lambda stage: progress.update(task, description=stage, advance=stage.endswith(": read")),
        )
    watch.lap("solve")
    if any(solution.fsc is None for solution in series.solutions.values()):
        session.note_on_dispersion(console, model, chosen, options)
    for warning in chosen.warnings:
        say_note(console, warning)
    _print_tables(console, series)
    _write(console, series, model, outputs)
    watch.lap("write")
    say(console, f"Seconds: {watch.total:.1f} for {len(series.solutions)} data sets")
    _end(series)


def half_maps(path: Path) -> tuple[Path, Path | None]:
    """Two files with a comma between them are half maps."""
    first, comma, second = str(path).partition(",")
    return (Path(first), Path(second)) if comma and not path.exists() else (path, None)


def _read_or_leave(pair: tuple[Path, Path | None], columns: Data, model: Model, maps: MapChoice) -> DataSet:
    """The data as the options say, or why they can't be read."""
    try:
        return session.read_data(pair[0], columns, model, maps, pair[1])
    except (ValueError, OSError) as error:
        return error


def _numbers_or_names(names: Sequence[str]) -> Sequence[str | float]:
    """Names that all are numbers are drawn to scale."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return names
    return numbers if np.isfinite(numbers).all() else names


def _print_tables(console: Console, series: SeriesSolution) -> None:
    columns = tables.series_columns(series)
    ends = [i for i, name in enumerate([*columns["data set"][1:], "end"]) if name]
    columns = {HEADINGS.get(name, name): cells for name, cells in columns.items()}
    numbers = columns.keys() - {"data set", "group", "occupancy"}
    print_columns(console, columns, numbers=numbers, sections=set(ends), **STYLE)
    say(console, tables.SERIES_LEGEND)
    for line in tables.series_notes(series):
        say(console, line, indent=3)
    columns = tables.dataset_columns(series)
    print_columns(console, columns, numbers=columns.keys() - {"data set", "result", "columns"}, **STYLE)
    for note in tables.dataset_notes(series):
        if as_options(note) not in console.notes:  # those on groups were said
            say_note(console, note)


def _write(console: Console, series: SeriesSolution, model: Model, outputs: SeriesOutputs) -> None:
    if outputs.out is not None:
        files = [outputs.model(Path(model.path), dataset_name(name)) for name in series.solutions]
        for number, (file, solution) in enumerate(zip(files, series.solutions.values(), strict=True), start=1):
            # Names may differ in what no file name can have.
            alike = files.count(file) > 1
            solution.write(model, file.with_name(f"{number}_{file.name}") if alike else file)
        say(console, f"Wrote {len(series.solutions)} refined models to {outputs.out}.")
    if outputs.csv is not None:
        session.write_text(outputs.csv, str(series.to_csv()))
        say(console, f"Wrote {outputs.csv}: the table.")
    if outputs.plot is not None:
        from jax_occupancy.plotting import write_plot

        write_plot(outputs.plot, series.plot())
        say(console, f"Wrote {outputs.plot}: the occupancies against the data sets.")
    if outputs.report is not None:
        from jax_occupancy.plotting import write_series_report

        notes = [*console.notes, *map(as_options, tables.failed_datasets(series))]
        write_series_report(outputs.report, series, model, notes=notes, about=console.about)
        say(console, f"Wrote {outputs.report}: the report, for a browser.")
    if outputs.json is not None:
        session.write_text(outputs.json, json.dumps(series.to_dict() | {"notes": console.notes}, indent=1) + "\n")
        say(console, f"Wrote {outputs.json}.")


def _end(series: SeriesSolution) -> None:
    unsettled = {name: how for name, solution in series.solutions.items() if (how := session.failure(solution))}
    for line in tables.failed_datasets(series):
        typer.echo(f"failed: {as_options(line)}", err=True)
    for name, how in unsettled.items():
        typer.echo(f"{how}: {dataset_name(name)}", err=True)
    if series.failed or unsettled:
        raise typer.Exit(session.NOT_CONVERGED)
