import dataclasses
import html
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from plotting_solutions import StartEnd, make_solution

from jax_occupancy.io import read_model
from jax_occupancy.plotting import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


def report(folder, solution, model=None):
    write_report(folder / "report.html", solution, model)
    return (folder / "report.html").read_text("utf-8")


def test_everything_is_in_it(tmp_path):
    solution = make_solution(4, n_minima=2)
    text = html.unescape(report(tmp_path, solution))
    for name in solution.table["name"]:
        assert f">{name}<" in text
    assert text.count("<td") == 9 * len(solution.table) + 4 + 3
    for piece in ("0.2000 → 0.1000", "2 distinct minima", "structure factors 1.5", "look at <this>", "not supported"):
        assert piece in text
    assert "0.00 (<0.08)" in text
    assert "1.00 (>0.92)" in text
    row = solution.table.iloc[2]
    digits = re.search(rf">{row['name']}<.*?>(0\.\d+\(\d+\))<", text)
    assert digits is not None
    assert float(digits[1].split("(")[0]) == pytest.approx(row["occupancy"], abs=0.5 * 10 ** -(len(digits[1]) - 5))


def test_what_needs_attention_comes_before_table_pictures_crystal_and_notes(tmp_path):
    solution = make_solution(4)
    text = html.unescape(report(tmp_path, solution))
    order = [
        "Needs attention: ",
        ": not supported</li>",
        "<h2>Occupancies<",
        "Σ = 1",
        "<img",
        ">Scale<",
        ">k_mask<",
        ">Notes<",
    ]
    assert sorted(order, key=text.index) == order
    listed = text[text.index("Needs attention: ") : text.index("<h2>Occupancies<")]
    noted = solution.table.loc[solution.table["note"] != "", "name"]
    assert all(name in listed for name in noted)
    assert f"Needs attention: {len(noted)} of {len(solution.table)} occupancies" in text


def test_a_command_says_its_notes_in_its_own_language(tmp_path):
    data = dataclasses.replace(make_solution(1).data, notes=("choose with intensity=IOBS",))
    solution = dataclasses.replace(make_solution(1), data=data)
    assert "choose with intensity=IOBS" in report(tmp_path, solution)
    about = {"command": "jax-occupancy refine", "versions": {"jax": "1.2"}}
    write_report(tmp_path / "c.html", solution, notes=["choose with --intensity IOBS"], about=about)
    text = (tmp_path / "c.html").read_text("utf-8")
    assert "intensity=IOBS" not in text
    assert "choose with --intensity IOBS" in text
    assert "<dt>Versions</dt><dd>jax 1.2</dd><dt>Command</dt><dd>jax-occupancy refine</dd>" in text


def test_names_are_escaped_and_nothing_comes_from_outside(tmp_path):
    text = report(tmp_path, make_solution(3, name="<script>alert('水')</script>&"))
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;水&#x27;)&lt;/script&gt;&amp;/1/LEU:A" in text
    assert not re.search(r"""(src|href)=(?!"data:)|url\(|@import|https?://""", text)


def test_nothing_to_refine(tmp_path):
    text = report(tmp_path, make_solution(0))
    assert "nothing to refine. No occupancy is refinable." in text
    assert text.count("<img") == 1


@pytest.mark.parametrize(("r_work", "told"), [(0.1, False), (0.5, True)])
def test_data_that_the_model_does_not_explain_are_pointed_out(r_work, told, tmp_path):
    text = report(tmp_path, dataclasses.replace(make_solution(1), r_work=StartEnd(0.6, r_work)))
    assert ("the model does not explain these data" in text) == told


def test_outliers_are_listed_up_to_a_hundred(tmp_path):
    rows = pd.DataFrame({"h": range(130), "k": 1, "l": 2, "observed": 95.6, "expected": 25.2})
    solution = make_solution(1)
    object.__setattr__(solution, "outliers", rows.assign(probability=1e-7, reason="too strong"))
    text = report(tmp_path, solution)
    assert text.count(">too strong<") == 100
    assert "And 30 more." in text


def test_many_sets_come_with_all_their_pages(tmp_path):
    solution = make_solution(60)
    text = report(tmp_path, solution)
    assert text.count("<img") == 2 + int(re.search(r"start values, part 1 of (\d+)", text)[1])


def test_the_model_is_named(tmp_path):
    (tmp_path / "some model.pdb").write_text(
        "ATOM      1  CA  ALA A   1       1.000   1.000   1.000  1.00 10.00           C\nEND\n"
    )
    text = report(tmp_path, make_solution(1), read_model(tmp_path / "some model.pdb"))
    assert "<title>Occupancies of some model.pdb</title>" in text
    assert "some model.pdb: 1 atoms" in text


def test_a_failed_report_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder"):
        report(tmp_path / "no", make_solution(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_shows_it(tmp_path):
    solution = make_solution(4)
    report(tmp_path, solution)
    dom, profile = tmp_path / "dom.html", tmp_path / "profile"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", (tmp_path / "report.html").as_uri()]
    with open(dom, "w") as handle:
        subprocess.run(command, stdout=handle, stderr=subprocess.PIPE, timeout=120, check=True)
    text = dom.read_text()
    body = text[text.index("<body") :]
    assert len(re.findall(r"<tr", body)) == 1 + len(solution.table) + 2
    assert len(re.findall(r"<img", body)) == 2
    screenshot = Path(tmp_path, "page.png")
    command[command.index("--dump-dom")] = f"--screenshot={screenshot}"
    done = subprocess.run([*command[:-1], "--window-size=900,2000", command[-1]], capture_output=True, timeout=120)
    assert screenshot.stat().st_size > 60_000, done.stderr
