"""A report of a refinement: one HTML file with tables and pictures."""

import os

import numpy as np

import jax_occupancy
from jax_occupancy.io import Model, atomic_writer
from jax_occupancy.plotting._convergence import TARGETS, minima_sentence
from jax_occupancy.plotting._correlation import plot_correlation
from jax_occupancy.plotting._figure import Figure
from jax_occupancy.plotting._html import page, pairs, paragraphs, picture
from jax_occupancy.plotting._occupancies import occupancy_pages
from jax_occupancy.plotting._overview import plot_solution, shows_every_set
from jax_occupancy.plotting._tables import group_table, outlier_table, residue_table
from jax_occupancy.refinement import Solution

RESULTS = {
    "converged": "converged",
    "max_cycles": "did not converge",
    "nothing_to_refine": "nothing to refine",
}
EXPLANATION = (
    "Occupancy: 0.57(4) has a standard uncertainty of 0.04, B factors and positions marginalised; on a bound the "
    "one-sided 95 % limit stands in parentheses. Held: the standard uncertainty with B factors and positions held. "
    "LLG: log-likelihood gained over an occupancy of zero (absent), of one (full), and over residues of the set that "
    "go their own way (unlinked)."
)


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
    parts = [
        paragraphs([title], kind="h1"),
        pairs(_summary(solution, model)),
        paragraphs([*solution.grouping.warnings, *solution.data.notes]),
        *_pictures(solution),
        paragraphs(["Occupancies"], kind="h2"),
        group_table(solution),
        paragraphs([EXPLANATION]),
        *_tables(solution),
    ]
    content = page(title, parts).encode("utf-8", "backslashreplace")
    with atomic_writer(path) as handle:
        handle.write(content)


def _summary(solution: Solution, model: Model | None) -> dict[str, str]:
    data, (name, digits) = solution.data, TARGETS[solution.target_name]
    low, high = data.resolution
    source = "" if data.path is None else f"{data.path.name}: "
    cell = " ".join(f"{value:g}" for value in data.cell.parameters)
    entries = {"Result": f"{RESULTS[solution.result]}. {solution.message}"}
    if model is not None:
        entries["Model"] = f"{model.path.name}: {model.n_atoms} atoms"
    entries["Data"] = (
        f"{source}{data.n_reflections} reflections, {low:.2f}-{high:.2f} Å, {data.n_free} free; {data.kind}"
    )
    left_out = ", ".join(f"{count} {reason}" for reason, count in data.left_out.items() if count)
    if left_out:
        entries["Left out"] = left_out
    entries["Crystal"] = f"{data.spacegroup.xhm()}, cell {cell} (Å, °)"
    for label, values in (("R-work", solution.r_work), ("R-free", solution.r_free)):
        if np.isfinite(values.end):
            entries[label] = f"{values.start:.4f} → {values.end:.4f}"
    start, end = (f"{value:.{digits}f}" for value in (solution.target.start, solution.target.end))
    entries["Target"] = f"{name} {start} → {end} (both on the final scales)"
    if solution.sigma_a_source is not None:
        entries["Sigma A"] = f"estimated from the {solution.sigma_a_source} set"
    entries["Other starts"] = minima_sentence(solution)
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


def _tables(solution: Solution) -> list[str]:
    parts = []
    if not solution.residues.empty:
        parts += [paragraphs(["Residues of linked groups"], kind="h2"), residue_table(solution)]
        parts.append(paragraphs(["The occupancy that each residue would have alone, and what that would gain."]))
    parts.append(paragraphs(["Outliers"], kind="h2"))
    if solution.outliers.empty:
        parts.append(paragraphs(["No reflection was left out as an outlier."]))
    else:
        parts += outlier_table(solution)
    return parts
