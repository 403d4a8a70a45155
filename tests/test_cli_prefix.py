"""Everything under one name, and that every output says the same."""

import dataclasses
import html
import json
import re

import pandas as pd
import pytest
from command_line import command
from plotting_solutions import make_solution

from jax_occupancy import __version__, read_model, write_example
from jax_occupancy.io import read_groups

ENDINGS = [".csv", ".html", ".json", ".log", ".pdb", "_chimerax.cxc", "_coot.py", "_groups.toml", "_maps.mtz"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One run, with a name of its own for the table; the folder and what was printed."""
    folder = tmp_path_factory.mktemp("prefix")
    example = write_example(folder)
    ended = command("refine", example.model, example.reflections, "--prefix", "run", "--starts", "0", cwd=folder)
    assert (ended.code, ended.errors) == (0, "")
    return folder, ended.output


def test_every_file_has_the_name(written):
    folder, _ = written
    assert sorted(path.name.removeprefix("run") for path in folder.glob("run*")) == ENDINGS
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("run")) == [
        "example.mtz",
        "example.pdb",
    ]
    assert read_model(folder / "run.pdb").n_atoms == 128
    assert "W/301/HOH" in read_groups(folder / "run_groups.toml").groups
    assert len(pd.read_csv(folder / "run.csv")) == 17


def test_the_log_is_all_that_was_printed_with_command_and_versions(written):
    folder, printed = written
    head, _, body = (folder / "run.log").read_text().partition("\n\n")
    command_line, date, versions = head.splitlines()
    assert command_line.startswith("jax-occupancy refine /")
    assert command_line.endswith("example.mtz --prefix run --starts 0")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", date)
    assert versions.startswith(f"jax-occupancy {__version__}, Python 3.")
    assert body == printed


def test_notes_command_and_versions_stand_in_json_and_report(written):
    folder, printed = written
    document, page = json.loads((folder / "run.json").read_text()), (folder / "run.html").read_text()
    page = html.unescape(page)
    for words in ("free set: flag 0, one of 20 values (CCP4 convention)", "The model has no hydrogens", "IPH:B = 0.66"):
        assert words in printed
        assert any(words in note for note in document["notes"])
        assert words in page
    assert document["files"] == {"model": str(folder / "example.pdb"), "data": str(folder / "example.mtz")}
    assert document["columns"] == {"amplitude": "FP", "sigma": "SIGFP", "free": "FreeR_flag"}
    assert document["options"]["starts"] == 0
    assert document["options"]["link"] is True
    assert document["versions"]["jax-occupancy"] == __version__
    assert "run_coot.py" in document["written"]
    assert document["scale"]["k_overall"]
    for words in (document["command"], document["date"], "k_sol 0.3", "B_sol", "anisotropic B"):
        assert words in page


def test_names_of_their_own_and_the_kind_of_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("jax_occupancy.refinement.refine", lambda *_, **__: make_solution())
    monkeypatch.setattr("jax_occupancy.cli._refine._write", lambda *given: seen.append(given[4]))
    seen = []
    example = write_example(tmp_path)
    read_model(example.model)
    (tmp_path / "out").mkdir()
    options = ("--prefix", "out/a.b", "--json", "own.json", "--omit", "W/301/HOH")
    assert command("refine", example.model, example.reflections, *options, cwd=tmp_path).code == 0
    assert (str(seen[0].out), str(seen[0].json)) == ("out/a.b.pdb", "own.json")
    assert str(seen[0].maps) == "out/a.b_maps.mtz"
    assert str(seen[0].omit_map("W/301/HOH")) == "out/a.b_maps_omit_W-301-HOH.mtz"
    assert command("refine", "--example", "--map", "--prefix", "m", cwd=tmp_path).code == 0
    assert str(seen[1].maps) == "m_maps.mrc"


@pytest.mark.parametrize("prefix", ["", ".", "..", "folder", "folder/"])
def test_a_folder_is_no_beginning_of_names(prefix, tmp_path):
    (tmp_path / "folder").mkdir()
    ended = command("refine", "model.pdb", "data.mtz", "--prefix", prefix, cwd=tmp_path)
    assert ended.code == 2
    assert "is a folder; give the beginning of the names in it" in " ".join(ended.errors.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_groups_that_a_format_cannot_say_are_refused_before_the_work(tmp_path):
    example = write_example(tmp_path)
    ended = command("refine", example.model, example.reflections, "--write", "next.eff", cwd=tmp_path)
    assert ended.code == 1
    assert ended.errors.startswith("error: next.eff: ")
    assert not list(tmp_path.glob("*refined*"))


def test_a_name_that_an_input_has_is_refused(tmp_path):
    example = write_example(tmp_path)
    ended = command("refine", example.model, example.reflections, "--prefix", "example", cwd=tmp_path)
    assert ended.code == 2
    assert "example.pdb is an input" in re.sub(r"[\s│]+", " ", ended.errors)
    ended = command("refine", "--example", "--coot", "a.py", cwd=tmp_path)
    assert ended.code == 2
    assert "is to open the refined model: name it" in re.sub(r"[\s│]+", " ", ended.errors)


@pytest.fixture
def found(monkeypatch, tmp_path):
    """The output of `refine --example` that finds this solution."""

    def run(solution, *options):
        monkeypatch.setattr("jax_occupancy.refinement.refine", lambda *_, **__: solution)
        return command("refine", "--example", *options, cwd=tmp_path).output

    return run


def test_what_needs_attention_comes_first_the_worst_at_its_top(found):
    solution = make_solution(3)
    together = "A/2/LEU:A and A/2/LEU:B lie within 0.2 Å: only their sum, 0.39(3), is determined"
    told = {0: "on a bound", 1: "not supported: it is not", 2: f"{together}; B fell by 4 Å²", 3: together}
    solution.table["note"] = [told.get(i, "") for i in range(len(solution.table))]
    solution.table.loc[[2, 3], ["sum", "sum_esd"]] = 0.388, 0.031
    printed = found(solution)
    lines = printed.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Needs attention"))
    assert lines[first : first + 8] == [
        "Needs attention: 4 of 6 occupancies, the worst first:",
        "   1  not supported: it is not",
        "      A/1/LEU:B 1.00 (>0.92)",
        f"   2  {together}",
        "   3  on a bound",
        "      A/1/LEU:A 0.00 (<0.08)",
        "   4  B fell by 4 Å²",
        "      A/2/LEU:A Σ 0.39(3)",
    ]
    rows = {line.split()[0]: line.split() for line in lines[first + 8 :] if line.startswith(" A/")}
    assert rows["A/2/LEU:A"][-1] == "2,4"
    assert rows["A/2/LEU:B"][-1] == "2"
    assert "Σ 0.39(3)" in next(line for line in lines[first + 8 :] if line.startswith(" A/2/LEU:B"))
    assert "what conformers that can't be told apart have together" in printed
    brief = found(solution, "--brief")
    assert "   2  A/2/LEU:A and" in brief
    assert "occupancies in 3 sets" not in brief
    solution.table["note"] = ""
    assert "Nothing needs attention.\n" in found(solution)


def test_a_note_speaks_the_language_of_the_command_wherever_it_stands(found, tmp_path):
    solution = make_solution(1)
    grouping = solution.grouping.with_warnings("cut the data with d_min=2.0 or take intensity=IMEAN")
    printed = found(dataclasses.replace(solution, grouping=grouping), "--json", "a.json", "--report", "a.html")
    told = "cut the data with --d-min 2.0 or take --intensity IMEAN"
    assert f"Note {told}\n" in printed
    assert told in json.loads((tmp_path / "a.json").read_text())["notes"]
    page = (tmp_path / "a.html").read_text()
    assert told in page
    assert "intensity=" not in page


def test_a_table_is_whole_in_80_columns(found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    solution = make_solution(3, name="A chain with a long name")
    solution.table["llg_unlinked"] = solution.table["llg_full"] = 12345.6
    solution.table["delta_b"], solution.table["delta_b_esd"] = -12.34, 1.2
    lines = found(solution).splitlines()
    first, *_, last = (i for i, line in enumerate(lines) if "────" in line)
    assert max(map(len, lines[first : last + 1])) <= 80
    assert "…" not in "".join(lines)
    names = "".join(line.split()[0] for line in lines[first:last] if line.startswith(" ") and line[1] != " ")
    assert "12346" in "".join(lines[first:last])
    assert names


def test_a_shift_of_b_on_its_lowest_bound_has_no_uncertainty(found):
    solution = make_solution(1)
    solution.table["delta_b"] = [-2.67, 1.0]
    solution.table["delta_b_esd"] = [float("nan"), 0.4]
    printed = found(solution)
    assert re.search(r"A/1/LEU:A .* -2\.7 ", printed)
    assert re.search(r"A/1/LEU:B .* 1\.0\(4\) ", printed)


def test_many_sets_are_drawn_on_all_their_pages(found, tmp_path):
    printed = found(make_solution(60), "--plot", "p.svg")
    pages = sorted(path.name for path in tmp_path.glob("p*.svg"))
    assert len(pages) > 2
    assert f"Wrote {', '.join(pages)}: the pictures.\n" in printed
    assert all(f"A/{i}/LEU" in "".join((tmp_path / page).read_text() for page in pages[1:]) for i in (1, 30, 60))
