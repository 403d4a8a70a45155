import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from plotting_solutions import make_solution

from jax_occupancy.plotting import (
    Figure,
    occupancy_pages,
    plot_convergence,
    plot_correlation,
    plot_minima,
    plot_occupancies,
    plot_r_by_resolution,
    plot_series,
    plot_solution,
    write_plot,
)

PLOTS = (plot_occupancies, plot_convergence, plot_minima, plot_r_by_resolution, plot_correlation)


def texts(figure):
    """Everything that is written in a figure, with the size of its letters."""
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(Text) if text.get_visible()]
    return {text.get_text(): text.get_fontsize() for text in found if text.get_text().strip()}


def boxes_of_names(ax):
    """Where the names stand on axes that were drawn."""
    return [label.get_window_extent() for label in ax.get_yticklabels() if label.get_text()]


def overlapping(boxes):
    boxes = sorted(boxes, key=lambda box: box.y0)
    return sum(low.y1 > high.y0 + 1 for low, high in itertools.pairwise(boxes))


@pytest.mark.parametrize("n_sets", [0, 1, 2, 41])
def test_every_picture_alone_and_on_axes_of_the_users_own(n_sets):
    solution = make_solution(n_sets)
    for plot in PLOTS:
        # names of all groups beside a matrix take their room
        assert plot(solution).figure.get_size_inches()[1] < (12 if plot is plot_correlation else 10)
        ax = Figure(figsize=(3, 3)).add_subplot()
        assert plot(solution, ax) is ax
        ax.figure.draw_without_rendering()


@pytest.mark.parametrize(("n_sets", "n_minima"), [(0, 1), (1, 1), (2, 1), (5, 3), (41, 1), (300, 2)])
def test_the_overview_fits_a_page_in_letters_that_can_be_read(n_sets, n_minima):
    figure = plot_solution(make_solution(n_sets, n_minima=n_minima))
    width, height = figure.get_size_inches()
    written = texts(figure)
    assert width == 7
    assert height <= 10
    assert min(written.values()) >= 7
    assert any("of 300 sets" in text for text in written) == (n_sets == 300)
    assert any("Distinct minima" in text for text in written) == (n_minima > 1)
    for ax in figure.findobj(Axes):
        assert overlapping(boxes_of_names(ax)) == 0
    # Nothing sticks out of the page.
    box = figure.get_tightbbox()
    assert (box.x0, box.y0) > (-0.05, -0.05)
    assert box.x1 < width + 0.05
    assert box.y1 < height + 0.05


