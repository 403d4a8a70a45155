"""From and to gemmi's structures: the same table as from the file, the same occupancies back."""

import gemmi
import numpy as np
import pandas as pd
import pytest

from jax_occupancy import OccupancyTensor, automatic_groups, read_model, write_example
from jax_occupancy.io import from_gemmi, model_from_gemmi, to_gemmi


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example")).model


def test_the_table_is_that_of_the_file(file):
    structure = gemmi.read_structure(str(file))
    table, expected = from_gemmi(structure), read_model(file).atoms
    pd.testing.assert_frame_equal(table.drop(columns="segment"), expected.drop(columns="segment"))
    assert automatic_groups(table).to_dict() == automatic_groups(expected).to_dict()
    assert [atom.atom.serial for atom in structure[0].all()] == [a.atom.serial for a in structure.clone()[0].all()]


def test_a_structure_in_memory_is_a_model_as_its_file_is(file):
    structure, expected = gemmi.read_pdb(str(file)), read_model(file)
    model = model_from_gemmi(structure)
    columns = ["chainid", "resseq", "resname", "name", "altloc", "x", "y", "z", "occupancy", "tempfactor", "element"]
    pd.testing.assert_frame_equal(model.atoms[columns], expected.atoms[columns])
    assert (model.spacegroup.hm, model.cell.parameters) == (expected.spacegroup.hm, expected.cell.parameters)
    assert not structure.entities  # it stays as it is
    assert model.path.name == "example.cif"
    structure.name = "/"
    assert model_from_gemmi(structure).path.name == "structure.cif"


def test_occupancies_go_back_in_the_order_of_each(file):
    structure = gemmi.read_structure(str(file))
    table = from_gemmi(structure)
    occ = OccupancyTensor.from_residue_groups(table["occupancy"].to_numpy(), table)
    values = np.random.default_rng(0).uniform(size=len(table))
    new = occ.with_occupancies(values)()
    changed = to_gemmi(structure, new)
    np.testing.assert_allclose(from_gemmi(changed)["occupancy"], new, atol=1e-7)
    np.testing.assert_array_equal(from_gemmi(structure)["occupancy"], table["occupancy"])


def test_a_model_keeps_file_order_where_gemmi_regroups(tmp_path):
    line = "ATOM      1  CA {}ALA A{:4d}      {:6.3f}  12.000  13.000  0.50 10.00           C"
    atoms = [line.format(letter, number, number) for letter in "AB" for number in (1, 2, 3)]
    (tmp_path / "split.pdb").write_text("\n".join(atoms))
    model = read_model(tmp_path / "split.pdb")
    values = np.array([0.6, 0.7, 0.8, 0.4, 0.3, 0.2])
    structure = to_gemmi(model, values)
    found = {(c.residue.seqid.num, c.atom.altloc): c.atom.occ for c in structure[0].all()}
    assert found[1, "B"] == pytest.approx(0.4)
    assert found[3, "A"] == pytest.approx(0.8)
    assert all(atom.atom.occ == 0.5 for atom in model.structure[0].all())


@pytest.mark.parametrize("values", [[0.5] * 5, [[0.5] * 6], [np.nan] * 6])
def test_wrong_occupancies(file, values):
    with pytest.raises(ValueError, match=r"one finite number for each atom"):
        to_gemmi(gemmi.read_structure(str(file)), values)


def test_structures_that_are_not_one_model():
    with pytest.raises(ValueError, match="'none' has 0 models"):
        from_gemmi(_structure("none", 0))
    with pytest.raises(ValueError, match="'two' has 2 models"):
        to_gemmi(_structure("two", 2), [])
    with pytest.raises(ValueError, match="'empty' holds no atoms"):
        from_gemmi(_structure("empty", 1))


def test_unusable_atoms_are_named(file):
    structure = gemmi.read_structure(str(file))
    structure[0][0][0][0].b_iso = np.nan
    with pytest.raises(ValueError, match=r"the structure .* has atoms whose tempfactor is missing or not finite"):
        from_gemmi(structure)


def _structure(name, models):
    structure = gemmi.Structure()
    structure.name = name
    for number in range(models):
        structure.add_model(gemmi.Model(number + 1))
    return structure
