import numpy as np
import pandas as pd
import pytest

from jax_occupancy.core import OccupancyTensor

ROWS = [
    # chain, number, icode, resname, altloc, label
    ("A", 1, "", "ALA", "", 0),
    ("A", 1, "", "ALA", "A", 1),
    ("A", 1, "", "ALA", "B", 2),
    ("A", 1, "", "ALA", "A", 1),
    ("A", 1, "A", "ALA", "", 3),
    ("A", -1, "", "GLY", "", 4),
    ("B", 1, "", "ALA", "", 5),
    ("B", 2, "", "SER", "A", 6),
    ("B", 2, "", "THR", "B", 7),
]
LABELS = [row[-1] for row in ROWS]


def table(missing=""):
    frame = pd.DataFrame(ROWS, columns=["chainid", "resseq", "icode", "resname", "altloc", "label"])
    frame["altloc"] = (
        frame["altloc"].replace("", missing)
        if missing is not None
        else frame["altloc"].where(frame["altloc"] != "", None)
    )
    return frame.drop(columns="label")


@pytest.mark.parametrize("missing", ["", " ", None, np.nan, pd.NA, ".", "?"])
def test_every_spelling_of_a_missing_altloc(missing):
    occ = OccupancyTensor.from_residue_groups(np.full(9, 0.4), table(missing))
    assert occ.expansion_mask.tolist() == LABELS


def test_names_of_groups():
    names = OccupancyTensor.from_residue_groups(np.ones(9), table()).topology.labels
    assert list(names[:6]) == ["A/1/ALA", "A/1/ALA:A", "A/1/ALA:B", "A/1A/ALA", "A/-1/GLY", "B/1/ALA"]


def test_row_order_is_atom_order_whatever_the_index():
    shuffled = table().set_axis([5, 5, 3, 1, 0, 8, 2, 2, 7])
    assert OccupancyTensor.from_residue_groups(np.ones(9), shuffled).expansion_mask.tolist() == LABELS


def test_names_of_biopandas_and_mmcif():
    biopandas = table().rename(
        columns={
            "chainid": "chain_id",
            "resseq": "residue_number",
            "icode": "insertion",
            "resname": "residue_name",
            "altloc": "alt_loc",
        }
    )
    cif = table(".").rename(
        columns={
            "chainid": "auth_asym_id",
            "resseq": "auth_seq_id",
            "icode": "pdbx_PDB_ins_code",
            "resname": "label_comp_id",
            "altloc": "label_alt_id",
        }
    )
    cif["label_asym_id"] = "Z"
    categories = table().astype({"chainid": "category", "altloc": "category"})
    for frame in (biopandas, cif, categories):
        assert OccupancyTensor.from_residue_groups(np.ones(9), frame).expansion_mask.tolist() == LABELS


def test_a_real_biopandas_frame(tmp_path):
    ppdb = pytest.importorskip("biopandas.pdb").PandasPdb()
    lines = [
        "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00 10.00           C",
        "ATOM      2  CB AALA A   1       1.000   0.000   0.000  0.60 10.00           C",
        "ATOM      3  CB BALA A   1       2.000   0.000   0.000  0.40 10.00           C",
    ]
    path = tmp_path / "model.pdb"
    path.write_text("\n".join(lines) + "\n")
    frame = ppdb.read_pdb(str(path)).df["ATOM"]
    occ = OccupancyTensor.from_residue_groups(
        frame["occupancy"].to_numpy(), frame, refinable_mask=np.array([False, True, True])
    )
    assert occ.expansion_mask.tolist() == [0, 1, 2]
    np.testing.assert_allclose(occ(), [1.0, 0.6, 0.4], rtol=1e-6)


def test_without_icode_and_with_altloc_groups():
    frame = table().drop(columns="icode")
    occ = OccupancyTensor.from_residue_groups(np.full(9, 0.5), frame, altloc_groups=[[[1, 3], [2]]])
    q = occ()
    np.testing.assert_allclose(q[1] + q[2], 1, rtol=1e-6)
    assert occ.expansion_mask[4] == 0


def test_errors_name_the_column_and_the_rows():
    with pytest.raises(ValueError, match=r"no column for altloc: one of altloc, alt_loc, label_alt_id .* has chainid"):
        OccupancyTensor.from_residue_groups(np.ones(9), table().drop(columns="altloc"))
    with pytest.raises(ValueError, match="9 rows for 4 initial values"):
        OccupancyTensor.from_residue_groups(np.ones(4), table())


def test_a_number_read_as_float_is_the_same_residue():
    frame = table().astype({"resseq": float})
    topology = OccupancyTensor.from_residue_groups(np.ones(9), frame).topology
    assert topology.group_map.tolist() == LABELS
    assert topology.labels[0] == "A/1/ALA"
