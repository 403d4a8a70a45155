"""What every format of reflections comes down to: rows of hkl and typed columns, not yet chosen from."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Bool, Int

# Type letters of MTZ, used for every format: F amplitude, J intensity, G and K the same of one Friedel mate,
# Q, L and M their σ, I integer, R real. STATUS is no letter of MTZ: mmCIF's codes, read as 0 = free, 1 = work.
STATUS = "status"


class Column(NamedTuple):
    """One column; `read` gives its values in float64, NaN where there is none."""

    label: str
    kind: str
    read: Callable[[], np.ndarray]
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
        notes: Choices made so far.
    """

    where: str
    path: Path | None
    hkl: Int[np.ndarray, "rows 3"]
    columns: tuple[Column, ...]
    spacegroup: gemmi.SpaceGroup
    crystals: Mapping[int, Crystal]
    excluded: Mapping[str, Bool[np.ndarray, " rows"]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def listed(self) -> str:
        """All columns with their types, for messages."""
        return ", ".join(f"{column.label} ({column.kind})" for column in self.columns) or "none but the indices"


def stated_wavelength(value: float) -> float | None:
    """A wavelength in Å; None for the zero or nothing that stands where none is known."""
    return float(value) if np.isfinite(value) and value > 0 else None


def checked_cell(
    cell: gemmi.UnitCell | None, fallback: gemmi.UnitCell | None, *, where: str | os.PathLike[str]
) -> gemmi.UnitCell:
    """The cell of the file, else the caller's; a cell without volume is none.

    Raises:
        ValueError: If neither is a cell.
    """
    for candidate in (cell, fallback):
        if candidate is not None and candidate.is_crystal() and _is_possible(candidate):
            return candidate
    stated = f"the cell {cell.parameters}" if cell is not None else "no cell"
    raise ValueError(f"{where} states {stated}, which no crystal has; give the right one with cell=...")


def _is_possible(cell: gemmi.UnitCell) -> bool:
    lengths, angles = cell.parameters[:3], cell.parameters[3:]
    positive = all(length > 0 for length in lengths) and all(0 < angle < 180 for angle in angles)
    return positive and bool(np.isfinite(cell.volume)) and cell.volume > 0


def checked_spacegroup(
    spacegroup: gemmi.SpaceGroup | None,
    fallback: gemmi.SpaceGroup | None,
    *,
    stated: str,
    where: str | os.PathLike[str],
) -> gemmi.SpaceGroup:
    """The space group of the file, else the caller's.

    Raises:
        ValueError: If neither is known.
    """
    found = spacegroup or fallback
    if found is None:
        raise ValueError(f"{where} names no known space group ({stated!r}); set it in the file or give spacegroup=...")
    return found


def to_asu(
    hkl: Int[np.ndarray, "rows 3"], cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Int[np.ndarray, "rows 3"]:
    """The equivalent of each reflection in the asymmetric unit, Friedel mates taken as equivalent."""
    rows = np.zeros(len(hkl), np.int32)
    data = gemmi.IntAsuData(cell, spacegroup, np.ascontiguousarray(hkl, np.int32), rows)
    data.ensure_asu()
    return np.array(data.miller_array)
