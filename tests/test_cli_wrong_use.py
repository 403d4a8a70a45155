"""How the command says no: bad files end in exit code 1 with a sentence, wrong use in exit code 2."""

import gzip
import os
import re

import numpy as np
import pytest
from command_line import command
from rich.errors import MarkupError

from jax_occupancy import write_example
from jax_occupancy.cli import main


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture
def fails(example, tmp_path):
    """Run the command; its exit code, what it says and what it prints."""

    def run(*arguments):
        names = {"MODEL": example.model, "DATA": example.reflections}
        ended = command(*(names.get(a, a) for a in arguments), cwd=tmp_path)
        return ended.code, ended.errors, ended.output

    return run


def damaged_files(folder, example):
    """Files that are wrong in every way that is in the test below."""
    text, data = example.model.read_text(), example.reflections.read_bytes()
    (folder / "empty.pdb").write_text("")
    (folder / "empty.mtz").write_text("")
    (folder / "short.mtz").write_bytes(data[: len(data) // 2])
    (folder / "short.pdb.gz").write_bytes(gzip.compress(text.encode())[:-20])
    (folder / "junk").write_bytes(np.random.default_rng(0).bytes(2000))
    (folder / "text.mtz").write_text("hello\n" * 10)
    (folder / "cell.pdb").write_text(re.sub(r"(CRYST1 +)\d+\.\d+", r"\g<1>99.999", text))
    whole = re.sub(r"^((?:ATOM|HETATM).{10}).(.{37})......", r"\1 \2  1.00", text, flags=re.M)
    whole = re.sub(r"^(HETATM|ATOM  )(.{48})......", r"\1\2  1.00", whole, flags=re.M)
    (folder / "whole.pdb").write_text(re.sub(r"^((?:ATOM  |HETATM).{10}).", r"\1 ", whole, flags=re.M))
    (folder / "fixed.toml").write_text('remove = ["//A", "//B", "//W"]\n')
    (folder / "out.mtz").mkdir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("refine", "MODEL", "no.mtz"), r"no\.mtz does not exist"),
        (("refine", "no.pdb", "DATA"), r"no\.pdb does not exist"),
        (("refine", "DATA", "MODEL"), r"example\.mtz is an MTZ file of reflections"),
        (("refine", "MODEL", "MODEL"), r"example\.pdb looks like a model"),
        (("refine", "empty.pdb", "DATA"), r"empty\.pdb is empty"),
        (("refine", "MODEL", "empty.mtz"), r"empty\.mtz is empty"),
        (("refine", "MODEL", "short.mtz"), r"short\.mtz .*"),
        (("refine", "short.pdb.gz", "DATA"), r"short\.pdb\.gz is a damaged or truncated gzip file"),
        (("refine", "junk", "DATA"), r"junk is a binary file"),
        (("refine", "MODEL", "junk"), r"junk looks like an unknown binary file"),
        (("refine", "MODEL", "text.mtz"), r"text\.mtz looks like neither MTZ nor mmCIF"),
        (("refine", "cell.pdb", "DATA"), r"cell\.pdb has the cell 100\.00"),
        (("refine", "whole.pdb", "DATA"), r"whole\.pdb: no occupancy to refine.*there are none"),
        (("refine", "MODEL", "DATA", "--groups", "fixed.toml"), r"example\.pdb: no occupancy to refine"),
        (("refine", "MODEL", "DATA", "--d-min", "100"), r"no usable reflection .*outside resolution limits"),
        (("refine", "MODEL", "DATA", "--free-value", "33"), r"choose one with --free-value"),
        (("refine", "MODEL", "DATA", "--amplitude", "NONE"), r"NONE"),
        (("refine", "MODEL", "DATA", "--maps", "m.mtz", "--omit", "B/201/IP"), r"no such group.*B/201/IPH:A"),
        (("refine", "MODEL", "DATA", "-o", "nowhere/out.pdb"), r"the folder of nowhere/out\.pdb does not exist"),
        (("refine", "MODEL", "DATA", "--maps", "out.mtz"), r"out\.mtz is a folder"),
        (("refine", "MODEL", "DATA", "--state", "ground=A", "--state", "bound=Q"), r"no atom has a letter of .*bound"),
        (("groups", "no.pdb"), r"no\.pdb does not exist"),
    ],
)
def test_bad_input_is_a_sentence_and_writes_nothing(arguments, message, example, tmp_path, fails):
    damaged_files(tmp_path, example)
    before = sorted(path.name for path in tmp_path.iterdir())
    code, said, _ = fails(*arguments)
    assert code == 1
    assert re.fullmatch(rf"error: .*{message}.*\n", said), said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("refine",), "give MODEL and REFLECTIONS"),
        (("refine", "--example", "model.pdb"), "brings its own model"),
        (("refine", "model.pdb"), "give MODEL and REFLECTIONS"),
        (("refine", "MODEL", "DATA", "--omit", "A/2/SER"), "--omit adds a map"),
        (("refine", "MODEL", "DATA", "--starts", "-1"), "--starts"),
        (("refine", "MODEL", "DATA", "--memory", "-1"), "--memory"),
        (("refine", "MODEL", "DATA", "--target", "x"), "'x' is not one of 'ml', 'ls'"),
        (("refine", "MODEL", "DATA", "--b-factors", "x"), "'atom', 'group', 'held'"),
        (("refine", "MODEL", "DATA", "--radiation", "x"), "'xray', 'electron', 'neutron'"),
        (("refine", "MODEL", "DATA", "--wavelength", "900"), "wavelength: got 900.0"),
        (("refine", "--example", "--wavelength", "900"), "wavelength: got 900.0"),
        (("refine", "MODEL", "DATA", "--wavelength", "1", "--radiation", "neutron"), "only X-rays have dispersion"),
        (("refine", "MODEL", "DATA", "--d-min", "3", "--d-max", "2"), "wanted 0 < --d-min < --d-max"),
        (("refine", "MODEL", "DATA", "--d-min", "0"), "wanted 0 < --d-min < --d-max"),
        (("refine", "MODEL", "DATA", "-o", "out.txt"), "out.txt: the name of the refined model must end in"),
        (("refine", "MODEL", "DATA", "--maps", "map.ccp4"), "map.ccp4: from reflections come coefficients, .mtz"),
        (("refine", "MODEL", "DATA", "--plot", "a.gif"), "a.gif: the name of a picture must end in .png, .svg, .pdf"),
        (("refine", "MODEL", "DATA", "--report", "a.pdf"), "a.pdf: the name of the report must end in .html"),
        (("refine", "MODEL", "DATA", "-o", "MODEL"), "is an input"),
        (("refine", "MODEL", "DATA", "--json", "DATA"), "is an input"),
        (("refine", "MODEL", "DATA", "--csv", "x", "--json", "x"), "x would be written twice"),
        (("refine", "a.b.pdb.gz", "DATA", "--csv", "a.b_refined.pdb.gz"), "a.b_refined.pdb.gz would be written twice"),
        (("refine", "a.gz", "DATA", "--csv", "a_refined.pdb.gz"), "a_refined.pdb.gz would be written twice"),
        (
            ("refine", "MODEL", "DATA", "--maps", "m.mtz", "--omit", "A/2/SER:A", "--omit", "A/2/SER,A"),
            "m_omit_A-2-SER-A.mtz would be written twice",
        ),
        (("groups", "MODEL", "--no-link", "--force-links"), "exclude each other"),
        (("groups", "MODEL", "--waters", "x"), "'residue', 'individual', 'omit'"),
        (("groups", "MODEL", "--hydrogens", "x"), "'carrier', 'omit'"),
        (("groups", "MODEL", "--contact-distance", "-1"), "wanted Å, more than 0"),
        (("groups", "MODEL", "--contact-distance", "21"), "wanted Å, more than 0"),
        (("groups", "MODEL", "--state", "ground"), "state 'ground' is not understood"),
        (("groups", "MODEL", "--state", "g=A"), "there is only the state 'g'"),
        (("groups", "MODEL", "--state", "g=A", "--state", "g=B"), "'g' is given twice"),
        (("groups", "MODEL", "--state", "g=A", "--state", "h=A"), "the letter 'A' belongs to the states 'g' and 'h'"),
        (("groups", "MODEL", "--write", "out.xyz"), "out.xyz: the extension must be one of .toml"),
        (("series", "MODEL", "DATA", "DATA", "--name", "1"), "a name of its own for each of the 2 data sets, got 1"),
        (("series", "MODEL", "DATA", "DATA", "--name", "1", "--name", "1"), "a name of its own"),
        (("series", "MODEL", "DATA", "--json", "DATA"), "is an input"),
        (("series", "MODEL", "DATA", "--plot", "a.doc"), "must end in .png, .svg, .pdf"),
        (("x",), "No such command"),
    ],
)
def test_wrong_use_is_explained(arguments, message, fails, tmp_path):
    code, said, printed = fails(*arguments)
    assert (code, printed) == (2, "")
    assert "Usage" in said
    # The frame around a message breaks it into lines.
    assert message in re.sub(r"\s*│\s*\n\s*│\s*", " ", said).replace(" - ", "-")
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_an_input_is_an_input(fails, tmp_path):
    (tmp_path / "in.json").write_text("1")
    os.link(tmp_path / "in.json", tmp_path / "hard.json")
    (tmp_path / "soft.json").symlink_to(tmp_path / "in.json")
    for name in ("hard.json", "soft.json"):
        code, said, _ = fails("refine", "MODEL", "in.json", "--json", name)
        assert code == 2
        assert f"{name} is an input" in said


@pytest.mark.parametrize("kind", [ValueError, TypeError, OSError, MarkupError])
def test_errors_of_the_users_files_are_one_sentence(kind, fails, monkeypatch):
    def fail(*_, **__):
        raise kind("the file is strange")

    monkeypatch.setattr("jax_occupancy.refinement.group_model", fail)
    assert fails("groups", "MODEL") == (1, "error: the file is strange\n", "")
    assert main.__doc__
