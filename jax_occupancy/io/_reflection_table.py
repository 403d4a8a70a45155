"""What every format of reflections comes down to: the rows and columns of a `gemmi.Mtz`, not yet chosen from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Int

from jax_occupancy.io._column_names import guessed_kind
from jax_occupancy.io._files import PathLike
from jax_occupancy.io._mtz import make_mtz

# Beside the types of MTZ (F amplitude, J intensity, G and K the same of one Friedel mate, Q, L and M their σ,
# I integer, R real): mmCIF's codes, read as 0 = free, 1 = work.
STATUS = "s"
_FRAME = "the table"
Column = gemmi.Mtz.Column
Indices = Int[np.ndarray, "rows 3"]


class ReflectionTable:
    """The rows and columns of one file, block or table, with cell and space group from elsewhere if it states none."""

    # Columns are all but the indices, NaN where there is no value. `where` says what was read, in messages; `excluded`
    # are rows that the file itself says are not to be used, by reason, `unreadable` is what is wrong with values of a
    # column, by its label, and `radiations` what the file says it was measured with.

    def __init__(
        self,
        mtz: gemmi.Mtz,
        where: str,
        *,
        path: PathLike | None = None,
        cell: gemmi.UnitCell | None = None,
        spacegroup: gemmi.SpaceGroup | None = None,
        stated_group: str | None = None,
        excluded: Mapping[str, np.ndarray] | None = None,
        unreadable: Mapping[str, str] | None = None,
        notes: tuple[str, ...] = (),
        radiations: tuple[str, ...] = (),
    ):
        wavelengths = {dataset.id: stated_wavelength(dataset.wavelength) for dataset in mtz.datasets}
        # a column may belong to a data set that the header forgot
        datasets = sorted({column.dataset_id for column in mtz.columns})
        cells = {number: _checked_cell(mtz.get_cell(number), cell, where) for number in datasets}
        notes += tuple(dict.fromkeys(note for _, note in cells.values() if note))
        group = mtz.spacegroup or spacegroup
        if group is None:
            name = mtz.spacegroup_name if stated_group is None else stated_group
            raise ValueError(
                f"{where} names no known space group ({name!r}); set it in the file or give spacegroup=..."
            )
        if mtz.spacegroup is None:
            notes += (f"the data name no known space group: {group.xhm()} is taken as given",)
        _check_rows(mtz, where)
        if not np.isnan(mtz.valm):
            values = mtz.array[:, 3:]
            values[values == np.float32(mtz.valm)] = np.nan
        self.where, self.path = where, None if path is None else Path(path)
        self.hkl: np.ndarray = np.asarray(mtz.make_miller_array(), np.int32)
        self.columns: tuple[Column, ...] = tuple(mtz.columns)[3:]
        self.spacegroup: gemmi.SpaceGroup = group
        self.cells = {number: one for number, (one, _) in cells.items()}
        self._wavelengths = {number: wavelengths.get(number) for number in datasets}
        self.excluded, self.unreadable = excluded or {}, unreadable or {}
        self.notes, self.radiations = notes, radiations

    def listed(self) -> str:
        """All columns with their types, for messages."""
        return ", ".join(f"{column.label} ({column.type})" for column in self.columns) or "none but the indices"

    def wavelength_of(self, column: Column) -> float | None:
        """The wavelength of a column's data set, else the only one that the file states."""
        stated = {*self._wavelengths.values()} - {None}
        return self._wavelengths[column.dataset_id] or (stated.pop() if len(stated) == 1 else None)


