"""What a user should know of the data and the model besides occupancies: completeness, twinning, missing parts."""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jax_occupancy.xray._checks import checked_columns, checked_hkl
from jax_occupancy.xray._crystal import Flags, Values, keys_of
from jax_occupancy.xray._form_factors import LONGEST, SHORTEST, Radiation
from jax_occupancy.xray._twinning import twin_laws

# Below it the data are called twinned; two thirds of the way from perfect twin to untwinned, and more than three
# standard errors from untwinned with the fewest reflections allowed.
TWINNED_BELOW = 0.44
UNTWINNED, PERFECT_TWIN = 0.5, 0.375
FEWEST_ACENTRIC = 500
# Amplitudes that are in fact intensities have a mean |L| of ln 2 = 0.69, centric ones, the most uneven, 0.64; crystals
# of a few atoms or with translational NCS come to 0.6. Intensities that are in fact amplitudes have 1 − ln 2 = 0.31.
INTENSITIES_ABOVE, AMPLITUDES_BELOW = 0.65, 0.35
# Shells are used as far as their mean I/σ is above this: noise makes twinned data look untwinned.
LOWEST_SIGNAL = 3.0

# Reflections that show the packing of molecules and not their inner regularities, in Å.
LOWEST, HIGHEST = 10.0, 5.0
# A peak counts from this distance to the origin, in Å, and from this fraction of it.
NEAREST, HEIGHT = 15.0, 0.2
FEWEST_LOW = 100

# From this atomic number on, scandium's, elements have edges below 2.8 Å, where most crystals are measured.
HEAVY = 21


class TwinTest(NamedTuple):
    """Statistics of acentric intensities."""

    mean_l: float  # mean of |L|: 0.5 for untwinned data, 0.375 for a perfect twin; NaN without pairs
    n_reflections: int  # acentric reflections in the test
    d_min: float  # resolution they reach, in Å
    warning: str | None  # a sentence if the data look twinned


class NativePatterson(NamedTuple):
    """The highest peak of the Patterson map away from the origin."""

    height: float  # relative to the origin; NaN if nothing could be searched
    vector: tuple[float, float, float]  # in fractions of the cell, 0 to 1
    warning: str | None  # a sentence if it means translational NCS


def completeness_by_shell(
    hkl: np.ndarray, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup, n_shells: int = 10
) -> pd.DataFrame:
    """Count measured and possible reflections in shells of equal volume in reciprocal space.

    The shells reach from the largest spacing of the crystal, measured or not, to the highest resolution measured:
    missing low-order reflections hurt the bulk solvent, so they must not go unseen.

    Args:
        hkl: Miller indices measured, integers (reflections, 3). Symmetry mates count once, systematic absences not.

    Returns:
        One row for each shell, low resolution first, with d_max and d_min in Å, n_observed, n_possible and
        completeness (0 to 1, NaN where nothing is possible).

    Raises:
        ValueError: `hkl` is not integers of that shape, is empty or (0, 0, 0) only, or `n_shells` is not positive.
    """
    hkl = checked_hkl(hkl)
    if n_shells < 1:
        raise ValueError(f"n_shells: got {n_shells}, wanted a positive number")
    highest = float(np.sqrt(cell.calculate_1_d2_array(hkl).max(initial=0)))
    if highest == 0:
        raise ValueError(f"hkl: got {len(hkl)} reflections, none but (0, 0, 0); wanted some that were measured")
    possible = gemmi.make_miller_array(cell, spacegroup, (1 - 1e-6) / highest)
    in_asu = gemmi.IntAsuData(cell, spacegroup, hkl, np.zeros(len(hkl), np.int32))
    in_asu.ensure_asu()
    measured = np.isin(keys_of(possible), keys_of(in_asu.miller_array))
    s = np.sqrt(cell.calculate_1_d2_array(possible))
    borders = np.cbrt(np.linspace(s.min() ** 3, highest**3, n_shells + 1))
    shell = np.clip(np.searchsorted(borders, s, side="right") - 1, 0, n_shells - 1)
    n_possible = np.bincount(shell, minlength=n_shells)
    n_observed = np.bincount(shell[measured], minlength=n_shells)
    completeness = np.where(n_possible > 0, n_observed / np.maximum(n_possible, 1), np.nan)
    limits = {"d_max": 1 / borders[:-1], "d_min": 1 / borders[1:]}
    return pd.DataFrame(limits | {"n_observed": n_observed, "n_possible": n_possible, "completeness": completeness})


