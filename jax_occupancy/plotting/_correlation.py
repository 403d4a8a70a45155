"""Correlations between the refined occupancies."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jax_occupancy._words import Solution
from jax_occupancy.plotting._figure import COLUMN, GREY, PAGE, SMALL, axes_or_new, inches, say_only, shown, tidy

# Height of a name, width of a letter and of the colour bar, in inches.
NAME, LETTER, BAR = 0.1, 0.06, 0.4
LONGEST_NAME = 16
# Of a new figure, in inches; the matrix takes this part of it.
LARGEST, PART = 20.0, 0.85


def plot_correlation(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw the correlation matrix of the occupancies; grey where one is on a bound.

    Members of a set that sums to one are correlated because of that sum; the line below says which groups of different
    sets are correlated most. A new figure is as large as the names need, up to half a metre. Names are left out, and
    numbers stand in their place, where they do not fit.
    """
    matrix = solution.correlation
    order = [name for name in solution.table["name"] if name in matrix.index]
    matrix = matrix.loc[order, order]
    n = len(matrix)
    names = [shown(str(name), longest=LONGEST_NAME) for name in matrix.index]
    needed = _needed(names) / PART
    size = next((one for one in (COLUMN, PAGE, needed) if one >= needed), needed) if needed < LARGEST else COLUMN
    ax = axes_or_new(ax, width=size, height=size + 0.3)
    if n < 2:
        say_only(ax, "Fewer than two occupancies: no correlations.")
        return ax
    # A layout that leaves no room unused makes the axes about this much larger than they are now.
    fits = 1.15 * min(inches(ax)) >= _needed(names)
    values = matrix.to_numpy(float)
    ax.set_facecolor(GREY)
    extent = (0.5, n + 0.5, n + 0.5, 0.5)
    image = ax.imshow(
        np.ma.masked_invalid(values), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", extent=extent
    )
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, ticks=[-1, 0, 1], shrink=0.6, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL, width=0.6)
    bar.outline.set_linewidth(0.6)  # pyright: ignore
    tidy(ax, title="Correlation")
    if fits:
        ax.set_xticks(range(1, n + 1), names, rotation=90)
        ax.set_yticks(range(1, n + 1), names)
        ax.tick_params(length=0)
    else:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    largest = _largest_between_sets(solution, matrix)
    ax.set_xlabel(("" if fits else "groups in the order of the table\n") + largest, fontsize=SMALL)
    return ax


def _largest_between_sets(solution: Solution, matrix: pd.DataFrame) -> str:
    names, values = list(matrix.index), matrix.to_numpy(float)
    set_of = solution.table.set_index("name")["set"]
    number = set_of.loc[names].to_numpy()
    between = np.triu(np.where(number[:, None] != number[None, :], np.nan_to_num(np.abs(values)), 0))
    i, j = np.unravel_index(int(np.argmax(between)), between.shape)
    if between[i, j] == 0:
        return ""
    pair = f"{shown(names[i], longest=LONGEST_NAME)} and {shown(names[j], longest=LONGEST_NAME)}"
    return f"largest between sets: {values[i, j]:.2f},\n{pair}"


def _needed(names: list[str]) -> float:
    """Inches of the matrix with its names and the colour bar."""
    return NAME * len(names) + LETTER * max(map(len, names), default=0) + BAR
