"""A target as a function of everything that is refined, and its derivatives."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_occupancy.refinement._solver import SolverResult, gauss_newton
from jax_occupancy.xray import LinearModel


class BShifts(eqx.Module):
    """Bounds and prior of the B shifts of groups, in Å².

    `Setup.b_shifts` makes them for a model.

    Attributes:
        lowest: the most negative shift, which keeps the B factors of all atoms of the group positive.
        spread: standard deviation of the weak prior around no shift; it alone decides for a group that is not there.
            Also the unit of the solver's variable.
        weight: of the prior in the target; 1 where the target is minus a log-likelihood.
    """

    lowest: Float[Array, " groups"]
    spread: Float[Array, " groups"]
    weight: Float[Array, ""]


class Problem(eqx.Module):
    """Minus the logarithm of the likelihood (or another target) of occupancies and, if wanted, B shifts.

    The variables x are the occupancies of the groups, then the vacancies of the sets that may stay partly empty, which
    scatter nothing, then the B shifts above the lowest allowed ones in units of their spread. None of
    them is negative.

    Attributes:
        linear: structure factors.
        target: an elementwise function of the model amplitudes.
        matrix: equations that x satisfies (see `Constraints`).
        b_shifts: None where B factors are held.

    Example:
        >>> from jax_occupancy.xray import LeastSquares, LinearModel
        >>> nothing, ones = jnp.zeros(3), jnp.ones(3)
        >>> groups = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]]) + 0j  # of two groups at three reflections
        >>> linear = LinearModel.from_structure_factors(nothing, nothing, groups, ones, nothing)
        >>> target = LeastSquares.from_data([1.4, 1.0, 0.9], [False, False, False])  # 0.7 and 0.3 of them
        >>> problem = Problem(linear, target, matrix=jnp.ones((1, 2)))
        >>> round(float(problem.value(jnp.array([0.7, 0.3]))), 6)
        0.0
    """

    linear: LinearModel
    target: Callable[[Array], Array]
    matrix: Float[Array, "equations variables"]
    b_shifts: BShifts | None = None

    def split(self, x: Float[Array, " variables"]) -> tuple[Float[Array, " groups"], Float[Array, " groups"] | None]:
        """Occupancies and B shifts (None where they are held)."""
        return split_variables(x, self.linear.n_groups, self.b_shifts)

    def amplitude(self, x: Float[Array, " variables"]) -> Float[Array, " reflections"]:
        """Amplitudes of the model."""
        return self.linear.amplitude(*self.split(x))

    def value(self, x: Float[Array, " variables"]) -> Float[Array, ""]:
        """The target, and the prior of the B shifts."""
        misfit = jnp.sum(self.target(self.amplitude(x)))
        if self.b_shifts is None:
            return misfit
        return misfit + 0.5 * self.b_shifts.weight * jnp.sum(self._relative_shifts(x) ** 2)

    def gradient(self, x: Float[Array, " variables"]) -> Float[Array, " variables"]:
        """First derivatives."""
        q, delta_b = self.split(x)
        f, direction = self.linear.amplitude_and_direction(q, delta_b)
        slope = jax.grad(lambda f: jnp.sum(self.target(f)))(f)
        pulls = self._place(self.linear.gradient(direction, slope, q, delta_b), x.size)
        if self.b_shifts is None:
            return pulls
        return pulls.at[x.size - q.size :].add(self.b_shifts.weight * self._relative_shifts(x))

    def curvature(self, x: Float[Array, " variables"]) -> Float[Array, "variables variables"]:
        """Fisher information where the target knows it, else the generalised Gauss-Newton matrix."""
        q, delta_b = self.split(x)
        f, direction = self.linear.amplitude_and_direction(q, delta_b)
        matrix = self.linear.curvature(direction, information(self.target, f), q, delta_b)
        matrix = self._place(self._place(matrix, x.size).T, x.size)
        if self.b_shifts is None:
            return matrix
        last = jnp.arange(x.size - q.size, x.size)
        return matrix.at[last, last].add(self.b_shifts.weight)

    def solve(self, x: Float[Array, " variables"], *, tolerance: float, **options) -> SolverResult:
        """Minimise from x; the options are those of `gauss_newton`."""
        return gauss_newton(self.value, self.gradient, self.curvature, self.matrix, x, tolerance=tolerance, **options)

    def _relative_shifts(self, x: Array) -> Array:
        assert self.b_shifts is not None
        return self.b_shifts.lowest / self.b_shifts.spread + x[x.size - self.linear.n_groups :]

    def _place(self, parameters: Array, n_variables: int) -> Array:
        """Put derivatives by the parameters of the linear model, on the first axis, among those by the variables."""
        n = self.linear.n_groups
        if self.b_shifts is not None:
            units = jnp.concatenate([jnp.ones_like(self.b_shifts.spread), self.b_shifts.spread])
            parameters = parameters * units.reshape(-1, *[1] * (parameters.ndim - 1))
        # The target does not depend on vacancies.
        vacancies = jnp.zeros((n_variables - parameters.shape[0], *parameters.shape[1:]), parameters.dtype)
        return jnp.concatenate([parameters[:n], vacancies, parameters[n:]])


def split_variables(
    x: Float[Array, " variables"], n_groups: int, b_shifts: BShifts | None
) -> tuple[Float[Array, " groups"], Float[Array, " groups"] | None]:
    """Occupancies and B shifts (None where they are held) from the variables of a `Problem`."""
    if b_shifts is None:
        return x[:n_groups], None
    return x[:n_groups], b_shifts.lowest + b_shifts.spread * x[x.size - n_groups :]


@eqx.filter_jit
def minimise(
    problem: Problem,
    x: Float[Array, " variables"],
    known_curvature: Float[Array, "variables variables"],
    *,
    tolerance: float,
) -> SolverResult:
    """Minimise from x, compiled once for all starts of a problem; see `gauss_newton`."""
    return problem.solve(x, tolerance=tolerance, known_curvature=known_curvature)


def solve(
    linear: LinearModel,
    target: Callable[[Array], Array],
    matrix: Float[Array, "equations variables"],
    x: Float[Array, " variables"],
    *,
    tolerance: float,
    b_shifts: BShifts | None = None,
) -> SolverResult:
    """Minimise a target over the occupancies at fixed scales.

    Args:
        linear: the structure factors as a function of the first variables.
        target: an elementwise function of the model amplitudes, such as `LeastSquares`.
        matrix: equations that x satisfies (see `Constraints`).
        x: start values of occupancies and vacancies, then B shifts if they are refined (see `Problem`).
        tolerance: largest change of a variable that counts as none.
        b_shifts: bounds and prior of the B shifts; None holds them.

    Returns:
        The end point.

    Example:
        >>> from jax_occupancy.xray import LeastSquares, LinearModel
        >>> nothing, ones = jnp.zeros(3), jnp.ones(3)
        >>> groups = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]]) + 0j  # of two groups at three reflections
        >>> linear = LinearModel.from_structure_factors(nothing, nothing, groups, ones, nothing)
        >>> target = LeastSquares.from_data([1.4, 1.0, 0.9], [False, False, False])  # 0.7 and 0.3 of them
        >>> end = solve(linear, target, jnp.ones((1, 2)), jnp.array([0.5, 0.5]), tolerance=1e-6)
        >>> [round(q, 3) for q in end.x.tolist()]
        [0.7, 0.3]
    """
    unknown = jnp.zeros((x.size, x.size), x.dtype)
    return minimise(Problem(linear, target, matrix, b_shifts), x, unknown, tolerance=tolerance)


def information(target: Callable[[Array], Array], f: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
    """Curvature of a target by each amplitude, never negative.

    The Fisher information if the target knows it, else its second derivative without the negative ones of single
    reflections (generalised Gauss-Newton).
    """
    if hasattr(target, "information"):
        return target.information(f)
    slope = jax.grad(lambda f: jnp.sum(target(f)))
    # The target is elementwise, so one directional derivative of its slope holds every second derivative.
    return jnp.maximum(jax.jvp(slope, (f,), (jnp.ones_like(f),))[1], 0)
