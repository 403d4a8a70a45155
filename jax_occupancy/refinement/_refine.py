"""The turnkey refinement: a model and its data in, occupancies out."""

import os
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Grouping, UserGroups
from jax_occupancy.io import Model, Reflections, read_model, read_reflections
from jax_occupancy.refinement._constraints import Constraints, constraints_of
from jax_occupancy.refinement._group_model import group_model, model_sites
from jax_occupancy.refinement._linear_model import check_same_crystal, linear_model
from jax_occupancy.refinement._solution import Solution, StartEnd, solution_table
from jax_occupancy.refinement._solver import SolverResult, gauss_newton, quadratic_model
from jax_occupancy.xray import (
    LeastSquares,
    LinearModel,
    MaximumLikelihood,
    Scale,
    Sites,
    estimate_sigma_a,
    fit_scale,
    r_factor,
)

TARGETS = ("ml", "ls")

# The scales follow the occupancies so closely that a few rounds bring both to rest.
MAX_CYCLES = 20


class RefinementError(ValueError):
    """There is nothing to refine, or model and data do not allow it."""


def refine(
    model: Model | str | os.PathLike,
    reflections: Reflections | str | os.PathLike,
    *,
    groups: Grouping | UserGroups | str | os.PathLike | None = None,
    start: str | np.ndarray = "model",
    target: str = "ml",
    progress: Callable[[str], None] | None = None,
) -> Solution:
    """Refine the occupancies of a model against diffraction data.

    Coordinates, B factors and solvent mask are held, which makes the structure factors linear in the occupancies. In
    turn the scales and σ_A are fitted and the occupancies solved for, until neither moves.

    Args:
        model: what `read_model` returned, or a path to a PDB or mmCIF file.
        reflections: what `read_reflections` returned, or a path to an MTZ file.
        groups: which atoms share an occupancy and which exclude each other; a grouping, the user's own wishes
            or a file of them (see `read_groups`); by default `automatic_groups`.
        start: start from the occupancies of the model, from even shares in every set (a half for a free group), or
            from occupancies given per atom, shape (atoms,); on special positions those of the site (see `Sites`).
        target: "ml", maximum likelihood on amplitudes; or "ls", least squares on amplitudes, for comparison: it lets
            the reflections with the largest errors decide and can have several minima.
        progress: called with the name of each stage as it begins.

    Returns:
        The solution: refined module, table, R factors, target, scales, timings.

    Raises:
        RefinementError: no group is refinable.
        ValueError: a file can't be read, or cell or space group of model and data disagree.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import write_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     example = write_example(folder)
        ...     solution = refine(example.model, example.reflections)
        >>> solution.result
        'converged'
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    clock = _Clock(progress)
    clock.begin("read")
    model = read_model(model) if isinstance(model, str | os.PathLike) else model
    reflections = read_reflections(reflections) if isinstance(reflections, str | os.PathLike) else reflections
    check_same_crystal(model, reflections)

    clock.begin("groups")
    grouping = group_model(model, groups)
    sites = model_sites(model)
    dtype = jnp.result_type(float)
    tensor = grouping.to_tensor(sites.chemical, dtype=dtype)
    if tensor.get_refinable_count() == 0:
        raise RefinementError(
            f"{model.path}: no occupancy to refine: no atom has an alternate-location letter or an occupancy between "
            "0 and 1, or all of them are fixed"
        )
    tensor = _start_tensor(tensor, start)
    constraints = constraints_of(tensor.topology, np.asarray(tensor.group_occupancies, np.float64))

    clock.begin("structure_factors")
    linear = linear_model(model, reflections, tensor, constraints.entries, dtype=dtype)
    jax.block_until_ready(linear)

    return _alternate(clock, tensor, constraints, linear, grouping, sites, reflections, target)


def _alternate(
    clock: "_Clock",
    tensor: OccupancyTensor,
    constraints: Constraints,
    linear: LinearModel,
    grouping: Grouping,
    sites: Sites,
    reflections: Reflections,
    target_name: str,
) -> Solution:
    """Fit the scales and solve for the occupancies in turn."""
    dtype = linear.overall.dtype
    n = constraints.entries.size
    # float32 resolves the target, not the last digits of q.
    tolerance = 1e-6 if dtype == jnp.float64 else 1e-4
    begin = jnp.asarray(constraints.variables(np.asarray(tensor.group_occupancies)), dtype)
    matrix = jnp.asarray(constraints.matrix, dtype)
    x, steps, cycles = begin, 0, 0
    while True:
        clock.begin("scale")
        scale = _fit(linear, x[:n], reflections)
        linear = linear.with_scale(scale.overall, scale.solvent)
        target, sigma_a_source = _make_target(target_name, _amplitude(linear, x[:n]), reflections, dtype)
        clock.begin("solve")
        result = solve(linear, target, matrix, x, tolerance=tolerance)
        moved = float(jnp.max(jnp.abs(result.x - x), initial=0))
        x, steps, cycles = result.x, steps + int(result.steps), cycles + 1
        if moved <= 10 * tolerance or cycles == MAX_CYCLES:
            break
    clock.begin("finish")
    converged = moved <= 10 * tolerance
    refined = _put_back(tensor, constraints, np.asarray(x[:n], np.float64))
    amplitudes, values = zip(*(_evaluate(linear, target, q[:n]) for q in (begin, x)), strict=True)
    r_work, r_free = zip(
        *(r_factor(reflections.amplitude, np.asarray(f, np.float64), reflections.free) for f in amplitudes), strict=True
    )
    occupancies, table = np.asarray(refined(), np.float64), solution_table(grouping, refined)
    clock.end()
    return Solution(
        tensor=refined,
        occupancies=occupancies,
        table=table,
        grouping=grouping,
        sites=sites,
        target_name=target_name,
        target=StartEnd(*map(float, values)),
        sigma_a_source=sigma_a_source,
        r_work=StartEnd(*r_work),
        r_free=StartEnd(*r_free),
        scale=scale,
        n_reflections=reflections.n_reflections,
        n_free=reflections.n_free,
        resolution=reflections.resolution,
        cycles=cycles,
        steps=steps,
        result="converged" if converged else "max_cycles",
        message=f"The occupancies moved by less than {10 * tolerance:.0e} in the last of {cycles} cycles."
        if converged
        else f"The occupancies still moved by {moved:.1e} after {cycles} cycles.",
        seconds=clock.seconds,
    )


@eqx.filter_jit
def solve(
    linear: LinearModel,
    target: Callable[[Array], Array],
    matrix: Float[Array, "equations variables"],
    x: Float[Array, " variables"],
    *,
    tolerance: float,
) -> SolverResult:
    """Minimise a target over the occupancies at fixed scales.

    Args:
        linear: the structure factors as a function of the first variables.
        target: an elementwise function of the model amplitudes, such as `LeastSquares`.
        matrix: equations that x satisfies (see `Constraints`).
        x: start values of occupancies and vacancies.
        tolerance: largest change of an occupancy that counts as none.

    Returns:
        The end point.
    """
    n = linear.columns.shape[0]

    def value(x):
        return jnp.sum(target(linear.amplitude(x[:n])))

    def quadratic(x):
        # Vacancies scatter nothing.
        jacobian = jnp.pad(linear.jacobian(x[:n]), ((0, 0), (0, x.size - n)))
        return quadratic_model(target, linear.amplitude(x[:n]), jacobian)

    return gauss_newton(value, quadratic, matrix, x, tolerance=tolerance)


def _make_target(
    name: str, amplitude: Float[Array, " reflections"], reflections: Reflections, dtype: Any
) -> tuple[Callable[[Array], Array], str | None]:
    """The target for the present model, and the set that σ_A was estimated from."""
    observed, sigma, free = reflections.amplitude, reflections.sigma, reflections.free
    if name == "ls":
        return LeastSquares.from_data(observed, free, dtype=dtype), None
    sigma_a = estimate_sigma_a(
        reflections.hkl,
        observed,
        sigma,
        free,
        model_amplitude=np.asarray(amplitude, np.float64),
        cell=reflections.cell,
        spacegroup=reflections.spacegroup,
    )
    return MaximumLikelihood.from_data(observed, sigma, free, sigma_a=sigma_a, dtype=dtype), sigma_a.source


def _start_tensor(tensor: OccupancyTensor, start: Any) -> OccupancyTensor:
    if isinstance(start, str) and start == "model":
        return tensor
    if isinstance(start, str) and start == "even":
        # Logit zero is an even share in every kind of set.
        return tensor.with_refinable_params(jnp.zeros_like(tensor.refinable_params))
    if isinstance(start, str):
        raise ValueError(f"start must be 'model', 'even' or one occupancy per atom, not {start!r}")
    return tensor.with_occupancies(start)


def _put_back(tensor: OccupancyTensor, constraints: Constraints, q: np.ndarray) -> OccupancyTensor:
    """Give the module the solver's occupancies, on a bound where the solver ended on one."""
    collapsed = np.array(tensor.group_occupancies, np.float64)
    collapsed[constraints.entries] = q
    return tensor.with_group_occupancies(np.clip(collapsed, 0, 1), margin=0)


