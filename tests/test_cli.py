"""The command as a user meets it: what it prints and what it writes."""

import csv
import json
import os
import re
import subprocess
import sys

import gemmi
import numpy as np
import pytest
from command_line import command

from jax_occupancy import read_model, write_example

MAPS = ["FWT", "PHWT", "DELFWT", "PHDELWT", "FOM"]
STAGES = {
    "starting",
    "reading",
    "choosing groups",
    "computing structure factors",
    "scaling",
    "solving for the occupancies",
    "trying other starts",
    "moving B factors and positions",
    "standard uncertainties",
    "finishing",
    "writing",
}


def run(*arguments, cwd, program=("-m", "jax_occupancy"), **environment):
    """The command in a process of its own."""
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
    files = ("--json", "all.json", "--csv", "table.csv", "--plot", "plot.svg", "--report", "report.html")
    files += ("--maps", "maps.mtz", "--omit", "B/201/IPH", "--omit", "B/201/IPH:A", "--omit", "W/301/HOH")
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
        "maps_omit_B-201-IPH-A.mtz",
        "maps_omit_B-201-IPH.mtz",
        "maps_omit_W-301-HOH.mtz",
        "plot.svg",
        "report.html",
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
        "move no occupancy by more than 1e-05, or 0.01 of its uncertainty",
        "R values in its header, if any, are those of the model that was read",
        "maps_omit_B-201-IPH.mtz",
    ):
        assert words in re.sub(r"more than \de-\d\d, or 0.\d\d", "more than 1e-05, or 0.01", printed)
    assert seconds_of(printed).keys() == STAGES
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
    total = document["seconds"].pop("total")
    assert sum(document["seconds"].values()) == pytest.approx(total, rel=1e-9)
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


def test_pictures_and_report_are_written(refined):
    assert "<svg" in (refined[0] / "plot.svg").read_text()
    assert "Occupancies of example.pdb" in (refined[0] / "report.html").read_text()


def density_at(path, column, positions):
    mtz = gemmi.read_mtz_file(str(path))
    assert mtz.column_labels() == ["H", "K", "L", *MAPS]
    grid = mtz.transform_f_phi_to_map(*column, sample_rate=4)
    values = np.array([grid.interpolate_value(gemmi.Position(*xyz)) for xyz in positions])
    return values / np.std(grid.array)


def test_maps_show_the_atoms_and_the_omit_map_what_was_left_out(example, refined):
    atoms = read_model(example.model).atoms
    pose_a, pose_b = (
        atoms[(atoms["resname"] == "IPH") & (atoms["altloc"] == letter)][["x", "y", "z"]].to_numpy() for letter in "AB"
    )
    water = atoms[(atoms["resname"] == "HOH") & (atoms["occupancy"] < 1)][["x", "y", "z"]].to_numpy()
    density, difference = ("FWT", "PHWT"), ("DELFWT", "PHDELWT")
    assert density_at(refined[0] / "maps.mtz", density, pose_a).min() > 1
    assert np.abs(density_at(refined[0] / "maps.mtz", difference, np.concatenate([pose_a, pose_b]))).max() < 4
    left_out = {name: refined[0] / f"maps_omit_{name}.mtz" for name in ("B-201-IPH", "B-201-IPH-A", "W-301-HOH")}
    assert density_at(left_out["B-201-IPH"], difference, pose_a).mean() > 5
    # All conformers of a residue, or one of them.
    both, one = (density_at(left_out[name], difference, pose_b).mean() for name in ("B-201-IPH", "B-201-IPH-A"))
    assert both > one + 1
    assert density_at(left_out["W-301-HOH"], difference, water).min() > 5


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


def test_brackets_colons_notes_and_parents_are_printed_as_they_are(example, tmp_path, x64):
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
    ended = command("refine", "x[/].pdb", data.name, *options, cwd=tmp_path)
    assert (ended.code, ended.errors) == (0, "")
    for text in (
        "Model  x[/].pdb: 128",
        f"Data   {data.name}: ",
        " [/] :a: \\ ",
        "= [/b] ",
        "Wrote o[i].pdb; ",
        "o[i]_groups.toml",
    ):
        assert text in ended.output
    assert re.search(r"^Note .*A/2/SER:A", ended.output, flags=re.M)
    table = command("groups", "x[/].pdb", "--groups", "[red]g.toml", cwd=tmp_path)
    assert "│ [/] :a: \\ " in table.output
    assert command("groups", "no[/x].pdb", cwd=tmp_path).errors.startswith("error: no[/x].pdb ")


def test_groups_as_table_and_as_json(example, tmp_path):
    table = command("groups", example.model, cwd=tmp_path)
    assert (table.code, table.errors) == (0, "")
    assert "A/11/VAL:C" in table.output
    assert "≤ 1" in table.output
    document = json.loads(command("groups", example.model, "--json", cwd=tmp_path).output)
    assert document["n_atoms"] == 128
    assert [s["kind"] for s in document["sets"]] == ["complete"] * 6 + ["incomplete", "free"]


def test_help_and_version_answer_without_loading_jax(tmp_path):
    for words in ((), ("refine",), ("groups",)):
        program = ("-X", "importtime", "-m", "jax_occupancy")
        result = run(*words, "--help", cwd=tmp_path, program=program, COLUMNS="200")
        assert result.returncode == 0
        assert "Usage" in result.stdout
        assert not re.search(r"\| +(jax|gemmi|pandas|numpy)$", result.stderr, flags=re.M)
    told = run("refine", "--help", cwd=tmp_path, COLUMNS="200").stdout
    for words in ("jax-occupancy refine model.pdb data.mtz", "Exit codes: 0 converged", "3 did not converge"):
        assert words in told
    assert run("--version", cwd=tmp_path).stdout.startswith("jax-occupancy 0.")
