"""How well the refined occupancies are known, and what the data say for each group."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from jax_occupancy.refinement._constraints import Constraints
from jax_occupancy.refinement._covariance import PRIOR_OCCUPANCY, Uncertainty, uncertainty
from jax_occupancy.refinement._cycles import Fit
from jax_occupancy.refinement._evidence import Hypotheses, absent_and_full, unlinked
from jax_occupancy.refinement._information import Information, extended_information, values_of_changes
from jax_occupancy.refinement._model_error import ModelError
from jax_occupancy.refinement._parts import Parts
from jax_occupancy.xray import Columns

# A standard uncertainty below this is none: the equations and bounds leave the occupancy one value.
NO_FREEDOM = 1e-6


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known of each group, in the order of the solver's variables.

    What `assess` returns.

    Attributes:
        esd: standard uncertainty with the B factor and the position of all groups marginalised; NaN on a bound, where
            equations leave no freedom, and for coincident conformers, of which only the sum is known.
        esd_fixed: with them held.
        at_bound: whether the occupancy sits on 0, or on all that its set has.
        limit: on a bound, the one-sided 95 % limit; NaN elsewhere.
        covariance: of the occupancies, B factors and positions marginalised.
        delta_b: refined shift of the B factor in Å²; NaN where it is held.
        delta_b_esd: its standard uncertainty.
        b_correlation: correlation of occupancy and B factor.
        llg_absent: log-likelihood gained over an occupancy of zero; NaN where zero is not possible.
        llg_full: gained over an occupancy of one.
        llg_unlinked: that would be gained if all residues of the set went their own way; NaN for a single residue.
        residues: one row per residue of a linked set: what would be gained if it left the others, and where to.
    """

    esd: Float[np.ndarray, " groups"]
    esd_fixed: Float[np.ndarray, " groups"]
    at_bound: Bool[np.ndarray, " groups"]
    limit: Float[np.ndarray, " groups"]
    covariance: Float[np.ndarray, "groups groups"]
    delta_b: Float[np.ndarray, " groups"]
    delta_b_esd: Float[np.ndarray, " groups"]
    b_correlation: Float[np.ndarray, " groups"]
    llg_absent: Float[np.ndarray, " groups"]
    llg_full: Float[np.ndarray, " groups"]
    llg_unlinked: Float[np.ndarray, " groups"]
    residues: pd.DataFrame


