"""The table of refined occupancies, narrow enough for a terminal of 80 columns; notes are numbered below it."""

import math
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from jax_occupancy.cli._console import plain_row, say
from jax_occupancy.cli._numbers import log_likelihood, two_digits
from jax_occupancy.refinement import Solution, at_bound, with_esd

COLUMNS = ("group", "sum", "start", "occupancy", "held", "LLG\nabsent", "LLG\nfull", "LLG un-\nlinked", "ΔB, Å²")
LEFT = ("group", "sum", "occupancy")
LINKED_COLUMN, B_COLUMN = COLUMNS[-2:]
# From this width on.
ROOMY = 100


def print_table(console: Console, solution: Solution, *, truth: np.ndarray | None = None) -> None:
    """Print a row per group, and below what the columns and the numbers in the last one mean.

    Args:
        console: where to print.
        solution: what `refine` returned.
        truth: the true occupancy of each atom, if it is known.
    """
    rows = solution.table.to_dict("records")
    notes = _numbered(rows)
    shifted = solution.b_shifts is not None
    linked = bool(np.isfinite(solution.table["llg_unlinked"].to_numpy(float)).any())
    # A column takes one blank more where there is room.
    table = Table(
        title=f"{len(rows)} occupancies in {len(solution.grouping.sets)} sets",
        title_justify="left",
        box=box.HORIZONTALS,
        padding=(0, 0 if console.width < ROOMY else 1, 0, 0),
    )
    for column in COLUMNS:
        if (linked or column != LINKED_COLUMN) and (shifted or column != B_COLUMN):
            left = column in LEFT
            table.add_column(column, justify="left" if left else "right", overflow="fold", min_width=5 if left else 4)
    for column in ("truth", "z") if truth is not None else ():
        table.add_column(column, justify="right")
    if notes:
        table.add_column("note", overflow="fold", min_width=4)
    # Rows of the solution are in the order of the groups.
    row_of_group = iter(rows)
    for s in solution.grouping.sets:
        for i, group in enumerate(s.groups):
            row = next(row_of_group)
            cells = [group.name, s.relation if i == 0 else "", f"{row['start']:.2f}", _occupancy(row)]
            cells += [two_digits(row["esd_fixed"]), log_likelihood(row["llg_absent"]), log_likelihood(row["llg_full"])]
            cells += [log_likelihood(row["llg_unlinked"])] if linked else []
            cells += [_b_shift(row)] if shifted else []
            cells += _compared(row, truth[group.atoms[0]].item()) if truth is not None else []
            cells += [",".join(str(notes[text]) for text in _pieces(row))] if notes else []
            table.add_row(*plain_row(*cells), end_section=i + 1 == len(s.groups) > 1)
    console.print(table)
    _explain(console, linked=linked, shifted=shifted, truth=truth is not None)
    for text, number in notes.items():
        say(console, f"{number:>4}  {text}", indent=6)
    _print_residues(console, solution)


def _explain(console: Console, *, linked: bool, shifted: bool, truth: bool) -> None:
    lines = [
        "occupancy  0.57(4): standard uncertainty in the last digit, B factors and positions marginalised",
        "held       standard uncertainty with B factors and positions held",
        "LLG        log-likelihood gained over an occupancy of zero (absent) and of one (full)",
    ]
    if linked:
        lines.append("unlinked   log-likelihood that would be gained if the residues of the set went their own way")
    if shifted:
        lines.append("ΔB         shift of the B factors of the group")
    if truth:
        lines.append("z          (refined - truth) / standard uncertainty")
    for line in lines:
        say(console, line, indent=11)


def _print_residues(console: Console, solution: Solution) -> None:
    """The residues of sets whose links the data speak against."""
    table = solution.table
    differ = table.loc[table["note"].str.contains("its residues differ", regex=False), "name"]
    rows = solution.residues[solution.residues["group"].isin(differ.tolist())]
    if len(rows):
        say(console, "Table of residues: occupancies each would have alone, and the log-likelihood it would gain")
    for residue, members in rows.groupby("residue", sort=False):
        shares = ", ".join(f"{name} {q:.2f}" for name, q in zip(members["group"], members["occupancy"], strict=True))
        say(console, f"      {residue}  {shares}  (LLG {log_likelihood(float(max(members['llg_alone'])))})", indent=8)


def _occupancy(row: dict[str, Any]) -> str:
    if not row["refinable"]:
        return f"{row['occupancy']:.2f} fixed"
    if row["at_bound"]:
        return at_bound(row["occupancy"], row["limit"])
    return with_esd(row["occupancy"], row["esd"])


def _b_shift(row: dict[str, Any]) -> str:
    if not math.isfinite(row["delta_b"]):
        return ""
    return with_esd(row["delta_b"], row["delta_b_esd"])


def _compared(row: dict[str, Any], truth: float) -> list[str]:
    z = (row["occupancy"] - truth) / row["esd"] if row["esd"] else math.nan
    return [f"{truth:.2f}", f"{z:.1f}" if math.isfinite(z) else ""]


def _pieces(row: dict[str, Any]) -> list[str]:
    return [text for text in row["note"].split("; ") if text]


def _numbered(rows: list[dict[str, Any]]) -> dict[str, int]:
    """A number for every different note, in the order they come in."""
    texts = dict.fromkeys(text for row in rows for text in _pieces(row))
    return {text: number for number, text in enumerate(texts, start=1)}
