"""The report of a series."""

import html

import pytest
from plotting_solutions import make_solution

from jax_occupancy.plotting import write_series_report
from jax_occupancy.refinement import SeriesSolution


def report(folder, solutions, failed, **more):
    write_series_report(folder / "series.html", SeriesSolution.from_solutions(solutions, failed), **more)
    return html.unescape((folder / "series.html").read_text("utf-8"))


def cells(text, name):
    """The cells of the first row that begins with a group."""
    row = text.partition(f'<tr><td class="word">{name}</td>')[2].partition("</tr>")[0]
    return [cell.partition(">")[2] for cell in row.split("</td>")[:-1]]


def test_a_column_for_each_data_set_and_all_sets_in_pictures(tmp_path):
    one, other = make_solution(30), make_solution(30)
    other.table["occupancy"], other.table["note"] = 0.5, "hardly <seen>"
    text = report(tmp_path, {"cold": one, "<hot>": other}, {"lost": "no such file"})
    order = [
        "<p>2 data sets; 1 more could not be refined.</p>",
        "<h2>Occupancies",
        "<img",
        "<h2>Data sets",
        "<h2>Notes",
    ]
    assert sorted(order, key=text.index) == order
    assert cells(text, "A/1/LEU:A") == ["0.00 (<0.08)", "0.50 (>0.08)"]
    assert cells(text, "A/2/LEU:B")[1].startswith("0.50(")
    # 14 sets to a page
    assert text.count("<img") == 3
    for words in ("A/2/LEU:A in <hot>", "lost: no such file", "look at <this>", ">0.1000<", ">0.2000<"):
        assert words in text
    assert text.count("look at <this>") == 1


def test_what_is_told_besides(tmp_path):
    text = report(tmp_path, {1.5: make_solution(1)}, {}, notes=["told"], about={"date": "today", "empty": ()})
    assert "<p>1 data set.</p>" in text
    assert "<li>told</li>" in text
    assert "look at" not in text
    assert "<dt>Date</dt><dd>today</dd>" in text
    assert "Empty" not in text
    (row,) = [row for row in text.split("<tr") if 'class="word">1.5<' in row and "converged" in row]
    assert ">400<" in row


def test_nothing_to_report(tmp_path):
    with pytest.raises(ValueError, match="none of 1 data sets"):
        report(tmp_path, {}, {"lost": "no such file"})
    with pytest.raises(FileNotFoundError):
        report(tmp_path / "nowhere", {"a": make_solution(1)}, {})
