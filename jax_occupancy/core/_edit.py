"""Functional edits of a tensor's leaf and mask; the sums and bounds of every set hold after each of them.

What can be computed is computed in one compiled function per topology, clipped to what is possible; beside the leaf it
returns what had to be clipped. Outside a trace that becomes an error, inside one nothing can be raised.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool

from jax_occupancy.core._arguments import ROUNDING, check_mask, first_five
from jax_occupancy.core._simplex import Collapsed, collapse, group_occupancies, segment_sum, to_logits
from jax_occupancy.core._topology import Topology


@functools.partial(jax.jit, static_argnums=(2, 3))
def with_atom_occupancies(logits: Collapsed, values: Array, topology: Topology, margin: float) -> Array:
    """Give the refinable entries new occupancies from atom space."""
    return with_group_occupancies(logits, collapse(values, topology), topology, margin)


@functools.partial(jax.jit, static_argnums=(2, 3))
def with_group_occupancies(logits: Collapsed, q: Array, topology: Topology, margin: float) -> Array:
    """Give the refinable entries new occupancies from collapsed space."""
    q = jnp.where(topology.refinable, q, group_occupancies(logits, topology))
    # What is fixed below a parent is a fraction of it, whatever the parent becomes.
    members, parents = topology.members, topology.parent[topology.set_of_member]
    for level in topology.set_levels:
        held = ~topology.refinable[members] & (parents >= 0) & np.isin(topology.set_of_member, level)
        if held.any():
            q = q.at[..., members[held]].set(jax.nn.sigmoid(logits[..., members[held]]) * q[..., parents[held]])
    return jnp.where(topology.refinable, to_logits(q, topology, margin), logits)


def change_mask(logits: Collapsed, old: Topology, new: Topology, margin: float) -> Array:
    """Carry the leaf over to a topology that differs in its mask alone; no occupancy changes."""
    # What is frozen in a set gets the logit of its share, and its siblings' logits stay valid; what is unfrozen in one
    # needs new logits of all refinable members. All else keeps its bits. Compiled, it would be so for every mask.
    changed = old.refinable != new.refinable
    fresh = changed & new.refinable
    in_set = new.set_of_entry >= 0
    reopened = np.isin(new.set_of_entry, new.set_of_entry[fresh & in_set])
    fresh = fresh | (reopened & new.refinable) | (changed & in_set)
    if not fresh.any():
        return logits
    return jnp.where(fresh, to_logits(group_occupancies(logits, old), new, margin), logits)


def set_group(logits: Collapsed, topology: Topology, entry: int, value: Any, margin: float) -> Array:
    """Set one entry and make room for it in its set; children of either keep their shares."""
    value = jnp.asarray(value, logits.dtype)
    if value.ndim and value.shape != logits.shape[:-1]:
        raise ValueError(f"value must be a scalar or have one entry per model, {logits.shape[:-1]}, not {value.shape}")
    value = jnp.broadcast_to(value, logits.shape[:-1])
    check_range(value, topology, "value")
    new, room, left_over = _set_entry(logits, value, jnp.asarray(entry), topology, margin)

    def name():
        where = topology.describe_set(topology.set_of_entry[entry])
        return f"{topology.describe_entry(entry)} can't be set to {value}: {where}"

    refuse(value > room + ROUNDING, lambda: f"{name()} has room for {room}")
    refuse(left_over > ROUNDING, lambda: f"{name()} has no refinable sibling that can take the rest")
    return new


@functools.partial(jax.jit, static_argnums=(3, 4))
def _set_entry(logits, value, entry, topology, margin):
    """New leaf, the room there was for the value, and what nobody could take; one compilation for all entries."""
    q = group_occupancies(logits, topology)
    index = jnp.asarray(topology.set_of_entry)[entry]
    alone = jnp.arange(topology.n_collapsed) == entry
    if not topology.n_sets:
        value = jnp.clip(value, 0, 1) if topology.use_sigmoid else value
        q = jnp.where(alone, value[..., None], q)
        return jnp.where(alone, to_logits(q, topology, margin), logits), jnp.full_like(value, jnp.inf), 0 * value
    same_set = (topology.set_of_entry == index) & (index >= 0)
    siblings = same_set & topology.refinable & ~alone
    held = same_set & ~topology.refinable & ~alone
    parent = jnp.where(index >= 0, jnp.asarray(topology.parent)[index], -1)
    whole = jnp.asarray(np.append(topology.whole, 1), q.dtype)[index]
    whole = jnp.where(parent >= 0, jnp.take(q, parent, axis=-1, mode="clip"), whole)
    room = whole - jnp.sum(jnp.where(held, q, 0), -1)
    value = jnp.clip(value, 0, room)
    rest = room - value
    have = jnp.sum(jnp.where(siblings, q, 0), -1)
    scale = jnp.where(have > 0, rest / jnp.where(have > 0, have, 1), 0)
    count = jnp.sum(siblings)
    complete = jnp.asarray(topology.complete)[index] & (index >= 0)
    # Siblings that all stand at zero share the rest evenly.
    even = jnp.where(complete & (have <= 0), rest / jnp.maximum(count, 1).astype(rest.dtype), 0)
    scale = jnp.where(complete | (have > rest), scale, 1)
    q = jnp.where(siblings, q * scale[..., None] + even[..., None], q)
    q = jnp.where(alone, value[..., None], q)
    affected = alone | (same_set & topology.refinable)
    left_over = jnp.where(complete & (count == 0), rest, 0)
    return jnp.where(affected, to_logits(q, topology, margin), logits), room, left_over


def clamp(logits: Collapsed, topology: Topology, low: float | int, high: float | int, margin: float) -> Array:
    """Bring every refinable entry between two bounds; sets move to the nearest point that keeps bounds and sum."""
    bounds = (jnp.asarray(bound, logits.dtype) for bound in (low, high))
    new, impossible = _clamp(logits, *bounds, topology, margin)

    def explain():
        names = first_five(np.flatnonzero(np.any(np.atleast_2d(impossible), axis=0)), topology.describe_set)
        return f"no occupancies from {low} to {high} have the sum that is required in {names}"

    refuse(impossible, explain)
    return new


@functools.partial(jax.jit, static_argnums=(3, 4))
def _clamp(logits, low, high, topology, margin):
    """New leaf, and for each set whether it can't keep its sum between the bounds."""
    q = group_occupancies(logits, topology)
    alone = topology.refinable & (topology.set_of_entry < 0)
    logits = jnp.where(alone, to_logits(jnp.clip(q, low, high), topology, margin), logits)
    impossible = jnp.zeros((*q.shape[:-1], topology.n_sets), bool)
    for level in topology.set_levels:
        q, wrong = _clamp_sets(group_occupancies(logits, topology), topology, level, low, high)
        here = topology.refinable & np.isin(topology.set_of_entry, level)
        logits = jnp.where(here, to_logits(q, topology, margin), logits)
        impossible = impossible | wrong
    return logits, impossible


