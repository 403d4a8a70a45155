"""A target as a function of everything that is refined, and its derivatives."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from jax_occupancy.refinement._solver import MAX_STEPS, SolverResult, gauss_newton
from jax_occupancy.xray import LinearModel, Target, Tiles, TwinnedModel, of_orbits


class Objective(eqx.Module):
    """Minus the logarithm of the posterior (or another target with priors) of occupancies and, if wanted, B shifts.

    The variables x are the occupancies of the groups, then the vacancies of the sets that may stay partly empty, which
    scatter nothing, then the B shifts above the lowest allowed ones in units of their spread. None is negative.

    Attributes:
        linear: structure factors on the scale of the data.
        target: an elementwise function of the model amplitudes; None until the scales are known that it is made for.
        matrix: equations that x satisfies (see `Constraints`).
        lowest_b: the most negative B shifts, in Å², which keep the B factors of all atoms positive; None holds B.
        spread_b: standard deviations of their prior, in Å²; it alone decides for a group that is not there.
        weight: of the prior in the target; 1 where the target is minus a log-likelihood.
        trend_b: what the prior expects of B factors (rows) that were refined at other occupancies (columns), in Å² per
            unit of the difference.
        guess: the occupancies that the B factors may have been refined at.
        tiles: of the occupancies and B shifts, between which curvature is computed; None for all.
        blocks: of variables and equations, by which the solver goes (see `solve_on_simplexes`); None for one.

    Example:
        >>> from jax_occupancy.xray import LeastSquares, LinearModel
        >>> nothing, ones = jnp.zeros(3), jnp.ones(3)
        >>> groups = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]]) + 0j  # of two groups at three reflections
        >>> linear = LinearModel.from_structure_factors(nothing, nothing, groups, ones, nothing)
        >>> target = LeastSquares.from_data([1.4, 1.0, 0.9], [False, False, False])  # 0.7 and 0.3 of them
        >>> objective = Objective(linear, target, matrix=jnp.ones((1, 2)))
        >>> [round(q, 3) for q in minimise(objective, jnp.array([0.5, 0.5]), tolerance=1e-6).x.tolist()]
        [0.7, 0.3]
    """

    linear: LinearModel
    target: Target | Any
    matrix: Float[Array, "equations variables"]
    lowest_b: Float[Array, " groups"] | None = None
    spread_b: Float[Array, " groups"] | None = None
    weight: Float[Array, ""] | float = 1.0
    trend_b: Float[Array, "groups groups"] | float = 0.0
    guess: Float[Array, " groups"] | float = 1.0
    tiles: Tiles | None = None
    blocks: Int[Array, "blocks size"] | None = None

    def split(self, x: Float[Array, " variables"]) -> tuple[Float[Array, " groups"], Float[Array, " groups"] | None]:
        """Occupancies and B shifts (None where they are held)."""
        n = self.linear.n_groups
        if self.lowest_b is None or self.spread_b is None:
            return x[:n], None
        return x[:n], self.lowest_b + self.spread_b * x[x.size - n :]

    def with_scale(self, overall, solvent) -> "Objective":
        """The same on other scales, each (reflections,)."""
        return eqx.tree_at(lambda one: one.linear, self, self.linear.with_scale(overall, solvent))

    def with_fractions(self, fractions) -> "Objective":
        """The same with other fractions of the domains of a twin."""
        twin: TwinnedModel | Any = self.linear
        return eqx.tree_at(lambda one: one.linear, self, twin.with_fractions(fractions))

    def structure_factors(self, x: Float[Array, " variables"]) -> Complex[Array, " reflections"]:
        """Structure factors of the model on the scale of the data."""
        return self.linear(*self.split(x))

    def amplitude(self, x: Float[Array, " variables"]) -> Float[Array, " reflections"]:
        """Amplitudes of the model."""
        return self.linear.amplitude(*self.split(x))

    def misfit(self, amplitude: Float[ArrayLike, " reflections"]) -> Float[Array, ""]:
        """The target for amplitudes of a model, without priors."""
        return jnp.sum(self.target(jnp.asarray(amplitude)))

    def value(self, x: Float[Array, " variables"]) -> Float[Array, ""]:
        """The target, and the prior of the B shifts."""
        return self.misfit(self.amplitude(x)) + self.prior(x)

    def gradient(self, x: Float[Array, " variables"]) -> Float[Array, " variables"]:
        """First derivatives."""
        q, delta_b = self.split(x)
        f, direction = self.linear.amplitude_and_direction(q, delta_b)
        slope = jax.grad(lambda f: jnp.sum(self.target(f)))(f)
        return self._place(self.linear.gradient(direction, slope, q, delta_b), x.size) + jax.grad(self.prior)(x)

    def curvature(self, x: Float[Array, " variables"]) -> Float[Array, "variables variables"]:
        """Fisher information where the target knows it, else the generalised Gauss-Newton matrix."""
        q, delta_b = self.split(x)
        f, direction = self.linear.amplitude_and_direction(q, delta_b)
        matrix = self.linear.curvature(direction, self.target.information(f), q, delta_b, self.tiles)
        return self._place(self._place(matrix, x.size).T, x.size) + self._curvature_of_prior(x)

    def prior(self, x: Float[Array, " variables"]) -> Float[Array, ""]:
        """Half the squares of how far B shifts are from those expected, in units of their spread."""
        q, delta_b = self.split(x)
        if delta_b is None:
            return jnp.zeros((), x.dtype)
        expected = jnp.dot(self.trend_b, q - self.guess, precision="highest")
        departed = (delta_b - expected) / self.spread_b  # pyright: ignore[reportOperatorIssue]
        return 0.5 * self.weight * jnp.sum(departed**2)

    def _curvature_of_prior(self, x: Array) -> Array:
        """Its second derivatives: automatic ones cost four times as much as the one product that they take."""
        n, found = self.linear.n_groups, jnp.zeros((x.size, x.size), x.dtype)
        if self.spread_b is None:
            return found
        lever = -jnp.broadcast_to(self.trend_b, (n, n)) / self.spread_b[:, None]
        of_q = jnp.dot(lever.T, lever, precision="highest")
        found = found.at[:n, :n].set(of_q).at[:n, -n:].set(lever.T).at[-n:, :n].set(lever).at[-n:, -n:].set(jnp.eye(n))
        return self.weight * found

    def _place(self, parameters: Array, n_variables: int) -> Array:
        """Put derivatives by the parameters of the linear model, on the first axis, among those by the variables."""
        n = self.linear.n_groups
        if self.spread_b is not None:
            units = jnp.concatenate([jnp.ones_like(self.spread_b), self.spread_b])
            parameters = parameters * units.reshape(-1, *[1] * (parameters.ndim - 1))
        # The target does not depend on vacancies.
        vacancies = jnp.zeros((n_variables - parameters.shape[0], *parameters.shape[1:]), parameters.dtype)
        return jnp.concatenate([parameters[:n], vacancies, parameters[n:]])


def minimise(
    objective: Objective,
    x: Float[Array, " variables"],
    curvature: Float[Array, "variables variables"] | None = None,
    *,
    tolerance: Float[ArrayLike, ""] | float,
    max_steps: Int[ArrayLike, ""] = MAX_STEPS,
) -> SolverResult:
    """Minimise from x, with a matrix of second derivatives to begin with if one is known; see `gauss_newton`."""
    # Everything that varies is an array: with a matrix or without, to any tolerance, it is one program.
    known = jnp.asarray(np.zeros((x.size, x.size)), x.dtype) if curvature is None else curvature
    limits = {"tolerance": jnp.asarray(tolerance, x.dtype), "max_steps": jnp.asarray(max_steps)}
    return _minimise(objective, x, known, jnp.asarray(curvature is None), **limits)


@eqx.filter_jit
def _minimise(objective: Objective, x: Array, known: Array, renew: Array, **limits: Array) -> SolverResult:
    # Not the method itself: JAX hashes what it branches to, and a method of a module has no hash.
    return _minimised(objective, x, lambda x: objective.curvature(x), known_curvature=known, renew=renew, **limits)


@eqx.filter_jit
def minimise_from(
    objective: Objective,
    starts: Float[Array, "starts variables"],
    curvature: Float[Array, "variables variables"],
    *,
    tolerance: Float[ArrayLike, ""] | float,
) -> SolverResult:
    """Minimise from several starts at once, with the second derivatives of one minimum: one pass over the data a step.

    Each array of the result has the starts on its first axis, but for the curvature.
    """

    def from_start(x):
        found = _minimised(objective, x, None, tolerance=tolerance, known_curvature=curvature)
        return found._replace(curvature=jnp.zeros(0))  # not one copy for each

    return jax.vmap(from_start)(starts)._replace(curvature=curvature)


def _minimised(objective: Objective, x: Array, curvature: Any, **settings: Any) -> SolverResult:
    value, gradient, blocks = (lambda x: objective.value(x)), (lambda x: objective.gradient(x)), objective.blocks
    return gauss_newton(value, gradient, curvature, objective.matrix, x, blocks=blocks, **settings)


# Compiled as a whole: operation by operation the first call of each costs a second.
misfit_at = eqx.filter_jit(Objective.misfit)
structure_factors_at = eqx.filter_jit(Objective.structure_factors)
prior_at = eqx.filter_jit(Objective.prior)


def amplitude_at(objective: Objective, x: Float[Array, " variables"]) -> Float[Array, " reflections"]:
    """Amplitudes of the model; targets have no part in them, so that they are one program for all of these."""
    return _amplitude_at(replace(objective, target=None, tiles=None, blocks=None), x)


_amplitude_at = eqx.filter_jit(Objective.amplitude)


@eqx.filter_jit
def unscaled(
    linear: LinearModel, q: Float[Array, " groups"], delta_b: Float[Array, " groups"] | None = None
) -> tuple[Complex[Array, " reflections"], Complex[Array, " reflections"]]:
    """Structure factors of the atoms and of the solvent at density 1, which scales are fitted to.

    What follows takes these two: they are the one pass over the columns that a cycle needs before it solves.
    """
    return linear.calculated(q, delta_b), linear.solvent_mask(q)


@eqx.filter_jit
def amplitude_of(linear: LinearModel, parts: tuple[Array, Array]) -> Float[Array, " reflections"]:
    """Amplitudes of the model."""
    return linear.size(linear.scaled(*parts))


@eqx.filter_jit
def powers_of(linear: TwinnedModel | Any, parts: tuple[Array, Array]) -> Float[Array, "domains reflections"]:
    """Intensities of the domains of a twin, each as the whole crystal."""
    return linear.powers_of(linear.scaled(*parts))


@eqx.filter_jit
def misfit_of(
    linear: LinearModel, target: Target | Any, calculated: Complex[Array, " reflections"], q: Float[Array, " groups"]
) -> Float[Array, ""]:
    """The target without priors, with the solvent as it is now."""
    return jnp.sum(target(linear.size(linear.scaled(calculated, linear.solvent_mask(q)))))


@eqx.filter_jit
def by_solvent_share(
    linear: LinearModel, target: Target | Any, parts: tuple[Array, Array], base: LinearModel, q: Float[Array, " groups"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """First and second derivative by how much of the solvent of `base` fills the places of absent groups."""
    f, direction = linear.size_and_direction(linear.scaled(*parts))
    added = base.solvent_mask(q) - base.mask + base.empty  # pyright: ignore[reportOperatorIssue]
    by_share = of_orbits(direction, lambda one: linear.solvent * (one[0] * added.real + one[1] * added.imag))
    slope = jax.grad(lambda f: jnp.sum(target(f)))(f)
    return jnp.sum(slope * by_share), jnp.sum(target.information(f) * by_share**2)
