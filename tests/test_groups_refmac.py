"""Refmac's keywords, read and written."""

import pytest
from groups_models import molecule, residue, table
from test_groups_saying import small

from jax_occupancy.groups import (
    Group,
    Grouping,
    GroupSet,
    UserGroup,
    UserGroups,
    UserSet,
    automatic_groups,
    choose_groups,
    format_phenix,
    format_refmac,
    parse_refmac,
)
from jax_occupancy.io import read_model

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
        "1": UserGroup(("refmac: chain A residue 45 alt A", "refmac: CHAI A RESI FROM 5 TO 9 ALT A")),
        "2": UserGroup(("refmac: chain A residue -3B atom CG alt B",)),
        "lig": UserGroup(("refmac: chain L",)),
        "7": UserGroup(("refmac: chain W residue 1",)),
        "8": UserGroup(("refmac: chain W residue 2",)),
    }
    assert user.sets == (UserSet(("1", "2")), UserSet(("7", "8"), "incomplete"))
    assert user.automatic


@pytest.mark.parametrize(
    "line",
    [
        "occupancy group id 1 chain A residue x",
        "occupancy group id 1 residue",
        "occupancy group id 1 chain A chain B",
        "occupancy group id 1 A residue 5",
        "occupancy group id 1 chain A alt A B",
        "occupancy group id 1 chain A insc A",
        "occupancy group id 1 chain A residue 5A insc A",
        "occupancy group id 1 chain A residue from 5 to 9 insc A",
        "occupancy group id 1 chain A residue from 5 9",
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


ATOMS = [
    *residue(("A", 9), letters={"A": 0.6, "B": 0.4}, names=["CA"], at=0.0),
    *residue(("A", 10), letters={"A": 0.6, "B": 0.4}, names=["CA", "CB"], at=20.0),
    *residue(("A", 10), letters={"A": 0.6, "B": 0.4}, names=["CA"], at=40.0, icode="A"),
    *residue(("B", 10), letters={"A": 0.6, "B": 0.4}, names=["CA"], at=60.0),
    *molecule(("C", 10), "HOH", 0.5),
    *molecule(("", 10), "HOH", 0.5),
]


@pytest.mark.parametrize(
    ("words", "atoms"),
    [
        ("chain A", range(8)),
        ("chain A B", range(10)),
        ("chains C A alt B", [1, 4, 5, 7]),
        ("segm B C", [8, 9, 10]),
        ("residue 10", [2, 3, 4, 5, 8, 9, 10, 11]),
        ("residue 10 chain B alt A", [8]),
        ("alt A chain A residues 9 10", [0, 2, 3]),
        ("chain A residues from 9 to 10", range(6)),
        ("chain A residues from 10 to 10A", [2, 3, 4, 5, 6, 7]),
        ("chain A RESIDUES FROM 10A TO 99", [6, 7]),
        ("chain A residue 10A", [6, 7]),
        ("chain A residue 10.A", [6, 7]),
        ("chain A RESI 10 INSC A", [6, 7]),
        ("chain A residue 10 insc . atom CA", [2, 4]),
        ("chain A resi 10 atoms CA CB alt B", [4, 5]),
    ],
)
def test_which_atoms_the_words_mean(words, atoms):
    user = parse_refmac(f"occu group id 1 {words}\n")
    assert choose_groups(table(ATOMS), user)["1"].atoms.tolist() == list(atoms)


def test_lines_go_on_comments_are_left_and_keywords_end():
    text = "OCCU GROU ID a CHAIN A & ! one\n RESIDUE 9 - # two\n ALT A\noccu grou id a chain B ! alt A\nEND\noccu x"
    assert parse_refmac(text).groups == {"a": UserGroup(("refmac: CHAIN A RESIDUE 9 ALT A", "refmac: chain B"))}


def test_a_single_id_that_may_be_absent_is_free():
    user = parse_refmac("occupancy group id 1 chain C\noccupancy group alts incomplete 1\noccupancy refine\n")
    assert user == UserGroups({"1": UserGroup(("refmac: chain C",))})
    with pytest.raises(ValueError, match=r"unknown groups \['2'\]"):
        parse_refmac("occupancy group id 1 chain C\noccupancy group alts incomplete 2")


def test_the_users_groups_come_first_and_automatic_ones_for_the_rest():
    grouping = choose_groups(table(ATOMS), parse_refmac("occupancy group id lig chain C\n"))
    assert [s.groups[0].name for s in grouping][:2] == ["lig", "A/9/ALA:A"]
    assert grouping.groups[0].reason == "asked for: chain C"
    assert all(group.reason.startswith("automatic: ") for group in grouping.groups[1:])
    assert not any(group.reason.startswith("automatic") for group in choose_groups(table(ATOMS)).groups)


def test_selections_that_match_nothing_are_quoted_as_written():
    with pytest.raises(ValueError, match="the selection 'CHAI Z ALT A' of group '1' matches no atom") as error:
        choose_groups(table(ATOMS), parse_refmac("occu grou id 1 CHAI Z ALT A"))
    assert "refmac" not in str(error.value)


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
        "# jax_occupancy: the comment above a group is its name; what is in no group stays as it is",
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
    again = choose_groups(atoms, parse_refmac(format_refmac(grouping, atoms)))
    assert sums(again) == sums(grouping)


@pytest.mark.parametrize("name", ["4xof.pdb", "1pfe.cif.gz", "1g8a_multiconformer.pdb", "4ms6.pdb", "x3200.pdb"])
def test_real_models_come_back(data_dir, name):
    model = read_model(data_dir / name)
    grouping = automatic_groups(model.atoms)
    user = parse_refmac(format_refmac(grouping, model.atoms))
    assert sums(choose_groups(model.atoms, user)) == sums(grouping)


def test_insertion_codes_come_back():
    rows = [residue(("A", 10), letters={"A": 0.6, "B": 0.4}, names=["CA"], icode=code) for code in ("", "A")]
    atoms = table(*rows)
    grouping = automatic_groups(atoms, link=False)
    text = format_refmac(grouping, atoms)
    assert "occupancy group id 3 chain A residue 10A alt A" in text
    again = choose_groups(atoms, parse_refmac(text))
    assert sums(again) == sums(grouping)


def test_a_comment_that_ends_in_a_hyphen_joins_nothing():
    assert parse_refmac("# pose -\noccupancy group id 1 chain A").groups["1"].selection == ("refmac: chain A",)


def test_names_stay_in_their_comments():
    atoms = table(molecule(("W", 1), "HOH", 0.5))
    group = Group("two\noccupancy lines", [0], 0.5, True, "asked")
    assert format_refmac(Grouping(1, (GroupSet("free", (group,)),)), atoms).splitlines()[1] == "# two occupancy lines"


def fixed_sets(value):
    """A free group and a pair, all fixed."""
    free = GroupSet("free", (Group("w", [0], value, False, "asked"),))
    pair = (Group("a", [1], value, False, "asked"), Group("b", [2], 1 - value, False, "asked"))
    return table(*[molecule(("W", n), "HOH", 0.5) for n in (1, 2, 3)]), Grouping(3, (free, GroupSet("complete", pair)))


@pytest.mark.parametrize("write", [format_refmac, format_phenix])
def test_groups_fixed_at_what_the_model_has_are_a_comment(write):
    atoms, grouping = fixed_sets(0.5)
    lines = write(grouping, atoms).splitlines()
    assert [line.strip() for line in lines[1:] if "#" in line] == [
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
