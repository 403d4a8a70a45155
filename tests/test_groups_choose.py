"""The user's groups together with the automatic ones."""

import numpy as np
import pytest
from groups_models import described, molecule, residue, table

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, choose_groups

AB = {"A": 0.6, "B": 0.4}


def choose(atoms, user, **options):
    """Choose with selections that are pandas expressions on the table."""
    return choose_groups(atoms, user, select=lambda text: np.flatnonzero(atoms.eval(text)), **options)


def example():
    return table(
        residue(("A", 5), letters=AB),
        molecule(("L", 1), "LIG", {"A": 0.3, "B": 0.3}),
        molecule(("W", 1), "HOH", 0.6),
        molecule(("W", 2), "HOH", 0.4),
    )


def group(*selection, **more):
    return UserGroup(selection, **more)


def test_nothing_asked_is_automatic():
    assert described(choose(example(), None)) == described(choose(example(), UserGroups()))
    assert len(choose(example(), None)) == 4


def test_a_state_over_chains():
    user = UserGroups(
        {
            "in": group("chainid == 'L' and altloc == 'A'", "chainid == 'W' and resseq == 1"),
            "out": group("resseq == 2"),
        },
        (UserSet(("in", "out")),),
    )
    grouping = choose(example(), user)
    assert described(grouping) == [
        ("complete", ["in", "out"]),
        ("complete", ["A/5/ALA:A", "A/5/ALA:B"]),
        ("free", ["L/1/LIG:B"]),
    ]
    assert grouping["in"].atoms.tolist() == [10, 11, 12, 16]
    assert grouping["in"].start == pytest.approx((3 * 0.3 + 0.6) / 4)
    assert grouping["in"].reason.startswith("asked for: chainid == 'L'")
    assert grouping["in"].residues == "L/1, W/1"


def test_a_group_in_no_set_is_free():
    grouping = choose(example(), UserGroups({"waters": group("chainid == 'W'")}))
    assert described(grouping)[0] == ("free", ["waters"])


def test_fixed_groups_keep_their_value():
    user = UserGroups(
        {"a": group("altloc == 'A' and chainid == 'A'", fixed=0.25), "b": group("altloc == 'B' and chainid == 'A'")},
        (UserSet(("a", "b")),),
    )
    grouping = choose(example(), user)
    assert (grouping["a"].refinable, grouping["a"].start) == (False, 0.25)
    assert grouping["a"].reason.endswith("fixed at 0.25")
    # The groups say so, and the module doesn't repeat it.
    assert any("do not sum to 1" in warning for warning in grouping.warnings)
    q = np.asarray(grouping.to_tensor(example()["occupancy"])())
    np.testing.assert_allclose(q[:10], [0.25] * 5 + [0.75] * 5, atol=2e-6)


def test_removed_atoms_keep_their_occupancy():
    grouping = choose(example(), UserGroups(remove=("chainid == 'L'", "resseq == 2")))
    assert described(grouping) == [("complete", ["A/5/ALA:A", "A/5/ALA:B"]), ("free", ["W/1/HOH"])]


def test_nested_poses_under_a_state_without_atoms():
    user = UserGroups(
        {
            "apo": group("resseq == 2"),
            "bound": UserGroup(),
            "pose 1": group("chainid == 'L' and altloc == 'A'"),
            "pose 2": group("chainid == 'L' and altloc == 'B'"),
        },
        (UserSet(("apo", "bound")), UserSet(("pose 1", "pose 2"), parent="bound")),
    )
    grouping = choose(example(), user)
    assert [(s.kind, s.parent) for s in grouping][:2] == [("complete", None), ("complete", "bound")]
    assert grouping["bound"].start == pytest.approx(0.6)
    assert grouping["bound"].atoms.size == 0
    assert grouping.warnings == ()
    q = np.asarray(grouping.to_tensor(example()["occupancy"])())
    np.testing.assert_allclose(q, example()["occupancy"], atol=2e-6)


