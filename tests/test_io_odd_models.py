"""Models that are odd, and those that are refused: which file, which atoms, why."""

import dataclasses
import gzip

import gemmi
import jax.numpy as jnp
import numpy as np
import pytest
from model_files import MMCIF, MMCIF_ROWS, anisou, pdb_line, write_mmcif, write_pdb

from jax_occupancy import automatic_groups
from jax_occupancy.example import read_example
from jax_occupancy.io import atom_label, read_groups, read_model, read_reflections, write_model
from jax_occupancy.refinement import prepare


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (gzip.compress(b"ATOM" * 1000, mtime=0)[:-9], "damaged or truncated gzip"),
        (b"MTZ \0\0\0", "is an MTZ file"),
        (bytes(range(256)), "is a binary file"),
        (b"hello\nworld\n", "neither PDB nor mmCIF"),
        (b"CRYST1   27.940\nEND\n", "holds no atoms"),
        (b"data_x\n_cell.length_a 3\n", "holds no atoms"),
        (b"data_x\nloop_\n_a.b\n_a.c\n1 2 3\n", "not valid CIF"),
        (b"data_x\nloop_\n_refln.index_h\n1\n", "holds reflections"),
        (b"data_x\nloop_\n_atom_site_fract_x\n1\n", "small-molecule CIF"),
        (b"ATOM      1  CA  ALA A   1       1.000\n", "x|cannot be read as PDB"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_model(path)
    assert "bad.file" in str(caught.value)


def test_a_byte_order_mark_is_looked_through(tmp_path):
    """In a model of either format, reflections and a file of groups."""
    model, reflections = read_example()
    sf = gemmi.MtzToCif().write_cif_to_string(_mtz_of(reflections))
    texts = {"m.pdb": model.structure.make_pdb_string(), "m.cif": model.structure.make_mmcif_document().as_string()}
    for name, text in {**texts, "r.cif": sf, "g.toml": 'remove = "//S"\n'}.items():
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    for name in texts:
        assert read_model(tmp_path / name).n_atoms == model.n_atoms
    assert read_reflections(tmp_path / "r.cif").n_reflections == reflections.n_reflections
    assert read_groups(tmp_path / "g.toml").remove


def _mtz_of(reflections):
    mtz = gemmi.Mtz(with_base=True)
    mtz.cell, mtz.spacegroup = reflections.cell, reflections.spacegroup
    mtz.add_dataset("d")
    for label, kind in (("F", "F"), ("SIGF", "Q")):
        mtz.add_column(label, kind)
    mtz.set_data(np.column_stack([reflections.hkl, reflections.amplitude, reflections.sigma]).astype(np.float32))
    return mtz


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pdb"):
        read_model(tmp_path / "none.pdb")
    with pytest.raises(IsADirectoryError, match="folder"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"occupancy": "   nan"}, r"occupancy is missing or not finite: A/1/ALA/Q:B"),
        ({"occupancy": "  none"}, "occupancy is not a number in line 3: '  none'"),
        ({"b": "******"}, r"tempfactor is not a number in line 3: '\*+'"),
        ({"b": "   inf"}, "tempfactor is missing or not finite: A/1/ALA/Q:B"),
        ({"x": np.inf}, "x is missing or not finite: A/1/ALA/Q:B"),
        ({"resseq": "    "}, "without a residue number"),
    ],
)
def test_bad_atoms_are_named(tmp_path, change, message):
    path = write_pdb(tmp_path, [pdb_line("CA"), pdb_line("Q", "B", **change)])
    with pytest.raises(ValueError, match=message):
        read_model(path)


def test_bad_atoms_of_mmcif_are_named(tmp_path):
    for old, new, message in (
        (" 0.5 ", " half ", "occupancy is missing or not finite: LongA/301/HOH/O"),
        (" 14.0 ", " ? ", "tempfactor is missing or not finite: LongA/301/HOH/O"),
        (" 5.0 ", " nan ", "x is missing or not finite: LongA/301/HOH/O"),
    ):
        path = write_mmcif(tmp_path, [row.replace(old, new) for row in MMCIF_ROWS])
        with pytest.raises(ValueError, match=message):
            read_model(path)


def test_first_five_offenders(tmp_path):
    path = write_pdb(tmp_path, [pdb_line("CA", resseq=n, occupancy="   inf") for n in range(1, 9)])
    with pytest.raises(ValueError, match=r"A/5/ALA/CA and 3 more"):
        read_model(path)


def test_pdb_records_that_would_be_misread(tmp_path):
    a, b = pdb_line("CA"), pdb_line("CB")
    with pytest.raises(ValueError, match="line 4: the ANISOU record does not follow its atom"):
        read_model(write_pdb(tmp_path, [a, b, anisou(a, 100)]))
    with pytest.raises(ValueError, match=r"after the END record of line 3 \(first in line 4\)"):
        read_model(write_pdb(tmp_path, [a, "END", b]))


def test_ambiguous_mmcif(tmp_path):
    tail = "loop_\n_atom_site_anisotrop.id\n_atom_site_anisotrop.U[1][1]\n1 0.1\n"
    rows = [row.replace(" 9 ", " 7 ") for row in MMCIF_ROWS]
    with pytest.raises(ValueError, match=r"_atom_site\.id repeats"):
        read_model(write_mmcif(tmp_path, rows, tail=tail))
    with pytest.raises(ValueError, match="2 blocks with atoms"):
        read_model(write_mmcif(tmp_path, tail=MMCIF.replace("data_x", "data_y") + MMCIF_ROWS[0] + "\n"))


