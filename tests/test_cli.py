"""The command as a user meets it: what it prints, what it writes, and how it says no."""

import csv
import dataclasses
import gzip
import io
import json
import os
import re
import subprocess
import sys

import gemmi
import jax
import numpy as np
import pytest
from plotting_solutions import make_solution
from rich.console import Console
from rich.errors import MarkupError

from jax_occupancy import read_model, write_example
from jax_occupancy.cli import _app, _cache, _refine
from jax_occupancy.cli._maps import chosen_groups
from jax_occupancy.cli._outputs import Outputs, default_output
from jax_occupancy.cli._report import print_solution
from jax_occupancy.cli._stopwatch import STAGES, Stopwatch
from jax_occupancy.groups import Group, Grouping, GroupSet
from jax_occupancy.refinement import StartEnd

MAPS = ["FWT", "PHWT", "DELFWT", "PHDELWT", "FOM"]


def run(*arguments, cwd, program=("-m", "jax_occupancy"), **environment):
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
    )


def seconds_of(output):
    """The stages of the last line, whose sum may miss the whole by what rounding to 0.1 s takes."""
    (line,) = [line for line in output.splitlines() if line.startswith("Seconds: ")]
    stages, total = line.removeprefix("Seconds: ").split("; in all ")
    seconds = {name: float(value) for name, value in (stage.rsplit(" ", 1) for stage in stages.split(", "))}
    assert all(value >= 0 for value in seconds.values())
    assert seconds["starting"] > 0.1  # importing JAX alone takes longer
    assert abs(sum(seconds.values()) - float(total)) <= 0.05 * (len(seconds) + 1) + 1e-9
    return seconds


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def refined(example, tmp_path_factory):
    """One run with every kind of output."""
    folder = tmp_path_factory.mktemp("refined")
    files = ("--json", "all.json", "--csv", "table.csv", "--maps", "maps.mtz", "--omit", "B/201/IPH")
    result = run("refine", example.model, example.reflections, *files, cwd=folder, COLUMNS="80")
    assert (result.returncode, result.stderr) == (0, "")
    return folder, result.stdout


def test_nothing_but_occupancies_changes_in_the_model(example, refined):
    folder, _ = refined
    before, after = example.model.read_text().splitlines(), (folder / "example_refined.pdb").read_text().splitlines()
    assert [line[:54] + line[60:] for line in before] == [line[:54] + line[60:] for line in after]
    assert before != after
    occupancies = read_model(folder / "example_refined.pdb").atoms["occupancy"].to_numpy()
    assert np.abs(occupancies - example.truth).max() < 0.03
    assert sorted(path.name for path in folder.iterdir()) == [
        "all.json",
        "example_refined.pdb",
        "example_refined_groups.toml",
        "maps.mtz",
        "maps_omit_B-201-IPH.mtz",
        "table.csv",
    ]


def test_what_is_printed(refined):
    _, printed = refined
    for words in (
        "128 atoms",
        "FP, SIGFP,",
        "completeness 100.0 % (to ",
        "CCP4 convention",
        "no hydrogens",
        "R-work",
        "R-free",
        "8 random starts ended in the same minimum. Reproducible is not the same as accurate",
        "moved by less than 1e-05",  # float64
        "R values in its header, if any, are those of the model before",
        "maps_omit_B-201-IPH.mtz",
    ):
        assert words in re.sub(r"less than \de-\d\d", "less than 1e-05", printed)
    optional = {"going on from the checkpoint"}
    assert STAGES.values() - seconds_of(printed).keys() - optional == {"simulating"}
    table = [line for line in printed.splitlines() if re.match(r" *[A-Z]/\d+/", line)]
    assert len(table) == 17
    assert all(re.search(r" 0\.\d+\(\d+\) +\.\d{2,3} ", line) for line in table)
    assert max(map(len, table)) <= 80


