"""What the data say about occupancies, B factors and positions of the groups together.

Positions of groups are not refined and B factors need not be, but they are as uncertain as occupancies and correlated
with them. Their derivatives are linearised at the refined model, so that they cost one pass over the data.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_occupancy.refinement._objective import Objective
from jax_occupancy.xray import Columns, along


class Information(NamedTuple):
    """Derivatives of the target by everything that a group may do.

    The parameters are the occupancies of the parts (the residues of groups), then for all groups ΔB in Å² and shifts
    along x, for all along y, and for all along z, in Å.

    Attributes:
        gradient: first derivatives by the occupancies of the parts.
        curvature: Fisher information, or the generalised Gauss-Newton matrix.
        scores: Σ over reflections of the products of first derivatives, for the sandwich formula; None if not asked
            for.
    """

    gradient: Float[np.ndarray, " parts"] | Any
    curvature: Float[np.ndarray, "parameters parameters"] | Any
    scores: Float[np.ndarray, "parameters parameters"] | Any


@eqx.filter_jit
def extended_information(
    objective: Objective,
    parts: Columns,
    group_of_part: Int[Array, " parts"],
    q: Float[Array, " groups"],
    delta_b: Float[Array, " groups"],
    *,
    with_scores: bool = True,
) -> Information:
    """Sum the information over all reflections; `parts` have derivatives, scores cost as much as the curvature."""
    linear, target = objective.linear, objective.target
    f, direction = linear.amplitude_and_direction(q, delta_b)
    slope = jax.grad(lambda f: jnp.sum(target(f)))(f)
    n_parts, n_groups = parts.n_groups, q.size
    count = jnp.zeros(n_groups, q.dtype).at[group_of_part].add(1.0)

    def step(carry, block, place, row_direction, row_solvent, row_s2, row_slope, row_weight):
        fall_off = jnp.exp(-delta_b[:, None] * row_s2)
        moved = along(row_direction, block) * fall_off[group_of_part]
        atoms, shifts = moved[0], moved[1:]
        # The solvent that a group displaces is shared out evenly among its residues.
        displaced = linear.displaced.along(row_direction * row_solvent, place) / jnp.maximum(count, 1)[:, None]
        to_groups = jnp.zeros((4, n_groups, atoms.shape[1]), atoms.dtype)
        to_groups = to_groups.at[:, group_of_part].add(jnp.concatenate([-(atoms * row_s2)[None], shifts]))
        by_q = atoms + jnp.broadcast_to(displaced, (n_groups, atoms.shape[1]))[group_of_part]
        jacobian = jnp.concatenate([by_q, (q[:, None] * to_groups).reshape(4 * n_groups, atoms.shape[1])])
        gradient, curvature, scores = carry
        return (
            gradient + jnp.dot(by_q, row_slope, precision="highest"),
            curvature + jnp.dot(jacobian * row_weight, jacobian.T, precision="highest"),
            None if scores is None else scores + jnp.dot(jacobian * row_slope**2, jacobian.T, precision="highest"),
        ), None

    n = n_parts + 4 * n_groups
    square = jnp.zeros((n, n), q.dtype)
    rows = (linear.displaced.place, direction, linear.solvent, linear.s_squared, slope, target.information(f))
    begin = (jnp.zeros(n_parts, q.dtype), square, square if with_scores else None)
    return Information(*parts.fold(step, begin, *rows)[0])


@eqx.filter_jit
def values_of_changes(
    objective: Objective,
    parts: Columns,
    group_of_part: Int[Array, " parts"],
    q: Float[Array, " groups"],
    delta_b: Float[Array, " groups"],
    changes: Float[Array, "changes parts"],
) -> Float[Array, " changes"]:
    """Evaluate the target for many changes of the occupancies of parts, each on its own."""
    linear, target = objective.linear, objective.target
    whole = linear(q, delta_b)
    n = whole.shape[0]
    count = jnp.zeros(q.size, q.dtype).at[group_of_part].add(1.0)
    of_groups = jnp.zeros((changes.shape[0], q.size), q.dtype).at[:, group_of_part].add(changes / count[group_of_part])
    leaves, structure = jax.tree.flatten(target)

    def step(total, columns, place, row_f, row_overall, row_solvent, row_s2, valid, *row_leaves):
        fall_off = jnp.exp(-delta_b[:, None] * row_s2)[group_of_part]
        added = jnp.einsum("hp,pb,pcb->hcb", changes, fall_off, columns, precision="highest")
        added = added + row_solvent * linear.displaced.sum(of_groups, place)
        f = jnp.sqrt(jnp.sum((row_f + row_overall * added) ** 2, axis=1))
        here = jax.tree.unflatten(structure, row_leaves)
        # Rows are filled up with zeros, for which a target need not be finite.
        return total + jnp.sum(jnp.where(valid > 0, jax.vmap(here)(f), 0), axis=1), None

    pair = jnp.stack([whole.real, whole.imag])
    rows = (
        linear.displaced.place,
        pair,
        linear.overall,
        linear.solvent,
        linear.s_squared,
        jnp.ones(n, q.dtype),
        *leaves,
    )
    return parts.fold(step, jnp.zeros(changes.shape[0], q.dtype), *rows)[0]
