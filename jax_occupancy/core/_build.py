"""From checked arguments to a topology and its start values."""

import warnings
from typing import Any

import numpy as np

from jax_occupancy.core import _arguments as arguments
from jax_occupancy.core._arguments import ROUNDING, first_five
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
    wholes: Any,
    refinable_mask: Any,
    use_sigmoid: bool,
    name: str | None,
    labels: Any,
) -> Topology:
    """Check the arguments of the constructor against each other and lay out collapsed space."""
    group_of_atom, n_groups = arguments.check_groups(sharing_groups, n_atoms)
    altloc_groups = arguments.check_list(altloc_groups, "altloc_groups")
    parent_names = arguments.check_parents(parents, len(altloc_groups))
    whole = arguments.check_wholes(wholes, parent_names)
    conformer_of_atom, sizes, set_of_member = arguments.check_conformers(
        altloc_groups, n_atoms, set(parent_names), whole
    )
    if sizes.size and not use_sigmoid:
        raise ValueError("altloc_groups need use_sigmoid=True: without it nothing keeps the sums")
    members = _adopt_conformers(group_of_atom, n_groups, conformer_of_atom, sizes, set_of_member)

    # Sharing groups, then independent atoms, then entries without atoms.
    expansion = group_of_atom.copy()
    expansion[conformer_of_atom >= 0] = members[conformer_of_atom[conformer_of_atom >= 0]]
    n_groups = max(n_groups, int(members.max(initial=-1)) + 1)
    alone, empty = expansion < 0, sizes == 0
    n_with_atoms = n_groups + int(alone.sum())
    expansion[alone] = np.arange(n_groups, n_with_atoms)
    members[empty] = np.arange(n_with_atoms, n_with_atoms + empty.sum())

    refinable = np.ones(n_with_atoms + int(empty.sum()), bool)
    if refinable_mask is not None:
        mask = arguments.check_mask(refinable_mask, n_atoms, "refinable_mask")
        refinable[:n_with_atoms] = np.bincount(expansion, weights=mask, minlength=n_with_atoms) > 0
    return Topology(
        expansion_index=expansion.astype(np.int32),
        refinable=refinable,
        n_groups=n_groups,
        members=members.astype(np.int32),
        set_of_member=set_of_member,
        complete=arguments.check_complete(complete, len(altloc_groups)),
        parent=_resolve_parents(parent_names, members, set_of_member, n_groups),
        whole=whole,
        use_sigmoid=bool(use_sigmoid),
        name=name,
        labels=_check_labels(labels, n_groups),
    )


def start_values(values: np.ndarray, topology: Topology) -> np.ndarray:
    """Average the atoms of each entry and check that the sets can hold what they are given."""
    q = collapse(values, topology)
    if not topology.n_sets:
        return q
    fixed = ~topology.refinable[topology.members]
    total = np.bincount(topology.set_of_member, weights=q[topology.members], minlength=topology.n_sets)
    held = np.bincount(topology.set_of_member, weights=q[topology.members] * fixed, minlength=topology.n_sets)
    free = np.bincount(topology.set_of_member, weights=~fixed, minlength=topology.n_sets)
    whole = np.where(topology.parent >= 0, q[topology.parent], topology.whole)

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
            np.flatnonzero(wrong), lambda s: f"{topology.describe_set(s)}: {total[s]:.4g} instead of {whole[s]:.4g}"
        )
        warnings.warn(f"start values of {wrong.sum()} set(s) are normalised to their sum ({which})", stacklevel=4)
    # What rounding in a file left of a set without a refinable member is mended once and for all.
    scale = np.where(topology.complete & (free == 0) & (held > 0), whole / np.where(held > 0, held, 1), 1.0)
    q[topology.members] *= scale[topology.set_of_member]
    return q


def _adopt_conformers(group_of_atom, n_groups, conformer_of_atom, sizes, set_of_conformer) -> np.ndarray:
    """The sharing group that each conformer is, new ones after those that were given; -1 for one without atoms."""
    named, grouped = conformer_of_atom >= 0, group_of_atom >= 0
    group, conformer = np.full(sizes.size, -1), np.full(n_groups, -1)
    group[conformer_of_atom[named]] = group_of_atom[named]
    conformer[group_of_atom[grouped]] = conformer_of_atom[grouped]
    # One to one, or all atoms of the conformer are in no group.
    wrong = np.zeros(named.size, bool)
    wrong[named] = group[conformer_of_atom[named]] != group_of_atom[named]
    wrong[grouped] |= conformer[group_of_atom[grouped]] != conformer_of_atom[grouped]
    if wrong.any():
        first = conformer_of_atom[named & (wrong | np.isin(group_of_atom, group_of_atom[wrong & grouped]))].min()
        owners = np.unique(group_of_atom[(conformer_of_atom == first) & grouped])
        index = set_of_conformer[first]
        member = first - np.searchsorted(set_of_conformer, index)
        raise ValueError(
            f"altloc_groups[{index}][{member}] must be one whole sharing group or atoms of none, "
            f"but takes part of {first_five(owners, lambda g: f'sharing_groups[{g}]')}"
        )
    new = (group < 0) & (sizes > 0)
    group[new] = n_groups + np.arange(new.sum())
    return group


def _resolve_parents(names, members: np.ndarray, set_of_member: np.ndarray, n_groups: int) -> np.ndarray:
    """Turn the names of parents into entries of collapsed space and refuse circles."""
    parents = np.full(len(names), -1, np.int32)
    for s, name in enumerate(names):
        if isinstance(name, tuple):
            above = members[set_of_member == name[0]]
            if not 0 <= name[1] < above.size:
                raise ValueError(f"parents[{s}]={name} names no member of any set in altloc_groups")
            parents[s] = above[name[1]]
        elif name is not None and not 0 <= name < n_groups:
            raise ValueError(f"parents[{s}]={name} is no sharing group: there are {n_groups}")
        elif name is not None:
            parents[s] = name
    set_of_entry = dict(zip(members.tolist(), set_of_member.tolist(), strict=True))
    for s in np.flatnonzero(parents >= 0):
        path = [int(s)]
        while (above := set_of_entry.get(int(parents[path[-1]]))) is not None:
            if above in path:
                circle = " -> ".join(f"altloc_groups[{i}]" for i in [*path[path.index(above) :], above])
                raise ValueError(f"parents nest in a circle: {circle}")
            path.append(above)
    return parents


def _check_labels(labels, n_groups: int) -> tuple[str, ...]:
    labels = () if labels is None else tuple(str(label) for label in labels)
    if labels and len(labels) != n_groups:
        raise ValueError(
            f"labels has {len(labels)} names for {n_groups} sharing groups (those given, "
            "then those made from altloc_groups)"
        )
    return labels
