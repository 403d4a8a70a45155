"""One posterior of occupancies, B factors and positions: its optimum is the estimate, its curvature the uncertainty.

An occupancy trades with the B factors and positions of its atoms, which were refined at another occupancy and are wrong
besides. So what is minimised in the end is

    −ln L(q, ΔB, δB, t) + Σ (ΔB − κ·R·(q − q₀))²/2(τB)² + Σ δB²/2(βB)² + Σ n|t|²/2σ²

with a shift ΔB of the B factors of each group, a shift t of each of its residues as a body of n atoms and, where atoms
are free, t and a shift δB of the B factor of each atom. B factors that were refined at other occupancies q₀, those of
the model, are wrong by R·(q − q₀), where R is how far the curvature lets them give way, those of conformers that
overlap together; κ is 1 if they were, and 0 if they are right. The same is expected of δB and t of atoms that are free,
each with a κ of its own: data at which coordinates were refined already no longer say that these are wrong, and σ alone
would keep them where the guess has left them. κ and the widths of the priors, τ, β and σ, the data say themselves: they
are those that make the shifts found as likely as can be (empirical Bayes by expectation and maximisation; Dempster,
Laird & Rubin, J. R. Stat. Soc. B39, 1-38, 1977). The prior of ΔB has the tail of Student's distribution: one ligand
with a wrong B factor among forty right waters may have moved far.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve, get_lapack_funcs
from scipy.sparse import csr_array, diags_array

from jax_occupancy.refinement._covariance import PRIOR_OCCUPANCY
from jax_occupancy.refinement._cycles import State
from jax_occupancy.refinement._information import Information, extended_information
from jax_occupancy.refinement._model_error import model_error
from jax_occupancy.refinement._objective import amplitude_at
from jax_occupancy.refinement._problem import RELATIVE_B_SPREAD, SMALLEST_B, Problem, size_of_b

# Spread of the B factors of atoms, relative to each, before the data have spoken.
RELATIVE_ATOM_SPREAD = 0.1
# An atom whose B factor is nearer than this (Å²) to its bound is on it.
SAME_B = 1e-3
# How far B factors give way by themselves, relative to what is usual, where the data hardly tell: refinements have
# restraints, and end before those of conformers that coincide have run away from each other.
RESTRAINT = 0.15
# The same of the positions of atoms, in Å: those in bonds hardly move by themselves.
RESTRAINT_OF_POSITIONS = 0.06
# Below such an occupancy a group does not tell how its B factor gives way to it.
SOME = 0.05


class Spreads(NamedTuple):
    """Standard deviations of the priors, and how far B factors follow the occupancies that they were refined at.

    Attributes:
        group_b: of ΔB of a group, relative to its mean B factor and that of groups (see `size_of_b`).
        atom_b: of δB of an atom, relative to its B factor.
        position: of an atom along each axis, in Å.
        trend: κ, 0 where B factors are right and 1 where they were refined against such data.
        atom_trend: the same of what the B factor of an atom follows beside that of its group.
        position_trend: the same of the positions of atoms that move each on its own.
    """

    group_b: float
    atom_b: float
    position: float
    trend: float
    atom_trend: float
    position_trend: float

    def trend_of(self, kind: Int[np.ndarray, " nuisances"]) -> Float[np.ndarray, " nuisances"]:
        """κ of each nuisance."""
        return np.array(self[3:])[kind]


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior around a point, as a quadratic in the occupancies of the parts and the nuisances.

    The nuisances are ΔB of groups, δB of movers and shifts of movers, those of them that are free.

    Attributes:
        likelihood: derivatives of minus the log-likelihood.
        place: for the parts, the variable that each belongs to.
        n_variables: occupancies and vacancies.
        free: the free nuisances among all.
        lowest: those on their lowest bound. They are not pushed further, and nobody knows them for that.
        nuisance: their values, in Å² and Å.
        kind: 0 for ΔB, 1 for δB, 2 for shifts: what in `spreads` their prior is.
        size: what the prior of each is relative to: a B factor, or 1/√n of a body of n atoms.
        weights: of the tail, 1 for what lies where the spread says; of all nuisances.
        group: the group of each nuisance.
        expected: what the prior of each ΔB expects if κ is one, in Å².
        response: R, in Å²: rows of nuisances, columns of variables.
        spreads: of the priors.
        before: what was believed before the data were asked.
        of_bodies: problem, state and posterior where residues came to rest, before their atoms took a step.
    """

    likelihood: Information
    place: Int[np.ndarray, " parts"]
    n_variables: int
    free: Int[np.ndarray, " nuisances"]
    lowest: Bool[np.ndarray, " nuisances"]
    nuisance: Float[np.ndarray, " nuisances"]
    kind: Int[np.ndarray, " nuisances"]
    size: Float[np.ndarray, " nuisances"]
    weights: Float[np.ndarray, " all"]
    group: Int[np.ndarray, " nuisances"]
    expected: Float[np.ndarray, " nuisances"]
    response: csr_array
    spreads: Spreads
    before: Spreads
    of_bodies: "tuple[Problem, State, Posterior] | None" = None

    @property
    def is_finite(self) -> bool:
        """Whether all are numbers: a search that ended where the target is none has no posterior."""
        return bool(np.isfinite(self.likelihood.gradient).all() and np.isfinite(self.likelihood.curvature).all())

    @property
    def spread(self) -> Float[np.ndarray, " nuisances"]:
        """Standard deviation of the prior of each nuisance."""
        return np.array(self.spreads)[self.kind] * self.size / np.sqrt(self.weights[self.free])

    @property
    def priors(self) -> dict[str, float]:
        """Standard deviations of the priors of what was refined, as a solution has them."""
        found: dict[str, float] = {}
        if (self.kind == 0).any():
            found["b_error"] = float(np.median(self.spreads.group_b * self.size[self.kind == 0]))
            found["relative_b_error"] = self.spreads.group_b
            found["b_trend"] = self.spreads.trend
        if (self.kind == 1).any():
            found["b_error_of_atoms"] = float(np.median(self.spreads.atom_b * self.size[self.kind == 1]))
            found["relative_b_error_of_atoms"] = self.spreads.atom_b
            found["b_trend_of_atoms"] = self.spreads.atom_trend
        if (self.kind == 2).any():
            found["position_error"] = self.spreads.position
            found["position_trend"] = self.spreads.position_trend
        return found

    def restricted(self, variables: np.ndarray, parts: np.ndarray, nuisances: np.ndarray) -> "Posterior":
        """That of some variables with their parts and nuisances, all others held."""
        own = np.concatenate([parts, self.place.size + nuisances])
        gradient, curvature = self.likelihood.gradient[own], self.likelihood.curvature[np.ix_(own, own)]
        names = ("free", "lowest", "nuisance", "kind", "size", "expected")
        return replace(
            self,
            likelihood=Information(gradient, curvature, None),
            place=np.searchsorted(variables, self.place[parts]),
            n_variables=len(variables),
            group=np.searchsorted(variables, self.group[nuisances]),
            response=self.response[nuisances][:, variables],
            **{name: getattr(self, name)[nuisances] for name in names},
        )

    def after(self, step: Float[np.ndarray, " variables"], change: Float[np.ndarray, " nuisances"]) -> "Posterior":
        """The same quadratic around another point."""
        gradient = self.likelihood.gradient + self.likelihood.curvature @ np.concatenate([step[self.place], change])
        expected = self.expected + self.response @ step
        likelihood = self.likelihood._replace(gradient=gradient)
        return replace(self, likelihood=likelihood, nuisance=self.nuisance + change, expected=expected)

    @cached_property
    def of_nuisances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Curvature and slope by the nuisances, priors included, and the curvature between parts and nuisances."""
        n, (precision, pull, lever) = self.place.size, self._prior
        steep = lever.toarray().T * precision / self._count[:, None]
        between = self.likelihood.curvature[:n, n:] - steep[self.place]
        slope = self.likelihood.gradient[n:] + pull
        cut, of_group, of_atom = np.where(self.lowest, np.maximum(slope, 0), 0), self.kind == 0, self.kind == 1
        # What may not push an atom does not push it by way of its group either.
        of_atoms = np.bincount(self.group[of_atom], cut[of_atom], minlength=self.n_variables)
        cut[of_group] += of_atoms[self.group[of_group]]
        return self.likelihood.curvature[n:, n:] + np.diag(precision), slope - cut, between

    @cached_property
    def _prior(self) -> tuple[np.ndarray, np.ndarray, Any]:
        """Of each nuisance the precision, the slope, and how what is expected of it changes with the variables."""
        precision, trend = self.spread**-2.0, self.spreads.trend_of(self.kind)
        return precision, precision * (self.nuisance - trend * self.expected), diags_array(trend) @ self.response

    @property
    def _count(self) -> Int[np.ndarray, " variables"]:
        """Parts of each group, whose occupancy is their mean; at least one."""
        return np.maximum(np.bincount(self.place, minlength=self.n_variables), 1)

    def _of_occupancy(
        self, nuisances: Any = slice(None), variables: Any = slice(None)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Curvature and slope by some variables of the priors of some nuisances."""
        precision, pull, lever = self._prior
        lever, own = lever[nuisances][:, variables], precision[nuisances]
        return (lever.T @ lever.multiply(own[:, None])).toarray(), -(lever.T @ pull[nuisances])

    @cached_property
    def _factor(self) -> tuple[np.ndarray, bool]:
        return cho_factor(self.of_nuisances[0])

    @cached_property
    def marginal(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Information on the parts with the nuisances marginalised, gradient, and the response of the nuisances.

        The response to a change d of the parts is −follow·d − rest.
        """
        n, (_, slope, between) = self.place.size, self.of_nuisances
        (stiff, pulls), count = self._of_occupancy(), self._count
        prior = stiff / np.outer(count, count)
        parts = self.likelihood.curvature[:n, :n] + prior[np.ix_(self.place, self.place)]
        of_parts = self.likelihood.gradient[:n] + (pulls / count)[self.place]
        if not self.nuisance.size or not self.is_finite:
            return parts, of_parts, between.T, slope
        follow, rest = cho_solve(self._factor, between.T), cho_solve(self._factor, slope)
        return parts - between @ follow, of_parts - between @ rest, follow, rest

    @cached_property
    def covariance_of_nuisances(self) -> Float[np.ndarray, "nuisances nuisances"]:
        """With the occupancies held: the inverse of their curvature."""
        if not self.nuisance.size or not self.is_finite:
            return np.zeros((self.nuisance.size, self.nuisance.size))
        (inverted,) = get_lapack_funcs(("potri",), self._factor[:1])
        upper = np.triu(inverted(self._factor[0])[0])
        return upper + np.triu(upper, 1).T

    def following(self) -> Callable[[str, int, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """The curvature and slope of some variables if B factors and positions follow a change of one group.

        Those of a group that is absent have nothing to follow with, and its B factor may be what its prior expects.
        """
        slope, curvature, _ = self.of_occupancies(marginal=True)
        inverse, response = self.covariance_of_nuisances, self.by_variable(self.marginal[2].T)

        def of(kind: str, group: int, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            own = np.flatnonzero(self.group == group)
            found, gradient = curvature[np.ix_(members, members)], slope[members]
            if kind == "full" or not own.size:
                return found, gradient
            lost, (stiff, pulls) = response[np.ix_(members, own)], self._of_occupancy(own, members)
            found = found + lost @ np.linalg.solve(inverse[np.ix_(own, own)], lost.T)
            return found - stiff, gradient - pulls

        return of

    def of_some(
        self, covariance: Float[np.ndarray, "variables variables"], nuisances: Int[np.ndarray, " some"]
    ) -> tuple[Float[np.ndarray, "some some"], Float[np.ndarray, "variables some"]]:
        """Covariances of some nuisances and of the variables with them, from that of the variables."""
        follow = self.by_variable(self.marginal[2].T[:, nuisances])
        shared = -covariance @ follow
        return self.covariance_of_nuisances[np.ix_(nuisances, nuisances)] - follow.T @ shared, shared

    def of_occupancies(self, *, marginal: bool) -> Information:
        """Derivatives by the variables, their weak prior included; the nuisances are marginalised or held."""
        n, scores = self.place.size, self.likelihood.scores
        curvature, gradient = self.likelihood.curvature[:n, :n], self.likelihood.gradient[:n]
        products = None if scores is None else scores[:n, :n]
        if marginal:
            curvature, gradient, follow, _ = self.marginal
            if scores is not None:
                mixed = scores[:n, n:] @ follow
                products = products - mixed - mixed.T + follow.T @ scores[n:, n:] @ follow
        curvature = self.by_variable(self.by_variable(curvature).T).T
        if products is not None:
            products = self.by_variable(self.by_variable(products).T).T
        groups = np.unique(self.place)
        curvature[groups, groups] += PRIOR_OCCUPANCY**-2.0
        return Information(self.by_variable(gradient), curvature, products)

    def by_variable(self, of_parts: Float[np.ndarray, "parts *more"]) -> Float[np.ndarray, "variables *more"]:
        """Sum the rows of parts that belong to one variable; vacancies have none."""
        return _sum_parts(of_parts, self.place, self.n_variables)


def _sum_parts(of_parts: np.ndarray, place: np.ndarray, n_rows: int) -> np.ndarray:
    rows = np.zeros((n_rows, *of_parts.shape[1:]))
    np.add.at(rows, place, of_parts)
    return rows


def posterior_at(problem: Problem, state: State, before: Posterior | None = None) -> Posterior:
    """The derivatives where a refinement is, with the priors of the round before."""
    objective, parts, movers, options = state.objective, problem.parts, problem.movers, problem.options
    q, delta_b = objective.split(state.x)
    n_groups, n_parts, n_movers = problem.n_groups, parts.group.size, len(movers.atoms)
    n_shifted = 0 if delta_b is None else n_groups
    by_mover, may_shift = movers.by_atom and options.b_factors == "atom", options.positions != "held"
    counts = np.array([n_shifted, n_movers * by_mover, 3 * n_movers * may_shift])
    group = np.concatenate(
        [np.arange(n_shifted), problem.group_of_mover[: counts[1]], np.tile(problem.group_of_mover, 3 * may_shift)]
    )
    found = extended_information(
        objective,
        problem.columns,
        jnp.asarray(movers.part),
        jnp.asarray(parts.group),
        q,
        delta_b,
        problem.near.of(np.concatenate([parts.group, group])),
        by_mover=by_mover,
        with_scores=not objective.target.is_likelihood,
    )
    free = np.concatenate(
        [
            np.array([atoms.size > 0 for atoms in problem.members], bool)[:n_shifted],
            np.ones(counts[1], bool),
            np.tile(movers.may_shift, 3 * may_shift),
        ]
    )
    whole = np.flatnonzero(np.concatenate([np.ones(n_parts, bool), free]))
    free = np.flatnonzero(free)
    kind = np.repeat(np.arange(3), counts)
    usual_b, of_movers = size_of_b(problem.mean_b)[:n_shifted], np.maximum(movers.b, SMALLEST_B)[: counts[1]]
    size = [
        *(size if options.b_error is None else np.full(size.shape, options.b_error) for size in (usual_b, of_movers)),
        np.tile([len(atoms) ** -0.5 for atoms in movers.atoms], 3 * may_shift),
    ]
    values = [
        np.zeros(0) if delta_b is None else np.asarray(delta_b, np.float64),
        movers.delta_b[: counts[1]],
        np.tile(movers.shifts.T.ravel(), int(may_shift)),
    ]
    lowest = np.zeros(kind.size, bool)
    if by_mover:  # atoms are on their bounds, not their group
        shifted = np.asarray(delta_b)[problem.group_of_mover] + movers.delta_b
        lowest[n_shifted : n_shifted + n_movers] = shifted <= problem.lowest_shifts_of_movers + SAME_B
    elif delta_b is not None:
        lowest[:n_groups] = delta_b <= problem.lowest_shifts
    unit = state.log_likelihood_unit(problem)
    scores, curvature = found.scores, unit * np.asarray(found.curvature, np.float64)
    q, guess = np.asarray(q, np.float64), np.asarray(problem.guess, np.float64)
    weights = np.ones(kind.size)
    if before is None:
        first = _first_spreads(problem, state)
        response = csr_array((0, n_groups))
        if n_shifted:
            response = csr_array(_response(parts.group, usual_b, curvature, q, guess))[free[free < n_shifted]]
    else:
        first, response = before.before, before.response.copy()
        weights[:n_shifted] = before.weights[:n_shifted]
    response.resize(free.size, problem.n_variables)  # what is no B factor of a group has none
    if movers.by_atom:  # what its group does not do, an atom follows by itself
        expects, of_groups, here = response.toarray()[:, :n_groups], np.zeros((n_groups, n_groups)), group[free]
        of_group, of_atom, own = kind[free] == 0, kind[free] == 1, kind[free] > 0
        of_groups[here[of_group]] = expects[of_group]
        restraint = np.where(of_atom, RESTRAINT * np.concatenate(size)[free], RESTRAINT_OF_POSITIONS)
        expects[own] = _give_way(n_parts + free[own], here[own], restraint[own], parts.group, curvature, q, guess)
        expects[of_atom] -= of_groups[here[of_atom]]
        response = csr_array(np.pad(expects, ((0, 0), (0, problem.n_variables - n_groups))))
    return Posterior(
        likelihood=Information(
            np.asarray(found.gradient, np.float64)[whole] * unit,
            curvature[np.ix_(whole, whole)],
            None if scores is None else np.asarray(scores, np.float64)[np.ix_(whole, whole)] * unit**2,
        ),
        place=parts.group,
        n_variables=problem.n_variables,
        free=free,
        lowest=lowest[free],
        nuisance=np.concatenate(values)[free],
        kind=kind[free],
        size=np.concatenate(size)[free],
        weights=weights,
        group=group[free],
        expected=response[:, :n_groups] @ (q - guess),
        response=response,
        spreads=first if before is None else before.spreads,
        before=first,
    )


def _first_spreads(problem: Problem, state: State) -> Spreads:
    """What is believed before the data are asked."""
    observations, sigma_a, options = problem.observations, state.sigma_a, problem.options
    if sigma_a is None:
        amplitude = np.asarray(amplitude_at(state.objective, state.x), np.float64)
        sigma_a = observations.sigma_a(observations.gather(amplitude))
    position = model_error(sigma_a, observations.sigma, 1 / (2 * problem.data.d_spacing()))
    return Spreads(
        RELATIVE_B_SPREAD if options.b_error is None else 1.0,
        RELATIVE_ATOM_SPREAD if options.b_error is None else 1.0,
        position if options.position_error is None else options.position_error,
        0.0,
        0.0,
        0.0,
    )


def _give_way(
    rows: Int[np.ndarray, " rows"],
    group_of_row: Int[np.ndarray, " rows"],
    restraint: Float[np.ndarray, " rows"],
    group: Int[np.ndarray, " parts"],
    curvature: Float[np.ndarray, "all all"],
    q: Float[np.ndarray, " groups"],
    guess: Float[np.ndarray, " groups"],
) -> Float[np.ndarray, "rows groups"]:
    """By how much some of all parameters give way to the occupancies where they are refined together.

    They give way to the logarithm of their occupancy evenly, of which the mean slope between the guess and the answer
    is taken. A group that is hardly there does not tell.
    """
    tells = q > SOME
    raised = np.where(tells, np.maximum((q + guess) / 2, SOME) / np.maximum(q, SOME), 0.0)[group_of_row]
    by_both = _sum_parts(curvature[rows, : group.size].T, group, q.size).T
    stiff = curvature[np.ix_(rows, rows)] * np.outer(raised, raised) + np.diag(restraint**-2.0)
    return -np.linalg.solve(stiff, raised[:, None] * by_both) * tells


def _response(
    group: Int[np.ndarray, " parts"],
    size: Float[np.ndarray, " groups"],
    curvature: Float[np.ndarray, "all all"],
    q: Float[np.ndarray, " groups"],
    guess: Float[np.ndarray, " groups"],
) -> Float[np.ndarray, "groups groups"]:
    """By how much the B factors of groups give way to the occupancies where they are refined, in Å².

    Those of groups that overlap do so together; one that does not tell gets what is usual for its own B factor.
    """
    n, mean = q.size, np.maximum((q + guess) / 2, SOME)
    of_b = group.size + np.arange(n)
    found = _give_way(of_b, np.arange(n), RESTRAINT * size, group, curvature, q, guess)
    tells = (q > SOME) & (curvature[of_b, of_b] > 0)
    relative = np.diagonal(found)[tells] * mean[tells] / size[tells]
    usual = np.median(relative) if relative.size else 0.0
    found[~tells, ~tells] = usual * size[~tells] / mean[~tells]
    return found
