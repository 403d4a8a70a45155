"""`jax-occupancy groups`: show the groups of a model, and write them down."""

import json
from dataclasses import asdict
from pathlib import Path

import typer

from jax_occupancy import refinement
from jax_occupancy.cli._console import Console, print_columns, say, say_note
from jax_occupancy.cli._options import Groups, wrong_use
from jax_occupancy.cli._outputs import check_files
from jax_occupancy.groups import Grouping, UserGroups, parse_state
from jax_occupancy.io import Model, check_groups_name, read_model, write_groups


def run_groups(
    model_path: Path, options: Groups, *, as_json: bool, write: Path | None, model_number: int | None
) -> None:
    """Print the groups of a model as a table or as JSON, and write them if asked."""
    if write is not None:
        with wrong_use("--write"):
            check_groups_name(write)
        check_files([write], [model_path, options.groups])
    states = states_of(options)
    model = read_model(model_path, model_number=model_number)
    grouping = choose_groups_of(model, options, states)
    if as_json:
        typer.echo(json.dumps(grouping.to_dict(), indent=1))
    else:
        _print_table(grouping)
    if write is not None:
        write_groups(write, grouping, model.atoms)
        typer.echo(f"Wrote {write}", err=True)


def states_of(options: Groups) -> dict[str, tuple[str, ...]]:
    """The letters of each state."""
    states: dict[str, tuple[str, ...]] = {}
    with wrong_use("--state"):
        for name, letters in map(parse_state, options.state or ()):
            if name in states:
                raise ValueError(f"the state {name!r} is given twice; give all its letters at once, such as {name}=A,B")
            states[name] = letters
        # A file may have others.
        if options.groups is None:
            UserGroups(states=states)
    return states


def choose_groups_of(model: Model, options: Groups, states: dict[str, tuple[str, ...]]) -> Grouping:
    """Make the groups that the options of the command line ask for."""
    chosen = asdict(options)
    del chosen["state"]
    return refinement.group_model(model, chosen.pop("groups"), states=states, **chosen)


def _print_table(grouping: Grouping) -> None:
    console = Console()
    rows = [(s, i, group) for s in grouping.sets for i, group in enumerate(s.groups)]
    columns = {
        "group": [group.name for _, _, group in rows],
        "sum": [s.relation if i == 0 else "" for s, i, _ in rows],
        "atoms": [str(group.atoms.size) for _, _, group in rows],
        "start": [f"{group.start:.2f}" for _, _, group in rows],
        "status": ["refined" if group.refinable else "fixed" for _, _, group in rows],
        "reason": [group.reason for _, _, group in rows],
    }
    if rows:
        counts = {"group": len(grouping.groups), "set": len(grouping.sets)}
        print_columns(
            console,
            columns,
            numbers={"atoms", "start"},
            sections={n for n, (s, i, _) in enumerate(rows) if i + 1 == len(s.groups) > 1},
            min_width={"group": 12},
            title=" in ".join(f"{n} {of}{'s' * (n > 1)}" for of, n in counts.items()),
            title_justify="left",
        )
    else:
        say(console, "No groups: no atom has an alternate-location letter or an occupancy between 0 and 1.")
    for warning in grouping.warnings:
        say_note(console, warning)
