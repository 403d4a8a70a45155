"""Reading models: order of the atoms and every column of the table."""

import gzip

import gemmi
import numpy as np
import pytest
from model_files import CRYST1, MMCIF, MMCIF_ROWS, anisou, pdb_line, write_mmcif, write_pdb

from jax_occupancy.io import atom_label, read_model

COLUMNS = [
    "record",
    "name",
    "altloc",
    "resname",
    "chainid",
    "resseq",
    "icode",
    "x",
    "y",
    "z",
    "occupancy",
    "tempfactor",
]
COLUMNS += ["element", "charge", "u11", "u22", "u33", "u12", "u13", "u23", "kind", "segment", "segid"]


def test_file_order_survives_split_residues(tmp_path):
    """All of altloc A, then all of altloc B: gemmi puts each residue together, the table must not."""
    a = [pdb_line("CA", "A", resseq=n, x=n, occupancy="  0.60") for n in (1, 2, 3)]
    b = [pdb_line("CA", "B", resseq=n, x=10 + n, occupancy="  0.40") for n in (1, 2, 3)]
    extra = [pdb_line("CB", resseq=2, x=20)]
    lines = []
    for number, line in enumerate(a + b + extra):
        lines += [line, anisou(line, 1000 + number)]
    model = read_model(write_pdb(tmp_path, lines))
    np.testing.assert_array_equal(model.atoms["x"], [1, 2, 3, 11, 12, 13, 20])
    assert model.atoms["altloc"].tolist() == ["A", "A", "A", "B", "B", "B", ""]
    np.testing.assert_allclose(model.atoms["u11"], 0.1 + np.arange(7) * 1e-4, atol=1e-8)
    np.testing.assert_array_equal(model.rows, 1 + 2 * np.arange(7))
    walked = [atom for chain in model.structure[0] for residue in chain for atom in residue]
    assert [atom.serial for atom in walked] != list(range(1, 8))  # gemmi did regroup
    for atom in walked:
        assert atom.pos.x == model.atoms["x"][atom.serial - 1]
        assert atom.occ == pytest.approx(model.atoms["occupancy"][atom.serial - 1], abs=1e-7)


