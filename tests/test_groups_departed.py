"""Conformers that were removed or taken, and what is left of their sets."""

import numpy as np
import pytest
from groups_models import described, molecule, residue, table

from jax_occupancy.groups import UserGroup, UserGroups, choose_groups

AB = {"A": 0.6, "B": 0.4}


def choose(atoms, user):
    return choose_groups(atoms, user, select=lambda text: np.flatnonzero(atoms.eval(text)))


def test_a_removed_conformer_keeps_its_value_and_the_others_share_the_rest():
    atoms = table(*[residue(("A", n), letters={"A": 0.3, "B": 0.4, "C": 0.3}) for n in (7, 8)])
    grouping = choose(atoms, UserGroups(remove=("resseq == 8 and altloc == 'B'",)))
    kept = grouping["A/8/ALA:B"]
    assert (kept.refinable, kept.start) == (False, 0.4)
    assert described(grouping)[1] == ("complete", ["A/8/ALA:A", "A/8/ALA:C", "A/8/ALA:B"])
    np.testing.assert_allclose(grouping.to_tensor(atoms["occupancy"])(), atoms["occupancy"], atol=2e-6)


def test_the_last_sibling_is_not_free():
    grouping = choose(table(residue(("A", 8), letters=AB)), UserGroups(remove=("altloc == 'B'",)))
    assert described(grouping) == [("complete", ["A/8/ALA:A", "A/8/ALA:B"])]
    assert grouping.groups[0].reason == "the only conformer A of residue A/8 ALA; B keeps its 0.40, as removed"


def test_a_conformer_in_a_group_asked_for_is_named():
    grouping = choose(table(residue(("A", 8), letters=AB)), UserGroups({"mine": UserGroup(("altloc == 'B'",))}))
    assert described(grouping) == [("free", ["mine"]), ("free", ["A/8/ALA:A"])]
    assert grouping["A/8/ALA:A"].reason.endswith("A/8:B left for group 'mine'")
    assert any("A/8/ALA:A (A/8:B is in group 'mine')" in warning for warning in grouping.warnings)


def test_parts_of_a_conformer_can_be_removed():
    grouping = choose(table(residue(("A", 8), letters=AB)), UserGroups(remove=("name == 'CB' and altloc == 'B'",)))
    assert [group.atoms.size for group in grouping.groups] == [5, 4]
    assert grouping.warnings == ()


def test_a_removed_pose_of_a_ligand_may_leave_room():
    atoms = table(molecule(("L", 1), "LIG", {"A": 0.3, "B": 0.3}))
    assert [s.kind for s in choose(atoms, UserGroups(remove=("altloc == 'B'",)))] == ["incomplete"]


def test_removed_conformers_that_leave_nothing_are_named():
    atoms = table(residue(("A", 8), letters={"A": 0.5, "B": 0.9, "C": 0.8}))
    with pytest.raises(ValueError, match=r"A/8/ALA:B \+ A/8/ALA:C = 1\.70 instead of at most 1"):
        choose(atoms, UserGroups(remove=("altloc in ['B', 'C']",)))
