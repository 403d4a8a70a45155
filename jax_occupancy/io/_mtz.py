"""The MTZ format: opening a file and listing its columns."""

import os
import tempfile
from pathlib import Path

import gemmi
import numpy as np

from jax_occupancy.io._reflection_table import (
    Column,
    Crystal,
    ReflectionTable,
    checked_cell,
    checked_spacegroup,
    stated_wavelength,
)
from jax_occupancy.io._source import GZIP_MAGIC


def mtz_table(
    path: str | os.PathLike[str],
    source: bytes,
    *,
    cell: gemmi.UnitCell | None = None,
    spacegroup: gemmi.SpaceGroup | None = None,
) -> ReflectionTable:
    """The columns of an MTZ file.

    Args:
        path: The file.
        source: Its bytes, decompressed.
        cell: For a file that states none.
        spacegroup: For a file that states none.

    Returns:
        The table; values are read when they are asked for.

    Raises:
        ValueError: If the file is damaged, unmerged or empty, or lacks H, K, L, a cell or a space group.
    """
    mtz = _open(path, source)
    group = checked_spacegroup(mtz.spacegroup, spacegroup, stated=mtz.spacegroup_name, where=path)
    if mtz.batches:
        raise ValueError(f"{path} holds unmerged data; scale and merge them first (aimless, xia2, autoPROC)")
    if mtz.nreflections == 0:
        raise ValueError(f"{path} holds no reflections")
    if [column.label for column in mtz.columns[:3]] != ["H", "K", "L"]:
        raise ValueError(f"{path} does not start with columns H, K, L; write it again with a current program")
    wavelengths = {dataset.id: dataset.wavelength for dataset in mtz.datasets}
    # a column may belong to a data set that the header forgot
    crystals = {
        number: Crystal(
            checked_cell(mtz.get_cell(number), cell, where=path), stated_wavelength(wavelengths.get(number, 0.0))
        )
        for number in {column.dataset_id for column in mtz.columns}
    }
    return ReflectionTable(
        where=str(path),
        path=Path(path),
        hkl=np.asarray(mtz.make_miller_array(), np.int32),
        columns=tuple(_column(mtz, column) for column in mtz.columns[3:]),
        spacegroup=group,
        crystals=crystals,
    )


def _open(path: str | os.PathLike[str], source: bytes) -> gemmi.Mtz:
    """The object of gemmi, or an error that says what is wrong with the file."""
    if b"END     " not in source and b"MTZENDOFHEADERS" not in source:
        # gemmi would read on and take what is lost for unset
        raise ValueError(f"{path} is a truncated MTZ file: its header has no END; copy it again")
    try:
        with open(path, "rb") as handle:
            compressed = handle.read(2) == GZIP_MAGIC
        if not compressed:
            return gemmi.read_mtz_file(os.fspath(path))
        # gemmi goes by the name of the file and has no reader of bytes
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "data.mtz")
            copy.write_bytes(source)
            return gemmi.read_mtz_file(str(copy))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} is a damaged MTZ file ({error}); copy it again") from error


def _column(mtz: gemmi.Mtz, column: gemmi.Mtz.Column) -> Column:
    return Column(column.label, column.type, lambda: _values(mtz, column), column.dataset_id)


def _values(mtz: gemmi.Mtz, column: gemmi.Mtz.Column) -> np.ndarray:
    """A column in float64, NaN where the value is missing (by NaN or by the number the file declares)."""
    values = np.array(column.array, np.float64)
    values[values == np.float64(mtz.valm)] = np.nan
    return values
