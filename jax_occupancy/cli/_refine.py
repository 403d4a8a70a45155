"""`jax-occupancy refine`: run it and say what happened."""

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jax_occupancy.cli._groups import choose_groups_of, sum_label
from jax_occupancy.example import write_example
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, Reflections, format_of_name, read_model, read_mtz, write_groups
from jax_occupancy.refinement import Solution
from jax_occupancy.refinement import refine as refine_occupancies

STAGES = {
    "read": "reading",
    "groups": "choosing groups",
    "structure_factors": "computing structure factors",
    "scale": "scaling",
    "solve": "solving for the occupancies",
}


def run_refine(
    model_path: Path,
    reflections_path: Path,
    out: Path | None,
    *,
    columns: Mapping[str, Any],
    model_number: int | None,
    options: Mapping[str, Any],
    target: str,
) -> None:
    """Refine a model against its data, print the result and write the model and its groups."""
    begin = time.perf_counter()
    out = default_output(model_path) if out is None else out
    check_output(out, inputs=[model_path, reflections_path])
    groups_out = groups_output(out)
    if options["groups"] is not None and groups_out.resolve() == options["groups"].resolve():
        raise ValueError(f"{groups_out}, beside the refined model, is an input; give that another name (-o)")
    model = read_model(model_path, model_number=model_number)
    reflections = read_mtz(reflections_path, **columns)
    console = Console()
    _print_input(console, model, reflections)
    read = time.perf_counter()
    grouping = choose_groups_of(model, options)
    times = {"read": read - begin, "groups": time.perf_counter() - read}
    solution = _refine(console, model, reflections, times, grouping, target)
    _print_solution(console, solution)
    solution.write(model, out)
    console.print(f"Wrote {out}; R values in its header, if any, are from before.", highlight=False)
    _write_groups(console, groups_out, solution, model)
    _print_times(console, solution, time.perf_counter() - begin)


def run_example(out: Path | None) -> None:
    """Refine the simulated crystal and show what is true."""
    begin = time.perf_counter()
    console = Console()
    if out is not None:
        check_output(out, inputs=[])
    with tempfile.TemporaryDirectory() as folder:
        example = write_example(folder)
        model, reflections = read_model(example.model), read_mtz(example.reflections)
        console.print("A simulated crystal: a helix, a ligand in two poses, waters; the truth is known.")
        _print_input(console, model, reflections)
        solution = _refine(console, model, reflections, {"read": time.perf_counter() - begin})
        _print_solution(console, solution, truth=example.truth)
        if out is not None:
            solution.write(model, out)
            console.print(f"Wrote {out}", highlight=False)
    _print_times(console, solution, time.perf_counter() - begin)


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


def _refine(
    console: Console,
    model: Model,
    reflections: Reflections,
    times: Mapping[str, float],
    grouping: Grouping | None = None,
    target: str = "ml",
) -> Solution:
    # The last digits of the occupancies need float64; the library itself keeps the session's precision.
    jax.config.update("jax_enable_x64", True)
    with console.status("") as status:
        solution = refine_occupancies(
            model, reflections, groups=grouping, target=target, progress=lambda stage: status.update(STAGES[stage])
        )
    spent = dict(solution.seconds)
    for stage, seconds in times.items():
        spent[stage] += seconds
    return dataclasses.replace(solution, seconds=spent)


def _write_groups(console: Console, path: Path, solution: Solution, model: Model) -> None:
    """Write the groups; labels that do not tell atoms apart cost the file of groups, not the refined model."""
    try:
        write_groups(path, solution.grouping, model.atoms)
    except ValueError as error:
        console.print(f"[yellow]Note[/] the groups were not written: {escape(str(error))}", highlight=False)
    else:
        console.print(f"Wrote {path}: the groups, for --groups.", highlight=False)


def _print_input(console: Console, model: Model, reflections: Reflections) -> None:
    low, high = reflections.resolution
    labels = ", ".join(label for label in reflections.labels.values() if label)
    console.print(f"Model  {model.path}: {model.n_atoms} atoms, {_spacegroup(model)}", highlight=False)
    console.print(
        f"Data   {reflections.path}: {labels}; {reflections.n_reflections} reflections, {low:.2f}-{high:.2f} Å, "
        f"{reflections.n_free} free" + (f" (flag {reflections.free_value})" if reflections.n_free else ""),
        highlight=False,
    )
    if any(reflections.left_out.values()):
        counts = ", ".join(f"{count} {reason}" for reason, count in reflections.left_out.items() if count)
        console.print(f"       left out: {counts}", highlight=False)
    for note in reflections.notes:
        console.print(f"       {note}", highlight=False)


def _print_solution(console: Console, solution: Solution, truth: np.ndarray | None = None) -> None:
    for warning in solution.grouping.warnings:
        console.print(f"[yellow]Note[/] {escape(warning)}", highlight=False)
    table = Table(
        title=f"{len(solution.table)} occupancies in {len(solution.grouping.sets)} sets", title_justify="left"
    )
    table.add_column("group", no_wrap=True)
    table.add_column("sum")
    for name in ("atoms", "start", "refined", *(["truth"] if truth is not None else [])):
        table.add_column(name, justify="right")
    for s in solution.grouping.sets:
        for i, group in enumerate(s.groups):
            row = solution.table.loc[solution.table["name"] == group.name].iloc[0]
            values = [f"{row['start']:.2f}", f"{row['occupancy']:.3f}" + ("" if group.refinable else " fixed")]
            if truth is not None:
                values.append(f"{truth[group.atoms[0]]:.2f}")
            kind = sum_label(s) if i == 0 else ""
            table.add_row(
                escape(group.name), kind, str(group.atoms.size), *values, end_section=i + 1 == len(s.groups) > 1
            )
    console.print(table)
    for name, values in (("R-work", solution.r_work), ("R-free", solution.r_free)):
        if np.isfinite(values.end):
            console.print(f"{name}  {values.start:.4f} → {values.end:.4f}", highlight=False)
    name, digits = {"ml": ("−log-likelihood", 2), "ls": ("Sum of squares", 6)}[solution.target_name]
    console.print(
        f"{name}  {solution.target.start:.{digits}f} → {solution.target.end:.{digits}f} (both on the final scales)",
        highlight=False,
    )
    if solution.sigma_a_source == "working":
        console.print("[yellow]Note[/] too few free reflections: σA is estimated from the working set, and too high.")
    console.print(f"{solution.message}", highlight=False)


def _print_times(console: Console, solution: Solution, total: float) -> None:
    stages = ", ".join(f"{STAGES[stage]} {seconds:.1f}" for stage, seconds in solution.seconds.items())
    console.print(f"Seconds: {stages}; in all {total:.1f}", highlight=False)


def _spacegroup(model: Model) -> str:
    return model.spacegroup.xhm() if model.spacegroup else "no space group"
