"""Writing models: nothing but occupancies changes, sums survive rounding, files are complete or not there."""

import gzip
import os
from pathlib import Path

import gemmi
import numpy as np
import pytest
from gemmi import cif
from model_files import pdb_line, write_pdb

from jax_occupancy.io import atomic_writer, read_model, write_model

PDB_LINES = [
    "HEADER    a test",
    "CRYST1   27.940   43.300   50.190  90.00  90.00  90.00 P 21 21 21    4          ",
    "ATOM      1  CA AALA A   1       1.000   2.000   3.000  0.60 10.00      SEG1 C  ",
    "ANISOU    1  CA AALA A   1     1000   1000   1000      0      0      0       C  ",
    "ATOM      2  CB AALA A   1       2.000   2.000   3.000 0.600 10.00           C  trailing text",
    "ATOM      3  CA BALA A   1       3.000   2.000   3.000  0.40 10.00           C  ",
    "TER",
    "HETATM99999  O   HOH A 301       4.000   2.000   3.000  1.00 20.00           O1-",
    "HETATM    7 NA    NA A 302       5.000   2.000   3.000",
    "END   ",
]
MMCIF = """# a comment
data_first
_entry.id first
_cell.length_a 27.94
_cell.length_b 43.30
_cell.length_c 50.19
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M 'P 21 21 21'
_odd.text
;two lines
'of' "text"
;
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
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
_atom_site.my_item
ATOM   a1 C CA A ALA A 1 1.0 2.0 3.0 0.6    10.0 1   A 1 'x y'
ATOM   a2 C CB A ALA A 1 2.0 2.0 3.0 .60    10.0 1   A 1 ?
ATOM   a3 C CA B ALA A 1 3.0 2.0 3.0 0.4(1) 10.0 1   A 1 .
HETATM a4 O O  . HOH B . 4.0 2.0 3.0 ?      20.0 301 A 1 1
data_second
_my.thing 3
"""


@pytest.fixture
def pdb(tmp_path):
    path = tmp_path / "in.pdb"
    path.write_text("\n".join(PDB_LINES))
    return read_model(path)


@pytest.fixture
def mmcif(tmp_path):
    path = tmp_path / "in.cif"
    path.write_text(MMCIF)
    return read_model(path)


def content(text):
    """Every item of every block, as spelled."""
    items = []
    for block in cif.read_string(text):
        for item in block:
            spelled = (item.loop.tags, item.loop.values) if item.loop else tuple(item.pair)
            items.append((block.name, spelled))
    return items


def occupancies_of(text):
    return list(cif.read_string(text)[0].find_values("_atom_site.occupancy"))


def test_pdb_changes_in_columns_55_to_60_only(pdb, tmp_path):
    write_model(pdb, tmp_path / "out.pdb", np.array([0.7, 0.7, 0.3, 1.0, 0.123]))
    expected = list(PDB_LINES)
    for index, field in ((2, "  0.70"), (4, "  0.70"), (5, "  0.30"), (8, "  0.12")):
        expected[index] = PDB_LINES[index][:54] + field + PDB_LINES[index][60:]
    assert (tmp_path / "out.pdb").read_text() == "\n".join(expected)
    assert len(expected[8]) == 60  # was a short line


def test_occupancies_as_read_give_the_same_bytes(pdb, tmp_path):
    # the short line says nothing, so it is filled in
    write_model(pdb, tmp_path / "out.pdb", pdb.atoms["occupancy"])
    lines = [*PDB_LINES[:8], PDB_LINES[8] + "  1.00", PDB_LINES[9]]
    assert (tmp_path / "out.pdb").read_text() == "\n".join(lines)


def test_line_endings_and_odd_bytes_are_kept(tmp_path):
    source = b"REMARK caf\xe9\r\n" + "\r\n".join(PDB_LINES[1:8]).encode() + b"\r\n\r\nEND"
    (tmp_path / "in.ent").write_bytes(source)
    model = read_model(tmp_path / "in.ent")
    write_model(model, tmp_path / "same.pdb", model.atoms["occupancy"])
    assert (tmp_path / "same.pdb").read_bytes() == source
    write_model(model, tmp_path / "out.pdb", [0.6, 0.6, 0.4, 0.5])
    assert (tmp_path / "out.pdb").read_bytes() == source.replace(b"  1.00 20", b"  0.50 20")


