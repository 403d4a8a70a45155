"""The MTZ format, in which every reader keeps reflections until columns are chosen: reading, making, writing."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from jaxtyping import Int

from jax_occupancy.io._files import PathLike, atomic_writer, is_gzipped

_TYPES = "HJFDQGLKMEPWAIRBYU"


def read_mtz(path: PathLike, source: bytes) -> gemmi.Mtz:
    """Read an MTZ file, whose decompressed bytes are `source`."""
    if b"END     " not in source and b"MTZENDOFHEADERS" not in source:
        # gemmi would read on and take what is lost for unset
        raise ValueError(f"{path} is a truncated MTZ file: its header has no END; copy it again")
    try:
        if not is_gzipped(path):
            return gemmi.read_mtz_file(os.fspath(path))
        # gemmi goes by the name of the file and has no reader of bytes
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "data.mtz")
            copy.write_bytes(source)
            return gemmi.read_mtz_file(str(copy))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} is a damaged MTZ file ({error}); copy it again") from error


def make_mtz(
    hkl: np.ndarray,
    columns: Mapping[str, tuple[str, np.ndarray]],
    *,
    cell: gemmi.UnitCell | None,
    spacegroup: gemmi.SpaceGroup | None,
    wavelength: float | None,
) -> gemmi.Mtz:
    """Make an MTZ object of one data set from columns {label: (type, values)}."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = spacegroup
    dataset = mtz.add_dataset("jax_occupancy")
    if cell is not None:
        mtz.set_cell_for_all(cell)
    if wavelength is not None:
        dataset.wavelength = wavelength
    for label, (kind, _) in columns.items():
        mtz.add_column(label, kind)
    with np.errstate(over="ignore"):
        mtz.set_data(np.column_stack([hkl, *(values for _, values in columns.values())]).astype(np.float32))
    return mtz


def write_mtz(
    path: PathLike,
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
        hkl: Miller indices, written in this order.
        columns: Label to type letter and values: F amplitude, J intensity, Q σ, P phase in degrees, W figure of merit,
            I integer, R real, ... NaN is written as missing; the format stores float32.
        title: One line, cut at 70 characters.
        wavelength: In Å, if it is known.

    Raises:
        ValueError: If there is no column or reflection, a length or type is wrong, a label repeats or does not fit, or
            a value is infinite.

    Example:
        >>> import tempfile
        >>> crystal = {"cell": gemmi.UnitCell(10, 20, 30, 90, 90, 90), "spacegroup": gemmi.SpaceGroup("P 2 2 2")}
        >>> columns = {"FWT": ("F", [10.0, 20.0]), "PHWT": ("P", [0.0, 180.0])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_mtz(f"{folder}/maps.mtz", hkl=np.array([[1, 0, 0], [0, 0, 2]]), columns=columns, **crystal)
        ...     gemmi.read_mtz_file(f"{folder}/maps.mtz").column_labels()
        ['H', 'K', 'L', 'FWT', 'PHWT']
    """
    hkl = np.asarray(hkl)
    if hkl.ndim != 2 or hkl.shape[1] != 3 or not len(hkl):
        raise ValueError(f"hkl has shape {hkl.shape}; wanted (reflections, 3) with at least one reflection")
    if not columns:
        raise ValueError("no columns: give at least one, for example {'FWT': ('F', values)}")
    checked = {label: (kind, _checked(label, kind, values, len(hkl))) for label, (kind, values) in columns.items()}
    mtz = make_mtz(hkl, checked, cell=cell, spacegroup=spacegroup, wavelength=wavelength)
    mtz.title = title[:70]
    mtz.history = ["written by jax_occupancy"]
    mtz.update_reso()
    content = mtz.write_to_bytes()
    with atomic_writer(path) as handle:
        handle.write(content)


def _checked(label: str, kind: str, values: Any, n_rows: int) -> np.ndarray:
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
