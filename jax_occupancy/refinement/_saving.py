"""Saving a solution or a series and loading it again, whole."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.io import read_archive, write_archive
from jax_occupancy.io._saving import put_together, take_apart
from jax_occupancy.refinement._packing import pack, pack_fields, unpack, unpack_fields
from jax_occupancy.refinement._series_solution import SeriesSolution
from jax_occupancy.refinement._solution import Solution

_TENSOR = "tensor."


def save_solution(path: str | os.PathLike[str], solution: Solution) -> None:
    """Save a solution in one file.

    All of it is kept, also the reflections, the structure factors of the refined model and the groups with their
    reasons, so that tables, plots, reports and `Solution.write` need no refinement any more. The model itself is not
    in it: keep its file. Nothing is pickled: the file is a zip archive of numpy arrays with a header in JSON (format
    version, library version, digest of the topology), which `numpy.load` opens as well; the extension .npz fits. It
    appears under its name only when it is complete.

    Args:
        path: the file to write; an existing one is replaced.
        solution: what `refine` returned.

    Raises:
        TypeError: an attribute was replaced by something that can't be saved.
        FileNotFoundError: the folder of `path` does not exist.
        IsADirectoryError: `path` is a folder.

    Example:
        ```python
        save_solution("refined.npz", refine("model.pdb", "data.mtz"))
        load_solution("refined.npz").write(read_model("model.pdb"), "refined.cif")
        ```
    """
    arrays: dict[str, np.ndarray] = {}
    write_archive(path, "solution", _take_apart(solution, "", arrays), arrays)


def load_solution(path: str | os.PathLike[str], like: OccupancyTensor | None = None, *, dtype: Any = None) -> Solution:
    """Load a solution that `save_solution` saved.

    Args:
        path: the file.
        like: a tensor whose topology (atoms, groups, sets, mask, names) the solution must have, to be sure that it
            belongs to a model: `group_model(model).to_tensor(occupancies)`.
        dtype: float type of the tensor's logits; by default the saved one. All else is as it was.

    Returns:
        A solution equal to the saved one in every number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, none of ours, of another format, or has another topology than `like` (the
            message says what differs); or it holds float64 and JAX is in 32-bit mode.
        TypeError: `dtype` is not float32 or float64.

    Example:
        ```python
        load_solution("refined.npz").table
        ```
    """
    header, arrays = read_archive(path, "solution")
    return _put_together(path, header, "", arrays, like=like, dtype=dtype)


def save_series(path: str | os.PathLike[str], series: SeriesSolution) -> None:
    """Save a series in one file: the solutions of all its data sets, and why others failed; as `save_solution`.

    Args:
        path: the file to write; an existing one is replaced.
        series: what `refine_series` returned.

    Raises:
        TypeError: an attribute of a solution, or the name of a data set, was replaced by something that can't be saved.
        FileNotFoundError: the folder of `path` does not exist.
        IsADirectoryError: `path` is a folder.

    Example:
        ```python
        save_series("titration.npz", refine_series("model.pdb", ["a.mtz", "b.mtz"], names=[0.1, 1.0]))
        load_series("titration.npz").plot()
        ```
    """
    arrays: dict[str, np.ndarray] = {}
    packed = [_take_apart(one, f"{number}.", arrays) for number, one in enumerate(series.solutions.values())]
    names, failed = list(series.solutions), list(series.failed.items())
    header = {"names": pack(names, "names", arrays), "failed": pack(failed, "failed", arrays), "solutions": packed}
    write_archive(path, "series", header, arrays)


def load_series(
    path: str | os.PathLike[str], like: OccupancyTensor | None = None, *, dtype: Any = None
) -> SeriesSolution:
    """Load a series that `save_series` saved.

    Args:
        path: the file.
        like: a tensor whose topology the solutions must have; as in `load_solution`.
        dtype: float type of the tensors' logits; by default the saved one.

    Returns:
        A series equal to the saved one in every number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `load_solution`.
        TypeError: `dtype` is not float32 or float64.

    Example:
        ```python
        load_series("titration.npz").table
        ```
    """
    header, arrays = read_archive(path, "series")
    solutions = [
        _put_together(path, packed, f"{number}.", arrays, like=like, dtype=dtype)
        for number, packed in enumerate(header["solutions"])
    ]
    names, failed = unpack(header["names"], arrays), unpack(header["failed"], arrays)
    return SeriesSolution.from_solutions(dict(zip(names, solutions, strict=True)), dict(failed))


def _take_apart(solution: Solution, prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What JSON can say of a solution; its arrays get names that begin with the prefix."""
    header, parts = take_apart(solution.tensor)
    arrays |= {f"{prefix}{_TENSOR}{name}": array for name, array in parts.items()}
    return {"tensor": header, "solution": pack_fields(solution, f"{prefix}solution", arrays, but="tensor")}


def _put_together(
    path: Any, header: Mapping[str, Any], prefix: str, arrays: Mapping[str, np.ndarray], *, like: Any, dtype: Any
) -> Solution:
    """The solution that `_take_apart` took apart."""
    start = prefix + _TENSOR
    parts = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    tensor = put_together(path, header["tensor"], parts, like=like, dtype=dtype)
    try:
        return unpack_fields(Solution, header["solution"], arrays, tensor=tensor)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} was saved by another version of jax_occupancy ({error}); load it with that one or refine once more"
        ) from error