def test_json_has_what_the_design_says(refined):
    document = json.loads((refined[0] / "all.json").read_text())
    assert document["result"] == "converged"
    assert document["target"].keys() == {"name", "start", "end"}
    assert document["target"]["name"] == "ml"
    assert document["target"]["end"] <= document["target"]["start"]
    for name in ("r_work", "r_free"):
        assert 0 < document[name]["end"] < document[name]["start"] < 0.1
    assert document["n_reflections"] + len(document["outliers"]) == 5293
    assert 425 < document["n_free"] <= 432
    assert document["resolution"] == pytest.approx([20.36, 1.30], abs=0.005)
    stages = ["read", "groups", "structure_factors", "scale", "solve"]
    assert all(document["seconds"][name] > 0 for name in stages)
    assert document["seconds"]["total"] >= sum(document["seconds"][name] for name in stages)
    assert document["starts"] == 8
    assert [minimum.keys() for minimum in document["minima"]] == [{"target", "count", "max_shift"}]
    assert len(document["groups"]) == 17
    wanted = [
        "name",
        "set",
        "atoms",
        "start",
        "occupancy",
        "esd",
        "esd_fixed",
        "at_bound",
        "delta_b",
        "llg_absent",
        "note",
    ]
    assert all(group.keys() >= {*wanted} for group in document["groups"])
    first = document["groups"][0]
    assert (first["name"], first["set"], first["at_bound"]) == ("A/2/SER:A", 0, False)
    assert abs(first["delta_b"]) < 1
    assert len(first["atoms"]) == 2
    assert 0 < first["esd_fixed"] < first["esd"] < 0.05


