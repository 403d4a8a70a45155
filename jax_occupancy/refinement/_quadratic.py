"""A small quadratic programme on products of simplexes, by a primal active-set method.

    minimise  gradient·d + ½ d·hessian·d     subject to  matrix·d = 0,  x + d ≥ 0

Bounds are met exactly: a variable is either free or at zero, and one leaves its bound only if that lowers the target
(Nocedal & Wright, Numerical Optimization, algorithm 16.3).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int


class _State(NamedTuple):
    step: Float[Array, " variables"]
    at_bound: Bool[Array, " variables"]
    done: Bool[Array, ""]
    count: Int[Array, ""]


def solve_on_simplexes(
    gradient: Float[Array, " variables"],
    hessian: Float[Array, "variables variables"],
    matrix: Float[Array, "sets variables"],
    x: Float[Array, " variables"],
) -> Float[Array, " variables"]:
    """Find the step from a feasible point to the minimum of a convex quadratic within the constraints.

    Args:
        gradient: of the target at x.
        hessian: positive semidefinite.
        matrix: rows of the equality constraints, which x satisfies.
        x: present values, none negative.

    Returns:
        The step d, with matrix·d = 0 to rounding and x + d ≥ 0.
    """
    n, m = x.size, matrix.shape[0]
    if n == 0:
        return x
    eps = jnp.finfo(x.dtype).eps
    # A ridge far below any curvature that the data determine keeps coincident columns solvable: their split stays.
    curvature = jnp.maximum(jnp.max(jnp.diagonal(hessian), initial=0), jnp.finfo(x.dtype).tiny)
    hessian = hessian / curvature + eps**0.6 * jnp.eye(n, dtype=x.dtype)
    gradient = gradient / curvature
    threshold = 32 * eps * (1 + jnp.max(jnp.abs(gradient), initial=0))

    def equality_step(at_bound):
        """Minimum with some variables held at zero, and the multipliers of the equations."""
        free = ~at_bound
        both_free = free[:, None] & free[None, :]
        top = jnp.where(both_free, hessian, 0) + jnp.diag(jnp.where(free, 0.0, 1.0).astype(x.dtype))
        side = jnp.where(free[None, :], matrix, 0)
        # The small block makes the system regular also where a set has no free member.
        corner = -eps * jnp.eye(m, dtype=x.dtype)
        system = jnp.block([[top, side.T], [side, corner]])
        fixed = jnp.where(at_bound, -x, 0)
        right = jnp.concatenate([jnp.where(free, -gradient - hessian @ fixed, -x), -(matrix @ fixed)])
        solution = jnp.linalg.solve(system, right)
        return solution[:n], solution[n:]

    def body(state):
        target, multiplier = equality_step(state.at_bound)
        move = target - state.step
        room = state.step + x
        reach = jnp.where(~state.at_bound & (move < 0), room / jnp.where(move < 0, -move, 1), jnp.inf)
        blocking = jnp.argmin(reach)
        blocked = reach[blocking] < 1
        step = state.step + jnp.minimum(reach[blocking], 1) * move
        pull = gradient + hessian @ step + matrix.T @ multiplier
        pull = jnp.where(state.at_bound, pull, jnp.inf)
        leaving = jnp.argmin(pull)
        leaves = ~blocked & (pull[leaving] < -threshold)
        index = jnp.arange(n)
        at_bound = (state.at_bound | (blocked & (index == blocking))) & ~(leaves & (index == leaving))
        return _State(jnp.where(at_bound, -x, step), at_bound, ~blocked & ~leaves, state.count + 1)

    start = _State(jnp.zeros_like(x), x <= eps, jnp.array(False), jnp.array(0))
    final = lax.while_loop(lambda state: ~state.done & (state.count < 6 * n + 20), body, start)
    return jnp.maximum(final.step, -x)
