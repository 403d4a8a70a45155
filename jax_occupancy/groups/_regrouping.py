"""What becomes of automatic sets by the user's wishes: states, and conformers whose siblings are removed or taken.

Ground and bound make one set of states, with the split inside each state under it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from jax_occupancy.groups._building import NO_SIBLING, group_name, make_group, set_kind
from jax_occupancy.groups._grouping import Group, GroupSet, each
from jax_occupancy.groups._hydrogens import is_exchange
from jax_occupancy.groups._naming import listing, residues_label, unique_names
from jax_occupancy.groups._starts import largest_sum
from jax_occupancy.groups._table import AtomTable


def apply_states(
    table: AtomTable, sets: Sequence[GroupSet], states: Mapping[str, tuple[str, ...]], extra: Mapping[str, np.ndarray]
) -> tuple[tuple[GroupSet, ...], tuple[GroupSet, ...]]:
    """Regroup automatic sets by the state their letters belong to: the set of states, those under it, and the rest."""
    # Hydrogen and deuterium that exchange on one site say nothing about a state. ``extra`` are atoms that belong to a
    # state whatever their letters.
    if not states:
        return (), tuple(sets)
    _check_letters(table, states, extra)
    own: dict[str, list[np.ndarray]] = {name: [extra[name]] if name in extra else [] for name in states}
    nested: list[GroupSet] = []
    rest: list[GroupSet] = []
    for group_set in sets:
        split = {} if is_exchange(table, group_set) else _by_state(group_set, states)
        if not split:
            rest.append(group_set)
        for name, groups in split.items():
            if len(groups) == 1:
                own[name].append(groups[0].atoms)
            else:
                told = [replace(group, reason=f"{group.reason}; within the state {name}") for group in groups]
                nested.append(GroupSet("complete", tuple(told), name))
    _refuse_empty(states, [name for name in states if not own[name] and all(s.parent != name for s in nested)])
    members = []
    for name, letters in states.items():
        atoms = np.sort(np.concatenate([np.empty(0, np.int64), *own[name]]))
        reason = f"state {name}: the letters {', '.join(letters)}"
        members.append(make_group(table, atoms, name=name, letter=",".join(letters), reason=reason))
    wholes = {group.name: _whole(table, group, nested) for group in members}
    below = (replace(s, kind=set_kind(table, s.groups, whole=wholes[str(s.parent)])) for s in nested)
    return (GroupSet("complete", tuple(members)), *below), tuple(rest)


def _by_state(group_set: GroupSet, states: Mapping[str, tuple[str, ...]]) -> dict[str, list[Group]]:
    """The groups of a set by their state; none if none has letters of a state."""
    state_of = {letter: name for name, letters in states.items() for letter in letters}
    strange = [group for group in group_set.groups if group.altloc not in state_of]
    if 0 < len(strange) < len(group_set.groups):
        names = listing((group.name for group in strange), at_most=5)
        raise ValueError(
            f"conformers of no state exclude those of a state: {names}; add their letters to a state, or make groups "
            "for them by name."
        )
    split: dict[str, list[Group]] = {}
    for group in group_set.groups if not strange else ():
        split.setdefault(state_of[group.altloc], []).append(group)
    return split


def _whole(table: AtomTable, state: Group, nested: Sequence[GroupSet]) -> float:
    """What a state starts with: the mean of its own atoms, or what is split inside it; ligands count last."""
    if state.atoms.size:
        return float(state.start)
    below = [group_set for group_set in nested if group_set.parent == state.name]
    always = [s for s in below if set_kind(table, s.groups, whole=float("inf")) == "complete"]
    return largest_sum(always or below)


def _check_letters(table: AtomTable, states: Mapping[str, tuple[str, ...]], extra: Mapping[str, np.ndarray]) -> None:
    known = set(table.altloc)
    for name, letter in ((name, letter) for name, letters in states.items() for letter in letters):
        if len(letter) > 1 and letter not in known and set(letter) & known:
            raise ValueError(
                f"the state {name!r} has the letter {letter!r}, which no atom has; for several letters write them "
                f"apart: {name}={','.join(letter)}."
            )
    _refuse_empty(states, [name for name in states if name not in extra and not known & set(states[name])])


def _refuse_empty(states: Mapping[str, tuple[str, ...]], absent: Sequence[str]) -> None:
    if absent:
        shown = ", ".join(f"{name} ({', '.join(states[name])})" for name in absent)
        raise ValueError(f"no atom has a letter of the state {shown}; wanted at least one in every state.")


def with_departed(
    table: AtomTable, sets: Sequence[GroupSet], removed: np.ndarray, claims: Mapping[str, np.ndarray]
) -> tuple[tuple[GroupSet, ...], tuple[str, ...]]:
    """Keep removed conformers as fixed members of their sets, and warn of those that went to a group of the user."""
    labels, home = ["", *claims], np.full(table.n_atoms, -1)
    for number, atoms in enumerate([removed, *claims.values()]):
        home[atoms] = number
    departed = np.flatnonzero((home >= 0) & table.lettered)
    departed = departed[np.lexsort((home[departed], table.residue[departed]))]
    names = [group.name for group_set in sets for group in group_set.groups]
    result, gone = [], []
    for group_set in sets:
        left = _absent(table, group_set, departed) if departed.size else departed
        for number in sorted(dict.fromkeys(home[left].tolist()), key=bool):  # removed ones first
            atoms = left[home[left] == number]
            by_letter = {x: np.sort(atoms[table.altloc[atoms] == x]) for x in dict.fromkeys(table.altloc[atoms])}
            if number == 0:
                group_set = _with_fixed(table, group_set, by_letter, names)
                continue
            told = listing(f"{residues_label(table, own)}:{letter}" for letter, own in by_letter.items())
            group_set = with_reason(group_set, f"{told} left for {labels[number]}")
            gone.append(f"{' + '.join(g.name for g in group_set.groups)} ({told} is in {labels[number]})")
        result.append(group_set)
    message = f"conformers that no longer sum with a sibling which is in a group asked for: {listing(gone)}"
    return tuple(result), (message,) if gone else ()


def _absent(table: AtomTable, group_set: GroupSet, departed: np.ndarray) -> np.ndarray:
    """What has left the residues of a set, where the set has not its letter."""
    own = np.concatenate([group.atoms for group in group_set.groups])
    own = own[table.lettered[own]]
    heavy = own[~table.hydrogen[own]]
    # Hydrogens that follow the residue before bring no residue of their own.
    left = departed[np.isin(table.residue[departed], table.residue[heavy if heavy.size else own])]
    return left[~np.isin(table.altloc[left], table.altloc[own])]


def _with_fixed(table: AtomTable, group_set: GroupSet, kept: Mapping[str, np.ndarray], names: list[str]) -> GroupSet:
    """A set with removed conformers as fixed members; ``names`` grows by theirs."""
    held = []
    for letter, atoms in kept.items():
        names.append(unique_names([*names, group_name(table, atoms, letter)])[-1])
        group = make_group(table, atoms, name=names[-1], letter=letter, reason="", refinable=False)
        held.append(replace(group, reason=f"removed: conformer {letter} keeps its {group.start:.2f}"))
    told = listing(f"{group.altloc} keeps its {group.start:.2f}" for group in held)
    groups = (*with_reason(group_set, f"{told}, as removed").groups, *held)
    return GroupSet(set_kind(table, groups), groups)


def with_reason(group_set: GroupSet, note: str) -> GroupSet:
    """A set whose reasons speak of what limits it, in place of the claim that nothing does."""

    def noted(group: Group) -> Group:
        return replace(group, reason=f"{group.reason.replace(NO_SIBLING, '')}; {note}") if group.refinable else group

    return each(group_set, noted)
