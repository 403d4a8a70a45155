"""What is said of a result in sentences, for the terminal and for pages alike."""

import platform
from typing import TYPE_CHECKING, Any

import gemmi
import jax
import numpy as np
from scipy.optimize import curve_fit

import jax_occupancy
from jax_occupancy._numbers import with_esd
from jax_occupancy._options import MOST_ATOMS, SMALLEST_FRACTION
from jax_occupancy.io import Model, Reflections
from jax_occupancy.xray import (
    TwinOrbits,
    completeness_by_shell,
    hydrogen_note,
    native_patterson,
    quantity_note,
    random_r_factor,
    twin_test,
)

if TYPE_CHECKING:
    from jax_occupancy.refinement import SeriesSolution, Solution
else:
    # Solutions draw themselves: what draws them reads their attributes and imports nothing of them.
    SeriesSolution = Solution = Any

N_SHELLS = 5
OUTLIERS_SHOWN = 5
# Noise apart, refined models leave no more of the R of a random structure than this part at 0 Å, and this much more
# for each Å: an acentric R-work of 0.26 at 1 Å, 0.28 at 2 Å, 0.31 at 3 Å (usual are 0.15, 0.19, 0.23).
UNEXPLAINED, UNEXPLAINED_PER_ANGSTROM = 0.4, 0.04
# Whatever the resolution and the noise, a model that leaves this part is wrong, or not of these data.
UNRELATED = 0.76

# A model that explains a map correlates with it by this part at least of what the half maps say that the true one does,
# and by this much with a single map.
EXPLAINED, EXPLAINED_ALONE = 0.5, 0.2

NO_FREE_SET = (
    "too few free reflections: sigma_A is estimated from the working set and therefore too high, standard "
    "uncertainties are too small"
)
REPRODUCIBLE = "Reproducible is not the same as accurate: that is what the standard uncertainties are for."

# So many groups that move together by more than this, in Å, say that the model as a whole is off.
FEWEST_MOVING, COMMON_SHIFT = 8, 0.1

# What an occupancy trades with, and the prior that tells whether it was refined.
NUISANCES = (("B factors", "b_error"), ("positions", "position_error"))

# Occupancies that moved by so many of their uncertainties, in a model with at least this part of what being refined at
# wrong ones does to it.
FAR, REFINED_AT_THEM = 3.0, 0.25
TRENDS = "b_trend", "b_trend_of_atoms", "position_trend"

# Less than so many per cent of what a wrong occupancy does to B factors is not worth a word.
FOLLOWING = 5


def versions() -> dict[str, str]:
    """What the numbers were computed with."""
    found = {"jax-occupancy": jax_occupancy.__version__, "Python": platform.python_version()}
    return found | {one.__name__: one.__version__ for one in (jax, gemmi, np)}


def data_words(data: Any) -> str:
    """How many reflections, to which resolution."""
    low, high = data.resolution
    if not isinstance(data, Reflections):
        pieces = f"{len(data.boxes)} piece{'s' * (len(data.boxes) > 1)} of the map"
        said = f"{data.n_reflections} Fourier coefficients of {pieces}, to {high:.2f} Å; noise "
        said += "from the half maps" if data.half_fsc is not None else "from where there are no atoms"
        if data.half_fsc is not None:
            d, fsc = data.between.d_spacing, data.half_fsc
            said += f", which correlate by {fsc[0]:.2f} at {d[0]:.1f} Å, {fsc[-1]:.2f} at {d[-1]:.2f} Å"
        return said
    return f"{data.n_reflections} reflections, {low:.2f}-{high:.2f} Å, {data.n_free} free"


def left_out_words(data: Any) -> str:
    """What was left out when the data were read; empty if nothing was."""
    if not isinstance(data, Reflections):
        return ""
    return ", ".join(f"{count} {reason}" for reason, count in data.left_out.items() if count)