def _fit(linear: LinearModel, q: Float[Array, " moving"], reflections: Reflections) -> Scale:
    return fit_scale(
        reflections.hkl,
        reflections.amplitude,
        reflections.sigma,
        reflections.free,
        calculated=np.asarray(_calculated(linear, q)),
        mask=np.asarray(linear.mask),
        cell=reflections.cell,
        spacegroup=reflections.spacegroup,
    )


@eqx.filter_jit
def _evaluate(
    linear: LinearModel, target: Callable[[Array], Array], q: Float[Array, " moving"]
) -> tuple[Float[Array, " reflections"], Float[Array, ""]]:
    """Amplitudes of the model and the value of the target."""
    f = linear.amplitude(q)
    return f, jnp.sum(target(f))


# Compiled as a whole: operation by operation the first call costs a second.
_amplitude = eqx.filter_jit(LinearModel.amplitude)
_calculated = eqx.filter_jit(LinearModel.calculated)


class _Clock:
    """Adds up the wall-clock time of stages that may come more than once."""

    def __init__(self, progress: Callable[[str], None] | None):
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.stage: str | None = None
        self.since = time.perf_counter()

    def begin(self, stage: str) -> None:
        self.end()
        self.stage = stage
        if self.progress is not None:
            self.progress(stage)

    def end(self) -> None:
        now = time.perf_counter()
        if self.stage is not None:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.since
        self.stage, self.since = None, now
