"""Saving a solution or a series and loading it again, whole."""

import os
from dataclasses import replace
from typing import Any

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.io import read_archive, write_archive
from jax_occupancy.refinement._series_solution import SeriesSolution
from jax_occupancy.refinement._solution import Solution


def save_solution(path: str | os.PathLike[str], solution: Solution) -> None:
    """Save a solution in one file, as `save_tensor` does: whole, for tables, plots, reports and `Solution.write`.

    The model is not in it: keep its file. `like=group_model(model).to_tensor(occupancies)` makes sure, on loading,
    that both belong together.
    """
    write_archive(path, "solution", replace(solution, model=None))


def load_solution(path: str | os.PathLike[str], like: OccupancyTensor | None = None, *, dtype: Any = None) -> Solution:
    """Load a solution that `save_solution` saved; arguments and errors are those of `load_tensor`."""
    return read_archive(path, "solution", Solution, like=like, dtype=dtype)


def save_series(path: str | os.PathLike[str], series: SeriesSolution) -> None:
    """Save a series in one file: the solutions of all its data sets, and why others failed; as `save_tensor`."""
    solutions = {name: replace(solution, model=None) for name, solution in series.solutions.items()}
    write_archive(path, "series", replace(series, solutions=solutions))


def load_series(
    path: str | os.PathLike[str], like: OccupancyTensor | None = None, *, dtype: Any = None
) -> SeriesSolution:
    """Load a series that `save_series` saved; arguments and errors are those of `load_tensor`."""
    return read_archive(path, "series", SeriesSolution, like=like, dtype=dtype)