def assess(
    fit: Fit,
    constraints: Constraints,
    parts: Parts,
    columns: Columns,
    error: ModelError,
    *,
    log_likelihood_unit: float,
    sandwich: bool,
) -> Assessment:
    """Find uncertainties and evidence at the end of a refinement.

    Args:
        fit: the end.
        constraints: equations of the occupancies.
        parts: the groups by residue.
        columns: structure factors of the parts and their derivatives.
        error: how wrong positions and B factors of the groups may be.
        log_likelihood_unit: what one unit of the target is in log-likelihood.
        sandwich: whether the target is no likelihood, so that its second derivatives alone say nothing.

    Returns:
        The assessment.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from jax_occupancy.refinement import (
        ...     make_setup, model_error, run_cycles, shifted_columns, start_values, target_maker
        ... )
        >>> model, reflections = read_example()
        >>> setup = make_setup(model, reflections)
        >>> x = start_values(setup, "model")
        >>> maker = target_maker("ml", setup.observations, dtype=x.dtype)
        >>> fit = run_cycles(setup.linear, setup.observations, setup.constraints, x, maker)
        >>> columns = shifted_columns(model, reflections, setup.parts.atoms)
        >>> error = model_error(setup.observations, fit)
        >>> found = assess(
        ...     fit, setup.constraints, setup.parts, columns, error, log_likelihood_unit=1.0, sandwich=False
        ... )
        >>> found.esd.shape == (setup.n_groups,)
        True
    """
    linear = fit.linear
    q, delta_b = fit.problem.split(fit.x)
    shifts = jnp.zeros_like(q) if delta_b is None else delta_b
    group_of_part = jnp.asarray(parts.group)
    found = extended_information(linear, fit.problem.target, columns, group_of_part, q, shifts, with_scores=sandwich)
    n, n_x = q.size, constraints.matrix.shape[1]
    x = np.asarray(fit.x[:n_x], np.float64)
    scaled = Information(
        np.asarray(found.gradient, np.float64) * log_likelihood_unit,
        np.asarray(found.curvature, np.float64) * log_likelihood_unit,
        None if found.scores is None else np.asarray(found.scores, np.float64) * log_likelihood_unit**2,
    )
    system = _system(scaled, parts.group, n, n_x, error)
    bound = _met_bounds(x, constraints)
    everything = _solve(system, constraints, bound)
    held = _solve(_keep(system, n_x), constraints, bound)
    variance = np.diag(everything.covariance)
    at_bound, limit = _bounds_of_groups(x, n, constraints, everything.limit)
    known = np.sqrt(np.maximum(variance, 0))
    esd, esd_fixed = known[:n].copy(), np.sqrt(np.maximum(np.diag(held.covariance)[:n], 0))
    pinned = esd < NO_FREEDOM
    esd[pinned], esd_fixed[pinned] = np.nan, np.nan
    limit[~pinned] = np.nan
    for tie in constraints.ties:  # their sum alone is known
        esd[list(tie)], esd_fixed[list(tie)] = np.nan, np.nan
    covariance = np.where(pinned | pinned[:, None], 0.0, everything.covariance[:n, :n])
    of_b = slice(n_x, n_x + n)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.diagonal(everything.covariance[:n, of_b]) / (known[:n] * known[of_b])
    held_b = np.full(n, np.nan)
    evidence = _evidence(fit, constraints, parts, columns, shifts, system, scaled, x, log_likelihood_unit)
    return Assessment(
        esd=esd,
        esd_fixed=esd_fixed,
        at_bound=at_bound,
        limit=limit,
        covariance=covariance,
        delta_b=held_b if delta_b is None else np.asarray(delta_b, np.float64),
        delta_b_esd=held_b if delta_b is None else known[of_b],
        b_correlation=np.where(pinned, np.nan, correlation),
        **evidence,
    )


@dataclass(frozen=True, eq=False)
class _System:
    """Information on the variables: occupancies, vacancies, then ΔB and shifts of all groups."""

    curvature: np.ndarray
    gradient: np.ndarray
    scores: np.ndarray | None


def _system(found: Information, group_of_part: np.ndarray, n: int, n_x: int, error: ModelError) -> _System:
    n_parts = group_of_part.size
    variable = np.concatenate([group_of_part, n_x + np.arange(4 * n)])
    ones = np.ones(variable.size)
    place = csr_array((ones, (np.arange(variable.size), variable)), shape=(variable.size, n_x + 4 * n))
    curvature = place.T @ found.curvature @ place
    spread = np.concatenate(
        [
            np.full(n, PRIOR_OCCUPANCY),
            np.full(n_x - n, np.inf),
            np.full(n, error.b),
            np.full(3 * n, error.shift),
        ]
    )
    curvature[np.diag_indices_from(curvature)] += spread**-2.0
    gradient = place[:n_parts].T @ found.gradient
    return _System(curvature, gradient, None if found.scores is None else place.T @ found.scores @ place)


def _keep(system: _System, n: int) -> _System:
    scores = None if system.scores is None else system.scores[:n, :n]
    return _System(system.curvature[:n, :n], system.gradient[:n], scores)


def _solve(system: _System, constraints: Constraints, bound: np.ndarray) -> Uncertainty:
    more = system.gradient.size - bound.size
    return uncertainty(
        system.curvature,
        system.gradient,
        np.pad(constraints.matrix, ((0, 0), (0, more))),
        np.pad(bound, (0, more)),
        scores=system.scores,
    )