def frame_table(
    frame: pd.DataFrame, *, cell: gemmi.UnitCell | None, spacegroup: gemmi.SpaceGroup | None, wavelength: float | None
) -> ReflectionTable:
    """The columns of a pandas table (of reciprocalspaceship, which is not needed for it), typed by dtype or name."""
    if getattr(frame, "merged", None) is False:
        raise ValueError(f"{_FRAME} holds unmerged data; scale and merge them first (careless, aimless, xia2)")
    flat = frame.reset_index() if set("HKL") & {*frame.index.names} else frame
    if flat.columns.has_duplicates:
        repeated = ", ".join(map(str, flat.columns[flat.columns.duplicated()].unique()))
        raise ValueError(f"{_FRAME} has several columns of the name {repeated}; rename them")
    missing = [name for name in "HKL" if name not in flat.columns]
    if missing:
        found = ", ".join(map(str, flat.columns))
        raise ValueError(
            f"{_FRAME} has no {', '.join(missing)}; wanted H, K, L as index levels or columns, got {found}"
        )
    hkl = np.column_stack([_numbers(flat, name) for name in "HKL"])
    columns, unreadable = {}, {}
    for name in flat.columns.difference([*"HKL"], sort=False):
        # dtypes of reciprocalspaceship carry the letter of MTZ
        kind = getattr(flat[name].dtype, "mtztype", None) or guessed_kind(str(name))
        try:
            columns[str(name)] = kind, _numbers(flat, name)
        except ValueError as error:
            columns[str(name)], unreadable[str(name)] = (kind, np.full(len(flat), np.nan)), str(error)
    cell, spacegroup = cell or getattr(frame, "cell", None), spacegroup or getattr(frame, "spacegroup", None)
    mtz = make_mtz(hkl, columns, cell=cell, spacegroup=spacegroup, wavelength=wavelength)
    return ReflectionTable(mtz, _FRAME, unreadable=unreadable)


def _numbers(frame: pd.DataFrame, name: Any) -> np.ndarray:
    """The values in float64, NaN where there is none."""
    try:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_FRAME}: column {name} holds what is no number ({error})") from error


def _check_rows(mtz: gemmi.Mtz, where: str) -> None:
    """Refuse what holds no merged reflections with integer indices."""
    if mtz.batches:
        raise ValueError(f"{where} holds unmerged data; scale and merge them first (aimless, xia2, autoPROC)")
    if mtz.nreflections == 0:
        raise ValueError(f"{where} holds no reflections")
    if [column.label for column in mtz.columns[:3]] != ["H", "K", "L"]:
        raise ValueError(f"{where} does not start with columns H, K, L; write it again with a current program")
    with np.errstate(invalid="ignore"):
        indices = mtz.array[:, :3]
        wrong = np.flatnonzero(((indices != np.rint(indices)) | (np.abs(indices) > 1e6)).any(axis=1))
    if len(wrong):
        raise ValueError(
            f"{where}: Miller indices must be integers; {len(wrong)} are not, first in rows {wrong[:5] + 1}"
        )


def stated_wavelength(value: float) -> float | None:
    """A wavelength in Å; None for the zero or nothing that stands where none is known."""
    return float(value) if np.isfinite(value) and value > 0 else None


def _checked_cell(cell: gemmi.UnitCell, fallback: gemmi.UnitCell | None, where: str) -> tuple[gemmi.UnitCell, str]:
    """The cell of the file, else the caller's with a note; a cell without volume is none."""
    if cell.is_crystal() and _is_possible(cell):
        return cell, ""
    # what gemmi has where nothing is stated
    none = not cell.is_crystal() and cell.parameters[:3] == (1, 1, 1)
    stated = "no cell" if none else f"the cell {cell.parameters}, which no crystal has"
    if fallback is not None and fallback.is_crystal() and _is_possible(fallback):
        shown = " ".join(f"{value:g}" for value in fallback.parameters)
        return fallback, f"the data state {stated}: {shown} is taken as given"
    raise ValueError(f"{where} states {stated}; set the right one in the file, or give cell=...")


def _is_possible(cell: gemmi.UnitCell) -> bool:
    lengths, angles = cell.parameters[:3], cell.parameters[3:]
    positive = all(length > 0 for length in lengths) and all(0 < angle < 180 for angle in angles)
    return positive and bool(np.isfinite(cell.volume)) and cell.volume > 0


def to_asu(hkl: Indices, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup) -> Indices:
    """The equivalent of each reflection in the asymmetric unit, Friedel mates taken as equivalent."""
    rows = np.zeros(len(hkl), np.int32)
    data = gemmi.IntAsuData(cell, spacegroup, np.ascontiguousarray(hkl, np.int32), rows)
    data.ensure_asu()
    return np.array(data.miller_array)
