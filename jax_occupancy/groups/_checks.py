"""What a crystallographer should look at before refining occupancies."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from jax_occupancy.groups._grouping import Group, GroupSet
from jax_occupancy.groups._naming import atom_name, listing
from jax_occupancy.groups._neighbours import close_pairs
from jax_occupancy.groups._table import AtomTable, group_numbers
from jax_occupancy.groups._tensor import RESCALED

DISAGREEMENT = 0.02
SUM_TOLERANCE = 0.02
CLASH = 0.8  # Å; no two atoms of one molecule are as close, hydrogens (0.9 Å from their carrier) included
ROUNDING = 1e-9


def find_warnings(table: AtomTable, sets: Sequence[GroupSet]) -> tuple[str, ...]:
    """Everything suspicious about the occupancies, one sentence per kind of trouble, naming what it is about."""
    groups = [group for group_set in sets for group in group_set.groups]
    found = (
        _out_of_range(table),
        _disagreements(table, groups),
        _silent_hydrogens(groups),
        *_sums(sets),
        _lone_letters(sets),
        _empty_conformers(groups),
        _clashes(table),
    )
    return tuple(message for message in found if message)


def _sentence(start: str, names: Iterable[str], end: str = "", *, at_most: int = 10) -> str:
    """The start, a list of names and the end; "" if there is no name."""
    items = list(names)
    return f"{start}: {listing(items, at_most=at_most)}{end}" if items else ""


def _out_of_range(table: AtomTable) -> str:
    """Occupancies that had to be clamped."""
    bad = np.flatnonzero(table.raw_occupancy != table.occupancy)
    names = (f"{atom_name(table, int(atom))} ({table.raw_occupancy[atom]:.2f})" for atom in bad)
    return _sentence("occupancies outside 0 to 1, clamped", names, at_most=50)


def _disagreements(table: AtomTable, groups: Sequence[Group]) -> str:
    """Groups whose atoms start apart from each other."""
    names = []
    for group in groups:
        q = table.occupancy[group.counted]
        if q.size and np.ptp(q) > DISAGREEMENT + ROUNDING:
            names.append(f"{group.name} ({q.min():.2f} to {q.max():.2f})")
    return _sentence("atoms of one group have different occupancies, their mean is used", names)


def _silent_hydrogens(groups: Sequence[Group]) -> str:
    """Groups with hydrogens that were left at zero."""
    names = (group.name for group in groups if group.counted.size < group.atoms.size)
    return _sentence("hydrogens at zero occupancy take the occupancy of their conformer", names)


def _sums(sets: Sequence[GroupSet]) -> list[str]:
    """Sets whose start is not their whole."""
    starts = {group.name: group.start for group_set in sets for group in group_set.groups}
    rescaled, kept = [], []
    for group_set in sets:
        whole = 1.0 if group_set.parent is None else starts[group_set.parent]
        short = group_set.kind == "incomplete" and group_set.start <= whole + SUM_TOLERANCE
        if (
            group_set.kind == "free"
            or not group_set.refinable
            or abs(group_set.start - whole) <= SUM_TOLERANCE + ROUNDING
        ):
            continue
        name = f"{' + '.join(group.name for group in group_set.groups)} = {group_set.start:.2f}"
        (kept if short else rescaled).append(name if group_set.parent is None else f"{name} of {whole:.2f}")
    return [
        _sentence(RESCALED, rescaled),
        _sentence("occupancies sum to less than 1 and are kept so (incomplete)", kept),
    ]


def feasible(sets: Sequence[GroupSet]) -> tuple[GroupSet, ...]:
    """The same sets; fixed members that leave a set no valid sum are refused, rounding above it is mended."""
    bad = []
    mended = []
    for group_set in sets:
        # A fraction is one of the parent, and a fixed value without a parent one of the whole crystal.
        held = {g.name: _share(g) for g in group_set.groups if not g.refinable}
        total = sum(held.values())
        short = group_set.kind == "complete" and not group_set.refinable and total < 1 - SUM_TOLERANCE - ROUNDING
        if total > 1 + SUM_TOLERANCE + ROUNDING or short:
            whole = "1" if group_set.parent is None else f"1, the whole of {group_set.parent}"
            bad.append(f"{' + '.join(held)} = {total:.2f} instead of {'' if short else 'at most '}{whole}")
        scale = 1 / total if total > 1 else 1.0
        mended.append(replace(group_set, groups=tuple(_scaled(g, scale) for g in group_set.groups)))
    if bad:
        raise ValueError(
            f"fixed groups leave their sets no valid sum: {'; '.join(bad[:5])}; change the fixed values, or let one "
            "group be refined."
        )
    return tuple(mended)


def _share(group: Group) -> float:
    """What a fixed group takes of its set."""
    return float(group.start if group.fraction is None else group.fraction)


def _scaled(group: Group, scale: float) -> Group:
    """A fixed group with its value scaled."""
    if group.refinable or scale == 1:
        return group
    if group.fraction is None:
        return replace(group, start=group.start * scale)
    return replace(group, fraction=group.fraction * scale)


def _lone_letters(sets: Sequence[GroupSet]) -> str:
    """Conformers without a sibling."""
    names = (s.groups[0].name for s in sets if s.kind == "free" and s.groups[0].altloc and s.refinable)
    return _sentence("lone letters, refined freely from 0 to 1", names)


def _empty_conformers(groups: Sequence[Group]) -> str:
    """Refinable groups that start at zero."""
    names = (group.name for group in groups if group.refinable and group.atoms.size and group.start == 0)
    return _sentence("groups at zero occupancy, lifted by a small margin because they are refined", names)


def _clashes(table: AtomTable) -> str:
    """Partly occupied atoms without letters that cannot all be there: alternates nobody named."""
    suspects = np.flatnonzero(table.partial & ~table.lettered)
    i, j = close_pairs(table.xyz[suspects], table.xyz[suspects], CLASH)
    first, second = suspects[i], suspects[j]
    other_residue = (first < second) & (table.residue[first] != table.residue[second])
    pairs = list(zip(first[other_residue].tolist(), second[other_residue].tolist(), strict=True))
    pairs += _repeated_atoms(table, suspects)
    names = (f"{atom_name(table, a)} and {atom_name(table, b)}" for a, b in sorted(set(pairs)))
    return _sentence("partly occupied atoms overlap but have no letters", names, "; give them letters to sum to 1")


def _repeated_atoms(table: AtomTable, suspects: np.ndarray) -> list[tuple[int, int]]:
    """Neighbouring pairs among atoms of one residue with one name."""
    if suspects.size == 0:
        return []
    numbers = group_numbers(table.residue[suspects], table.resname[suspects], table.name[suspects])
    order = np.argsort(numbers, kind="stable")
    same = np.flatnonzero(numbers[order][1:] == numbers[order][:-1])
    return list(zip(suspects[order[same]].tolist(), suspects[order[same + 1]].tolist(), strict=True))
