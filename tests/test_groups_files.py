"""One model gives the same sets from PDB and from mmCIF."""

from pathlib import Path

import gemmi
import numpy as np
import pytest
from groups_models import molecule, residue, table
from hypothesis import given, settings
from hypothesis import strategies as st
from test_groups_properties import pieces
from test_groups_saying import structure_of

from jax_occupancy.groups import automatic_groups
from jax_occupancy.io import read_model, write_model

MODELS = ("1g8a_multiconformer.pdb", "1orc.pdb", "1pfe.cif.gz", "4ms6.pdb", "4xof.pdb", "5i55.cif", "x3200.pdb")


def sets_of(model, decimals=9):
    """The sets by what the atoms are called and where they are, whatever their order in the file."""
    atoms = model.atoms
    labels = list(
        zip(
            *(atoms[column] for column in ("chainid", "resseq", "icode", "resname", "name", "altloc")),
            *(atoms[axis].round(2) for axis in "xyz"),
            strict=True,
        )
    )
    return {
        (s.kind, frozenset((frozenset(labels[a] for a in g.atoms), round(g.start, decimals)) for g in s.groups))
        for s in automatic_groups(atoms)
    }


def both(model, folder):
    """A model and its copy in the other format."""
    path = Path(folder, "copy.cif" if model.format == "pdb" else "copy.pdb")
    write_model(model, path, np.clip(model.atoms["occupancy"], 0, 1))
    return sets_of(model), sets_of(read_model(path))


@pytest.mark.parametrize("name", MODELS)
def test_real_models(data_dir, tmp_path, name):
    first, second = both(read_model(data_dir / name), tmp_path)
    assert first == second
    assert first


@given(pieces(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_random_models(tmp_path_factory, made, ter):
    atoms = table(*made)
    if atoms.empty:
        return
    structure = structure_of(atoms)
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(90, 90, 90, 90, 90, 90), "P 1"
    structure.setup_entities()
    folder = tmp_path_factory.mktemp("models")
    text = structure.make_pdb_string(gemmi.PdbWriteOptions(ter_records=ter))
    (folder / "model.pdb").write_text(text)
    structure.make_mmcif_document().write_file(str(folder / "model.cif"))
    assert sets_of(read_model(folder / "model.pdb")) == sets_of(read_model(folder / "model.cif"))


@pytest.mark.parametrize("names", [("CL", "HOH"), ("ZN", "HOH"), ("LIG", "ACY"), ("HOH", "HOH")])
def test_alternates_of_one_number_in_two_segments_of_mmcif(tmp_path, names):
    first, second = (
        [row | {"altloc": letter, "occupancy": q} for row in molecule(("A", 501), name, 1.0, n=1)]
        for name, letter, q in zip(names, "AB", (0.6, 0.4), strict=True)
    )
    structure = structure_of(table(residue(("A", 1)), first, second))
    structure.setup_entities()
    structure.assign_subchains(force=True)
    structure.make_mmcif_document().write_file(str(tmp_path / "model.cif"))
    (tmp_path / "model.pdb").write_text(structure.make_pdb_string())
    for name in ("model.cif", "model.pdb"):
        (pair,) = automatic_groups(read_model(tmp_path / name).atoms)
        assert (pair.kind, [group.start for group in pair.groups]) == ("complete", [0.6, 0.4])
