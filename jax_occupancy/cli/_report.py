"""What `jax-occupancy refine` prints about its input and its result."""

import numpy as np
from rich import box

from jax_occupancy import _tables as tables
from jax_occupancy import _words as words
from jax_occupancy.cli._console import Console, as_options, print_columns, say, say_note
from jax_occupancy.io import Maps, Model, Reflections
from jax_occupancy.refinement import Solution

INDENT = 7
# Headings that a narrow column breaks.
HEADINGS = {"LLG absent": "LLG\nabsent", "LLG full": "LLG\nfull", "LLG unlinked": "LLG un-\nlinked"}
LEFT = {"group", "sum", "occupancy", "note"}
# These are left out where they say nothing.
OPTIONAL = ("LLG unlinked", "ΔB, Å²", "note")
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
    notes = [as_options(note) for note in reflections.notes]
    for line in [*lines, *(f"       {note}" for note in notes)]:
        say(console, line, indent=INDENT)
    console.notes += notes
    print_notes(console, model)


def print_notes(console: Console, model: Model) -> None:
    """Say what should be known of the model."""
    for note in words.model_notes(model):
        say_note(console, note)


def print_solution(
    console: Console, solution: Solution, *, brief: bool = False, truth: np.ndarray | None = None
) -> None:
    """Say what became of every group, beside the true occupancy of each atom if it is known, and how well it agrees."""
    for note in words.notes(solution):
        say_note(console, note)
    _print_attention(console, solution)
    if not brief:
        _print_table(console, solution, truth)
    if residues := tables.differing_residues(solution):
        say(console, "Table of residues: occupancies each would have alone, and the log-likelihood it would gain")
    for line in residues:
        say(console, f"      {line}", indent=8)
    if solution.fsc is not None:
        say(console, f"Used  {words.data_words(solution.data)}")
    for name, values in words.r_values(solution).items():
        say(console, f"{name}  {values}")
    name, values = words.target_words(solution)
    say(console, f"{name[0].upper()}{name[1:]}  {values} (both on the final scales)")
    if solution.minima:
        say(console, words.priors_sentence(solution))
    _print_minima(console, solution)
    say(console, solution.message)


def _print_attention(console: Console, solution: Solution) -> None:
    """Each note with its number in the table, and the groups that have it."""
    noted = tables.attention(solution)
    say(console, tables.attention_title(solution) + (":" if noted else "."))
    for number, (text, groups) in enumerate(noted, start=1):
        say(console, f"{number:>4}  {text}", indent=6)
        if groups:
            say(console, f"      {groups}", indent=6)


def _print_table(console: Console, solution: Solution, truth: np.ndarray | None) -> None:
    """A row per group, narrow enough for 80 columns, and below what columns mean."""
    columns = tables.group_columns(solution, narrow=True, truth=truth)
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
    for name, meaning in tables.legend(solution, columns.keys() - silent).items():
        say(console, f"{name:<13}{meaning}", indent=13)


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
