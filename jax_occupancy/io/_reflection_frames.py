"""Reflections from and to pandas tables, those of reciprocalspaceship among them (which is not needed for it)."""

from typing import Any

import gemmi
import numpy as np
import pandas as pd

from jax_occupancy.io._column_names import guessed_kind
from jax_occupancy.io._reflection_table import (
    Column,
    Crystal,
    ReflectionTable,
    checked_cell,
    checked_spacegroup,
)
from jax_occupancy.io._reflections import Reflections

_WHERE = "the table"


def to_dataframe(data: Reflections) -> pd.DataFrame:
    """Index H, K, L; columns F, SIGF, I, SIGI and FreeR_flag, those that are there."""
    names = {"F": data.amplitude, "SIGF": data.sigma, "I": data.intensity, "SIGI": data.intensity_sigma}
    columns: dict[str, np.ndarray] = {name: np.array(values) for name, values in names.items() if values is not None}
    if data.n_free:
        columns["FreeR_flag"] = np.where(data.free, 0, 1).astype(np.int32)
    index = pd.MultiIndex.from_arrays(np.array(data.hkl.T), names=["H", "K", "L"])
    return pd.DataFrame(columns, index=index)


def frame_table(
    frame: pd.DataFrame,
    *,
    cell: gemmi.UnitCell | None,
    spacegroup: gemmi.SpaceGroup | None,
    wavelength: float | None,
) -> ReflectionTable:
    """The columns of a pandas table, typed by their dtype or name.

    Raises:
        ValueError: If H, K, L, the cell or the space group are missing, an index is no integer or the data unmerged.
    """
    if getattr(frame, "merged", None) is False:
        raise ValueError(f"{_WHERE} holds unmerged data; scale and merge them first (careless, aimless, xia2)")
    flat = frame.reset_index() if set("HKL") & {*frame.index.names} else frame
    if flat.columns.has_duplicates:
        repeated = ", ".join(map(str, flat.columns[flat.columns.duplicated()].unique()))
        raise ValueError(f"{_WHERE} has several columns of the name {repeated}; rename them")
    missing = [name for name in "HKL" if name not in flat.columns]
    if missing:
        found = ", ".join(map(str, flat.columns))
        raise ValueError(
            f"{_WHERE} has no {', '.join(missing)}; wanted H, K, L as index levels or columns, got {found}"
        )
    spacegroup = spacegroup or getattr(frame, "spacegroup", None)
    crystal = Crystal(checked_cell(cell or getattr(frame, "cell", None), None, where=_WHERE), wavelength)
    names = [name for name in flat.columns if name not in ("H", "K", "L")]
    return ReflectionTable(
        where=_WHERE,
        path=None,
        hkl=np.column_stack([_indices(flat, name) for name in "HKL"]).astype(np.int32),
        columns=tuple(_column(flat, name) for name in names),
        spacegroup=checked_spacegroup(spacegroup, None, stated="none", where=_WHERE),
        crystals={0: crystal},
    )


def _column(frame: pd.DataFrame, name: Any) -> Column:
    """One column; dtypes of reciprocalspaceship carry the letter of MTZ."""
    kind = getattr(frame[name].dtype, "mtztype", None) or guessed_kind(str(name))
    return Column(str(name), kind, lambda: _numbers(frame, name))


def _numbers(frame: pd.DataFrame, name: Any) -> np.ndarray:
    """The values in float64, NaN where there is none."""
    try:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_WHERE}: column {name} holds what is no number ({error})") from error


def _indices(frame: pd.DataFrame, name: str) -> np.ndarray:
    values = _numbers(frame, name)
    wrong = ~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > 1e6)
    if wrong.any():
        raise ValueError(f"{_WHERE}: {name} must hold integers; wrong in rows {np.flatnonzero(wrong)[:5].tolist()}")
    return values
