"""Models that are written without some of their atoms."""

import gemmi
import numpy as np
import pytest
from gemmi import cif
from model_files import anisou, pdb_line, write_pdb

from jax_occupancy.io import read_model, write_model

WATER = {"record": "HETATM", "resname": "HOH", "chain": "W", "element": "O"}
LINES = [
    "HET     ZN  W   2       1",
    "LINK         NZ BLYS A   1                 O   HOH W   1     1555   1555  2.00",
    "LINK         NZ  LYS A   1                 C5  LIG L   9     1555   1555  1.50",
    "LINK         NZ ALYS A   1                ZN    ZN W   2     1555   1555  2.10",
    pdb_line(" NZ", "A", serial="1", resname="LYS", occupancy="  0.70"),
    pdb_line(" NZ", "B", serial="2", resname="LYS", occupancy="  0.30", x=4.0),
    (zinc := pdb_line("ZN", serial="3", **WATER | {"resname": "ZN", "element": "ZN"}, resseq=2, x=6.0)),
    anisou(zinc, 100),
    (water := pdb_line(" O", serial="4", **WATER, x=8.0)),
    anisou(water, 100),
    "CONECT    1    2    3    4",
    "CONECT    4    1",
    "CONECT    3    4",
    "MASTER        0    0    0",
]


@pytest.fixture
def pdb(tmp_path):
    return read_model(write_pdb(tmp_path, LINES))


def written(model, path, *gone):
    """The text without the atoms at some positions, and what is read of it."""
    write_model(model, path, model.atoms["occupancy"], without=np.isin(np.arange(model.n_atoms), gone))
    return path.read_text(), read_model(path).atoms


def test_pdb_records_of_what_is_gone(pdb, tmp_path):
    text, atoms = written(pdb, tmp_path / "out.pdb", 1, 3)
    assert atoms["name"].tolist() == ["NZ", "ZN"]
    # the link without a letter has A, that of B is gone with it
    kept = [*(LINES[i] for i in (0, 2, 3, 4, 6, 7)), "CONECT    1    3".ljust(len(LINES[10]))]
    assert text.splitlines()[1:-1] == kept
    text, _ = written(pdb, tmp_path / "no_zinc.pdb", 2)
    assert text.splitlines()[1:-1] == [*(LINES[i] for i in (1, 2, 4, 5, 8, 9)), "CONECT    1    2    4     ", LINES[11]]
    text, _ = written(pdb, tmp_path / "no_lysine.pdb", 0, 1)
    assert text.splitlines()[1:-1] == [LINES[0], *LINES[6:10], LINES[12]]


def test_another_model_of_the_file_keeps_its_records(tmp_path):
    path = tmp_path / "two.pdb"
    atoms = LINES[4:6]
    path.write_text(
        "\n".join([LINES[1], "MODEL        1", *atoms, "ENDMDL", "MODEL        2", *atoms, "ENDMDL", "END", ""])
    )
    write_model(read_model(path, model_number=2), tmp_path / "out.pdb", [0.7, 0.3], without=[False, True])
    lines = (tmp_path / "out.pdb").read_text().splitlines()
    assert lines == [LINES[1], "MODEL        1", *atoms, "ENDMDL", "MODEL        2", atoms[0], "ENDMDL", "END"]


@pytest.mark.parametrize("read", ["pdb", "cif"])
@pytest.mark.parametrize("wrote", ["pdb", "cif"])
def test_every_way_from_format_to_format(pdb, tmp_path, read, wrote):
    model = pdb
    if read == "cif":
        document = pdb.structure.make_mmcif_document()
        scheme = ["pdb_strand_id", "pdb_seq_num", "mon_id"]
        loop = document[0].init_loop("_pdbx_nonpoly_scheme.", scheme)
        loop.add_row(["W", "1", "HOH"])
        loop.add_row(["W", "2", "ZN"])
        document.write_file(str(tmp_path / "in.cif"))
        model = read_model(tmp_path / "in.cif")
    text, atoms = written(model, tmp_path / f"out.{wrote}", 1, 3)
    assert atoms["name"].tolist() == ["NZ", "ZN"]
    assert atoms["x"].tolist() == [1, 6]
    np.testing.assert_allclose(atoms["u11"], [np.nan, 0.01])
    links = gemmi.read_structure(str(tmp_path / f"out.{wrote}")).connections
    assert [link.partner2.res_id.name for link in links if link.partner2.res_id.name != "LIG"] == ["ZN"]
    if (read, wrote) == ("cif", "cif"):
        block = cif.read_string(text)[0]
        assert list(block.find_values("_pdbx_nonpoly_scheme.mon_id")) == ["ZN"]
        assert len(block.find_values("_atom_site_anisotrop.id")) == 1


def test_one_atom_must_stay_and_the_mask_must_fit(pdb, tmp_path):
    with pytest.raises(ValueError, match="would have no atoms"):
        written(pdb, tmp_path / "out.pdb", 0, 1, 2, 3)
    with pytest.raises(ValueError, match=r"without has shape \(2,\)"):
        write_model(pdb, tmp_path / "out.pdb", np.ones(4), without=[True, False])
    assert not (tmp_path / "out.pdb").exists()
