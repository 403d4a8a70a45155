"""A catalogue of what people do to files that are read: a sentence that says what is wrong.

What each reader does with a mistake of its own is tested beside it; here stand the mistakes that all of them meet.
"""

import ast
import contextlib
import gzip
import re
import subprocess
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest
from command_line import command
from fuzz_readers import READERS, write_good_files
from small_files import ANISOU, ATOM, CRYST1, MMCIF, mmcif_of
from typer.main import get_command

import jax_occupancy
from jax_occupancy import (
    OccupancyTensor,
    automatic_groups,
    load_tensor,
    read_model,
    read_reflections,
    save_tensor,
    write_model,
)
from jax_occupancy.cli import app
from jax_occupancy.example import write_example
from jax_occupancy.io import read_groups


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with one good file for every reader."""
    folder = tmp_path_factory.mktemp("good")
    write_good_files(folder)
    return folder


def refused(read, file):
    """The message of the error, which names the file and is one line."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read(file)
    message = str(caught.value)
    assert file.name in message
    assert "\n" not in message.strip()
    return message


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
        assert name in refused(READERS[name], tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_another_kind_of_file(name, good, tmp_path):
    """A model where reflections are wanted, and so on."""
    for other in ("model.pdb", "data.mtz", "groups.toml", "tensor.npz"):
        if READERS[other] is not READERS[name]:
            (tmp_path / name).write_bytes((good / other).read_bytes())
            assert name in refused(READERS[name], tmp_path / name)


@pytest.mark.parametrize("name", ["model.pdb", "model.cif", "data.mtz", "data-sf.cif", "groups.toml"])
def test_a_gzip_file_that_was_cut(name, good, tmp_path):
    data = gzip.compress((good / name).read_bytes())
    file = tmp_path / f"{name}.gz"
    for length in (2, 9, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        assert "truncated" in refused(READERS[name], file)


@pytest.mark.parametrize("name", ["data.mtz", "tensor.npz"])
def test_a_binary_file_that_was_cut(name, good, tmp_path):
    data = (good / name).read_bytes()
    for part in (0.05, 0.5, 0.9, 0.97):
        (tmp_path / name).write_bytes(data[: int(len(data) * part)])
        assert re.search("truncated|damaged", refused(READERS[name], tmp_path / name))


def test_a_text_file_that_was_cut_within_an_atom(good, tmp_path):
    """Text has no length to check: a cut is noticed where it leaves half an atom."""
    text = (good / "model.pdb").read_text().splitlines()
    atom = next(i for i, line in enumerate(text) if line.startswith("ATOM")) + 20
    for column in (26, 30, 35, 50):
        (tmp_path / "cut.pdb").write_text("\n".join([*text[:atom], text[atom][:column]]))
        assert "line" in refused(read_model, tmp_path / "cut.pdb")
    rows = (good / "model.cif").read_text().splitlines()
    row = next(i for i, line in enumerate(rows) if line.startswith("ATOM")) + 20
    (tmp_path / "cut.cif").write_text("\n".join([*rows[:row], rows[row][:30]]))
    assert "cut.cif" in refused(read_model, tmp_path / "cut.cif")


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


WORDS = ("group_PDB", "id", "type_symbol", "atom_id", "alt_id", "comp_id", "asym_id", "H-M")
NUMBERS = [item for item in MMCIF if not item.endswith(WORDS)]


def test_the_mmcif_of_these_tests_is_good(tmp_path):
    (tmp_path / "model.cif").write_text(mmcif_of(MMCIF))
    model = read_model(tmp_path / "model.cif")
    assert model.atoms["u23"].tolist() == pytest.approx([0.1])
    assert model.cell.a == 27.94


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_every_numeric_item_of_mmcif(value, tmp_path):
    for item in NUMBERS:
        (tmp_path / "model.cif").write_text(mmcif_of(MMCIF | {item: value}))
        assert "model.cif" in refused(read_model, tmp_path / "model.cif")


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


def advice():
    """Every `argument=...` and `--option` in a string of the package but in docstrings, and where it stands."""
    found = {}
    for file in sorted(Path(jax_occupancy.__file__).parent.rglob("*.py")):
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                for words in re.findall(r"\b\w+=\.\.\.|(?<!\w)--[a-z-]+", node.value):
                    found.setdefault(words, file.name)
    return found


def test_the_command_line_can_follow_every_advice(tmp_path, monkeypatch):
    """What the library names is an option of both commands that read data, or something that they have elsewhere."""
    commands = {
        name: {option for one in command.params for option in one.opts + one.secondary_opts}
        for name, command in get_command(app).commands.items()
    }
    of_data, anywhere = commands["refine"] & commands["series"], set.union(*commands.values(), {"--version"})
    write_example(tmp_path)

    def shown_for(words):
        def refused(*_, **__):
            raise ValueError(f"choose with {words}")

        monkeypatch.setattr("jax_occupancy.refinement.group_model", refused)
        return command("groups", "example.pdb", cwd=tmp_path).errors

    found = advice()
    assert {"free_value=...", "--d-min"} <= set(found)
    assert len(found) > 20
    for words, file in found.items():
        shown = shown_for(words)
        assert shown.startswith("error: choose with ")
        assert "=..." not in shown, f"{words} in {file}"
        assert set(re.findall(r"--[a-z-]+", shown)) <= (of_data if "=" in words else anywhere), f"{words} in {file}"
