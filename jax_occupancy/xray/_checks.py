"""Checks of arrays that must match a structure or a list of reflections."""

from collections.abc import Sequence

import numpy as np


def checked_occupancies(occupancies: np.ndarray, n_atoms: int, name: str) -> np.ndarray:
    """One finite number per atom."""
    values = np.asarray(occupancies, dtype=np.float64)
    if values.shape != (n_atoms,):
        raise ValueError(f"{name}: got shape {values.shape}, wanted ({n_atoms},): one per atom of the file")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"{name}: {bad.size} values are not finite, first at positions {bad[:5].tolist()}")
    return values


def checked_positions(selected: Sequence[int] | np.ndarray, n_atoms: int, name: str) -> np.ndarray:
    """Positions in the file, each inside it."""
    chosen = np.asarray(selected, dtype=np.int64).ravel()
    outside = chosen[(chosen < 0) | (chosen >= n_atoms)]
    if outside.size:
        raise ValueError(
            f"{name}: {outside.size} positions lie outside the file, first {outside[:5].tolist()}; "
            f"wanted 0 to {n_atoms - 1}"
        )
    return chosen


def checked_hkl(hkl: np.ndarray) -> np.ndarray:
    """Miller indices as gemmi wants them."""
    hkl = np.asarray(hkl)
    if hkl.ndim != 2 or hkl.shape[1] != 3 or not np.issubdtype(hkl.dtype, np.integer):
        raise ValueError(f"hkl: got {hkl.dtype} of shape {hkl.shape}, wanted integers of shape (reflections, 3)")
    return np.ascontiguousarray(hkl, dtype=np.int32)


def check_columns(columns: dict[str, np.ndarray], n: int) -> None:
    """One finite number per reflection in every column."""
    for name, values in columns.items():
        if values.shape != (n,):
            raise ValueError(f"{name}: got shape {values.shape}, wanted ({n},): one value per reflection in hkl")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"{name}: {bad.size} values are not finite, first at reflections {bad[:5].tolist()}; leave them out"
            )
