"""What the data say about occupancies, B factors and positions together.

B factors and positions that are not refined are as uncertain as occupancies and correlated with them. Their derivatives
are linearised at the model, so that they cost one pass over the data.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_occupancy.refinement._objective import Objective
from jax_occupancy.xray import Columns, Tiles, along, of_orbits


class Information(NamedTuple):
    """Derivatives of minus the log-likelihood, or of another target, by everything that a group may do.

    Attributes:
        gradient: first derivatives.
        curvature: Fisher information, or the generalised Gauss-Newton matrix.
        scores: Σ over reflections of the products of first derivatives, for the sandwich formula; None if not asked
            for.
    """

    gradient: Float[np.ndarray, " parameters"] | Any
    curvature: Float[np.ndarray, "parameters parameters"] | Any
    scores: Float[np.ndarray, "parameters parameters"] | Any


@eqx.filter_jit
def extended_information(
    objective: Objective,
    movers: Columns,
    part_of_mover: Int[Array, " movers"],
    group_of_part: Int[Array, " parts"],
    q: Float[Array, " groups"],
    delta_b: Float[Array, " groups"] | None,
    tiles: Tiles,
    *,
    by_mover: bool = False,
    with_scores: bool = True,
) -> Information:
    """Sum the information over all reflections; scores cost as much as the curvature.

    The parameters are the occupancies of the parts (the residues of groups), ΔB of the groups in Å² unless it is None,
    with `by_mover` also ΔB of the movers, and, where these have derivatives, their shifts along x, all along y, and all
    along z, in Å. Between those whose `tiles` are far apart the curvature is zero. Chunks with few movers have no
    solvent.
    """
    linear, target = objective.linear, objective.target
    f, direction = linear.amplitude_and_direction(q, delta_b)
    slope = jax.grad(lambda f: jnp.sum(target(f)))(f)
    n_groups, group_of_mover = q.size, group_of_part[part_of_mover]
    count = jnp.zeros(n_groups, q.dtype).at[group_of_part].add(1.0)
    of_mover = q[group_of_mover][:, None].astype(movers.dtype)
    to_parts = partial(jax.ops.segment_sum, segment_ids=part_of_mover, num_segments=group_of_part.size)
    to_groups = partial(jax.ops.segment_sum, segment_ids=group_of_mover, num_segments=n_groups)
    tiles = movers.tiles(tiles.n_rows, tiles)
    n_more = by_mover + (0 if movers.axes is None else 3)
    of_groups = [] if delta_b is None else [(n_groups, group_of_mover)]
    of_each = [(part_of_mover.size, jnp.arange(part_of_mover.size))] * n_more
    sizes, places = zip((group_of_part.size, part_of_mover), *of_groups, *of_each, strict=True)
    numbers = [begin + of for begin, of in zip(np.cumsum([0, *sizes[:-1]]), places, strict=True)]

    def step(carry, own, block, place, *rows):
        row_direction, row_solvent, row_s2, row_slope, row_weight = (row.astype(block.dtype) for row in rows)
        fall_off = None
        if delta_b is not None:
            fall_off = jnp.exp(-delta_b.astype(block.dtype)[:, None] * row_s2)[group_of_mover[own]]

        def project(one):
            planes = along(one, block) if fall_off is None else along(one, block) * fall_off
            atoms = planes if movers.axes is None else planes[0]
            # The solvent that a group displaces is shared out evenly among its residues.
            displaced = linear.displaced.along(one * row_solvent, place) / jnp.maximum(count, 1)[:, None]
            displaced = displaced.astype(block.dtype)
            by_b = -of_mover[own] * atoms * row_s2
            more = [by_b] if by_mover else []
            more += [] if movers.axes is None else [of_mover[own] * shift for shift in planes[1:]]
            if movers.owners is not None:
                return jnp.concatenate([atoms, *([] if delta_b is None else [by_b]), *more])
            by_q = to_parts(atoms) + jnp.broadcast_to(displaced, (n_groups, row_s2.size))[group_of_part]
            return jnp.concatenate([by_q, *([] if delta_b is None else [to_groups(by_b)]), *more])

        jacobian = of_orbits(row_direction, project)
        gradient, curvature, scores = carry  # in the precision of q
        at = own if movers.owners is None else jnp.concatenate([number[own] for number in numbers])
        return (
            gradient.at[at].add(jnp.dot(jacobian, row_slope, precision="highest")),
            tiles.add(curvature, jacobian * row_weight, jacobian, at),
            None if scores is None else tiles.add(scores, jacobian * row_slope**2, jacobian, at),
        ), None

    square = tiles.nothing(q.dtype)
    rows = (linear.displaced.place, direction, linear.solvent, linear.s_squared, slope, target.information(f))
    begin = (jnp.zeros(tiles.n_rows, q.dtype), square, square if with_scores else None)
    gradient, curvature, scores = movers.fold(step, begin, *rows)[0]
    return Information(gradient, tiles.matrix(curvature), None if scores is None else tiles.matrix(scores))


@eqx.filter_jit
def values_of_changes(
    objective: Objective,
    parts: Columns,
    group_of_part: Int[Array, " parts"],
    q: Float[Array, " groups"],
    delta_b: Float[Array, " groups"],
    changes: Float[Array, "tiles changes size"],
    rows: Int[Array, "tiles size"],
) -> Float[Array, "tiles changes"]:
    """Evaluate the target for many changes of the occupancies of parts, each on its own.

    Each change is one of the parts of a tile alone, whose numbers are its `rows` (those beyond the last fill up).
    """
    if parts.owners is not None:  # all changes by all parts, of which chunks have few
        n_tiles, n_changes, _ = changes.shape
        flat = jnp.zeros((n_tiles, n_changes, group_of_part.size), changes.dtype)
        changes = flat.at[jnp.arange(n_tiles)[:, None], :, rows].set(jnp.moveaxis(changes, 1, 2), mode="drop")
    linear, target = objective.linear, objective.target
    whole = linear(q, delta_b)
    count = jnp.zeros(q.size, q.dtype).at[group_of_part].add(1.0)[group_of_part]
    leaves, structure = jax.tree.flatten(target)

    def step(total, own, columns, place, row_f, row_overall, row_solvent, row_s2, valid, *row_leaves):
        fall_off = jnp.exp(-delta_b[:, None] * row_s2)[group_of_part[own]]
        displaced = linear.displaced.at(place)[group_of_part[own]] / count[own][:, None, None]
        effects = row_overall * (columns * fall_off[:, None] + row_solvent * displaced)
        here = jax.tree.unflatten(structure, row_leaves)

        def of_tile(tile):
            changes, rows = tile
            if parts.owners is None:
                moving = effects.at[rows].get(mode="fill", fill_value=0)
            else:
                changes, moving = changes[:, own], effects
            added = jnp.einsum("hp,pcb->hcb", changes, moving, precision="highest")
            f = linear.size(row_f + added)
            # Rows are filled up with zeros, for which a target need not be finite.
            return jnp.sum(jnp.where(valid > 0, jax.vmap(here)(f), 0), axis=1)

        return total + jax.lax.map(of_tile, (changes, rows)), None

    rows_of_data = (
        linear.displaced.place,
        jnp.stack([whole.real, whole.imag]),
        linear.overall,
        linear.solvent,
        linear.s_squared,
        jnp.ones(whole.shape[0], q.dtype),
        *leaves,
    )
    return parts.fold(step, jnp.zeros(changes.shape[:2], q.dtype), *rows_of_data)[0]
