"""Saving a solution and loading it again, whole."""

import os
from typing import Any

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.io import read_archive, write_archive
from jax_occupancy.io._saving import put_together, take_apart
from jax_occupancy.refinement._packing import pack_fields, unpack_fields
from jax_occupancy.refinement._solution import Solution

_KIND = "solution"
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
    header, parts = take_apart(solution.tensor)
    arrays = {_TENSOR + name: array for name, array in parts.items()}
    packed = pack_fields(solution, "solution", arrays, but="tensor")
    write_archive(path, _KIND, {"tensor": header, "solution": packed}, arrays)


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
    header, arrays = read_archive(path, _KIND)
    parts = {name.removeprefix(_TENSOR): array for name, array in arrays.items() if name.startswith(_TENSOR)}
    tensor = put_together(path, header["tensor"], parts, like=like, dtype=dtype)
    try:
        return unpack_fields(Solution, header["solution"], arrays, tensor=tensor)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} was saved by another version of jax_occupancy ({error}); load it with that one or refine once more"
        ) from error
