"""From a table of columns to unique measured reflections with their free set."""

from typing import Any

import numpy as np

from jax_occupancy.io._choose_columns import Measurement, choose_columns
from jax_occupancy.io._doubts import doubts
from jax_occupancy.io._free_flags import free_set
from jax_occupancy.io._reflection_cleaning import Measured, join_mates, leave_out, merge_repeats
from jax_occupancy.io._reflection_table import STATUS, Column, ReflectionTable, to_asu

# In Å; the best data of any kind end near 0.3.
_HIGHEST = 0.2


def fields_of_table(
    table: ReflectionTable,
    *,
    amplitude: str | None = None,
    intensity: str | None = None,
    sigma: str | None = None,
    free: str | None = None,
    free_value: int | None = None,
    d_min: float | None = None,
    d_max: float | None = None,
) -> dict[str, Any]:
    """Choose from the columns of a table and clean what was chosen: the fields of `Reflections`.

    Arguments and errors are those of `read_reflections`.
    """
    limits = _limits(d_min, d_max)
    hkl = to_asu(table.hkl, next(iter(table.crystals.values())).cell, table.spacegroup)
    _check_merged(table, hkl)
    measured, flags, notes = choose_columns(table, amplitude=amplitude, intensity=intensity, sigma=sigma, free=free)
    crystal = table.crystals[measured.values[0].dataset]
    rows, left_out = leave_out(
        _rows(table, hkl, measured, flags),
        quantity=measured.quantity,
        cell=crystal.cell,
        spacegroup=table.spacegroup,
        limits=limits,
        excluded=table.excluded,
    )
    if not len(rows.hkl):
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise ValueError(f"{table.where} has no usable reflection in {measured.label}; left out: {counts}")
    d_highest = float(crystal.cell.calculate_d_array(np.array(rows.hkl)).min())
    if d_highest < _HIGHEST:
        raise ValueError(
            f"{table.where} has reflections to {d_highest:.3g} Å with the cell {crystal.cell.parameters}, beyond what "
            "X-rays, electrons or neutrons resolve: the cell or the indices are wrong; cut with d_min=... or mend them"
        )
    is_free, value, more = _free(table, rows.flag, flags, free_value)
    unique, is_free, repeats = merge_repeats(rows, is_free)
    left_out["duplicate"] = repeats.rows
    doubtful = doubts(unique, repeats, quantity=measured.quantity, label=f"{table.where}: {measured.label}")
    return {
        "hkl": unique.hkl,
        measured.quantity: unique.value,
        "sigma" if measured.quantity == "amplitude" else "intensity_sigma": unique.sigma,
        "free": is_free,
        "cell": crystal.cell,
        "spacegroup": table.spacegroup,
        "wavelength": table.wavelength_of(measured.values[0]),
        "radiation": table.radiations[0] if len(table.radiations) == 1 else None,
        "labels": {
            measured.quantity: measured.label,
            "sigma": measured.sigma_label,
            "free": None if flags is None else flags.label,
        },
        "free_value": value,
        "left_out": left_out,
        "notes": (*table.notes, *notes, *more, *doubtful),
        "path": table.path,
    }


def _check_merged(table: ReflectionTable, hkl: np.ndarray) -> None:
    """Refuse what columns of batches (B), or of symmetry operations (Y) beside more than two rows, call unmerged."""
    batches, operations = ([c.label for c in table.columns if c.kind == kind] for kind in "BY")
    if not batches and not operations:
        return
    _, counts = np.unique(hkl, axis=0, return_counts=True)
    # two rows may be Friedel mates
    if counts.max() > (1 if batches else 2):
        columns = ", ".join(batches + operations)
        raise ValueError(
            f"{table.where} holds unmerged data: it has the columns {columns}, and {len(hkl)} rows of {len(counts)} "
            "reflections; scale and merge them first (aimless, xia2, autoPROC, careless)"
        )


def _limits(d_min: float | None, d_max: float | None) -> tuple[float, float]:
    """The resolution limits as two numbers."""
    low, high = 0.0 if d_min is None else d_min, np.inf if d_max is None else d_max
    if not 0 <= low < high or (d_min is not None and d_min == 0):
        raise ValueError(
            f"resolution limits d_min={d_min}, d_max={d_max}; wanted 0 < d_min < d_max in Å (d_min is the small number)"
        )
    return float(low), float(high)


def _rows(table: ReflectionTable, hkl: np.ndarray, measured: Measurement, flags: Column | None) -> Measured:
    """The chosen columns as values, in the asymmetric unit, Friedel mates joined."""
    values = [_values(table, column) for column in measured.values]
    sigmas = [_values(table, column) for column in measured.sigmas if column is not None]
    value, sigma = values[0], sigmas[0]
    if len(values) == 2:
        centric = table.spacegroup.operations().centric_flag_array(hkl).astype(bool)
        value, sigma = join_mates((values[0], values[1]), (sigmas[0], sigmas[1]), centric)
    flag = np.full(len(hkl), np.nan) if flags is None else _values(table, flags)
    return Measured(hkl, value, sigma, flag)


def _values(table: ReflectionTable, column: Column) -> np.ndarray:
    """The values of a column in float64, if all of them could be read."""
    if column.label in table.unreadable:
        raise ValueError(table.unreadable[column.label])
    with np.errstate(invalid="ignore"):
        return column.values.astype(np.float64)


def _free(
    table: ReflectionTable, flag: np.ndarray, column: Column | None, free_value: int | None
) -> tuple[np.ndarray, int | str | None, tuple[str, ...]]:
    """The free set, the value that means free, and notes."""
    if column is None:
        if free_value is not None:
            raise ValueError(
                f"{table.where} has no free flags that could be {free_value}; name their column with free=..."
            )
        return np.zeros(len(flag), bool), None, ()
    label, codes = f"{table.where}: column {column.label}", column.kind == STATUS
    if codes and free_value is not None:
        raise ValueError(f"{label} has codes, of which f means free: leave free_value out or name another column")
    is_free, value, notes = free_set(
        flag, all_flags=_values(table, column), free_value=free_value, codes=codes, label=label
    )
    return is_free, "f" if codes and value is not None else value, notes
