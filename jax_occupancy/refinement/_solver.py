"""Fisher scoring (generalised Gauss-Newton) in the occupancies themselves, exact on every simplex.

In logit space a random start in three ends stuck where the gradient vanishes although the target pushes inwards; in q
with an active set it does not. The structure factor is linear in q, so a step costs one product with the Jacobian.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jax_occupancy.refinement._quadratic import solve_on_simplexes

# The matrix of second derivatives, by far the dearest, is kept after a step shorter than this: it changes less than the
# next step needs. And as long as each step is shorter than this part of the last one: it leads there without a new one.
REFRESH, FASTER = 0.05, 0.5
MAX_STEPS = 100
# A gain below this many units of its last digit can't be told from the rounding of a target.
RESOLVED = 100


class Result(enum.IntEnum):
    """How a search ended, with a sentence for it; only `converged` is an answer."""

    converged = 0, "the occupancies came to rest"
    stalled = 1, "no step lowers the target although its derivatives say so, so these contradict its values"
    not_finite = 2, "the target or its derivatives are no finite numbers"
    max_steps = 3, "the solver took as many steps as it may without coming to rest"
    max_cycles = 4, "scales and occupancies still moved after as many cycles as there may be"
    nothing_to_refine = 5, "no occupancy is refinable"

    sentence: str

    def __new__(cls, number: int, sentence: str):
        """A number that JAX can carry."""
        member = int.__new__(cls, number)
        member._value_, member.sentence = number, sentence
        return member


class SolverResult(NamedTuple):
    """Where the solver ended.

    Attributes:
        x: occupancies of the refinable groups, then the vacancies, then shifts of B factors if they are refined.
        target: the target there.
        steps: steps taken.
        shift: largest change of a variable in the last step.
        result: the number of a `Result`.
        curvature: the matrix of the last step.
    """

    x: Float[Array, " variables"]
    target: Float[Array, ""]
    steps: Int[Array, ""]
    shift: Float[Array, ""]
    result: Int[Array, ""]
    curvature: Float[Array, "variables variables"]


def gauss_newton(
    target: Callable[[Array], Array],
    gradient: Callable[[Array], Array],
    curvature: Callable[[Array], Array] | None,
    matrix: Float[Array, "sets variables"],
    x: Float[Array, " variables"],
    *,
    tolerance: Float[ArrayLike, ""] | float,
    blocks: Int[Array, "blocks size"] | None = None,
    known_curvature: Float[Array, "variables variables"] | None = None,
    renew: Bool[ArrayLike, ""] | None = None,
    max_steps: Int[ArrayLike, ""] = MAX_STEPS,
) -> SolverResult:
    """Minimise a target on products of simplexes.

    Args:
        target: the function of x to minimise.
        gradient: its first derivatives.
        curvature: a positive semidefinite approximation of its second derivatives. It is evaluated where the steps
            are long and do not get shorter, and kept elsewhere. None keeps `known_curvature` all the way.
        matrix: rows of the equality constraints, which x satisfies.
        x: start values, none negative.
        tolerance: largest change of a variable that counts as none.
        blocks: of variables and equations that belong together, see `solve_on_simplexes`.
        known_curvature: a matrix to begin with, such as that of the minimum another start has found.
        renew: whether the first step asks for another one; when left out, if none is known.
        max_steps: limit on the number of steps.

    Returns:
        The end point. A step is taken only if the target does not go up, so the end is never above the start.

    Example:
        >>> import jax
        >>> def target(x):
        ...     return jnp.sum((x - jnp.array([0.9, 0.4])) ** 2)
        >>> sums, start = jnp.ones((1, 2)), jnp.array([0.5, 0.5])
        >>> end = gauss_newton(target, jax.grad(target), jax.hessian(target), sums, start, tolerance=1e-6)
        >>> [round(q, 3) for q in end.x.tolist()]
        [0.75, 0.25]
    """
    first = jnp.zeros((x.size, x.size), x.dtype) if known_curvature is None else known_curvature

    def body(state):
        result, again = state
        matrix_at = first
        if curvature is not None:
            matrix_at = lax.cond(again, curvature, lambda _: result.curvature, result.x)
        slope_at = gradient(result.x)
        step = solve_on_simplexes(slope_at, matrix_at, matrix, result.x, blocks)
        slope = jnp.minimum(slope_at @ step, 0)
        # Armijo's condition; the last term lets a step through that changes the target by rounding only.
        slack = 8 * jnp.finfo(x.dtype).eps * jnp.abs(result.target)

        def try_length(state):
            length = state[0] / 2
            x = jnp.maximum(result.x + length * step, 0)
            return length, x, target(x)

        def too_long(state):
            length, _, value = state
            return ~(value <= result.target + 1e-4 * length * slope + slack) & (length > 1e-6)

        untried = (jnp.array(2.0, x.dtype), result.x, jnp.full_like(result.target, jnp.inf))
        length, new_x, value = lax.while_loop(too_long, try_length, untried)
        better = value <= result.target + slack
        new_x, value = jnp.where(better, new_x, result.x), jnp.where(better, value, result.target)
        shift = jnp.max(jnp.abs(new_x - result.x), initial=0)
        # A shortened step is no sign of convergence; one that can't be taken at all ends the search.
        wanted = jnp.max(jnp.abs(step), initial=0)
        at_rest = (wanted <= tolerance) | (~better & (-slope <= RESOLVED / 8 * slack))
        how = jnp.where(better, Result.max_steps, Result.stalled)
        how = jnp.where(at_rest, Result.converged, how)
        how = jnp.where(jnp.isfinite(result.target) & jnp.isfinite(wanted), how, Result.not_finite)
        again = (shift > REFRESH) & ((shift > FASTER * result.shift) | (length < 1))
        return SolverResult(new_x, value, result.steps + 1, shift, how, matrix_at), again

    # Until it ends for another reason a search is one that runs out of steps.
    how = jnp.array(Result.max_steps if x.size else Result.converged)
    start = SolverResult(x, target(x), jnp.array(0), jnp.array(0, x.dtype), how, first)

    renew = known_curvature is None if renew is None else renew

    def goes_on(state):
        return (state[0].result == Result.max_steps) & (state[0].steps < max_steps)

    return lax.while_loop(goes_on, body, (start, jnp.asarray(renew)))[0]
