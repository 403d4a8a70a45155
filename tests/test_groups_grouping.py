"""Groups, sets and groupings as data."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jax_occupancy.groups import Group, Grouping, GroupSet


def group(name, atoms, start=0.5, **more):
    return Group(name, atoms, start, more.pop("refinable", True), "because", **more)


def nested():
    """A state "bound" without atoms beside "apo", and two poses under "bound"."""
    states = GroupSet("complete", (group("apo", [0, 1], 0.7), group("bound", [], 0.3)))
    poses = GroupSet("complete", (group("p", [2], 0.2), group("q", [3, 4], 0.1)), "bound")
    return Grouping(6, (states, poses, GroupSet("free", (group("w", [5]),))))


def test_positions_are_copied_and_read_only():
    atoms = np.array([1, 2])
    made = group("g", atoms)
    atoms[0] = 7
    assert made.atoms.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        made.atoms[0] = 3


@pytest.mark.parametrize("atoms", [[1, 1], [-1, 2]])
def test_bad_positions(atoms):
    with pytest.raises(ValueError, match="group 'g' has the positions"):
        group("g", atoms)


@pytest.mark.parametrize("start", [-0.1, 1.1, float("nan")])
def test_bad_start(start):
    with pytest.raises(ValueError, match="wanted an occupancy from 0 to 1"):
        group("g", [0], start)


@pytest.mark.parametrize(("kind", "n"), [("free", 0), ("free", 2), ("complete", 1), ("incomplete", 0)])
def test_sets_of_the_wrong_size(kind, n):
    with pytest.raises(ValueError, match="at least two in any other"):
        GroupSet(kind, tuple(group(str(i), [i]) for i in range(n)))


def test_a_free_group_has_no_parent():
    with pytest.raises(ValueError, match="'g' has the parent 'p'"):
        GroupSet("free", (group("g", [0]),), "p")


def test_names_must_be_unique():
    with pytest.raises(ValueError, match=r"occur twice: \['g'\]"):
        Grouping(2, (GroupSet("complete", (group("g", [0]), group("g", [1]))),))


def test_overlap_names_both_groups():
    with pytest.raises(ValueError, match=r"'a' and 'b' overlap in 1 atoms, first at positions \[1\]"):
        Grouping(3, (GroupSet("complete", (group("a", [0, 1]), group("b", [1, 2]))),))


def test_atoms_out_of_range():
    with pytest.raises(ValueError, match="group 'a' has atom 3, but there are 3 atoms"):
        Grouping(3, (GroupSet("free", (group("a", [3]),)),))


def test_unknown_parent():
    with pytest.raises(ValueError, match="'p', which is no group"):
        Grouping(2, (GroupSet("complete", (group("a", [0]), group("b", [1])), "p"),))


def test_circular_parents_are_named():
    first = GroupSet("complete", (group("a", [0]), group("b", [1])), "c")
    second = GroupSet("complete", (group("c", [2]), group("d", [3])), "a")
    with pytest.raises(ValueError, match="circle: a -> c -> a"):
        Grouping(4, (first, second))


def test_dictionary_is_the_documented_json():
    plain = nested().with_warnings("look here").to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["n_atoms"] == 6
    assert plain["warnings"] == ["look here"]
    assert [(s["kind"], s["parent"]) for s in plain["sets"]] == [
        ("complete", None),
        ("complete", "bound"),
        ("free", None),
    ]
    assert plain["sets"][1]["groups"][1] == {
        "name": "q",
        "atoms": [3, 4],
        "start": 0.1,
        "refinable": True,
        "reason": "because",
    }


def test_dictionary_leaves_out_what_is_fixed_altogether():
    fixed = GroupSet("free", (group("f", [0], refinable=False),))
    half = GroupSet("complete", (group("a", [1], refinable=False), group("b", [2])))
    plain = Grouping(3, (fixed, half)).to_dict()
    assert [[g["name"] for g in s["groups"]] for s in plain["sets"]] == [["a", "b"]]


def test_frame():
    frame = nested().to_frame()
    assert list(frame.columns) == [
        *("name", "set", "kind", "parent", "n_atoms", "residues", "altloc", "start", "refinable", "reason")
    ]
    assert frame["name"].tolist() == ["apo", "bound", "p", "q", "w"]
    assert frame["set"].tolist() == [0, 0, 1, 1, 2]
    assert frame["n_atoms"].tolist() == [2, 0, 1, 2, 1]
    assert frame["parent"].tolist()[2:4] == ["bound", "bound"]


def test_frame_of_nothing_has_the_columns():
    assert Grouping(0).to_frame().shape == (0, 10)


def test_groups_by_name_and_iteration():
    grouping = nested()
    assert grouping["q"].atoms.tolist() == [3, 4]
    assert [s.kind for s in grouping] == ["complete", "complete", "free"]
    assert len(grouping) == 3
    assert [g.name for g in grouping.groups] == ["apo", "bound", "p", "q", "w"]


def gone(n, *positions):
    return np.isin(np.arange(n), positions)


def test_without_some_atoms_positions_are_counted_anew():
    triple = GroupSet("complete", tuple(group(name, [i, i + 3]) for i, name in enumerate("abc")))
    left = Grouping(7, (triple, GroupSet("free", (group("w", [6]),)))).without(gone(7, 1, 4, 5))
    assert left.n_atoms == 4
    assert [(g.name, g.atoms.tolist(), g.counted.tolist()) for g in left.groups] == [
        ("a", [0, 2], [0, 2]),
        ("c", [1], [1]),
        ("w", [3], [3]),
    ]
    assert [s.kind for s in left] == ["complete", "free"]


@pytest.mark.parametrize(("kind", "names"), [("complete", []), ("incomplete", ["a"])])
def test_who_is_left_alone(kind, names):
    left = Grouping(2, (GroupSet(kind, (group("a", [0]), group("b", [1]))),)).without(gone(2, 1))
    assert [(s.kind, [g.name for g in s.groups]) for s in left] == [("free", [name]) for name in names]


def test_a_state_that_is_left_alone_shares_out_the_whole():
    left = nested().without(gone(6, 0, 1, 5))
    assert [(s.parent, [g.name for g in s.groups]) for s in left] == [(None, ["p", "q"])]
    with pytest.raises(ValueError, match="a complete set has the 1 groups"):
        nested().without(gone(6, 2))
    states, *others = nested()
    across = Grouping(6, (replace(states, whole=0.5), *others))
    assert [(s.parent, s.whole, s.relation) for s in across.without(gone(6, 0, 1, 5))] == [(None, 0.5, "= 0.50")]


def test_what_a_set_across_a_symmetry_element_sums_to():
    pair, alone = (group("a", [0]), group("b", [1])), (group("a", [0]),)
    sets = [GroupSet("complete", pair, whole=0.5), GroupSet("incomplete", pair, whole=1 / 3)]
    sets += [GroupSet("free", alone, whole=0.25), GroupSet("free", alone)]
    assert [s.relation for s in sets] == ["= 0.50", "≤ 0.33", "≤ 0.25", ""]
    assert Grouping(2, (sets[1],)).to_dict()["sets"][0]["whole"] == 1 / 3
    assert [(s.kind, s.whole) for s in Grouping(2, (sets[1],)).without(gone(2, 1))] == [("free", 1 / 3)]
