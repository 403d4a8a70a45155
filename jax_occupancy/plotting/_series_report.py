"""A report of a series of refinements: one HTML file with tables and pictures."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from jax_occupancy import _tables as tables
from jax_occupancy import _words as words
from jax_occupancy._words import SeriesSolution
from jax_occupancy.io import Model
from jax_occupancy.plotting._page import account, bullets, pairs, paragraphs, picture, table, write_page
from jax_occupancy.plotting._series import series_pages


def write_series_report(
    path: str | os.PathLike[str],
    series: SeriesSolution,
    model: Model | None = None,
    *,
    notes: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write what a series found as one HTML file: occupancies by data set, pictures, data sets, notes, all numbers.

    Otherwise as `write_report`.

    Args:
        model: that was refined; by default that of the first solution.
        notes: what was said besides; by default what is known of model, groups and data sets.
        about: more that is to be told, such as the command and the date.

    Raises:
        ValueError: not one data set could be refined.

    Example:
        >>> import pathlib, tempfile
        >>> from jax_occupancy import refine_series
        >>> from jax_occupancy.example import read_example
        >>> model, data = read_example()
        >>> series = refine_series(model, [data, data], names=[0, 10], starts=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_series_report(f"{folder}/series.html", series, model)
        ...     "<h2>Data sets</h2>" in pathlib.Path(folder, "series.html").read_text("utf-8")
        True
    """
    if not series.solutions:
        raise ValueError(f"none of {len(series.failed)} data sets could be refined; there is nothing to report")
    model = model or next(iter(series.solutions.values())).model
    title = "Occupancies" if model is None else f"Occupancies of {model.path.name}"
    n, n_failed = len(series.solutions), len(series.failed)
    said = f"{n} data set{'s' * (n != 1)}" + (f"; {n_failed} more could not be refined" if n_failed else "")
    if notes is None:
        notes = [*([] if model is None else words.model_notes(model)), *tables.failed_datasets(series)]
        notes += tables.dataset_notes(series)
    columns = tables.series_columns(series)
    parts = [
        paragraphs([title], kind="h1"),
        paragraphs([f"{said}."]),
        paragraphs(["Occupancies"], kind="h2"),
        table(tables.occupancy_matrix(series)),
        paragraphs([tables.SERIES_LEGEND.partition(";")[0]]),
        bullets(tables.series_notes(series)),
        *(
            picture(page, "Occupancies against data sets, with standard uncertainties.")
            for page in series_pages(series.table)
        ),
        paragraphs(["Data sets"], kind="h2"),
        table(tables.dataset_columns(series)),
        paragraphs(["Notes"], kind="h2"),
        bullets(dict.fromkeys(notes)),
        paragraphs(["All numbers"], kind="h2"),
        table(columns, starts={i for i, name in enumerate(columns["data set"]) if name}),
        paragraphs([tables.SERIES_LEGEND]),
        pairs(account({"versions": words.versions(), **(about or {})})),
    ]
    write_page(path, title, parts)
