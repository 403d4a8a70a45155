"""From a table of columns to unique measured reflections with their free set."""

from typing import Any

import numpy as np

from jax_occupancy.groups import listing
from jax_occupancy.io._choose_columns import Measurement, choose_columns
from jax_occupancy.io._column_names import radiation_of_label
from jax_occupancy.io._reflection_cleaning import Measured, join_mates, leave_out, merge_repeats
from jax_occupancy.io._reflection_table import STATUS, Column, ReflectionTable, to_asu

# In Å; the best data of any kind end near 0.3.
_HIGHEST = 0.2
# Fewer reflections than this say little.
_FEWEST = 20
# Mean I/σ below it is noise; amplitudes from intensities (French & Wilson, Acta Cryst. A34, 517-525, 1978) never have
# a median F/σ below 1, and data with an error of a ten-thousandth would be the best ever measured.
_NOISE, _SMALLEST_RATIO, _LARGEST_RATIO = 0.5, 1.0, 1e4


def fields_of_table(
    table: ReflectionTable,
    *,
    free_value: int | None = None,
    d_min: float | None = None,
    d_max: float | None = None,
    **names: str | None,
) -> dict[str, Any]:
    """Choose from the columns of a table and clean what was chosen: the fields of `Reflections`."""
    limits = _limits(d_min, d_max)
    hkl = to_asu(table.hkl, next(iter(table.cells.values())), table.spacegroup)
    _check_merged(table, hkl)
    measured, flags, notes = choose_columns(table, **names)
    cell = table.cells[measured.values[0].dataset_id]
    rows, amplitudes = _rows(table, hkl, measured, flags), measured.quantity == "amplitude"
    rows, left_out = leave_out(rows, table, amplitudes=amplitudes, cell=cell, limits=limits)
    if not len(rows.hkl):
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise ValueError(f"{table.where} has no usable reflection in {measured.label}; left out: {counts}")
    d_highest = float(cell.calculate_d_array(np.array(rows.hkl)).min())
    if d_highest < _HIGHEST:
        raise ValueError(
            f"{table.where} has reflections to {d_highest:.3g} Å with the cell {cell.parameters}, beyond what "
            "X-rays, electrons or neutrons resolve: the cell or the indices are wrong; cut with d_min=... or mend them"
        )
    is_free, value, more = _free(table, rows.flag, flags, free_value)
    label = f"{table.where}: {measured.label}"
    unique, is_free, contradiction = merge_repeats(rows, is_free, label)
    left_out["duplicate"] = len(rows.hkl) - len(unique.hkl)
    doubtful = _doubts(unique, contradiction, amplitudes=amplitudes, label=label)
    return {
        "hkl": unique.hkl,
        measured.quantity: unique.value,
        "sigma" if amplitudes else "intensity_sigma": unique.sigma,
        "free": is_free,
        "cell": cell,
        "spacegroup": table.spacegroup,
        "wavelength": table.wavelength_of(measured.values[0]),
        "radiation": table.radiations[0] if len(table.radiations) == 1 else radiation_of_label(measured.label),
        "labels": {
            measured.quantity: measured.label,
            "sigma": " and ".join(column.label for column in measured.sigmas if column is not None),
            "free": None if flags is None else flags.label,
        },
        "free_value": value,
        "left_out": left_out,
        "notes": (*table.notes, *notes, *more, *doubtful),
        "path": table.path,
    }


def _check_merged(table: ReflectionTable, hkl: np.ndarray) -> None:
    """Refuse what columns of batches (B), or of symmetry operations (Y) beside more than two rows, call unmerged."""
    batches, operations = ([c.label for c in table.columns if c.type == kind] for kind in "BY")
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
        value, sigma = join_mates(values, sigmas, centric)
    flag = np.full(len(hkl), np.nan) if flags is None else _values(table, flags)
    return Measured(hkl, value, sigma, flag)


def _values(table: ReflectionTable, column: Column) -> np.ndarray:
    """The values of a column in float64, if all of them could be read."""
    if column.label in table.unreadable:
        raise ValueError(table.unreadable[column.label])
    with np.errstate(invalid="ignore"):
        return column.array.astype(np.float64)


