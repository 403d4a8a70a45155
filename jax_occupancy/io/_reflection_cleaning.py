"""From measured values to one row for each unique reflection: mates joined, bad rows left out, repeats merged."""

from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int

from jax_occupancy.io._reflection_table import ReflectionTable

# More measurements of each reflection than this (two may be Friedel mates) are unmerged data.
_UNMERGED = 2.5
# Repeats contradict each other where they differ by this many σ and this part of their mean.
_CONTRADICTING_SIGMAS, _CONTRADICTING_PART = 3.0, 0.2
Rows = Float[np.ndarray, " rows"]
Flags = Bool[np.ndarray, " rows"]


class Measured(NamedTuple):
    """Rows that belong together: indices, value and σ (of amplitude or intensity), free flag."""

    hkl: Int[np.ndarray, "rows 3"]
    value: Rows
    sigma: Rows
    flag: Rows

    def take(self, rows: np.ndarray) -> "Measured":
        return Measured(*(column[rows] for column in self))


def join_mates(values: list[Rows], sigmas: list[Rows], centric: Flags) -> tuple[Rows, Rows]:
    """The mean of two Friedel mates weighted with 1/σ², and its σ; where one is missing, the other."""
    # In a centric reflection the mates are the same reflection, and some programs write its one measurement twice:
    # equal pairs count once there.
    value, sigma = np.stack(values), np.stack(sigmas)
    good = np.isfinite(value) & np.isfinite(sigma) & (sigma > 0)
    good[1] &= ~(centric & (value[0] == value[1]) & (sigma[0] == sigma[1]))
    weight = np.where(good, 1 / np.where(good, sigma, 1.0) ** 2, 0.0)
    total, any_good = weight.sum(axis=0), good.any(axis=0)
    mean = (weight * np.where(good, value, 0.0)).sum(axis=0) / np.where(any_good, total, 1.0)
    # with no good mate keep one as it is, so that the reason it is left out for can be told
    kept = np.where(np.isnan(value[0]), 1, 0), np.arange(len(centric))
    return (
        np.where(any_good, mean, value[kept]),
        np.where(any_good, np.where(any_good, total, 1.0) ** -0.5, sigma[kept]),
    )


def leave_out(
    data: Measured, table: ReflectionTable, *, amplitudes: bool, cell: gemmi.UnitCell, limits: tuple[float, float]
) -> tuple[Measured, dict[str, int]]:
    """Drop what is no measurement and count it by the first reason that holds; `limits` are those of d."""
    hkl, value, sigma = data.hkl, data.value, data.sigma
    d = cell.calculate_d_array(np.array(hkl))
    with np.errstate(invalid="ignore"):
        size, good = np.abs(value), np.isfinite(value) & (sigma > 0) & (value != 0)
        # 10³⁰ for "unknown", say: values 10⁸ times the median, and σ 1000 times the largest of the other values
        absurd = good & (size > 1e8 * (np.median(size[good]) if good.any() else np.inf))
        absurd |= good & (sigma > 1e3 * max(size[good & ~absurd], default=np.inf))
        reasons = {
            "origin": ~hkl.any(axis=1),
            **table.excluded,
            "missing": ~(np.isfinite(value) & np.isfinite(sigma)),
            "placeholder": (value <= 0) & (sigma <= 0),
            "sigma not positive": sigma <= 0,
            "negative amplitude": (value < 0) & amplitudes,
            "systematic absence": table.spacegroup.operations().systematic_absences(hkl),
            # a limit that was read off a table of d to nine digits still includes its reflection
            "out of all proportion": absurd,
            "outside resolution limits": (d < limits[0] * (1 - 1e-9)) | (d > limits[1] * (1 + 1e-9)),
        }
    gone = np.zeros(len(hkl), bool)
    counts = {}
    for reason, where in reasons.items():
        counts[reason] = int((where & ~gone).sum())
        gone |= where
    return data.take(~gone), counts


def merge_repeats(data: Measured, free: Flags, label: str) -> tuple[Measured, Bool[np.ndarray, " unique"], str]:
    """Merge repeats by the mean weighted with 1/σ²; a free one takes all there; a note if they contradict."""
    # A row with the value and σ of another is a copy (files expanded to lower symmetry hold them), not a second
    # measurement: it counts once.
    unique, first, group = np.unique(data.hkl, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    if len(unique) == len(data.hkl):
        return data, free, ""
    _, originals = np.unique(np.column_stack([group, data.value, data.sigma]), axis=0, return_index=True)
    if (multiplicity := len(originals) / len(first)) > _UNMERGED:
        raise ValueError(
            f"{label} holds {multiplicity:.1f} measurements of each reflection: these are unmerged data; scale "
            "and merge them first (aimless, xia2, autoPROC, careless)"
        )
    weight = np.zeros(len(group))
    weight[originals] = data.sigma[originals] ** -2.0
    total = np.bincount(group, weight)
    merged = Measured(
        data.hkl[first], np.bincount(group, weight * data.value) / total, total**-0.5, np.full(len(first), np.nan)
    )
    # np.unique sorts; the file's order is kept
    order = np.argsort(first)
    repeated = originals[np.bincount(group[originals])[group[originals]] > 1]
    difference = np.abs(data.value - merged.value[group])[repeated]
    freedom = max(len(repeated) - len(np.unique(group[repeated])), 1)
    sigmas = float(np.sqrt(((difference / data.sigma[repeated]) ** 2).sum() / freedom))
    part = float(difference.sum() / max(np.abs(data.value[repeated]).sum(), np.finfo(float).tiny))
    note = (
        f"reflections that repeat in {label} contradict each other: they differ from their mean by {100 * part:.0f} %, "
        f"{sigmas:.0f} times their sigma"
    )
    contradicting = sigmas > _CONTRADICTING_SIGMAS and part > _CONTRADICTING_PART
    return merged.take(order), (np.bincount(group, free) > 0)[order], note if contradicting else ""