def test_a_line_may_end_within_z(tmp_path):
    """Trailing zeros cut off: the occupancy still goes to its columns."""
    line = PDB_LINES[8][:53]
    (tmp_path / "in.pdb").write_bytes(line.encode() + b"\r\n")
    write_model(read_model(tmp_path / "in.pdb"), tmp_path / "out.pdb", [0.5])
    assert (tmp_path / "out.pdb").read_bytes() == line.encode() + b"   0.50\r\n"


def test_split_residues_get_their_own_values(tmp_path):
    """gemmi's order differs from the file's: values must follow the file."""
    lines = [pdb_line(" CA", altloc, resseq=number) for altloc in "AB" for number in (1, 2, 3)]
    model = read_model(write_pdb(tmp_path, lines))
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    write_model(model, tmp_path / "out.pdb", values)
    np.testing.assert_array_equal(read_model(tmp_path / "out.pdb").atoms["occupancy"], values)
    write_model(model, tmp_path / "out.cif", values, esds=values / 10)
    column = cif.read(str(tmp_path / "out.cif"))[0].find_values("_atom_site.occupancy_esd")
    occupancies = occupancies_of((tmp_path / "out.cif").read_text())
    np.testing.assert_allclose([float(esd) for esd in column], [float(q) / 10 for q in occupancies])
    through_gemmi = read_model(tmp_path / "out.cif").atoms.sort_values(["altloc", "resseq"])
    np.testing.assert_array_equal(through_gemmi["occupancy"], values)


def test_mmcif_keeps_everything_else(mmcif, tmp_path):
    write_model(mmcif, tmp_path / "same.mmcif", mmcif.atoms["occupancy"])
    assert content((tmp_path / "same.mmcif").read_text()) == content(MMCIF)
    write_model(mmcif, tmp_path / "out.cif", [0.70004, 0.70004, 0.29996, 0.5])
    text = (tmp_path / "out.cif").read_text()
    assert occupancies_of(text) == ["0.7000", "0.7000", "0.3000", "0.5000"]
    document = cif.read_string(text)
    column = document[0].find_values("_atom_site.occupancy")
    for row, old in enumerate(["0.6", ".60", "0.4(1)", "?"]):
        column[row] = old
    assert content(document.as_string()) == content(MMCIF)


def test_mmcif_keeps_the_spelling_of_equal_values(mmcif, tmp_path):
    write_model(mmcif, tmp_path / "out.cif", [0.60004, 0.60004, 0.39996, 0.5])
    assert occupancies_of((tmp_path / "out.cif").read_text()) == ["0.6", ".60", "0.4(1)", "0.5000"]


def test_mmcif_without_occupancies_gets_the_item(tmp_path):
    text = MMCIF.replace("_atom_site.occupancy", "_atom_site.other")
    (tmp_path / "in.cif").write_text(text)
    model = read_model(tmp_path / "in.cif")
    write_model(model, tmp_path / "out.cif", [0.7, 0.7, 0.3, 1.0])
    # 1 is what a missing value means, so it needs no number
    assert occupancies_of((tmp_path / "out.cif").read_text()) == ["0.7000", "0.7000", "0.3000", "?"]


def test_one_atom_in_pairs(tmp_path):
    header, rows = MMCIF.split("loop_\n")[0], MMCIF.split("loop_\n")[1].splitlines()
    pairs = [f"{tag} {value}" for tag, value in zip(rows[:16], rows[17].split()[:16], strict=True)]
    (tmp_path / "in.cif").write_text(header + "\n".join(pairs) + "\n")
    model = read_model(tmp_path / "in.cif")
    write_model(model, tmp_path / "out.cif", [0.25], esds=[0.01])
    block = cif.read(str(tmp_path / "out.cif"))[0]
    assert block.find_value("_atom_site.occupancy") == "0.2500"
    assert block.find_value("_atom_site.occupancy_esd") == "0.0100"


