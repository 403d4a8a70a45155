"""`jax-occupancy refine`: run it and say what happened."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jax_occupancy.cli._console import make_console, say, say_note
from jax_occupancy.cli._groups import choose_groups_of
from jax_occupancy.cli._report import print_input, print_solution
from jax_occupancy.cli._stopwatch import STAGES, Stopwatch
from jax_occupancy.example import write_example
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections, format_of_name, read_model, read_reflections, write_groups
from jax_occupancy.refinement import Solution
from jax_occupancy.refinement import refine as refine_occupancies


def run_refine(
    model_path: Path,
    reflections_path: Path,
    out: Path | None,
    *,
    columns: Mapping[str, Any],
    model_number: int | None,
    options: Mapping[str, Any],
    target: str,
    begin: float,
) -> None:
    """Refine a model against its data, print the result and write the model and its groups."""
    _use_float64()
    out = default_output(model_path) if out is None else out
    check_output(out, inputs=[model_path, reflections_path])
    groups_out = groups_output(out)
    if options["groups"] is not None and groups_out.resolve() == options["groups"].resolve():
        raise ValueError(f"{groups_out}, beside the refined model, is an input; give that another name (-o)")
    console, watch = make_console(), Stopwatch(begin)
    watch.lap("start")
    model = read_model(model_path, model_number=model_number)
    reflections = read_reflections(reflections_path, **columns)
    print_input(console, model, reflections)
    watch.lap("read")
    grouping = choose_groups_of(model, options)
    watch.lap("groups")
    solution = _refine(console, watch, model, reflections, grouping, target)
    print_solution(console, solution)
    solution.write(model, out)
    say(console, f"Wrote {out}; R values in its header, if any, are from before.")
    _write_groups(console, groups_out, solution, model)
    watch.lap("write")
    say(console, watch.report())


def run_example(out: Path | None, *, begin: float) -> None:
    """Refine the simulated crystal and show what is true."""
    _use_float64()
    if out is not None:
        check_output(out, inputs=[])
    console, watch = make_console(), Stopwatch(begin)
    watch.lap("start")
    with tempfile.TemporaryDirectory() as folder:
        example = write_example(folder)
        watch.lap("simulate")
        model, reflections = read_model(example.model), read_reflections(example.reflections)
        say(console, "A simulated crystal: a helix, a ligand in two poses, waters; the truth is known.")
        print_input(console, model, reflections)
        watch.lap("read")
        solution = _refine(console, watch, model, reflections)
        print_solution(console, solution, truth=example.truth)
        if out is not None:
            solution.write(model, out)
            say(console, f"Wrote {out}")
    watch.lap("write")
    say(console, watch.report())


def default_output(model_path: Path) -> Path:
    """Name the refined model after the one that was read, in the folder where the command runs."""
    stem, suffixes = model_path.name, ""
    while (suffix := Path(stem).suffix) in {".gz", ".pdb", ".ent", ".cif", ".mmcif"}:
        stem, suffixes = stem.removesuffix(suffix), suffix + suffixes
    return Path(f"{stem}_refined{suffixes or '.pdb'}")


def groups_output(out: Path) -> Path:
    """Name the file of groups after the refined model beside it."""
    stem = out.name
    while Path(stem).suffix.lower() in {".gz", ".pdb", ".ent", ".cif", ".mmcif"}:
        stem = Path(stem).stem
    return out.with_name(f"{stem}_groups.toml")


def check_output(out: Path, *, inputs: list[Path]) -> None:
    """Refuse, before any work is done, a name that could not be written in the end."""
    if format_of_name(out) is None:
        raise ValueError(
            f"{out}: the name of the refined model must end in .pdb, .ent, .cif or .mmcif (or these + .gz)"
        )
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f"the folder of {out} does not exist; make it first")
    if any(out.resolve() == path.resolve() for path in inputs):
        raise ValueError(f"{out} is an input; give another name, so that it stays as it was")


def _use_float64() -> None:
    # The last digits of the occupancies need it, and arrays made before would stay in float32. The library itself
    # keeps the session's precision.
    jax.config.update("jax_enable_x64", True)


def _refine(
    console: Console,
    watch: Stopwatch,
    model: Model,
    reflections: Reflections,
    grouping: Grouping | None = None,
    target: str = "ml",
) -> Solution:
    with warnings.catch_warnings(record=True) as caught, console.status("") as status:
        # The user gets the sentence, not the line of code that it comes from.
        warnings.simplefilter("always", UserWarning)
        solution = refine_occupancies(
            model, reflections, groups=grouping, target=target, progress=lambda stage: status.update(STAGES[stage])
        )
    watch.lap("finish", parts=solution.seconds)
    for warning in caught:
        say_note(console, str(warning.message))
    return solution


def _write_groups(console: Console, path: Path, solution: Solution, model: Model) -> None:
    """Write the groups; labels that do not tell atoms apart cost the file of groups, not the refined model."""
    try:
        write_groups(path, solution.grouping, model.atoms)
    except ValueError as error:
        say_note(console, f"the groups were not written: {error}")
    else:
        say(console, f"Wrote {path}: the groups, for --groups.")
