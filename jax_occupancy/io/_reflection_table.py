"""What every format of reflections comes down to: rows of hkl and typed columns, not yet chosen from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int

# Beside the types of MTZ (F amplitude, J intensity, G and K the same of one Friedel mate, Q, L and M their σ,
# I integer, R real): mmCIF's codes, read as 0 = free, 1 = work.
STATUS = "s"


@dataclass(frozen=True, eq=False)
class Column:
    """One column; NaN where there is no value."""

    label: str
    kind: str
    values: Float[np.ndarray, " rows"]
    dataset: int = 0


class Crystal(NamedTuple):
    """What a data set was measured on and with; wavelength in Å, None if not stated."""

    cell: gemmi.UnitCell
    wavelength: float | None


@dataclass(frozen=True)
class ReflectionTable:
    """The rows and columns of one file, block or table.

    Attributes:
        where: The file (and the block in it), for messages.
        path: The file; None if made in memory.
        hkl: Miller indices as written.
        columns: All columns but the indices, in the order of the file.
        spacegroup: The space group.
        crystals: Cell and wavelength of each data set that a column may belong to.
        excluded: Rows that the file itself says are not to be used, by reason.
        unreadable: What is wrong with values of a column, by its label.
        notes: Choices made so far.
        radiations: What the file says it was measured with.
    """

    where: str
    path: Path | None
    hkl: Int[np.ndarray, "rows 3"]
    columns: tuple[Column, ...]
    spacegroup: gemmi.SpaceGroup
    crystals: Mapping[int, Crystal]
    excluded: Mapping[str, Bool[np.ndarray, " rows"]]
    unreadable: Mapping[str, str]
    notes: tuple[str, ...]
    radiations: tuple[str, ...]

    def listed(self) -> str:
        """All columns with their types, for messages."""
        return ", ".join(f"{column.label} ({column.kind})" for column in self.columns) or "none but the indices"

    def wavelength_of(self, column: Column) -> float | None:
        """The wavelength of a column's data set, else the only one that the file states."""
        stated = {crystal.wavelength for crystal in self.crystals.values()} - {None}
        return self.crystals[column.dataset].wavelength or (stated.pop() if len(stated) == 1 else None)


def table_of_mtz(
    mtz: gemmi.Mtz,
    *,
    where: str,
    path: str | os.PathLike[str] | None = None,
    cell: gemmi.UnitCell | None = None,
    spacegroup: gemmi.SpaceGroup | None = None,
    stated: str | None = None,
    excluded: Mapping[str, np.ndarray] | None = None,
    unreadable: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
    radiations: tuple[str, ...] = (),
) -> ReflectionTable:
    """The table of an MTZ object, with cell and space group from elsewhere if it states none."""
    wavelengths = {dataset.id: dataset.wavelength for dataset in mtz.datasets}
    # a column may belong to a data set that the header forgot
    datasets = sorted({column.dataset_id for column in mtz.columns})
    cells = {number: _checked_cell(mtz.get_cell(number), cell, where) for number in datasets}
    crystals = {n: Crystal(one, stated_wavelength(wavelengths.get(n, 0.0))) for n, (one, _) in cells.items()}
    notes += tuple(dict.fromkeys(note for _, note in cells.values() if note))
    group = mtz.spacegroup or spacegroup
    if group is None:
        name = mtz.spacegroup_name if stated is None else stated
        raise ValueError(f"{where} names no known space group ({name!r}); set it in the file or give spacegroup=...")
    if mtz.spacegroup is None:
        notes += (f"the data name no known space group: {group.xhm()} is taken as given",)
    if mtz.batches:
        raise ValueError(f"{where} holds unmerged data; scale and merge them first (aimless, xia2, autoPROC)")
    if mtz.nreflections == 0:
        raise ValueError(f"{where} holds no reflections")
    if [column.label for column in mtz.columns[:3]] != ["H", "K", "L"]:
        raise ValueError(f"{where} does not start with columns H, K, L; write it again with a current program")
    values = np.array(mtz.array)
    with np.errstate(invalid="ignore"):
        indices = values[:, :3]
        wrong = np.flatnonzero(((indices != np.rint(indices)) | (np.abs(indices) > 1e6)).any(axis=1))
    if len(wrong):
        raise ValueError(
            f"{where}: Miller indices must be integers; {len(wrong)} are not, first in rows {wrong[:5] + 1}"
        )
    if not np.isnan(mtz.valm):
        values[:, 3:][values[:, 3:] == np.float32(mtz.valm)] = np.nan
    return ReflectionTable(
        where=where,
        path=None if path is None else Path(path),
        hkl=np.asarray(mtz.make_miller_array(), np.int32),
        columns=tuple(Column(c.label, c.type, values[:, c.idx], c.dataset_id) for c in mtz.columns[3:]),
        spacegroup=group,
        crystals=crystals,
        excluded=excluded or {},
        unreadable=unreadable or {},
        notes=notes,
        radiations=radiations,
    )


def stated_wavelength(value: float) -> float | None:
    """A wavelength in Å; None for the zero or nothing that stands where none is known."""
    return float(value) if np.isfinite(value) and value > 0 else None


def _checked_cell(
    cell: gemmi.UnitCell, fallback: gemmi.UnitCell | None, where: str
) -> tuple[gemmi.UnitCell, str | None]:
    """The cell of the file, else the caller's with a note; a cell without volume is none."""
    if cell.is_crystal() and _is_possible(cell):
        return cell, None
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


def to_asu(
    hkl: Int[np.ndarray, "rows 3"], cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Int[np.ndarray, "rows 3"]:
    """The equivalent of each reflection in the asymmetric unit, Friedel mates taken as equivalent."""
    rows = np.zeros(len(hkl), np.int32)
    data = gemmi.IntAsuData(cell, spacegroup, np.ascontiguousarray(hkl, np.int32), rows)
    data.ensure_asu()
    return np.array(data.miller_array)
