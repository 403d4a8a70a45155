"""How many of the possible reflections were measured, by resolution."""

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Int

from jax_occupancy.xray._checks import checked_hkl
from jax_occupancy.xray._crystal import inverse_d_squared


def completeness_by_shell(
    hkl: np.ndarray, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup, n_shells: int = 10
) -> pd.DataFrame:
    """Count measured and possible reflections in shells of equal volume in reciprocal space.

    The shells reach from the largest spacing of the crystal, measured or not, to the highest resolution measured:
    missing low-order reflections hurt the bulk solvent, so they must not go unseen.

    Args:
        hkl: Miller indices of the measured reflections, integers (reflections, 3), of any asymmetric unit. Symmetry
            mates count once, systematic absences not at all.
        cell: Unit cell.
        spacegroup: Space group.
        n_shells: Number of shells.

    Returns:
        One row for each shell, low resolution first, with d_max and d_min in Å, n_observed, n_possible and
        completeness (0 to 1, NaN where nothing is possible).

    Raises:
        ValueError: `hkl` is not integers of shape (reflections, 3), is empty or (0, 0, 0) only, or `n_shells` is not
            positive.

    Example:
        >>> import gemmi
        >>> cell, spacegroup = gemmi.UnitCell(20, 30, 40, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
        >>> every = gemmi.make_miller_array(cell, spacegroup, 2.0)
        >>> table = completeness_by_shell(every[::2], cell=cell, spacegroup=spacegroup, n_shells=2)
        >>> table["completeness"].round(1).tolist()
        [0.5, 0.5]
    """
    hkl = checked_hkl(hkl)
    if n_shells < 1:
        raise ValueError(f"n_shells: got {n_shells}, wanted a positive number")
    highest = float(np.sqrt(inverse_d_squared(cell, hkl).max(initial=0)))
    if highest == 0:
        raise ValueError(f"hkl: got {len(hkl)} reflections, none but (0, 0, 0); wanted some that were measured")
    possible = gemmi.make_miller_array(cell, spacegroup, (1 - 1e-6) / highest)
    measured = np.isin(_orbit_keys(possible, spacegroup), _orbit_keys(hkl, spacegroup))
    s = np.sqrt(inverse_d_squared(cell, possible))
    borders = np.cbrt(np.linspace(s.min() ** 3, highest**3, n_shells + 1))
    shell = np.clip(np.searchsorted(borders, s, side="right") - 1, 0, n_shells - 1)
    n_possible = np.bincount(shell, minlength=n_shells)
    n_observed = np.bincount(shell[measured], minlength=n_shells)
    return pd.DataFrame(
        {
            "d_max": 1 / borders[:-1],
            "d_min": 1 / borders[1:],
            "n_observed": n_observed,
            "n_possible": n_possible,
            "completeness": np.where(n_possible > 0, n_observed / np.maximum(n_possible, 1), np.nan),
        }
    )


def _orbit_keys(hkl: np.ndarray, spacegroup: gemmi.SpaceGroup) -> Int[np.ndarray, " reflections"]:
    """One number for all symmetry mates and Friedel mates of a reflection."""
    base = 2**20  # Miller indices are far smaller
    best = np.full(len(hkl), -1, np.int64)
    for operation in spacegroup.operations().sym_ops:
        mates = hkl.astype(np.int64) @ np.array(operation.rot) // gemmi.Op.DEN
        for sign in (1, -1):
            h, k, l = (sign * mates + base // 2).T  # noqa: E741
            best = np.maximum(best, (h * base + k) * base + l)
    return best
