"""What the table says of a group, at the thresholds at which it begins to say so."""

import numpy as np
import pytest

from jax_occupancy.refinement._table import solution_table

pytestmark = pytest.mark.usefixtures("x64")


def notes_with(refined, solution, **changes):
    """The notes if other numbers were known of the first group."""
    problem, _, assessment = refined
    groups = assessment.groups.copy()
    for column, value in changes.items():
        groups[column] = groups[column].astype(float)
        groups.loc[0, column] = value
    table = solution_table(problem, assessment._replace(groups=groups), solution.tensor)
    first = solution.tensor.expansion_mask
    row = next(i for i, g in enumerate(problem.grouping.groups) if first[g.atoms[0]] == problem.constraints.entries[0])
    assert (table["note"].drop(index=row) == "").all()
    return table.loc[row, "note"]


@pytest.mark.parametrize(
    ("column", "silent", "told", "note"),
    [
        ("esd_fixed", 0.199, 0.201, "too small or too disordered: the data hardly see it"),
        ("llg_absent", 3.01, 2.99, "not supported: the log-likelihood gained over its absence is below 3"),
        ("llg_full", 3.01, 2.99, "the data do not tell it from fully occupied"),
        ("llg_unlinked", 2.99, 3.01, "its residues differ, see the table of residues"),
        ("limit", np.nan, 0.03, "on a bound"),
    ],
)
def test_each_note_has_its_threshold(refined, solution, column, silent, told, note):
    assert notes_with(refined, solution, **{column: silent}) == ""
    assert notes_with(refined, solution, **{column: told}) == note


def test_what_is_not_there_is_not_told_apart_from_what_is_full(refined, solution):
    """Of two notes that say the same the stronger one stays."""
    assert "not supported" in notes_with(refined, solution, llg_absent=1.0, llg_full=1.0)
    assert "fully occupied" not in notes_with(refined, solution, llg_absent=1.0, llg_full=1.0)
