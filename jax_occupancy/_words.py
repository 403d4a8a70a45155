"""What is said of a result: its tables and sentences as plain text, for the terminal and for pages alike."""

import platform
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import gemmi
import jax
import numpy as np
from scipy.optimize import curve_fit

import jax_occupancy
from jax_occupancy._numbers import at_bound, log_likelihood, of_sum, two_digits, with_decimals, with_esd
from jax_occupancy.groups import GroupSet
from jax_occupancy.io import Model, Reflections
from jax_occupancy.xray import completeness_by_shell, hydrogen_note, native_patterson, random_r_factor, twin_test

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

# What the columns mean; `refined_besides` fills the gap.
LEGEND = {
    "occupancy": "0.57(4): standard uncertainty in the last digit, {}",
    "held": "standard uncertainty with B factors and positions held",
    "LLG absent": "log-likelihood gained over an occupancy of zero",
    "LLG full": "log-likelihood gained over an occupancy of one",
    "LLG unlinked": "log-likelihood that would be gained if the residues of the set went their own way",
    "ΔB, Å²": "shift of the B factors of the group",
    "CC": "correlation of map and model around the group",
    "z": "(refined - truth) / standard uncertainty",
    "note": "number in the list of what needs attention",
}
ON_A_BOUND = "; 0.00 (<0.03): on a bound, with the one-sided 95 % limit"
TOGETHER = "; Σ 0.39(3): what conformers that can't be told apart have together"
SERIES_LEGEND = "occupancy 0.57(4): standard uncertainty in the last digit; held: with B factors and positions held"
# A model that explains a map correlates with it by this part at least of what the half maps say that the true one does,
# and by this much with a single map.
EXPLAINED, EXPLAINED_ALONE = 0.5, 0.2

NO_FREE_SET = (
    "too few free reflections: sigma_A is estimated from the working set and therefore too high, standard "
    "uncertainties are too small"
)
REPRODUCIBLE = "Reproducible is not the same as accurate: that is what the standard uncertainties are for."

# What the notes of a table say, the worst first; one of them names its groups.
NAMES_THEM = "only their sum"
URGENT = ("not supported", NAMES_THEM, "hardly see", "residues differ", "on a bound", "fully occupied")
# What an occupancy trades with, and the prior that tells whether it was refined.
NUISANCES = (("B factors", "b_error"), ("positions", "position_error"))

# Less than so many per cent of what a wrong occupancy does to B factors is not worth a word.
FOLLOWING = 5

Columns = dict[str, list[str]]


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


def data_warnings(data: Any) -> list[str]:
    """What the data look like that the refinement takes no account of."""
    if not isinstance(data, Reflections):
        return list(data.notes)
    amplitude, sigma = np.asarray(data.amplitude), np.asarray(data.sigma)
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    found = [twin_test(data.hkl, amplitude, sigma, **crystal), native_patterson(data.hkl, amplitude, **crystal)]
    return [test.warning for test in found if test.warning is not None]


def r_values(solution: Solution) -> dict[str, str]:
    """R-work and, where there is a free set, R-free; for a map its correlation with the model, the mean over shells."""
    if solution.fsc is not None:
        return {"FSC": f"{solution.fsc.start:.4f} → {solution.fsc.end:.4f}"}
    both = {"R-work": solution.r_work, "R-free": solution.r_free}
    return {name: f"{r.start:.4f} → {r.end:.4f}" for name, r in both.items() if np.isfinite(r.end)}


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
    random = random_r_factor(data.hkl, amplitude, np.abs(solution.f_model), **crystal)
    noise = np.sqrt(2 / np.pi) * sigma[working].sum() / amplitude[working].sum()
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
        parts.append(f"coordinates by {priors['position_error']:.3f} Å along each axis")
    if "b_error" in priors:
        follows = 100 * priors.get("b_trend", 0)
        besides = f" besides {follows:.0f} % of what a wrong occupancy does to them" if follows >= FOLLOWING else ""
        parts.append(f"B factors of groups by {priors['b_error']:.1f} Å²{besides}")
    if "relative_b_error_of_atoms" in priors:
        parts.append(f"those of atoms by {100 * priors['relative_b_error_of_atoms']:.0f} %")
    held = [name for name, key in NUISANCES if key not in priors]
    said = f"Groups were taken to be wrong in {', '.join(parts)}; all else stays as it is. " if parts else ""
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


def sum_label(group_set: GroupSet) -> str:
    """What the members of a set sum to."""
    return f"Σ {group_set.relation}" if group_set.relation else "free"


