"""What a user asks for, checked by itself."""

import pytest

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, parse_state
from jax_occupancy.groups._user import resolve

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


def test_selections_are_united_and_sorted():
    answers = {"x": [3, 1], "y": [2, 1]}
    assert resolve(("x", "y"), answers.__getitem__, 5, "group 'g'").tolist() == [1, 2, 3]
    assert resolve((), None, 5, "group 'g'").size == 0


def test_selections_that_fail_are_named():
    with pytest.raises(ValueError, match="selection 'x' of group 'g' matches no atom"):
        resolve(("x",), lambda text: [], 5, "group 'g'")

    def broken(text):
        raise RuntimeError("column 3")

    with pytest.raises(ValueError, match="selection 'x' of remove cannot be read: column 3"):
        resolve(("x",), broken, 5, "remove")
    with pytest.raises(ValueError, match="give select="):
        resolve(("x",), None, 5, "remove")


@pytest.mark.parametrize("key", ["remove", "link", "separate", "individual"])
def test_blank_selections_are_not_everything(key):
    with pytest.raises(ValueError, match=f"{key} has a blank selection"):
        UserGroups(**{key: ("A", " ")})
    with pytest.raises(ValueError, match="group 'a' has a blank selection"):
        UserGroups({"a": UserGroup(("",))})
