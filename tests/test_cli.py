import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from rich.errors import MarkupError

from jax_occupancy import read_model, write_example
from jax_occupancy.cli import _app
from jax_occupancy.cli._stopwatch import STAGES, Stopwatch


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "jax_occupancy", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def assert_times_add_up(output, *, absent):
    """Every stage has its time, and rounding to 0.1 s is all that may be missing from their sum."""
    (line,) = [line for line in output.splitlines() if line.startswith("Seconds: ")]
    stages, total = line.removeprefix("Seconds: ").split("; in all ")
    seconds = {name: float(value) for name, value in (stage.rsplit(" ", 1) for stage in stages.split(", "))}
    assert STAGES.values() - seconds.keys() <= {*absent}
    assert all(value >= 0 for value in seconds.values())
    assert seconds["starting"] > 0.1  # importing JAX alone takes longer
    assert abs(sum(seconds.values()) - float(total)) <= 0.05 * (len(seconds) + 1) + 1e-9


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def test_refine_writes_the_model_with_nothing_but_occupancies_changed(example, tmp_path):
    result = run("refine", example.model, example.reflections, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert_times_add_up(result.stdout, absent=["simulating"])
    for words in ("128 atoms", "FP, SIGFP,", "A/6/GLN:C", "R-work", "R-free", "moved by less than 1e-05", "Seconds"):
        assert words in result.stdout
    before, after = example.model.read_text().splitlines(), (tmp_path / "example_refined.pdb").read_text().splitlines()
    assert [line[:54] + line[60:] for line in before] == [line[:54] + line[60:] for line in after]
    assert before != after
    refined = read_model(tmp_path / "example_refined.pdb").atoms["occupancy"].to_numpy()
    assert np.abs(refined - example.truth).max() < 0.03
    assert sorted(path.name for path in tmp_path.iterdir()) == ["example_refined.pdb", "example_refined_groups.toml"]


def test_example_shows_the_truth_and_writes_only_what_is_asked_for(tmp_path):
    result = run("refine", "--example", "-o", "refined.cif", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert_times_add_up(result.stdout, absent=["choosing groups"])
    assert "truth" in result.stdout
    assert "moved by less than 1e-05" in result.stdout  # float64
    assert "B/201/IPH:B" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["refined.cif"]
    assert read_model(tmp_path / "refined.cif").n_atoms == 128


def test_groups_as_table_and_as_json(example, tmp_path):
    table = run("groups", example.model, cwd=tmp_path)
    assert (table.returncode, table.stderr) == (0, "")
    assert "A/11/VAL:C" in table.stdout
    assert "≤ 1" in table.stdout
    document = json.loads(run("groups", example.model, "--json", cwd=tmp_path).stdout)
    assert document["n_atoms"] == 128
    assert [s["kind"] for s in document["sets"]] == ["complete"] * 6 + ["incomplete", "free"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("refine", "MODEL", "no.mtz"), "no.mtz"),
        (("refine", "no.pdb", "DATA"), "no.pdb"),
        (("refine", "DATA", "MODEL"), "example.mtz"),
        (("refine", "MODEL", "DATA", "-o", "MODEL"), "is an input"),
        (("refine", "MODEL", "DATA", "-o", "out.txt"), "out.txt"),
        (("refine", "MODEL", "DATA", "-o", "nowhere/out.pdb"), "folder"),
        (("refine", "MODEL", "DATA", "--amplitude", "NONE"), "NONE"),
        (("groups", "no.pdb"), "no.pdb"),
        (("refine", "empty.pdb", "DATA"), "empty.pdb"),
    ],
)
def test_bad_files_are_a_sentence_and_write_nothing(arguments, message, example, tmp_path):
    (tmp_path / "empty.pdb").write_text("")
    names = {"MODEL": example.model, "DATA": example.reflections}
    result = run(*(names.get(a, a) for a in arguments), cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty.pdb"]


def test_brackets_and_colons_are_printed_as_they_are(example, tmp_path):
    model, data = tmp_path / "x[" / "].pdb", tmp_path / "we[bold]ird:a:.mtz"  # "[/]" is in the first
    model.parent.mkdir()
    shutil.copy(example.model, model)
    shutil.copy(example.reflections, data)
    (tmp_path / "[red]g.toml").write_text('[groups]\n"[/] :a: \\\\" = "//W/301"\n')
    result = run("refine", "x[/].pdb", data.name, "--groups", "[red]g.toml", "-o", "o[i].pdb", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "Model  x[/].pdb: 128",
        f"Data   {data.name}: ",
        "│ [/] :a: \\ ",
        "Wrote o[i].pdb; ",
        "o[i]_groups.toml",
    ):
        assert text in result.stdout
    table = run("groups", "x[/].pdb", "--groups", "[red]g.toml", cwd=tmp_path)
    assert "│ [/] :a: \\ " in table.stdout
    assert run("groups", "no[/x].pdb", cwd=tmp_path).stderr.startswith("error: no[/x].pdb ")


def test_notes_and_parents_keep_their_brackets(example, tmp_path):
    model = tmp_path / "m[dim].pdb"
    lines = example.model.read_text().splitlines(keepends=True)
    # One conformer of serine 2 no longer makes the sum one.
    lines = [line[:54] + "  0.30" + line[60:] if line[16:26] == "ASER A   2" else line for line in lines]
    model.write_text("".join(lines))
    (tmp_path / "g.toml").write_text(
        '[groups]\n"[/b]" = []\nno = "//W/301"\n"[b]" = "//B/201/*:A"\nc = "//B/201/*:B"\n'
        '[[sets]]\ngroups = ["[/b]", "no"]\n[[sets]]\ngroups = ["[b]", "c"]\nparent = "[/b]"\n'
    )
    result = run("refine", model.name, example.reflections, "--groups", "g.toml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "= [/b] " in result.stdout
    assert re.search(r"^Note .*A/2/SER:A", result.stdout, flags=re.M)


@pytest.mark.parametrize("kind", [ValueError, TypeError, OSError, MarkupError])
def test_errors_of_the_users_files_are_one_sentence(kind, monkeypatch, capsys):
    def fail(**_):
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
    assert sum(watch.seconds.values()) == pytest.approx(watch.since - watch.begin, rel=1e-12)
    assert (watch.seconds["scale"], watch.seconds["solve"], watch.seconds["write"]) == (0.25, -0.25, 0)
    assert "simulating" not in watch.report()


@pytest.mark.parametrize(
    "arguments", [("refine",), ("refine", "--example", "model.pdb"), ("refine", "model.pdb"), ("x",)]
)
def test_wrong_use_is_explained(arguments, tmp_path):
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Usage" in result.stderr


def test_help_and_version(tmp_path):
    for command in ((), ("refine",), ("groups",)):
        result = run(*command, "--help", cwd=tmp_path)
        assert result.returncode == 0
        assert "Usage" in result.stdout
    assert "jax-occupancy refine model.pdb data.mtz" in run("refine", "--help", cwd=tmp_path).stdout.replace("\n", " ")
    assert run("--version", cwd=tmp_path).stdout.startswith("jax-occupancy 0.")
