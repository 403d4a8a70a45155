"""Names of residues, atoms and groups."""

import numpy as np
import pytest
from groups_models import molecule, residue, table

from jax_occupancy.groups import UserGroup, UserGroups, automatic_groups, choose_groups

CHAIN = table(
    *[residue(("A", n), names=["N", "CA"]) for n in (-1, 1, 2)],
    residue(("A", 2), icode="A", names=["N"]),
    residue(("B", 9), letters={"A": 0.5, "B": 0.5}, names=["N", "CA"]),
)
# A name for what is linked, whole, or a part: residues 1 and 2 of letters, a residue and an atom without.
KINDS = table(
    *[residue(("A", n), letters={"A": 0.6, "B": 0.4}) for n in (1, 2)],
    residue(("C", -1), letters=0.5, names=["N", "CA"]),
    [row | {"occupancy": 0.5 if row["name"] == "CA" else 1.0} for row in residue(("E", 2), icode="A")],
    residue(("B", 9), letters={"A": 0.5, "B": 0.5}, names=["N", "CA"]),
    residue(("F", 7), letters={"A": 0.5}, names=["N"], icode="A"),
)


@pytest.mark.parametrize(
    ("atoms", "label"),
    [([0], "A/-1"), ([0, 1, 2], "A/-1-1"), ([2, 6], "A/1, A/2A"), ([4, 6, 8], "A/2-2A, B/9"), ([8, 0], "A/-1, B/9")],
)
def test_residues(atoms, label):
    user = UserGroups({"asked": UserGroup(("some",))}, automatic=False)
    assert choose_groups(CHAIN, user, select=lambda _: np.array(atoms)).groups[0].residues == label


def test_groups():
    names = ["A/1-2:A", "A/1-2:B", "C/-1/ALA", "E/2A/ALA/CA", "B/9/ALA:A", "B/9/ALA:B", "F/7A/ALA:A"]
    assert [group.name for group in automatic_groups(KINDS).groups] == names


def test_single_atoms_that_are_asked_for():
    single = choose_groups(CHAIN, UserGroups(individual=("some",), automatic=False), select=lambda _: [1, 6, 8])
    assert [group.name for group in single.groups] == ["A/-1/ALA/CA", "A/2A/ALA", "B/9/ALA/CA:A"]


def test_repeated_names_are_numbered():
    """Waters far apart under one number; a group asked for has the name of one already."""
    waters = [row | {"y": 20.0 * n} for n in range(3) for row in molecule(("A", 7), "HOH", 0.5)]
    assert [g.name for g in automatic_groups(table(waters)).groups] == ["A/7/HOH", "A/7/HOH#2", "A/7/HOH#3"]
    user = UserGroups({"A/7/HOH#2": UserGroup(("some",))})
    grouping = choose_groups(table(waters, molecule(("B", 1), "LIG", 0.4, n=1)), user, select=lambda _: [3])
    assert [g.name for g in grouping.groups] == ["A/7/HOH#2", "A/7/HOH", "A/7/HOH#2#2", "A/7/HOH#3"]


@pytest.mark.parametrize(("n", "end"), [(2, "A/1/HOH:A, A/2/HOH:A"), (12, "A/10/HOH:A and 2 more")])
def test_long_lists_are_cut(n, end):
    waters = [row | {"y": 20.0 * i} for i in range(1, n + 1) for row in molecule(("A", i), "HOH", {"A": 0.5})]
    (warning,) = automatic_groups(table(waters)).warnings
    assert warning.startswith("lone letters, ")
    assert warning.endswith(end)