def test_file_order_survives_in_mmcif(tmp_path):
    tail = (
        "loop_\n_atom_site_anisotrop.id\n"
        + "".join(f"_atom_site_anisotrop.U[{i}][{j}]\n" for i, j in ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3)))
        + "9 0.9 0.2 0.3 0.01 0.02 0.03\n7 0.7 0.2 0.3 0.01 0.02 0.03\n"
    )
    model = read_model(write_mmcif(tmp_path, tail=tail))
    np.testing.assert_array_equal(model.atoms["x"], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(model.atoms["u11"], [0.7, np.nan, 0.9, np.nan, np.nan], atol=1e-7)
    np.testing.assert_allclose(model.atoms["u23"], [0.03, np.nan, 0.03, np.nan, np.nan], atol=1e-7)
    for chain in model.structure[0]:
        for residue in chain:
            for atom in residue:
                assert atom.pos.x == model.atoms["x"][atom.serial - 1]


def test_columns_of_mmcif(tmp_path):
    atoms = read_model(write_mmcif(tmp_path)).atoms
    assert list(atoms.columns) == COLUMNS
    assert atoms["record"].tolist() == ["ATOM"] * 3 + ["HETATM"] * 2
    assert atoms["chainid"].tolist() == ["LongA"] * 5
    assert atoms["resseq"].tolist() == [-5, 10, -5, 201, 301]
    assert atoms["icode"].tolist() == ["", "B", "", "", ""]
    assert atoms["resname"].tolist() == ["ALA", "SER", "GLY", "ZN", "HOH"]
    assert atoms["altloc"].tolist() == ["A", "", "B", "", ""]
    # '?' and '.' are 1; the digits in parentheses are the uncertainty; not rounded to single precision
    assert atoms["occupancy"].tolist() == [0.3333, 1.0, 1.0, 1.0, 0.5]
    assert atoms["tempfactor"].tolist() == [10, 11, 12, 13, 14]
    assert atoms["element"].tolist() == ["C", "C", "C", "ZN", "O"]
    assert atoms["charge"].tolist() == [0, 0, 0, 2, 0]
    assert atoms["kind"].tolist() == ["protein", "protein", "protein", "other", "water"]
    assert atoms["segment"].tolist() == [0, 0, 0, 1, 2]
    assert atom_label(atoms, 1) == "LongA/10B/SER/CA"
    assert atom_label(atoms, 2) == "LongA/-5/GLY/CA:B"


def test_columns_of_pdb(tmp_path):
    lines = [
        pdb_line("CA", "A", resseq=-5, occupancy="  0.35"),
        pdb_line("CA", "B", resseq=-5, resname="GLY", occupancy="  0.65", serial="A0000"),
        pdb_line(" C", resseq=10, icode="B", serial="zzzzz"),
        "TER",
        pdb_line("ZN", record="HETATM", resname="ZN", resseq=201, element="ZN", charge="2+", serial="*****"),
        pdb_line(" O", record="HETATM", resname="LIG", resseq=202, element="O", charge="1-"),
        "BREAK",
        pdb_line(" D1", record="HETATM", resname="DOD", chain="B", resseq="A000", element="D"),
        pdb_line(" C1'", record="HETATM", resname=" DG", chain="B", resseq=7, element="  "),
    ]
    model = read_model(write_pdb(tmp_path, lines))
    atoms = model.atoms
    assert list(atoms.columns) == COLUMNS
    assert atoms.index.tolist() == list(range(7))
    assert atoms["record"].tolist() == ["ATOM"] * 3 + ["HETATM"] * 4
    assert atoms["resname"].tolist() == ["ALA", "GLY", "ALA", "ZN", "LIG", "DOD", "DG"]
    assert atoms["resseq"].tolist() == [-5, -5, 10, 201, 202, 10000, 7]  # hybrid-36 A000
    assert atoms["icode"].tolist() == ["", "", "B", "", "", "", ""]
    assert atoms["element"].tolist() == ["C", "C", "C", "ZN", "O", "D", "C"]
    assert atoms["charge"].tolist() == [0, 0, 0, 2, -1, 0, 0]
    assert atoms["occupancy"].tolist() == [0.35, 0.65, 1, 1, 1, 1, 1]
    assert atoms["kind"].tolist() == ["protein"] * 3 + ["other", "other", "water", "nucleic"]
    assert atoms["segment"].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert atoms[["u11", "u22", "u33", "u12", "u13", "u23"]].isna().all().all()
    assert model.cell.parameters == (27.94, 43.30, 50.19, 90, 90, 90)
    assert model.spacegroup.hm == "P 21 21 21"
    numbers = atoms[["x", "y", "z", "occupancy", "tempfactor", "u11", "u22", "u33", "u12", "u13", "u23"]]
    assert (numbers.dtypes == np.float64).all()
    assert (atoms[["resseq", "charge", "segment"]].dtypes == np.int64).all()


def test_more_atoms_than_decimal_serials_keep_their_order(tmp_path):
    """100,002 atoms in residues of two, the second atoms all after the first ones."""
    half = 50_001
    lines = [
        pdb_line(name, resseq=n % 9000, x=(n % 9000) + shift, chain="ABCDEF"[n // 9000])
        for name, shift in (("CA", 0.0), ("CB", 0.5))
        for n in range(half)
    ]
    atoms = read_model(write_pdb(tmp_path, lines)).atoms
    assert len(atoms) == 2 * half
    np.testing.assert_array_equal(atoms["x"], np.concatenate([np.arange(half) % 9000 + s for s in (0.0, 0.5)]))


def test_blank_occupancy_is_read_as_gemmi_reads_it(tmp_path):
    """0 in a line that goes on after the blank field, 1 in a line that ends before it."""
    names = (" CA", " CB", " CG")
    lines = [pdb_line(names[0], occupancy=" " * 6), pdb_line(names[1])[:54], pdb_line(names[2])[:60]]
    lines.append(pdb_line(" CD", occupancy="  .5  "))
    atoms = read_model(write_pdb(tmp_path, lines)).atoms
    assert atoms["occupancy"].tolist() == [0.0, 1.0, 1.0, 0.5]
    assert atoms["tempfactor"].tolist() == [10.0, 20.0, 20.0, 10.0]


def test_last_line_without_line_ending_and_crlf(tmp_path):
    path = tmp_path / "a.pdb"
    path.write_bytes((pdb_line("CA") + "\r\n" + pdb_line(" CB")[:54]).encode())
    assert read_model(path).atoms["name"].tolist() == ["CA", "CB"]


def test_no_cell(tmp_path):
    path = tmp_path / "a.pdb"
    path.write_text(pdb_line("CA") + "\n")
    model = read_model(path)
    assert model.cell is None
    assert model.spacegroup is None
    header = "data_x\nloop_\n" + MMCIF.split("loop_\n")[1]
    assert read_model(write_mmcif(tmp_path, header=header)).cell is None


def test_format_is_told_by_content(tmp_path):
    text = f"{CRYST1}\n{pdb_line('CA')}\n"
    for name in ("a.ent", "a.txt", "a.cif", "noextension"):
        (tmp_path / name).write_text(text)
        assert read_model(tmp_path / name).format == "pdb"
    (tmp_path / "a.ent.gz").write_bytes(gzip.compress(text.encode()))
    assert read_model(tmp_path / "a.ent.gz").n_atoms == 1
    assert read_model(write_mmcif(tmp_path, name="b.pdb")).format == "mmcif"


def test_several_models_need_a_number(tmp_path):
    lines = [
        "MODEL        2", pdb_line("CA"), "ENDMDL",
        "MODEL        5", pdb_line("CA", x=4.0), "TER", pdb_line("CB", x=5.0), "ENDMDL",
    ]  # fmt: skip
    path = write_pdb(tmp_path, lines)
    with pytest.raises(ValueError, match=r"2 models \(numbers 2, 5\).*model_number=2"):
        read_model(path)
    with pytest.raises(ValueError, match="no model 1; it has 2, 5"):
        read_model(path, model_number=1)
    model = read_model(path, model_number=5)
    assert (model.model_number, len(model.structure)) == (5, 1)
    assert model.atoms["x"].tolist() == [4.0, 5.0]
    assert model.atoms["segment"].tolist() == [0, 1]
    assert [atom.serial for residue in model.structure[0][0] for atom in residue] == [1, 2]
    assert model.rows.tolist() == [5, 7]


def test_several_models_in_mmcif(tmp_path):
    rows = [row[:-1] + number for number in "13" for row in MMCIF_ROWS[:2]]
    path = write_mmcif(tmp_path, rows)
    with pytest.raises(ValueError, match="model_number=1"):
        read_model(path)
    model = read_model(path, model_number=3)
    assert model.rows.tolist() == [2, 3]
    assert model.n_atoms == 2


def test_mmcif_without_optional_items(tmp_path):
    """Neither altlocs nor occupancies nor label_asym_id: gemmi alone would read no atom at all."""
    text = """data_x
loop_
_atom_site.type_symbol
_atom_site.auth_atom_id
_atom_site.auth_comp_id
_atom_site.auth_asym_id
_atom_site.auth_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.B_iso_or_equiv
C CA ALA A 1 1 2 3 10
C CB ALA A 1 1 2 3 10
"""
    (tmp_path / "a.cif").write_text(text)
    atoms = read_model(tmp_path / "a.cif").atoms
    assert atoms["occupancy"].tolist() == [1.0, 1.0]
    assert atoms["altloc"].tolist() == ["", ""]
    assert atoms["name"].tolist() == ["CA", "CB"]
    (tmp_path / "b.cif").write_text(text.replace("_atom_site.B_iso_or_equiv\n", "_atom_site.other\n"))
    with pytest.raises(ValueError, match=r"b\.cif has no _atom_site\.B_iso_or_equiv"):
        read_model(tmp_path / "b.cif")


def test_long_altlocs_of_mmcif_are_kept(tmp_path):
    rows = [row.replace("CA A ", "CA AB ") for row in MMCIF_ROWS]
    assert read_model(write_mmcif(tmp_path, rows)).atoms["altloc"].tolist()[0] == "AB"


def test_models_compare_by_identity_and_print_short(tmp_path):
    model = read_model(write_pdb(tmp_path, [pdb_line("CA")]))
    assert model != read_model(model.path)
    assert len(repr(model)) < 300
    assert "1 atoms, pdb, spacegroup='P 21 21 21'" in repr(model)


@pytest.mark.parametrize(
    ("name", "n_atoms", "n_aniso"),
    [
        ("4xof.pdb", 1492, 788),
        ("1pfe.cif.gz", 342, 342),
        ("5i55.cif", 218, None),
        ("4ms6.pdb", 5542, 0),
        ("x3200.pdb", 2612, 0),
        ("1g8a_multiconformer.pdb", 2853, 0),
    ],
)
def test_real_files_against_their_text(data_dir, name, n_atoms, n_aniso):
    """The table row by row against a plain reading of the text, for both formats."""
    model = read_model(data_dir / name)
    assert model.n_atoms == n_atoms
    if n_aniso is not None:
        assert model.atoms["u11"].notna().sum() == n_aniso
    text = model.source.decode()
    if model.format == "pdb":
        lines = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
        expected = [(line[12:16].strip(), line[16].strip(), int(line[22:26]), float(line[54:60])) for line in lines]
    else:
        table = gemmi.cif.read_string(text)[0].get_mmcif_category("_atom_site.")
        expected = [
            (atom, altloc or "", int(number), float(occupancy))
            for atom, altloc, number, occupancy in zip(
                table["auth_atom_id"], table["label_alt_id"], table["auth_seq_id"], table["occupancy"], strict=True
            )
        ]
    columns = ["name", "altloc", "resseq", "occupancy"]
    assert list(model.atoms[columns].itertuples(index=False, name=None)) == expected
