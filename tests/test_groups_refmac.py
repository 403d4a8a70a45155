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
    format_phenix,
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
        "occupancy group id 1 chain A insc A",
        "occupancy group id 1 chain A residue 5A insc A",
        "occupancy group id 1 chain A residue from 5 to 9 insc A",
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
    return {
        (
            s.kind,
            round(s.start, 9),
            frozenset((tuple(g.atoms.tolist()), round(g.start, 9), g.refinable) for g in s.groups),
        )
        for s in grouping
    }


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


@pytest.mark.parametrize("line", ["residue 10A", "residue 10.A", "residue 10 insc A", "RESI 10 INSC A"])
def test_insertion_codes(line):
    user = parse_refmac(f"occupancy group id 1 chain A {line} alt B")
    assert user.groups["1"].selection == ("//A/10.A/*:B",)


def test_no_insertion_code():
    user = parse_refmac("occupancy group id 1 chain A residue -10 insc . atom CA")
    assert user.groups["1"].selection == ("//A/-10./CA",)


def test_insertion_codes_come_back():
    rows = [residue(("A", 10), letters={"A": 0.6, "B": 0.4}, names=["CA"], icode=code) for code in ("", "A")]
    atoms = table(*rows)
    grouping = automatic_groups(atoms, link=False)
    text = format_refmac(grouping, atoms)
    assert "occupancy group id 3 chain A residue 10A alt A" in text
    again = choose_groups(atoms, parse_refmac(text), select=partial(select_atoms, structure_of(atoms)))
    assert sums(again) == sums(grouping)


def test_a_comment_that_ends_in_a_hyphen_joins_nothing():
    assert parse_refmac("# pose -\noccupancy group id 1 chain A").groups["1"].selection == ("//A",)


def test_names_stay_in_their_comments():
    atoms = table(molecule(("W", 1), "HOH", 0.5))
    group = Group("two\noccupancy lines", [0], 0.5, True, "asked")
    assert format_refmac(Grouping(1, (GroupSet("free", (group,)),)), atoms).startswith("# two occupancy lines\n")


def fixed_sets(value):
    """A free group and a pair, all fixed."""
    free = GroupSet("free", (Group("w", [0], value, False, "asked"),))
    pair = (Group("a", [1], value, False, "asked"), Group("b", [2], 1 - value, False, "asked"))
    return table(*[molecule(("W", n), "HOH", 0.5) for n in (1, 2, 3)]), Grouping(3, (free, GroupSet("complete", pair)))


@pytest.mark.parametrize("write", [format_refmac, format_phenix])
def test_groups_fixed_at_what_the_model_has_are_a_comment(write):
    atoms, grouping = fixed_sets(0.5)
    lines = write(grouping, atoms).splitlines()
    assert [line.strip() for line in lines if "#" in line] == [
        f"# {name} is fixed at the occupancy the model has, 0.5" for name in ("w", "a", "b")
    ]
    assert not [line for line in lines if "group id" in line or "constrained_group" in line]


@pytest.mark.parametrize("write", [format_refmac, format_phenix])
def test_groups_fixed_elsewhere_are_refused(write):
    atoms, grouping = fixed_sets(0.3)
    with pytest.raises(ValueError, match=r"the model does not have: w at 0.3, a at 0.3, b at 0.7"):
        write(grouping, atoms)


@pytest.mark.parametrize("write", [format_refmac, format_phenix])
def test_another_table(write):
    with pytest.raises(ValueError, match="atoms has 5 rows; wanted 3"):
        write(fixed_sets(0.5)[1], table(residue(("A", 1))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chainid": ""}, "of /1/HOH have the chain ''"),
        ({"chainid": "A#"}, "have the chain 'A#'"),
        ({"altloc": "-"}, "have the letter '-'"),
    ],
)
def test_labels_that_are_no_words(change, message):
    atoms = table(molecule(("W", 1), "HOH", 0.5)).assign(**change)
    with pytest.raises(ValueError, match=f"which atoms '.*' has: those .*{message}"):
        format_refmac(automatic_groups(atoms), atoms)


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
