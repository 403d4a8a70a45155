"""What excludes what, by where the atoms are."""

import pytest
from groups_models import atom, described, molecule, residue, table

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, automatic_groups, choose_groups


def ligand(number, letter, q, *, dx=0.0, n=3, resname="LIG"):
    """Carbons along x in one letter, all numbers in one place but for the shift."""
    return [
        row | {"altloc": letter, "x": row["x"] + dx, "y": 0.0, "z": 0.0}
        for row in molecule(("L", number), resname, q, n=n)
    ]


def starts(grouping):
    return [(s.kind, [group.start for group in s.groups]) for s in grouping]


@pytest.mark.parametrize("q", [0.6, 1.0])
def test_atoms_without_a_letter_exclude_those_of_their_name_with_one(q):
    backbone = residue(("A", 5), names=["N", "CA", "C", "O"])
    atoms = table(
        backbone, residue(("A", 5), letters={"": q}, names=["CB"]), residue(("A", 5), letters={"B": 0.4}, names=["CB"])
    )
    (pair,) = automatic_groups(atoms)
    assert (pair.kind, [group.atoms.tolist() for group in pair.groups]) == ("complete", [[4], [5]])
    assert pair.groups[0].reason == "conformer without a letter of residue A/5 ALA; excludes B"
    assert pair.groups[1].reason == "conformer B of residue A/5 ALA; excludes the one without a letter"


def test_what_is_bonded_to_such_atoms_at_their_occupancy_goes_with_them():
    first = ligand(1, "", 0.6)
    first += [atom("C4", "LIG", ("L", 1), 0.6, x=4.4, y=0.3), atom("C5", "LIG", ("L", 1), 1.0, x=5.8, y=0.3)]
    grouping = automatic_groups(table(first, ligand(1, "B", 0.4, dx=0.3)))
    assert [group.atoms.tolist() for group in grouping.groups] == [[0, 1, 2, 3], [5, 6, 7]]


def test_another_residue_without_a_letter_is_excluded_whole():
    serine = [*residue(("A", 5), "SER", 1.0), atom("OG", "SER", ("A", 5), 1.0, x=20.0, y=-2.5)]
    grouping = automatic_groups(table(serine, residue(("A", 5), "THR", {"B": 0.3})))
    assert [group.atoms.tolist() for group in grouping.groups] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_an_atom_in_the_same_place_is_the_same_atom_whatever_its_name():
    rows = [atom("O1", "LIG", ("L", 1), 0.6), atom("O2", "LIG", ("L", 1), 0.4, x=0.4, altloc="B")]
    assert starts(automatic_groups(table(rows))) == [("complete", [0.6, 0.4])]


@pytest.mark.parametrize(
    ("distance", "kinds"), [(5.9, ["complete"]), (6.1, ["free", "free"]), (13.0, ["free", "free"])]
)
@pytest.mark.parametrize("letter", ["", "A"])
def test_letters_of_one_number_that_do_not_touch_exclude_nothing(distance, kinds, letter):
    rows = [atom("O", "HOH", ("W", 1), 0.5, altloc=one, x=x) for one, x in ((letter, 0.0), ("B", distance))]
    grouping = automatic_groups(table(rows))
    assert [s.kind for s in grouping] == kinds
    if letter and distance > 6:
        assert grouping.groups[0].reason.endswith("so free from 0 to 1; does not touch B of the same number")


def test_touching_is_passed_on_and_looks_at_all_atoms():
    rows = [atom("O", "HOH", ("W", 1), 0.3, altloc=letter, x=5.0 * i) for i, letter in enumerate("ABC")]
    assert [len(s.groups) for s in automatic_groups(table(rows))] == [3]
    far = [row | {"name": f"X{row['name']}", "x": row["x"] + 9.0} for row in ligand(1, "B", 0.5)]
    assert [s.kind for s in automatic_groups(table(ligand(1, "A", 0.5), far))] == ["free", "free"]
    near = [row | {"x": row["x"] - 1.5} for row in far]
    assert [s.kind for s in automatic_groups(table(ligand(1, "A", 0.5), near))] == ["complete"]


@pytest.mark.parametrize("dx", [0.9, 1.1])
def test_a_ligand_under_two_numbers_is_one_set(dx):
    shifted = [row | {"z": dx} for row in ligand(2, "B", 1.0)]
    grouping = automatic_groups(table(ligand(1, "A", 1.0), shifted))
    assert starts(grouping) == ([("complete", [1.0, 1.0])] if dx < 1 else [("free", [1.0])] * 2)
    if dx < 1:
        assert grouping.groups[0].reason == (
            "conformer A of residue L/1 LIG; excludes L/2/LIG:B; joined with what lies on top of it"
        )


