"""phenix.refine's parameters, read and written."""

import re

import pytest
from groups_models import atom, molecule, residue, table
from test_groups_refmac import sums
from test_groups_saying import small, structure_of

from jax_occupancy.groups import (
    Grouping,
    UserGroup,
    UserGroups,
    UserSet,
    automatic_groups,
    choose_groups,
    format_phenix,
    format_refmac,
    parse_phenix,
    parse_refmac,
)
from jax_occupancy.io import read_model, select_atoms

FILE = """
refinement {
  main.number_of_macro_cycles = 3   # not about occupancies
  refine {
    strategy = *occupancies
    occupancies {
      constrained_group
      {
        selection = chain A and resseq 45:46 and \\
                    altloc A
        selection = "chain A and resseq 45:46 and altloc B"
      }
      constrained_group { selection = chain L and resname LIG; selection = None }
      individual = water
      individual = (name ZN)
      remove_selection = chain S or chain T
      remove_selection = None
    }
  }
}
"""


def test_every_parameter():
    user = parse_phenix(FILE)
    assert user.groups == {
        "1:1": UserGroup(("phenix: chain A and resseq 45:46 and altloc A",)),
        "1:2": UserGroup(("phenix: chain A and resseq 45:46 and altloc B",)),
        "2:1": UserGroup(("phenix: chain L and resname LIG",)),
    }
    assert user.sets == (UserSet(("1:1", "1:2")),)
    assert user.individual == ("phenix: water", "phenix: (name ZN)")
    assert user.remove == ("phenix: chain S or chain T",)
    assert user.automatic


def test_nothing():
    assert parse_phenix("refinement.main.nproc = 2") == UserGroups()


