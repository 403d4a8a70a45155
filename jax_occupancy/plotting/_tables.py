"""The tables of a report."""

import math
from typing import Any

import numpy as np

from jax_occupancy.plotting._html import paragraphs, table
from jax_occupancy.plotting._rows import sum_label
from jax_occupancy.refinement import Solution, at_bound, with_esd

OUTLIERS_SHOWN = 100
WORDS, PROSE = {"group", "sum", "residue"}, {"note", "reason"}


def group_table(solution: Solution) -> str:
    """A row for each group."""
    rows = solution.table.to_dict("records")
    columns = {
        "group": [row["name"] for row in rows],
        "sum": [sum_label(solution.grouping.sets[row["set"]]) for row in rows],
        "atoms": [str(row["n_atoms"]) for row in rows],
        "start": [f"{row['start']:.2f}" for row in rows],
        "occupancy": [_occupancy(row) for row in rows],
        "held": [_number(row["esd_fixed"], 3) for row in rows],
        "LLG absent": [_number(row["llg_absent"], 1) for row in rows],
        "LLG full": [_number(row["llg_full"], 1) for row in rows],
        "LLG unlinked": [_number(row["llg_unlinked"], 1) for row in rows],
        "ΔB, Å²": [_b_shift(row) for row in rows],
        "note": [row["note"] for row in rows],
        "reason": [row["reason"] for row in rows],
    }
    # Columns that say nothing take room away from those that do.
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    number_of_set = solution.table["set"].to_numpy()
    starts = set(np.flatnonzero(np.diff(number_of_set, prepend=-1)).tolist())
    return table(list(kept), list(zip(*kept.values(), strict=True)), words=WORDS, prose=PROSE, starts=starts)


def residue_table(solution: Solution) -> str:
    """A row for each residue of linked groups."""
    cells = [
        (row["residue"], row["group"], f"{row['occupancy']:.3f}", _number(row["llg_alone"], 1))
        for row in solution.residues.to_dict("records")
    ]
    return table(["residue", "group", "occupancy", "LLG alone"], cells, words=WORDS, prose=PROSE, starts=set())


def outlier_table(solution: Solution) -> list[str]:
    """The first outliers, and how many more there are."""
    rows = solution.outliers.to_dict("records")
    cells = [
        (
            *(str(row[name]) for name in "hkl"),
            *(f"{row[name]:.4g}" for name in ("observed", "expected")),
            f"{row['probability']:.1e}",
            row["reason"],
        )
        for row in rows[:OUTLIERS_SHOWN]
    ]
    columns = ["h", "k", "l", "observed", "expected", "probability", "reason"]
    parts = [table(columns, cells, words=WORDS, prose=PROSE, starts=set())]
    if len(rows) > OUTLIERS_SHOWN:
        parts.append(paragraphs([f"And {len(rows) - OUTLIERS_SHOWN} more."]))
    return parts


def _occupancy(row: dict[str, Any]) -> str:
    if not row["refinable"]:
        return f"{row['occupancy']:.2f} fixed"
    return at_bound(row["occupancy"], row["limit"]) if row["at_bound"] else with_esd(row["occupancy"], row["esd"])


def _b_shift(row: dict[str, Any]) -> str:
    return with_esd(row["delta_b"], row["delta_b_esd"]) if math.isfinite(row["delta_b"]) else ""


def _number(value: float, decimals: int) -> str:
    return f"{value:z.{decimals}f}" if math.isfinite(value) else ""