def completeness_words(data: Reflections) -> str:
    """How complete the data are, in all and by shell."""
    table = completeness_by_shell(data.hkl, cell=data.cell, spacegroup=data.spacegroup, n_shells=N_SHELLS)
    overall = table["n_observed"].sum() / max(table["n_possible"].sum(), 1)
    shells = [f"to {shell['d_min']:.2f} Å {100 * shell['completeness']:.1f}" for shell in table.to_dict("records")]
    return f"completeness {100 * overall:.1f} % ({', '.join(shells)})"


def data_warnings(data: Any, *, twinned: bool = False) -> list[str]:
    """What the data look like that the refinement takes no account of; that of a twin it does."""
    if not isinstance(data, Reflections):
        return list(data.notes)
    amplitude, sigma = np.asarray(data.amplitude), np.asarray(data.sigma)
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    twin, intensities = twin_test(data.hkl, amplitude, sigma, **crystal), data.kind == "intensities"
    column = (data.labels.get("intensity" if intensities else "amplitude") or "...").split(" and ")[0]
    mistaken = quantity_note(twin, intensities=intensities, column=column)
    if mistaken is not None:
        # other statistics then tell nothing of the crystal
        return [mistaken]
    found = [None if twinned else twin.warning, native_patterson(data.hkl, amplitude, **crystal).warning]
    return [warning for warning in found if warning is not None]


def r_values(solution: Solution) -> dict[str, str]:
    """R-work and, where there is a free set, R-free; for a map its correlation with the model, the mean over shells."""
    if solution.fsc is not None:
        return {"FSC": f"{solution.fsc.start:.4f} → {solution.fsc.end:.4f}"}
    both = {"R-work": solution.r_work, "R-free": solution.r_free}
    said = {name: f"{r.start:.4f} → {r.end:.4f}" for name, r in both.items() if np.isfinite(r.end)}
    return said | ({"Twin": twin_words(solution)} if len(solution.twin) else {})


def twin_words(solution: Solution) -> str:
    """The laws of a twin, each with the fraction of its domains; empty for a single crystal."""
    rows = solution.twin.to_dict("records")
    return "; ".join(f"{row['law']}, fraction {with_esd(row['fraction'], row['esd'])}" for row in rows)


def target_words(solution: Solution) -> tuple[str, str]:
    """The name of the target, and its values at the start and at the end."""
    label, digits = solution.target_label, solution.target_digits
    name = label[0].lower() + label[1:]
    return name, f"{solution.target.start:.{digits}f} → {solution.target.end:.{digits}f}"


def doubt(solution: Solution) -> str | None:
    """A sentence if the model does not explain the data: by R factors against that of a random structure, and by σ_A.

    √(1 − σ_A²) is the ratio of these R factors but for noise.
    """
    if solution.fsc is not None:
        return _doubt_of_map(solution)
    data: Any = solution.data
    sigma_a, r_work, working = solution.sigma_a, solution.r_work.end, ~data.free
    amplitude, sigma, d_min = np.asarray(data.amplitude), np.asarray(data.sigma), data.resolution[1]
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    random = random_r_factor(data.hkl, amplitude, solution.model_amplitude, **crystal)
    # one σ without bounds would excuse any R-work
    noise = np.sqrt(2 / np.pi) * np.minimum(sigma, amplitude)[working].sum() / amplitude[working].sum()
    best = np.hypot((UNEXPLAINED + UNEXPLAINED_PER_ANGSTROM * d_min) * random, noise)
    limit, wrong = min(best, UNRELATED * random), 0 if sigma_a is None else np.sqrt(np.mean(1 - sigma_a.sigma_a**2))
    if not (r_work > limit or solution.r_free.end > UNRELATED * random or wrong > UNRELATED):
        return None
    more = f", an R-free of {solution.r_free.end:.2f}" if data.n_free else ""
    more += f" and a sigma_A of {np.mean(sigma_a.sigma_a):.2f}" if sigma_a else ""
    return (
        f"with an R-work of {r_work:.2f}{more} the model does not explain these data (at {d_min:.1f} Å refined models "
        f"have less than {limit:.2f}, a random structure has {random:.2f}), and the occupancies mean little: "
        "are model and data of the same crystal, with the same space group, origin and indexing? If so, refine the "
        "whole model against these data first"
    )


