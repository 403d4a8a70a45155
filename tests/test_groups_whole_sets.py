"""Which conformers sum to one."""

import numpy as np

from jax_occupancy.groups import Group, Grouping, GroupSet, whole_sets
from jax_occupancy.io import rounded_units


def make(n_atoms, *sets):
    """Sets as (kind, parent, {name: atoms})."""
    return Grouping(
        n_atoms,
        tuple(
            GroupSet(kind, tuple(Group(name, atoms, 0.5, True, "asked") for name, atoms in members.items()), parent)
            for kind, parent, members in sets
        ),
    )


def listed(grouping):
    return [[atoms.tolist() for atoms in one] for one in whole_sets(grouping)]


def test_only_complete_sets():
    grouping = make(
        7,
        ("complete", None, {"a": [0, 1], "b": [2]}),
        ("incomplete", None, {"c": [3], "d": [4]}),
        ("free", None, {"e": [5]}),
        ("complete", "e", {"f": [6], "g": []}),
    )
    assert listed(grouping) == [[[0, 1], [2]]]


def test_states_with_and_without_atoms():
    grouping = make(
        9,
        ("complete", "bound", {"p": [1], "q": [2]}),
        ("complete", "bound", {"r": [3], "s": [4]}),
        ("complete", None, {"ground": [0], "bound": []}),
        ("complete", "ground", {"t": [5], "u": [6]}),
        ("complete", "p", {"v": [7], "w": [8]}),
    )
    assert listed(grouping) == [
        [[0], [1], [2]],
        [[1], [2], [0]],
        [[3], [4], [0]],
        [[5], [6], [1], [2]],
        [[7], [8], [2], [0]],
    ]


def test_what_has_no_children_to_stand_for_it_is_left_out():
    grouping = make(3, ("complete", None, {"apo": [0], "bound": []}), ("incomplete", "bound", {"p": [1], "q": [2]}))
    assert listed(grouping) == []


def test_every_level_is_exact_after_rounding():
    grouping = make(
        8,
        ("complete", None, {"ground": [], "bound": []}),
        *[
            ("complete", state, {f"{state}{i}{x}": [4 * (state == "bound") + 2 * i + x] for x in (0, 1)})
            for state in ("ground", "bound")
            for i in (0, 1)
        ],
    )
    random = np.random.default_rng(0)
    for _ in range(50):
        ground = random.random()
        split = random.random(4)
        shares = np.column_stack([split, 1 - split]) * np.array([ground, ground, 1 - ground, 1 - ground])[:, None]
        units = rounded_units(shares.ravel(), decimals=2, sets=whole_sets(grouping)).reshape(4, 2).sum(axis=1)
        assert units[0] == units[1] == 100 - units[2] == 100 - units[3]
