"""Writing columns of reflections, for example map coefficients, to an MTZ file."""

import os
from collections.abc import Mapping
from typing import Any

import gemmi
import numpy as np
from jaxtyping import Int

from jax_occupancy.io._atomic import atomic_writer

_TYPES = "HJFDQGLKMEPWAIRBYU"


def write_mtz(
    path: str | os.PathLike[str],
    *,
    hkl: Int[np.ndarray, "reflections 3"],
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
    columns: Mapping[str, tuple[str, Any]],
    title: str = "",
    wavelength: float | None = None,
) -> None:
    """Write columns to an MTZ file, which appears complete or not at all.

    Args:
        path: The file; an existing one is replaced.
        hkl: Miller indices, written in this order.
        cell: The unit cell.
        spacegroup: The space group.
        columns: Label to type letter and values: F amplitude, J intensity, Q σ, P phase in degrees, W figure of merit,
            I integer, R real, ... NaN is written as missing; the format stores float32.
        title: One line of at most 70 characters; a longer one is cut.
        wavelength: In Å, if it is known.

    Raises:
        ValueError: If there is no column or reflection, a length or type is wrong, a label repeats or does not fit, or
            a value is infinite.
        OSError: If the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "maps.mtz")
        ...     write_mtz(
        ...         path,
        ...         hkl=np.array([[1, 0, 0], [0, 0, 2]]),
        ...         cell=gemmi.UnitCell(10, 20, 30, 90, 90, 90),
        ...         spacegroup=gemmi.SpaceGroup("P 2 2 2"),
        ...         columns={"FWT": ("F", [10.0, 20.0]), "PHWT": ("P", [0.0, 180.0])},
        ...     )
        ...     gemmi.read_mtz_file(str(path)).column_labels()
        ['H', 'K', 'L', 'FWT', 'PHWT']
    """
    hkl = np.asarray(hkl)
    if hkl.ndim != 2 or hkl.shape[1] != 3 or not len(hkl):
        raise ValueError(f"hkl has shape {hkl.shape}; wanted (reflections, 3) with at least one reflection")
    if not columns:
        raise ValueError("no columns: give at least one, for example {'FWT': ('F', values)}")
    values = [_checked(label, kind, values, len(hkl)) for label, (kind, values) in columns.items()]
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = title[:70]
    mtz.history = ["written by jax_occupancy"]
    mtz.spacegroup = spacegroup
    dataset = mtz.add_dataset("jax_occupancy")
    mtz.set_cell_for_all(cell)
    if wavelength is not None:
        dataset.wavelength = wavelength
    for label, (kind, _) in columns.items():
        mtz.add_column(label, kind)
    mtz.set_data(np.column_stack([hkl, *values]).astype(np.float32))
    mtz.update_reso()
    content = mtz.write_to_bytes()
    with atomic_writer(path) as handle:
        handle.write(content)


def _checked(label: str, kind: str, values: Any, n_rows: int) -> np.ndarray:
    """The values of a column, if it can be written."""
    if not label or len(label) > 30 or not label.isascii() or label.split() != [label] or label in ("H", "K", "L"):
        raise ValueError(f"column {label!r}: a label has 1 to 30 ASCII characters, no blanks, and is not H, K or L")
    if len(kind) != 1 or kind not in _TYPES:
        raise ValueError(f"column {label} has type {kind!r}; wanted one letter of {_TYPES}")
    array = np.asarray(values, np.float64)
    if array.shape != (n_rows,):
        raise ValueError(f"column {label} has shape {array.shape}; wanted ({n_rows},), one value for each hkl")
    # what float32 cannot hold comes out infinite
    infinite = np.isinf(array) | (np.abs(array) > np.finfo(np.float32).max)
    if infinite.any():
        raise ValueError(f"column {label} is infinite in {infinite.sum()} rows, first {np.flatnonzero(infinite)[:5]}")
    return array