def test_what_an_exclamation_mark_switches_off_is_skipped():
    scope = """
    refinement.refine.occupancies {
      !constrained_group {
        selection = chain A
        strange = 1
      }
      constrained_group {
        selection = chain B
        !selection = chain C
      }
      !individual = chain D
    }
    !refinement.refine.occupancies.remove_selection = chain E
    """
    assert parse_phenix(scope) == UserGroups({"1:1": UserGroup(("phenix: chain B",))})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refinement.refine.occupancies {\n groups = 3\n}", "occupancies.groups is not understood"),
        ("refinement {\n a = 1", "the scope 'refinement' of the parameters is not closed"),
        ("}", "closing brace too many"),
        ("refinement.refine.occupancies.individual = not resseq A:5", "'not resseq A:5' is not understood at 'A:5'"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_phenix(text)


ROWS = [
    ("CA", "A", "GLY", ("B", -5), "", "C"),
    ("CA", "", "GLY", ("B", 52), "", "C"),
    ("C4'", "", "GLY", ("B", 52), "A", "C"),
    ("CA", "B", "GLY", ("B", 52), "B", "C"),
    ("CA", "", "GLY", ("B", 53), "", "C"),
    ("CA", "", "CA", ("B", 100), "", "CA"),
    ("CA", "A", "GLY", ("", 52), "", "C"),
    ("ZN", "", "ZN", ("C", 53), "", "ZN"),
    ("O", "", "HOH", ("C", 54), "A", "O"),
    ("CA", "b", "GLY", ("a", 51), "", "C"),
]


KINDS = {"GLY": "protein", "HOH": "water"}


def labelled():
    """One atom per row, those of ligands and waters as HETATM."""
    return [
        atom(name, resname, place, 0.5, altloc=letter, icode=code, element=element, x=9.0 * i)
        | {"record": "ATOM" if resname == "GLY" else "HETATM", "kind": KINDS.get(resname, "other")}
        for i, (name, letter, resname, place, code, element) in enumerate(ROWS)
    ]


def matched(text, rows):
    """What a group of a selection holds."""
    user = UserGroups({"g": UserGroup((f"phenix: {text}",))}, automatic=False)
    return choose_groups(table(rows), user)["g"].atoms.tolist()


# What cctbx 2022.9 finds in a PDB file of these rows.
FOUND = {
    "chain B": [0, 1, 2, 3, 4, 5], "chain 'B'": [0, 1, 2, 3, 4, 5], "chain ' '": [6], "chain ''": [], "chain b": [],
    "resseq 52": [1, 2, 3, 6], "resid 52": [1, 6], "resid 52A": [2], "resid 52:53": [1, 2, 3, 4, 6, 7],
    "resid 52A:53": [2, 3, 4, 7], "resseq 51:52": [1, 2, 3, 6, 9], "resseq -5:52": [0, 1, 2, 3, 6, 9],
    "resseq :52": [0, 1, 2, 3, 6, 9], "resseq 53:": [4, 5, 7, 8], "resseq 5*": [1, 2, 3, 4, 6, 7, 8, 9],
    "resseq '  52'": [1, 2, 3, 6], "resid '52'": [], "resid 52 through 53": [1, 2, 3, 4, 6],
    "resid 52A through 54A": [2, 3, 4, 5], "resid -5 through 52B": [0, 1, 2, 3], "resid 50 through 52": [],
    "icode ' '": [0, 1, 4, 5, 6, 7, 9], "icode A": [2, 8], "name CA": [0, 1, 3, 4, 5, 6, 9], "name 'CA'": [],
    "name ' CA '": [0, 1, 3, 4, 6, 9], "name 'CA  '": [5], "name C4'": [2], 'name "C4\'"': [],
    "name C?": [0, 1, 3, 4, 5, 6, 9], "name C*": [0, 1, 2, 3, 4, 5, 6, 9], "name *4*": [2],
    "name [CD]A": [0, 1, 3, 4, 5, 6, 9],
    "resname ZN": [7], "resname 'ZN'": [], "resname ' ZN'": [7], "altloc ' '": [1, 2, 4, 5, 7, 8], "altloc a": [],
    "altid A": [0, 6], "altloc b": [9], "altloc ?": [0, 3, 6, 9], "element CA": [5], "element ca": [5],
    "element ' C'": [0, 1, 2, 3, 4, 6, 9], "water": [8], "hetero": [5, 7, 8], "protein": [0, 1, 2, 3, 4, 6, 9],
    "not water": [0, 1, 2, 3, 4, 5, 6, 7, 9], "not altloc ' ' and chain B": [0, 3],
    "chain B or chain C resname ZN": [], "chain B name CA": [0, 1, 3, 4, 5],
    "chain B and (resname CA or water)": [5], "resname BR or water": [8], "resid 52 : 53": [1, 2, 3, 4, 6, 7],
    "resseq 52: 53": [1, 2, 3, 4, 6, 7], "resi 52": [1, 6], "CHAIN B AND NAME ca": [0, 1, 3, 4, 5],
    "resid 52*": [1, 2, 3, 6], "not chain B or chain C": [6, 7, 8, 9], "chain B and not chain B": [],
    "all": list(range(10)), "none": [], "not (chain B and (name CA or name C4'))": [6, 7, 8, 9],
}  # fmt: skip


@pytest.mark.parametrize("text", [text for text in FOUND if '"' not in text])
def test_selections_are_understood_before_there_is_a_model(text):
    user = parse_phenix(f'refinement.refine.occupancies.remove_selection = "{text}"')
    assert user.remove == (f"phenix: {text}",)


@pytest.mark.parametrize("text", FOUND)
def test_selections(text):
    if FOUND[text]:
        assert matched(text, labelled()) == FOUND[text]
    else:
        with pytest.raises(ValueError, match=f"the selection {re.escape(repr(text))} of group 'g' matches no atom"):
            matched(text, labelled())


def test_a_chain_in_small_letters_is_found_where_there_are_capital_ones_only():
    assert matched("chain b", [row for row in labelled() if row["chainid"] != "a"]) == [0, 1, 2, 3, 4, 5]


def test_resid_beside_resname():
    three = [row for n, x in ((101, "LIG"), (102, "LIG"), (119, "HOH")) for row in molecule(("A", n), x, 0.5, n=1)]
    assert matched("chain A and resid 102:119 and resname LIG", three) == [1]
    assert matched("resname HOH or resname LIG and resid 102:119", three) == [1, 2]


def test_a_selection_that_matches_nothing_is_quoted_as_written():
    user = parse_phenix("refinement.refine.occupancies.individual = chain 'B'  or name XX and  (chain A)")
    with pytest.raises(ValueError, match="\"chain 'B'  or name XX and  \\(chain A\\)\" of individual matches no atom"):
        choose_groups(table(molecule(("W", 1), "HOH", 0.5)), user)


def test_a_blank_chain_comes_back():
    atoms = table(residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["CA"]), molecule(("W", 5), "HOH", 0.4))
    atoms.loc[atoms["chainid"] == "A", "chainid"] = ""
    grouping = automatic_groups(atoms)
    again = choose_groups(atoms, parse_phenix(format_phenix(grouping, atoms)))
    assert sums(again) == sums(grouping)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("within(five, chain A)", "five"),
        ("within(-5, chain A)", "-5"),
        ("within 5, chain A", "5 , chain"),
        ("within(5, chain A", "the end"),
        ("bfactor > high", "high"),
        ("occupancy 0.5 or water", "0.5"),
        ("bonded(chain A)", "bonded"),
        ("not", "not"),
        ("chain A and", "and"),
        ("(chain A", "the end"),
        ("chain A)", r"\)"),
        ("resseq 53:52", "53:52"),
        ("resseq 52A:53", "52A:53"),
        ("resseq one:two", "one:two"),
        ("resid one through 5", "one"),
        ("resseq 5 through 9", "through"),
        ("name [Z-A]", r"\[Z-A\]"),
        ("name 'CA", "CA"),
        ("chain B, name CA", ","),
        ("chain", "the end"),
        ("()", "the end"),
    ],
)
def test_selections_that_are_not_understood(text, word):
    with pytest.raises(ValueError, match=f"not understood at ['\"]{word}['\"]"):
        parse_phenix(f'refinement.refine.occupancies.remove_selection = "{text}"')


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("within(1.6, name CB) and not water", [1, 4]),
        ("residues_within(1.6, water)", [0, 1, 2, 3, 4, 7]),
        ("not within(1.6, name CB) and chain A", [0, 2, 3]),
        ("water and within(1.6, within(1.6, name C))", [7]),
        ("backbone and resseq 2", [0, 1, 2, 3]),
        ("sidechain", [4]),
        ("segid LIGA or segid WA*", [5, 6, 7]),
        ("bfactor > 30 and occupancy < 1", [6]),
        ("single_atom_residue", [7]),
        ("optional chain B", [5, 6]),
    ],
)
def test_neighbours_parts_and_numbers(text, wanted):
    atoms = table(
        residue(("A", 2), names=["N", "CA", "C", "O", "CB"]),
        molecule(("B", 200), "LIG", 0.5, n=2),
        molecule(("S", 7), "HOH", 1.0),
    )
    atoms[["x", "y", "z"]] = 0.0
    atoms["x"] = [0.0, 1.5, 3.0, 4.5, 1.5, 8.0, 9.5, 6.0]
    atoms.loc[4, "y"] = 1.5
    atoms["tempfactor"] = [20.0] * 5 + [30.0, 40.0, 50.0]
    atoms["segid"] = [""] * 5 + ["LIGA", "LIGA", "WATR"]
    user = UserGroups({"chosen": UserGroup((f"phenix: {text}",))}, automatic=False)
    assert choose_groups(atoms, user)["chosen"].atoms.tolist() == wanted


