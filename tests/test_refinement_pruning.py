"""What the data do not support, and models that are written without it."""

import dataclasses

import numpy as np
import pytest
from gemmi import cif

from jax_occupancy.groups import GroupSet
from jax_occupancy.io import read_model

pytestmark = pytest.mark.usefixtures("x64")

UNSUPPORTED = "not supported: the log-likelihood gained over its absence is below 3"
FULL = "the data do not tell it from fully occupied"


def with_notes(solution, notes, *, llg=None):
    """The solution if its table said this of some groups."""
    table = solution.table.copy()
    table["note"] = [notes.get(name, "") for name in table["name"]]
    table["llg_absent"] = [(llg or {}).get(name, 1.0) for name in table["name"]]
    return dataclasses.replace(solution, table=table)


def unsupported(solution, *names, llg=None):
    return with_notes(solution, dict.fromkeys(names, UNSUPPORTED), llg=llg).unsupported()


def test_what_can_go(solution):
    assert unsupported(solution) == ()
    assert unsupported(solution, "W/301/HOH", "A/3/LEU:B") == ("A/3/LEU:B", "W/301/HOH")
    # a ligand in two poses may be gone altogether, but only one of them is known to be
    both = ("B/201/IPH:A", "B/201/IPH:B")
    assert unsupported(solution, *both, llg={"B/201/IPH:A": 0.5}) == ("B/201/IPH:A",)
    assert unsupported(solution, *both, llg={"B/201/IPH:B": 0.5}) == ("B/201/IPH:B",)
    assert unsupported(solution, "W/301/HOH", llg={"W/301/HOH": np.nan}) == ()


def test_what_stays(solution):
    """A lone conformer of a chain, the parent of a set, and one of two that share a parent."""
    sets = {s.groups[0].name: s for s in solution.grouping.sets}
    serine, leucine = sets["A/2/SER:A"], sets["A/3/LEU:A"]
    atoms = solution.model.atoms.copy()
    alone = dataclasses.replace(serine.groups[0], name="alone", atoms=[0, 1], counted=None)
    grouping = dataclasses.replace(
        solution.grouping,
        sets=(GroupSet("free", (alone,)), serine, dataclasses.replace(leucine, parent="A/2/SER:B")),
    )
    names = [group.name for group in grouping.groups]
    table = solution.table.iloc[[0, 0, 1, 2, 3]].assign(name=names, note=UNSUPPORTED, llg_absent=[0, 1, 0, 0, 0])
    nested = dataclasses.replace(solution, grouping=grouping, table=table)
    assert nested.unsupported() == ("A/2/SER:A",)
    conformer = atoms["altloc"].where(atoms.index != 2, "B")
    model = dataclasses.replace(solution.model, atoms=atoms.assign(altloc=conformer))
    assert nested.unsupported(model) == ("alone", "A/2/SER:A")


@pytest.mark.parametrize("kind", ["pdb", "cif"])
def test_the_others_share_what_they_had(solution, example, tmp_path, kind):
    model, q = example[0], solution.table.set_index("name")["occupancy"]
    without = ("A/3/LEU:B", "A/6/GLN:C", "B/201/IPH:A", "W/301/HOH")
    solution.write(model, tmp_path / f"out.{kind}", without=without)
    solution.write(model, tmp_path / f"all.{kind}")
    atoms, before = read_model(tmp_path / f"out.{kind}").atoms, read_model(tmp_path / f"all.{kind}").atoms
    gone = np.concatenate([solution.grouping[name].atoms for name in without])
    kept = np.setdiff1d(np.arange(model.n_atoms), gone)
    decimals = {"pdb": 2, "cif": 4}[kind]
    expected = before["occupancy"].to_numpy(copy=True)
    expected[solution.grouping["A/3/LEU:A"].atoms] = 1
    rest = q["A/6/GLN:A"] + q["A/6/GLN:B"]
    for name in ("A/6/GLN:A", "A/6/GLN:B"):
        expected[solution.grouping[name].atoms] = q[name] / rest
    np.testing.assert_allclose(atoms["occupancy"], expected[kept], atol=0.51 * 10.0**-decimals)
    names = ["name", "altloc", "resname", "chainid", "resseq", "x"]
    assert atoms[names].equals(before.iloc[kept].reset_index(drop=True)[names])
    glutamine = atoms[(atoms["resname"] == "GLN") & (atoms["altloc"] != "")].groupby("altloc")["occupancy"].first()
    assert round(glutamine.sum(), 6) == 1


def test_an_uncertainty_does_not_outlive_its_occupancy(solution, example, tmp_path):
    solution.write(example[0], tmp_path / "out.cif", without=["A/6/GLN:C"], full=["W/301/HOH"])
    block = cif.read(str(tmp_path / "out.cif"))[0]
    items = ["label_comp_id", "auth_seq_id", "occupancy", "occupancy_esd"]
    known = {(row[0], row[1], float(row[2]) < 1): row[3] != "?" for row in block.find("_atom_site.", items)}
    assert known["LEU", "3", True]
    assert not known["GLN", "6", True]
    assert ("HOH", "301", True) not in known
    assert not known["HOH", "301", False]


def test_waters_that_may_be_full(solution):
    water, pose = "W/301/HOH", "B/201/IPH:A"
    assert with_notes(solution, {water: FULL, pose: FULL}).full_waters() == (water,)
    assert with_notes(solution, {water: UNSUPPORTED}).full_waters() == ()


def test_hydrogens_go_with_their_carrier(solution, example, tmp_path):
    """Also those that are in no group."""
    model = example[0]
    water = solution.grouping["W/301/HOH"].atoms[0]
    other = next(i for i in model.atoms.index[model.atoms["resname"] == "HOH"] if i != water)
    atoms = model.atoms.copy()
    atoms.loc[other, ["x", "y", "z"]] = atoms.loc[water, ["x", "y", "z"]].to_numpy(float) + np.array([0.9, 0, 0])
    atoms.loc[other, ["name", "element", "resseq"]] = "H1", "H", 301
    solution.write(dataclasses.replace(model, atoms=atoms), tmp_path / "out.pdb", without=["W/301/HOH"])
    assert read_model(tmp_path / "out.pdb").n_atoms == model.n_atoms - 2


def test_a_loaded_solution_needs_the_model(solution):
    with pytest.raises(ValueError, match="give the one that was refined"):
        dataclasses.replace(solution, model=None).unsupported()
    with pytest.raises(KeyError, match="nobody"):
        solution.write(solution.model, "out.pdb", without=["nobody"])
