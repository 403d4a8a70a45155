"""Pictures and reports of refinements.

`plot_solution` puts everything about a solution on one page, `write_plot` writes it, or any figure, to a file and
`write_report` makes an HTML file with the tables. `plot_occupancies`, `plot_convergence`, `plot_minima`,
`plot_r_by_resolution` and `plot_correlation` draw one picture of what `refine` returned, on axes of yours or, without
`ax`, in a new figure, one column of a journal wide. `occupancy_pages` is for structures with more sets than a page
holds, `plot_series` and `write_series_report` are for a series of data sets.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; letters are 7 points or larger at the size
that the figures come in, 89 mm (one column of a journal) or 178 mm wide.
"""

from jax_occupancy.plotting._convergence import plot_convergence, plot_minima
from jax_occupancy.plotting._correlation import plot_correlation
from jax_occupancy.plotting._figure import Figure
from jax_occupancy.plotting._occupancies import occupancy_pages, plot_occupancies
from jax_occupancy.plotting._overview import plot_solution
from jax_occupancy.plotting._r_by_resolution import plot_r_by_resolution
from jax_occupancy.plotting._report import write_report
from jax_occupancy.plotting._series import plot_series
from jax_occupancy.plotting._series_report import write_series_report
from jax_occupancy.plotting._writing import write_plot

__all__ = [
    "Figure",
    "occupancy_pages",
    "plot_convergence",
    "plot_correlation",
    "plot_minima",
    "plot_occupancies",
    "plot_r_by_resolution",
    "plot_series",
    "plot_solution",
    "write_plot",
    "write_report",
    "write_series_report",
]
