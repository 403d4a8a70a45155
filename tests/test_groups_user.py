"""What a user asks for, checked by itself."""

import pytest
from groups_models import molecule, table

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, choose_groups, parse_state

TWO = {"a": UserGroup(("A",)), "b": UserGroup(("B",))}


@pytest.mark.parametrize("fixed", [-0.1, 1.5])
def test_fixed_values_are_occupancies(fixed):
    with pytest.raises(ValueError, match=f"'a' is fixed at {fixed}"):
        UserGroups({"a": UserGroup(("A",), fixed)})


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (UserSet(("a", "z")), r"unknown groups \['z'\]; known are \['a', 'b'\]"),
        (UserSet(("a", "b"), parent="p"), r"unknown groups \['p'\]"),
        (UserSet(("a", "b"), "full"), "is 'full'; wanted complete or incomplete"),
        (UserSet(("a",)), "at least two"),
        (UserSet(("a", "a")), "are in two sets"),
    ],
)
def test_sets_that_make_no_sense(one, message):
    with pytest.raises(ValueError, match=message):
        UserGroups(TWO, (one,))


def test_a_group_in_two_sets():
    with pytest.raises(ValueError, match=r"\['b'\] are in two sets"):
        UserGroups(TWO | {"c": UserGroup(("C",))}, (UserSet(("a", "b")), UserSet(("b", "c"))))


def test_a_group_of_nothing():
    with pytest.raises(ValueError, match=r"\['n'\] select nothing and are no parent"):
        UserGroups({"n": UserGroup()})


def test_a_fixed_state():
    with pytest.raises(ValueError, match="the state 's' is fixed"):
        UserGroups(TWO | {"s": UserGroup((), 0.5)}, (UserSet(("a", "b"), parent="s"),))


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"ground": ("A",)}, "only the state 'ground'"),
        ({"ground": ("A",), "bound": ()}, "'bound' has no letters"),
        ({"ground": ("A", "B"), "bound": ("B",)}, "'B' belongs to the states 'ground' and 'bound'"),
    ],
)
def test_states_that_make_no_sense(states, message):
    with pytest.raises(ValueError, match=message):
        UserGroups(states=states)


def test_states_of_the_command_line():
    assert parse_state(" bound = C , D") == ("bound", ("C", "D"))
    for text in ("bound", "=A", "bound=", "bound=,"):
        with pytest.raises(ValueError, match="such as ground=A,B"):
            parse_state(text)


FIVE = table(*[molecule(("W", n), "HOH", 0.5) for n in range(5)])


def test_selections_are_united_and_sorted():
    answers = {"x": [3, 1], "y": [2, 1]}
    user = UserGroups({"g": UserGroup(("x", "y"))})
    assert choose_groups(FIVE, user, select=answers.__getitem__)["g"].atoms.tolist() == [1, 2, 3]


def test_languages_stand_side_by_side():
    user = UserGroups({"g": UserGroup(("x", "phenix: resseq 3", "refmac: chain W residue 0"))})
    group = choose_groups(FIVE, user, select=lambda text: [1])["g"]
    assert group.atoms.tolist() == [0, 1, 3]
    assert group.reason == "asked for: x, resseq 3, chain W residue 0"


def test_selections_that_fail_are_named():
    remove = UserGroups(remove=("x",))
    with pytest.raises(ValueError, match="selection 'x' of group 'g' matches no atom"):
        choose_groups(FIVE, UserGroups({"g": UserGroup(("x",))}), select=lambda text: [])

    def broken(text):
        raise RuntimeError("column 3")

    with pytest.raises(ValueError, match="selection 'x' of remove cannot be read: column 3"):
        choose_groups(FIVE, remove, select=broken)
    with pytest.raises(ValueError, match="give select="):
        choose_groups(FIVE, remove)


@pytest.mark.parametrize("key", ["remove", "link", "separate", "individual"])
def test_blank_selections_are_not_everything(key):
    with pytest.raises(ValueError, match=f"{key} has a blank selection"):
        UserGroups(**{key: ("A", " ")})
    with pytest.raises(ValueError, match="group 'a' has a blank selection"):
        UserGroups({"a": UserGroup(("",))})
