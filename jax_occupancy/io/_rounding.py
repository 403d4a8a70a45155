"""Rounding occupancies to the decimals of a file so that complete sets keep their sum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

# float32 sums of softmax outputs differ from one by less than this
_SUM_TOLERANCE = 1e-3
_SHARED_TOLERANCE = 1e-4

# for each set, for each of its conformers, the 0-based positions of the atoms
ConformerSets = Sequence[Sequence[Any]]


def rounded_units(
    values: Float[np.ndarray, " atoms"], *, decimals: int, sets: ConformerSets = ()
) -> Int[np.ndarray, " atoms"]:
    """Round occupancies to whole units of the last decimal, complete sets by largest remainder (Hamilton's method).

    Plain rounding turns (0.335, 0.335, 0.33) into (0.34, 0.34, 0.33), a sum of 1.01 that blocks a deposition. A
    conformer that an earlier set has rounded keeps its number and the others share the rest, so sets may overlap in
    whole conformers (poses of two residues that share one empty state).

    Args:
        values: Occupancies, 0 to 1.
        sets: One entry for each complete set: the atoms (0-based) of each of its conformers. It sums to 1, or to 1/n
            across a symmetry element; of 1/3 no more than 0.33 is given.

    Returns:
        Occupancy times 10^decimals as integers; equal for the atoms of one conformer.

    Raises:
        ValueError: If a conformer has no atoms, an index is out of range, atoms of one conformer differ, or a set does
            not sum to one or 1/n.

    Example:
        >>> import numpy as np
        >>> rounded_units(np.array([0.335, 0.335, 0.33]), decimals=2, sets=[[[0], [1], [2]]])
        array([34, 33, 33])
    """
    scale = 10**decimals
    units = np.rint(np.asarray(values, np.float64) * scale).astype(np.int64)
    done = np.zeros(len(units), bool)
    for number, members in enumerate(sets):
        conformers = [np.asarray(member, np.int64).reshape(-1) for member in members]
        shares = _shares(values, conformers, number)
        kept = np.array([bool(done[atoms].any()) for atoms in conformers])
        if any(old and not done[atoms].all() for atoms, old in zip(conformers, kept, strict=True)):
            raise ValueError(
                f"set {number} in sets shares some atoms of a conformer with another set; share all or none"
            )
        fixed = sum(int(units[atoms[0]]) for atoms, old in zip(conformers, kept, strict=True) if old)
        free = [atoms for atoms, old in zip(conformers, kept, strict=True) if not old]
        counts = _apportion(shares[~kept], scale // round(1 / shares.sum()) - fixed, number)
        for atoms, count in zip(free, counts, strict=True):
            units[atoms] = count
            done[atoms] = True
    return units


def _shares(values: np.ndarray, conformers: list[np.ndarray], number: int) -> np.ndarray:
    """The occupancy of each conformer of one set, after the checks that make a common number possible."""
    for member, atoms in enumerate(conformers):
        if not len(atoms):
            raise ValueError(
                f"conformer {member} of set {number} in sets has no atoms; give only conformers with atoms "
                "(for a state without atoms of its own the conformers below it)"
            )
        if atoms.min() < 0 or atoms.max() >= len(values):
            raise ValueError(
                f"set {number} in sets has atom {atoms.max()}; there are {len(values)} atoms, counted from 0"
            )
        if np.ptp(values[atoms]) > _SHARED_TOLERANCE:
            raise ValueError(
                f"the atoms of conformer {member} of set {number} in sets differ in occupancy "
                f"({values[atoms].min():.4f} to {values[atoms].max():.4f}); one conformer has one occupancy"
            )
    shares = np.array([values[atoms].mean() for atoms in conformers])
    if abs(shares.sum() * round(1 / max(shares.sum(), _SUM_TOLERANCE)) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"set {number} in sets sums to {shares.sum():.4f}; give only sets that sum to 1, or to 1/n")
    if len(np.unique(every := np.concatenate(conformers))) != len(every):
        raise ValueError(f"an atom is twice in set {number} of sets; give each atom once per set")
    return shares


def _apportion(shares: np.ndarray, total: int, number: int) -> np.ndarray:
    """`total` units split in proportion to `shares` by largest remainder; first come first served on ties."""
    if total < 0 or (total and not len(shares)):
        raise ValueError(f"set {number} in sets cannot sum to 1: other sets have rounded its conformers already")
    if not len(shares):
        return np.zeros(0, np.int64)
    weight = shares.sum()
    exact = shares * (total / weight) if weight > 0 else np.full(len(shares), total / len(shares))
    # 0.57 times 100 is 56.99999999999999: without the nudge it would need a remainder to come back to 57
    counts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts
