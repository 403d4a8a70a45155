"""What the commands say before and after the work."""

import sys

import pytest

from jax_occupancy import cli
from jax_occupancy.cli import _groups, main
from jax_occupancy.example import write_example


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """The command line in this process, in an empty folder: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["jax-occupancy", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def example(tmp_path):
    return write_example(tmp_path)


def test_ctrl_c_is_told(run, example, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(_groups, "group_model", interrupted)
    code, _, errors = run("groups", example.model)
    assert (code, errors.strip()) == (130, "interrupted; no file is half written")


def test_a_model_without_groups_is_no_empty_table(run, example):
    lines = example.model.read_text().splitlines()
    whole = [
        line
        for line in lines
        if not line.startswith(("ATOM", "HETATM")) or (line[16] == " " and line[54:60] == "  1.00")
    ]
    example.model.write_text("\n".join(whole))
    code, output, _ = run("groups", example.model)
    assert code in (0, None)
    assert output.strip().endswith(
        "No groups: no atom has an alternate-location letter or an occupancy between 0 and 1."
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--wavelength", "900"), "wavelength: got 900.0"),
        (("--state", "ground=A", "--state", "bound=Q"), "no atom has a letter of the state bound (Q)"),
    ],
)
def test_mistakes_are_told_before_anything_else(run, example, option, message):
    code, output, errors = run("refine", example.model, example.reflections, *option)
    assert (code, output) == (1, "")
    assert message in errors


def test_links_that_are_both_forced_and_forbidden(run, example):
    code, _, errors = run("groups", example.model, "--no-link", "--force-links")
    assert code == 2
    assert "exclude each other" in errors


def test_a_model_without_space_group_says_so(run, example):
    text = example.model.read_text()
    cryst = next(line for line in text.splitlines() if line.startswith("CRYST1"))
    example.model.write_text(text.replace(cryst, cryst[:54]))
    code, _, errors = run("refine", example.model, example.reflections)
    assert code == 1
    assert "example.pdb: no space group that is known" in errors


def test_heavy_atoms_without_dispersion_are_told(run, example):
    text = example.model.read_text()
    water = next(line for line in text.splitlines() if " HOH " in line and float(line[54:60]) < 1)
    example.model.write_text(text.replace(water, water[:12] + "ZN    ZN" + water[20:76] + "ZN" + water[78:]))
    _, output, _ = run("refine", example.model, example.reflections, "--starts", "0")
    assert "The dispersion of Zn is left out" in output
    assert cli.__doc__
