"""Agreement of model and data by resolution."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jax_occupancy._words import Solution
from jax_occupancy.plotting._figure import BLUE, SMALL, VERMILLION, axes_or_new, tidy
from jax_occupancy.xray import r_factor

# Reflections in a shell: fewer in the free set make an R that jumps about.
FREE_IN_SHELL, WORK_IN_SHELL = 40, 200
MOST_SHELLS = 20


def plot_r_by_resolution(solution: Solution, ax: Axes | None = None, *, n_shells: int | None = None) -> Axes:
    """Draw R = Σ|F_obs − |F_model|| / ΣF_obs, work and free, against resolution, linear in 1/d² and labelled in Å.

    The shells have equal numbers of reflections; by default there are as many, up to 20, as leave each with 40 free
    reflections, or 200 where there is no free set.
    """
    ax = axes_or_new(ax)
    table = _by_shell(solution, n_shells)
    low, high = table["d_max"].to_numpy() ** -2.0, table["d_min"].to_numpy() ** -2.0
    for column, total, colour, style in (
        ("r_work", solution.r_work, BLUE, "o-"),
        ("r_free", solution.r_free, VERMILLION, "s--"),
    ):
        if np.isfinite(total.end):
            label = f"{column.replace('r_', 'R-')} {total.end:.4f}"
            ax.plot(0.5 * (low + high), table[column], style, color=colour, markersize=3, linewidth=1, label=label)
    ax.set_ylim(0, None)
    _ticks_in_angstroms(ax, float(low.min()), float(high.max()))
    tidy(ax, x="resolution, Å", y="R", title="R by resolution")
    ax.legend(fontsize=SMALL, frameon=False, loc="best")
    return ax


def _by_shell(solution: Solution, n_shells: int | None) -> pd.DataFrame:
    """The limits of d and both R factors in each shell, low resolution first."""
    data = solution.data
    observed, model, d = np.asarray(data.amplitude), solution.model_amplitude, data.d_spacing()
    if n_shells is None:
        per_free = data.n_free // FREE_IN_SHELL if data.n_free else data.n_reflections // WORK_IN_SHELL
        n_shells = int(np.clip(per_free, 1, MOST_SHELLS))
    if n_shells < 1:
        raise ValueError(f"n_shells: got {n_shells}, wanted a positive number")
    shells = np.array_split(np.argsort(-d, kind="stable"), min(n_shells, len(d)))
    rows = [(d[one[0]], d[one[-1]], *r_factor(observed[one], model[one], data.free[one])) for one in shells]
    return pd.DataFrame(rows, columns=pd.Index(["d_max", "d_min", "r_work", "r_free"]))


def plot_fsc(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw the correlation of map and model, and of half maps, against resolution, linear in 1/d²."""
    ax, shells = axes_or_new(ax), solution.fsc_shells
    assert shells is not None
    place = shells["d"].to_numpy() ** -2.0
    lines = {"fsc_end": ("map and model", BLUE, "o-"), "fsc_halves": ("half maps", VERMILLION, "s--")}
    for column, (label, colour, style) in lines.items():
        if np.isfinite(shells[column]).all():
            ax.plot(place, shells[column], style, color=colour, markersize=3, linewidth=1, label=label)
    ax.axhline(0.143, color="0.7", linewidth=0.8)
    ax.set_ylim(min(0, shells["fsc_end"].to_numpy().min()), 1.02)
    _ticks_in_angstroms(ax, float(place.min()), float(place.max()))
    tidy(ax, x="resolution, Å", y="FSC", title="FSC by resolution")
    ax.legend(fontsize=SMALL, frameon=False, loc="best")
    return ax


def _ticks_in_angstroms(ax: Axes, low: float, high: float) -> None:
    """Ticks at round spacings, evenly spread on the axis of 1/d²."""
    places = np.linspace(low, high, 5)[1:]
    d = np.round(places**-0.5, 1 if high < 1 else 2)
    ax.set_xlim(0, 1.03 * high)
    ax.set_xticks(d**-2.0, [f"{value:g}" for value in d])
