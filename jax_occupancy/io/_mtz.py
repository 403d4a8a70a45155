"""Reading measured amplitudes from an MTZ file."""

import os
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from jax_occupancy.io._free_flags import free_set
from jax_occupancy.io._mtz_columns import choose_columns
from jax_occupancy.io._reflections import Reflections
from jax_occupancy.io._source import kind_of_content, read_source


def read_reflections(
    path: str | os.PathLike[str],
    *,
    amplitude: str | None = None,
    sigma: str | None = None,
    free: str | None = None,
    free_value: int | None = None,
) -> Reflections:
    """Read amplitudes, their σ and the free set from an MTZ file.

    Columns that are not named are found by their type and usual names; calculated amplitudes (FC, FWT, F-model,
    ...) are never taken. Reflections without a measurement are left out, the rest is moved into the asymmetric
    unit, systematic absences are dropped and repeated reflections merged; `left_out` counts all of this and
    `notes` tells every choice.

    Args:
        path: The file (.mtz, also gzipped).
        amplitude: Label of the amplitudes (type F), for example "FP".
        sigma: Label of their σ (type Q), for example "SIGFP".
        free: Label of the free flags, for example "FreeR_flag".
        free_value: The flag that means free. Without it the rarer of two values, 0 of more than two.

    Returns:
        The reflections; without free flags `free` is False everywhere and `labels["free"]` is None.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If it is a folder.
        ValueError: If it is no MTZ file, is damaged, lacks a column, a space group or any usable reflection.

    Example:
        ```python
        data = read_reflections("4xof.mtz")
        data.n_reflections, data.n_free, data.labels["amplitude"]  # (22230, 1112, 'FP')
        ```
    """
    mtz = _open(path)
    columns = choose_columns(mtz, amplitude=amplitude, sigma=sigma, free=free, path=path)
    mtz.ensure_asu()
    data = {
        "hkl": np.asarray(mtz.make_miller_array(), np.int32),
        "amplitude": _values(mtz, columns.amplitude),
        "sigma": _values(mtz, columns.sigma),
        "flag": np.full(mtz.nreflections, np.nan) if columns.free is None else _values(mtz, columns.free),
    }
    data, left_out = _leave_out(data, mtz.spacegroup)
    if not len(data["hkl"]):
        raise ValueError(f"{path} has no usable reflection in {columns.amplitude.label}; left out: {left_out}")
    notes = columns.notes
    is_free, value = np.zeros(len(data["hkl"]), bool), None
    if columns.free is not None:
        label = f"{path}: column {columns.free.label}"
        is_free, value, more = free_set(data["flag"], free_value=free_value, label=label)
        notes += more
    elif free_value is not None:
        raise ValueError(f"{path} has no free flags that could be {free_value}; name their column with free=...")
    merged, left_out["duplicate"] = _merge(data["hkl"], data["amplitude"], data["sigma"], is_free)
    return Reflections(
        **merged,
        cell=mtz.get_cell(columns.amplitude.dataset_id),
        spacegroup=mtz.spacegroup,
        labels={
            "amplitude": columns.amplitude.label,
            "sigma": columns.sigma.label,
            "free": None if columns.free is None else columns.free.label,
        },
        free_value=value,
        left_out=left_out,
        notes=notes,
        path=Path(path),
    )


def _open(path: str | os.PathLike[str]) -> gemmi.Mtz:
    """The object of gemmi, or an error that says what is wrong with the file."""
    data = read_source(path)
    kind = kind_of_content(data)
    if kind in ("pdb", "mmcif"):
        raise ValueError(
            f"{path} looks like {kind}, not MTZ; reflections are wanted here (convert other formats to MTZ)"
        )
    if kind != "mtz":
        raise ValueError(f"{path} is not an MTZ file: it does not start with 'MTZ '")
    if b"END     " not in data and b"MTZENDOFHEADERS" not in data:
        # gemmi would read on and take what is lost for unset
        raise ValueError(f"{path} is a truncated MTZ file: its header has no END; copy it again")
    try:
        mtz = gemmi.read_mtz_file(os.fspath(path))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} is a damaged MTZ file ({error}); copy it again") from error
    if mtz.spacegroup is None:
        raise ValueError(f"{path} names no known space group ({mtz.spacegroup_name!r}); set it in the file")
    if mtz.batches:
        raise ValueError(f"{path} holds unmerged data; scale and merge them first (aimless, xia2, autoPROC)")
    if mtz.nreflections == 0:
        raise ValueError(f"{path} holds no reflections")
    return mtz


def _values(mtz: gemmi.Mtz, column: gemmi.Mtz.Column) -> np.ndarray:
    """A column in float64, NaN where the value is missing (by NaN or by the number the file declares)."""
    values = np.array(column.array, np.float64)
    values[values == np.float64(mtz.valm)] = np.nan
    return values


def _leave_out(data: dict[str, Any], spacegroup: gemmi.SpaceGroup) -> tuple[dict[str, Any], dict[str, int]]:
    """Drop what is no measurement and count it by the first reason that holds."""
    f, sigma, hkl = data["amplitude"], data["sigma"], data["hkl"]
    with np.errstate(invalid="ignore"):
        reasons = {
            "origin": ~hkl.any(axis=1),
            "missing": ~(np.isfinite(f) & np.isfinite(sigma)),
            "placeholder": (f <= 0) & (sigma <= 0),
            "sigma not positive": sigma <= 0,
            "negative amplitude": f < 0,
            "systematic absence": spacegroup.operations().systematic_absences(hkl),
        }
    gone = np.zeros(len(hkl), bool)
    counts = {}
    for reason, where in reasons.items():
        counts[reason] = int((where & ~gone).sum())
        gone |= where
    return {name: values[~gone] for name, values in data.items()}, counts


def _merge(
    hkl: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray, free: np.ndarray
) -> tuple[dict[str, np.ndarray], int]:
    """Merge repeated reflections by the mean weighted with 1/σ²; one of them in the free set takes all there."""
    _, first, group = np.unique(hkl, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    if len(first) == len(hkl):
        return {"hkl": hkl, "amplitude": amplitude, "sigma": sigma, "free": free}, 0
    weight = sigma**-2.0
    total = np.bincount(group, weight)
    merged = {
        "hkl": hkl[first],
        "amplitude": np.bincount(group, weight * amplitude) / total,
        "sigma": total**-0.5,
        "free": np.bincount(group, free) > 0,
    }
    # np.unique sorts; the file's order is kept
    order = np.argsort(first)
    return {name: values[order] for name, values in merged.items()}, len(hkl) - len(first)