def test_only_the_chosen_model_changes(tmp_path):
    lines = ["MODEL        1", PDB_LINES[2], "ENDMDL", "MODEL        2", PDB_LINES[2], "ENDMDL", "END"]
    (tmp_path / "in.pdb").write_text("\n".join(lines))
    write_model(read_model(tmp_path / "in.pdb", model_number=2), tmp_path / "out.pdb", [0.25])
    lines[4] = lines[4].replace("  0.60", "  0.25")
    assert (tmp_path / "out.pdb").read_text() == "\n".join(lines)
    text = MMCIF.replace("data_second\n_my.thing 3\n", "ATOM a5 C CA A ALA A 1 1.0 2.0 3.0 0.9 10.0 1 A 2 ?\n")
    (tmp_path / "in.cif").write_text(text)
    write_model(read_model(tmp_path / "in.cif", model_number=2), tmp_path / "out.cif", [0.25])
    assert occupancies_of((tmp_path / "out.cif").read_text()) == ["0.6", ".60", "0.4(1)", "?", "0.2500"]


def test_esds(mmcif, pdb, tmp_path):
    esds = np.array([0.02, 0.02, np.nan, 0.00004])
    write_model(mmcif, tmp_path / "out.cif", [0.7, 0.7, 0.4, 1.0], esds=esds)
    column = cif.read(str(tmp_path / "out.cif"))[0].find_values("_atom_site.occupancy_esd")
    assert list(column) == ["0.0200", "0.0200", "?", "0.0000"]
    write_model(pdb, tmp_path / "converted.cif", [0.7, 0.7, 0.3, 1.0, 1.0], esds=[0.1, 0.1, 0.1, np.nan, 0.5])
    block = cif.read(str(tmp_path / "converted.cif"))[0]
    assert block.name == Path(pdb.path).stem
    column = block.find_values("_atom_site.occupancy_esd")
    assert list(column) == ["0.1000", "0.1000", "0.1000", "?", "0.5000"]
    with pytest.raises(ValueError, match="no place for standard uncertainties"):
        write_model(pdb, tmp_path / "out.pdb", np.ones(5), esds=np.ones(5))
    with pytest.raises(ValueError, match=r"esds must be finite.*A/1/ALA/CB:A \(given -0\.1\)"):
        write_model(mmcif, tmp_path / "out2.cif", np.ones(4), esds=[0.1, -0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"esds has shape \(3,\)"):
        write_model(mmcif, tmp_path / "out2.cif", np.ones(4), esds=np.ones(3))


def test_old_esds_do_not_outlive_their_occupancy(mmcif, tmp_path):
    write_model(mmcif, tmp_path / "with.cif", [0.7, 0.7, 0.3, 1.0], esds=np.full(4, 0.02))
    model = read_model(tmp_path / "with.cif")
    write_model(model, tmp_path / "out.cif", [0.8, 0.8, 0.3, 1.0])
    column = cif.read(str(tmp_path / "out.cif"))[0].find_values("_atom_site.occupancy_esd")
    assert list(column) == ["?", "?", "0.0200", "0.0200"]


def test_conversion_keeps_atoms_and_cell(pdb, mmcif, tmp_path):
    values = np.array([0.7, 0.7, 0.3, 0.5])
    write_model(mmcif, tmp_path / "out.pdb", values)
    write_model(pdb, tmp_path / "out.cif.gz", [*values, 0.3333])
    from_mmcif, from_pdb = read_model(tmp_path / "out.pdb"), read_model(tmp_path / "out.cif.gz")
    assert from_pdb.format == "mmcif"
    assert from_pdb.atoms["occupancy"].tolist() == [0.7, 0.7, 0.3, 0.5, 0.3333]
    assert from_mmcif.atoms["occupancy"].tolist() == values.tolist()
    columns = ["record", "name", "altloc", "resname", "chainid", "resseq", "x", "tempfactor", "element", "kind"]
    assert from_mmcif.atoms[columns].equals(mmcif.atoms[columns])
    assert from_pdb.atoms[columns].equals(pdb.atoms[columns])
    assert from_pdb.cell.parameters == from_mmcif.cell.parameters == pdb.cell.parameters
    np.testing.assert_allclose(from_pdb.atoms["u11"], pdb.atoms["u11"], atol=1e-7)


def test_what_pdb_cannot_hold(tmp_path):
    for old, new, column in (
        (" A 1 ", " Long 1 ", "chainid"),
        (" A ALA", " AB ALA", "altloc"),
        ("ALA", "A1ABC", "resname"),
    ):
        (tmp_path / "in.cif").write_text(MMCIF.replace(old, new))
        model = read_model(tmp_path / "in.cif")
        with pytest.raises(ValueError, match=f"{column} is longer than .* write .cif instead"):
            write_model(model, tmp_path / "out.pdb", np.ones(4))
        assert not (tmp_path / "out.pdb").exists()
        write_model(model, tmp_path / "out.cif", np.ones(4))


def test_gzip_output_is_reproducible(pdb, tmp_path):
    for name in ("a.pdb.gz", "b.ent.gz"):
        write_model(pdb, tmp_path / name, np.ones(5))
    data = (tmp_path / "a.pdb.gz").read_bytes()
    assert data == (tmp_path / "b.ent.gz").read_bytes()
    assert gzip.decompress(data).count(b"   3.000  1.00") == 5


def test_input_is_never_overwritten(pdb, tmp_path):
    (tmp_path / "link.pdb").symlink_to(tmp_path / "in.pdb")
    for name in ("in.pdb", "link.pdb"):
        with pytest.raises(ValueError, match=f"{name} is the file the model was read from"):
            write_model(pdb, tmp_path / name, np.ones(5))
    assert (tmp_path / "in.pdb").read_text() == "\n".join(PDB_LINES)
    (tmp_path / "in.pdb").unlink()
    write_model(pdb, tmp_path / "in.pdb", np.ones(5))  # nothing to protect any more


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 0.5, 1.5, -0.1, 1.0], r"from 0 to 1: A/1/ALA/CA:B \(given 1\.5\), A/301/HOH/O \(given -0\.1\)$"),
        ([np.nan] * 5, r"A/1/ALA/CA:A \(given nan\)"),
        ([np.inf, 1, 1, 1, 1], r"A/1/ALA/CA:A \(given inf\)"),
        ([0.5] * 4, r"occupancies has shape \(4,\); wanted \(5,\)"),
        ([[0.5] * 5], r"shape \(1, 5\)"),
    ],
)
def test_bad_occupancies(pdb, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        write_model(pdb, tmp_path / "out.pdb", values)
    assert not (tmp_path / "out.pdb").exists()


def test_float32_sums_may_exceed_one_by_rounding(pdb, tmp_path):
    write_model(pdb, tmp_path / "out.pdb", np.full(5, 1 + 2e-7, np.float32))
    assert read_model(tmp_path / "out.pdb").atoms["occupancy"].tolist() == [1.0] * 5


def test_bad_targets(pdb, tmp_path):
    with pytest.raises(ValueError, match=r"extension must be \.pdb"):
        write_model(pdb, tmp_path / "out.txt", np.ones(5))
    with pytest.raises(FileNotFoundError, match=r"folder of .* does not exist"):
        write_model(pdb, tmp_path / "none" / "out.pdb", np.ones(5))
    (tmp_path / "folder.pdb").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_model(pdb, tmp_path / "folder.pdb", np.ones(5))


def test_sets_sum_to_one_in_the_file(tmp_path):
    lines = [
        pdb_line(f" {name}", altloc, resseq=number, occupancy="  0.33")
        for number, altlocs in ((1, "ABC"), (2, "AB"))
        for altloc in altlocs
        for name in "CO"
    ]
    model = read_model(write_pdb(tmp_path, lines))
    sets = [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9]]]
    values = np.repeat([0.335, 0.335, 0.33, 0.125, 0.875], 2)
    write_model(model, tmp_path / "plain.pdb", values)
    plain = read_model(tmp_path / "plain.pdb").atoms["occupancy"]
    assert plain[::2][:3].sum() == pytest.approx(1.01)  # plain rounding breaks the sum
    write_model(model, tmp_path / "out.pdb", values, sets=sets)
    written = read_model(tmp_path / "out.pdb").atoms["occupancy"].tolist()
    assert written == [0.34, 0.34, 0.33, 0.33, 0.33, 0.33, 0.13, 0.13, 0.87, 0.87]
    # also where nothing moved: 0.333 three times is 0.999 in three decimals
    thirds = [line.replace("  0.33", " 0.333") for line in lines[:6]]
    third = read_model(write_pdb(tmp_path, thirds, name="third.pdb"))
    write_model(third, tmp_path / "third_out.pdb", third.atoms["occupancy"], sets=sets[:1])
    assert read_model(tmp_path / "third_out.pdb").atoms["occupancy"][::2].tolist() == [0.34, 0.33, 0.33]
    write_model(third, tmp_path / "third_same.pdb", third.atoms["occupancy"])
    assert (tmp_path / "third_same.pdb").read_bytes() == third.source


