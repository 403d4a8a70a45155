import json
import re
import shutil

import numpy as np
import pytest
from command_line import command

from jax_occupancy import read_maps, read_model
from jax_occupancy.example import write_map_example


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps")
    write_map_example(path)
    return path


@pytest.fixture(scope="module")
def ended(folder):
    files = [
        "--json",
        "a.json",
        "--csv",
        "a.csv",
        "--report",
        "a.html",
        "--maps",
        "difference.mrc.gz",
        "--omit",
        "W/301/HOH",
        "--coot",
        "a.py",
        "--chimerax",
        "a.cxc",
    ]
    half = ["half1.mrc", "half2.mrc", "--resolution", "2"]
    return command("refine", "example.pdb", *half, "-o", "refined.cif", "--starts", "1", *files, cwd=folder)


def test_what_is_printed(ended):
    assert ended.code == 0, ended.errors
    for words in (
        "half maps of 56 x 56 x 56 voxels of 0.750 x 0.750 x 0.750 Å, used to 2 Å",
        "noise from the half maps, which correlate by",
        "FSC  0.",
        "CC           correlation of map and model around the group",
        "minus model around the groups",
    ):
        assert words in ended.output
    assert "R-work" not in ended.output
    assert "sigma_A" not in ended.output


def test_what_is_written(ended, folder):
    found = json.loads((folder / "a.json").read_text())
    assert found["result"] == "converged"
    assert found["fsc"]["end"] > found["fsc"]["start"]
    assert len(found["fsc_shells"]) > 5
    assert found["r_work"]["end"] is None
    assert all(0 < row["map_cc"] <= 1 for row in found["groups"])
    assert "map_cc" in (folder / "a.csv").read_text().splitlines()[0]
    for script in ("a.py", "a.cxc"):
        names = re.findall(r'"([^"]*\.(?:cif|mrc|mrc\.gz))"', (folder / script).read_text())
        assert names == ["refined.cif", "difference.mrc.gz", "half1.mrc"]
    report = (folder / "a.html").read_text()
    assert "Correlation by resolution" in report
    assert "R-work" not in report
    assert (
        read_model(folder / "refined.cif").atoms["occupancy"].tolist()
        != read_model(folder / "example.pdb").atoms["occupancy"].tolist()
    )


def test_a_group_left_out_is_a_peak_in_the_difference_map(ended, folder):
    before = read_maps(folder / "half1.mrc", resolution=2)
    maps = [
        read_maps(folder / name, resolution=2) for name in ("difference.mrc.gz", "difference_omit_W-301-HOH.mrc.gz")
    ]
    assert all(one.density.shape == before.density.shape for one in maps)
    atoms = read_model(folder / "example.pdb").atoms
    water = atoms.loc[atoms["resname"] == "HOH", ["x", "y", "z"]].to_numpy()[0]
    there = tuple(np.round(water / before.pixel).astype(int))
    spread = maps[0].density[maps[0].density != 0].std()
    assert abs(maps[0].density[there]) < 3 * spread
    assert maps[1].density[there] > 4 * spread


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["half1.mrc"], "say to which resolution"),
        (["half1.mrc", "--resolution", "2", "--d-min", "2"], "--d-min for reflections"),
        (["half1.mrc", "--resolution", "2", "--maps", "a.mtz"], "from a map comes a difference map"),
        (["a.mtz", "half2.mrc"], "a second file is for half maps"),
        (["a.mtz", "--radius", "3"], "--radius for maps"),
        (["a.mtz", "--maps", "a.mrc"], "from reflections come coefficients"),
        (["half1.mrc", "--resolution", "2", "--omit", "W/301/HOH"], "such as --maps maps.mtz, or from a map maps.mrc"),
        (["half1.mrc", "--map"], "--map goes with --example"),
        (["half1.mrc", "--resolution", "2", "--target", "ls"], "--target ls makes no sense for a map"),
        (["half1.mrc", "--resolution", "2", "--twin", "k,h,-l"], "--twin k,h,-l makes no sense for a map"),
    ],
)
def test_wrong_use(arguments, words, folder):
    (folder / "a.mtz").write_bytes(b"MTZ ")
    ended = command("refine", "example.pdb", *arguments, cwd=folder)
    assert ended.code == 2
    assert words in " ".join(ended.errors.replace("│", " ").split())


def test_bad_maps_leave_nothing_behind(folder, tmp_path):
    shutil.copy(folder / "example.pdb", tmp_path)
    (tmp_path / "short.mrc").write_bytes((folder / "half1.mrc").read_bytes()[:9999])
    ended = command("refine", "example.pdb", "short.mrc", "--resolution", "2", cwd=tmp_path)
    assert (ended.code, len(list(tmp_path.iterdir()))) == (1, 2)
    assert "short.mrc is damaged or cut short" in ended.errors


def test_a_series(folder):
    maps = ["half1.mrc,half2.mrc", "half1.mrc", "lost.mrc"]
    names = [part for name in ("both", "one", "lost") for part in ("--name", name)]
    settings = ["--resolution", "2.5", "--b-factors", "held", "--positions", "held", "--starts", "0"]
    files = ["--csv", "series.csv", "--json", "series.json", "--report", "series.html"]
    ended = command("series", "example.pdb", *maps, *names, *settings, *files, cwd=folder)
    assert ended.code == 3
    assert "lost.mrc does not exist" in ended.errors
    assert "FSC" in ended.output
    assert "R-work" not in ended.output
    assert (folder / "series.csv").read_text().count("W/301/HOH") == 2
    noted = "one: one map: its noise is taken from where there are no atoms"
    assert ended.output.count(f"Note {noted}") == 1
    notes = json.loads((folder / "series.json").read_text())["notes"]
    assert sum(note.startswith(noted) for note in notes) == 1
    assert (folder / "series.html").read_text().count(noted) == 1


def test_the_example(tmp_path):
    ended = command("refine", "--example", "--map", "--starts", "0", cwd=tmp_path)
    assert ended.code == 0
    assert "A simulated particle in half maps" in ended.output
    assert "truth" in ended.output