def _clamp_sets(q, topology, level, low, high):
    here = np.isin(topology.set_of_member, level)
    free = here & topology.refinable[topology.members]
    held = here & ~topology.refinable[topology.members]
    members, sets = topology.members[free], topology.set_of_member[free]
    total = functools.partial(segment_sum, n=topology.n_sets)
    whole = jnp.where(topology.parent >= 0, q[..., topology.parent], topology.whole.astype(q.dtype))
    room = whole - total(q[..., topology.members[held]], topology.set_of_member[held])
    count = np.bincount(sets, minlength=topology.n_sets).astype(q.dtype)
    # Rounding of the sums must not make a bound that is just met (four members, low = 0.25) impossible.
    slack = (ROUNDING * np.maximum(count, 1)).astype(q.dtype)
    # for each model, as ranks are not raised silently where numpy_rank_promotion is "raise"
    count, slack, complete = (jnp.broadcast_to(one, room.shape) for one in (count, slack, topology.complete))
    too_little = complete & (count * high < room - slack)
    impossible = (count > 0) & ((count * low > room + slack) | too_little)
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
    must_fill = complete | (total(clipped, sets) > room)
    return q.at[..., members].set(jnp.where(must_fill[..., sets], shifted, clipped)), impossible


def check_range(values: Array, topology: Topology, argument: str) -> None:
    """Refuse concrete occupancies that are not finite, or not from 0 to 1 unless they are stored raw."""
    if isinstance(values, Tracer):
        return
    host = np.asarray(values)
    wrong = ~((host >= 0) & (host <= 1)) if topology.use_sigmoid else ~np.isfinite(host)
    if wrong.any():
        what = "from 0 to 1 and finite" if topology.use_sigmoid else "finite"
        offenders = first_five(
            np.argwhere(wrong), lambda at: f"{host[tuple(at)]} at {at.tolist()}" if at.size else f"{host}"
        )
        raise ValueError(f"{argument} must be {what}, but {wrong.sum()} are not: {offenders}")


def refuse(wrong: Any, message: Callable[[], str]) -> None:
    """Raise if a concrete condition fails anywhere."""
    if not isinstance(wrong, Tracer) and np.any(wrong):
        raise ValueError(message())


def checked_values(values: Any, topology: Topology, n: int, dtype: Any) -> Array:
    """Bring new occupancies into the tensor's float type, n on the last axis, and into their range if traced."""
    values = jnp.asarray(values, dtype)
    if values.shape[-1:] != (n,):
        raise ValueError(f"values must have {n} entries on the last axis, not shape {values.shape}")
    check_range(values, topology, "values")
    return jnp.clip(values, 0, 1) if topology.use_sigmoid else values


def entries_of(topology: Topology, mask: Any) -> Bool[np.ndarray, " collapsed"]:
    """Entries with at least one atom in an atom-space mask; all entries without a mask."""
    if mask is None:
        return np.ones(topology.n_collapsed, bool)
    atoms = check_mask(mask, topology.n_atoms, "mask")
    return np.bincount(topology.expansion_index, weights=atoms, minlength=topology.n_collapsed) > 0