def occupancy(row: dict[str, Any]) -> str:
    """The occupancy of a row of the table, with all that is known of it."""
    if not row.get("refinable", True):
        return f"{row['occupancy']:.2f} fixed"
    if row["at_bound"]:
        return at_bound(row["occupancy"], row["limit"])
    if np.isfinite(row.get("sum", np.nan)):
        return f"Σ {of_sum(row['sum'], row['sum_esd'])}"
    return with_esd(row["occupancy"], row["esd"])


def group_columns(solution: Solution, *, narrow: bool = False, truth: np.ndarray | None = None) -> Columns:
    """A row for each group; a narrow table fits 80 columns, its notes are the numbers of `numbered_notes`."""
    rows, groups = _rows(solution), solution.grouping.groups
    sets = [solution.grouping.sets[row["set"]] for row in rows]
    held, gain = (two_digits, log_likelihood) if narrow else (partial(with_decimals, decimals=d) for d in (3, 1))
    first = [i for i, row in enumerate(rows) if i == 0 or row["set"] != rows[i - 1]["set"]]
    numbers = numbered_notes(solution)
    columns = {
        "group": [row["name"] for row in rows],
        "sum": [(s.relation if i in first else "") if narrow else sum_label(s) for i, s in enumerate(sets)],
        "atoms": [str(row["n_atoms"]) for row in rows],
        "start": [f"{row['start']:.2f}" for row in rows],
        "occupancy": [occupancy(row) for row in rows],
        "held": [held(row["esd_fixed"]) for row in rows],
        "LLG absent": [gain(row["llg_absent"]) for row in rows],
        "LLG full": [gain(row["llg_full"]) for row in rows],
        "LLG unlinked": [gain(row["llg_unlinked"]) for row in rows],
        "ΔB, Å²": [_delta_b(row["delta_b"], row["delta_b_esd"]) for row in rows],
        "CC": [with_decimals(row.get("map_cc", np.nan), 2) for row in rows],
        "note": [row["note"] for row in rows],
        "reason": [row["reason"] for row in rows],
    }
    if solution.fsc is None:
        del columns["CC"]
    if narrow:
        del columns["atoms"], columns["reason"]
        columns["note"] = [",".join(str(numbers[text]) for text in _pieces(row["note"])) for row in rows]
    if truth is not None:
        true = [truth[group.atoms[0]].item() for group in groups]
        z = [(row["occupancy"] - q) / (row["esd"] or np.nan) for row, q in zip(rows, true, strict=True)]
        columns |= {"truth": [f"{q:.2f}" for q in true], "z": [f"{one:.1f}" if np.isfinite(one) else "" for one in z]}
        columns["note"] = columns.pop("note")
    return columns


def _delta_b(value: float, esd: float) -> str:
    """A shift of B factors; that of what equations leave no freedom has no standard uncertainty."""
    return with_esd(value, esd) if np.isfinite(value) and esd > 0 else with_decimals(value, 1)


def legend(solution: Solution, columns: Iterable[str]) -> dict[str, str]:
    """What some of the columns mean."""
    cells, meaning = " ".join(map(occupancy, _rows(solution))), LEGEND["occupancy"].format(refined_besides(solution))
    meaning += (ON_A_BOUND if " (" in cells else "") + (TOGETHER if "Σ" in cells else "")
    return {name: one for name, one in {**LEGEND, "occupancy": meaning}.items() if name in columns}


def _rows(solution: Solution) -> list[dict[str, Any]]:
    return solution.table.to_dict("records")


def numbered_notes(solution: Solution) -> dict[str, int]:
    """A number for every different note, the worst first."""
    texts = dict.fromkeys(text for note in solution.table["note"] for text in _pieces(note))
    return {text: number for number, text in enumerate(sorted(texts, key=_urgency), start=1)}


def attention(solution: Solution) -> list[tuple[str, str]]:
    """What needs attention, the worst first: each different note, and which groups have it."""
    rows, found = _rows(solution), []
    for text in numbered_notes(solution):
        noted = [row for row in rows if text in _pieces(row["note"])]
        found.append(
            (text, "" if NAMES_THEM in text else ", ".join(f"{row['name']} {occupancy(row)}" for row in noted))
        )
    return found


def attention_title(solution: Solution) -> str:
    """How many occupancies need attention."""
    noted, n = sum(map(bool, solution.table["note"])), len(solution.table)
    return f"Needs attention: {noted} of {n} occupancies, the worst first" if noted else "Nothing needs attention"


def worst_first(solution: Solution) -> list[int]:
    """The rows of the table by their worst note, then by their standard uncertainty."""
    esd = solution.table["esd"].fillna(0).to_numpy(float)
    urgency = [min(map(_urgency, _pieces(note)), default=len(URGENT) + 1) for note in solution.table["note"]]
    return sorted(range(len(esd)), key=lambda i: (urgency[i], -esd[i]))


