"""Refmac's keywords, read and written."""

from functools import partial

import pytest
from groups_models import molecule, residue, table
from test_groups_selecting import small, structure_of

from jax_occupancy.groups import (
    Group,
    Grouping,
    GroupSet,
    UserGroup,
    UserSet,
    automatic_groups,
    choose_groups,
    format_refmac,
    parse_refmac,
)
from jax_occupancy.io import read_model, select_atoms

FILE = """
make hydr no              # other keywords are Refmac's business
occupancy group id 1 chain A residue 45 alt A
OCCU GROU ID 1 CHAI A RESI FROM 5 TO 9 ALT A   ! united with the line above
occupancy group id 2 chain A residue -3B atom CG -
   alt B
occupancy group id lig chain L
occupancy group alts complete 1 2
occupancy group id 7 chain W residue 1
occupancy group id 8 chain W residue 2
occupancy group alts incomplete 7 8
occupancy refine ncycle 5
"""


def test_every_keyword():
    user = parse_refmac(FILE)
    assert user.groups == {
        "1": UserGroup(("//A/45./*:A", "//A/5.-9./*:A")),
        "2": UserGroup(("//A/-3.B/CG:B",)),
        "lig": UserGroup(("//L",)),
        "7": UserGroup(("//W/1./*",)),
        "8": UserGroup(("//W/2./*",)),
    }
    assert user.sets == (UserSet(("1", "2")), UserSet(("7", "8"), "incomplete"))
    assert not user.automatic


@pytest.mark.parametrize(
    "line",
    [
        "occupancy group id 1 chain A residue x",
        "occupancy group id 1 residue 5",
        "occupancy group id 1 chain A residue from 5 9",
        "occupancy group id 1 chain A model 2",
        "occupancy group id 1",
        "occupancy group alts 1 2",
        "occupancy group alts complete 1",
        "occupancy group constant 1",
        "occupancy fix all",
    ],
)
def test_lines_that_are_not_understood_are_quoted(line):
    with pytest.raises(ValueError, match=f"line '{line}' is not understood"):
        parse_refmac(line)


def test_unknown_ids():
    with pytest.raises(ValueError, match=r"unknown groups \['2'\]"):
        parse_refmac("occupancy group id 1 chain A\noccupancy group alts complete 1 2")


def sums(grouping):
    return {(s.kind, frozenset((tuple(g.atoms.tolist()), round(g.start, 9)) for g in s.groups)) for s in grouping}


def test_written_keywords():
    atoms = table(
        residue(("A", 5), names=["N"]),
        residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["CA", "C"]),
        residue(("A", 6), names=["N", "CA"]),
    )
    atoms.loc[5, "occupancy"] = 0.9
    assert format_refmac(automatic_groups(atoms), atoms).splitlines() == [
        "# A/5/ALA:A",
        "occupancy group id 1 chain A residue 5 alt A",
        "# A/5/ALA:B",
        "occupancy group id 2 chain A residue 5 alt B",
        "occupancy group alts complete 1 2",
        "# A/6/ALA/N",
        "occupancy group id 3 chain A residue 6 atom N",
        "occupancy refine",
    ]


def test_a_small_model_comes_back():
    atoms = small()
    grouping = automatic_groups(atoms)
    assert {s.kind for s in grouping} == {"complete", "incomplete", "free"}
    again = choose_groups(
        atoms, parse_refmac(format_refmac(grouping, atoms)), select=partial(select_atoms, structure_of(atoms))
    )
    assert sums(again) == sums(grouping)


@pytest.mark.parametrize("name", ["4xof.pdb", "1pfe.cif.gz", "1g8a_multiconformer.pdb", "4ms6.pdb", "x3200.pdb"])
def test_real_models_come_back(data_dir, name):
    model = read_model(data_dir / name)
    grouping = automatic_groups(model.atoms)
    user = parse_refmac(format_refmac(grouping, model.atoms))
    assert sums(choose_groups(model.atoms, user, select=partial(select_atoms, model.structure))) == sums(grouping)


def test_fixed_groups_that_stand_alone_are_left_out():
    atoms = table(molecule(("W", 1), "HOH", 0.5))
    fixed = Grouping(1, (GroupSet("free", (Group("w", [0], 0.5, False, "asked"),)),))
    assert format_refmac(fixed, atoms) == "occupancy refine\n"


@pytest.mark.parametrize(
    ("a", "b", "parent", "message"),
    [
        (Group("a", [0], 0.5, False, "x"), Group("b", [1], 0.5, True, "x"), None, "one of a, b is fixed"),
        (Group("a", [], 0.5, True, "x"), Group("b", [1], 0.5, True, "x"), None, "one of a, b has no atoms"),
        (Group("a", [0], 0.5, True, "x"), Group("b", [1], 0.5, True, "x"), "p", "a, b share the occupancy of 'p'"),
    ],
)
def test_what_the_format_cannot_say(a, b, parent, message):
    atoms = table(*[molecule(("W", n), "HOH", 0.5) for n in (1, 2, 3)])
    outer = GroupSet("free", (Group("p", [2], 1.0, True, "x"),))
    with pytest.raises(ValueError, match=f"Refmac's keywords cannot say that {message}"):
        format_refmac(Grouping(3, (GroupSet("complete", (a, b), parent), outer)), atoms)


def test_a_blank_atom_beside_letters_of_its_name():
    atoms = table(residue(("A", 5), letters={"": 0.5, "A": 0.5}, names=["CB"]))
    with pytest.raises(ValueError, match="'A/5/ALA' cannot be told from A/5/ALA/CB:A"):
        format_refmac(automatic_groups(atoms), atoms)
