"""Refined occupancies with their uncertainties, beside the start values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jax_occupancy._tables import sum_label
from jax_occupancy._words import Solution
from jax_occupancy.groups import Grouping
from jax_occupancy.plotting._figure import (
    BLUE,
    COLUMN,
    GREY,
    ORANGE,
    PAGE,
    PAGE_HEIGHT,
    SMALL,
    VERMILLION,
    Figure,
    axes_or_new,
    inches,
    say_only,
    shown,
    tidy,
)

# Of one line, in inches: letters of 7 points and air.
LINE = 0.135
# Between two sets, in lines.
GAP = 0.5
# Axis, title and legend, in inches.
AROUND = 1.05
MOST_LINES = (PAGE_HEIGHT - AROUND) / LINE
BOUND = "on a bound, 95 % limit"
LIMITS = (-0.04, 1.04)
LEGEND: dict[str, Any] = {"fontsize": SMALL, "frameon": False, "handlelength": 1.5, "columnspacing": 1.2}


@dataclass(frozen=True)
class SetRow:
    """The row of a set: one line for each of its groups."""

    number: int  # of the set in the grouping
    top: float  # where the first line begins
    groups: range  # which rows of the solution's table its groups are

    @property
    def lines(self) -> list[float]:
        """The middle of each line."""
        return [self.top + 0.5 + i for i in range(len(self.groups))]

    @property
    def bottom(self) -> float:
        """Where the last line ends."""
        return self.top + len(self.groups)


def columns_of_rows(grouping: Grouping, sets: Iterable[int], n_lines: float) -> list[list[SetRow]]:
    """Distribute sets over columns of so many lines; none is torn apart, a longer one gets a column of its own."""
    first = np.cumsum([0, *(len(s.groups) for s in grouping.sets)]).tolist()
    columns: list[list[SetRow]] = []
    for number in sets:
        size = len(grouping.sets[number].groups)
        top = columns[-1][-1].bottom + GAP if columns else 0.0
        if not columns or top + size > n_lines:
            columns.append([])
            top = 0.0
        columns[-1].append(SetRow(number, top, range(first[number], first[number + 1])))
    return columns


def balanced(grouping: Grouping, sets: Sequence[int], *, n_columns: int, most: float) -> list[list[SetRow]]:
    """Distribute sets over columns of about the same length, at most `most` lines; the rest goes into more columns."""
    total = sum(len(grouping.sets[number].groups) + GAP for number in sets)
    n_lines = total / n_columns
    while len(columns := columns_of_rows(grouping, sets, min(n_lines, most))) > n_columns and n_lines < most:
        n_lines += 1
    return columns


def n_lines_of(columns: Iterable[Sequence[SetRow]]) -> float:
    """Length of the longest column; at least two lines, so that there is something to see."""
    return max([2.0, *(column[-1].bottom for column in columns if column)])


def plot_occupancies(solution: Solution, ax: Axes | None = None, *, sets: Iterable[int] | None = None) -> Axes:
    """Draw refined occupancies with error bars beside the start values, one row for each set.

    The thin error bar is the standard uncertainty with B factors and positions marginalised, the thick one that with
    them held. On a bound a triangle stands in place of the point and a line reaches to the one-sided 95 % limit. Hollow
    points are those that the table has a note on. To the right stands what the members of a set sum to.

    Args:
        ax: where to draw; a new figure, one column of a journal wide, if None.
        sets: numbers of the sets to draw; all if None. Those that do not fit are left out, and the axis says so.
    """
    numbers = list(range(len(solution.grouping.sets)) if sets is None else sets)
    room = MOST_LINES if ax is None else max(1.0, inches(ax)[1] / LINE)
    columns = columns_of_rows(solution.grouping, numbers, room)
    if not columns:
        ax = axes_or_new(ax)
        say_only(ax, "No occupancy is refinable.")
        return ax
    if ax is None:
        figure = Figure(figsize=(COLUMN, AROUND + LINE * n_lines_of(columns[:1])))
        draw_columns(figure, solution, columns[:1], legend_columns=2)
        ax = figure.axes[0]
    else:
        draw_column(ax, solution, columns[0], n_lines=n_lines_of(columns[:1]))
        ax.legend(*_legend_of([ax]), loc="lower left", bbox_to_anchor=(0, 1), ncols=2, **LEGEND)
    left_out = len(numbers) - len(columns[0])
    label = "occupancy" + (f"\n({left_out} of {len(numbers)} sets do not fit and are not shown)" if left_out else "")
    ax.set_xlabel(label, fontsize=SMALL)
    return ax


def occupancy_pages(solution: Solution) -> list[Figure]:
    """Draw the occupancies of all sets, in two columns on as many pages as it takes; none if there are no groups."""
    numbers = range(len(solution.grouping.sets))
    columns = balanced(solution.grouping, numbers, n_columns=2, most=MOST_LINES)
    pages = []
    for i in range(0, len(columns), 2):
        figure = Figure(figsize=(PAGE, AROUND + LINE * n_lines_of(columns[i : i + 2])))
        draw_columns(figure, solution, columns[i : i + 2])
        pages.append(figure)
    return pages


def draw_columns(
    figure: Any, solution: Solution, columns: Sequence[Sequence[SetRow]], *, legend_columns: int = 3
) -> None:
    """Draw columns of rows beside each other into a figure or a part of one, with one legend."""
    n_lines = n_lines_of(columns)
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for ax, column in zip(panels, columns, strict=True):
        draw_column(ax, solution, column, n_lines=n_lines)
    figure.legend(*_legend_of(panels), loc="outside lower center", ncols=legend_columns, **LEGEND)


def _legend_of(panels: Iterable[Axes]) -> tuple[list[Any], list[str]]:
    """What was drawn in any of the panels, each thing once."""
    entries: dict[str, Any] = {}
    for ax in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)


def draw_column(ax: Axes, solution: Solution, rows: Sequence[SetRow], *, n_lines: float) -> None:
    """Draw some sets from the top of axes that have room for so many lines."""
    index = [i for row in rows for i in row.groups]
    table = solution.table.iloc[index].assign(y=[y for row in rows for y in row.lines])
    for row in rows[::2]:
        ax.axhspan(row.top - 0.25, row.bottom + 0.25, color="#F2F2F2", zorder=0, linewidth=0)
    for row in rows:
        label = shown(sum_label(solution.grouping.sets[row.number]), longest=14)
        middle = 0.5 * (row.top + row.bottom)
        place = ax.get_yaxis_transform()
        ax.text(1.01, middle, label, transform=place, va="center", fontsize=SMALL, color="#404040")
    _draw_groups(ax, table)
    ax.set_yticks(table["y"].to_numpy(), [shown(name) for name in table["name"]])
    ax.set_ylim(n_lines + 0.25, -0.25)
    ax.set_xlim(*LIMITS)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    tidy(ax, x="occupancy")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    for bound in (0, 1):
        ax.axvline(bound, color=GREY, linewidth=0.6, zorder=0.5)


def _draw_groups(ax: Axes, table: pd.DataFrame) -> None:
    q, y, esd = (table[name].to_numpy(float) for name in ("occupancy", "y", "esd"))
    at_bound = table["at_bound"].to_numpy(bool)
    fixed = ~table["refinable"].to_numpy(bool)
    noted = (table["note"] != "").to_numpy()
    moving = ~fixed & ~at_bound
    ax.plot(table["start"], y, "|", color=ORANGE, markersize=7, markeredgewidth=1.6, label="start", zorder=2)
    held = np.where(moving, table["esd_fixed"].to_numpy(float), np.nan)
    bar: dict[str, Any] = {"fmt": "none", "ecolor": BLUE, "capsize": 0}
    if np.isfinite(esd[moving]).any():
        ax.errorbar(q, y, xerr=np.where(moving, esd, np.nan), elinewidth=0.9, label="± esd", zorder=3, **bar)
        ax.errorbar(q, y, xerr=held, elinewidth=2.6, label="± esd, B, xyz held", zorder=3, **bar)
    for chosen, marker, colour, face, label in (
        (moving & ~noted, "o", BLUE, BLUE, "refined"),
        (moving & noted, "o", BLUE, "white", "refined, see note"),
        (fixed, "D", GREY, GREY, "fixed"),
    ):
        if chosen.any():
            style: dict[str, Any] = {"marker": marker, "color": colour, "markerfacecolor": face}
            ax.plot(q[chosen], y[chosen], linestyle="none", markersize=3.6, zorder=4, label=label, **style)
    _draw_bounds(ax, table.loc[at_bound])


def _draw_bounds(ax: Axes, table: pd.DataFrame) -> None:
    """A triangle that points beyond the bound, and a line that ends at the limit."""
    q, y, limit = (table[name].to_numpy(float) for name in ("occupancy", "y", "limit"))
    upper = np.where(np.isfinite(limit), limit < q, q > 0.5)
    style: dict[str, Any] = {"color": VERMILLION, "linestyle": "none", "zorder": 4}
    for chosen, marker in ((~upper, "<"), (upper, ">")):
        if chosen.any():
            ax.plot(q[chosen], y[chosen], marker=marker, markersize=4.5, **style, label=BOUND)
            ax.hlines(y[chosen], q[chosen], limit[chosen], color=VERMILLION, linewidth=0.9, zorder=3)
            ax.plot(limit[chosen], y[chosen], marker="|", markersize=6, **style)
