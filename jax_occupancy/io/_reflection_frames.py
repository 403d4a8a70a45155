"""Reflections from pandas tables, those of reciprocalspaceship among them (which is not needed for it)."""

from typing import Any

import gemmi
import numpy as np
import pandas as pd

from jax_occupancy.io._column_names import guessed_kind
from jax_occupancy.io._mtz import make_mtz
from jax_occupancy.io._reflection_table import ReflectionTable, table_of_mtz

_WHERE = "the table"


def frame_table(
    frame: pd.DataFrame,
    *,
    cell: gemmi.UnitCell | None,
    spacegroup: gemmi.SpaceGroup | None,
    wavelength: float | None,
) -> ReflectionTable:
    """The columns of a pandas table, typed by their dtype or name."""
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
    hkl = np.column_stack([_numbers(flat, name) for name in "HKL"])
    columns, unreadable = {}, {}
    for name in flat.columns.difference([*"HKL"], sort=False):
        # dtypes of reciprocalspaceship carry the letter of MTZ
        kind = getattr(flat[name].dtype, "mtztype", None) or guessed_kind(str(name))
        try:
            columns[str(name)] = kind, _numbers(flat, name)
        except ValueError as error:
            columns[str(name)], unreadable[str(name)] = (kind, np.full(len(flat), np.nan)), str(error)
    mtz = make_mtz(
        hkl,
        columns,
        cell=cell or getattr(frame, "cell", None),
        spacegroup=spacegroup or getattr(frame, "spacegroup", None),
        wavelength=wavelength,
    )
    return table_of_mtz(mtz, where=_WHERE, unreadable=unreadable)


def _numbers(frame: pd.DataFrame, name: Any) -> np.ndarray:
    """The values in float64, NaN where there is none."""
    try:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_WHERE}: column {name} holds what is no number ({error})") from error
