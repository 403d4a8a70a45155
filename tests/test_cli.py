import json
import subprocess
import sys

import numpy as np
import pytest

from jax_occupancy import read_model, write_example


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "jax_occupancy", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


def test_refine_writes_the_model_with_nothing_but_occupancies_changed(example, tmp_path):
    result = run("refine", example.model, example.reflections, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for words in ("128 atoms", "FP, SIGFP,", "A/6/GLN:C", "R-work", "R-free", "moved by less than", "Seconds"):
        assert words in result.stdout
    before, after = example.model.read_text().splitlines(), (tmp_path / "example_refined.pdb").read_text().splitlines()
    assert [line[:54] + line[60:] for line in before] == [line[:54] + line[60:] for line in after]
    assert before != after
    refined = read_model(tmp_path / "example_refined.pdb").atoms["occupancy"].to_numpy()
    assert np.abs(refined - example.truth).max() < 0.03
    assert sorted(path.name for path in tmp_path.iterdir()) == ["example_refined.pdb", "example_refined_groups.toml"]


def test_example_shows_the_truth_and_writes_only_what_is_asked_for(tmp_path):
    result = run("refine", "--example", "-o", "refined.cif", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "truth" in result.stdout
    assert "B/201/IPH:B" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["refined.cif"]
    assert read_model(tmp_path / "refined.cif").n_atoms == 128


def test_groups_as_table_and_as_json(example, tmp_path):
    table = run("groups", example.model, cwd=tmp_path)
    assert table.returncode == 0, table.stderr
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
