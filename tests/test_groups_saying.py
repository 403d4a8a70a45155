"""Groups written as selections and read again."""

from functools import partial

import gemmi
import numpy as np
import pytest
from groups_models import atom, molecule, residue, table

from jax_occupancy.groups import (
    Group,
    Grouping,
    GroupSet,
    UserGroups,
    automatic_groups,
    choose_groups,
    describe_groups,
    format_toml,
    parse_toml,
)
from jax_occupancy.io import read_model, select_atoms


def structure_of(atoms):
    """A structure of the rows of a table."""
    model = gemmi.Model(1)
    for position, row in enumerate(atoms.to_dict("records")):
        one, residue_ = gemmi.Atom(), gemmi.Residue()
        one.name, one.altloc, one.serial = row["name"], row["altloc"] or "\0", position + 1
        one.element, one.occ, one.b_iso = gemmi.Element(row["element"]), row["occupancy"], row["tempfactor"]
        one.pos = gemmi.Position(row["x"], row["y"], row["z"])
        residue_.het_flag = row["record"][0]
        residue_.name, residue_.seqid = row["resname"], gemmi.SeqId(row["resseq"], row["icode"] or " ")
        residue_.add_atom(one)
        chain = model.find_chain(row["chainid"]) or model.add_chain(gemmi.Chain(row["chainid"]))
        chain.add_residue(residue_)
    structure = gemmi.Structure()
    structure.add_model(model)
    return structure


def small():
    return table(
        residue(("A", -5), letters={"A": 0.5, "B": 0.5}),
        residue(("A", 1), "SER", {"A": 0.7}),
        [row | {"altloc": "B", "occupancy": 0.3} for row in residue(("A", 1), "THR")],
        residue(("A", 7), letters={"A": 0.5, "B": 0.5}, names=["CB"], icode="A"),
        residue(("A", 7), letters=0.8, names=["N", "CA"], icode="A"),
        molecule(("BB", 1), "LIG", {"A": 0.4, "B": 0.2}),
        molecule(("W", 1), "HOH", 0.5),
    )


@pytest.mark.parametrize(
    "user", [UserGroups(), UserGroups(states={"g": ("A",), "h": ("B",)}), UserGroups(remove=("//W",))]
)
def test_a_small_model_comes_back(user):
    atoms = small()
    select = partial(select_atoms, structure_of(atoms))
    grouping = choose_groups(atoms, user, select=select)
    text = format_toml(describe_groups(grouping, atoms))
    assert_same(choose_groups(atoms, parse_toml(text), select=select), grouping)


@pytest.mark.parametrize("name", ["4xof.pdb", "1pfe.cif.gz", "1g8a_multiconformer.pdb", "4ms6.pdb", "x3200.pdb"])
def test_real_models_come_back(data_dir, name):
    model = read_model(data_dir / name)
    grouping = automatic_groups(model.atoms)
    text = format_toml(describe_groups(grouping, model.atoms))
    again = choose_groups(model.atoms, parse_toml(text), select=partial(select_atoms, model))
    assert_same(again, grouping)


def assert_same(first, second):
    def plain(grouping):
        return {
            (
                s.kind,
                s.parent,
                tuple((g.name, tuple(g.atoms.tolist()), round(g.start, 9), g.refinable) for g in s.groups),
            )
            for s in grouping
        }

    assert plain(first) == plain(second)


def test_left_out_hydrogens_stay_out():
    atoms = table(residue(("A", 1), letters={"A": 0.5, "B": 0.5}))
    atoms.loc[atoms["name"] == "CB", "element"] = "H"
    user = describe_groups(automatic_groups(atoms, hydrogens="omit"), atoms)
    assert user.groups["A/1/ALA:A"].selection == ("//A/1.(ALA)/N,CA,C,O:A",)
    assert not user.automatic


def test_another_table():
    with pytest.raises(ValueError, match="atoms has 1 rows; wanted 2"):
        describe_groups(automatic_groups(small().iloc[:2]), small().iloc[:1])


def test_atoms_that_no_selection_tells_apart():
    atoms = table([atom("O", "HOH", ("A", 1), 0.5, x=x, segment=i) for i, x in enumerate((0.0, 9.0))])
    with pytest.raises(
        ValueError, match=r"cannot be told from A/1/HOH/O in this format; rename or number them anew\.$"
    ):
        describe_groups(automatic_groups(atoms), atoms)


def test_fixed_groups_stay_fixed():
    atoms = table(molecule(("W", 1), "HOH", 0.5))
    user = parse_toml('[groups]\nw = { selection = "//W", fixed = 0.3 }')
    grouping = choose_groups(atoms, user, select=lambda text: np.array([0]))
    assert describe_groups(grouping, atoms).groups["w"].fixed == 0.3


def test_free_groups_come_after_the_sets():
    atoms = table(molecule(("W", 1), "HOH", 0.5), residue(("A", 1), letters={"A": 0.5, "B": 0.5}))
    select = partial(select_atoms, structure_of(atoms))
    grouping = automatic_groups(atoms)
    again = choose_groups(atoms, describe_groups(grouping, atoms), select=select)
    assert [s.kind for s in grouping] == ["free", "complete"]
    assert [s.kind for s in again] == ["complete", "free"]
    assert_same(again, grouping)


def nested(start, fixed):
    """A fixed pair under one of two states."""
    atoms = table(*[molecule(("W", n), "HOH", 0.5) for n in range(4)])
    states = (Group("bound", [0], start, True, "x"), Group("ground", [1], 1 - start, True, "x"))
    pair = (Group("a", [2], fixed, False, "x"), Group("b", [3], start - fixed, True, "x"))
    return atoms, Grouping(4, (GroupSet("complete", states), GroupSet("complete", pair, "bound")))


def test_fixed_members_under_a_parent_are_fractions():
    atoms, grouping = nested(0.4, 0.1)
    user = describe_groups(grouping, atoms)
    assert user.groups["a"].fixed == 0.25
    assert user.groups["b"].fixed is None
    assert "fixed = 0.25" in format_toml(user)


@pytest.mark.parametrize("start", [0.4, 0.3])
def test_fractions_come_back(start):
    atoms, _ = nested(0.5, 0.1)
    atoms.loc[0, "occupancy"], atoms.loc[1, "occupancy"] = start, 1 - start
    select = partial(select_atoms, structure_of(atoms))
    text = (
        '[groups]\nbound = "//W/0"\nground = "//W/1"\na = { selection = "//W/2", fixed = 0.35 }\nb = "//W/3"\n'
        '[[sets]]\ngroups = ["bound", "ground"]\n[[sets]]\ngroups = ["a", "b"]\nparent = "bound"\n'
    )
    grouping = choose_groups(atoms, parse_toml(text), select=select)
    assert grouping["a"].start == pytest.approx(0.35 * start)
    again = choose_groups(atoms, parse_toml(format_toml(describe_groups(grouping, atoms))), select=select)
    assert again["a"].fraction == grouping["a"].fraction == 0.35
    assert_same(again, grouping)


def test_a_fraction_of_nothing():
    atoms, grouping = nested(0.0, 0.0)
    with pytest.raises(ValueError, match="'a' is fixed at a fraction of 'bound', which starts at 0"):
        describe_groups(grouping, atoms)
