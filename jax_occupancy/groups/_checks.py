"""What a crystallographer should look at before refining occupancies."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from jax_occupancy.groups._across import orders_across
from jax_occupancy.groups._grouping import Group, GroupSet, each, owners
from jax_occupancy.groups._naming import atom_name, letter_suffix, listing, residue_name
from jax_occupancy.groups._neighbours import close_pairs, distances_to, meetings
from jax_occupancy.groups._starts import RESCALED, ROUNDING, tolerance
from jax_occupancy.groups._table import SAME_PLACE, TOUCHING, AtomTable, consecutive, group_numbers

DISAGREEMENT = 0.02
CLASH = 0.8  # Å; no two atoms of one molecule are as close, hydrogens (0.9 Å from their carrier) included


def find_warnings(
    table: AtomTable, sets: Sequence[GroupSet], asked: Sequence[GroupSet], images: Sequence[tuple[int, int, str]]
) -> tuple[str, ...]:
    """Everything suspicious about the occupancies, one sentence per kind of trouble, naming what it is about."""
    groups, trees = [group for group_set in sets for group in group_set.groups], _trees(sets)
    outside = np.flatnonzero(table.raw_occupancy != table.occupancy)
    clamped = (f"{atom_name(table, int(atom))} ({table.raw_occupancy[atom]:.2f})" for atom in outside)
    free = (s.groups[0] for s in sets if s.kind == "free" and s.refinable and s.whole == 1)
    lone = (group.name for group in free if group.altloc)
    empty = (group.name for group in groups if group.refinable and group.atoms.size and group.start == 0)
    found = (
        _sentence("occupancies outside 0 to 1, clamped", clamped, at_most=50),
        *_disagreements(table, groups),
        *_sums(sets),
        _sentence("lone letters, refined freely from 0 to 1", lone),
        _sentence("groups at zero occupancy, lifted by a small margin because they are refined", empty),
        _clashes(table),
        _on_top(table, groups, trees),
        _on_always(table, groups),
        _on_images(table, sets, trees, images),
        _on_own_images(table, sets, trees, images),
        _excluding_members(table, asked),
    )
    return tuple(message for message in found if message)


def _sentence(start: str, names: Iterable[str], end: str = "", *, at_most: int = 10) -> str:
    """The start, a list of names and the end; "" if there is no name."""
    items = list(names)
    return f"{start}: {listing(items, at_most=at_most)}{end}" if items else ""


def _disagreements(table: AtomTable, groups: Sequence[Group]) -> list[str]:
    """Groups whose atoms, and whose hydrogens and heavy atoms, have different occupancies."""
    unlike, hydrogens = [], []
    for group in groups:
        q = table.occupancy[group.counted]
        if q.size and np.ptp(q) > DISAGREEMENT + ROUNDING:
            unlike.append(f"{group.name} ({q.min():.2f} to {q.max():.2f})")
        if group.counted.size < group.atoms.size:
            slack = DISAGREEMENT + ROUNDING
            other = table.occupancy[group.atoms[table.hydrogen[group.atoms]]]
            other = other[(other < q.min() - slack) | (other > q.max() + slack)]
            shown = dict.fromkeys(f"{end:.2f}" for end in (other.min(), other.max())) if other.size else ()
            hydrogens += [f"{group.name} ({' to '.join(shown)} beside {group.start:.2f})"] if shown else []
    return [
        _sentence("atoms of one group have different occupancies, their mean is used", unlike),
        _sentence("hydrogens of other occupancy take that of the atoms they sit on", hydrogens),
    ]


def _sums(sets: Sequence[GroupSet]) -> list[str]:
    starts = {group.name: group.start for group_set in sets for group in group_set.groups}
    rescaled, kept = [], []
    for group_set in sets:
        whole = group_set.whole if group_set.parent is None else starts[group_set.parent]
        slack = tolerance(len(group_set.groups))
        short = group_set.kind == "incomplete" and group_set.start <= whole + slack
        if group_set.kind == "free" or not group_set.refinable or abs(group_set.start - whole) <= slack:
            continue
        name = f"{' + '.join(group.name for group in group_set.groups)} = {group_set.start:.2f}"
        (kept if short else rescaled).append(
            name if group_set.parent is None and whole == 1 else f"{name} of {whole:.2f}"
        )
    return [
        _sentence(RESCALED, rescaled),
        _sentence("occupancies sum to less than 1 and are kept so (incomplete)", kept),
    ]


def _excluding_members(table: AtomTable, sets: Sequence[GroupSet]) -> str:
    """Groups asked for that hold alternates of one residue, or residues on top of each other: both would be there."""
    names = []
    for group in (group for group_set in sets for group in group_set.groups):
        heavy = group.atoms[~table.hydrogen[group.atoms]]
        same = group_numbers(table.residue[heavy], table.name[heavy])
        first, second = (heavy[side] for side in consecutive(same, group_numbers(table.altloc[heavy])))
        near = ~(np.linalg.norm(table.xyz[first] - table.xyz[second], axis=1) > TOUCHING)
        near &= table.altloc[first] != table.altloc[second]
        pairs = list(zip(first[near].tolist(), second[near].tolist(), strict=True))
        for one, other in meetings(table.xyz[heavy], table.residue[heavy], SAME_PLACE):
            pairs.append((int(heavy[table.residue[heavy] == one][0]), int(heavy[table.residue[heavy] == other][0])))
        named = (
            (residue_name(table, atom) + letter_suffix(str(table.altloc[atom])) for atom in pair) for pair in pairs
        )
        told = dict.fromkeys(" with ".join(pair) for pair in named)
        names += [f"{group.name} ({listing(told, at_most=3)}, {2 * group.start:.2f} in all)"] if told else []
    message = "groups asked for hold atoms that exclude each other, which are then there at once"
    return _sentence(message, names, "; make a group of each and a set of them")


def feasible(sets: Sequence[GroupSet]) -> tuple[GroupSet, ...]:
    """The same sets; fixed members that leave a set no valid sum are refused, rounding above it is mended."""
    bad = []
    mended = []
    for group_set in sets:
        # A fraction is one of the parent, and a fixed value without a parent one of the whole crystal.
        held = {g.name: g.start if g.fraction is None else g.fraction for g in group_set.groups if not g.refinable}
        total, slack, whole = sum(held.values()), tolerance(len(held)), group_set.whole
        short = group_set.kind == "complete" and not group_set.refinable and total < 1 - slack
        if total > 1 + slack or short:
            wanted = "1" if group_set.parent is None else f"1, the whole of {group_set.parent}"
            bad.append(f"{' + '.join(held)} = {total:.2f} instead of {'' if short else 'at most '}{wanted}")
        mended.append(each(group_set, partial(_scaled, scale=whole / max(total, whole))))
    if bad:
        raise ValueError(
            f"fixed groups leave their sets no valid sum: {'; '.join(bad[:5])}; change the fixed values, or let one "
            "group be refined."
        )
    return tuple(mended)


def _scaled(group: Group, scale: float) -> Group:
    if group.refinable or scale == 1:
        return group
    value = "start" if group.fraction is None else "fraction"
    return replace(group, **{value: getattr(group, value) * scale})


def _clashes(table: AtomTable) -> str:
    """Atoms without letters that cannot all be there: alternates nobody named, or atoms that are there twice."""
    suspects = np.flatnonzero(~table.lettered & (table.partial | (table.occupancy > 0) & ~table.hydrogen))
    repeated = consecutive(group_numbers(table.residue[suspects], table.name[suspects]))
    pairs = list(zip(*(suspects[side].tolist() for side in repeated), strict=True))
    # the nearest is the atom itself
    suspects = suspects[np.isfinite(distances_to(table.xyz[suspects], table.xyz[suspects], CLASH, nth=2))]
    for residues in meetings(table.xyz[suspects], table.residue[suspects], CLASH):
        one, other = (suspects[table.residue[suspects] == residue] for residue in residues)
        gaps = distances_to(table.xyz[one], table.xyz[other], CLASH)
        nearest = distances_to(table.xyz[other], table.xyz[one[[np.argmin(gaps)]]], CLASH)
        pairs.append((int(one[np.argmin(gaps)]), int(other[np.argmin(nearest)])))
    names = (f"{atom_name(table, a)} and {atom_name(table, b)}" for a, b in sorted(set(pairs)))
    return _sentence("atoms overlap but have no letters", names, "; give them letters to sum to 1")


def _trees(sets: Sequence[GroupSet]) -> np.ndarray:
    """For each group the number of the outermost set that it, or what parents its set, belongs to."""
    home = {group.name: s for s in sets for group in s.groups}

    def root(group_set: GroupSet) -> GroupSet:
        return group_set if group_set.parent is None else root(home[group_set.parent])

    tree = group_numbers(np.array([id(root(s)) for s in sets], np.int64))
    return np.repeat(tree, [len(s.groups) for s in sets])


def _on_top(table: AtomTable, groups: list[Group], number: np.ndarray) -> str:
    """Letters on top of groups in no common set: nothing keeps both from being there."""
    atoms = [group.atoms[~table.hydrogen[group.atoms]] for group in groups]
    everything = np.concatenate([np.empty(0, np.int64), *atoms])
    of_tree = np.repeat(number, [len(own) for own in atoms])
    names = []
    for pair in meetings(table.xyz[everything], of_tree, SAME_PLACE):
        for i, j in product(*(np.flatnonzero(number == one) for one in pair)):
            one, other = groups[i], groups[j]
            if not atoms[i].size or not atoms[j].size or not (one.altloc or other.altloc):
                continue
            if (distances_to(table.xyz[atoms[i]], table.xyz[atoms[j]], SAME_PLACE) < np.inf).any():
                names.append(f"{one.name} and {other.name} ({one.start:.2f} + {other.start:.2f})")
    return _sentence("groups in no common set lie on top of each other", names, "; make a set of them")


def _on_always(table: AtomTable, groups: Sequence[Group]) -> str:
    """Groups on top of atoms that no group has, where either has a letter."""
    owner = owners(table.n_atoms, groups)
    there = ~table.hydrogen & (table.occupancy > 0)
    moving, kept = np.flatnonzero(~table.hydrogen & (owner >= 0)), np.flatnonzero(there & (owner < 0))
    i, j = close_pairs(table.xyz[moving], table.xyz[kept], SAME_PLACE)
    first, second = moving[i], kept[j]
    # as for atoms without letters, what is near within a residue is its geometry
    excluding = (table.lettered[first] | table.lettered[second]) & (table.residue[first] != table.residue[second])
    names: dict[tuple[int, int], str] = {}
    for a, b in zip(first[excluding].tolist(), second[excluding].tolist(), strict=True):
        one = groups[int(owner[a])]
        told = f"{one.name} and {atom_name(table, b)} ({one.start:.2f} + {table.occupancy[b]:.2f})"
        names.setdefault((int(owner[a]), int(table.residue[b])), told)
    end = "; give both letters to sum to 1, or make a set of them"
    return _sentence("groups lie on top of atoms of no group, which keep their occupancy", names.values(), end)


def _on_images(
    table: AtomTable, sets: Sequence[GroupSet], trees: np.ndarray, images: Sequence[tuple[int, int, str]]
) -> str:
    """Atoms on top of symmetry images of others, unless what they belong to keeps their sum at 1 or below."""
    owner = owners(table.n_atoms, (group for s in sets for group in s.groups))
    tree, q, names = np.append(trees, -1)[owner], table.occupancy, {}
    too_full = _too_full(table, sets, owner, images)
    for a, b, operation in images:
        if min(q[a], q[b]) > 0 and (a in too_full or tree[a] != tree[b]):
            other = "itself" if a == b else atom_name(table, b)
            told = f"{atom_name(table, a)} and {other} by symmetry {operation} ({q[a]:.2f} + {q[b]:.2f})"
            names.setdefault((int(table.conformer[a]), int(table.conformer[b]), operation), told)
    end = "; make a set of what excludes each other (what meets its own images is there at most 1/n)"
    return _sentence("atoms lie on top of symmetry images", names.values(), end)


def _on_own_images(
    table: AtomTable, sets: Sequence[GroupSet], trees: np.ndarray, images: Sequence[tuple[int, int, str]]
) -> str:
    """Groups that can be refined to more than their own images leave room for: not all of their set meet theirs."""
    groups = [(group, s) for s in sets for group in s.groups]
    outermost = {tree: s.whole for (_, s), tree in zip(groups, trees.tolist(), strict=True) if s.parent is None}
    orders, names = orders_across(table, [group for group, _ in groups], images), []
    for (group, group_set), tree, order in zip(groups, trees.tolist(), orders, strict=True):
        room = outermost[tree] - sum(other.start for other in group_set.groups if not other.refinable)
        if group.refinable and room > 1 / order + ROUNDING:
            names.append(f"{group.name} (1/{order})")
    start = "groups on top of their own symmetry images have room for 1/n at most, but nothing keeps them from more"
    return _sentence(start, names, "; look at where they end")


def _too_full(
    table: AtomTable, sets: Sequence[GroupSet], owner: np.ndarray, images: Sequence[tuple[int, int, str]]
) -> set[int]:
    """Atoms that sum to more than 1 with what lies on top of them: of one set all members, of others the most."""
    q, set_of_group = table.occupancy, [number for number, s in enumerate(sets) for _ in s.groups]
    # An atom of a molecule across an axis of order n meets n - 1 images.
    met: dict[int, dict[str, dict[int, dict[int, float]]]] = {}
    for a, b, operation in images:
        group = int(owner[b])
        # what has no group excludes other letters of its residue, too
        home = set_of_group[group] if group >= 0 else -1 - int(table.residue[b])
        member = group if group >= 0 else -1 - int(table.conformer[b])
        members = met.setdefault(a, {}).setdefault(operation, {}).setdefault(home, {})
        members[member] = max(q[b], members.get(member, 0.0))
    found = set()
    for a, of_operations in met.items():
        most = [max(of_sets.values(), key=lambda members: sum(members.values())) for of_sets in of_operations.values()]
        if q[a] + sum(sum(one.values()) for one in most) > 1 + tolerance(1 + sum(map(len, most))):
            found.add(a)
    return found