def _met_bounds(x: np.ndarray, constraints: Constraints) -> np.ndarray:
    """Variables at zero; of those that are tied the first stands for all."""
    bound = x <= 0
    for tie in constraints.ties:
        bound[list(tie[1:])] = False
    return bound


def _bounds_of_groups(
    x: np.ndarray, n: int, constraints: Constraints, limit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which groups sit on a bound, and their limits: from above at zero, from below where the others are at zero."""
    at_bound, limits = x[:n] <= 0, limit[:n].copy()
    for tie in constraints.ties:
        limits[list(tie)] = limit[tie[0]]
    for members in constraints.sets:
        there = members[x[members] > 0]
        if there.size == 1 and members.size > 1 and there[0] < n:
            at_bound[there[0]] = True
            others = limit[members[members != there[0]]]
            known = others[np.isfinite(others)]
            limits[there[0]] = x[there[0]] - known.max() if known.size else np.nan
    return at_bound, np.clip(limits, 0, 1)


def _evidence(
    fit: Fit,
    constraints: Constraints,
    parts: Parts,
    columns: Columns,
    delta_b,
    system: _System,
    scaled: Information,
    x: np.ndarray,
    unit: float,
) -> dict:
    q, _ = fit.problem.split(fit.x)
    n, n_x = q.size, x.size
    hypotheses = Hypotheses([], [], [], [])
    absent_and_full(
        hypotheses,
        curvature=system.curvature[:n_x, :n_x],
        gradient=system.gradient[:n_x],
        matrix=constraints.matrix,
        total=constraints.total,
        x=x,
        n_groups=n,
        group_of_part=parts.group,
    )
    sets = [members[members < n] for members in constraints.sets]
    n_parts = parts.group.size
    unlinked(
        hypotheses,
        information=np.asarray(scaled.curvature[:n_parts, :n_parts]),
        gradient=np.asarray(scaled.gradient),
        sets=sets,
        complete=[bool(np.all(members < n)) for members in constraints.sets],
        wholes=[float(x[members].sum()) for members in constraints.sets],
        x=x,
        group_of_part=parts.group,
        residues=parts.residue,
    )
    changes = np.stack([np.zeros(n_parts), *hypotheses.changes])
    values = values_of_changes(
        fit.linear,
        fit.problem.target,
        columns.without_shifts(),
        jnp.asarray(parts.group),
        q,
        delta_b,
        jnp.asarray(changes, q.dtype),
    )
    gains = _log_likelihoods(np.asarray(values, np.float64), unit)
    return _sorted_out(hypotheses, gains, sets, n)


def _log_likelihoods(values: np.ndarray, unit: float) -> np.ndarray:
    """How much lower the log-likelihood of each hypothesis is than that of the model, which comes first.

    For least squares the variance of the data is what is left over: N/2·log of the ratio of the sums of squares.
    """
    best, others = values[0], values[1:]
    if unit == 1.0:
        return others - best
    return unit * best * np.log(others / best)


def _sorted_out(hypotheses: Hypotheses, gains: np.ndarray, sets: Sequence[Int[np.ndarray, " _"]], n: int) -> dict:
    columns = {kind: np.full(n, np.nan) for kind in ("absent", "full", "unlinked")}
    rows = []
    for kind, subject, gain, occupancies in zip(
        hypotheses.kind, hypotheses.subject, gains, hypotheses.occupancies, strict=True
    ):
        if kind == "residue":
            number, residue = subject
            rows += [(number, residue, group, q, -gain) for group, q in occupancies.items()]
        elif kind == "unlinked":
            columns[kind][sets[subject]] = -gain
        else:
            columns[kind][subject] = gain
    residues = pd.DataFrame(rows, columns=["set", "residue", "group", "occupancy", "llg_alone"])  # pyright: ignore
    return {f"llg_{kind}": values for kind, values in columns.items()} | {"residues": residues}
