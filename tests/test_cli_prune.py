"""`refine --prune` and `--full-waters`: what is said and written."""

import dataclasses
import json

import pytest
from command_line import command

from jax_occupancy import read_model, write_example
from jax_occupancy.io import read_groups

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def run(solution, monkeypatch, tmp_path):
    """The command, which finds this solution with notes of ours."""
    example = write_example(tmp_path)

    def run(notes, *options):
        table = solution.table.copy()
        table["note"] = [notes.get(name, "") for name in table["name"]]
        noted = dataclasses.replace(solution, table=table)
        monkeypatch.setattr("jax_occupancy.refinement.refine", lambda *_, **__: noted)
        return command("refine", example.model, example.reflections, *options, cwd=tmp_path)

    return run


NOTES = {
    "A/3/LEU:B": "not supported: the log-likelihood gained over its absence is below 3",
    "A/6/GLN:C": "not supported: the log-likelihood gained over its absence is below 3",
    "W/301/HOH": "the data do not tell it from fully occupied",
}


def test_what_is_left_out_is_listed_everywhere(run, tmp_path):
    ended = run(NOTES, "--prefix", "p", "--prune", "--full-waters")
    assert (ended.code, ended.errors) == (0, "")
    said = "left out of the refined model, for the data do not support them: A/3/LEU:B, A/6/GLN:C. "
    assert f"Note --prune: {said}" in ended.output
    assert "refine again" in ended.output
    assert "Note --full-waters: written with 1.00, for the data do not tell them from full: W/301/HOH" in ended.output
    document, page = json.loads((tmp_path / "p.json").read_text()), (tmp_path / "p.html").read_text()
    assert (document["pruned"], document["full_waters"]) == (["A/3/LEU:B", "A/6/GLN:C"], ["W/301/HOH"])
    assert "<dt>Pruned</dt><dd>A/3/LEU:B, A/6/GLN:C</dd><dt>Full waters</dt><dd>W/301/HOH</dd>" in page
    assert said in page
    atoms = read_model(tmp_path / "p.pdb").atoms.set_index(["resname", "resseq"])
    assert atoms.loc[("LEU", 3), "altloc"].drop_duplicates().tolist() == ["", "A"]
    assert (atoms.loc[("LEU", 3), "occupancy"] == 1).all()
    assert atoms.loc[("HOH", 301), "occupancy"].item() == 1


def test_the_groups_beside_it_are_those_of_the_model_that_is_written(run, tmp_path):
    assert run(NOTES, "-o", "p.cif", "--prune", "--full-waters").code == 0
    groups = read_groups(tmp_path / "p_groups.toml").groups
    assert not {"A/3/LEU:A", "A/3/LEU:B", "A/6/GLN:C", "W/301/HOH"} & groups.keys()
    assert len(groups) == 13
    ended = command("groups", "p.cif", "--groups", "p_groups.toml", "--json", cwd=tmp_path)
    assert ended.code == 0
    names = [group["name"] for one in json.loads(ended.output)["sets"] for group in one["groups"]]
    assert sorted(names) == sorted(groups)


def test_nothing_changes_without_it_or_where_all_is_supported(run, tmp_path):
    assert run(NOTES, "-o", "a.pdb", "--json", "a.json").code == 0
    assert "pruned" not in json.loads((tmp_path / "a.json").read_text())
    ended = run({}, "-o", "b.pdb", "--json", "b.json", "--prune", "--full-waters")
    assert "Note --prune: no group that the data do not support can be left out" in ended.output
    assert "from full: none" in ended.output
    assert json.loads((tmp_path / "b.json").read_text())["pruned"] == []
    assert (tmp_path / "a.pdb").read_bytes() == (tmp_path / "b.pdb").read_bytes()
    assert (tmp_path / "a_groups.toml").read_bytes() == (tmp_path / "b_groups.toml").read_bytes()


def test_an_example_that_writes_no_model_has_nothing_to_prune(tmp_path):
    ended = command("refine", "--example", "--prune", cwd=tmp_path)
    assert ended.code == 2
    assert "name it (-o)" in " ".join(ended.errors.replace("│", " ").split())
