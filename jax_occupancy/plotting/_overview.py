"""Everything about a solution on one page."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes

from jax_occupancy._words import Solution, minima_sentence, r_values
from jax_occupancy.plotting._convergence import plot_convergence, plot_minima
from jax_occupancy.plotting._correlation import plot_correlation
from jax_occupancy.plotting._figure import NORMAL, PAGE, PAGE_HEIGHT, SMALL, Figure
from jax_occupancy.plotting._occupancies import AROUND, LINE, SetRow, balanced, draw_columns, n_lines_of
from jax_occupancy.plotting._r_by_resolution import plot_fsc, plot_r_by_resolution

# Height of a row of small pictures, in inches.
PANEL = 2.5
# From this many groups on there are two columns.
MANY = 12


def plot_solution(solution: Solution) -> Figure:
    """Draw everything about a solution on one page, 178 mm wide.

    Above: convergence, R by resolution, correlations and, if there is more than one, the distinct minima. Below: the
    occupancies (see `plot_occupancies`), as many sets as the page holds; `occupancy_pages` draws all.

    Example:
        >>> from jax_occupancy import refine
        >>> from jax_occupancy.example import read_example
        >>> solution = refine(*read_example(), starts=0)
        >>> plot_solution(solution).to_bytes("png")[1:4]
        b'PNG'
    """
    panels = _panels(solution)
    n_rows, _ = _arranged(panels)
    above = PANEL * n_rows
    columns = _columns(solution)
    below = AROUND + LINE * n_lines_of(columns) if columns else 0.3
    figure = Figure(figsize=(PAGE, above + below))
    figure.suptitle(_title(solution), fontsize=NORMAL, x=0.01, ha="left")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[above, below])[:, 0]
    _draw_panels(top, solution, panels)
    if columns:
        draw_columns(bottom, solution, columns)
    if not shows_every_set(solution):
        n_sets, n_drawn = len(solution.grouping.sets), sum(map(len, columns))
        bottom.suptitle(f"The first {n_drawn} of {n_sets} sets.", fontsize=SMALL, x=0.01, ha="left")
    return figure


def plot_fit(solution: Solution) -> Figure:
    """Draw convergence, R by resolution and, if there is more than one, the distinct minima; 178 mm wide."""
    panels = [plot for plot in _panels(solution) if plot is not plot_correlation]
    figure = Figure(figsize=(PAGE, PANEL))
    _draw_panels(figure, solution, panels)
    return figure


def shows_every_set(solution: Solution) -> bool:
    """Whether the page holds the occupancies of all sets."""
    return sum(map(len, _columns(solution))) == len(solution.grouping.sets)


def _columns(solution: Solution) -> list[list[SetRow]]:
    """The rows of the page, in one column or two."""
    n_columns = 2 if len(solution.table) >= MANY else 1
    most = (PAGE_HEIGHT - PANEL * _arranged(_panels(solution))[0] - AROUND) / LINE
    numbers = range(len(solution.grouping.sets))
    return balanced(solution.grouping, numbers, n_columns=n_columns, most=most)[:n_columns]


def _arranged(panels: list[Callable[..., Axes]]) -> tuple[int, int]:
    """Rows of the small pictures, and how many are in each."""
    return (1, len(panels)) if len(panels) <= 3 else (2, 2)


def _draw_panels(figure: Any, solution: Solution, panels: list[Callable[..., Axes]]) -> None:
    for ax, plot in zip(figure.subplots(*_arranged(panels)).flat, panels, strict=True):
        plot(solution, ax)


def _panels(solution: Solution) -> list[Callable[..., Axes]]:
    panels: list[Callable[..., Axes]] = [plot_convergence, plot_r_by_resolution if solution.fsc is None else plot_fsc]
    if len(solution.correlation) > 1:
        panels.append(plot_correlation)
    if len(solution.minima) > 1:
        panels.append(plot_minima)
    return panels


def _title(solution: Solution) -> str:
    name = "" if solution.data.path is None else f"{solution.data.path.name}: "
    values = ", ".join(f"{label} {value}" for label, value in r_values(solution).items())
    return f"{name}{values}".replace("$", r"\$") + "\n" + minima_sentence(solution)
