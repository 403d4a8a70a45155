"""From checked arguments to a topology and its start values."""

import warnings
from typing import Any

import numpy as np

from jax_occupancy.core._arguments import (
    ROUNDING,
    Ragged,
    check_complete,
    check_conformers,
    check_groups,
    check_list,
    check_mask,
    check_parents,
    first_five,
)
from jax_occupancy.core._simplex import collapse
from jax_occupancy.core._topology import Topology

# Start values of a complete set may miss its sum by this much (the rounding of files) before we say so.
SUM_TOLERANCE = 0.02


def build_topology(
    n_atoms: int,
    sharing_groups: Any,
    altloc_groups: Any,
    *,
    complete: Any,
    parents: Any,
    refinable_mask: Any,
    use_sigmoid: bool,
    name: str | None,
    labels: Any,
) -> Topology:
    """Check the arguments of the constructor against each other and lay out collapsed space."""
    groups = check_groups(sharing_groups, n_atoms)
    altloc_groups = check_list(altloc_groups, "altloc_groups")
    parent_names = check_parents(parents, len(altloc_groups))
    named = {parent for parent in parent_names if isinstance(parent, tuple)}
    conformers, counts = check_conformers(altloc_groups, n_atoms, named)
    if counts.size and not use_sigmoid:
        raise ValueError("altloc_groups need use_sigmoid=True: without it nothing keeps the sums")
    groups, members = _adopt_conformers(groups, conformers, counts, n_atoms)
    n_groups = groups.sizes.size

    expansion = np.full(n_atoms, -1, np.int64)
    expansion[groups.indices] = groups.owner
    alone = expansion < 0
    n_with_atoms = n_groups + int(alone.sum())
    expansion[alone] = np.arange(n_groups, n_with_atoms)

    empty = members < 0
    n_collapsed = n_with_atoms + int(empty.sum())
    members[empty] = np.arange(n_with_atoms, n_collapsed)

    refinable = np.ones(n_collapsed, bool)
    if refinable_mask is not None:
        mask = check_mask(refinable_mask, n_atoms, "refinable_mask")
        refinable[:n_with_atoms] = np.bincount(expansion, weights=mask, minlength=n_with_atoms) > 0
    return Topology(
        expansion_index=expansion.astype(np.int32),
        refinable=refinable,
        n_groups=n_groups,
        members=members.astype(np.int32),
        set_of_member=np.repeat(np.arange(counts.size, dtype=np.int32), counts),
        complete=check_complete(complete, counts.size),
        parent=_resolve_parents(parent_names, members, counts, n_groups),
        use_sigmoid=bool(use_sigmoid),
        name=name,
        labels=_check_labels(labels, n_groups),
    )


def start_values(values: np.ndarray, topology: Topology) -> np.ndarray:
    """Average the atoms of each entry and check that the sets can hold what they are given.

    Raises:
        ValueError: the fixed members of a set leave it no valid sum.

    Warns:
        UserWarning: the start values of a set don't sum to what they must and are normalised.
    """
    q = collapse(values, topology)
    if not topology.n_sets:
        return q
    fixed = ~topology.refinable[topology.members]
    total = np.bincount(topology.set_of_member, weights=q[topology.members], minlength=topology.n_sets)
    held = np.bincount(topology.set_of_member, weights=q[topology.members] * fixed, minlength=topology.n_sets)
    free = np.bincount(topology.set_of_member, weights=~fixed, minlength=topology.n_sets)
    whole = np.where(topology.parent >= 0, q[topology.parent], 1.0)

    def show(s):
        return f"{topology.describe_set(s)}: fixed {held[s]:.4g} of {whole[s]:.4g}"

    above = held > whole + ROUNDING
    if above.any():
        raise ValueError(
            f"the fixed members of {above.sum()} set(s) sum to more than there is to share "
            f"({first_five(np.flatnonzero(above), show)}); lower their values or let one be refined"
        )
    short = topology.complete & (free == 0) & (held < whole - SUM_TOLERANCE)
    if short.any():
        raise ValueError(
            f"all members of {short.sum()} complete set(s) are fixed below their sum "
            f"({first_five(np.flatnonzero(short), show)}); make them incomplete or let one be refined"
        )
    wrong = (topology.complete & (np.abs(total - whole) > SUM_TOLERANCE)) | (total > whole + SUM_TOLERANCE)
    if wrong.any():
        which = first_five(
            np.flatnonzero(wrong),
            lambda s: f"{topology.describe_set(s)}: {total[s]:.4g} instead of {whole[s]:.4g}",
        )
        warnings.warn(f"start values of {wrong.sum()} set(s) are normalised to their sum ({which})", stacklevel=4)
    # What rounding in a file left of a set without a refinable member is mended once and for all.
    scale = np.where(topology.complete & (free == 0) & (held > 0), whole / np.where(held > 0, held, 1), 1.0)
    q[topology.members] *= scale[topology.set_of_member]
    return q


