"""A small quadratic programme on products of simplexes, by active sets.

    minimise  gradient·d + ½ d·hessian·d     subject to  matrix·d = 0,  x + d ≥ 0

Bounds are met exactly: a variable is either free or at zero, and one leaves its bound only if that lowers the target.
First the bounds are guessed all at once from the signs of variables and multipliers, which takes a handful of rounds
however many there are (Hintermüller, Ito & Kunisch, SIAM J. Optim. 13, 865-888, 2003). Should the guesses go in a
circle, bounds are taken and given up one at a time, which always ends (Nocedal & Wright, Numerical Optimization,
algorithm 16.3).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import lu_factor, lu_solve
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int

MAX_ROUNDS = 20
# Of conjugate gradients, a limit that blocks which hardly know each other stay far below.
MAX_ITERATIONS = 1000


class _State(NamedTuple):
    step: Float[Array, " variables"]
    at_bound: Bool[Array, " variables"]
    done: Bool[Array, ""]
    count: Int[Array, ""]


class _Programme(NamedTuple):
    """The programme, scaled to curvatures of order one; `system` is that of its optimum without bounds."""

    gradient: Float[Array, " variables"]
    system: Float[Array, "unknowns unknowns"]
    x: Float[Array, " variables"]
    threshold: Float[Array, ""]
    blocks: Int[Array, "blocks size"] | None

    def minimum(
        self, at_bound: Bool[Array, " variables"]
    ) -> tuple[Float[Array, " variables"], Float[Array, " variables"]]:
        """Minimum with some variables held at zero, and how hard the target pulls each variable down."""
        n, m = self.x.size, len(self.system) - self.x.size
        free = jnp.concatenate([~at_bound, jnp.ones(m, bool)])
        held = jnp.where(free, 0, jnp.pad(-self.x, (0, m)))
        right = jnp.where(free, -jnp.pad(self.gradient, (0, m)) - self.system @ held, held)
        solution = self._solve(free, right)
        return solution[:n], self.gradient + (self.system @ solution)[:n]

    def _solve(self, free: Bool[Array, " unknowns"], right: Float[Array, " unknowns"]) -> Float[Array, " unknowns"]:
        """Solve the equations of what is free; the rest has its value on the right."""
        if self.blocks is None:
            return jnp.linalg.solve(_of_free(self.system, free), right)
        blocks = self.blocks
        own = jnp.pad(self.system, (0, 1))[blocks[:, :, None], blocks[:, None, :]]
        factors = jax.vmap(lambda block, free: lu_factor(_of_free(block, free)))(own, jnp.pad(free, (0, 1))[blocks])

        def block_by_block(right):
            found = jax.vmap(lu_solve)(factors, jnp.pad(right, (0, 1))[blocks])
            return jnp.zeros_like(right).at[blocks].set(found, mode="drop")  # what fills up lies outside

        def times(unknowns):
            return jnp.where(free, self.system @ jnp.where(free, unknowns, 0), unknowns)

        # The equations hold exactly within the blocks, so that this is a search in the space where they hold
        # (Gould, Hribar & Nocedal, SIAM J. Sci. Comput. 23, 1376-1395, 2001).
        tolerance = float(jnp.finfo(right.dtype).eps) ** 0.6
        return cg(times, right, block_by_block(right), tol=tolerance, maxiter=MAX_ITERATIONS, M=block_by_block)[0]


def _of_free(system: Float[Array, "n n"], free: Bool[Array, " n"]) -> Float[Array, "n n"]:
    """The system of what is free beside the identity of the rest."""
    return jnp.where(free[:, None] & free, system, 0) + jnp.diag(1.0 - free.astype(system.dtype))


def solve_on_simplexes(
    gradient: Float[Array, " variables"],
    hessian: Float[Array, "variables variables"],
    matrix: Float[Array, "sets variables"],
    x: Float[Array, " variables"],
    blocks: Int[Array, "blocks size"] | None = None,
) -> Float[Array, " variables"]:
    """Find the step from a feasible point to the minimum of a convex quadratic within the constraints.

    Args:
        gradient: of the target at x.
        hessian: positive semidefinite.
        matrix: rows of the equality constraints, which x satisfies.
        x: present values, none negative.
        blocks: variables and equations, numbered one after the other, that belong together; a number beyond the last
            fills up. No equation may reach over two. With them the work grows with the number of blocks: curvature
            between blocks is taken in by conjugate gradients.

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
    # The small block makes the system regular also where a set has no free member.
    corner = -eps * jnp.eye(matrix.shape[0], dtype=x.dtype)
    programme = _Programme(gradient, jnp.block([[hessian, matrix.T], [matrix, corner]]), x, threshold, blocks)
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