def test_csv_is_the_table(refined):
    document = json.loads((refined[0] / "all.json").read_text())
    with open(refined[0] / "table.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["name"] for row in rows] == [group["name"] for group in document["groups"]]
    assert [float(row["occupancy"]) for row in rows] == [group["occupancy"] for group in document["groups"]]


def density_at(path, column, positions):
    mtz = gemmi.read_mtz_file(str(path))
    assert mtz.column_labels() == ["H", "K", "L", *MAPS]
    grid = mtz.transform_f_phi_to_map(*column, sample_rate=4)
    values = np.array([grid.interpolate_value(gemmi.Position(*xyz)) for xyz in positions])
    return values / np.std(grid.array)


def test_maps_show_the_atoms_and_the_omit_map_what_was_left_out(example, refined):
    atoms = read_model(example.model).atoms
    ligand = atoms[(atoms["resname"] == "IPH") & (atoms["altloc"] == "A")][["x", "y", "z"]].to_numpy()
    density, difference = ("FWT", "PHWT"), ("DELFWT", "PHDELWT")
    assert density_at(refined[0] / "maps.mtz", density, ligand).min() > 1
    assert np.abs(density_at(refined[0] / "maps.mtz", difference, ligand)).max() < 4
    assert density_at(refined[0] / "maps_omit_B-201-IPH.mtz", difference, ligand).mean() > 5


def test_example_shows_the_truth_and_writes_only_what_is_asked_for(tmp_path):
    options = ("-o", "refined.cif", "--b-factors", "group", "--starts", "0")
    result = run("refine", "--example", *options, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "simulating" in seconds_of(result.stdout)
    for words in ("truth", "ΔB, Å²", "B/201/IPH:B", "No other starts were tried"):
        assert words in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["refined.cif"]
    model = read_model(tmp_path / "refined.cif")
    assert model.n_atoms == 128
    esds = list(gemmi.cif.read_file(str(tmp_path / "refined.cif")).sole_block().find_values("_atom_site.occupancy_esd"))
    assert sum(esd != "?" for esd in esds) == 61
    assert all(0 < float(esd) < 0.1 for esd in esds if esd != "?")


def test_without_convergence_everything_is_written_and_the_code_is_3(example, tmp_path):
    program = (
        "import functools\n"
        "from jax_occupancy.refinement import _cycles, _search\n"
        "_search.run_cycles = functools.partial(_cycles.run_cycles, max_cycles=1)\n"
        "from jax_occupancy.cli import main\n"
        "main()\n"
    )
    files = ("-o", "out.cif", "--json", "all.json")
    options = ("--target", "ls", "--starts", "0", "-q", "--no-outliers")
    result = run("refine", example.model, example.reflections, *files, *options, cwd=tmp_path, program=("-c", program))
    assert (result.returncode, result.stdout) == (3, "")
    assert re.fullmatch(r"not converged: The occupancies still moved by \S+ after \d+ cycles\.\n", result.stderr)
    assert json.loads((tmp_path / "all.json").read_text())["result"] == "max_cycles"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.json", "out.cif", "out_groups.toml"]


def test_brackets_colons_notes_and_parents_are_printed_as_they_are(example, tmp_path):
    model, data = tmp_path / "x[" / "].pdb", tmp_path / "we[bold]ird:a:.mtz"  # "[/]" is in the first
    model.parent.mkdir()
    lines = example.model.read_text().splitlines(keepends=True)
    # One conformer of serine 2 no longer makes the sum one.
    lines = [line[:54] + "  0.30" + line[60:] if line[16:26] == "ASER A   2" else line for line in lines]
    model.write_text("".join(lines))
    data.write_bytes(example.reflections.read_bytes())
    (tmp_path / "[red]g.toml").write_text(
        '[groups]\n"[/b]" = []\n"[/] :a: \\\\" = "//W/301"\n"[b]" = "//B/201/*:A"\nc = "//B/201/*:B"\n'
        '[[sets]]\ngroups = ["[/b]", "[/] :a: \\\\"]\n[[sets]]\ngroups = ["[b]", "c"]\nparent = "[/b]"\n'
    )
    options = ("--groups", "[red]g.toml", "-o", "o[i].pdb", "--starts", "0")
    result = run("refine", "x[/].pdb", data.name, *options, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "Model  x[/].pdb: 128",
        f"Data   {data.name}: ",
        " [/] :a: \\ ",
        "= [/b] ",
        "Wrote o[i].pdb; ",
        "o[i]_groups.toml",
    ):
        assert text in result.stdout
    assert re.search(r"^Note .*A/2/SER:A", result.stdout, flags=re.M)
    table = run("groups", "x[/].pdb", "--groups", "[red]g.toml", cwd=tmp_path)
    assert "│ [/] :a: \\ " in table.stdout
    assert run("groups", "no[/x].pdb", cwd=tmp_path).stderr.startswith("error: no[/x].pdb ")


def test_groups_as_table_and_as_json(example, tmp_path):
    table = run("groups", example.model, cwd=tmp_path)
    assert (table.returncode, table.stderr) == (0, "")
    assert "A/11/VAL:C" in table.stdout
    assert "≤ 1" in table.stdout
    document = json.loads(run("groups", example.model, "--json", cwd=tmp_path).stdout)
    assert document["n_atoms"] == 128
    assert [s["kind"] for s in document["sets"]] == ["complete"] * 6 + ["incomplete", "free"]


@pytest.mark.parametrize(
    ("r_work", "starts", "words"), [(0.44, 1, "1 random start ended"), (0.46, 2, "R-work of 0.46")]
)
def test_data_that_the_model_does_not_explain_are_pointed_out(r_work, starts, words):
    solution = dataclasses.replace(make_solution(), r_work=StartEnd(0.5, r_work), starts=starts)
    console = Console(file=io.StringIO(), width=200)
    print_solution(console, solution)
    printed = console.file.getvalue()
    assert words in printed
    assert ("does not explain these data" in printed) == (r_work > 0.45)


@pytest.fixture
def fails(monkeypatch, capsys, tmp_path, example):
    """Run the command in this process, without changing JAX; the one line that it says and its exit code."""
    monkeypatch.setattr(_refine, "set_up_jax", lambda: None)
    monkeypatch.chdir(tmp_path)

    def main(*arguments):
        names = {"MODEL": example.model, "DATA": example.reflections}
        monkeypatch.setattr(sys, "argv", ["jax-occupancy", *(str(names.get(a, a)) for a in arguments)])
        with pytest.raises(SystemExit) as stop:
            _app.main()
        return stop.value.code, capsys.readouterr().err

    return main


def damaged_files(folder, example):
    """Files that are wrong in every way that is in the test below."""
    text, data = example.model.read_text(), example.reflections.read_bytes()
    (folder / "empty.pdb").write_text("")
    (folder / "empty.mtz").write_text("")
    (folder / "short.mtz").write_bytes(data[: len(data) // 2])
    (folder / "short.pdb.gz").write_bytes(gzip.compress(text.encode())[:-20])
    (folder / "junk").write_bytes(np.random.default_rng(0).bytes(2000))
    (folder / "text.mtz").write_text("hello\n" * 10)
    (folder / "nocell.pdb").write_text("".join(re.findall(r"^(?:ATOM|HETATM).*\n", text, flags=re.M)))
    (folder / "cell.pdb").write_text(re.sub(r"(CRYST1 +)\d+\.\d+", r"\g<1>99.999", text))
    (folder / "element.pdb").write_text(re.sub(r"^((?:ATOM|HETATM).{70}) C", r"\1QQ", text, count=1, flags=re.M))
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
        (("refine", "nocell.pdb", "DATA"), r"nocell\.pdb: no unit cell"),
        (("refine", "cell.pdb", "DATA"), r"cell\.pdb has the cell 100\.00"),
        (("refine", "element.pdb", "DATA"), r"element\.pdb has atoms of unknown element"),
        (("refine", "whole.pdb", "DATA"), r"whole\.pdb: no occupancy to refine.*there are none"),
        (("refine", "MODEL", "DATA", "--groups", "fixed.toml"), r"example\.pdb: no occupancy to refine"),
        (("refine", "MODEL", "DATA", "--d-min", "100"), r"no usable reflection .*outside resolution limits"),
        (("refine", "MODEL", "DATA", "--d-min", "3", "--d-max", "2"), r"limits --d-min 3\.0, --d-max 2\.0"),
        (("refine", "MODEL", "DATA", "--free-value", "33"), r"choose one with --free-value"),
        (("refine", "MODEL", "DATA", "--amplitude", "NONE"), r"NONE"),
        (("refine", "MODEL", "DATA", "--wavelength", "900"), r"wavelength"),
        (("refine", "MODEL", "DATA", "--maps", "m.mtz", "--omit", "B/201/IP"), r"no such group.*B/201/IPH:A"),
        (("refine", "MODEL", "DATA", "-o", "MODEL"), r"is an input"),
        (("refine", "MODEL", "DATA", "--json", "DATA"), r"example\.mtz is an input"),
        (("refine", "MODEL", "DATA", "-o", "out.txt"), r"out\.txt: the name of the refined model must end in"),
        (("refine", "MODEL", "DATA", "--maps", "map.ccp4"), r"map\.ccp4: the name of the maps must end in \.mtz"),
        (("refine", "MODEL", "DATA", "-o", "nowhere/out.pdb"), r"the folder of nowhere/out\.pdb does not exist"),
        (("refine", "MODEL", "DATA", "--maps", "out.mtz"), r"out\.mtz is a folder"),
        (("refine", "MODEL", "DATA", "--csv", "x", "--json", "x"), r"x would be written twice"),
        (("groups", "no.pdb"), r"no\.pdb does not exist"),
    ],
)
def test_bad_input_is_a_sentence_and_writes_nothing(arguments, message, example, tmp_path, fails):
    damaged_files(tmp_path, example)
    before = sorted(path.name for path in tmp_path.iterdir())
    code, said = fails(*arguments)
    assert code == 1
    assert re.fullmatch(rf"error: .*{message}.*\n", said), said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("refine",),
        ("refine", "--example", "model.pdb"),
        ("refine", "model.pdb"),
        ("refine", "MODEL", "DATA", "--omit", "A/2/SER"),
        ("refine", "MODEL", "DATA", "--starts", "-1"),
        ("refine", "MODEL", "DATA", "--target", "x"),
        ("x",),
    ],
)
def test_wrong_use_is_explained(arguments, fails):
    code, said = fails(*arguments)
    assert code == 2
    assert "Usage" in said


