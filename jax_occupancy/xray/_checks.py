"""Checks of arrays that must match a structure or a list of reflections."""

import os
from collections.abc import Sequence

import gemmi
import numpy as np

# A tensor U may be a little off positive definite, as refinement programs leave it: this far, as B along its shortest
# axis in Å². The structure factor of such an atom at 1 Å is too large by a quarter.
LOWEST_ANISOTROPIC_B = -1.0
# What a point of a grid takes at most while a mask is made, in bytes: counts, marks and two maps.
BYTES_OF_POINT = 20
# Largest distance between grid points of a mask, in Å. On 1G8A masks on such a grid are 10 % (relative RMS, weighted as
# solvent scatters) from those on a grid of 0.2 Å, and 30 % at 0.7 Å.
SPACING = 0.4
# No crystal has its origin this far away, in Å; single precision has two decimals there.
FARTHEST = 1e5


def refuse(wrong: np.ndarray, name: str, what: str, advice: str, *, where: str = "reflections") -> None:
    """Say which values are wrong, if any are."""
    bad = np.flatnonzero(wrong)
    if bad.size:
        raise ValueError(f"{name}: {bad.size} values are {what}, first at {where} {bad[:5].tolist()}; {advice}")


def checked_occupancies(occupancies: np.ndarray, n_atoms: int, name: str) -> np.ndarray:
    """One finite number per atom."""
    values = np.asarray(occupancies, dtype=np.float64)
    if values.shape != (n_atoms,):
        raise ValueError(f"{name}: got shape {values.shape}, wanted ({n_atoms},): one per atom of the file")
    refuse(~np.isfinite(values), name, "not finite", "wanted numbers", where="positions")
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
    # A copy: gemmi before 0.7.5 takes no read-only arrays.
    return np.array(hkl, dtype=np.int32, order="C")


def check_grid(cell: gemmi.UnitCell, spacing: float) -> None:
    """A grid over a cell, of a spacing in Å, that memory holds."""
    of_all = BYTES_OF_POINT * cell.volume / 1e9
    gigabytes, there = of_all / spacing**3, memory_of_machine()
    if gigabytes > there:
        # with fewer data no grid gets coarser than that of the mask
        fewer = ", or with d_min=... fewer data" if of_all / SPACING**3 <= there else ""
        edges = " ".join(f"{value:g}" for value in cell.parameters)
        raise ValueError(
            f"a grid of {spacing:.2f} Å over the cell {edges} takes {gigabytes:.0f} GB, this machine has {there:.0f}; "
            f"is it the cell of this crystal? If so, take a machine with more memory{fewer}"
        )


def memory_of_machine() -> float:
    """In gigabytes; without end where the system doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return float("inf")


def checked_columns(n: int, **columns: np.ndarray) -> list[np.ndarray]:
    """Each column in float64: one finite number per reflection."""
    numbers = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    check_columns(numbers, n)
    return list(numbers.values())


def check_columns(columns: dict[str, np.ndarray], n: int, *, where: np.ndarray | bool = True) -> None:
    """One number per reflection in every column, finite where it counts."""
    for name, values in columns.items():
        if values.shape != (n,):
            raise ValueError(f"{name}: got shape {values.shape}, wanted ({n},): one value per reflection")
        refuse(~np.isfinite(values) & where, name, "not finite", "leave them out")


def full_tensors(elements: np.ndarray) -> np.ndarray:
    """Symmetric tensors, (n, 3, 3), from their elements 11, 22, 33, 12, 13, 23, (n, 6)."""
    return elements[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)


def check_displacements(b_iso: np.ndarray, u_cart: np.ndarray, position: np.ndarray) -> None:
    """Isotropic B, of the first atoms, not negative, and U of the others not far from positive definite."""
    tensors = np.asarray(u_cart, dtype=np.float64).reshape(-1, 6)
    finite = np.isfinite(tensors).all(axis=1)
    tensors = np.where(np.expand_dims(finite, 1), tensors, 0.0)
    full = full_tensors(tensors)
    shortest = np.where(finite, 8 * np.pi**2 * np.linalg.eigvalsh(full)[:, 0], np.nan)
    values = np.concatenate([b_iso, shortest])
    lowest = np.repeat([0, LOWEST_ANISOTROPIC_B], [len(b_iso), len(tensors)])
    bad = np.flatnonzero(~(values >= lowest) | np.isinf(values))
    if bad.size:
        raise ValueError(
            f"atoms: {bad.size} atoms have a negative B or one that is not finite, first at positions "
            f"{position[bad[:5]].tolist()} with {values[bad[:5]].round(2).tolist()} Å² (along the shortest axis if "
            "anisotropic): scattering would grow with resolution; correct them in the model"
        )


def check_places(places: np.ndarray, position: np.ndarray) -> None:
    """Coordinates that are numbers and can be those of an atom, (atoms, 3), of atoms at given positions in the file."""
    bad = position[~(np.abs(places) < FARTHEST).all(axis=1)]  # a NaN is not smaller
    if bad.size:
        raise ValueError(
            f"structure: {bad.size} atoms have a coordinate that is not finite or beyond {FARTHEST:.0f} Å, first at "
            f"positions {bad[:5].tolist()}; correct the model"
        )
