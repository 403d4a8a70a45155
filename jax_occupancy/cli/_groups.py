"""`jax-occupancy groups`: show the groups of a model."""

import json
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from jax_occupancy.groups import Grouping, automatic_groups
from jax_occupancy.io import read_model


def run_groups(model_path: Path, *, as_json: bool, model_number: int | None) -> None:
    """Print the groups of a model as a table or as JSON."""
    grouping = automatic_groups(read_model(model_path, model_number=model_number).atoms)
    if as_json:
        typer.echo(json.dumps(grouping.to_dict(), indent=1))
    else:
        _print_table(grouping)


def _print_table(grouping: Grouping) -> None:
    console = Console()
    table = Table(title=f"{len(grouping.groups)} groups in {len(grouping.sets)} sets", title_justify="left")
    for name, justify in (
        ("group", "left"),
        ("sum", "left"),
        ("atoms", "right"),
        ("start", "right"),
        ("reason", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=name == "group")
    for s in grouping.sets:
        whole = s.parent or "1"
        for i, group in enumerate(s.groups):
            kind = {"complete": f"= {whole}", "incomplete": f"≤ {whole}", "free": ""}[s.kind] if i == 0 else ""
            start = f"{group.start:.2f}" + ("" if group.refinable else " fixed")
            table.add_row(group.name, kind, str(group.atoms.size), start, group.reason)
    console.print(table)
    for warning in grouping.warnings:
        console.print(f"[yellow]Note[/] {warning}", highlight=False)
