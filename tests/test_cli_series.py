"""`jax-occupancy series`: what it prints and writes, also after a bad file."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from command_line import command

from jax_occupancy.example import read_example
from jax_occupancy.io import read_model, write_mtz

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, two good data sets and a bad one."""
    model, data = read_example()
    data = data.select(data.d_spacing() > 1.8)
    folder = tmp_path_factory.mktemp("series")
    (folder / "model.pdb").write_bytes(model.source)
    columns = {"SIGFP": ("Q", data.sigma), "FreeR_flag": ("I", ~data.free)}
    for seed in range(2):
        noise = data.sigma * np.random.default_rng(seed).standard_normal(data.n_reflections)
        columns["FP"] = ("F", np.maximum(data.amplitude + noise, 0.01))
        path = folder / f"t{seed}.mtz"
        write_mtz(path, hkl=data.hkl, cell=data.cell, spacegroup=data.spacegroup, columns=columns)
    (folder / "junk.mtz").write_text("junk")
    return folder


def series(*arguments, cwd):
    return command("series", "model.pdb", *arguments, "--starts", "0", "--no-outliers", cwd=cwd)


def test_it_goes_on_after_a_bad_file(folder):
    names = ("--name", "0", "--name", "1", "--name", "2.5")
    outputs = ("-o", "new/models", "--json", "a.json", "--csv", "a.csv", "--plot", "a.svg", "--report", "a.html")
    ended = series("t0.mtz", "junk.mtz", "t1.mtz", *names, *outputs, cwd=folder)
    assert ended.code == 3
    assert re.match("failed: 1: .*junk.mtz looks like neither", ended.errors)
    assert re.search(r" 2\.5 .*converged", ended.output)
    table = pd.read_csv(folder / "a.csv")
    assert table["dataset"].unique().tolist() == [0, 2.5]
    content = json.loads((folder / "a.json").read_text())
    assert list(content["failed"]) == ["1.0"]
    assert content["datasets"]["0.0"]["result"] == "converged"
    assert "<svg" in (folder / "a.svg").read_text()
    page = html.unescape((folder / "a.html").read_text())
    assert "<p>2 data sets; 1 more could not be refined.</p>" in page
    for words in (
        "junk.mtz looks like neither",
        "The model has no hydrogens",
        "<dt>Command</dt><dd>jax-occupancy series",
    ):
        assert words in page
    assert page.count("IPH:B = 0.66") == 1
    for name in ("0", "2.5"):
        back = read_model(folder / "new" / "models" / f"model_{name}.pdb").atoms["occupancy"]
        first = table[table["dataset"] == float(name)].iloc[0]
        assert (back - first["occupancy"]).abs().min() <= 0.005


def test_names_that_files_can_not_tell_apart(folder):
    names = ("--name", "a b", "--name", "a-b")
    assert series("t0.mtz", "t1.mtz", *names, "-o", "alike", cwd=folder).code == 0
    assert sorted(path.name for path in (folder / "alike").iterdir()) == ["1_model_a-b.pdb", "2_model_a-b.pdb"]
    ended = series("t0.mtz", "t1.mtz", "--name", "a b", "--name=-5", "-o", "apart", cwd=folder)
    assert ended.code == 0
    assert sorted(path.name for path in (folder / "apart").iterdir()) == ["model_-5.pdb", "model_a-b.pdb"]


def test_models_need_a_folder(folder):
    ended = series("t0.mtz", "-o", "t1.mtz", cwd=folder)
    assert ended.code == 1
    assert "t1.mtz" in ended.errors


def test_without_any_usable_data(folder):
    ended = series("junk.mtz", "none.mtz", cwd=folder)
    assert ended.code == 1
    assert "none of 2 data sets could be refined" in ended.errors


def test_what_should_be_known_of_the_model_is_said_once(folder):
    atoms = (folder / "model.pdb").read_text().splitlines()
    atoms = [line for line in atoms if line.startswith(("CRYST1", "ATOM", "HETATM"))]
    unknown = f"HETATM{999:5d}  X   UNX B 999    {1:8.3f}{1:8.3f}{1:8.3f}  1.00 20.00           X"
    (folder / "unknown.pdb").write_text("\n".join([*atoms, unknown, "END", ""]))
    ended = command("series", "unknown.pdb", "t0.mtz", "--starts", "0", "--no-outliers", cwd=folder)
    assert ended.code == 0
    assert ended.output.count("unknown element") == 1
    assert ended.output.count("no hydrogens") == 1
