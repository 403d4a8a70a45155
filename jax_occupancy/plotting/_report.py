"""A report of a refinement: one HTML file with tables and pictures."""

import os

import numpy as np

import jax_occupancy
from jax_occupancy import _words as words
from jax_occupancy._words import Solution
from jax_occupancy.io import Model, atomic_writer
from jax_occupancy.plotting._correlation import plot_correlation
from jax_occupancy.plotting._figure import Figure
from jax_occupancy.plotting._html import page, pairs, paragraphs, picture, table
from jax_occupancy.plotting._occupancies import occupancy_pages
from jax_occupancy.plotting._overview import plot_solution, shows_every_set

RESULTS = {"converged": "converged", "nothing_to_refine": "nothing to refine"}
OUTLIERS_SHOWN = 100


def write_report(path: str | os.PathLike[str], solution: Solution, model: Model | None = None) -> None:
    """Write what a refinement found as one HTML file.

    It needs no other file, no network and no JavaScript, can be printed, and is either complete or not there.

    Args:
        path: the file, such as "report.html".
        solution: what `refine` returned.
        model: the model that was refined; it adds its name and size.

    Raises:
        OSError: the file can't be written.

    Example:
        ```python
        model = read_model("model.pdb")
        write_report("report.html", refine(model, "data.mtz"), model)
        ```
    """
    title = "Occupancies" if model is None else f"Occupancies of {model.path.name}"
    set_of_row = solution.table["set"].to_numpy()
    first_of_set = set(np.flatnonzero(np.diff(set_of_row, prepend=-1)).tolist())
    # Columns that say nothing take room away from those that do.
    columns = {name: cells for name, cells in words.group_columns(solution).items() if any(cells)}
    parts = [
        paragraphs([title], kind="h1"),
        pairs(_summary(solution, model)),
        paragraphs([*solution.grouping.warnings, *solution.data.notes, *filter(None, [words.doubt(solution)])]),
        *_pictures(solution),
        paragraphs(["Occupancies"], kind="h2"),
        table(columns, starts=first_of_set),
        paragraphs([words.EXPLANATION]),
        *_residues(solution),
        *_outliers(solution),
    ]
    content = page(title, parts).encode("utf-8", "backslashreplace")
    with atomic_writer(path) as handle:
        handle.write(content)


def _summary(solution: Solution, model: Model | None) -> dict[str, str]:
    data = solution.data
    source = "" if data.path is None else f"{data.path.name}: "
    cell = " ".join(f"{value:g}" for value in data.cell.parameters)
    entries = {"Result": f"{RESULTS.get(solution.result, 'did not converge')}. {solution.message}"}
    if model is not None:
        entries["Model"] = f"{model.path.name}: {model.n_atoms} atoms"
    entries["Data"] = f"{source}{words.data_words(data)}; {data.kind}"
    if left_out := words.left_out_words(data):
        entries["Left out"] = left_out
    entries["Crystal"] = f"{data.spacegroup.xhm()}, cell {cell} (Å, °)"
    entries |= words.r_values(solution)
    entries["Target"] = f"{' '.join(words.target_words(solution))} (both on the final scales)"
    if solution.sigma_a_source is not None:
        entries["Sigma A"] = f"estimated from the {solution.sigma_a_source} set"
    entries["Moved with it"] = words.priors_sentence(solution)
    entries["Other starts"] = words.minima_sentence(solution)
    seconds = ", ".join(f"{stage.replace('_', ' ')} {value:.1f}" for stage, value in solution.seconds.items())
    entries["Time"] = f"{sum(solution.seconds.values()):.1f} s ({seconds})"
    entries["Program"] = f"jax_occupancy {jax_occupancy.__version__}"
    return entries


def _pictures(solution: Solution) -> list[str]:
    caption = "Convergence, R by resolution, correlations; refined occupancies (points) beside the start values."
    parts = [picture(plot_solution(solution), caption)]
    if not shows_every_set(solution):
        pages = occupancy_pages(solution)
        parts += [picture(one, f"All occupancies, part {i} of {len(pages)}.") for i, one in enumerate(pages, 1)]
    if len(solution.correlation) > 1:
        matrix = plot_correlation(solution).get_figure(root=True)
        assert isinstance(matrix, Figure)
        parts.append(picture(matrix, "Correlation matrix of the refined occupancies."))
    return parts


def _residues(solution: Solution) -> list[str]:
    if solution.residues.empty:
        return []
    meaning = "The occupancy that each residue would have alone, and what that would gain."
    heading = paragraphs(["Residues of linked groups"], kind="h2")
    return [heading, table(words.residue_columns(solution)), paragraphs([meaning])]


def _outliers(solution: Solution) -> list[str]:
    heading, n = paragraphs(["Outliers"], kind="h2"), len(solution.outliers)
    if not n:
        return [heading, paragraphs(["No reflection was left out as an outlier."])]
    shown = [heading, table(words.outlier_columns(solution, most=OUTLIERS_SHOWN))]
    return shown if n <= OUTLIERS_SHOWN else [*shown, paragraphs([f"And {n - OUTLIERS_SHOWN} more."])]