@pytest.mark.parametrize("kind", [ValueError, TypeError, OSError, MarkupError])
def test_errors_of_the_users_files_are_one_sentence(kind, monkeypatch, capsys):
    def fail():
        raise kind("the file is strange")

    monkeypatch.setattr(_app, "app", fail)
    with pytest.raises(SystemExit) as stop:
        _app.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: the file is strange\n"


def test_the_stages_of_a_stopwatch_add_up():
    watch = Stopwatch(0.0)
    watch.lap("start")
    watch.lap("finish", parts={"scale": 0.25, "solve": -0.25})
    assert sum(watch.seconds.values()) == pytest.approx(watch.total, rel=1e-12)
    assert (watch.seconds["scale"], watch.seconds["solve"], watch.seconds["write"]) == (0.25, -0.25, 0)
    assert "simulating" not in watch.report()


def test_help_and_version_answer_without_loading_jax(tmp_path):
    for command in ((), ("refine",), ("groups",)):
        program = ("-X", "importtime", "-m", "jax_occupancy")
        result = run(*command, "--help", cwd=tmp_path, program=program, COLUMNS="200")
        assert result.returncode == 0
        assert "Usage" in result.stdout
        assert not re.search(r"\| +(jax|gemmi|pandas|numpy)$", result.stderr, flags=re.M)
    told = run("refine", "--help", cwd=tmp_path, COLUMNS="200").stdout
    for words in ("jax-occupancy refine model.pdb data.mtz", "Exit codes: 0 converged", "3 did not converge"):
        assert words in told
    assert run("--version", cwd=tmp_path).stdout.startswith("jax-occupancy 0.")