def test_occupancies_stand_at_their_values():
    solution = make_solution(4)
    ax = plot_occupancies(solution)
    rows = {label.get_text(): y for label, y in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert list(rows) == solution.table["name"].tolist()
    drawn = {(round(x, 6), y) for line in ax.lines for x, y in zip(*line.get_data(), strict=True)}
    for row in solution.table.itertuples():
        assert {(round(row.occupancy, 6), rows[row.name]), (round(row.start, 6), rows[row.name])} <= drawn
        if row.at_bound:
            assert (round(row.limit, 6), rows[row.name]) in drawn
    assert {"Σ = 1", "Σ ≤ 1", "free"} <= set(texts(ax.figure))


def test_error_bars_are_as_long_as_the_esds():
    solution = make_solution(4)
    ax = plot_occupancies(solution)
    moving = solution.table["esd"].notna() & solution.table["refinable"]
    bars = ax.findobj(LineCollection)[:2]
    for drawn, column in zip(bars, ("esd", "esd_fixed"), strict=True):
        lengths = [np.ptp(segment[:, 0]) for segment in drawn.get_segments() if len(segment)]
        np.testing.assert_allclose(lengths, 2 * solution.table[column][moving])


def test_chosen_sets_only_and_a_note_on_what_does_not_fit():
    solution = make_solution(300)
    few = plot_occupancies(solution, sets=[3, 5])
    names = [label.get_text() for label in few.get_yticklabels()]
    assert names == ["A/4/LEU:A", "A/4/LEU:B", "A/6/LEU:A"]
    ax = plot_occupancies(solution, Figure(figsize=(3, 3)).add_subplot())
    assert "of 300 sets do not fit" in ax.get_xlabel()
    ax.figure.draw_without_rendering()
    assert overlapping(boxes_of_names(ax)) == 0


def test_the_pages_hold_every_group_once():
    solution = make_solution(300)
    pages = occupancy_pages(solution)
    names = [label.get_text() for page in pages for ax in page.axes for label in ax.get_yticklabels()]
    assert names == solution.table["name"].tolist()
    assert len(pages) > 2
    assert occupancy_pages(make_solution(0)) == []


def test_r_by_resolution_is_that_of_each_shell():
    work, free = plot_r_by_resolution(make_solution(2), n_shells=7).lines
    np.testing.assert_allclose(work.get_ydata(), np.full(7, 0.1))
    np.testing.assert_allclose(free.get_ydata(), np.full(7, 0.2))
    assert (np.diff(work.get_xdata()) > 0).all()
    with pytest.raises(ValueError, match="n_shells"):
        plot_r_by_resolution(make_solution(2), n_shells=0)


def test_no_free_set_no_r_free():
    labels = plot_r_by_resolution(make_solution(2, n_free=0)).get_legend().get_texts()
    assert [label.get_text() for label in labels] == ["R-work 0.1000"]


def test_correlations_are_in_the_order_of_the_table():
    solution = make_solution(3)
    ax = plot_correlation(solution)
    shown = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    names = solution.table["name"].tolist()
    names = [name for name in names if name in solution.correlation.index]
    np.testing.assert_allclose(shown, solution.correlation.loc[names, names])
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert "groups in the order" not in plot_correlation(make_solution(60)).get_xlabel()
    assert "groups in the order" in plot_correlation(make_solution(150)).get_xlabel()


def test_the_largest_correlation_between_sets_is_named():
    solution = make_solution(6)
    known, matrix = solution.table.set_index("name")["set"], solution.correlation
    pairs = [(abs(matrix.loc[a, b]), a, b) for a in matrix for b in matrix if known[a] < known[b]]
    value, first, second = max(pair for pair in pairs if np.isfinite(pair[0]))
    label = plot_correlation(solution).get_xlabel()
    assert f"{value:.2f},\n{first} and {second}" in label


def test_names_of_all_sorts():
    plot_occupancies(make_solution(2, name=r"$\no$ 水")).figure.to_bytes("png")
    solution = make_solution(3, name="a very long name of a group that costs 水 <b>")
    assert plot_solution(solution).to_bytes("svg") == plot_solution(solution).to_bytes("svg")


def test_files(tmp_path):
    solution = make_solution(3)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for kind, start in starts.items():
        write_plot(tmp_path / f"picture.{kind.upper()}", solution)
        assert (tmp_path / f"picture.{kind.upper()}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"picture.gif: .*\.png, \.svg, \.pdf"):
        write_plot(tmp_path / "picture.gif", solution)
    with pytest.raises(FileNotFoundError, match="folder"):
        write_plot(tmp_path / "no" / "picture.png", Figure())
    assert len(list(tmp_path.iterdir())) == 3


def test_a_pdf_has_all_pages(tmp_path):
    solution = make_solution(60, name="水")  # which the font lacks
    write_plot(tmp_path / "all.pdf", solution)
    content = (tmp_path / "all.pdf").read_bytes()
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") == 1 + len(occupancy_pages(solution))


def series(n_datasets, names):
    rows = [(names[i % len(names)], f"g{j}", j // 2, 0.1 + 0.1 * j, 0.02) for i in range(n_datasets) for j in range(3)]
    return pd.DataFrame(rows, columns=pd.Index(["dataset", "group", "set", "occupancy", "esd"]))


def test_a_series_has_a_panel_for_each_set():
    figure = plot_series(series(4, ["a.mtz", "b.mtz", "c.mtz", "d.mtz"]))
    assert [len(ax.containers) for ax in figure.axes] == [2, 1]
    assert {"g0", "g1", "g2", "a.mtz", "d.mtz"} <= set(texts(figure))
    figure = plot_series(series(4, ["a", "b", "c", "d"]).drop(columns="set"))
    assert [len(ax.containers) for ax in figure.axes if ax.axison] == [1, 1, 1]


def test_a_series_of_numbers_is_to_scale():
    figure = plot_series(series(3, [0.0, 10.0, 40.0]), groups=["g2"])
    np.testing.assert_allclose(figure.axes[0].containers[0].lines[0].get_xdata(), [0, 10, 40])


def test_a_series_with_gaps_and_bounds():
    table = series(3, ["a", "b", "c"]).query("group == 'g2'").reset_index(drop=True)
    table["at_bound"], table["limit"] = [False, True, True], [np.nan, 0.5, 0.1]
    table.loc[0, "occupancy"] = np.nan
    figure = plot_series(table)
    (bars,) = figure.axes[0].containers
    np.testing.assert_allclose([s[:, 1] for s in bars.lines[2][0].get_segments()], [[0.3, 0.5], [0.1, 0.3]])
    assert plot_series(table.iloc[:0]).axes


def test_a_long_series_stays_on_a_page():
    table = series(64, [f"crystal_with_a_long_name_{i:03}.mtz" for i in range(64)])
    many = pd.concat([table.assign(group=table["group"] + f"/{i}", set=table["set"] + 2 * i) for i in range(20)])
    figure = plot_series(many)
    assert figure.get_size_inches()[1] <= 10
    assert any("of 40 sets" in text for text in texts(figure))


def test_bad_tables_of_series():
    table = series(2, ["a", "b"])
    with pytest.raises(ValueError, match="no column 'esd'"):
        plot_series(table.drop(columns="esd"))
    with pytest.raises(ValueError, match=r"\['x'\] are not in the table"):
        plot_series(table, groups=["g1", "x"])


def test_a_solution_plots_itself():
    assert isinstance(make_solution(2).plot(), Figure)
    assert dataclasses.is_dataclass(make_solution(2))