def test_attributes_of_parameters_say_nothing_about_groups():
    text = """
refinement.refine.occupancies
  .caption = Occupancies
{
  individual = None
    .type = atom_selection
    .multiple = True
  constrained_group
    .optional=True
  {
    selection = chain B and altid A
      .type = atom_selection
    selection = "chain B and " \\
                'altid B'
  }
}
"""
    assert parse_phenix(text) == UserGroups(
        {
            "1:1": UserGroup(("phenix: chain B and altid A",)),
            "1:2": UserGroup(("phenix: chain B and  altid B",)),
        },
        (UserSet(("1:1", "1:2")),),
    )


def test_what_giant_writes_over_several_lines():
    rows = [row | {"altloc": x, "occupancy": q} for x, q in (("A", 0.6), ("B", 0.4)) for row in
            (*molecule(("B", 200), "LIG", 1.0, n=2), *molecule(("S", 7), "HOH", 1.0))]  # fmt: skip
    lines = [
        f"selection = (chain 'B' and resseq  200 and icode ' ' and resname 'LIG' and altid '{x}') or \\\n"
        f"            (chain 'S' and resseq    7 and icode ' ' and resname 'HOH' and altid '{x}')\n"
        for x in "AB"
    ]
    user = parse_phenix("refinement.refine.occupancies {\n  constrained_group {\n" + "".join(lines) + "  }\n}\n")
    (pair,) = choose_groups(table(rows), user)
    assert [group.atoms.tolist() for group in pair.groups] == [[0, 1, 2], [3, 4, 5]]
    assert pair.groups[0].reason.startswith("asked for: (chain 'B' and resseq  200 and icode ' ' and")


