"""What `jax-occupancy refine` says about its input and its result."""

import numpy as np
from rich.console import Console
from rich.table import Table

from jax_occupancy.cli._console import plain_row, say, say_note
from jax_occupancy.cli._groups import sum_label
from jax_occupancy.io import Model, Reflections
from jax_occupancy.refinement import Solution

# Name of each target and digits of its value.
TARGET_NAMES = {"ml": ("-log-likelihood", 2), "ls": ("Sum of squares", 6)}


def print_input(console: Console, model: Model, reflections: Reflections) -> None:
    """Say what was read, and what was left out."""
    low, high = reflections.resolution
    labels = ", ".join(label for label in reflections.labels.values() if label)
    spacegroup = model.spacegroup.xhm() if model.spacegroup else "no space group"
    flag = f" (flag {reflections.free_value})" if reflections.n_free else ""
    say(console, f"Model  {model.path}: {model.n_atoms} atoms, {spacegroup}")
    say(
        console,
        f"Data   {reflections.path}: {labels}; {reflections.n_reflections} reflections, {low:.2f}-{high:.2f} Å, "
        f"{reflections.n_free} free{flag}",
    )
    if any(reflections.left_out.values()):
        counts = ", ".join(f"{count} {reason}" for reason, count in reflections.left_out.items() if count)
        say(console, f"       left out: {counts}")
    for note in reflections.notes:
        say(console, f"       {note}")


def print_solution(console: Console, solution: Solution, *, truth: np.ndarray | None = None) -> None:
    """Say what became of every group, and how well the model agrees with the data.

    Args:
        console: where to print.
        solution: what `refine` returned.
        truth: the true occupancy of each atom, if it is known.
    """
    for warning in solution.grouping.warnings:
        say_note(console, warning)
    console.print(_solution_table(solution, truth))
    for name, values in (("R-work", solution.r_work), ("R-free", solution.r_free)):
        if np.isfinite(values.end):
            say(console, f"{name}  {values.start:.4f} → {values.end:.4f}")
    name, digits = TARGET_NAMES[solution.target_name]
    start, end = (f"{value:.{digits}f}" for value in (solution.target.start, solution.target.end))
    say(console, f"{name}  {start} → {end} (both on the final scales)")
    if solution.sigma_a_source == "working":
        say_note(console, "too few free reflections: sigma_A is estimated from the working set, and too high.")
    say(console, solution.message)


def _solution_table(solution: Solution, truth: np.ndarray | None) -> Table:
    sets = solution.grouping.sets
    table = Table(title=f"{len(solution.table)} occupancies in {len(sets)} sets", title_justify="left")
    table.add_column("group", overflow="fold", min_width=12)
    table.add_column("sum", overflow="fold")
    for name in ("atoms", "start", "refined", *(["truth"] if truth is not None else [])):
        table.add_column(name, justify="right")
    # Rows of the solution are in the order of the groups.
    occupancies = iter(zip(solution.table["start"], solution.table["occupancy"], strict=True))
    for s in sets:
        for i, group in enumerate(s.groups):
            start, end = next(occupancies)
            values = [f"{start:.2f}", f"{end:.3f}" + ("" if group.refinable else " fixed")]
            if truth is not None:
                values.append(f"{truth[group.atoms[0]]:.2f}")
            row = plain_row(group.name, sum_label(s) if i == 0 else "", str(group.atoms.size), *values)
            table.add_row(*row, end_section=i + 1 == len(s.groups) > 1)
    return table