def write_half(target, error):
    with atomic_writer(target) as handle:
        handle.write(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_writing_leaves_nothing(tmp_path, error):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_failing_replacement_leaves_nothing(pdb, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        write_model(pdb, tmp_path / "out.pdb", np.ones(5))
    assert [path.name for path in tmp_path.iterdir()] == ["in.pdb"]


def test_permissions_and_links(tmp_path):
    target, link = tmp_path / "file.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_writer(link) as handle:
        handle.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    with atomic_writer(tmp_path / "fresh.txt") as handle:
        handle.write(b"new")
    (tmp_path / "usual.txt").write_text("new")
    assert (tmp_path / "fresh.txt").stat().st_mode == (tmp_path / "usual.txt").stat().st_mode


@pytest.mark.parametrize("name", ["4xof.pdb", "4ms6.pdb", "x3200.pdb", "1g8a_multiconformer.pdb", "1orc.pdb"])
def test_real_pdb_files_come_back_byte_for_byte(data_dir, tmp_path, name):
    model = read_model(data_dir / name)
    write_model(model, tmp_path / "out.pdb", model.atoms["occupancy"])
    assert (tmp_path / "out.pdb").read_bytes() == (data_dir / name).read_bytes()
    q = np.random.default_rng(1).integers(0, 101, model.n_atoms) / 100
    write_model(model, tmp_path / "new.pdb", q)
    np.testing.assert_array_equal(read_model(tmp_path / "new.pdb").atoms["occupancy"], q)
    before, after = model.source.split(b"\n"), (tmp_path / "new.pdb").read_bytes().split(b"\n")
    changed = {n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
    assert changed <= set(model.rows.tolist())
    assert all(before[n][:54] + before[n][60:] == after[n][:54] + after[n][60:] for n in changed)


@pytest.mark.parametrize("name", ["1pfe.cif.gz", "5i55.cif"])
def test_real_mmcif_files_keep_their_content(data_dir, tmp_path, name):
    model = read_model(data_dir / name)
    write_model(model, tmp_path / "out.cif", model.atoms["occupancy"])
    assert content((tmp_path / "out.cif").read_text()) == content(model.source.decode())
    q = np.random.default_rng(1).integers(0, 10_001, model.n_atoms) / 10_000
    write_model(model, tmp_path / "new.cif.gz", q)
    assert read_model(tmp_path / "new.cif.gz").atoms["occupancy"].tolist() == q.tolist()
    assert gemmi.read_structure(str(tmp_path / "new.cif.gz"))[0].count_atom_sites() == model.n_atoms