def test_numbers_have_any_insertion_code():
    letters = {"A": 0.6, "B": 0.4}
    codes = enumerate(["", "A", "B"])
    pieces = [residue(("H", 52), letters=letters, names=["CA"], at=9.0 * i, icode=code) for i, code in codes]
    lines = [f"  selection = resseq 52 altloc {letter}" for letter in letters]
    user = parse_phenix("\n".join(["refinement.refine.occupancies.constrained_group {", *lines, "}"]))
    (pair,) = choose_groups(table(*pieces), user)
    assert [group.atoms.tolist() for group in pair.groups] == [[0, 2, 4], [1, 3, 5]]


def test_written_parameters():
    atoms = table(
        residue(("A", 5), names=["N"]),
        residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["CA"]),
        molecule(("W", 1), "HOH", 0.4),
    )
    grouping = choose_groups(atoms, UserGroups(remove=("water",)), select=lambda text: [3])
    assert format_phenix(grouping, atoms).splitlines() == [
        "# jax_occupancy: the comment above a group is its name",
        "refinement.refine.occupancies {",
        "  constrained_group {",
        "    # A/5/ALA:A",
        "    selection = (chain A and resid 5 and resname ALA and altloc A)",
        "    # A/5/ALA:B",
        "    selection = (chain A and resid 5 and resname ALA and altloc B)",
        "  }",
        '  remove_selection = (chain W and resid 1 and resname HOH and altloc " ")',
        "}",
    ]


def test_a_small_model_comes_back():
    atoms = small()
    atoms = atoms[atoms["resname"] != "LIG"].reset_index(drop=True)
    grouping = automatic_groups(atoms)
    again = choose_groups(atoms, parse_phenix(format_phenix(grouping, atoms)))
    assert sums(again) == sums(grouping)


@pytest.mark.parametrize("name", ["4xof.pdb", "1pfe.cif.gz", "1g8a_multiconformer.pdb", "4ms6.pdb", "x3200.pdb"])
def test_real_models_come_back(data_dir, name):
    model = read_model(data_dir / name)
    grouping = automatic_groups(model.atoms)
    # The automatic choice differs in its options, so what comes back is what was written.
    user = parse_phenix(format_phenix(grouping, model.atoms))
    again = choose_groups(model.atoms, user, link=False)
    assert sums(again) == sums(grouping)


def test_a_set_that_may_be_partly_empty():
    atoms = table(molecule(("L", 1), "LIG", {"A": 0.4, "B": 0.2}))
    with pytest.raises(ValueError, match="cannot say that L/1/LIG:A, L/1/LIG:B may be absent altogether"):
        format_phenix(automatic_groups(atoms), atoms)


def test_no_groups():
    atoms = table(residue(("A", 1)))
    assert format_phenix(Grouping(5), atoms).splitlines()[1:] == ["refinement.refine.occupancies {", "}"]


FORMATS = {
    "refmac": (format_refmac, parse_refmac),
    "phenix": (format_phenix, parse_phenix),
}


@pytest.mark.parametrize("name", FORMATS)
def test_names_and_what_stays_as_it_is_survive(name):
    write, read = FORMATS[name]
    atoms = small()
    atoms = atoms[atoms["resname"] != "LIG"].reset_index(drop=True)
    structure = structure_of(atoms)
    user = UserGroups({"the water's own": UserGroup(("//W",))}, remove=("//A/-5",))
    grouping = choose_groups(atoms, user, select=lambda text: select_atoms(structure, text))
    text = write(grouping, atoms)
    again = choose_groups(atoms, read(text), select=lambda text: select_atoms(structure, text))
    assert sums(again) == sums(grouping)
    assert {group.name for group in again.groups} == {group.name for group in grouping.groups}
    # Comments of others are no names.
    plain = read("\n".join(text.splitlines()[1:]))
    assert set(plain.groups).isdisjoint(again[name].name for name in read(text).groups)
