"""phenix.refine's parameters, read and written."""

from functools import partial

import numpy as np
import pytest
from groups_models import molecule, residue, table
from test_groups_refmac import sums
from test_groups_selecting import small, structure_of

from jax_occupancy.groups import (
    Grouping,
    UserGroup,
    UserGroups,
    UserSet,
    automatic_groups,
    choose_groups,
    format_phenix,
    parse_phenix,
)
from jax_occupancy.groups._phenix_selection import translate_selection
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
        "1:1": UserGroup(("//A/45.-46./*:A",)),
        "1:2": UserGroup(("//A/45.-46./*:B",)),
        "2:1": UserGroup(("//L/*(LIG)/*",)),
    }
    assert user.sets == (UserSet(("1:1", "1:2")),)
    assert user.individual == ("//*/*(HOH,DOD,WAT,H2O)/*", "//*/*/ZN")
    assert user.remove == ("//S/*/*", "//T/*/*")
    assert user.automatic


def test_nothing():
    assert parse_phenix("refinement.main.nproc = 2") == UserGroups()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refinement.refine.occupancies {\n groups = 3\n}", "occupancies.groups is not understood"),
        ("refinement {\n a = 1", "the scope 'refinement' of the parameters is not closed"),
        ("}", "closing brace too many"),
        ("refinement.refine.occupancies.individual = not resseq 5", "'not resseq 5' is not understood at 'not'"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_phenix(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chain A", ["//A/*/*"]),
        ("chain 'A' and resid -5A", ["//A/-5.A/*"]),
        ("resid 5 through 9", ["//*/5.-9./*"]),
        (
            "chain A and (resseq 1 or resseq 3) and (name CA or name CB)",
            [f"//A/{r}./{n}" for r in "13" for n in ("CA", "CB")],
        ),
        ("altloc ' ' and name \"C4'\"", ["//*/*/C4':"]),
        ("chain A altid B element C", ["//A/*/*[C]:B"]),
        ("all", ["//*/*/*"]),
        ("chain A or chain B and resname LIG", ["//A/*/*", "//B/*(LIG)/*"]),
        ("chain A and not water", ["//A/*(!HOH,DOD,WAT,H2O)/*"]),
        ("not (altloc A or altloc B) and chain A", ["//A/*/*:!A,B"]),
        ("not (chain A and name CA)", ["//!A/*/*", "//*/*/!CA"]),
        ("not not element C", ["//*/*/*[C]"]),
        ("not altloc ' '", ["//*/*/*:!"]),
    ],
)
def test_selections(text, expected):
    assert list(translate_selection(text)) == expected


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("not water", lambda t: t["resname"] != "HOH"),
        ("not altloc ' '", lambda t: t["altloc"] != ""),
        ("not altloc A and not altloc B", lambda t: ~t["altloc"].isin(["A", "B"])),
        ("not altloc ' ' and not altloc B", lambda t: ~t["altloc"].isin(["", "B"])),
        (
            "chain A and not (resname ALA or name CA)",
            lambda t: (t.chainid == "A") & ~(t.resname.eq("ALA") | (t.name_ == "CA")),
        ),
        ("not (chain A and resname ALA)", lambda t: ~((t.chainid == "A") & (t.resname == "ALA"))),
    ],
)
def test_what_not_selects(text, wanted):
    atoms = small()
    found = {int(i) for one in translate_selection(text) for i in select_atoms(structure_of(atoms), one)}
    assert found == set(np.flatnonzero(wanted(atoms.assign(name_=atoms["name"]))).tolist())


def test_a_blank_chain_comes_back():
    atoms = table(residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["CA"]), molecule(("W", 5), "HOH", 0.4))
    atoms.loc[atoms["chainid"] == "A", "chainid"] = ""
    grouping = automatic_groups(atoms)
    again = choose_groups(
        atoms, parse_phenix(format_phenix(grouping, atoms)), select=partial(select_atoms, structure_of(atoms))
    )
    assert sums(again) == sums(grouping)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("within(5, chain A)", "within"),
        ("not all", "not"),
        ("not (chain A and resseq 5)", "not"),
        ("chain A and not chain A", "chain !A"),
        ("not", "the end"),
        ("chain A and", "the end"),
        ("(chain A", "the end"),
        ("chain A)", r"\)"),
        ("name C*", r"C\*"),
        ("resseq one", "one"),
        ("chain A and chain B", "chain B"),
        ("chain", "chain"),
    ],
)
def test_selections_that_are_not_understood(text, word):
    with pytest.raises(ValueError, match=f"not understood at '{word}'"):
        translate_selection(text)


def test_written_parameters():
    atoms = table(
        residue(("A", 5), names=["N"]),
        residue(("A", 5), letters={"A": 0.6, "B": 0.4}, names=["CA"]),
        molecule(("W", 1), "HOH", 0.4),
    )
    grouping = choose_groups(atoms, UserGroups(remove=("water",)), select=lambda text: [3])
    assert format_phenix(grouping, atoms).splitlines() == [
        "refinement.refine.occupancies {",
        "  constrained_group {",
        "    selection = (chain A and resid 5 and resname ALA and altloc A)",
        "    selection = (chain A and resid 5 and resname ALA and altloc B)",
        "  }",
        '  remove_selection = (chain W and resid 1 and resname HOH and altloc " ")',
        "}",
    ]


def test_a_small_model_comes_back():
    atoms = small()
    atoms = atoms[atoms["resname"] != "LIG"].reset_index(drop=True)
    grouping = automatic_groups(atoms)
    again = choose_groups(
        atoms, parse_phenix(format_phenix(grouping, atoms)), select=partial(select_atoms, structure_of(atoms))
    )
    assert sums(again) == sums(grouping)


@pytest.mark.parametrize("name", ["4xof.pdb", "1pfe.cif.gz", "1g8a_multiconformer.pdb", "4ms6.pdb", "x3200.pdb"])
def test_real_models_come_back(data_dir, name):
    model = read_model(data_dir / name)
    grouping = automatic_groups(model.atoms)
    # The automatic choice differs in its options, so what comes back is what was written.
    user = parse_phenix(format_phenix(grouping, model.atoms))
    again = choose_groups(model.atoms, user, select=partial(select_atoms, model.structure), link=False)
    assert sums(again) == sums(grouping)


def test_a_set_that_may_be_partly_empty():
    atoms = table(molecule(("L", 1), "LIG", {"A": 0.4, "B": 0.2}))
    with pytest.raises(ValueError, match="cannot say that L/1/LIG:A, L/1/LIG:B may be absent altogether"):
        format_phenix(automatic_groups(atoms), atoms)


def test_no_groups():
    atoms = table(residue(("A", 1)))
    assert format_phenix(Grouping(5), atoms) == "refinement.refine.occupancies {\n}\n"
