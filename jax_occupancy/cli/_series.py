"""`jax-occupancy series`: one model against many data sets."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from jax_occupancy.cli._console import make_console, plain_row, say, say_note
from jax_occupancy.cli._groups import choose_groups_of
from jax_occupancy.cli._numbers import log_likelihood, two_digits
from jax_occupancy.cli._outputs import Outputs, split_model_name
from jax_occupancy.cli._report import print_doubts
from jax_occupancy.cli._session import (
    NOT_CONVERGED,
    check_beam,
    crystal_of,
    note_on_dispersion,
    set_up_jax,
    warnings_as_notes,
    write_text,
)
from jax_occupancy.cli._stopwatch import Stopwatch
from jax_occupancy.io import Model, Reflections, read_model, read_reflections
from jax_occupancy.refinement import SeriesSolution, at_bound, refine_series, with_esd
from jax_occupancy.xray import hydrogen_note


@dataclass(frozen=True)
class SeriesOutputs:
    """Where results go; None for what is not wanted.

    Attributes:
        folder: of one refined model for each data set.
        json: everything as JSON.
        csv: the table in long form.
        plot: the picture of occupancies against data sets.
    """

    folder: Path | None
    json: Path | None
    csv: Path | None
    plot: Path | None

    def check(self, inputs: list[Path]) -> None:
        """Refuse names that could not be written in the end.

        Raises:
            ValueError: a name has the wrong extension, is an input, or comes twice.
            OSError: a folder does not exist or can't be made, or the name is that of a folder or, for models, a file.
        """
        Outputs(json=self.json, csv=self.csv, plot=self.plot).check(inputs)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def model(self, model: Path, name: str) -> Path:
        """The file of one refined model: `model.pdb` refined against `t1.mtz` becomes `model_t1.pdb`."""
        assert self.folder is not None
        stem, suffixes = split_model_name(model)
        return self.folder / f"{stem}_{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}{suffixes}"


def run_series(
    model_path: Path,
    data_paths: list[Path],
    *,
    names: list[str] | None,
    outputs: SeriesOutputs,
    columns: Mapping[str, Any],
    grouping: Mapping[str, Any],
    refinement: Mapping[str, Any],
    model_number: int | None,
    quiet: bool,
    begin: float,
) -> None:
    """Refine one model against many data sets, print the table and write the files.

    Raises:
        typer.Exit: with code 3 if a data set could not be refined or did not converge; the others are written.
    """
    own_groups = grouping["groups"]
    outputs.check([model_path, *data_paths, *([] if own_groups is None else [own_groups])])
    check_beam(refinement)
    set_up_jax()
    console, watch = make_console(quiet=quiet), Stopwatch(begin)
    watch.lap("start")
    model = read_model(model_path, model_number=model_number)
    say(console, f"Model  {model.path}: {model.n_atoms} atoms; {len(data_paths)} data sets", indent=7)
    for note in model.notes:
        say_note(console, note)
    if (note := hydrogen_note(model.atoms["element"])) is not None:
        say_note(console, note)
    columns_shown = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with (
        warnings_as_notes(console),
        Progress(*columns_shown, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("computing structure factors", total=len(data_paths))
        chosen = choose_groups_of(model, grouping)
        series = refine_series(
            model,
            [_read_or_leave(path, {**columns, **crystal_of(model)}) for path in data_paths],
            names=_numbers_or_names(names) if names else None,
            groups=chosen,
            **refinement,
            progress=lambda stage: progress.update(task, description=stage, advance=stage.endswith(": read")),
        )
    watch.lap("solve")
    note_on_dispersion(console, model, chosen, refinement)
    for warning in chosen.warnings:
        say_note(console, warning)
    _print_table(console, series)
    _print_datasets(console, series)
    _write(console, series, model, outputs)
    watch.lap("write")
    say(console, f"Seconds: {watch.total:.1f} for {len(series.solutions)} data sets")
    _end(series)


def _read_or_leave(path: Path, columns: Mapping[str, Any]) -> Reflections | Path:
    """The data as the options say; a file that can't be read is left to `refine_series`, which says why."""
    try:
        return read_reflections(path, **columns)
    except (ValueError, OSError):
        return path


