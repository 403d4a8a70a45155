"""A report of a refinement: one HTML file with tables and pictures."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jax_occupancy import _tables as tables
from jax_occupancy import _words as words
from jax_occupancy._words import Solution
from jax_occupancy.io import Model
from jax_occupancy.plotting._correlation import plot_correlation
from jax_occupancy.plotting._figure import Figure
from jax_occupancy.plotting._occupancies import occupancy_pages
from jax_occupancy.plotting._overview import plot_fit
from jax_occupancy.plotting._page import account, bullets, pairs, paragraphs, picture, table, write_page

RESULTS = {"converged": "converged", "nothing_to_refine": "nothing to refine"}
OUTLIERS_SHOWN = 100


def write_report(
    path: str | os.PathLike[str],
    solution: Solution,
    model: Model | None = None,
    *,
    notes: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write what a refinement found as one HTML file: what needs attention, table, pictures, crystal, notes.

    It needs no other file, no network and no JavaScript, can be printed, and is either complete or not there.

    Args:
        model: that was refined, for a solution that was loaded from a file.
        notes: what was said besides; by default what is known of groups, data and model.
        about: more that is to stand beside the crystal, such as the command and the date.

    Example:
        >>> import pathlib, tempfile
        >>> from jax_occupancy import refine
        >>> from jax_occupancy.example import read_example
        >>> model, data = read_example()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report(f"{folder}/r.html", refine(model, data, starts=0), model, about={"date": "today"})
        ...     "Nothing needs attention" in pathlib.Path(folder, "r.html").read_text("utf-8")
        True
    """
    model = model or solution.model
    title = "Occupancies" if model is None else f"Occupancies of {model.path.name}"
    set_of_row = solution.table["set"].to_numpy()
    first_of_set = set(np.flatnonzero(np.diff(set_of_row, prepend=-1)).tolist())
    # Columns that say nothing take room away from those that do.
    columns = {name: cells for name, cells in tables.group_columns(solution).items() if any(cells)}
    if notes is None:
        notes = [*([] if model is None else words.model_notes(model)), *solution.data.notes, *words.notes(solution)]
    result = f"{RESULTS.get(solution.result, 'did not converge')}. {solution.message}"
    doubt, more = words.doubt(solution), account({"versions": words.versions(), **(about or {})})
    parts = [
        paragraphs([title], kind="h1"),
        pairs({"Result": result, **words.r_values(solution)}),
        paragraphs([] if doubt is None else [doubt]),
        paragraphs([tables.attention_title(solution)], kind="h2"),
        bullets([f"{groups}: {text}" if groups else text for text, groups in tables.attention(solution)]),
        paragraphs(["Occupancies"], kind="h2"),
        table(columns, starts=first_of_set),
        pairs(tables.legend(solution, columns.keys() - {"note"})),
        *_residues(solution),
        *_pictures(solution),
        paragraphs(["Crystal and refinement" if solution.fsc is None else "Map and refinement"], kind="h2"),
        pairs(_summary(solution, model) | more),
        *([table(tables.scale_columns(solution))] if solution.fsc is None else _shells(solution)),
        *(_outliers(solution) if solution.fsc is None else []),
        paragraphs(["Notes"], kind="h2"),
        bullets(dict.fromkeys(notes)),
    ]
    write_page(path, title, parts)


def _summary(solution: Solution, model: Model | None) -> dict[str, str]:
    data: Any = solution.data
    source = "" if data.path is None else f"{data.path.name}: "
    entries = {} if model is None else {"Model": f"{model.path.name}: {model.n_atoms} atoms"}
    entries["Data"] = f"{source}{words.data_words(data)}"
    if left_out := words.left_out_words(data):
        entries["Left out"] = left_out
    if solution.fsc is None:
        cell = " ".join(f"{value:g}" for value in data.cell.parameters)
        entries["Data"] += f"; {data.kind}"
        entries["Crystal"] = f"{data.spacegroup.xhm()}, cell {cell} (Å, °)"
        entries |= words.scale_words(solution)
    entries["Target"] = f"{' '.join(words.target_words(solution))} (both on the final scales)"
    if solution.sigma_a_source in ("free", "working"):
        entries["Sigma A"] = f"estimated from the {solution.sigma_a_source} set"
    entries["Moved with it"] = words.priors_sentence(solution)
    entries["Other starts"] = words.minima_sentence(solution)
    seconds = ", ".join(f"{stage.replace('_', ' ')} {value:.1f}" for stage, value in solution.seconds.items())
    entries["Time"] = f"{sum(solution.seconds.values()):.1f} s ({seconds})"
    return entries


def _pictures(solution: Solution) -> list[str]:
    pages, fit = occupancy_pages(solution), "R" if solution.fsc is None else "FSC"
    caption = "Refined occupancies (points) beside the start values, part {} of {}."
    parts = [picture(page, caption.format(i, len(pages))) for i, page in enumerate(pages, start=1)]
    parts.append(picture(plot_fit(solution), f"Convergence, and {fit} by resolution."))
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
    return [heading, table(tables.residue_columns(solution)), paragraphs([meaning])]


def _outliers(solution: Solution) -> list[str]:
    heading, n = paragraphs(["Outliers"], kind="h2"), len(solution.outliers)
    if not n:
        return [heading, paragraphs(["No reflection was left out as an outlier."])]
    shown = [heading, table(tables.outlier_columns(solution, most=OUTLIERS_SHOWN))]
    return shown if n <= OUTLIERS_SHOWN else [*shown, paragraphs([f"And {n - OUTLIERS_SHOWN} more."])]


def _shells(solution: Solution) -> list[str]:
    shells, heading = solution.fsc_shells, paragraphs(["Correlation by resolution"], kind="h2")
    assert shells is not None
    titles = {"fsc_halves": "half maps", "fsc_start": "map and model before", "fsc_end": "and after"}
    columns = {"d, Å": [f"{d:.2f}" for d in shells["d"]], "coefficients": [f"{n:.0f}" for n in shells["n"]]}
    columns |= {title: [f"{one:.3f}" for one in shells[name]] for name, title in titles.items()}
    return [heading, table(columns)]
