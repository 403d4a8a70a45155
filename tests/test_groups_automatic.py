"""The rules of automatic grouping, one small model each."""

import numpy as np
import pandas as pd
import pytest
from groups_models import atom, described, molecule, residue, table

from jax_occupancy.groups import automatic_groups


def test_letters_of_one_residue_make_a_complete_set_and_blank_atoms_take_no_part():
    atoms = table(
        residue(("A", 5), names=["N"]), residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["CA", "C", "O"])
    )
    (group_set,) = automatic_groups(atoms)
    assert described([group_set]) == [("complete", ["A/5/ALA:A", "A/5/ALA:B"])]
    assert [g.atoms.tolist() for g in group_set.groups] == [[1, 2, 3], [4, 5, 6]]
    assert [g.start for g in group_set.groups] == [0.6, 0.4]
    assert [g.altloc for g in group_set.groups] == ["A", "B"]
    assert group_set.groups[0].reason == "conformer A of residue A/5 ALA; excludes B"


def test_different_residue_names_at_one_place_exclude_each_other():
    atoms = table(residue(("A", 5), "SER", {"A": 0.7}), residue(("A", 5), "THR", {"B": 0.3}))
    assert described(automatic_groups(atoms)) == [("complete", ["A/5/SER:A", "A/5/THR:B"])]


def test_microheterogeneity_of_an_unknown_residue_beside_a_known_one():
    atoms = table(residue(("A", 5), "XYZ", {"A": 0.7}), residue(("A", 5), "THR", {"B": 0.3}))
    assert described(automatic_groups(atoms)) == [("complete", ["A/5/XYZ:A", "A/5/THR:B"])]


def test_letters_are_refined_at_zero_and_one_too():
    atoms = table(residue(("A", 5), letters={"A": 1.0, "B": 0.0}))
    grouping = automatic_groups(atoms)
    assert [g.start for g in grouping.groups] == [1.0, 0.0]
    assert all(g.refinable for g in grouping.groups)


def test_a_lone_letter_is_free():
    grouping = automatic_groups(table(molecule(("A", 201), "LIG", {"A": 1.0})))
    assert described(grouping) == [("free", ["A/201/LIG:A"])]
    assert "only conformer A" in grouping.groups[0].reason


def test_without_letters_zero_and_one_stay_fixed():
    grouping = automatic_groups(table(residue(("A", 1)), residue(("A", 2), letters=0.0)))
    assert len(grouping) == 0


def test_a_whole_residue_at_one_partial_occupancy_shares_it():
    grouping = automatic_groups(table(residue(("A", 1)), molecule(("A", 708), "ACY", 0.5)))
    assert described(grouping) == [("free", ["A/708/ACY"])]
    assert grouping.groups[0].atoms.tolist() == [5, 6, 7]
    assert "whole residue A/708/ACY is partly occupied" in grouping.groups[0].reason


def test_a_residue_that_differs_by_rounding_is_one_group():
    atoms = table(molecule(("A", 708), "ACY", 0.50))
    atoms["occupancy"] = [0.49, 0.51, 0.50]
    grouping = automatic_groups(atoms)
    assert described(grouping) == [("free", ["A/708/ACY"])]
    assert grouping.groups[0].start == pytest.approx(0.5)


def test_a_residue_that_differs_by_more_than_rounding_is_refined_part_by_part():
    atoms = table(molecule(("A", 708), "ACY", 0.50))
    atoms["occupancy"] = [0.47, 0.51, 0.50]
    assert [group.atoms.tolist() for group in automatic_groups(atoms).groups] == [[0], [1, 2]]
    atoms["occupancy"] = [0.47, 0.51, 0.54]
    assert described(automatic_groups(atoms)) == [("free", [f"A/708/ACY/C{i}"]) for i in (1, 2, 3)]


@pytest.mark.parametrize("q", [1.0, 0.0, 0.3])
def test_the_exception_of_one_atom_does_not_change_the_others(q):
    atoms = table(molecule(("A", 708), "LIG", 0.50, n=5))
    atoms.loc[2, "occupancy"] = q
    groups = [group.atoms.tolist() for group in automatic_groups(atoms).groups]
    assert groups == [[0, 1, 3, 4]] + [[2]] * (q == 0.3)