def test_a_conformer_that_was_numbered_anew():
    first, renumbered = residue(("A", 54), letters={"A": 0.59}), residue(("A", 54), letters={"B": 0.44})
    grouping = automatic_groups(table(first, [row | {"resseq": 354} for row in renumbered]))
    assert described(grouping) == [("complete", ["A/54/ALA:A", "A/354/ALA:B"])]


def test_a_partial_ligand_without_a_letter_on_top_of_one_with_a_letter():
    grouping = automatic_groups(table(ligand(1, "", 0.5), ligand(2, "B", 0.3)))
    assert starts(grouping) == [("incomplete", [0.5, 0.3])]
    assert grouping.groups[0].reason.startswith("conformer without a letter of residue L/1 LIG; excludes L/2/LIG:B")


def test_what_excludes_two_that_may_be_there_together_is_told():
    ends = [
        row | {"altloc": letter}
        for letter, number, dx in (("A", 1, 0.0), ("C", 3, 6.2))
        for row in ligand(number, letter, 0.7, dx=dx)
    ]
    grouping = automatic_groups(table(ends, ligand(2, "B", 0.6, n=6)))
    assert [s.kind for s in grouping] == ["free"] * 3
    assert grouping.warnings[-1] == (
        "groups in no common set lie on top of each other: L/1/LIG:A and L/2/LIG:B (0.70 + 0.60), "
        "L/3/LIG:C and L/2/LIG:B (0.70 + 0.60); make a set of them"
    )


def test_waters_in_the_place_of_a_ligand_are_told_although_all_sums_are_one_now():
    waters = [atom("O", "HOH", ("W", n), 0.4, altloc="B", x=x) for n, x in ((1, 0.0), (2, 3.0))]
    grouping = automatic_groups(table(ligand(1, "A", 0.6, n=6), waters))
    assert [s.kind for s in grouping] == ["free"] * 3
    assert "L/1/LIG:A and W/1/HOH:B (0.60 + 0.40), L/1/LIG:A and W/2/HOH:B (0.60 + 0.40)" in grouping.warnings[-1]


@pytest.mark.parametrize("q", [0.6, 0.4])
def test_groups_of_one_letter_on_top_of_each_other_are_told_whatever_their_sum(q):
    # closer than 1 Å there is no room for both
    warning = automatic_groups(table(ligand(1, "A", 0.6), ligand(2, "A", q))).warnings[-1]
    assert f"lie on top of each other: L/1/LIG:A and L/2/LIG:A (0.60 + {q:.2f}); make a set" in warning


@pytest.mark.parametrize(("x", "q", "told"), [(0.3, 1.0, True), (1.1, 1.0, False), (0.3, 0.0, False)])
def test_a_letter_on_top_of_an_atom_that_is_always_there_is_told(x, q, told):
    full = [atom("O", "HOH", ("W", n), q, x=40.0 * n + x) for n in (1, 2)]
    lone = [atom("O", "HOH", ("W", 3), 0.4, altloc="A", x=40.0)]
    warnings = [w for w in automatic_groups(table(full, lone)).warnings if "on top" in w]
    expected = (
        "groups lie on top of atoms of no group, which keep their occupancy: W/3/HOH:A and W/1/HOH/O (0.40 + 1.00); "
        "give both letters to sum to 1, or make a set of them"
    )
    assert warnings == ([expected] if told else [])


def test_groups_of_the_user_are_told_of_unless_they_are_a_set():
    atoms = table(ligand(1, "A", 0.8), ligand(2, "A", 0.8))
    groups = {"one": UserGroup(("1",)), "two": UserGroup(("2",))}

    def warnings_of(*sets):
        user = UserGroups(groups, sets)
        return choose_groups(atoms, user, select=lambda text: [0, 1, 2] if text == "1" else [3, 4, 5]).warnings

    assert "one and two (0.80 + 0.80); make a set of them" in warnings_of()[-1]
    assert not any("on top" in warning for warning in warnings_of(UserSet(("one", "two"))))


@pytest.mark.parametrize(
    ("n", "q", "kind"),
    [(12, 0.08, "complete"), (8, 0.12, "complete"), (12, 0.07, "incomplete"), (2, 0.48, "incomplete")],
)
def test_the_sum_of_many_letters_may_miss_one_by_their_rounding(n, q, kind):
    rows = [atom("O", "HOH", ("W", 1), q, altloc="ABCDEFGHIJKL"[i], x=0.1 * i) for i in range(n)]
    grouping = automatic_groups(table(rows))
    assert [s.kind for s in grouping] == [kind]
    assert bool(grouping.warnings) == (kind == "incomplete")
    grouping.to_tensor(table(rows)["occupancy"])  # no warning either