def refined_besides(solution: Solution) -> str:
    """What was refined with the occupancies."""
    names = [name for name, key in NUISANCES if key in solution.priors]
    return f"{' and '.join(names)} refined with it" if names else "B factors and positions held"


def _doubt_of_map(solution: Solution) -> str | None:
    """A sentence if map and model correlate less than they would if the model explained what the half maps share."""
    shells, fsc = solution.fsc_shells, solution.fsc
    assert shells is not None
    assert fsc is not None
    halves = np.clip(shells["fsc_halves"].to_numpy(), 0, 1)  # NaN for a single map
    best = np.sqrt(2 * halves / (1 + halves))
    limit = np.nan_to_num(EXPLAINED * np.average(best, weights=shells["n"]), nan=EXPLAINED_ALONE)
    if fsc.end > limit:
        return None
    return (
        f"map and model correlate by {fsc.end:.2f} only, less than {limit:.2f}, and the occupancies mean little: is "
        "the model docked in this map, and is the map the right hand? If so, refine the whole model against it first"
    )


def priors_sentence(solution: Solution) -> str:
    """How wrong B factors and positions were taken to be."""
    priors, parts = solution.priors, []
    if "position_error" in priors:
        parts.append(f"coordinates {priors['position_error']:.3f} Å along each axis")
    if "b_error" in priors:
        follows = 100 * priors.get("b_trend", 0)
        besides = f" besides {follows:.0f} % of what a wrong occupancy does to them" if follows >= FOLLOWING else ""
        parts.append(f"B factors of groups {priors['b_error']:.1f} Å²{besides}")
    if "relative_b_error_of_atoms" in priors:
        parts.append(f"those of atoms {100 * priors['relative_b_error_of_atoms']:.0f} %")
    held = [name for name, key in NUISANCES if key not in priors]
    said = f"How wrong groups were taken to be: {', '.join(parts)}; all else stays as it is. " if parts else ""
    if parts and sum(group.atoms.size for group in solution.grouping.groups if group.refinable) > MOST_ATOMS:
        said += f"With more than {MOST_ATOMS:,} atoms in groups residues moved as bodies. "
    if held:
        held_words = " and ".join(held)
        said += f"{held_words[0].upper()}{held_words[1:]} were held: standard uncertainties take them to be right."
    return said.strip()


def minima_sentence(solution: Solution) -> str:
    """Where other starts ended."""
    starts, minima = solution.starts, solution.minima
    if not minima:
        return "No occupancy is refinable."
    if not starts:
        return "No other starts were tried."
    if len(minima) == 1:
        return f"The start and {starts} random start{'s' * (starts > 1)} ended in the same minimum."
    return f"{len(minima)} distinct minima; the lowest is the answer."


def minima_lines(solution: Solution) -> list[str]:
    """The distinct minima, one by one."""
    return [
        f"target {minimum.target:.{solution.target_digits}f}, reached {minimum.count} times, occupancies up to "
        f"{minimum.max_shift:.3f} away"
        for minimum in solution.minima
    ]


def notes(solution: Solution) -> list[str]:
    """What should be known of groups, data and fit, the worst first."""
    said = [doubt(solution), *solution.grouping.warnings, *_twin_notes(solution), _outlier_sentence(solution)]
    said += [_common_shift(solution), _followed(solution)]
    return [note for note in [*said, NO_FREE_SET if solution.sigma_a_source == "working" else None] if note]


def model_notes(model: Model) -> list[str]:
    """What should be known of the model."""
    return [note for note in (*model.notes, hydrogen_note(model.atoms["element"])) if note is not None]


