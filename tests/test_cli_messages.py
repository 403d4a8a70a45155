"""What the commands say before and after the work."""

import dataclasses
import json
import re

import numpy as np
import pytest
from command_line import command
from plotting_solutions import StartEnd, make_solution

from jax_occupancy.example import write_example
from jax_occupancy.xray import SigmaA, random_r_factor


@pytest.fixture
def run(tmp_path):
    """The command in an empty folder: exit code, output and errors."""
    return lambda *arguments: command(*arguments, cwd=tmp_path)


@pytest.fixture
def example(tmp_path):
    return write_example(tmp_path)


def test_ctrl_c_is_told(run, example, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("jax_occupancy.refinement.group_model", interrupted)
    code, _, errors, _ = run("groups", example.model)
    assert (code, errors.strip()) == (130, "interrupted; no file is half written")


def test_too_little_memory_is_told(run, example, monkeypatch):
    def without_memory(*_, **__):
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr("jax_occupancy.refinement.refine", without_memory)
    code, _, errors, _ = run("refine", example.model, example.reflections)
    assert code == 1
    what = "take fewer data (--d-min; of a map --resolution, --mask), or a machine with more"
    assert errors == f"error: not enough memory; {what}\n"


def test_a_model_without_groups_is_no_empty_table(run, example):
    lines = example.model.read_text().splitlines()
    whole = [
        line
        for line in lines
        if not line.startswith(("ATOM", "HETATM")) or (line[16] == " " and line[54:60] == "  1.00")
    ]
    example.model.write_text("\n".join(whole))
    code, output, *_ = run("groups", example.model)
    assert code == 0
    assert output.strip().endswith(
        "No groups: no atom has an alternate-location letter or an occupancy between 0 and 1."
    )


@pytest.fixture
def found(monkeypatch):
    """Let `refine` find a solution without the work."""

    def find(**what):
        solution = dataclasses.replace(make_solution(**what.pop("made", {})), **what)
        monkeypatch.setattr("jax_occupancy.refinement.refine", lambda *_, **__: solution)
        return solution

    return find


def random_structure(solution):
    """Its R factor, and that of the noise."""
    data = solution.data
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    return random_r_factor(data.hkl, data.amplitude, abs(solution.f_model), **crystal), 0.05 * (2 / np.pi) ** 0.5


@pytest.mark.parametrize("doubtful", [False, True])
@pytest.mark.parametrize("kind", ["R-work", "R-work beside one large sigma", "R-free", "sigma_A", "R-work of noise"])
def test_data_that_the_model_does_not_explain_are_pointed_out(kind, doubtful, run, found):
    """Refined models leave no more than 0.4 + 0.04 per Å of the R of a random structure, right ones never 0.76."""
    solution = make_solution()
    random, noise = random_structure(solution)
    part, d_min, margin = 0.76, solution.data.resolution[1], 1.01 if doubtful else 0.99
    if kind.startswith("R-work") and kind != "R-work of noise":
        what = {"r_work": StartEnd(0.9, margin * ((0.4 + 0.04 * d_min) ** 2 * random**2 + noise**2) ** 0.5)}
        if kind != "R-work":
            sigma = np.where(np.arange(solution.data.n_reflections) == 7, 1e5, solution.data.sigma)
            what["data"] = solution.data.with_amplitudes(solution.data.amplitude, sigma)
    elif kind == "R-free":
        what = {"r_free": StartEnd(0.9, margin * part * random)}
    elif kind == "sigma_A":
        sigma_a = np.full(solution.data.n_reflections, (1 - (margin * part) ** 2) ** 0.5)
        rest = dict.fromkeys(("shrinkage", "variance", "epsilon", "d_spacing", "at_nodes"), sigma_a)
        what = {"sigma_a": SigmaA(sigma_a=sigma_a, **rest, centric=sigma_a < 0, source="free", n_used=80)}
    else:
        noisy = solution.data.with_amplitudes(solution.data.amplitude, solution.data.amplitude)
        what = {"data": noisy, "r_work": StartEnd(0.9, margin * part * random)}
    found(**what)
    _, printed, *_ = run("refine", "--example")
    assert ("does not explain these data" in printed) == doubtful
    assert (f"a random structure has {random:.2f}" in printed) == doubtful


@pytest.mark.parametrize(
    ("priors", "words"),
    [
        ({}, "B factors and positions held"),
        ({"position_error": 0.1}, "positions refined with it"),
        ({"position_error": 0.1, "b_error": 1.0}, "B factors and positions refined with it"),
    ],
)
def test_the_legend_says_what_was_refined_besides(priors, words, run, found):
    found(priors=priors)
    _, printed, *_ = run("refine", "--example")
    assert f"occupancy    0.57(4): standard uncertainty in the last digit, {words}; 0.00 (<" in printed


def test_without_convergence_everything_is_written_and_the_code_is_3(run, found, tmp_path):
    found(result="max_cycles", message="The occupancies still moved.")
    code, output, errors, _ = run(
        "refine", "--example", "-q", "--json", "all.json", "--csv", "a.csv", "--report", "r.html"
    )
    assert (code, output) == (3, "")
    assert errors == "not converged: The occupancies still moved.\n"
    assert json.loads((tmp_path / "all.json").read_text())["result"] == "max_cycles"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "all.json", "r.html"]
    assert "did not converge. The occupancies still moved." in (tmp_path / "r.html").read_text()


