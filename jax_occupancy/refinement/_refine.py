"""The turnkey refinement: a model and its data in, occupancies out."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import gemmi
import pandas as pd
from jax.sharding import Mesh

from jax_occupancy._options import Options
from jax_occupancy.groups import Grouping, UserGroups
from jax_occupancy.io import (
    Maps,
    Model,
    Reflections,
    is_map,
    model_from_gemmi,
    placed_in,
    read_model,
    read_reflections,
)
from jax_occupancy.refinement._assess import assess
from jax_occupancy.refinement._clock import Clock
from jax_occupancy.refinement._make_solution import make_solution
from jax_occupancy.refinement._prepare import prepare
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._search import search
from jax_occupancy.refinement._settle import settle
from jax_occupancy.refinement._solution import Solution
from jax_occupancy.refinement._twins import supported_twin_laws

NOTHING = (
    "{}: no occupancy to refine: no atom has an alternate-location letter or an occupancy between 0 and 1, or all of "
    "them are fixed"
)


class RefinementError(ValueError):
    """There is nothing to refine, or the refinement did not come to rest; as any ValueError it says what to do."""


def refine(
    model: Model | gemmi.Structure | str | os.PathLike,
    reflections: Reflections | Maps | gemmi.Mtz | pd.DataFrame | str | os.PathLike,
    *,
    groups: Grouping | UserGroups | str | os.PathLike | None = None,
    mesh: Mesh | None = None,
    throw: bool = True,
    progress: Callable[[str], Any] | None = None,
    **options: Any,
) -> Solution:
    """Refine the occupancies of a model against diffraction data, or a map of cryo-EM.

    With coordinates and solvent mask held, structure factors are linear in the occupancies; the B factors of each
    group get one shift, refined with its occupancy, because they were refined at another one. In turn the scales and
    σ_A are fitted and the occupancies solved for, until neither moves. Random starts then check that there is no other
    minimum; where there is one, or for least squares, one set after the other is restarted and the lowest minimum
    kept. Then each residue of a group may shift as well, as far as the data ask for, until occupancies, B factors and
    positions are at the optimum of one posterior; its curvature gives the standard uncertainties, and the evidence for
    each group comes last.

    Args:
        model: what `read_model` returned, a gemmi.Structure, or a path to a PDB or mmCIF file.
        reflections: what `read_reflections` returned, or a path to an MTZ or mmCIF file of amplitudes or intensities;
            a gemmi.Mtz or a reciprocalspaceship DataSet; or what `read_maps` returned.
        groups: which atoms share an occupancy and which exclude each other; a grouping, the user's own wishes
            or a file of them (see `read_groups`); by default `automatic_groups`.
        mesh: devices to divide the reflections among (see `shard_reflections`); None uses one.
        throw: raise where there is no answer; otherwise the solution's `result` says why.
        progress: called with the name of each stage as it begins.
        options: those of `Options`, which has their defaults: target, b_factors, positions, position_error,
            b_error, starts, seed, start, outliers, twin, radiation, wavelength, memory.

    Returns:
        The solution: refined module, table, R factors, target, scales, timings.

    Raises:
        RefinementError: no group is refinable, or the refinement did not come to rest (not with `throw=False`).
        ValueError: a file can't be read, cell or space group of model and data disagree, an option is wrong, or
            structure factors for a mesh need more than `memory`.
        TypeError: model, reflections or mesh are something else, or there is no such option.
        FileNotFoundError: there is no such file.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> refine(*read_example(), starts=2).result
        'converged'
    """
    chosen = Options.of(options, function="refine")
    check_mesh(mesh)
    clock = Clock(progress)
    clock.begin("read")
    model = model_of(model)
    data = reflections_of(reflections, model)
    model = model if isinstance(data, Maps) else placed_in(model, data)
    # No name for the problem here: its structure factors can go as soon as atoms have moved.
    solution = refine_problem(_prepared(model, data, groups, chosen, mesh, clock, throw=throw), clock, model)
    if throw and solution.result != "converged":
        raise RefinementError(f"{model.path}: {solution.message} Use throw=False to see where it ended.")
    return solution


def _prepared(
    model: Model,
    data: Reflections | Maps,
    groups: Any,
    options: Options,
    mesh: Mesh | None,
    clock: Clock,
    *,
    throw: bool,
) -> Problem:
    problem = prepare(model, data, groups, options, stage=clock.begin)
    if laws := supported_twin_laws(problem):
        problem = prepare(model, data, problem.grouping, options, twin_laws=laws, stage=clock.begin)
    if throw and problem.n_groups == 0:
        raise RefinementError(NOTHING.format(model.path))
    return problem.on(mesh)


def refine_problem(problem: Problem, clock: Clock, model: Model) -> Solution:
    """Refine when all has been brought together; the model is the one given, that of a map has another cell."""
    if problem.options.outliers:
        clock.begin("scale")
        problem = problem.without_outliers()
    problem, state = search(problem, stage=clock.begin)
    problem, state, posterior = settle(problem, state, stage=clock.begin)
    clock.begin("assess")
    assessment = assess(problem, state, posterior)
    clock.begin("finish")
    return replace(make_solution(problem, state, posterior, assessment, clock), model=model)


def check_mesh(mesh: Any) -> None:
    """TypeError for anything but a mesh or None."""
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, not {type(mesh).__name__}")


def model_of(given: Any) -> Model:
    """A model, or the structure or file of one; TypeError for anything else."""
    if isinstance(given, gemmi.Structure):
        return model_from_gemmi(given)
    return _given_or_read(given, Model, read_model, "model must be a Model or the path of one")


def reflections_of(given: Any, model: Model) -> Reflections | Maps:
    """Maps, or reflections, or a file of these, which may lack the model's cell; TypeError for anything else."""
    if isinstance(given, Maps):
        return given
    if isinstance(given, gemmi.Mtz):
        return Reflections.from_gemmi(given, cell=model.cell, spacegroup=model.spacegroup)
    if isinstance(given, pd.DataFrame):
        stated = {"cell": gemmi.UnitCell, "spacegroup": gemmi.SpaceGroup}  # a column may have such a name
        own = {name: getattr(given, name, None) for name in stated}
        crystal = {
            name: own[name] if isinstance(own[name], kind) else getattr(model, name) for name, kind in stated.items()
        }
        return Reflections.from_dataframe(given, **crystal)
    if isinstance(given, str | os.PathLike) and is_map(given):
        raise ValueError(f"{given} is a map; read it with read_maps(half1, half2, resolution=...)")
    read = partial(read_reflections, cell=model.cell, spacegroup=model.spacegroup)
    return _given_or_read(given, Reflections, read, "reflections must be Reflections or the path of a file")


def _given_or_read(given: Any, kind: type, read: Callable[[Any], Any], wanted: str) -> Any:
    if isinstance(given, str | os.PathLike):
        return read(given)
    if not isinstance(given, kind):
        raise TypeError(f"{wanted}, not {type(given).__name__}")
    return given