def test_names_of_the_user_come_first():
    grouping = choose(example(), UserGroups({"W/2/HOH": group("chainid == 'W' and resseq == 1")}))
    assert [g.name for g in grouping.groups if g.name.startswith("W")] == ["W/2/HOH", "W/2/HOH#2"]


def test_overlaps_are_named():
    user = UserGroups({"a": group("chainid == 'W'"), "b": group("resseq == 2")})
    with pytest.raises(ValueError, match="group 'a' and group 'b' overlap in 1 atoms: W/2/HOH/O"):
        choose(example(), user)
    with pytest.raises(ValueError, match="group 'a' and remove overlap in 2 atoms: W/1/HOH/O, W/2/HOH/O"):
        choose(example(), UserGroups({"a": group("chainid == 'W'")}, remove=("chainid == 'W'",)))


def test_empty_selections_are_named():
    with pytest.raises(ValueError, match="'chainid == \"Z\"' of group 'z' matches no atom"):
        choose(example(), UserGroups({"z": group('chainid == "Z"')}))


def test_circles_are_named():
    atoms = table(*[molecule(("W", n), "HOH", 0.5) for n in (1, 2, 3, 4)])
    groups = {name: group(f"resseq == {n}") for n, name in enumerate("abcd", 1)}
    user = UserGroups(groups, (UserSet(("a", "b"), parent="c"), UserSet(("c", "d"), parent="a")))
    with pytest.raises(ValueError, match="circle: a -> c -> a"):
        choose(atoms, user)


def test_forced_links_join_letters_over_chains():
    grouping = choose(example(), UserGroups(link=("altloc in ['A', 'B']",)))
    assert described(grouping)[0] == ("complete", ["A/5, L/1:A", "A/5, L/1:B"])
    assert "linked as asked" in grouping.groups[0].reason


def test_a_residue_with_fewer_letters_can_be_linked():
    atoms = table(residue(("A", 5), letters=AB), molecule(("L", 1), "LIG", {"B": 0.4}))
    grouping = choose(atoms, UserGroups(link=("occupancy < 1",)))
    assert [g.atoms.size for g in grouping.groups] == [5, 8]


def test_forced_links_that_cannot_be():
    atoms = table(residue(("A", 5), letters=AB), molecule(("L", 1), "LIG", {"C": 0.4}), molecule(("W", 1), "HOH", 0.5))
    with pytest.raises(ValueError, match=r"link 'resseq > 0' cannot be made letter by letter: L/1 have letters other"):
        choose(atoms, UserGroups(link=("resseq > 0",)))
    with pytest.raises(ValueError, match=r"link 'resseq == 5' needs at least two residues with letters.*found A/5"):
        choose(atoms, UserGroups(link=("resseq == 5",)))


def test_forbidden_links():
    atoms = table(*[residue(("A", n), letters=AB) for n in (1, 2, 3, 4)])
    grouping = choose(atoms, UserGroups(separate=("resseq == 2",)))
    assert [s.groups[0].name for s in grouping] == ["A/1/ALA:A", "A/2/ALA:A", "A/3-4:A"]
    assert "kept apart from A/2: as asked" in grouping.groups[0].reason


def test_atoms_one_by_one():
    grouping = choose(example(), UserGroups(individual=("chainid == 'L' and name != 'C3'",), remove=("name == 'C3'",)))
    alone = [s for s in grouping if s.groups[0].name.startswith("L/")]
    assert described(alone) == [("free", [f"L/1/LIG/{name}"]) for name in ("C1:A", "C2:A", "C1:B", "C2:B")]
    assert alone[0].groups[0].reason == "atom L/1/LIG/C1:A is refined by itself, as asked"


def test_groups_and_removal_come_before_atoms_one_by_one():
    user = UserGroups({"one": group("name == 'C1' and altloc == 'A'")}, individual=("chainid == 'L'",),
                      remove=("name == 'C3' and chainid == 'L'",))  # fmt: skip
    alone = [g.name for g in choose(example(), user).groups if "by itself" in g.reason]
    assert alone == [f"L/1/LIG/{name}" for name in ("C2:A", "C1:B", "C2:B")]