def test_names_of_outputs_that_are_not_given(tmp_path):
    assert str(default_output(tmp_path / "a.b.pdb.gz")) == "a.b_refined.pdb.gz"
    outputs = Outputs(maps=tmp_path / "m.mtz", omit=("A/2/SER:A", "A/2/SER,A"))
    assert outputs.omit_map("A/2/SER:A") == tmp_path / "m_omit_A-2-SER-A.mtz"
    with pytest.raises(ValueError, match="would be written twice"):
        outputs.check([])


def test_a_link_to_an_input_is_an_input(tmp_path):
    (tmp_path / "in.json").write_text("1")
    os.link(tmp_path / "in.json", tmp_path / "hard.json")
    (tmp_path / "soft.json").symlink_to(tmp_path / "in.json")
    for name in ("hard.json", "soft.json"):
        with pytest.raises(ValueError, match=f"{name} is an input"):
            Outputs(json=tmp_path / name).check([tmp_path / "in.json"])


def test_groups_to_omit_are_named_alone_or_with_all_letters():
    groups = [Group(name, [i], 0.3, True, "") for i, name in enumerate(("A/1/SER:A", "A/1/SER:B", "own"))]
    grouping = Grouping(3, (GroupSet("incomplete", tuple(groups)),))
    assert chosen_groups(grouping, "A/1/SER") == ["A/1/SER:A", "A/1/SER:B"]
    assert chosen_groups(grouping, "A/1/SER:B") == ["A/1/SER:B"]
    assert chosen_groups(grouping, "own") == ["own"]
    with pytest.raises(ValueError, match=r"no such group.*A/1/SER:A"):
        chosen_groups(grouping, "A/1/SE")


def test_compiled_programs_are_kept_in_the_users_cache_folder(tmp_path, monkeypatch):
    said = {}
    monkeypatch.setattr(jax.config, "update", said.__setitem__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    _cache.use_compilation_cache()
    assert said == {}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    _cache.use_compilation_cache()
    assert said["jax_compilation_cache_dir"] == str(tmp_path / "jax-occupancy")
    assert 0 < said["jax_persistent_cache_min_compile_time_secs"] <= 0.2
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said.clear()
    _cache.use_compilation_cache()
    assert said == {}
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _cache.cache_folder() == tmp_path / ".cache" / "jax-occupancy"