@pytest.mark.parametrize("resname", ["UNX", "ALA"])
def test_unknown_elements_are_read_with_a_note(tmp_path, resname):
    """UNX is legal in PDB files, and groups need no form factor."""
    lines = [pdb_line("Q", "A", record="HETATM", resname=resname, resseq=n, element="X") for n in range(1, 9)]
    model = read_model(write_pdb(tmp_path, [*lines, pdb_line("CA", resseq=9)]))
    assert model.atoms["element"].tolist() == ["X"] * 8 + ["C"]
    (note,) = model.notes
    assert f"A/5/{resname}/Q:A and 3 more; give their element (PDB columns 77-78" in note
    model = read_model(write_mmcif(tmp_path, [row.replace(" O O ", " ? O ") for row in MMCIF_ROWS]))
    assert "LongA/301/HOH/O; give" in model.notes[0]
    assert read_model(write_mmcif(tmp_path)).notes == ()


@pytest.mark.parametrize(("occupancy", "told"), [("  1.00", True), ("  0.00", False)])
def test_b_factors_of_zero_are_told(occupancy, told, tmp_path):
    lines = [
        pdb_line(name, b=b, occupancy=occupancy) for name, b in ((" N", "  0.00"), (" C", " 12.00"), (" O", "  0.00"))
    ]
    notes = read_model(write_pdb(tmp_path, lines)).notes
    assert [note.partition(";")[0] for note in notes] == (
        ["2 of 3 atoms have a B factor of zero: A/1/ALA/N, A/1/ALA/O"] if told else []
    )


def test_atoms_of_unknown_element_do_not_scatter():
    """One of the fixed atoms is as good as gone, a group of them has no structure factors."""
    model, data = read_example()
    linear, free = {}, np.flatnonzero(model.atoms["occupancy"].to_numpy() < 1)
    fixed = int(np.flatnonzero((model.atoms["occupancy"] == 1).to_numpy())[0])
    for what in ("unknown", "gone"):
        changed = dataclasses.replace(model, atoms=model.atoms.copy(), structure=model.structure.clone())
        for atom in (site.atom for site in changed.structure[0].all()):
            if atom.serial == fixed + 1:
                atom.occ, atom.element = (0.0, atom.element) if what == "gone" else (1.0, gemmi.Element("X"))
        changed.atoms.loc[[fixed, *free], "element"] = "X"
        changed.atoms.loc[fixed, "occupancy"] = 1.0 if what == "unknown" else 0.0
        linear[what] = prepare(changed, data, automatic_groups(model.atoms)).linear
    np.testing.assert_allclose(linear["unknown"].fixed, linear["gone"].fixed, rtol=1e-6)
    columns = linear["unknown"].columns
    assert not np.any(columns.sum(jnp.ones(columns.n_groups)))
    assert columns.n_groups > 1


@pytest.mark.parametrize("tail", ["1ABC 123", "1ABC1234", "1CRN  70", "1ABC   9", "      70"])
def test_old_pdb_files_have_a_name_and_a_number_behind(tmp_path, tail):
    """In columns 73 to 80, where elements and charges are today."""
    lines = [line[:72] + tail for line in (pdb_line(" CA"), pdb_line("ZN", record="HETATM", resname="ZN", resseq=2))]
    model = read_model(write_pdb(tmp_path, lines))
    assert model.atoms["element"].tolist() == ["C", "ZN"]
    assert model.atoms["charge"].tolist() == [0, 0]
    write_model(model, tmp_path / "out.pdb", [0.5, 1.0])
    assert (tmp_path / "out.pdb").read_text().count(tail + "\n") == 2


def test_letters_that_are_no_utf_8(tmp_path):
    """In a title they are kept, in the name of an atom they become question marks."""
    lines = ["TITLE     Größe", pdb_line("CÄ", chain="é")]
    (tmp_path / "a.pdb").write_bytes("\n".join(lines).encode("latin-1"))
    model = read_model(tmp_path / "a.pdb")
    assert atom_label(model.atoms, 0) == "?/1/ALA/C?"
    write_model(model, tmp_path / "b.pdb", [1.0])
    assert (tmp_path / "b.pdb").read_bytes() == model.source
    # in mmCIF they may stand in quotes
    path = write_mmcif(tmp_path, tail="_struct.title 'Größe'\n")
    path.write_bytes(path.read_text().encode("latin-1"))
    model = read_model(path)
    write_model(model, tmp_path / "b.cif", model.atoms["occupancy"])
    assert "Größe" in (tmp_path / "b.cif").read_text()
    for old, new in ((" 2 B ", " 2 é "), (" 2 B ", " 2 'é' "), (" CA . ", " CÄ . ")):
        path.write_bytes(write_mmcif(tmp_path).read_text().replace(old, new).encode("latin-1"))
        with pytest.raises(
            ValueError, match=r"model\.cif (has a letter that is not ASCII|is not valid CIF|cannot be read as mmCIF)"
        ):
            read_model(path)
