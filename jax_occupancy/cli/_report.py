"""What `jax-occupancy refine` says about its input and its result."""

import numpy as np
from rich.console import Console

from jax_occupancy.cli._console import as_options, say, say_note
from jax_occupancy.cli._table import print_table
from jax_occupancy.io import Model, Reflections
from jax_occupancy.refinement import Solution
from jax_occupancy.xray import completeness_by_shell, hydrogen_note, native_patterson, twin_test

N_SHELLS = 5
OUTLIERS_SHOWN = 5
# Above it a model is wrong, or not of these data: random atoms give 0.59 (Wilson, Acta Cryst. 3, 397, 1950).
DOUBTFUL_R = 0.45
INDENT = 7


def print_input(console: Console, model: Model, reflections: Reflections) -> None:
    """Say what was read, and what was left out."""
    low, high = reflections.resolution
    labels = ", ".join(label for label in reflections.labels.values() if label)
    spacegroup = model.spacegroup.xhm() if model.spacegroup else "no space group"
    flag = f" (flag {reflections.free_value})" if reflections.n_free else ""
    say(console, f"Model  {model.path}: {model.n_atoms} atoms, {spacegroup}", indent=INDENT)
    say(
        console,
        f"Data   {reflections.path}: {labels}; {reflections.n_reflections} reflections, {low:.2f}-{high:.2f} Å, "
        f"{reflections.n_free} free{flag}",
        indent=INDENT,
    )
    say(console, f"       {_completeness(reflections)}", indent=INDENT)
    if any(reflections.left_out.values()):
        counts = ", ".join(f"{count} {reason}" for reason, count in reflections.left_out.items() if count)
        say(console, f"       left out: {counts}", indent=INDENT)
    for note in reflections.notes:
        say(console, f"       {as_options(note)}", indent=INDENT)
    for note in model.notes:
        say_note(console, note)
    if (note := hydrogen_note(model.atoms["element"])) is not None:
        say_note(console, note)


def print_doubts(console: Console, solution: Solution, *, of: str = "") -> None:
    """Say so if the model does not explain the data at all.

    Args:
        console: where to print.
        solution: what `refine` returned.
        of: which data set, before the sentence.
    """
    if solution.r_work.end > DOUBTFUL_R:
        say_note(
            console,
            f"{of}with an R-work of {solution.r_work.end:.2f} the model does not explain these data, and the "
            "occupancies mean nothing: are model and data of the same crystal, with the same origin and indexing? "
            "(Wrong structures give about 0.59.)",
        )


def print_solution(console: Console, solution: Solution, *, truth: np.ndarray | None = None) -> None:
    """Say what became of every group, and how well the model agrees with the data.

    Args:
        console: where to print.
        solution: what `refine` returned.
        truth: the true occupancy of each atom, if it is known.
    """
    for warning in (*solution.grouping.warnings, *_warnings_of_data(solution.data)):
        say_note(console, warning)
    _print_outliers(console, solution)
    print_table(console, solution, truth=truth)
    for name, values in (("R-work", solution.r_work), ("R-free", solution.r_free)):
        if np.isfinite(values.end):
            say(console, f"{name}  {values.start:.4f} → {values.end:.4f}")
    print_doubts(console, solution)
    name, digits = solution.target_label, solution.target_digits
    start, end = (f"{value:.{digits}f}" for value in (solution.target.start, solution.target.end))
    say(console, f"{name}  {start} → {end} (both on the final scales)")
    if solution.sigma_a_source == "working":
        say_note(
            console,
            "too few free reflections: sigma_A is estimated from the working set and therefore too high, standard "
            "uncertainties are too small",
        )
    _print_minima(console, solution)
    say(console, solution.message)


def _completeness(reflections: Reflections) -> str:
    table = completeness_by_shell(
        reflections.hkl, cell=reflections.cell, spacegroup=reflections.spacegroup, n_shells=N_SHELLS
    )
    overall = table["n_observed"].sum() / max(table["n_possible"].sum(), 1)
    shells = ", ".join(
        f"to {shell['d_min']:.2f} Å {100 * shell['completeness']:.1f}" for shell in table.to_dict("records")
    )
    return f"completeness {100 * overall:.1f} % ({shells})"


def _warnings_of_data(data: Reflections) -> list[str]:
    """What the data look like that the refinement takes no account of."""
    amplitude, sigma = np.asarray(data.amplitude), np.asarray(data.sigma)
    crystal = {"cell": data.cell, "spacegroup": data.spacegroup}
    found = [twin_test(data.hkl, amplitude, sigma, **crystal), native_patterson(data.hkl, amplitude, **crystal)]
    return [test.warning for test in found if test.warning is not None]


def _print_outliers(console: Console, solution: Solution) -> None:
    rows = solution.outliers.to_dict("records")
    if not rows:
        return
    shown = "; ".join(
        f"{row['h']} {row['k']} {row['l']} {row['reason']} ({row['observed']:.1f}, expected {row['expected']:.1f})"
        for row in rows[:OUTLIERS_SHOWN]
    )
    more = f"; and {len(rows) - OUTLIERS_SHOWN} more (see --json)" if len(rows) > OUTLIERS_SHOWN else ""
    reflections = "1 reflection" if len(rows) == 1 else f"{len(rows)} reflections"
    say_note(console, f"{reflections} left out as outliers: {shown}{more}")


def _print_minima(console: Console, solution: Solution) -> None:
    """Whether other starts ended elsewhere."""
    starts, minima = solution.starts, solution.minima
    if not starts:
        say(console, "No other starts were tried.")
    elif len(minima) <= 1:
        say(
            console,
            f"{starts} random start{'s' * (starts > 1)} ended in the same minimum. Reproducible is not the same "
            "as accurate: that is what the standard uncertainties are for.",
        )
    else:
        digits = solution.target_digits
        say_note(console, f"{len(minima)} distinct minima; the lowest is the answer:")
        for minimum in minima:
            say(
                console,
                f"       target {minimum.target:.{digits}f}, reached {minimum.count} times, occupancies up to "
                f"{minimum.max_shift:.3f} away",
            )