def twin_test(
    hkl: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> TwinTest:
    """Test for twinning without knowing the twin law.

    L = (I₁ − I₂)/(I₁ + I₂) of acentric reflections that are close together and differ by even indices, which
    anisotropy and translational NCS leave alone (Padilla & Yeates, Acta Cryst. D59, 1124-1130, 2003). No warning is
    given on fewer than 500 acentric reflections.

    Args:
        hkl: Miller indices, integers (reflections, 3), each reflection once.
        sigma: their standard uncertainties, positive.

    Raises:
        ValueError: the arrays differ in length or hold numbers that are not finite.
    """
    hkl = checked_hkl(hkl)
    amplitude, sigma = checked_columns(len(hkl), amplitude=amplitude, sigma=sigma)
    inverse_d2 = cell.calculate_1_d2_array(hkl)
    operations = spacegroup.operations()
    chosen = ~operations.centric_flag_array(hkl) & _strong(inverse_d2, amplitude, sigma)
    epsilon = operations.epsilon_factor_without_centering_array(hkl[chosen])
    differences = _local_differences(hkl[chosen], amplitude[chosen] ** 2 / epsilon)
    n = int(chosen.sum())
    mean_l = float(np.abs(differences).mean()) if len(differences) else np.nan
    d_min = float(1 / np.sqrt(inverse_d2[chosen].max())) if n else np.nan
    if n < FEWEST_ACENTRIC or not mean_l < TWINNED_BELOW:
        return TwinTest(mean_l, n, d_min, None)
    laws = twin_laws(cell, spacegroup)
    possible = (
        f"the lattice allows the twin laws {'; '.join(laws)}"
        if laws
        else "no twin law fits lattice and space group, so the true symmetry may be lower, or lattices may overlap"
    )
    warning = (
        f"The data look twinned: mean |L| is {mean_l:.3f} for {n} acentric reflections to {d_min:.1f} Å "
        f"({UNTWINNED} untwinned, {PERFECT_TWIN} for a perfect twin); {possible}. "
        "Occupancies refined as if the crystal were not twinned are biased (twin=... refines a law)."
    )
    return TwinTest(mean_l, n, d_min, warning)


def quantity_note(test: TwinTest, *, intensities: bool, column: str = "...") -> str | None:
    """A sentence if intensities were taken for amplitudes or the reverse, which makes R factors poor but not absurd.

    I₁/(I₁ + I₂) of acentric reflections is distributed evenly from 0 to 1, and with I² or √I in place of I mean |L| is
    ln 2 or 1 − ln 2. No such sentence is given where `twin_test` gives none.

    Args:
        test: of the amplitudes, measured or derived from intensities.
        intensities: whether intensities were measured.
        column: what was read, to be named in the sentence.
    """
    looks_wrong = test.mean_l < AMPLITUDES_BELOW if intensities else test.mean_l > INTENSITIES_ABOVE
    if test.n_reflections < FEWEST_ACENTRIC or not looks_wrong:
        return None
    seen = f"mean |L| is {test.mean_l:.3f} for {test.n_reflections} acentric reflections ({UNTWINNED} as a rule"
    if intensities:
        return (
            f"The intensities look like amplitudes: {seen}, {PERFECT_TWIN} for a perfect twin, 0.31 for amplitudes "
            f"taken for intensities). If they are, amplitude={column} takes them as such; if not, the crystal is a "
            "twin of three domains or more."
        )
    return (
        f"The amplitudes look like intensities: {seen}, 0.69 for intensities taken for amplitudes). If they are, "
        f"intensity={column} takes them as such."
    )


def native_patterson(
    hkl: np.ndarray, amplitude: np.ndarray, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> NativePatterson:
    """Search the Patterson map at 10 to 5 Å for translational NCS, the way xtriage does.

    A peak above 20 % of the origin and farther than 15 Å from it is rare by chance (Zwart, Grosse-Kunstleve & Adams,
    CCP4 Newsletter 43, 2005). With fewer than 100 reflections in the range, or no room 15 Å away from all lattice
    points, there is no peak and no warning. Arguments and errors are those of `twin_test`.
    """
    hkl = checked_hkl(hkl)
    (amplitude,) = checked_columns(len(hkl), amplitude=amplitude)
    inverse_d2 = cell.calculate_1_d2_array(hkl)
    chosen = (inverse_d2 >= LOWEST**-2) & (inverse_d2 <= HIGHEST**-2)
    none = NativePatterson(np.nan, (np.nan, np.nan, np.nan), None)
    if chosen.sum() < FEWEST_LOW or not np.any(amplitude[chosen]):
        return none
    density = _patterson(hkl[chosen], amplitude[chosen] ** 2, cell, spacegroup)
    order = np.argsort(-density, axis=None)
    for some in np.array_split(order, max(1, len(order) // 10_000)):  # the peak is near the start
        vectors = np.stack(np.unravel_index(some, density.shape), axis=-1) / density.shape
        distance = _distance_to_lattice(vectors, cell, spacegroup)
        far = np.flatnonzero(distance >= NEAREST)
        if len(far):
            height = float(density.flat[some[far[0]]] / density[0, 0, 0])
            x, y, z = vectors[far[0]].tolist()
            warning = (
                f"The native Patterson map has a peak of {100 * height:.0f} % of the origin at ({x:.2f}, {y:.2f}, "
                f"{z:.2f}), {distance[far[0]]:.0f} Å away: molecules repeat by a translation (translational NCS). It "
                "makes whole classes of reflections weak, which upsets scales, error models and R factors: look at "
                "these class by class."
            )
            return NativePatterson(height, (x, y, z), warning if height > HEIGHT else None)
    return none


def hydrogen_note(elements: Iterable[str]) -> str | None:
    """A sentence if a model, by the symbols of its atoms, has no hydrogens or deuteriums; None for no atoms."""
    found = {element.strip().upper() for element in elements}
    if not found or found & {"H", "D"}:
        return None
    return (
        "The model has no hydrogens: they hold about a tenth of the electrons of a protein; unless they were left out "
        "on purpose, add them at their calculated places (with reduce or `gemmi h`, for example)."
    )


def dispersion_note(
    elements: Iterable[str], *, wavelength: float | None, radiation: Radiation = "xray", stated: float | None = None
) -> str | None:
    """A sentence if occupancies of heavy atoms are refined without f′, which near an edge is several electrons.

    `elements` are symbols of the atoms that are refined, `stated` is the wavelength, in Å, in the file of the data.
    """
    if wavelength is not None or radiation != "xray":
        return None
    heavy = sorted({one.name for one in map(gemmi.Element, set(elements)) if one.atomic_number >= HEAVY})
    if not heavy:
        return None
    # what is out of this range is no wavelength in Å (an energy, or one in nm), and refused if it is given
    known = stated is not None and SHORTEST <= stated <= LONGEST
    of_file = f" ({stated:.4f} Å in the file of the data)" if known else ""
    return (
        f"The dispersion of {', '.join(heavy)} is left out; near an absorption edge it is several electrons, which "
        f"would be taken for occupancy: give the wavelength{of_file}."
    )


def _strong(inverse_d2: Values, amplitude: Values, sigma: Values) -> Flags:
    """Reflections up to the first of twenty shells with too little signal; I/σ(I) is half of F/σ(F)."""
    order = np.argsort(inverse_d2, kind="stable")
    keep = np.zeros(len(order), bool)
    for shell in np.array_split(order, 20):
        if len(shell) and np.mean(amplitude[shell] / (2 * sigma[shell])) < LOWEST_SIGNAL:
            break
        keep[shell] = True
    return keep


def _local_differences(hkl: Int[np.ndarray, "reflections 3"], intensity: Values) -> Float[np.ndarray, " pairs"]:
    """L of all pairs whose indices differ by even numbers that add up to four at most."""
    keys = keys_of(hkl)
    order = np.argsort(keys)
    keys, intensity = keys[order], intensity[order]
    found = []
    for step in product((-4, -2, 0, 2, 4), repeat=3):
        if step <= (0, 0, 0) or np.abs(step).sum() > 4:  # one of each pair of opposite steps
            continue
        wanted = keys + keys_of(np.array([step]))
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        there = keys[at] == wanted
        first, second = intensity[there], intensity[at[there]]
        total = first + second
        found.append((first - second)[total > 0] / total[total > 0])
    return np.concatenate(found)


def _patterson(
    hkl: np.ndarray, intensity: np.ndarray, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Float[np.ndarray, "u v w"]:
    """Sum of I·cos(2πh·x) over all symmetry mates, on a grid of a quarter of the resolution."""
    grid = gemmi.FloatGrid()
    grid.set_unit_cell(cell)
    grid.spacegroup = spacegroup
    grid.set_size_from_spacing(HIGHEST / 4, gemmi.GridSizeRounding.Up)
    shape = (grid.nu, grid.nv, grid.nw)
    coefficients = np.zeros(shape)
    for operation in spacegroup.operations().sym_ops:
        mates = hkl @ np.array(operation.rot) // gemmi.Op.DEN
        for sign in (1, -1):
            coefficients[tuple((sign * mates % np.array(shape)).T)] = intensity  # mates that coincide count once
    return np.fft.fftn(coefficients).real


def _distance_to_lattice(
    vectors: Float[np.ndarray, "points 3"], cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Float[np.ndarray, " points"]:
    """Distance to the nearest lattice point, centring included, in Å."""
    orthogonal = np.array(cell.orth.mat.tolist())
    nearest = np.full(len(vectors), np.inf)
    for centring in np.array(list(spacegroup.operations().cen_ops)) / gemmi.Op.DEN:
        away = vectors - centring
        away -= np.round(away)
        for shift in product((-1, 0, 1), repeat=3):
            nearest = np.minimum(nearest, np.linalg.norm((away + shift) @ orthogonal.T, axis=-1))
    return nearest
