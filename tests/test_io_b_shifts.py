"""Shifted B factors in files: B, the diagonal of U, and nothing else."""

import numpy as np
import pytest
from gemmi import cif

from jax_occupancy.io import read_model, write_model

U = 8 * np.pi**2
PDB = """\
CRYST1   27.940   43.300   50.190  90.00  90.00  90.00 P 21 21 21    4
ATOM      1  CA AALA A   1       1.000   2.000   3.000  0.60 10.0       SEG1 C
SIGATM    1  CA AALA A   1       0.100   0.100   0.100  0.00  0.10           C
ANISOU    1  CA AALA A   1     1000   2000   3000    -10     20     30       C
ATOM      2  CA BALA A   1       2.000   2.000   3.000  0.40 10.00           C  tail
ANISOU    2  CA BALA A   1     1000   1000   1000      0      0      0       C
HETATM    3  O   HOH A 301       4.000   2.000   3.000  1.00 20.00           O\r
HETATM    4  O   HOH A 302       8.000   2.000   3.000  1.00
END
"""
MMCIF = """data_one
_cell.length_a 30
_cell.length_b 30
_cell.length_c 30
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.U_iso_or_equiv
_atom_site.aniso_B[2][2]
_atom_site.auth_seq_id
_atom_site.auth_asym_id
ATOM a1 C CA A ALA A 1 1.0 2.0 3.0 0.6 10.0(3) 0.1 7.5 1 A
ATOM a2 C CA B ALA A 1 2.0 2.0 3.0 0.4 10.0    0.1 ?   1 A
ATOM a3 C CB . ALA A 1 2.0 5.0 3.0 1.0 +12     .   8.0 1 A
loop_
_atom_site_anisotrop.id
_atom_site_anisotrop.type_symbol
_atom_site_anisotrop.U[1][1]
_atom_site_anisotrop.U[2][2]
_atom_site_anisotrop.U[3][3]
_atom_site_anisotrop.U[1][2]
_atom_site_anisotrop.U[1][3]
_atom_site_anisotrop.U[2][3]
a3 C 0.1 0.1 0.1 0 0 0
a1 C 0.1 0.2 0.3 0 0 0
"""


@pytest.fixture
def pdb(tmp_path):
    (tmp_path / "in.pdb").write_bytes(PDB.encode())
    return read_model(tmp_path / "in.pdb")


@pytest.fixture
def mmcif(tmp_path):
    (tmp_path / "in.cif").write_text(MMCIF)
    return read_model(tmp_path / "in.cif")


def test_pdb_changes_columns_61_to_66_and_the_diagonal_of_its_anisou(pdb, tmp_path):
    # 0.001 Å² is lost in two decimals, so the third atom keeps every byte
    q = pdb.atoms["occupancy"].to_numpy()
    write_model(pdb, tmp_path / "out.pdb", q, b_shifts=[0.1 * U, 0.0, 0.001, 1.5])
    new_b, last_b = f"{10 + 0.1 * U:6.2f}", f"{pdb.atoms['tempfactor'][3] + 1.5:6.2f}"
    expected = PDB.replace("0.60 10.0 ", f"0.60{new_b}").replace("1000   2000   3000", "2000   3000   4000")
    expected = expected.replace("  1.00\nEND", f"  1.00{last_b}\nEND")
    assert (tmp_path / "out.pdb").read_bytes() == expected.encode()
    assert expected.count("  2000   3000   4000    -10     20     30") == 1


def test_no_shift_is_no_change(pdb, mmcif, tmp_path):
    for model, name in ((pdb, "out.pdb"), (mmcif, "out.cif")):
        q = model.atoms["occupancy"]
        write_model(model, tmp_path / f"zero_{name}", q, b_shifts=np.zeros(model.n_atoms))
        write_model(model, tmp_path / name, q)
        assert (tmp_path / f"zero_{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_mmcif_shifts_every_item_that_states_b_or_u(mmcif, tmp_path):
    write_model(mmcif, tmp_path / "plain.cif", mmcif.atoms["occupancy"])
    write_model(mmcif, tmp_path / "out.cif", mmcif.atoms["occupancy"], b_shifts=[0.1 * U, 0.0, 2.0])
    block, before = (cif.read_file(str(tmp_path / name)).sole_block() for name in ("out.cif", "plain.cif"))
    column = lambda item: list(block.find_values(item))  # noqa: E731
    assert column("_atom_site.B_iso_or_equiv") == [f"{10 + 0.1 * U:.2f}", "10.0", "14.00"]
    assert column("_atom_site.U_iso_or_equiv") == ["0.2000", "0.1", "."]
    assert column("_atom_site.aniso_B[2][2]") == [f"{7.5 + 0.1 * U:.2f}", "?", "10.00"]
    for i, old in enumerate((0.1, 0.2, 0.3), start=1):
        assert column(f"_atom_site_anisotrop.U[{i}][{i}]") == [f"{0.1 + 2 / U:.4f}", f"{old + 0.1:.4f}"]
    changed = ("B_iso", "U_iso", "aniso_B", "[1][1]", "[2][2]", "[3][3]")
    for item in (tag for one in before for tag in (one.loop.tags if one.loop else [one.pair[0]])):
        if not any(part in item for part in changed):
            assert column(item) == list(before.find_values(item)), item


@pytest.mark.parametrize("extension", ["pdb", "cif"])
@pytest.mark.parametrize("source", ["pdb", "mmcif"])
def test_read_again_b_and_u_are_shifted(source, extension, pdb, mmcif, tmp_path):
    model = {"pdb": pdb, "mmcif": mmcif}[source]
    shifts = np.array([3.0, -2.0, 1.25, 0.0])[: model.n_atoms]
    write_model(model, tmp_path / f"out.{extension}", model.atoms["occupancy"], b_shifts=shifts)
    again = read_model(tmp_path / f"out.{extension}").atoms
    np.testing.assert_allclose(again["tempfactor"], model.atoms["tempfactor"] + shifts, atol=0.00501)
    for item, moves in {"u11": 1, "u22": 1, "u33": 1, "u12": 0, "u13": 0, "u23": 0}.items():
        # half a unit of the last digit, for each of the two roundings
        np.testing.assert_allclose(again[item], model.atoms[item] + moves * shifts / U, atol=1.01e-4)


@pytest.mark.parametrize(
    ("shifts", "message"),
    [
        ([0.0, np.nan, 0.0, 0.0], r"finite.*A/1/ALA/CA:B \(given nan\)"),
        ([0.0, 0.0, np.inf, 0.0], r"A/301/HOH/O"),
        ([0.0, 0.0, 979.996, 0.0], r"-99.99 to 999.99 Å².*A/301/HOH/O \(B 1000.0\).*write .cif"),
        ([-110.0, 0.0, 0.0, 0.0], r"A/1/ALA/CA:A \(B -100.0\)"),
        ([0.0], r"b_shifts has shape \(1,\); wanted \(4,\)"),
    ],
)
def test_what_cannot_be_written_is_refused(shifts, message, pdb, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_model(pdb, tmp_path / "out.pdb", pdb.atoms["occupancy"], b_shifts=shifts)
    assert not (tmp_path / "out.pdb").exists()


def test_a_large_b_fits_into_mmcif(pdb, tmp_path):
    write_model(pdb, tmp_path / "out.cif", pdb.atoms["occupancy"], b_shifts=[0.0, 0.0, 1000.0, 0.0])
    assert read_model(tmp_path / "out.cif").atoms["tempfactor"][2] == 1020.0
