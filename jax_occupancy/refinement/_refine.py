"""The turnkey refinement: a model and its data in, occupancies out."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jax_occupancy.groups import Grouping, UserGroups
from jax_occupancy.io import Model, Reflections, read_model, read_reflections
from jax_occupancy.refinement._assess import assess
from jax_occupancy.refinement._checkpoint import Checkpoint, check_checkpoint, open_checkpoint
from jax_occupancy.refinement._clock import Clock
from jax_occupancy.refinement._devices import shard_columns, stored
from jax_occupancy.refinement._linear_model import MEMORY, shifted_columns
from jax_occupancy.refinement._model_error import model_error
from jax_occupancy.refinement._search import search
from jax_occupancy.refinement._setup import Setup, make_setup, start_values, without_outliers
from jax_occupancy.refinement._solution import Solution, make_solution
from jax_occupancy.refinement._targets import TARGETS
from jax_occupancy.xray import Columns, Radiation


class RefinementError(ValueError):
    """There is nothing to refine, or the refinement did not come to rest.

    `refine` and `refine_series` raise it; as any ValueError it says what to do.
    """


def refine(
    model: Model | str | os.PathLike,
    reflections: Reflections | str | os.PathLike,
    *,
    groups: Grouping | UserGroups | str | os.PathLike | None = None,
    start: str | np.ndarray = "model",
    target: Literal["ml", "ls"] | str = "ml",
    b_factors: Literal["held", "group"] | str = "group",
    starts: int = 8,
    seed: int = 0,
    outliers: bool = True,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    memory: float | int = MEMORY,
    checkpoint: str | os.PathLike | None = None,
    mesh: Mesh | None = None,
    throw: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Solution:
    """Refine the occupancies of a model against diffraction data.

    Coordinates and solvent mask are held, which makes the structure factors linear in the occupancies; the B
    factors of each group get one shift, refined with its occupancy, because they were refined at another one. In
    turn the scales and σ_A are fitted and the occupancies solved for, until neither moves. Random starts then check
    that there is no other minimum; where there is one, or for least squares, one set after the other is restarted
    and the lowest minimum kept. Standard uncertainties and the evidence for each group come last.

    Args:
        model: what `read_model` returned, or a path to a PDB or mmCIF file.
        reflections: what `read_reflections` returned, or a path to an MTZ or mmCIF file of amplitudes or intensities.
        groups: which atoms share an occupancy and which exclude each other; a grouping, the user's own wishes
            or a file of them (see `read_groups`); by default `automatic_groups`.
        start: start from the occupancies of the model, from even shares in every set (a half for a free group), from
            a random point ("random"), or from occupancies given per atom, shape (atoms,); on special positions those
            of the site (see `Sites`).
        target: "ml", maximum likelihood on amplitudes or intensities; or "ls", least squares on amplitudes, for
            comparison: it lets the reflections with the largest errors decide and can have several minima.
        b_factors: "group" refines one shift of the B factors of each group with its occupancy, "held" none: the
            answer then takes the B factors of the model for right, and stays near the occupancies that they were
            refined at.
        starts: how many random starts check the answer.
        seed: of the random starts.
        outliers: leave out reflections that are too unlikely for the model (Read, Acta Cryst. D55, 1759, 1999).
        radiation: "xray", "electron" or "neutron".
        wavelength: of the X-rays in Å, for f′; None leaves it out.
        memory: gigabytes that the structure factors of the groups may take; above it they are computed in passes
            (which a mesh of devices does not do).
        checkpoint: a file that the state is written to after every cycle. Where it exists already, the refinement goes
            on from it: the stage "resume" and the solution's message say so. A file that was written for another
            model, other data, groups or options is refused. It is removed when the refinement has converged, and kept
            when it was interrupted or the cycles did not come to rest.
        mesh: devices to divide the reflections among (see `shard_reflections`); None uses one.
        throw: raise where there is nothing to refine or the refinement does not come to rest; otherwise the
            solution's `result` says so.
        progress: called with the name of each stage as it begins.

    Returns:
        The solution: refined module, table, R factors, target, scales, timings.

    Raises:
        RefinementError: no group is refinable, or the cycles did not come to rest (not with `throw=False`).
        ValueError: a file can't be read, cell or space group of model and data disagree, the checkpoint is that of
            another refinement, an argument is wrong, or structure factors for a mesh need more than `memory`.
        TypeError: model, reflections or mesh are something else.
        FileNotFoundError: there is no such file, or no folder for the checkpoint.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import write_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     example = write_example(folder)
        ...     solution = refine(example.model, example.reflections)
        >>> solution.result
        'converged'
    """
    check_options(target, b_factors, starts, mesh)
    start = start if isinstance(start, str) else np.asarray(start)
    if checkpoint is not None:
        check_checkpoint(checkpoint)
    clock = Clock(progress)
    clock.begin("read")
    model, data = model_of(model), reflections_of(reflections)
    dtype = jnp.result_type(float)
    setup = make_setup(
        model, data, groups, radiation=radiation, wavelength=wavelength, memory=memory, stage=clock.begin, dtype=dtype
    )
    if throw and setup.n_groups == 0:
        raise RefinementError(
            f"{model.path}: no occupancy to refine: no atom has an alternate-location letter or an occupancy between "
            "0 and 1, or all of them are fixed"
        )
    kept = None
    if checkpoint is not None:
        options = {"start": f"random, seed {seed}" if isinstance(start, str) and start == "random" else start}
        options |= {"target": target, "b_factors": b_factors, "outliers": outliers}
        beam = {"radiation": radiation, "wavelength": wavelength}
        kept = open_checkpoint(checkpoint, setup, **options, **beam)
    columns = shifted_columns(model, data, setup.parts.atoms, radiation=radiation, wavelength=wavelength, dtype=dtype)
    if mesh is not None:
        setup, columns = setup.on(mesh), shard_columns(stored(columns), mesh)
    solution = refine_setup(
        setup,
        columns,
        start=start,
        target=target,
        b_factors=b_factors,
        starts=starts,
        seed=seed,
        outliers=outliers,
        clock=clock,
        checkpoint=kept,
    )
    if throw and solution.result != "converged":
        raise RefinementError(f"{model.path}: {solution.message} Use throw=False to see where it ended.")
    return solution


def check_options(target: str, b_factors: str, starts: int, mesh: Any) -> None:
    """Refuse what is unknown before the work begins.

    Raises:
        ValueError: there is no such target, or no such treatment of B factors, or a negative number of starts.
        TypeError: the mesh is something else.
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    if b_factors not in ("held", "group"):
        raise ValueError(f"b_factors must be 'held' or 'group', not {b_factors!r}")
    if starts < 0:
        raise ValueError(f"starts must be the number of random starts, 0 or more, not {starts}")
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, not {type(mesh).__name__}")