def _adopt_conformers(
    groups: Ragged, conformers: Ragged, counts: np.ndarray, n_atoms: int
) -> tuple[Ragged, np.ndarray]:
    """Find each conformer among the sharing groups, or append it to them; -1 for one without atoms."""
    group_of_atom = np.full(n_atoms, -1, np.int64)
    group_of_atom[groups.indices] = groups.owner
    found = group_of_atom[conformers.indices]
    filled = conformers.sizes > 0
    start = (np.cumsum(conformers.sizes) - conformers.sizes)[filled]
    group = np.full(filled.size, -1, np.int64)
    group[filled] = found[start]
    new = filled & (group < 0)
    # A conformer is one whole group, or all its atoms are in none.
    whole = np.where(group < 0, 0, np.append(groups.sizes, 0)[group])
    wrong = (~new & (whole != conformers.sizes)) | (
        np.bincount(conformers.owner, weights=found != group[conformers.owner], minlength=filled.size) > 0
    )
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        s = int(np.searchsorted(np.cumsum(counts), i, side="right"))
        owners = np.unique(found[conformers.owner == i])
        parts = first_five(owners[owners >= 0], lambda g: f"sharing_groups[{g}]")
        raise ValueError(
            f"altloc_groups[{s}][{i - counts[:s].sum()}] must be one whole sharing group or atoms of none, "
            f"but takes part of {parts}"
        )
    group[new] = groups.sizes.size + np.arange(new.sum())
    appended = conformers.indices[new[conformers.owner]]
    return Ragged(
        np.concatenate([groups.indices, appended]), np.concatenate([groups.sizes, conformers.sizes[new]])
    ), group


def _resolve_parents(parents, members: np.ndarray, counts: np.ndarray, n_groups: int) -> np.ndarray:
    """Turn the names of parents into entries of collapsed space and refuse circles."""
    resolved = np.full(counts.size, -1, np.int32)
    first = np.cumsum(counts) - counts
    nested = [s for s, parent in enumerate(parents) if parent is not None]
    for s in nested:
        parent = parents[s]
        if isinstance(parent, tuple):
            above, member = parent
            if not (0 <= above < counts.size and 0 <= member < counts[above]):
                raise ValueError(f"parents[{s}]={parent} names no member of any set in altloc_groups")
            resolved[s] = members[first[above] + member]
        elif 0 <= parent < n_groups:
            resolved[s] = parent
        else:
            raise ValueError(f"parents[{s}]={parent} is no sharing group: there are {n_groups}")
    set_of = (
        dict(zip(members.tolist(), np.repeat(np.arange(counts.size), counts).tolist(), strict=True)) if nested else {}
    )
    for s in nested:
        path = [s]
        while (above := set_of.get(int(resolved[path[-1]]), -1)) >= 0:
            if above in path:
                circle = " -> ".join(f"altloc_groups[{i}]" for i in [*path[path.index(above) :], above])
                raise ValueError(f"parents nest in a circle: {circle}")
            path.append(above)
    return resolved


def _check_labels(labels, n_groups: int) -> tuple[str, ...]:
    labels = () if labels is None else tuple(str(label) for label in labels)
    if labels and len(labels) != n_groups:
        raise ValueError(
            f"labels has {len(labels)} names for {n_groups} sharing groups (those given, "
            "then those made from altloc_groups)"
        )
    return labels
