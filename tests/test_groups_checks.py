"""What is said about suspicious occupancies."""

import pytest
from groups_models import atom, molecule, residue, table

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, automatic_groups, choose_groups


def warnings_of(*pieces, **options):
    return automatic_groups(table(*pieces), **options).warnings


def test_nothing_to_say():
    assert warnings_of(residue(("A", 1)), residue(("A", 2), letters={"A": 0.6, "B": 0.4})) == ()


@pytest.mark.parametrize("letters", [{"A": 0.33, "B": 0.33, "C": 0.33}, {"A": 0.51, "B": 0.51}])
def test_sums_within_rounding_are_not_worth_a_word(letters):
    assert warnings_of(residue(("A", 2), letters=letters)) == ()


@pytest.mark.parametrize(("b", "total"), [(0.2, "0.80"), (0.7, "1.30"), (0.43, "1.03")])
def test_sums_that_are_not_one(b, total):
    (warning,) = warnings_of(residue(("A", 2), letters={"A": 0.6, "B": b}))
    assert warning == (
        f"occupancies that exclude each other do not sum to 1 and will be made to: A/2/ALA:A + A/2/ALA:B = {total}"
    )


def test_a_ligand_that_is_not_always_there_is_kept_so():
    (warning,) = warnings_of(molecule(("A", 2), "LIG", {"A": 0.5, "B": 0.3}))
    assert warning.startswith(
        "occupancies sum to less than 1 and are kept so (incomplete): A/2/LIG:A + A/2/LIG:B = 0.80"
    )


def test_atoms_of_one_conformer_that_disagree():
    atoms = table(residue(("A", 2), letters={"A": 0.6, "B": 0.4}))
    atoms.loc[3, "occupancy"] = 0.57
    (warning,) = automatic_groups(atoms).warnings
    assert warning == "atoms of one group have different occupancies, their mean is used: A/2/ALA:A (0.57 to 0.60)"
    atoms.loc[3, "occupancy"] = 0.58
    assert automatic_groups(atoms).warnings == ()


def test_occupancies_out_of_range_are_clamped_and_listed():
    rows = residue(("A", 1), letters=1.2, names=["N"]) + residue(("A", 2), letters={"A": 1.5, "B": -0.25}, names=["CB"])
    grouping = automatic_groups(table(rows))
    assert grouping.warnings[0] == (
        "occupancies outside 0 to 1, clamped: A/1/ALA/N (1.20), A/2/ALA/CB:A (1.50), A/2/ALA/CB:B (-0.25)"
    )
    assert [group.start for group in grouping.groups] == [1.0, 0.0]


def test_lone_letters():
    (warning,) = warnings_of(molecule(("A", 201), "LIG", {"A": 0.6}), molecule(("A", 202), "ACY", 0.5))
    assert warning == "lone letters, refined freely from 0 to 1: A/201/LIG:A"


def test_conformers_at_zero():
    (warning,) = warnings_of(residue(("A", 2), letters={"A": 1.0, "B": 0.0}), residue(("A", 4), letters=0.0))
    assert warning == "groups at zero occupancy, lifted by a small margin because they are refined: A/2/ALA:B"


def test_hydrogens_at_zero():
    atoms = table(residue(("A", 2), letters={"A": 0.6, "B": 0.4}))
    atoms.loc[atoms["name"] == "O", ["element", "occupancy"]] = ["H", 0.0]
    grouping = automatic_groups(atoms)
    assert [group.start for group in grouping.groups] == [0.6, 0.4]
    assert grouping.warnings == (
        "hydrogens of other occupancy take that of the atoms they sit on: A/2/ALA:A (0.00 beside 0.60), "
        "A/2/ALA:B (0.00 beside 0.40)",
    )


@pytest.mark.parametrize(("distance", "clash"), [(0.79, True), (0.81, False)])
def test_overlapping_waters_without_letters(distance, clash):
    waters = [atom("O", "HOH", ("A", n), 0.5, x=-40.0 + distance * n) for n in (1, 2)]
    found = warnings_of(waters)
    assert bool(found) == clash
    if clash:
        assert "A/1/HOH/O and A/2/HOH/O" in found[0]


@pytest.mark.parametrize(("occupancies", "told"), [((1.0, 0.5), True), ((1.0, 1.0), True), ((1.0, 0.0), False)])
def test_overlap_of_atoms_without_letters_that_are_there_at_once(occupancies, told):
    waters = [atom("O", "HOH", ("A", n), q) for n, q in enumerate(occupancies, 1)]
    expected = ("atoms overlap but have no letters: A/1/HOH/O and A/2/HOH/O; give them letters to sum to 1",)
    assert warnings_of(waters) == (expected if told else ())
    named = [atom("O", "HOH", ("A", 1), 0.5, altloc="A"), atom("O", "HOH", ("A", 2), 0.5)]
    assert not any("no letters" in warning for warning in warnings_of(named))


def test_a_residue_that_is_there_twice_at_full_occupancy_is_told():
    assert "A/2/ALA/CB and A/2/ALA/CB" in warnings_of(residue(("A", 2)), residue(("A", 2)))[0]
    assert warnings_of(residue(("A", 2)), residue(("A", 3))) == ()


def test_one_atom_twice_without_letters():
    rows = [atom("O", "HOH", ("A", 1), 0.5, x=x) for x in (0.0, 2.0)]
    (warning,) = warnings_of(rows)
    assert warning == ("atoms overlap but have no letters: A/1/HOH/O and A/1/HOH/O; give them letters to sum to 1")