def scale_words(solution: Solution) -> dict[str, str]:
    """The overall scale and its anisotropy, and the bulk solvent as a Gaussian in resolution through its scale."""
    scale, s2 = solution.scale, solution.scale.d_spacing**-2.0
    k, d, tensor = scale.k_overall, scale.d_spacing, " ".join(f"{b:z.2f}" for b in scale.b_anisotropic)
    said = {"Scale": f"k {k[0]:.3g} at {d[0]:.1f} Å, {k[-1]:.3g} at {d[-1]:.2f} Å; anisotropic B {tensor} Å²"}
    said["Scale"] += " (11 22 33 12 13 23)"
    if len(s2) > 2 and scale.k_mask.any():
        start, bounds = (0.35, 46.0), ((0, 0), (10, 1000))
        (k_sol, b_sol), _ = curve_fit(lambda x, k, b: k * np.exp(-b * x / 4), s2, scale.k_mask, start, bounds=bounds)
        said["Bulk solvent"] = f"k_sol {k_sol:.2f}, B_sol {b_sol:.0f} Å², a Gaussian through the k_mask below"
    return said


def _twin_notes(solution: Solution) -> list[str]:
    """What the data look like, and free reflections whose twin mates were refined against."""
    data: Any = solution.data
    laws = solution.twin["law"].tolist()
    said = data_warnings(data, twinned=bool(laws))
    for law in solution.twin["law"][solution.twin["fraction"] < SMALLEST_FRACTION]:
        said.append(f"hardly any of the crystal is a twin by {law}: take it for single (twin='none')")
    if laws and data.n_free:
        orbits = TwinOrbits.of(data.hkl, laws, cell=data.cell, spacegroup=data.spacegroup)
        shared = int(np.isin(orbits.number[data.free], orbits.number[~data.free]).sum())
        if shared:
            too_high = "" if solution.sigma_a is None else ", and sigma_A too high"
            said.append(
                f"{shared} of {data.n_free} free reflections have a twin mate in the working set: R-free is too low"
                f"{too_high}; choose free reflections in the symmetry of the lattice"
            )
    return said


def _common_shift(solution: Solution) -> str | None:
    """A sentence if the groups moved by much in one direction."""
    moving = [group.atoms for group in solution.grouping.groups if group.refinable and group.atoms.size]
    if solution.shifts is None or len(moving) < FEWEST_MOVING:
        return None
    of_groups = np.array([solution.shifts[atoms].mean(axis=0) for atoms in moving])
    x, y, z = mean = of_groups.mean(axis=0)
    away, unsure = np.linalg.norm(mean), np.linalg.norm(of_groups.std(axis=0)) / len(moving) ** 0.5
    if not away > max(COMMON_SHIFT, 5 * unsure):
        return None
    mend = "refine its position" if solution.fsc_shells is None else "dock it"
    return f"the groups moved by {away:.1f} Å or more in one direction ({x:z.2f}, {y:z.2f}, {z:z.2f}): {mend} again"


def _followed(solution: Solution) -> str | None:
    """A sentence if the rest of the model has been refined at occupancies that are wrong."""
    if max(solution.priors.get(name, 0.0) for name in TRENDS) < REFINED_AT_THEM:
        return None
    table = solution.table[solution.table["refinable"]]
    far = int((np.abs(table["occupancy"] - table["start"]) > FAR * table["esd"]).sum())
    if not far:
        return None
    them = "one occupancy is" if far == 1 else f"{far} occupancies are"
    return (
        f"{them} more than {FAR:.0f} uncertainties away from where the model had been refined: atoms beside the groups "
        "have followed the old ones; refine the model again at the new ones, and repeat until they stay"
    )


def _outlier_sentence(solution: Solution) -> str | None:
    """The first outliers in a sentence."""
    rows = solution.outliers.to_dict("records")
    if not rows:
        return None
    shown = "; ".join(
        f"{row['h']} {row['k']} {row['l']} {row['reason']} ({row['observed']:.1f}, expected {row['expected']:.1f})"
        for row in rows[:OUTLIERS_SHOWN]
    )
    more = f"; and {len(rows) - OUTLIERS_SHOWN} more" if len(rows) > OUTLIERS_SHOWN else ""
    return f"{len(rows)} reflection{'s' * (len(rows) > 1)} left out as outliers: {shown}{more}"
