"""`jax-occupancy groups`: show the groups of a model, and write them down."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from jax_occupancy.cli._console import make_console, plain_row, say, say_note
from jax_occupancy.cli._outputs import refuse_inputs
from jax_occupancy.groups import Grouping, parse_state
from jax_occupancy.io import Model, check_groups_name, read_model, write_groups
from jax_occupancy.refinement import group_model


def run_groups(
    model_path: Path, *, as_json: bool, write: Path | None, model_number: int | None, options: Mapping[str, Any]
) -> None:
    """Print the groups of a model as a table or as JSON, and write them if asked."""
    if write is not None:
        check_groups_name(write)
        refuse_inputs(write, [model_path, options["groups"]])
    model = read_model(model_path, model_number=model_number)
    grouping = choose_groups_of(model, options)
    if as_json:
        typer.echo(json.dumps(grouping.to_dict(), indent=1))
    else:
        _print_table(grouping)
    if write is not None:
        write_groups(write, grouping, model.atoms)
        typer.echo(f"Wrote {write}", err=True)


def choose_groups_of(model: Model, options: Mapping[str, Any]) -> Grouping:
    """Make the groups that the options of the command line ask for."""
    states: dict[str, tuple[str, ...]] = {}
    for text in options["states"] or ():
        name, letters = parse_state(text)
        if name in states:
            raise ValueError(f"the state {name!r} is given twice; give all its letters at once, such as {name}=A,B")
        states[name] = letters
    rest = {key: value for key, value in options.items() if key not in ("groups", "states")}
    return group_model(model, options["groups"], states=states, **rest)


def _print_table(grouping: Grouping) -> None:
    console = make_console()
    table = Table(title=f"{len(grouping.groups)} groups in {len(grouping.sets)} sets", title_justify="left")
    table.add_column("group", overflow="fold", min_width=12)
    table.add_column("sum", overflow="fold")
    for name in ("atoms", "start"):
        table.add_column(name, justify="right")
    for name in ("status", "reason"):
        table.add_column(name, overflow="fold")
    for s in grouping.sets:
        for i, group in enumerate(s.groups):
            cells = (str(group.atoms.size), f"{group.start:.2f}", "refined" if group.refinable else "fixed")
            last = i + 1 == len(s.groups) > 1
            row = plain_row(group.name, s.relation if i == 0 else "", *cells, group.reason)
            table.add_row(*row, end_section=last)
    if grouping.sets:
        console.print(table)
    else:
        say(console, "No groups: no atom has an alternate-location letter or an occupancy between 0 and 1.")
    for warning in grouping.warnings:
        say_note(console, warning)
