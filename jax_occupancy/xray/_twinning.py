"""Whether the data come from a twinned crystal."""

from dataclasses import dataclass
from itertools import product

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int

from jax_occupancy.xray._checks import check_columns, checked_hkl
from jax_occupancy.xray._crystal import inverse_d_squared
from jax_occupancy.xray._shells import Interpolation, shell_nodes, smooth_mean
from jax_occupancy.xray._sigma_a import reflection_symmetry

UNTWINNED, PERFECT_TWIN = 0.5, 0.375
# Below it the data are called twinned; two thirds of the way from perfect twin to untwinned, and more than three
# standard errors from untwinned with the fewest reflections allowed.
TWINNED_BELOW = 0.44
FEWEST_REFLECTIONS = 500
# Shells are used as far as their mean I/σ is above this: noise makes twinned data look untwinned.
LOWEST_SIGNAL = 3.0
# How far the lattice may be from a higher symmetry, in degrees.
MAX_OBLIQUITY = 3.0


@dataclass(frozen=True)
class TwinTest:
    """Statistics of acentric intensities.

    What `twin_test` returns.

    Attributes:
        mean_l: Mean of |L|: 0.5 for untwinned data, 0.375 for a perfect twin; NaN without pairs.
        mean_l_squared: Mean of L²: 1/3 untwinned, 1/5 for a perfect twin.
        second_moment: ⟨I²⟩/⟨I⟩²: 2 untwinned, 1.5 for a perfect twin; raised by anisotropy and translational NCS.
        n_reflections: Acentric reflections in the test.
        d_min: Resolution they reach, in Å.
        twin_laws: Operations on indices that the lattice allows and the space group has not, such as "k,h,-l".
        warning: A sentence if the data look twinned, else None.
    """

    mean_l: float
    mean_l_squared: float
    second_moment: float
    n_reflections: int
    d_min: float
    twin_laws: tuple[str, ...]
    warning: str | None


def twin_test(
    hkl: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    *,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
) -> TwinTest:
    """Test for twinning without knowing the twin law.

    L = (I₁ − I₂)/(I₁ + I₂) of acentric reflections that are close together and differ by even indices, which
    anisotropy and translational NCS leave alone (Padilla & Yeates, Acta Cryst. D59, 1124-1130, 2003).

    Args:
        hkl: Miller indices, integers (reflections, 3), each reflection once.
        amplitude: Observed amplitudes.
        sigma: Their standard uncertainties, positive.
        cell: Unit cell.
        spacegroup: Space group.

    Returns:
        The statistics. No warning is given on fewer than 500 acentric reflections.

    Raises:
        ValueError: The arrays differ in length or hold numbers that are not finite.

    Example:
        >>> import gemmi, numpy as np
        >>> cell, spacegroup = gemmi.UnitCell(40, 50, 60, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
        >>> hkl = gemmi.make_miller_array(cell, spacegroup, 2.5)
        >>> intensity = np.random.default_rng(0).exponential(size=len(hkl))
        >>> test = twin_test(hkl, np.sqrt(intensity), np.full(len(hkl), 0.01), cell=cell, spacegroup=spacegroup)
        >>> round(test.mean_l, 1), test.warning
        (0.5, None)
    """
    hkl = checked_hkl(hkl)
    columns = {"amplitude": np.asarray(amplitude, np.float64), "sigma": np.asarray(sigma, np.float64)}
    check_columns(columns, len(hkl))
    inverse_d2 = inverse_d_squared(cell, hkl)
    epsilon, centric = reflection_symmetry(hkl, spacegroup)
    chosen = ~centric & _strong(inverse_d2, **columns)
    intensity = columns["amplitude"][chosen] ** 2 / epsilon[chosen]
    fraction = _local_differences(hkl[chosen], intensity)
    n = int(chosen.sum())
    mean_l = float(np.abs(fraction).mean()) if len(fraction) else np.nan
    d_min = float(1 / np.sqrt(inverse_d2[chosen].max())) if n else np.nan
    laws = tuple(op.as_hkl().triplet() for op in gemmi.find_twin_laws(cell, spacegroup, MAX_OBLIQUITY, False))
    return TwinTest(
        mean_l=mean_l,
        mean_l_squared=float(np.square(fraction).mean()) if len(fraction) else np.nan,
        second_moment=_second_moment(intensity, inverse_d2[chosen]) if n else np.nan,
        n_reflections=n,
        d_min=d_min,
        twin_laws=laws,
        warning=_warning(mean_l, n, d_min, laws) if n >= FEWEST_REFLECTIONS and mean_l < TWINNED_BELOW else None,
    )


def _strong(inverse_d2: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray) -> Bool[np.ndarray, " reflections"]:
    """Reflections up to the first of twenty shells with too little signal; I/σ(I) is half of F/σ(F)."""
    order = np.argsort(inverse_d2, kind="stable")
    keep = np.zeros(len(order), bool)
    for shell in np.array_split(order, 20):
        if len(shell) and np.mean(amplitude[shell] / (2 * sigma[shell])) < LOWEST_SIGNAL:
            break
        keep[shell] = True
    return keep


def _local_differences(
    hkl: Int[np.ndarray, "reflections 3"], intensity: Float[np.ndarray, " reflections"]
) -> Float[np.ndarray, " pairs"]:
    """L of all pairs whose indices differ by even numbers that add up to four at most."""
    base = 2**20  # Miller indices are far smaller
    weights = np.array([base * base, base, 1])
    keys = hkl.astype(np.int64) @ weights
    order = np.argsort(keys)
    keys, intensity = keys[order], intensity[order]
    found = []
    for step in product((-4, -2, 0, 2, 4), repeat=3):
        if step <= (0, 0, 0) or np.abs(step).sum() > 4:  # one of each pair of opposite steps
            continue
        wanted = keys + np.array(step) @ weights
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        there = keys[at] == wanted
        first, second = intensity[there], intensity[at[there]]
        total = first + second
        found.append((first - second)[total > 0] / total[total > 0])
    return np.concatenate(found)


def _second_moment(intensity: np.ndarray, inverse_d2: np.ndarray) -> float:
    nodes = shell_nodes(inverse_d2, smallest=100, most=30)
    every = np.ones(len(intensity), bool)
    normalised = intensity / smooth_mean(intensity, Interpolation.from_nodes(nodes, inverse_d2), every)
    return float(np.mean(normalised**2) / np.mean(normalised) ** 2)


def _warning(mean_l: float, n: int, d_min: float, laws: tuple[str, ...]) -> str:
    possible = (
        f"the lattice allows the twin laws {'; '.join(laws)}"
        if laws
        else "no twin law fits lattice and space group, so the true symmetry may be lower, or lattices may overlap"
    )
    return (
        f"The data look twinned: mean |L| is {mean_l:.3f} for {n} acentric reflections to {d_min:.1f} Å "
        f"({UNTWINNED} untwinned, {PERFECT_TWIN} for a perfect twin); {possible}. "
        "Occupancies refined as if the crystal were not twinned are biased."
    )
