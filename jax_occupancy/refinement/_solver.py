"""Fisher scoring (generalised Gauss-Newton) in the occupancies themselves, exact on every simplex.

In logit space a random start in three ends stuck where the gradient vanishes although the target pushes inwards; in q
with an active set it does not. The structure factor is linear in q, so a step costs one product with the Jacobian.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jax_occupancy.refinement._quadratic import solve_on_simplexes


class SolverResult(NamedTuple):
    """Where the solver ended.

    Attributes:
        x: occupancies of the refinable groups, then the vacancies.
        target: the target there.
        steps: steps taken.
        shift: largest change of an occupancy in the last step.
        converged: whether that change fell below the tolerance.
    """

    x: Float[Array, " variables"]
    target: Float[Array, ""]
    steps: Int[Array, ""]
    shift: Float[Array, ""]
    converged: Bool[Array, ""]


def gauss_newton(
    target: Callable[[Array], Array],
    quadratic: Callable[[Array], tuple[Array, Array]],
    matrix: Float[Array, "sets variables"],
    x: Float[Array, " variables"],
    *,
    tolerance: float,
    max_steps: int = 50,
) -> SolverResult:
    """Minimise a target on products of simplexes.

    Args:
        target: the function of x to minimise.
        quadratic: its gradient and a positive semidefinite approximation of its second derivatives.
        matrix: rows of the equality constraints, which x satisfies.
        x: start values, none negative.
        tolerance: largest change of an occupancy that counts as none.
        max_steps: limit on the number of steps.

    Returns:
        The end point. A step is taken only if the target does not go up, so the end is never above the start.
    """

    def body(result):
        gradient, hessian = quadratic(result.x)
        step = solve_on_simplexes(gradient, hessian, matrix, result.x)
        slope = jnp.minimum(gradient @ step, 0)

        def try_length(state):
            length, _, _ = state
            x = jnp.maximum(result.x + length * step, 0)
            return length / 2, x, target(x)

        # Armijo's condition; the last term lets a step through that changes the target by rounding only.
        slack = 8 * jnp.finfo(x.dtype).eps * jnp.abs(result.target)

        def too_long(state):
            length, _, value = state
            return ~(value <= result.target + 1e-4 * 2 * length * slope + slack) & (length > 1e-6)

        first = try_length((jnp.ones((), x.dtype), result.x, result.target))
        _, new_x, value = lax.while_loop(too_long, try_length, first)
        better = value <= result.target + slack
        new_x, value = jnp.where(better, new_x, result.x), jnp.where(better, value, result.target)
        shift = jnp.max(jnp.abs(new_x - result.x), initial=0)
        # A shortened step is no sign of convergence; one that could not be taken at all ends the search.
        wanted = jnp.max(jnp.abs(step), initial=0)
        return SolverResult(new_x, value, result.steps + 1, shift, (wanted <= tolerance) | ~better)

    start = SolverResult(x, target(x), jnp.array(0), jnp.array(jnp.inf, x.dtype), jnp.array(x.size == 0))
    return lax.while_loop(lambda r: ~r.converged & (r.steps < max_steps), body, start)


def quadratic_model(
    target: Callable[[Array], Array], f: Float[Array, " reflections"], jacobian: Float[Array, "reflections variables"]
) -> tuple[Float[Array, " variables"], Float[Array, "variables variables"]]:
    """Gradient and curvature of a sum of functions of single amplitudes.

    Args:
        target: maps amplitudes to one number per reflection, each a function of that amplitude alone.
        f: the amplitudes where to expand.
        jacobian: their derivatives with respect to the variables.

    Returns:
        Gradient and a positive semidefinite matrix: the Fisher information if the target knows it, else the
        generalised Gauss-Newton matrix, without the negative curvature of single reflections.
    """
    slope = jax.grad(lambda f: jnp.sum(target(f)))
    # The target is elementwise, so one directional derivative of its slope holds every second derivative.
    first, second = jax.jvp(slope, (f,), (jnp.ones_like(f),))
    curvature = target.information(f) if hasattr(target, "information") else jnp.maximum(second, 0)
    return jacobian.T @ first, jacobian.T @ (curvature[:, None] * jacobian)
