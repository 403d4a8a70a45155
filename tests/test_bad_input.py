"""A catalogue of what people and disks do to files: a sentence that says what is wrong, never half a file.

What each reader does with a mistake of its own is tested beside it; here stand the mistakes that all of them meet.
"""

import contextlib
import errno
import gzip
import multiprocessing
import os
import subprocess
import sys

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jax_occupancy import (
    OccupancyTensor,
    automatic_groups,
    load_tensor,
    read_model,
    read_reflections,
    save_tensor,
    write_example,
    write_model,
)
from jax_occupancy.groups import parse_phenix, parse_refmac, parse_toml
from jax_occupancy.io import read_groups, write_groups

READERS = {
    "model.pdb": read_model,
    "model.cif": read_model,
    "data.mtz": read_reflections,
    "groups.toml": read_groups,
    "groups.refmac": read_groups,
    "groups.eff": read_groups,
    "tensor.npz": load_tensor,
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with one good file for every reader."""
    folder = tmp_path_factory.mktemp("good")
    files = write_example(folder)
    model = read_model(files.model)
    files.model.rename(folder / "model.pdb")
    files.reflections.rename(folder / "data.mtz")
    write_model(model, folder / "model.cif", model.atoms["occupancy"])
    # A free group, which every format can say.
    grouping = automatic_groups(model.atoms.iloc[116:])
    for name in ("groups.toml", "groups.refmac", "groups.eff"):
        write_groups(folder / name, grouping, model.atoms.iloc[116:])
    save_tensor(folder / "tensor.npz", OccupancyTensor([0.5, 1.0]))
    return folder


@pytest.fixture
def model(good):
    return read_model(good / "model.pdb")


def refused(read, file):
    """The message of the error, which names the file and is one line."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read(file)
    message = str(caught.value)
    assert file.name in message
    assert "\n" not in message.strip()
    return message


def test_the_good_files_are_good(good):
    for name, read in READERS.items():
        read(good / name)


@pytest.mark.parametrize("name", READERS)
def test_empty_files(name, tmp_path):
    for content in (b"", b" \n\n\t"):
        (tmp_path / name).write_bytes(content)
        assert "empty" in refused(READERS[name], tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_folders_and_missing_files(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        READERS[name](tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_binary_junk(name, tmp_path):
    junk = bytes(np.random.default_rng(1).integers(0, 256, 5000, np.uint8))
    for content in (junk, b"\0" * 300, b"\x89PNG\r\n\x1a\n" + junk, b"PK\x03\x04" + junk, b"MTZ " + junk):
        (tmp_path / name).write_bytes(content)
        refused(READERS[name], tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_another_kind_of_file(name, good, tmp_path):
    """A model where reflections are wanted, and so on."""
    for other in ("model.pdb", "data.mtz", "groups.toml", "tensor.npz"):
        if READERS[other] is not READERS[name]:
            (tmp_path / name).write_bytes((good / other).read_bytes())
            refused(READERS[name], tmp_path / name)


@pytest.mark.parametrize("name", ["model.pdb", "model.cif", "data.mtz", "groups.toml"])
def test_a_gzip_file_that_was_cut(name, good, tmp_path):
    data = gzip.compress((good / name).read_bytes())
    file = tmp_path / f"{name}.gz"
    for length in (2, 9, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        assert "truncated" in refused(READERS[name], file)


@pytest.mark.parametrize("name", ["data.mtz", "tensor.npz"])
def test_a_binary_file_that_was_cut(name, good, tmp_path):
    data = (good / name).read_bytes()
    for part in (0.05, 0.5, 0.9, 0.99):
        (tmp_path / name).write_bytes(data[: int(len(data) * part)])
        refused(READERS[name], tmp_path / name)


def test_a_text_file_that_was_cut_within_an_atom(good, tmp_path):
    """Text has no length to check: a cut is noticed where it leaves half an atom."""
    text = (good / "model.pdb").read_text().splitlines()
    atom = next(i for i, line in enumerate(text) if line.startswith("ATOM")) + 20
    for column in (26, 30, 35, 50):
        (tmp_path / "cut.pdb").write_text("\n".join([*text[:atom], text[atom][:column]]))
        refused(read_model, tmp_path / "cut.pdb")
    rows = (good / "model.cif").read_text().splitlines()
    row = next(i for i, line in enumerate(rows) if line.startswith("ATOM")) + 20
    (tmp_path / "cut.cif").write_text("\n".join([*rows[:row], rows[row][:30]]))
    refused(read_model, tmp_path / "cut.cif")


CRYST1 = "CRYST1   27.940   43.300   50.190  90.00  90.00  90.00 P 21 21 21    4"
ATOM = "ATOM      1  CA AALA A   1      11.000  12.000  13.000  0.50 10.00           C  "
ANISOU = "ANISOU    1  CA AALA A   1      100    200    300      0     10      0       C  "
PDB_FIELDS = {
    "cell edge": (CRYST1, 6, 15),
    "cell angle": (CRYST1, 40, 47),
    "residue number": (ATOM, 22, 26),
    "x": (ATOM, 30, 38),
    "y": (ATOM, 38, 46),
    "z": (ATOM, 46, 54),
    "occupancy": (ATOM, 54, 60),
    "tempfactor": (ATOM, 60, 66),
    "anisotropic U": (ANISOU, 28, 35),
    "last anisotropic U": (ANISOU, 63, 70),
}
NOT_NUMBERS = ["nan", "inf", "-inf", "****", "1_0", "a,b"]


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("field", PDB_FIELDS)
def test_every_numeric_field_of_pdb(field, value, tmp_path):
    line, start, stop = PDB_FIELDS[field]
    broken = line[:start] + value.rjust(stop - start) + line[stop:]
    lines = (CRYST1, ATOM, ANISOU) if line == ANISOU else (CRYST1, ATOM)
    (tmp_path / "model.pdb").write_text("\n".join(broken if one == line else one for one in lines))
    message = refused(read_model, tmp_path / "model.pdb")
    assert {CRYST1: "cell", ATOM: field, ANISOU: "ANISOU"}[line] in message


MMCIF = {
    "_cell.length_a": "27.94",
    "_cell.length_b": "43.3",
    "_cell.length_c": "50.19",
    "_cell.angle_alpha": "90",
    "_cell.angle_beta": "90",
    "_cell.angle_gamma": "90",
    "_symmetry.space_group_name_H-M": "'P 21 21 21'",
    "_atom_site.group_PDB": "ATOM",
    "_atom_site.id": "1",
    "_atom_site.type_symbol": "C",
    "_atom_site.label_atom_id": "CA",
    "_atom_site.label_alt_id": "A",
    "_atom_site.label_comp_id": "ALA",
    "_atom_site.label_asym_id": "A",
    "_atom_site.label_seq_id": "1",
    "_atom_site.auth_seq_id": "1",
    "_atom_site.auth_asym_id": "A",
    "_atom_site.Cartn_x": "1.0",
    "_atom_site.Cartn_y": "2.0",
    "_atom_site.Cartn_z": "3.0",
    "_atom_site.occupancy": "0.5",
    "_atom_site.B_iso_or_equiv": "10.0",
    "_atom_site.pdbx_formal_charge": "0",
    "_atom_site.pdbx_PDB_model_num": "1",
    "_atom_site_anisotrop.id": "1",
    **{f"_atom_site_anisotrop.U[{i}][{j}]": "0.1" for i, j in ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3))},
}
WORDS = ("group_PDB", "id", "type_symbol", "atom_id", "alt_id", "comp_id", "asym_id", "H-M")
NUMBERS = [item for item in MMCIF if not item.endswith(WORDS)]


def mmcif_of(items):
    return "data_x\n" + "".join(f"{name} {value}\n" for name, value in items.items())


def test_the_mmcif_of_these_tests_is_good(tmp_path):
    (tmp_path / "model.cif").write_text(mmcif_of(MMCIF))
    model = read_model(tmp_path / "model.cif")
    assert model.atoms["u23"].tolist() == pytest.approx([0.1])
    assert model.cell.a == 27.94


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_every_numeric_item_of_mmcif(value, tmp_path):
    for item in NUMBERS:
        (tmp_path / "model.cif").write_text(mmcif_of(MMCIF | {item: value}))
        refused(read_model, tmp_path / "model.cif")


def test_an_item_of_another_category_in_the_loop_of_the_atoms(tmp_path):
    atoms = {name: value for name, value in MMCIF.items() if name.startswith("_atom_site.")}
    names = [name.replace("_atom_site.occ", "_atom_sit.occ") for name in atoms]
    (tmp_path / "model.cif").write_text("data_x\nloop_\n" + "\n".join(names) + "\n" + " ".join(atoms.values()) + "\n")
    assert "_atom_sit.occupancy" in refused(read_model, tmp_path / "model.cif")


@pytest.mark.parametrize(
    "cell",
    [
        "    0.000   43.300   50.190  90.00  90.00  90.00",
        "    0.000    0.000    0.000  90.00  90.00  90.00",
        "  -27.940   43.300   50.190  90.00  90.00  90.00",
        "   27.940   43.300   50.190   0.00  90.00  90.00",
        "   27.940   43.300   50.190  10.00  90.00 150.00",
        "   10.000   10.000   10.000  90.00  90.00 180.00",
    ],
)
def test_cells_that_hold_nothing(cell, tmp_path):
    (tmp_path / "model.pdb").write_text("\n".join([f"CRYST1{cell} P 1", ATOM]))
    message = refused(read_model, tmp_path / "model.pdb")
    assert "cell" in message or "angle" in message


def test_negative_b_is_read_as_it_is(tmp_path):
    """Groups need no B, and some programs sharpen models; what it means is for structure factors to say."""
    (tmp_path / "model.pdb").write_text(ATOM.replace(" 10.00", "-10.00"))
    assert read_model(tmp_path / "model.pdb").atoms["tempfactor"].tolist() == [-10.0]


def test_ten_thousand_altlocs(tmp_path):
    n = 10_000
    atoms = {name: value for name, value in MMCIF.items() if name.startswith("_atom_site.")}
    rows = [atoms | {"_atom_site.id": f"{i}", "_atom_site.label_alt_id": f"a{i}"} for i in range(n)]
    rows = [
        row | {"_atom_site.occupancy": f"{1 / n:.4f}", "_atom_site.Cartn_x": f"{i % 50}"} for i, row in enumerate(rows)
    ]
    lines = [" ".join(row.values()) for row in rows]
    (tmp_path / "model.cif").write_text("\n".join(["data_x", "loop_", *atoms, *lines, ""]))
    model = read_model(tmp_path / "model.cif")
    grouping = automatic_groups(model.atoms)
    assert len(grouping.groups) == n
    assert len(grouping.sets) == 1
    assert max(len(group.reason) for group in grouping.groups) < 500
    q = np.asarray(grouping.to_tensor(model.atoms["occupancy"].to_numpy())())
    assert q.sum() == pytest.approx(1, abs=1e-4)
    assert write_model(model, tmp_path / "out.cif", q) is None


def test_unicode_names(tmp_path):
    folder = tmp_path / "Größe 結晶 🧪"
    folder.mkdir()
    (folder / "modèle.pdb").write_text(ATOM)
    model = read_model(folder / "modèle.pdb")
    write_model(model, folder / "вывод.cif", [0.25])
    assert read_model(folder / "вывод.cif").atoms["occupancy"].tolist() == [0.25]
    (folder / "groupes é.toml").write_text('[groups]\n"конформер ß" = "//A/1"\n', encoding="utf-8")
    assert list(read_groups(folder / "groupes é.toml").groups) == ["конформер ß"]
    save_tensor(folder / "тензор.npz", OccupancyTensor([0.5], name="🧪"))
    assert load_tensor(folder / "тензор.npz").topology.name == "🧪"
    # Odd bytes in a model: not UTF-8, and kept as they are.
    (folder / "latin.pdb").write_bytes(b"REMARK Gr\xf6\xdfe\n" + ATOM.encode())
    assert read_model(folder / "latin.pdb").n_atoms == 1
    (folder / "latin.toml").write_bytes('[groups]\n"größe" = "//A"'.encode("latin-1"))
    assert "UTF-8" in refused(read_groups, folder / "latin.toml")


@pytest.mark.parametrize("limit", [1e-3, 0.0, 1e9])
def test_reflections_of_absurd_resolution(limit, tmp_path):
    """Indices that the cell puts beyond any experiment, or a cell of nothing: no crash and no endless loop."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    edge = 1e5 if limit > 1 else limit
    mtz.set_cell_for_all(gemmi.UnitCell(edge, edge, edge, 90, 90, 90))
    mtz.add_dataset("data")
    for label, kind in (("FP", "F"), ("SIGFP", "Q"), ("FREE", "I")):
        mtz.add_column(label, kind)
    mtz.set_data(np.array([[1, 0, 0, 10, 1, 0], [0, 1, 0, 10, 1, 1], [9999, 0, 1, 10, 1, 1]], np.float32))
    mtz.write_to_file(str(tmp_path / "data.mtz"))
    with contextlib.suppress(ValueError):
        assert np.isfinite(read_reflections(tmp_path / "data.mtz").amplitude).all()


# --- writing ---------------------------------------------------------------------------------------------------------


def writers(model, folder):
    """Every writer, with the file it writes."""
    q = np.full(model.n_atoms, 0.5)
    rows = model.atoms.iloc[116:]
    return {
        folder / "out.pdb": lambda path: write_model(model, path, q),
        folder / "out.cif.gz": lambda path: write_model(model, path, q),
        folder / "out.toml": lambda path: write_groups(path, automatic_groups(rows), rows),
        folder / "out.npz": lambda path: save_tensor(path, OccupancyTensor([0.5, 1.0])),
    }


class Broken:
    """A file on a disk that is full, or whose user loses patience, after some bytes."""

    def __init__(self, handle, error):
        self.handle, self.error = handle, error

    def write(self, data):
        self.handle.write(data[: len(data) // 2])
        raise self.error

    def __getattr__(self, name):
        return getattr(self.handle, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.handle.close()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"]
)
def test_an_end_in_the_middle_of_writing_leaves_what_was_there(error, model, tmp_path, monkeypatch):
    todo = writers(model, tmp_path)
    for path in todo:
        path.write_bytes(b"precious")
    monkeypatch.setattr(
        "builtins.open",
        lambda file, mode="r", *a, real=open, **k: (
            Broken(real(file, mode, *a, **k), error) if "x" in mode else real(file, mode, *a, **k)
        ),
    )
    for path, write in todo.items():
        with pytest.raises(type(error)):
            write(path)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == sorted(todo)
    assert all(path.read_bytes() == b"precious" for path in todo)


def test_a_folder_that_may_not_be_written(model, tmp_path, monkeypatch):
    """Root may write anywhere, so that the refusal is played to it."""
    folder = tmp_path / "locked"
    folder.mkdir()
    todo = writers(model, folder)
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        denied = PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(
            "builtins.open",
            lambda file, mode="r", *a, real=open, **k: _raise(denied) if "x" in mode else real(file, mode, *a, **k),
        )
    for path, write in todo.items():
        with pytest.raises(PermissionError, match="Permission denied"):
            write(path)
    monkeypatch.undo()
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)


def _raise(error):
    raise error


def _write_often(path, letter, start):
    from jax_occupancy.io import atomic_writer

    start.wait(60)
    for _ in range(40):
        with atomic_writer(path) as handle:
            for _ in range(20):
                handle.write(letter * 1000)


def test_two_processes_that_write_one_file(tmp_path):
    """The file is at all times one of the two, never a mixture, and nothing else is left."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    file = tmp_path / "out.pdb"
    writing = [context.Process(target=_write_often, args=(file, letter, start)) for letter in (b"a", b"b")]
    for process in writing:
        process.start()
    start.wait(60)
    seen = set()
    while any(process.is_alive() for process in writing):
        if file.exists():
            data = file.read_bytes()
            assert data in (b"a" * 20_000, b"b" * 20_000)
            seen.add(data[:1])
    for process in writing:
        process.join()
        assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.pdb"]


# --- fuzz ------------------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOML = ["[groups]", "[[sets]]", "[states]", "groups", "=", '"//A/1"', "[", "]", "{", "}", "remove", "kind", "parent"]
TOML += ['"complete"', "fixed", "0.5", "nan", "-1", "1e999", "true", "automatic", "selection", "a.b", "2020-01-01", ","]
REFMAC = ["occupancy", "occu", "group", "id", "1", "2", "chain", "A", "residue", "from", "to", "9", "10A", "insc", "."]
REFMAC += ["atom", "CG", "alt", "alts", "complete", "incomplete", "refine", "-", "&", "!", "#", "9" * 30, "-5", '"']
PHENIX = [
    "refinement.refine.occupancies",
    "{",
    "}",
    "constrained_group",
    "selection",
    "=",
    "chain A",
    "and",
    "or",
    "not",
]
PHENIX += [
    "(",
    ")",
    "resid 5",
    "resseq 5:9",
    "through",
    '"',
    "'",
    'altloc " "',
    "name CA",
    "*",
    "water",
    "within(5, all)",
]
PHENIX += ["individual", "None", "Auto", "remove_selection", ";", "#", "\\", ".", "all"]


@pytest.mark.parametrize(
    ("parse", "words"),
    [(parse_toml, TOML), (parse_refmac, REFMAC), (parse_phenix, PHENIX)],
    ids=["toml", "refmac", "phenix"],
)
@FUZZ
@given(data=st.data())
def test_groups_of_any_words(parse, words, data):
    pieces = data.draw(st.lists(st.sampled_from([*words, "\n", "\n"]) | st.text(max_size=3), max_size=25))
    with contextlib.suppress(ValueError):
        parse(data.draw(st.sampled_from([" ", ""])).join(pieces))


@pytest.mark.parametrize("parse", [parse_toml, parse_phenix])
def test_nesting_without_end(parse):
    text = {parse_toml: "a = " + "[" * 5000, parse_phenix: "refinement.refine.occupancies.individual = " + "(" * 5000}
    with pytest.raises(ValueError, match=r"nested too deeply|is too complex"):
        parse(text[parse])


def test_a_closing_brace_after_a_value_outside_of_any_scope():
    with pytest.raises(ValueError, match="closing brace too many"):
        parse_phenix("a = 1 }")


BITES = [
    b"nan",
    b"1e999",
    b"-",
    b" ",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"9",
    b"A",
    b"****",
    b'"',
    b"'",
    b"?",
    b"#",
    b"loop_",
]
BITES += [
    b"_",
    b"data_",
    b"\xc3\xa9",
    b"1_0",
    b"0x1",
    b"END",
    b"TER",
    b"MODEL",
    b"ATOM  ",
    b";\n",
    b"HETATM",
    b"ANISOU",
]


@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
@FUZZ
@given(data=st.data())
def test_models_with_bites(name, data, tmp_path):
    """A reader gives finite numbers for every atom, or says what is wrong."""
    text = "\n".join([CRYST1, ATOM, ANISOU, ATOM.replace("AALA A   1", "BALA A   1"), "TER", "END", ""])
    content = bytearray((text if name == "model.pdb" else mmcif_of(MMCIF)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        bite = data.draw(st.sampled_from(BITES))
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.sampled_from([0, len(bite), 30]))] = bite
    file = tmp_path / name
    file.write_bytes(content)
    with contextlib.suppress(ValueError):
        model = read_model(file)
        numbers = model.atoms[["x", "y", "z", "occupancy", "tempfactor", "resseq", "charge"]].to_numpy()
        assert np.isfinite(numbers).all()
        assert model.cell is None or model.cell.volume > 1


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["groups", "empty.pdb"], "is empty"),
        (["refine", "cell.pdb", "data.mtz"], "impossible unit cell"),
        (["refine", "model.pdb", "cut.mtz"], "cut.mtz"),
        (["refine", "model.pdb", "data.mtz", "--groups", "deep.toml"], "nested too deeply"),
    ],
)
def test_the_command_line_says_it_in_a_sentence(arguments, words, good, tmp_path):
    text = (good / "model.pdb").read_text()
    (tmp_path / "model.pdb").write_text(text)
    (tmp_path / "empty.pdb").write_text("")
    (tmp_path / "cell.pdb").write_text("CRYST1    0.000    1.000    1.000  90.00  90.00  90.00 P 1\n" + ATOM)
    data = (good / "data.mtz").read_bytes()
    (tmp_path / "data.mtz").write_bytes(data)
    (tmp_path / "cut.mtz").write_bytes(data[: len(data) // 2])
    (tmp_path / "deep.toml").write_text("remove = " + "[" * 5000)
    before = sorted(tmp_path.iterdir())
    result = subprocess.run(
        [sys.executable, "-m", "jax_occupancy", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert words in result.stderr
    assert sorted(tmp_path.iterdir()) == before