def _urgency(note: str) -> int:
    return next((rank for rank, words in enumerate(URGENT) if words in note), len(URGENT))


def _pieces(note: str) -> list[str]:
    return [text for text in note.split("; ") if text]


def residue_columns(solution: Solution) -> Columns:
    """A row for each residue of linked groups."""
    rows = solution.residues.to_dict("records")
    return {
        "residue": [row["residue"] for row in rows],
        "group": [row["group"] for row in rows],
        "occupancy": [f"{row['occupancy']:.3f}" for row in rows],
        "LLG alone": [with_decimals(row["llg_alone"], 1) for row in rows],
    }


def differing_residues(solution: Solution) -> list[str]:
    """A line for each residue of the sets whose links the data speak against."""
    table = solution.table
    differ = table.loc[table["note"].str.contains("its residues differ", regex=False), "name"]
    lines = []
    chosen = solution.residues[solution.residues["group"].isin(differ.tolist())]
    for residue, members in chosen.groupby("residue", sort=False):
        shares = ", ".join(f"{name} {q:.2f}" for name, q in zip(members["group"], members["occupancy"], strict=True))
        lines.append(f"{residue}  {shares}  (LLG {log_likelihood(float(max(members['llg_alone'])))})")
    return lines


def outlier_columns(solution: Solution, *, most: int) -> Columns:
    """A row for each of the first outliers."""
    rows = solution.outliers.to_dict("records")[:most]
    return {
        **{name: [str(row[name]) for row in rows] for name in "hkl"},
        **{name: [f"{row[name]:.4g}" for row in rows] for name in ("observed", "expected")},
        "probability": [f"{row['probability']:.1e}" for row in rows],
        "reason": [row["reason"] for row in rows],
    }


def notes(solution: Solution) -> list[str]:
    """What should be known of groups, data and fit, the worst first."""
    said = [doubt(solution), *solution.grouping.warnings, *data_warnings(solution.data), _outlier_sentence(solution)]
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


def scale_columns(solution: Solution) -> Columns:
    """The scales by resolution, and σ_A."""
    scale, sigma_a = solution.scale, solution.sigma_a
    columns = {"d, Å": [f"{d:.2f}" for d in scale.d_spacing], "k": [f"{k:.4g}" for k in scale.k_overall]}
    columns["k_mask"] = [f"{k:.3f}" for k in scale.k_mask]
    if sigma_a is not None:
        at = np.interp(scale.d_spacing**-2.0, sigma_a.d_spacing**-2.0, sigma_a.at_nodes)
        columns["sigma_A"] = [f"{one:.3f}" for one in at]
    return columns


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


def dataset_name(name: Any) -> str:
    """The name of a data set, which may be a number."""
    return name if isinstance(name, str) else f"{name:g}"


def series_columns(series: SeriesSolution) -> Columns:
    """A row for each group in each data set, whose name stands in the first of its rows only."""
    rows = series.table.to_dict("records")
    first = [i == 0 or row["dataset"] != rows[i - 1]["dataset"] for i, row in enumerate(rows)]
    return {
        "data set": [dataset_name(row["dataset"]) if new else "" for row, new in zip(rows, first, strict=True)],
        "group": [row["group"] for row in rows],
        "occupancy": [occupancy(row) for row in rows],
        "held": [two_digits(row["esd_fixed"]) for row in rows],
        "LLG absent": [log_likelihood(row["llg_absent"]) for row in rows],
        "LLG full": [log_likelihood(row["llg_full"]) for row in rows],
    }


def series_notes(series: SeriesSolution) -> list[str]:
    """Every different note of a series, and which groups of which data sets have it."""
    lines = []
    for note, noted in series.table[series.table["note"] != ""].groupby("note", sort=False):
        groups = noted.groupby("group", sort=False)["dataset"].agg(lambda names: ", ".join(map(dataset_name, names)))
        lines.append(f"{note}: " + "; ".join(f"{group} in {names}" for group, names in groups.items()))
    return lines


def dataset_columns(series: SeriesSolution) -> Columns:
    """A row for each data set, failed ones included."""
    rows = series.datasets.to_dict("records")
    numbers = {"reflections": ("n_reflections", 0), "Å": ("d_min", 2), "R-work": ("r_work", 4), "R-free": ("r_free", 4)}
    if any(solution.fsc for solution in series.solutions.values()):
        numbers = {"coefficients": numbers["reflections"], "Å": numbers["Å"], "FSC": ("fsc", 4)}
    return {
        "data set": [dataset_name(row["dataset"]) for row in rows],
        **{title: [with_decimals(row[name], n) for row in rows] for title, (name, n) in numbers.items()},
        "result": [row["result"] for row in rows],
        "columns": ["" if row["result"] == "failed" else row["columns"] for row in rows],
    }