def test_atoms_of_one_residue_that_are_near_are_no_clash():
    rows = [atom(name, "XYZ", ("A", 1), 0.5, x=0.7 * i) for i, name in enumerate(("C1", "C2"))]
    assert warnings_of(rows) == ()


def test_long_lists_are_cut():
    (warning,) = warnings_of(*[molecule(("A", n), "LIG", {"A": 0.5}) for n in range(1, 14)])
    assert "A/10/LIG:A and 3 more" in warning
    assert "A/11/LIG:A" not in warning


def told_of_images(pieces, images, user=None):
    """What is said of symmetry images, given those within 1 Å."""
    found = choose_groups(
        table(*pieces), user, select=lambda text: [int(text)], images=lambda distance: images if distance == 1.0 else []
    )
    told = [w.partition(": ")[2].partition("; ")[0] for w in found.warnings if "on top of symmetry images" in w]
    return told[0] if told else ""


@pytest.mark.parametrize("letters", [("A", "B"), ("A", "A"), ("", ""), ("A", "")])
@pytest.mark.parametrize("q", [(0.5, 0.5), (1.0, 1.0), (0.4, 1.0), (0.5, 0.0)])
def test_waters_on_top_of_each_other_through_symmetry(letters, q):
    waters = [atom("O", "HOH", ("A", n), q[n], altloc=letters[n], x=9.0 * n) for n in (0, 1)]
    first, second = ("A/0/HOH/O", "A/1/HOH/O")
    first, second = (name + f":{letter}" * bool(letter) for name, letter in zip((first, second), letters, strict=True))
    told = f"{first} and {second} by symmetry 2_564 ({q[0]:.2f} + {q[1]:.2f})"
    assert told_of_images([waters], [(0, 1, "2_564")]) == (told if min(q) > 0 else "")


def test_a_set_over_symmetry_is_not_told():
    waters = [atom("O", "HOH", ("A", n), 0.5, altloc="AB"[n], x=9.0 * n) for n in (0, 1)]
    groups = {"one": UserGroup(("0",)), "two": UserGroup(("1",))}
    images = [(0, 1, "2_564")]
    assert told_of_images([waters], images, UserGroups(groups))
    assert not told_of_images([waters], images, UserGroups(groups, (UserSet(("one", "two")),)))


@pytest.mark.parametrize(("q", "told"), [(0.33, False), (0.5, True), (1.0, True)])
def test_a_molecule_that_meets_its_images_is_told_unless_there_is_room_for_all(q, told):
    images = [(0, 1, "2_555"), (0, 2, "3_555"), (1, 2, "2_555")]
    found = told_of_images([molecule(("A", 1), "SO4", q)], images)
    first = f"A/1/SO4/C1 and A/1/SO4/C2 by symmetry 2_555 ({q:.2f} + {q:.2f}), "
    assert found == (first + f"A/1/SO4/C1 and A/1/SO4/C3 by symmetry 3_555 ({q:.2f} + {q:.2f})" if told else "")
    assert bool(told_of_images([atom("O", "HOH", ("A", 1), q)], [(0, 0, "2_555")])) == (q > 0.5)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([(0, 1), (0, 3), (1, 2)], True),  # both letters meet the image of each
        ([(0, 1), (0, 3)], True),  # A meets the images of A and B, one of which is there
        ([(0, 1)], False),
        ([(0, 3)], False),
    ],
)
def test_letters_that_meet_images_of_both_are_counted_together(pairs, told):
    ligand = molecule(("A", 1), "LIG", {"A": 0.5, "B": 0.5}, n=2)
    assert bool(told_of_images([ligand], [(*pair, "2_555") for pair in pairs])) == told


@pytest.mark.parametrize(
    ("letters", "images", "told"),
    [
        ({"A": 0.5, "B": 0.5}, [(0, 1)], "A/1/LIG:A (1/2)"),
        ({"A": 0.25, "B": 0.25}, [(0, 1)], "A/1/LIG:A (1/2)"),
        ({"A": 0.25, "B": 0.25}, [(0, 1), (2, 3)], ""),
        ({"A": 0.5, "B": 0.5}, [(0, 1), (2, 3)], "A/1/LIG:A (1/2), A/1/LIG:B (1/2)"),
        ({"A": 0.5, "B": 0.5}, [(0, 3)], ""),
        ({"A": 0.5}, [(0, 1)], ""),
        ({"A": 0.6}, [(0, 1)], "A/1/LIG:A (1/2)"),
    ],
)
def test_groups_that_their_set_gives_more_than_their_images_leave_are_told(letters, images, told):
    found = choose_groups(
        table(molecule(("A", 1), "LIG", letters, n=2)), images=lambda _: [(*pair, "2_555") for pair in images]
    )
    said = [w.partition("from more: ")[2].partition(";")[0] for w in found.warnings if "their own symmetry" in w]
    assert said == ([told] if told else [])


@pytest.mark.parametrize(("fixed", "told"), [(0.5, False), (0.4, True)])
def test_a_group_that_a_fixed_sibling_leaves_little_is_not_told(fixed, told):
    water = [atom("O", "HOH", ("A", n), 0.5, altloc="AB"[n], x=9.0 * n) for n in (0, 1)]
    groups = {"one": UserGroup(("0",)), "two": UserGroup(("1",), fixed=fixed)}
    found = choose_groups(
        table(water),
        UserGroups(groups, (UserSet(("one", "two")),)),
        select=lambda text: [int(text)],
        images=lambda _: [(0, 0, "2_555")],
    )
    assert any("their own symmetry" in w for w in found.warnings) == told
