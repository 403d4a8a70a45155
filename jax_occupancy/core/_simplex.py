"""The one formula that turns logits into occupancies, and its inverse.

Every entry of collapsed space belongs to one simplex. With θ its logit, P the occupancy of the simplex' parent
(without one the whole of the set, which is one or less), φ the shares of the members that are fixed, and v = 0 for a
complete set (Σq = P) or v = 1 for one that may stay partly empty (Σq ≤ P),

    fixed member       q = P · φ,                                     φ = sigmoid(θ)
    refinable member   q = P · (1 - Σφ) · exp(θ) / (v + Σ exp(θ))     sums over the set

An entry on its own is a simplex of one with v = 1: q = sigmoid(θ). The shares of all sets are computed at once; only
the products with the parents go level by level. Sums and bounds hold at every evaluation, for any finite logits.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jax_occupancy.core._topology import Topology

Collapsed = Float[Array, "*models collapsed"]

# Finite, yet its sigmoid is exactly 0 or 1 in float32 and in float64, so that fixed zeros and ones come back exact.
SATURATED = 1e3


@functools.partial(jax.jit, static_argnums=1, inline=True)
def atom_occupancies(logits: Collapsed, topology: Topology) -> Array:
    """Map the leaf of a tensor to the occupancy of every atom."""
    if topology.use_sigmoid and not topology.n_sets:
        return _sigmoid_of_take(logits, topology)
    return _take(group_occupancies(logits, topology), topology)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def group_occupancies(logits: Collapsed, topology: Topology) -> Array:
    """Map the leaf of a tensor to the occupancy of every entry of collapsed space."""
    if not topology.use_sigmoid:
        return logits
    q = jax.nn.sigmoid(logits)
    if not topology.n_sets:
        return q
    members, sets = topology.members, topology.set_of_member
    free = topology.refinable[members]
    # Entries first and models last, as segment sums want them.
    q, theta = jnp.moveaxis(q, -1, 0), jnp.moveaxis(logits, -1, 0)[members[free]]
    left = jnp.maximum(1 - _sum_sets(q[members[~free]], sets[~free], topology.n_sets), 0)
    vacant = np.expand_dims(~topology.complete, tuple(range(1, theta.ndim)))
    q = q.at[members[free]].set(_shares(theta, sets[free], vacant, left), unique_indices=True)
    if np.any(topology.whole < 1):
        whole = np.expand_dims(topology.whole[sets].astype(q.dtype), tuple(range(1, q.ndim)))
        q = q.at[members].multiply(whole, unique_indices=True)
    for level in topology.set_levels:
        nested = np.isin(sets, level[topology.parent[level] >= 0])
        if nested.any():
            q = q.at[members[nested]].multiply(q[topology.parent[sets[nested]]], unique_indices=True)
    return jnp.moveaxis(q, 0, -1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _sigmoid_of_take(logits, topology):
    return jax.nn.sigmoid(_take(logits, topology))


@_sigmoid_of_take.defjvp
def _derivative(topology, primals, tangents):
    # The derivative of an atom is that of its entry: a fifth faster, as all but one sum happens once an entry.
    _, moved = jax.jvp(jax.nn.sigmoid, primals, tangents)
    return _sigmoid_of_take(*primals, topology), _take(moved, topology)


def _take(values, topology):
    # Every index is in bounds. "clip" compiles fastest of the modes that jnp.take has; compiled in as a constant, an
    # index of 32 bits is read equally fast by all of them.
    return jnp.take(values, topology.expansion_index, axis=-1, mode="clip")


def _shares(theta, sets, vacant, left):
    """Shares of the refinable members: a softmax of each set, where the vacancy of an incomplete one has logit 0."""
    top = jax.ops.segment_max(lax.stop_gradient(theta), sets, left.shape[0], indices_are_sorted=True)
    top = jnp.where(vacant, jnp.maximum(top, 0), top)
    weight = jnp.exp(theta - top[sets])
    # exp(-top) only where it is wanted: elsewhere -top can overflow.
    vacancy = jnp.where(vacant, jnp.exp(-jnp.where(vacant, top, 0)), 0)
    total = _sum_sets(weight, sets, left.shape[0]) + vacancy
    # A set whose members are all fixed has no total.
    return (left / jnp.where(total > 0, total, 1))[sets] * weight


def _sum_sets(values, sets, n):
    return jax.ops.segment_sum(values, sets, n, indices_are_sorted=True)


def collapse(values: Any, topology: Topology) -> Any:
    """Average atom-space occupancies over each entry, on numpy and JAX arrays alike, with any leading axes."""
    # An entry without atoms gets the sum of its children (the largest, where several sets share it out); without
    # children, what its siblings leave.
    counts = np.maximum(topology.atom_counts, 1).astype(values.dtype)
    sums = segment_sum(values, topology.expansion_index, topology.n_collapsed)
    q = sums / sums.__array_namespace__().broadcast_to(counts, sums.shape)
    empty = topology.atom_counts == 0
    for level in reversed(topology.set_levels) if empty.any() else ():
        totals = segment_sum(q[..., topology.members], topology.set_of_member, topology.n_sets)
        summed = level[(topology.parent[level] >= 0) & empty[topology.parent[level]]]
        q = _raise_to(q, topology.parent[summed], totals[..., summed])
    childless = topology.members[empty[topology.members] & ~np.isin(topology.members, topology.parent)]
    for entry in childless:
        index = topology.set_of_entry[entry]
        siblings = topology.members[topology.set_of_member == index]
        whole = q[..., topology.parent[index]] if topology.parent[index] >= 0 else topology.whole[index]
        q = _raise_to(q, np.array([entry]), (whole - q[..., siblings].sum(-1))[..., None])
    return q


def to_logits(q: Any, topology: Topology, margin: float) -> Any:
    """Find the logits whose occupancies are `q`, the inverse of `group_occupancies`; fixed entries are exact."""
    # A refinable entry (and the vacancy of an incomplete set) closer to a bound than the margin is lifted to it: at the
    # bound its gradient is zero and it could never move.
    if not topology.use_sigmoid:
        return q
    xp = q.__array_namespace__()
    share = q
    if np.any(topology.parent >= 0) or np.any(topology.whole < 1):
        parent = np.append(topology.parent, -1)[topology.set_of_entry]
        whole = np.append(topology.whole, 1)[topology.set_of_entry].astype(q.dtype)
        above = xp.where(parent >= 0, q[..., parent], whole)
        share = xp.where(above > 0, q / xp.where(above > 0, above, 1), 0)
    logits = _logit(xp.where(topology.refinable, xp.clip(share, margin, 1 - margin), share))
    if not topology.n_sets:
        return logits
    members, sets = topology.members, topology.set_of_member
    fixed = ~topology.refinable[members]
    member_share = share[..., members]
    left = 1 - segment_sum(xp.where(fixed, member_share, 0), sets, topology.n_sets)
    left = xp.where(left > 0, left, 1)
    fraction = xp.where(fixed, 0, member_share / left[..., sets])
    vacancy = xp.maximum(1 - segment_sum(fraction, sets, topology.n_sets), margin)
    vacancy_logit = xp.where(topology.complete, 0, _log(vacancy))
    member_logits = _log(xp.maximum(fraction, margin)) - vacancy_logit[..., sets]
    place = np.zeros(topology.n_collapsed, int)
    place[members] = np.arange(members.size)
    return xp.where((topology.set_of_entry >= 0) & topology.refinable, member_logits[..., place], logits)


def _logit(q):
    xp = q.__array_namespace__()
    inside = (q > 0) & (q < 1)
    safe = xp.where(inside, q, 0.5)
    return xp.where(inside, xp.log(safe) - xp.log1p(-safe), xp.where(q >= 1, SATURATED, -SATURATED))


def _log(x):
    xp = x.__array_namespace__()
    return xp.where(x > 0, xp.log(xp.where(x > 0, x, 1)), -SATURATED)


def segment_sum(values, segments, n):
    if isinstance(values, np.ndarray):  # the constructor's, one axis
        return np.bincount(segments, weights=values, minlength=n).astype(values.dtype)
    return jnp.zeros((*values.shape[:-1], n), values.dtype).at[..., segments].add(values)


def _raise_to(q, entries, values):
    """Raise some entries of the last axis to at least the values given."""
    if isinstance(q, np.ndarray):
        q = q.copy()
        np.maximum.at(q, entries, values)
        return q
    return q.at[..., entries].max(values)
