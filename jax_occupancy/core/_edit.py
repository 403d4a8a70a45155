"""Functional edits of a tensor's leaf and mask; the sums and bounds of every set hold after each of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from jax_occupancy.core._arguments import ROUNDING, first_five
from jax_occupancy.core._simplex import group_occupancies, to_logits
from jax_occupancy.core._topology import Topology


def change_mask(
    logits: Float[Array, "*models collapsed"],
    old: Topology,
    new: Topology,
    margin: float,
) -> Array:
    """Carry the leaf over to a topology that differs in its mask alone; no occupancy changes.

    An entry frozen in a set gets the logit of its share, and the formula leaves its siblings' logits valid as they
    are. An entry unfrozen in a set needs new logits for all refinable members. Everything else keeps its bits.
    """
    changed = old.refinable != new.refinable
    fresh = changed & new.refinable
    if new.n_sets:
        set_of = new.set_of_entry
        reopened = np.isin(set_of, set_of[fresh & (set_of >= 0)])
        fresh = fresh | (reopened & new.refinable) | (changed & (set_of >= 0))
    if not fresh.any():
        return logits
    return jnp.where(fresh, to_logits(group_occupancies(logits, old), new, margin), logits)


def set_group(
    logits: Float[Array, "*models collapsed"], topology: Topology, entry: int, value: Any, margin: float
) -> Array:
    """Set one entry and make room for it in its set; children of either keep their shares.

    In a complete set the refinable siblings share the rest in proportion to what they had; in an incomplete one they
    keep what they have as long as it fits.
    """
    value = jnp.asarray(value, logits.dtype)
    index = int(topology.set_of_entry[entry])
    if topology.use_sigmoid:
        refuse(~((value >= 0) & (value <= 1)), lambda: f"value must be from 0 to 1, not {value}")
        value = jnp.clip(value, 0, 1)
    q = group_occupancies(logits, topology)
    affected = np.arange(topology.n_collapsed) == entry
    if index < 0:
        q = q.at[..., entry].set(value)
    else:
        q = _set_member(q, topology, index, entry, value)
        affected |= (topology.set_of_entry == index) & topology.refinable
    return jnp.where(affected, to_logits(q, topology, margin), logits)


def _set_member(q: Array, topology: Topology, index: int, entry: int, value: Array) -> Array:
    others = topology.members[(topology.set_of_member == index) & (topology.members != entry)]
    siblings, held = others[topology.refinable[others]], others[~topology.refinable[others]]
    parent = int(topology.parent[index])
    room = (q[..., parent] if parent >= 0 else 1) - q[..., held].sum(-1)
    name, where = topology.describe_entry(entry), topology.describe_set(index)
    refuse(value > room + ROUNDING, lambda: f"{name} can't be set to {value}: {where} has room for {room}")
    value = jnp.minimum(value, room)
    rest = room - value
    have = q[..., siblings].sum(-1)
    some = have > 0
    scale = jnp.where(some, rest / jnp.where(some, have, 1), 0)
    if topology.complete[index]:
        no_taker = (rest > ROUNDING) & (siblings.size == 0)
        refuse(
            no_taker,
            lambda: f"{name} can't be set to {value}: no refinable sibling in {where} can take the rest",
        )
        even = jnp.where(some, 0, rest / max(siblings.size, 1))
    else:
        scale, even = jnp.where(have > rest, scale, 1), jnp.zeros_like(rest)
    q = q.at[..., siblings].set(q[..., siblings] * scale[..., None] + even[..., None])
    return q.at[..., entry].set(value)


def clamp(
    logits: Float[Array, "*models collapsed"], topology: Topology, low: float | int, high: float | int, margin: float
) -> Array:
    """Bring every refinable entry between two bounds; the members of a set stay on their simplex.

    Entries of a set move to the nearest point (in the sense of least squares) that keeps bounds and sum. Fixed
    entries do not move.
    """
    q = group_occupancies(logits, topology)
    alone = topology.refinable & (topology.set_of_entry < 0)
    logits = jnp.where(alone, to_logits(jnp.clip(q, low, high), topology, margin), logits)
    for level in topology.set_levels:
        q = _clamp_sets(group_occupancies(logits, topology), topology, level, low, high)
        here = topology.refinable & np.isin(topology.set_of_entry, level)
        logits = jnp.where(here, to_logits(q, topology, margin), logits)
    return logits


def _clamp_sets(q: Array, topology: Topology, level: np.ndarray, low: float | int, high: float | int) -> Array:
    here = np.isin(topology.set_of_member, level)
    free = here & topology.refinable[topology.members]
    held = here & ~topology.refinable[topology.members]
    members, sets = topology.members[free], topology.set_of_member[free]

    def total(values, segments):
        return jnp.zeros((*q.shape[:-1], topology.n_sets), q.dtype).at[..., segments].add(values)

    whole = jnp.where(topology.parent >= 0, q[..., topology.parent], 1)
    room = whole - total(q[..., topology.members[held]], topology.set_of_member[held])
    count = np.bincount(sets, minlength=topology.n_sets)
    # Rounding of the sums must not make a bound that is just met (four members, low = 0.25) impossible.
    slack = ROUNDING * np.maximum(count, 1)
    impossible = (count > 0) & ((count * low > room + slack) | (topology.complete & (count * high < room - slack)))

    def explain():
        names = first_five(np.flatnonzero(np.any(np.atleast_2d(impossible), axis=0)), topology.describe_set)
        return f"no occupancies from {low} to {high} have the sum that is required in {names}"

    refuse(impossible, explain)
    start = q[..., members]
    clipped = jnp.clip(start, low, high)

    def halve(_, bounds):
        smaller, larger = bounds
        middle = (smaller + larger) / 2
        full = total(jnp.clip(start + middle[..., sets], low, high), sets) > room
        return jnp.where(full, smaller, middle), jnp.where(full, middle, larger)

    one = jnp.ones_like(room)
    _, shift = jax.lax.fori_loop(0, 60, halve, (-one, one))
    shifted = jnp.clip(start + shift[..., sets], low, high)
    # An incomplete set that still fits may keep its vacancy.
    must_fill = topology.complete | (total(clipped, sets) > room)
    return q.at[..., members].set(jnp.where(must_fill[..., sets], shifted, clipped))


def refuse(wrong: Any, message: Any) -> None:
    """Raise if a concrete condition fails anywhere; under a trace nothing can be raised and values are clipped."""
    if not isinstance(wrong, Tracer) and np.any(wrong):
        raise ValueError(message())


def collapsed_mask(mask: Bool[np.ndarray, " atoms"], topology: Topology) -> Bool[np.ndarray, " collapsed"]:
    """Entries with at least one atom in an atom-space mask."""
    return np.bincount(topology.expansion_index, weights=mask, minlength=topology.n_collapsed) > 0
