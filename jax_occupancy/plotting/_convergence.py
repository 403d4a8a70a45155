"""How a refinement came to rest, and where other starts ended."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jax_occupancy._words import Solution, minima_sentence, target_words
from jax_occupancy.plotting._figure import BLUE, SMALL, VERMILLION, axes_or_new, say_only, tidy


def plot_convergence(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw, for each cycle, by how much the target fell and how far the occupancies moved.

    Scales and σ_A are fitted anew in every cycle, so the values of the target in two cycles can't be compared: only
    the fall within each can. The title says what the target was at the start and the end, both on the final scales.
    """
    ax = axes_or_new(ax)
    history = solution.history
    if history.empty:
        say_only(ax, "No occupancy is refinable.")
        return ax
    cycle = np.arange(1, len(history) + 1)
    fall = (history["start"] - history["end"]).to_numpy(float)
    moved = history["max_shift"].to_numpy(float)
    for values, marker, line, colour, label in (
        (fall, "o", "-", BLUE, "fall of the target"),
        (moved, "s", "--", VERMILLION, "largest change of q"),
    ):
        # Zero has no place on a logarithmic axis.
        values = np.where(values > 0, values, np.nan)
        ax.plot(cycle, values, marker=marker, linestyle=line, color=colour, markersize=3.5, linewidth=1, label=label)
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.25)  # room for the legend above what falls from the left
    ax.set_xlim(0.7, len(history) + 0.3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    tidy(ax, x="cycle", y="in the cycle", title="Convergence")
    ax.legend(fontsize=SMALL, frameon=False, loc="upper right", borderpad=0)
    ax.set_xlabel(f"cycle\n{' '.join(target_words(solution))}", fontsize=SMALL)
    return ax


def plot_minima(solution: Solution, ax: Axes | None = None) -> Axes:
    """Draw the distinct minima: how far from the lowest one, how much higher, and how many starts ended there."""
    ax = axes_or_new(ax)
    if len(solution.minima) < 2:
        say_only(ax, minima_sentence(solution))
        return ax
    name, _ = target_words(solution)
    lowest = solution.minima[0].target
    away = [minimum.max_shift for minimum in solution.minima]
    above = [minimum.target - lowest for minimum in solution.minima]
    ax.plot(away, above, "o", color=BLUE, markersize=4, clip_on=False)
    for x, y, minimum in zip(away, above, solution.minima, strict=True):
        ax.annotate(f"{minimum.count} times", (x, y), (4, 3), textcoords="offset points", fontsize=SMALL)
    ax.set_xlim(0, 1.15 * max(*away, 0.01))
    ax.set_ylim(0, 1.15 * max(above) or 1)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=True)
    ax.yaxis.get_offset_text().set_fontsize(SMALL)
    tidy(ax, x="largest difference of an occupancy", y=f"{name}\nabove the lowest", title="Distinct minima")
    return ax
