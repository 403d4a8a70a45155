"""The atom table as arrays."""

import numpy as np
import pandas as pd
import pytest
from groups_models import atom, molecule, residue, table

from jax_occupancy.groups._table import AtomTable

AB = {"A": 0.6, "B": 0.4}


def residues_of(*pieces):
    return AtomTable(table(*pieces)).residue.tolist()


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"atoms lacks the columns \['altloc', 'x'\]"):
        AtomTable(table(residue(("A", 1))).drop(columns=["altloc", "x"]))


def test_occupancies_must_be_finite():
    atoms = table(residue(("A", 1)))
    atoms.loc[[1, 3], "occupancy"] = np.nan
    with pytest.raises(ValueError, match=r"2 values that are not finite, first at rows \[1, 3\]"):
        AtomTable(atoms)


def test_optional_columns_are_filled():
    rows = residue(("A", 1)) + residue(("B", 1), "DA") + molecule(("A", 2), "HOH", 1.0) + molecule(("A", 3), "LIG", 1.0)
    atoms = table(rows, atom("HZ1", "LYS", ("A", 4), 1.0), atom("1HB", "LYS", ("A", 4), 1.0))
    bare = AtomTable(atoms.drop(columns=["icode", "element", "kind", "segment"]))
    full = AtomTable(atoms)
    assert bare.kind.tolist()[:-2] == full.kind.tolist()[:-2]
    assert bare.hydrogen.tolist() == [False] * (len(atoms) - 2) + [True, True]
    assert bare.residue.tolist() == full.residue.tolist()


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_any_kind_of_text_column(dtype):
    atoms = table(residue(("A", 1), letters=AB))
    for column in ("name", "altloc", "resname", "chainid", "icode", "element", "kind"):
        atoms[column] = atoms[column].astype(dtype)
    plain = AtomTable(atoms)
    assert plain.altloc.tolist() == ["A"] * 5 + ["B"] * 5
    assert plain.name.tolist()[:2] == ["N", "CA"]


def test_a_chain_or_residue_may_be_called_none_or_nan():
    atoms = table(residue(("None", 1)), residue(("nan", 1)))
    assert AtomTable(atoms).chain.tolist() == ["None"] * 5 + ["nan"] * 5


def away(rows, dy):
    return [row | {"y": row["y"] + dy} for row in rows]


@pytest.mark.parametrize("segment", [0, 1])
@pytest.mark.parametrize(
    ("second", "dy", "residues"),
    [
        ({"B": 0.4}, 0.0, [0, 0, 0, 0]),
        ({"A": 0.4}, 0.0, [0, 0, 0, 0]),  # one letter for two names, on top of each other
        (0.4, 0.0, [0, 0, 0, 0]),
        ({"B": 0.4}, 5.0, [0, 0, 0, 0]),
        ({"A": 0.4}, 5.0, [0, 0, 1, 1]),
        (0.4, 5.0, [0, 0, 1, 1]),
        ({"B": 0.4}, 7.0, [0, 0, 1, 1]),
    ],
)
def test_two_names_at_one_number_are_one_residue_if_they_exclude_each_other(second, dy, residues, segment):
    rows = [row | {"segment": segment} for row in away(molecule(("A", 1), "ACY", second, n=2), dy)]
    assert residues_of(molecule(("A", 1), "LIG", {"A": 0.6}, n=2), rows) == residues


def test_a_ligand_numbered_like_a_residue_is_not_its_alternate():
    rows = molecule(("A", 1), "LIG", {"B": 0.4}, n=2)
    assert residues_of(residue(("A", 1), letters={"A": 0.6}, names=["N"]), rows) == [0, 1, 1]


@pytest.mark.parametrize(("dy", "residues"), [(2.4, [0] * 4), (2.6, [0, 0, 1, 1]), (13.0, [0, 0, 1, 1])])
def test_a_number_that_is_there_twice_is_two_residues_where_there_is_room_for_two(dy, residues):
    ligand = molecule(("A", 1), "LIG", 0.5, n=2)
    assert residues_of(ligand, away(ligand, dy)) == residues


def test_waters_and_residues_may_have_one_number():
    water = [row | {"y": 2.0} for row in molecule(("A", 1), "HOH", 0.5)]
    assert residues_of(residue(("A", 1), names=["O"], at=0.0), [row | {"x": 2.7, "y": 3.5} for row in water]) == [0, 1]


def test_a_water_that_replaces_a_ligand_is_its_alternate():
    assert residues_of(molecule(("A", 1), "LIG", {"A": 0.6}, n=2), molecule(("A", 1), "HOH", {"B": 0.4})) == [0, 0, 0]


def test_conformer_sizes():
    plain = AtomTable(table(residue(("A", 1), names=["N"]), residue(("A", 1), letters=AB, names=["CA", "C"])))
    assert plain.conformer_size.tolist() == [1, 2, 2, 2, 2]
    assert plain.first_atom.tolist() == [0]


def test_an_empty_table():
    assert AtomTable(pd.DataFrame(table())).n_atoms == 0