def _numbers_or_names(names: list[str]) -> list[str] | list[float]:
    """Names that all are numbers are drawn to scale.

    Example:
        >>> _numbers_or_names(["0", "2.5"]), _numbers_or_names(["0", "apo"])
        ([0.0, 2.5], ['0', 'apo'])
    """
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return names
    return numbers if np.isfinite(numbers).all() else names


def _shown(name: Any) -> str:
    return name if isinstance(name, str) else f"{name:g}"


def _print_table(console: Console, series: SeriesSolution) -> None:
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    for name in ("data set", "group", "occupancy"):
        table.add_column(name, overflow="fold")
    for name in ("held", "LLG\nabsent", "LLG\nfull"):
        table.add_column(name, justify="right")
    for dataset, rows in series.table.groupby("dataset", sort=False):
        name = _shown(dataset)
        for row in rows.to_dict("records"):
            q = at_bound(row["occupancy"], row["limit"]) if row["at_bound"] else with_esd(row["occupancy"], row["esd"])
            gains = log_likelihood(row["llg_absent"]), log_likelihood(row["llg_full"])
            table.add_row(*plain_row(name, row["group"], q, two_digits(row["esd_fixed"]), *gains))
            name = ""
        table.add_section()
    console.print(table)
    say(console, "occupancy 0.57(4): standard uncertainty in the last digit; held: with B factors and positions held")
    for note, rows in series.table[series.table["note"] != ""].groupby("note", sort=False):
        groups = rows.groupby("group", sort=False)["dataset"].agg(lambda names: ", ".join(map(_shown, names)))
        say(console, f"{note}: " + "; ".join(f"{group} in {names}" for group, names in groups.items()), indent=3)


def _print_datasets(console: Console, series: SeriesSolution) -> None:
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    for name in ("data set", "reflections", "Å", "R-work", "R-free", "result", "columns"):
        left = name in ("data set", "result", "columns")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for row in series.datasets.to_dict("records"):
        if row["result"] == "failed":
            cells = [_shown(row["dataset"]), "", "", "", "", "failed", ""]
        else:
            r_free = f"{row['r_free']:.4f}" if np.isfinite(row["r_free"]) else ""
            count, d_min, r_work = f"{row['n_reflections']:.0f}", f"{row['d_min']:.2f}", f"{row['r_work']:.4f}"
            cells = [_shown(row["dataset"]), count, d_min, r_work, r_free, row["result"], row["columns"]]
        table.add_row(*plain_row(*cells))
    console.print(table)
    for name, solution in series.solutions.items():
        print_doubts(console, solution, of=f"{_shown(name)}: ")


def _write(console: Console, series: SeriesSolution, model: Model, outputs: SeriesOutputs) -> None:
    if outputs.folder is not None:
        files = {name: outputs.model(Path(model.path), _shown(name)) for name in series.solutions}
        for name, solution in series.solutions.items():
            # Names may differ in what no file name can have.
            alike = list(files.values()).count(files[name]) > 1
            number = list(files).index(name) + 1
            file = files[name]
            solution.write(model, file.with_name(f"{number}_{file.name}") if alike else file)
        say(console, f"Wrote {len(series.solutions)} refined models to {outputs.folder}.")
    if outputs.csv is not None:
        write_text(outputs.csv, str(series.to_csv()))
        say(console, f"Wrote {outputs.csv}: the table.")
    if outputs.plot is not None:
        from jax_occupancy.plotting import write_figure

        write_figure(outputs.plot, series.plot())
        say(console, f"Wrote {outputs.plot}: the occupancies against the data sets.")
    if outputs.json is not None:
        write_text(outputs.json, json.dumps(series.to_dict(), indent=1) + "\n")
        say(console, f"Wrote {outputs.json}.")


def _end(series: SeriesSolution) -> None:
    unsettled = [_shown(name) for name, solution in series.solutions.items() if solution.result != "converged"]
    for name, message in series.failed.items():
        typer.echo(f"failed: {_shown(name)}: {message}", err=True)
    for name in unsettled:
        typer.echo(f"not converged: {name}", err=True)
    if series.failed or unsettled:
        raise typer.Exit(NOT_CONVERGED)
