"""Occupancies over the data sets of a series."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from jax_occupancy.plotting._figure import (
    COLOURS,
    COLUMN,
    MARKERS,
    NORMAL,
    PAGE,
    PAGE_HEIGHT,
    SMALL,
    Figure,
    say_only,
    shown,
    tidy,
)

NEEDED = ("dataset", "group", "occupancy", "esd")
# Height of a panel and of the names of data sets below the last row, in inches.
PANEL, NAMES = 1.35, 0.7
# Names on one axis.
MOST_NAMES = 12


def plot_series(table: pd.DataFrame, *, groups: Sequence[str] | None = None) -> Figure:
    """Draw occupancy against data set with error bars, one panel for each set, or for each group without sets.

    Args:
        table: one row for each group in each data set, with the columns dataset, group, occupancy and esd; a column
            set puts the groups of one set into one panel, columns at_bound and limit give occupancies on a bound an
            error bar to their one-sided 95 % limit. Data sets that are numbers (times, temperatures,
            concentrations) are drawn to scale, others in the order they come in. Rows without an occupancy, such as
            those of a data set that failed, are left out.
        groups: names of the groups to draw; None draws as many as a page holds, and the title says so.

    Returns:
        A figure, at most a page high; wider than a column only if there is more than one panel.

    Raises:
        ValueError: a column is missing or a group is not in the table.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"dataset": [0.0, 10.0, 20.0], "group": ["bound"] * 3, "esd": [0.03, 0.02, 0.03]})
        >>> figure = plot_series(table.assign(occupancy=[0.1, 0.45, 0.6]))
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['bound']
    """
    table = _checked(table, groups)
    key = "set" if "set" in table else "group"
    panels = list(table.groupby(key, sort=False))
    if not panels:
        figure = Figure(figsize=(COLUMN, PANEL))
        say_only(figure.add_subplot(), "No occupancies.")
        return figure
    n_columns = min(2, len(panels))
    n_rows = min(-(-len(panels) // n_columns), int((PAGE_HEIGHT - NAMES) / PANEL))
    drawn = panels[: n_rows * n_columns]
    size = (PAGE if n_columns > 1 else COLUMN, NAMES + PANEL * max(n_rows, 1.3))
    figure = Figure(figsize=size)
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    place = _places(table)
    for ax, (_, rows) in zip(axes.flat, drawn, strict=False):
        _draw_panel(ax, rows, place)
    for i in range(len(drawn), axes.size):
        axes.flat[i].set_axis_off()
        # Names of data sets stand below the lowest panel of a column.
        axes.flat[i - n_columns].tick_params(axis="x", labelbottom=True)
    _label_datasets(axes, place)
    if len(drawn) < len(panels):
        note = f"The first {len(drawn)} of {len(panels)} {key}s; series.plot(groups=[...]) chooses others."
        figure.suptitle(note, fontsize=SMALL, x=0.01, ha="left")
    return figure


def series_pages(table: pd.DataFrame) -> list[Figure]:
    """Draw all sets of a table of a series as `plot_series` does, as many to a figure as a page holds."""
    sets = _checked(table, None).groupby("set", sort=False)["group"].unique().tolist()
    most = 2 * int((PAGE_HEIGHT - NAMES) / PANEL)
    pages = [np.concatenate(sets[i : i + most]) for i in range(0, len(sets), most)]
    return [plot_series(table, groups=groups.tolist()) for groups in pages]


def _checked(table: pd.DataFrame, groups: Sequence[str] | None) -> pd.DataFrame:
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"table has no column {missing[0]!r}; wanted {', '.join(NEEDED)}, got {list(table.columns)}")
    if groups is not None:
        unknown = [name for name in groups if name not in set(table["group"])]
        if unknown:
            known = table["group"].unique().tolist()
            raise ValueError(f"groups: {unknown[:5]} are not in the table; wanted some of {known[:10]}")
        table = table.loc[table["group"].isin(list(groups))]
    return table.loc[table["occupancy"].notna()]


def _places(table: pd.DataFrame) -> dict:
    """Where each data set stands on the horizontal axis."""
    names = table["dataset"].drop_duplicates()
    if is_numeric_dtype(names) and not is_bool_dtype(names):
        return {name: float(name) for name in names}
    return {name: i for i, name in enumerate(names)}


def _draw_panel(ax: Axes, rows: pd.DataFrame, place: dict) -> None:
    members = list(rows.groupby("group", sort=False))
    width = max(place.values()) - min(place.values()) or 1
    for i, (name, member) in enumerate(members):
        member = member.assign(x=[place[name] for name in member["dataset"]]).sort_values("x")
        # Error bars of members that lie above each other are put a little beside each other.
        x = member["x"].to_numpy(float) + 0.006 * width * (i - (len(members) - 1) / 2)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        style = {"marker": marker, "markersize": 3.2, "linewidth": 0.7, "elinewidth": 0.8, "color": colour}
        ax.errorbar(x, member["occupancy"], yerr=_error_bars(member), label=shown(str(name)), **style)
    title = shown(str(members[0][0])) if len(members) == 1 else ""
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    tidy(ax, title=title)
    ax.title.set_fontsize(NORMAL)
    if len(members) > 1:
        style = {"handlelength": 1.5, "columnspacing": 1.0, "handletextpad": 0.4, "borderpad": 0}
        ax.legend(fontsize=SMALL, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, **style)


def _error_bars(rows: pd.DataFrame) -> np.ndarray:
    """How far the error bars reach down and up; on a bound to the one-sided limit, where the table has it."""
    esd, q = rows["esd"].to_numpy(float), rows["occupancy"].to_numpy(float)
    bars = np.tile(np.where(esd > 0, esd, np.nan), (2, 1))
    if "at_bound" in rows and "limit" in rows:
        limit, at_bound = rows["limit"].to_numpy(float), rows["at_bound"].to_numpy(bool)
        one_sided = np.maximum([q - limit, limit - q], 0)
        bars = np.where(at_bound, np.where(np.isfinite(limit), one_sided, np.nan), bars)
    return bars


def _label_datasets(axes: np.ndarray, place: dict) -> None:
    """Names of data sets below the last panel of each column, not more than can be read."""
    names = list(place)
    numeric = all(isinstance(name, int | float | np.number) for name in names)
    for ax in axes.flat:
        ax.tick_params(axis="x", labelsize=SMALL)
        if not numeric:
            step = -(-len(names) // MOST_NAMES)
            ax.set_xticks(range(0, len(names), step), [shown(str(name), longest=16) for name in names[::step]])
            ax.set_xlim(-0.5, len(names) - 0.5)
            if max(len(str(name)) for name in names) * min(len(names), MOST_NAMES) > 40:
                ax.tick_params(axis="x", rotation=45)
                for label in ax.get_xticklabels():
                    label.set(horizontalalignment="right", rotation_mode="anchor")
    axes[0, 0].figure.supylabel("occupancy", fontsize=SMALL)
    axes[0, 0].figure.supxlabel("data set", fontsize=SMALL)