def test_nothing_automatic():
    user = UserGroups(
        {"waters": group("chainid == 'W'")}, individual=("chainid == 'L' and name == 'C1'",), automatic=False
    )
    assert [g.name for g in choose(example(), user).groups] == ["waters", "L/1/LIG/C1:A", "L/1/LIG/C1:B"]


def test_options_reach_the_automatic_choice():
    atoms = table(residue(("A", 1), letters=AB), residue(("A", 2), letters=AB), molecule(("W", 1), "HOH", 1.0))
    assert len(choose(atoms, None, link=False, waters="individual")) == 3
    with pytest.raises(ValueError, match="waters is 'none'"):
        choose(atoms, None, waters="none")


@pytest.mark.parametrize("free", [False, True])
def test_fixed_values_that_leave_no_valid_sum_are_named(free):
    atoms = table(residue(("A", 5), letters={"A": 0.5, "B": 0.3, "C": 0.2}))
    groups = {n: group(f"altloc == {n!r}", fixed=None if n == "C" else 0.7) for n in ("ABC" if free else "AB")}
    with pytest.raises(ValueError, match=r"no valid sum: A \+ B = 1\.40"):
        choose(atoms, UserGroups(groups, (UserSet(tuple(groups)),)))


@pytest.mark.parametrize("values", [(0.6, 0.41), (0.6, 0.39)])
def test_fixed_sets_are_not_said_to_be_rescaled(values):
    groups = {n: group(f"altloc == {n!r} and chainid == 'A'", fixed=q) for n, q in zip("AB", values, strict=True)}
    grouping = choose(example(), UserGroups(groups, (UserSet(("A", "B")),), automatic=False))
    assert grouping.warnings == ()
    assert float(sum(np.asarray(grouping.to_tensor(example()["occupancy"])())[[0, 5]])) == pytest.approx(1, abs=1e-6)


def test_links_and_their_opposite_for_one_residue():
    with pytest.raises(ValueError, match="both asked for L/1"):
        choose(example(), UserGroups(link=("altloc in ['A', 'B']",), separate=("chainid == 'L'",)))


def test_a_name_of_the_user_that_an_automatic_group_has_is_told():
    grouping = choose(example(), UserGroups({"W/2/HOH": group("chainid == 'W' and resseq == 1")}))
    assert any("W/2/HOH is now W/2/HOH#2" in warning for warning in grouping.warnings)


@pytest.mark.parametrize(("distance", "told"), [(0.3, True), (5.9, True), (6.1, False)])
def test_a_group_that_holds_letters_which_exclude_each_other_is_told(distance, told):
    pair = [row | {"altloc": x, "occupancy": q, "y": y} for x, q, y in (("A", 0.7, 0.0), ("B", 0.3, distance))
            for row in residue(("A", 30), names=["CB"])]  # fmt: skip
    atoms = table(pair, residue(("A", 31), letters=AB))
    grouping = choose(atoms, UserGroups({"both": group("resseq == 30")}))
    told_ones = [warning for warning in grouping.warnings if "exclude each other, which" in warning]
    assert told_ones == told * [
        "groups asked for hold atoms that exclude each other, which are then there at once: both (A/30/ALA:A with "
        "A/30/ALA:B, 1.00 in all); make a group of each and a set of them"
    ]


def test_a_group_of_residues_on_top_of_each_other_is_told():
    atoms = table(
        molecule(("L", 1), "LIG", {"A": 1.0}), [row | {"chainid": "M"} for row in molecule(("L", 1), "LIG", 0.9)]
    )
    grouping = choose(atoms, UserGroups({"both": group("resname == 'LIG'")}))
    assert any("both (L/1/LIG:A with M/1/LIG, 1.90 in all)" in warning for warning in grouping.warnings)
    apart = choose(example(), UserGroups({"two": group("chainid == 'W'")}))
    assert not any("which are then there at once" in warning for warning in apart.warnings)