def _free(
    table: ReflectionTable, flags: np.ndarray, column: Column | None, free_value: int | None
) -> tuple[np.ndarray, int | str | None, list[str]]:
    """The free set by the flags of the rows that are left (NaN: none), the value that means free, and notes."""
    # CCP4 numbers the sets from 0 to 19 and leaves out set 0; phenix and CNS write 1 for free and 0 for work, some
    # programs the reverse. So with two values the rarer one is free, with more the value 0, unless most reflections
    # have it. Of mmCIF's codes f is free, which is kept as 0.
    nobody = np.zeros(len(flags), bool)
    if column is None:
        if free_value is not None:
            raise ValueError(
                f"{table.where} has no free flags that could be {free_value}; name their column with free=..."
            )
        return nobody, None, []
    label, codes = f"{table.where}: column {column.label}", column.type == STATUS
    if codes and free_value is not None:
        raise ValueError(f"{label} has codes, of which f means free: leave free_value out or name another column")
    values, value = _flag_values(_values(table, column), label, 0 if codes else free_value)
    known = ~np.isnan(flags)
    unflagged = f"{(~known).sum()} reflections without a flag in {label} are used for refinement"
    notes = [] if known.all() else [unflagged]
    if value is None:
        has = "one value only" if len(values) else "no values"
        return nobody, None, [*notes, f"{label} has {has}: every reflection is used for refinement, there is no R-free"]
    if value not in values:
        shown = listing((f"{v:g}" for v in values), at_most=5)
        raise ValueError(f"{label} has no value {value}; it has {shown}: choose one with free_value=...")
    free, name = flags == value, "status f" if codes else f"flag {value}"
    if free_value is None and free.sum() > 0.5 * known.sum():
        choose = "name other flags with free=..." if codes else "choose another with free_value=..."
        most = f"{label} has {name} for {free.sum()} of {known.sum()} reflections, which is no free set"
        return nobody, None, [*notes, f"{most}, so there is no R-free: {choose}"]
    if not free.any():
        return nobody, None, [*notes, f"no reflection with {name} in {label} was measured: there is no R-free"]
    if free.all():
        raise ValueError(f"{label} is {value} for every reflection, so none is left to refine against")
    if free_value is None:
        program = {0: "CCP4 convention", 1: "convention of phenix and CNS"}.get(value, "no usual convention")
        rarer = f"the rarer of two values ({program})"
        of_many = f"one of {len(values)} values (CCP4 convention)"
        why = " in status (mmCIF convention)" if codes else f", {of_many if len(values) > 2 else rarer}"
        notes.append(f"free set: {name}{why}")
    return free, "f" if codes else value, notes


def _flag_values(flags: np.ndarray, label: str, given: int | None) -> tuple[np.ndarray, int | None]:
    """The different flags of a column, and the one that means free; None if one alone tells nothing apart."""
    values, counts = np.unique(flags[~np.isnan(flags)], return_counts=True)
    if (values != np.rint(values)).any():
        odd = ", ".join(f"{value:g}" for value in values[values != np.rint(values)][:5])
        raise ValueError(f"{label} holds {odd}; free flags are integers: name the right column with free=...")
    if given is not None or len(values) < 2:
        return values, given
    if len(values) == 2 and counts[0] == counts[1]:
        raise ValueError(
            f"{label} has as many {values[0]:g} as {values[1]:g}, so which is free? Say it with free_value=..."
        )
    return values, 0 if len(values) > 2 else int(values[np.argmin(counts)])


def _doubts(data: Measured, contradiction: str, *, amplitudes: bool, label: str) -> tuple[str, ...]:
    """Notes on unique reflections that look like no measurement; ValueError if they can't be one."""
    value, sigma, notes = data.value, data.sigma, [contradiction] if contradiction else []
    if value.max() <= 0:
        raise ValueError(f"{label} holds no value above zero; name another column")
    if len(value) < _FEWEST:
        return ()
    if value.min() == value.max():
        raise ValueError(f"{label} has the value {value[0]:g} for all {len(value)} reflections; name another column")
    ratio, mean = float(np.median(value / sigma)), float(np.mean(value / sigma))
    if (value <= 0).mean() > 0.5:
        notes.append(
            f"{(value <= 0).sum()} of {len(value)} values in {label} are not above zero; is it the right column?"
        )
    elif (ratio < _SMALLEST_RATIO) if amplitudes else (mean < _NOISE):
        notes.append(f"{label} is {mean:.2g} times its sigma on average: noise, or sigmas on another scale")
    if ratio > _LARGEST_RATIO:
        notes.append(f"{label} is {ratio:.1g} times its sigma: are these on another scale?")
    return tuple(notes)
