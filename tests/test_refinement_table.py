"""What the table says of a group, at the thresholds at which it begins to say so."""

import dataclasses

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


def test_conformers_that_nearly_coincide_are_known_in_sum(refined, solution):
    """B of a residue in three conformers is put 0.15 Å beside A, and the data made to know no more than their sum."""
    problem, _, assessment = refined
    names = [group.name for group in problem.grouping.groups]
    a, b, c = (names.index(f"A/11/VAL:{letter}") for letter in "ABC")
    entries = problem.constraints.entries.tolist()
    groups, tensor = problem.grouping.groups, solution.tensor
    i, j = (entries.index(tensor.expansion_mask[groups[n].atoms[0]]) for n in (a, b))
    atoms = problem.model.atoms.copy()
    xyz = np.array(atoms[["x", "y", "z"]], float)
    xyz[groups[b].atoms] = xyz[groups[a].atoms] + [0.15, 0, 0]
    atoms[["x", "y", "z"]] = xyz
    known, covariance = assessment.groups.copy(), assessment.covariance.copy()
    known.loc[[i, j], "esd"], known.loc[[i, j], "llg_absent"] = 0.5, 0.1
    covariance[np.ix_([i, j], [i, j])] = [[0.25, 0.00045 - 0.25], [0.00045 - 0.25, 0.25]]
    moved = dataclasses.replace(problem, model=dataclasses.replace(problem.model, atoms=atoms))
    table = solution_table(moved, assessment._replace(groups=known, covariance=covariance), tensor)
    pair, q = table.loc[[a, b]], table.loc[[a, b], "occupancy"].sum()
    np.testing.assert_allclose(pair["sum"], q)
    np.testing.assert_allclose(pair["sum_esd"], 0.03, rtol=1e-6)
    told = f"A/11/VAL:A and A/11/VAL:B lie within 0.2 Å: only their sum, {q:.2f}(3), is determined"
    assert pair["note"].tolist() == [told, told]
    assert np.isnan(table.loc[c, "sum"])
    assert (table["note"].drop(index=[a, b]) == "").all()
