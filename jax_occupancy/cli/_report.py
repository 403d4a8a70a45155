"""What `jax-occupancy refine` prints about its input and its result."""

import numpy as np
from rich import box
from rich.console import Console

from jax_occupancy import _words as words
from jax_occupancy.cli._console import as_options, print_columns, say, say_note
from jax_occupancy.io import Maps, Model, Reflections
from jax_occupancy.refinement import Solution
from jax_occupancy.xray import hydrogen_note

OUTLIERS_SHOWN = 5
INDENT = 7
# Headings that a narrow column breaks.
HEADINGS = {"LLG absent": "LLG\nabsent", "LLG full": "LLG\nfull", "LLG unlinked": "LLG un-\nlinked"}
LEFT = {"group", "sum", "occupancy", "note"}
# These are left out where they say nothing.
OPTIONAL = {"LLG unlinked": "unlinked", "ΔB, Å²": "ΔB", "note": ""}
# From this width on a column takes one blank more.
ROOMY = 100


def print_input(console: Console, model: Model, reflections: Reflections | Maps) -> None:
    """Say what was read, and what was left out."""
    if isinstance(reflections, Maps):
        sizes = " x ".join(map(str, reflections.density.shape))
        edges = " x ".join(f"{edge:.3f}" for edge in reflections.pixel)
        say(console, f"Model  {model.path}: {model.n_atoms} atoms", indent=INDENT)
        kind = "a map" if reflections.difference is None else "half maps"
        what = f"{kind} of {sizes} voxels of {edges} Å, used to {reflections.resolution:g} Å"
        say(console, f"Data   {' and '.join(map(str, reflections.paths))}: {what}", indent=INDENT)
        return print_notes(console, model)
    labels = ", ".join(label for label in reflections.labels.values() if label)
    spacegroup = model.spacegroup.xhm() if model.spacegroup else "no space group"
    flag = f" (flag {reflections.free_value})" if reflections.n_free else ""
    lines = [
        f"Model  {model.path}: {model.n_atoms} atoms, {spacegroup}",
        f"Data   {reflections.path}: {labels}; {words.data_words(reflections)}{flag}",
        f"       {words.completeness_words(reflections)}",
    ]
    if left_out := words.left_out_words(reflections):
        lines.append(f"       left out: {left_out}")
    for line in [*lines, *(f"       {as_options(note)}" for note in reflections.notes)]:
        say(console, line, indent=INDENT)
    print_notes(console, model)


def print_notes(console: Console, model: Model) -> None:
    """Say what should be known of the model."""
    for note in [*model.notes, hydrogen_note(model.atoms["element"])]:
        if note is not None:
            say_note(console, note)


def print_solution(console: Console, solution: Solution, *, truth: np.ndarray | None = None) -> None:
    """Say what became of every group, beside the true occupancy of each atom if it is known, and how well it agrees."""
    outliers = words.outlier_sentence(solution, most=OUTLIERS_SHOWN)
    for warning in (*solution.grouping.warnings, *words.data_warnings(solution.data), outliers):
        if warning is not None:
            say_note(console, warning)
    _print_table(console, solution, truth)
    if solution.fsc is not None:
        say(console, f"Used  {words.data_words(solution.data)}")
    for name, values in words.r_values(solution).items():
        say(console, f"{name}  {values}")
    if (doubt := words.doubt(solution)) is not None:
        say_note(console, doubt)
    name, values = words.target_words(solution)
    say(console, f"{name[0].upper()}{name[1:]}  {values} (both on the final scales)")
    if solution.minima:
        say(console, words.priors_sentence(solution))
    if solution.sigma_a_source == "working":
        say_note(console, words.NO_FREE_SET)
    _print_minima(console, solution)
    say(console, solution.message)


def _print_table(console: Console, solution: Solution, truth: np.ndarray | None) -> None:
    """A row per group, narrow enough for 80 columns, and below what columns and numbers of notes mean."""
    columns = words.group_columns(solution, narrow=True, truth=truth)
    silent = {name for name in OPTIONAL if not any(columns[name])}
    shown = {HEADINGS.get(name, name): cells for name, cells in columns.items() if name not in silent}
    ends = np.cumsum([len(s.groups) for s in solution.grouping.sets]).tolist()
    print_columns(
        console,
        shown,
        numbers=shown.keys() - LEFT,
        sections={end - 1 for end, s in zip(ends, solution.grouping.sets, strict=True) if len(s.groups) > 1},
        min_width={name: 5 if name in LEFT - {"note"} else 4 for name in shown.keys() - {"truth", "z"}},
        title=f"{len(solution.table)} occupancies in {len(solution.grouping.sets)} sets",
        title_justify="left",
        box=box.HORIZONTALS,
        padding=(0, 0 if console.width < ROOMY else 1, 0, 0),
    )
    left_out = {OPTIONAL[name] for name in silent} | ({"z"} if truth is None else set())
    for name, meaning in words.LEGEND.items():
        if name not in left_out:
            say(console, f"{name:<11}{meaning.format(words.refined_besides(solution))}", indent=11)
    if solution.fsc is not None:
        say(console, words.MAP_LEGEND, indent=11)
    for text, number in words.numbered_notes(solution).items():
        say(console, f"{number:>4}  {text}", indent=6)
    if residues := words.differing_residues(solution):
        say(console, "Table of residues: occupancies each would have alone, and the log-likelihood it would gain")
    for line in residues:
        say(console, f"      {line}", indent=8)


def _print_minima(console: Console, solution: Solution) -> None:
    sentence = words.minima_sentence(solution)
    if not solution.starts:
        say(console, sentence)
    elif len(solution.minima) <= 1:
        say(console, f"{sentence.removeprefix('The start and ')} {words.REPRODUCIBLE}")
    else:
        say_note(console, f"{sentence.removesuffix('.')}:")
        for line in words.minima_lines(solution):
            say(console, f"       {line}")
