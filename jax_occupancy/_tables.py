"""The tables of a result as plain text, for the terminal and for pages alike."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from jax_occupancy._numbers import at_bound, log_likelihood, of_sum, two_digits, with_decimals, with_esd
from jax_occupancy._words import SeriesSolution, Solution, notes, refined_besides, twin_words
from jax_occupancy.groups import GroupSet

# What the columns mean; `refined_besides` fills the gap.
LEGEND = {
    "occupancy": "0.57(4): standard uncertainty in the last digit, {}",
    "held": "standard uncertainty with B factors and positions held",
    "LLG absent": "log-likelihood gained over an occupancy of zero",
    "LLG full": "log-likelihood gained over an occupancy of one (of 1/n across a symmetry element)",
    "LLG unlinked": "log-likelihood that would be gained if the residues of the set went their own way",
    "ΔB, Å²": "shift of the B factors of the group",
    "CC": "correlation of map and model around the group",
    "z": "(refined - truth) / standard uncertainty",
    "note": "number in the list of what needs attention",
}
ON_A_BOUND = "; 0.00 (<0.03): on a bound, with the one-sided 95 % limit"
TOGETHER = "; Σ 0.39(3): what conformers that can't be told apart have together"
SERIES_LEGEND = "occupancy 0.57(4): standard uncertainty in the last digit; held: with B factors and positions held"
# What the notes of a table say, the worst first; one of them names its groups.
NAMES_THEM = "only their sum"
URGENT = ("no data", "not supported", NAMES_THEM, "hardly see", "residues differ", "on a bound", "fully occupied")

Columns = dict[str, list[str]]


def sum_label(group_set: GroupSet) -> str:
    """What the members of a set sum to."""
    return f"Σ {group_set.relation}" if group_set.kind != "free" else group_set.relation or "free"


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


def scale_columns(solution: Solution) -> Columns:
    """The scales by resolution, and σ_A."""
    scale, sigma_a = solution.scale, solution.sigma_a
    columns = {"d, Å": [f"{d:.2f}" for d in scale.d_spacing], "k": [f"{k:.4g}" for k in scale.k_overall]}
    columns["k_mask"] = [f"{k:.3f}" for k in scale.k_mask]
    if sigma_a is not None:
        at = np.interp(scale.d_spacing**-2.0, sigma_a.d_spacing**-2.0, sigma_a.at_nodes)
        columns["sigma_A"] = [f"{one:.3f}" for one in at]
    return columns


def dataset_name(name: Any) -> str:
    """The name of a data set, which may be a number."""
    return name if isinstance(name, str) else f"{name:g}"


def occupancy_matrix(series: SeriesSolution) -> Columns:
    """A row for each group, a column for each data set."""
    cells = {(row["group"], row["dataset"]): occupancy(row) for row in series.table.to_dict("records")}
    groups = list(dict.fromkeys(group for group, _ in cells))
    columns = {dataset_name(name): [cells[group, name] for group in groups] for name in series.solutions}
    return {"group, by data set": groups, **columns}


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
    of_rows = [series.solutions.get(row["dataset"]) for row in rows]
    twins = ["" if solution is None else twin_words(solution) for solution in of_rows]
    return {
        "data set": [dataset_name(row["dataset"]) for row in rows],
        **{title: [with_decimals(row[name], n) for row in rows] for title, (name, n) in numbers.items()},
        **({"twin": twins} if any(twins) else {}),
        "result": [row["result"] for row in rows],
        "columns": ["" if row["result"] == "failed" else row["columns"] for row in rows],
    }


def failed_datasets(series: SeriesSolution) -> list[str]:
    """Why some data sets could not be refined."""
    return [f"{dataset_name(name)}: {message}" for name, message in series.failed.items()]


def dataset_notes(series: SeriesSolution) -> list[str]:
    """What should be known of groups and of each data set that was refined."""
    said = []
    for name, solution in series.solutions.items():
        groups = solution.grouping.warnings
        own = [note for note in [*solution.data.notes, *notes(solution)] if note not in groups]
        said += [*groups, *(f"{dataset_name(name)}: {note}" for note in own)]
    return list(dict.fromkeys(said))