def test_a_side_chain_at_one_partial_occupancy_is_one_group():
    chain = [atom(f"C{i}", "LYS", ("A", 202), 0.81, x=4.5 + 1.5 * i, y=-1.5, z=0.0) for i in range(3)]
    atoms = table(residue(("A", 202), "LYS", at=0.0), chain, molecule(("W", 1), "HOH", 0.4))
    grouping = automatic_groups(atoms)
    assert [g.atoms.tolist() for g in grouping.groups] == [[5, 6, 7], [8]]
    assert grouping.groups[0].reason == "C0, C1, C2 of A/202/LYS are bonded and share one partial occupancy"
    atoms.loc[7, "x"] += 10  # no longer bonded
    assert [g.atoms.tolist() for g in automatic_groups(atoms).groups] == [[5, 6], [7], [8]]


@pytest.mark.parametrize(("element", "length", "bonded"), [("C", 1.6, True), ("C", 1.8, False), ("I", 2.2, True)])
def test_bonds_of_partly_occupied_atoms(element, length, bonded):
    pair = [atom("C1", "LIG", ("A", 1), 0.5), atom("X1", "LIG", ("A", 1), 0.5, element=element, x=length)]
    full = [atom("O1", "LIG", ("A", 1), 1.0, x=-9.0)]
    assert len(automatic_groups(table(pair, full))) == 2 - bonded


def test_partial_atoms_of_a_full_residue_are_refined_by_themselves():
    atoms = table(residue(("A", 77), "LYS"))
    atoms.loc[atoms["name"].isin(["CB", "O"]), "occupancy"] = 0.9
    assert described(automatic_groups(atoms)) == [("free", ["A/77/LYS/O"]), ("free", ["A/77/LYS/CB"])]


def test_partial_atoms_without_letters_beside_letters_are_refined_by_themselves():
    atoms = table(
        residue(("A", 5), letters=0.8, names=["N", "CA"]), residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["C"])
    )
    assert described(automatic_groups(atoms)) == [
        ("free", ["A/5/ALA"]),
        ("complete", ["A/5/ALA:A", "A/5/ALA:B"]),
    ]


def test_a_partial_water_is_a_group_named_after_its_residue():
    grouping = automatic_groups(table(molecule(("A", 102), "HOH", 0.39)))
    assert described(grouping) == [("free", ["A/102/HOH"])]


@pytest.mark.parametrize(
    ("resname", "letters", "kind"),
    [
        ("LIG", {"A": 0.5, "B": 0.3}, "incomplete"),
        ("HOH", {"A": 0.5, "B": 0.3}, "incomplete"),
        ("LIG", {"A": 0.5, "B": 0.48}, "complete"),  # 0.98 is rounding
        ("LIG", {"A": 0.5, "B": 0.47}, "incomplete"),
        ("HOH", {"A": 0.7, "B": 0.6}, "complete"),
    ],
)
def test_a_ligand_or_water_that_is_not_always_there(resname, letters, kind):
    grouping = automatic_groups(table(molecule(("A", 300), resname, letters)))
    assert [s.kind for s in grouping] == [kind]
    assert [g.start for g in grouping.groups] == list(letters.values())


def test_a_side_chain_below_one_stays_complete():
    grouping = automatic_groups(table(residue(("A", 5), letters={"A": 0.5, "B": 0.3})))
    assert [s.kind for s in grouping] == ["complete"]
    assert any("A/5/ALA:A + A/5/ALA:B = 0.80" in w and "made to" in w for w in grouping.warnings)


@pytest.mark.parametrize("blank", ["", " ", None, np.nan, ".", "?"])
def test_every_spelling_of_no_letter(blank):
    atoms = table(molecule(("A", 708), "ACY", 0.5))
    atoms["altloc"] = pd.Series([blank] * len(atoms), dtype=object)
    assert described(automatic_groups(atoms)) == [("free", ["A/708/ACY"])]


