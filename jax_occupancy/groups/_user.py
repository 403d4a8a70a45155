"""The groups a user asks for by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Select = Callable[[str], Any]
Within = Callable[[np.ndarray, float], np.ndarray]
Images = Callable[[float], Sequence[tuple[int, int, str]]]
SET_KINDS = ("complete", "incomplete")


@dataclass(frozen=True)
class UserGroup:
    """Atoms that are to share one occupancy.

    Args:
        selection: selections whose union it is, in gemmi's syntax, or in that of phenix after ``phenix: ``, as in
            "phenix: chain A and resseq 45:47"; none for a state that only parents other sets.
        fixed: the occupancy it keeps, from 0 to 1; in a set with a parent, the fraction of the parent's occupancy
            that it keeps, whatever the parent becomes. None refines it.
    """

    selection: tuple[str, ...] = ()
    fixed: float | int | None = None


@dataclass(frozen=True)
class UserSet:
    """Groups, by name, that exclude each other.

    They sum to the group named as their parent, or to 1 ("complete"), or to at most that ("incomplete").
    """

    groups: tuple[str, ...]
    kind: str = "complete"
    parent: str | None = None


@dataclass(frozen=True)
class UserGroups:
    """Everything a user can say about groups; what is not said is left to the automatic choice.

    Args:
        groups: the groups by name.
        sets: which of them exclude each other; a group in no set is free from 0 to 1.
        remove: selections of atoms that keep their occupancy.
        link: selections; the residues that each of them touches are linked letter by letter, bonded or not.
        separate: selections of residues that are not linked along the chain.
        individual: selections; every atom they match that is in no group and not removed is a group of its own, free
            from 0 to 1.
        automatic: whether the atoms nothing is said about get automatic groups; False keeps them as they are.
        states: letters by state, such as {"ground": ("A", "B"), "bound": ("C", "D")}; see ``choose_groups``.

    Raises:
        ValueError: a set names an unknown group or a group of another set, its kind is unknown, a fixed value
            lies outside 0…1, a group has neither atoms nor child sets, a selection is blank, or a letter belongs to
            two states.

    Example:
        >>> groups = {"in": UserGroup(("//A/300",)), "out": UserGroup(("//A/1/*:B", "//W"), fixed=0.5)}
        >>> UserGroups(groups, (UserSet(("in", "out")),)).sets[0].kind
        'complete'
    """

    groups: Mapping[str, UserGroup] = field(default_factory=dict)
    sets: tuple[UserSet, ...] = ()
    remove: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    separate: tuple[str, ...] = ()
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    individual: tuple[str, ...] = ()
    automatic: bool = True

    def __post_init__(self):
        for name, group in self.groups.items():
            if group.fixed is not None and not 0 <= group.fixed <= 1:
                raise ValueError(f"group {name!r} is fixed at {group.fixed}; wanted an occupancy from 0 to 1.")
            if group.fixed is not None and (not group.selection or name in self.states):
                raise ValueError(f"the state {name!r} is fixed; wanted a fixed value only for a group of atoms.")
        _check_selections(self)
        _check_sets(self)
        _check_states(self.states)


def parse_state(text: str) -> tuple[str, tuple[str, ...]]:
    """Read a state as the command line gives it; a ValueError says if there is no name or no letter.

    Example:
        >>> parse_state("ground=A,B")
        ('ground', ('A', 'B'))
    """
    name, _, letters = text.partition("=")
    parts = tuple(letter.strip() for letter in letters.split(",") if letter.strip())
    if not name.strip() or not parts:
        raise ValueError(f"state {text!r} is not understood; wanted a name and letters, such as ground=A,B.")
    return name.strip(), parts


def _check_selections(user: UserGroups) -> None:
    """Refuse blank selections, which in gemmi's syntax are all atoms."""
    claims = {f"group {name!r}": group.selection for name, group in user.groups.items()}
    claims |= {key: getattr(user, key) for key in ("remove", "link", "separate", "individual")}
    blank = [what for what, selection in claims.items() if any(not text.strip() for text in selection)]
    if blank:
        raise ValueError(
            f"{', '.join(blank[:5])} has a blank selection, which would match every atom; wanted one such as "
            "//A/45/*:B. Write * if all atoms are meant."
        )


def _check_sets(user: UserGroups) -> None:
    known = {*user.groups, *user.states}
    used: set[str] = set()
    for one in user.sets:
        if one.kind not in SET_KINDS:
            raise ValueError(f"the set of {', '.join(one.groups)} is {one.kind!r}; wanted {' or '.join(SET_KINDS)}.")
        unknown = [name for name in (*one.groups, *([one.parent] if one.parent else [])) if name not in known]
        if unknown:
            raise ValueError(f"a set names the unknown groups {unknown[:5]}; known are {sorted(known)}.")
        twice = [name for name in one.groups if name in used | set(user.states) or one.groups.count(name) > 1]
        if twice:
            raise ValueError(f"the groups {twice[:5]} are in two sets; wanted every group in at most one.")
        if len(one.groups) < 2:
            raise ValueError(f"a set has the groups {list(one.groups)}; wanted at least two that exclude each other.")
        used.update(one.groups)
    parents = {one.parent for one in user.sets}
    empty = [n for n, g in user.groups.items() if not g.selection and n not in parents and n not in user.states]
    if empty:
        raise ValueError(f"the groups {empty[:5]} select nothing and are no parent of a set; give them a selection.")


def _check_states(states: Mapping[str, tuple[str, ...]]) -> None:
    if len(states) == 1:
        raise ValueError(
            f"there is only the state {next(iter(states))!r}; wanted at least two that exclude each other."
        )
    owner: dict[str, str] = {}
    for name, letters in states.items():
        if not letters:
            raise ValueError(f"the state {name!r} has no letters; wanted at least one.")
        for letter in letters:
            if letter in owner:
                raise ValueError(f"the letter {letter!r} belongs to the states {owner[letter]!r} and {name!r}.")
            owner[letter] = name