def model_of(given: Any) -> Model:
    """A model, or the file of one; TypeError for anything else."""
    return _given_or_read(given, Model, read_model, "model must be a Model or the path of one")


def reflections_of(given: Any) -> Reflections:
    """Reflections, or the file of some; TypeError for anything else."""
    return _given_or_read(given, Reflections, read_reflections, "reflections must be Reflections or the path of a file")


def _given_or_read(given: Any, kind: type, read: Callable[[Any], Any], wanted: str) -> Any:
    if isinstance(given, str | os.PathLike):
        return read(given)
    if not isinstance(given, kind):
        raise TypeError(f"{wanted}, not {type(given).__name__}")
    return given


def refine_setup(
    setup: Setup,
    columns: Columns,
    *,
    start: str | np.ndarray,
    target: str,
    b_factors: str,
    starts: int,
    seed: int,
    outliers: bool,
    clock: Clock,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Refine when model, data, groups and structure factors have been brought together.

    Args:
        setup: the problem.
        columns: structure factors of the parts of groups, with their derivatives by position, for the reflections of
            the linear model.
        start: as in `refine`, like all that follow.
        target: "ml" or "ls".
        b_factors: "held" or "group".
        starts: number of random starts.
        seed: of the random starts.
        outliers: whether to leave out unlikely reflections.
        clock: times the stages.
        checkpoint: where to keep the state after each cycle, and what was kept before.

    Returns:
        The solution, converged or not.

    Raises:
        ValueError: the start is wrong, or the data do not determine a scale.
    """
    if outliers:
        clock.begin("scale")
        setup = without_outliers(setup)
    setup, found = search(
        setup,
        start_values(setup, start, seed=seed),
        target=target,
        refine_b=b_factors == "group",
        starts=starts,
        seed=seed,
        stage=clock.begin,
        **_going_on(checkpoint, clock),
    )
    clock.begin("assess")
    error = model_error(setup.observations, found.fit)
    if b_factors == "group":  # refined, with a prior of their own
        error = error._replace(b=np.asarray(setup.b_shifts(1.0).spread, np.float64))
    assessment = assess(
        found.fit,
        setup.constraints,
        setup.parts,
        columns,
        error,
        log_likelihood_unit=found.log_likelihood_unit,
        sandwich=target == "ls",
    )
    clock.begin("finish")
    solution = make_solution(setup, found, assessment, target_name=target, starts=starts, clock=clock)
    return solution if checkpoint is None else _finished(solution, checkpoint)


def _going_on(checkpoint: Checkpoint | None, clock: Clock) -> dict[str, Any]:
    """What `search` needs to keep its state, and to begin where it was."""
    if checkpoint is None:
        return {}
    if checkpoint.variables is not None:
        clock.begin("resume")
    return {"resume": checkpoint.variables, "past": checkpoint.history, "on_cycle": checkpoint.write}


def _finished(solution: Solution, checkpoint: Checkpoint) -> Solution:
    """Remove a checkpoint that has served its purpose, and say whether it was gone on from."""
    if solution.result == "converged":
        checkpoint.remove()
    if checkpoint.variables is None:
        return solution
    resumed = f"The first {len(checkpoint.history)} are those of the checkpoint {checkpoint.path.name}."
    return replace(solution, message=f"{solution.message} {resumed}")