def test_waters_individually():
    atoms = table(
        molecule(("A", 1), "HOH", 1.0), molecule(("A", 2), "HOH", 0.0), molecule(("A", 3), "HOH", {"A": 0.5, "B": 0.5})
    )
    assert described(automatic_groups(atoms)) == [("complete", ["A/3/HOH:A", "A/3/HOH:B"])]
    assert described(automatic_groups(atoms, waters="individual")) == [
        ("free", ["A/1/HOH"]),
        ("free", ["A/2/HOH"]),
        ("complete", ["A/3/HOH:A", "A/3/HOH:B"]),
    ]


def test_waters_left_out():
    atoms = table(molecule(("A", 1), "HOH", 0.5), molecule(("A", 9), "ACY", 0.5))
    assert described(automatic_groups(atoms, waters="omit")) == [("free", ["A/9/ACY"])]


def test_waters_numbered_like_residues_are_residues_of_their_own():
    atoms = table(residue(("A", 5), letters={"A": 0.6, "B": 0.4}), molecule(("A", 5), "HOH", 0.5))
    assert described(automatic_groups(atoms)) == [("complete", ["A/5/ALA:A", "A/5/ALA:B"]), ("free", ["A/5/HOH"])]


def test_a_residue_split_over_the_file_is_one_residue():
    atoms = table(residue(("A", 5), letters={"A": 0.6}), residue(("A", 6)), residue(("A", 5), letters={"B": 0.4}))
    assert described(automatic_groups(atoms)) == [("complete", ["A/5/ALA:A", "A/5/ALA:B"])]


def test_insertion_codes_and_negative_numbers():
    atoms = table(
        residue(("A", -3), letters={"A": 0.6, "B": 0.4}),
        residue(("A", 52), letters={"A": 0.7, "B": 0.3}, icode="A"),
        residue(("A", 52), letters={"A": 0.5, "B": 0.5}, at=900.0),
        residue(("XYZ", 1), letters={"A": 0.5, "B": 0.5}),
    )
    names = [names[0] for _, names in described(automatic_groups(atoms))]
    assert names == ["A/-3/ALA:A", "A/52A/ALA:A", "A/52/ALA:A", "XYZ/1/ALA:A"]


def test_names_stay_unique_where_numbers_repeat():
    atoms = table(molecule(("A", 1), "HOH", 0.5), [row | {"y": 70.0} for row in molecule(("A", 1), "HOH", 0.4)])
    assert [names for _, names in described(automatic_groups(atoms))] == [["A/1/HOH"], ["A/1/HOH#2"]]


def test_user_options_are_checked():
    atoms = table(residue(("A", 1)))
    with pytest.raises(ValueError, match=r"waters is 'all'; wanted one of 'residue', 'individual', 'omit'"):
        automatic_groups(atoms, waters="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="hydrogens is 'ride'"):
        automatic_groups(atoms, hydrogens="ride")  # pyright: ignore[reportArgumentType]


def test_an_empty_table():
    grouping = automatic_groups(table())
    assert (grouping.n_atoms, len(grouping), grouping.warnings) == (0, 0, ())


def test_one_atom():
    grouping = automatic_groups(table(atom("ZN", "ZN", ("A", 1), 0.5)))
    assert described(grouping) == [("free", ["A/1/ZN"])]


def test_the_table_is_not_changed():
    atoms = table(residue(("A", 5), letters={"A": 1.6, "B": -0.4}))
    before = atoms.copy(deep=True)
    automatic_groups(atoms)
    pd.testing.assert_frame_equal(atoms, before)


def test_one_letter_for_two_residue_names():
    atoms = table(
        residue(("A", 5), "SER", {"A": 0.3}),
        residue(("A", 5), "THR", {"A": 0.2}),
        residue(("A", 5), "SER", {"B": 0.5}),
        residue(("A", 6), "ALA", {"A": 0.5, "B": 0.5}),
    )
    grouping = automatic_groups(atoms)
    assert described(grouping)[0] == ("complete", ["A/5/SER:A", "A/5/THR:A", "A/5/SER:B"])
    assert grouping.warnings == ()
    assert "excludes A (THR), B" in grouping.groups[0].reason
