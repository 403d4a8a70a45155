"""A small quadratic programme on products of simplexes, by active sets.

    minimise  gradient·d + ½ d·hessian·d     subject to  matrix·d = 0,  x + d ≥ 0

Bounds are met exactly: a variable is either free or at zero, and one leaves its bound only if that lowers the target.
First the bounds are guessed all at once from the signs of variables and multipliers, which takes a handful of rounds
however many there are (Hintermüller, Ito & Kunisch, SIAM J. Optim. 13, 865-888, 2003). Should the guesses go in a
circle, bounds are taken and given up one at a time, which always ends (Nocedal & Wright, Numerical Optimization,
algorithm 16.3).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

MAX_ROUNDS = 20


class _State(NamedTuple):
    step: Float[Array, " variables"]
    at_bound: Bool[Array, " variables"]
    done: Bool[Array, ""]
    count: Int[Array, ""]


class _Programme(NamedTuple):
    """The programme, scaled to curvatures of order one."""

    gradient: Float[Array, " variables"]
    hessian: Float[Array, "variables variables"]
    matrix: Float[Array, "sets variables"]
    x: Float[Array, " variables"]
    threshold: Float[Array, ""]

    def minimum(
        self, at_bound: Bool[Array, " variables"]
    ) -> tuple[Float[Array, " variables"], Float[Array, " variables"]]:
        """Minimum with some variables held at zero, and how hard the target pulls each variable down."""
        n, m = self.x.size, self.matrix.shape[0]
        free = ~at_bound
        both_free = free[:, None] & free[None, :]
        top = jnp.where(both_free, self.hessian, 0) + jnp.diag(jnp.where(free, 0.0, 1.0).astype(self.x.dtype))
        side = jnp.where(free[None, :], self.matrix, 0)
        # The small block makes the system regular also where a set has no free member.
        corner = -jnp.finfo(self.x.dtype).eps * jnp.eye(m, dtype=self.x.dtype)
        system = jnp.block([[top, side.T], [side, corner]])
        fixed = jnp.where(at_bound, -self.x, 0)
        right = jnp.where(free, -self.gradient - self.hessian @ fixed, -self.x)
        solution = jnp.linalg.solve(system, jnp.concatenate([right, -(self.matrix @ fixed)]))
        step, multiplier = solution[:n], solution[n:]
        return step, self.gradient + self.hessian @ step + self.matrix.T @ multiplier


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

    Example:
        >>> gradient, x = jnp.array([-1.0, 1.0]), jnp.array([0.75, 0.25])
        >>> solve_on_simplexes(gradient, jnp.eye(2), jnp.ones((1, 2)), x).round(3).tolist()  # as far as the bound
        [0.25, -0.25]
    """
    if x.size == 0:
        return x
    eps = jnp.finfo(x.dtype).eps
    # A ridge far below any curvature that the data determine keeps coincident columns solvable: their split stays.
    curvature = jnp.maximum(jnp.max(jnp.diagonal(hessian), initial=0), jnp.finfo(x.dtype).tiny)
    hessian = hessian / curvature + eps**0.6 * jnp.eye(x.size, dtype=x.dtype)
    gradient = gradient / curvature
    threshold = 32 * eps * (1 + jnp.max(jnp.abs(gradient), initial=0))
    programme = _Programme(gradient, hessian, matrix, x, threshold)
    start = _State(jnp.zeros_like(x), x <= eps, jnp.array(False), jnp.array(0))

    def body(state):
        step, pull = programme.minimum(state.at_bound)
        guessed = _guess_bounds(programme, state, step, pull)
        # When guesses go in a circle the search begins anew.
        circular = guessed._replace(step=start.step, at_bound=start.at_bound)
        guessed = _choose(guessed.done | (guessed.count < MAX_ROUNDS), guessed, circular)
        return _choose(state.count < MAX_ROUNDS, guessed, _one_at_a_time(programme, state, step, pull))

    most = MAX_ROUNDS + 6 * x.size + 20
    final = lax.while_loop(lambda state: ~state.done & (state.count < most), body, start)
    return jnp.maximum(final.step, -x)


def _choose(condition: Bool[Array, ""], one: _State, other: _State) -> _State:
    return _State(*(jnp.where(condition, a, b) for a, b in zip(one, other, strict=True)))


def _guess_bounds(programme: _Programme, state: _State, step: Array, pull: Array) -> _State:
    at_bound = jnp.where(state.at_bound, pull > -programme.threshold, programme.x + step < 0)
    return _State(step, at_bound, jnp.all(at_bound == state.at_bound), state.count + 1)


def _one_at_a_time(programme: _Programme, state: _State, target: Array, pull: Array) -> _State:
    move = target - state.step
    room = state.step + programme.x
    reach = jnp.where(~state.at_bound & (move < 0), room / jnp.where(move < 0, -move, 1), jnp.inf)
    blocking = jnp.argmin(reach)
    blocked = reach[blocking] < 1
    step = state.step + jnp.minimum(reach[blocking], 1) * move
    pull = jnp.where(state.at_bound, pull, jnp.inf)
    leaving = jnp.argmin(pull)
    leaves = ~blocked & (pull[leaving] < -programme.threshold)
    index = jnp.arange(programme.x.size)
    at_bound = (state.at_bound | (blocked & (index == blocking))) & ~(leaves & (index == leaving))
    return _State(jnp.where(at_bound, -programme.x, step), at_bound, ~blocked & ~leaves, state.count + 1)