def test_other_starts_and_minima_are_told(run, found):
    found(made={"n_minima": 3})
    _, printed, *_ = run("refine", "--example")
    assert "Note 3 distinct minima; the lowest is the answer:\n" in printed
    assert "target 101.40, reached 8 times, occupancies up to 0.100 away" in printed
    found(starts=0)
    assert "No other starts were tried." in run("refine", "--example").output


def test_compiled_programs_are_kept_in_the_users_cache_folder(run, example, tmp_path, monkeypatch):
    folder, seconds = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"

    def settings(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        return run("refine", example.model, "no.mtz").settings

    only_precision = {"jax_enable_x64": True}
    assert settings(XDG_CACHE_HOME=tmp_path, JAX_COMPILATION_CACHE_DIR="/elsewhere") == only_precision
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert settings()[folder] == str(tmp_path / "jax-occupancy")
    assert 0 < settings()[seconds] <= 0.2
    (tmp_path / "file").write_text("")
    assert settings(XDG_CACHE_HOME=tmp_path / "file") == only_precision
    assert settings(XDG_CACHE_HOME="relative", HOME=tmp_path)[folder] == str(tmp_path / ".cache" / "jax-occupancy")


@pytest.mark.parametrize(
    ("kept", "lacks"), [(54, "space group"), (0, "unit cell and space group"), (None, "unit cell and space group")]
)
def test_a_model_without_crystal_gets_that_of_the_data(run, example, kept, lacks):
    """Without a space group, without CRYST1, and with the cell of 1 Å that stands for none."""
    text = example.model.read_text()
    cryst = next(line for line in text.splitlines() if line.startswith("CRYST1"))
    dummy = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1"
    example.model.write_text(text.replace(cryst, dummy if kept is None else cryst[:kept]))
    code, output, *_ = run("refine", example.model, example.reflections, "--starts", "0", "--json", "lost.json")
    assert code == 0
    assert f"has no {lacks} that is known: taken from the data" in " ".join(output.split())
    alone = json.loads((example.model.parent / "lost.json").read_text())["groups"]
    example.model.write_text(text)
    run("refine", example.model, example.reflections, "--starts", "0", "--json", "whole.json")
    whole = json.loads((example.model.parent / "whole.json").read_text())["groups"]
    assert [one["occupancy"] for one in alone] == pytest.approx([one["occupancy"] for one in whole], abs=1e-6)


def test_heavy_atoms_without_dispersion_are_told(run, example):
    text = example.model.read_text()
    water = next(line for line in text.splitlines() if " HOH " in line and float(line[54:60]) < 1)
    example.model.write_text(text.replace(water, water[:12] + "ZN    ZN" + water[20:76] + "ZN" + water[78:]))
    _, output, *_ = run("refine", example.model, example.reflections, "--starts", "0")
    assert "The dispersion of Zn is left out" in output


def test_atoms_of_unknown_element_are_told(run, example):
    text = re.sub(r"^((?:ATOM|HETATM).{70}) C", r"\1QQ", example.model.read_text(), count=1, flags=re.M)
    # A cell of another crystal ends the command when the model has been told.
    example.model.write_text(re.sub(r"(CRYST1 +)\d+\.\d+", r"\g<1>99.999", text))
    code, printed, *_ = run("refine", example.model, example.reflections)
    assert code == 1
    assert "Note atoms of unknown element scatter nothing here: " in printed
