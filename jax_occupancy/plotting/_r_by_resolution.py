"""Agreement of model and data by resolution."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from jax_occupancy._words import Solution
from jax_occupancy.plotting._figure import BLUE, SMALL, VERMILLION, axes_or_new, tidy
from jax_occupancy.xray import r_factor

# Reflections in a shell: fewer in the free set make an R that jumps about.
FREE_IN_SHELL, WORK_IN_SHELL = 40, 200
MOST_SHELLS = 20


def r_by_resolution(
    d_spacing: Float[np.ndarray, " reflections"],
    observed: Float[np.ndarray, " reflections"],
    model_amplitude: Float[np.ndarray, " reflections"],
    free: Bool[np.ndarray, " reflections"],
    *,
    n_shells: int | None = None,
) -> pd.DataFrame:
    """R = Σ|F_obs − |F_model|| / ΣF_obs in shells of resolution with equal numbers of reflections.

    Args:
        d_spacing: resolution of each reflection, in Å.
        model_amplitude: amplitudes of the model on the same scale.
        n_shells: number of shells; by default as many, up to 20, as leave each with 40 free reflections, or 200
            where there is no free set.

    Returns:
        One row per shell, low resolution first: d_max and d_min (Å) of its reflections, n_work, n_free, r_work and
        r_free, NaN where there are none.

    Raises:
        ValueError: `n_shells` is not positive.

    Example:
        >>> import numpy as np
        >>> d, free = np.array([4.0, 3.0, 2.0, 1.0]), np.array([False, False, False, True])
        >>> table = r_by_resolution(d, np.full(4, 10.0), np.array([9.0, 12.0, 10.0, 6.0]), free, n_shells=2)
        >>> table["r_work"].tolist(), table["r_free"].tolist()
        ([0.15, 0.0], [nan, 0.4])
    """
    if n_shells is None:
        per_free = int(free.sum()) // FREE_IN_SHELL if free.any() else len(free) // WORK_IN_SHELL
        n_shells = int(np.clip(per_free, 1, MOST_SHELLS))
    if n_shells < 1:
        raise ValueError(f"n_shells: got {n_shells}, wanted a positive number")
    rows = []
    for shell in np.array_split(np.argsort(-d_spacing, kind="stable"), min(n_shells, len(d_spacing))):
        r_work, r_free = r_factor(observed[shell], model_amplitude[shell], free[shell])
        n_free = int(free[shell].sum())
        rows.append((d_spacing[shell[0]], d_spacing[shell[-1]], len(shell) - n_free, n_free, r_work, r_free))
    return pd.DataFrame(rows, columns=pd.Index(["d_max", "d_min", "n_work", "n_free", "r_work", "r_free"]))


def plot_r_by_resolution(solution: Solution, ax: Axes | None = None, *, n_shells: int | None = None) -> Axes:
    """Draw R-work and R-free against resolution, linear in 1/d² and labelled in Å; shells as in `r_by_resolution`."""
    ax = axes_or_new(ax)
    data = solution.data
    observed, model = np.asarray(data.amplitude), np.abs(solution.f_model).astype(np.float64)
    table = r_by_resolution(data.d_spacing(), observed, model, data.free, n_shells=n_shells)
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
