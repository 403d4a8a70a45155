"""From groups back to words: selections of their atoms, and what the formats of other programs can say of them."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import Group, Grouping
from jax_occupancy.groups._naming import atom_names, listing
from jax_occupancy.groups._table import AtomTable
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

# The first line of what we write, by which our comments are told from those of others.
NAMES_ABOVE = "# jax_occupancy: the comment above a group is its name"
NOTHING_ELSE = "what is in no group stays as it is"
_WAY_OUT = "; write TOML, which can."


class Piece(NamedTuple):
    """Atoms of one residue and letter; no names for all of them."""

    chain: str
    resseq: int
    icode: str
    resname: str
    altloc: str
    names: tuple[str, ...]


def table_of_grouping(grouping: Grouping, atoms: pd.DataFrame) -> AtomTable:
    """The table of the atoms that a grouping was made from."""
    if len(atoms) != grouping.n_atoms:
        raise ValueError(
            f"atoms has {len(atoms)} rows; wanted {grouping.n_atoms}, the atoms the groups were made from."
        )
    return AtomTable(atoms)


def pieces(
    table: AtomTable, name: str, atoms: np.ndarray, *, by_resname: bool = True, blank: bool = True
) -> list[Piece]:
    """The pieces of a group, in file order; a format may not know residue names, or atoms without a letter."""
    of_piece: dict[tuple, list[int]] = defaultdict(list)
    for atom in atoms.tolist():
        of_piece[table.place[atom], table.resname[atom], table.altloc[atom]].append(atom)
    found = []
    for own in of_piece.values():
        first = own[0]
        others = np.setdiff1d(np.flatnonzero(table.place == table.place[first]), atoms)
        if by_resname:
            others = others[table.resname[others] == table.resname[first]]
        if table.altloc[first] or blank:
            others = others[table.altloc[others] == table.altloc[first]]
        names = tuple(dict.fromkeys(table.name[own].tolist())) if others.size else ()
        alike = others[np.isin(table.name[others], names)]
        if alike.size:
            toml = "" if by_resname and blank else ", or write TOML, which looks at residue names, too"
            raise ValueError(
                f"the atoms of {name!r} cannot be told from {atom_names(table, alike)} in this format; rename or "
                f"number them anew{toml}."
            )
        icode, resname, altloc = (str(array[first]) for array in (table.icode, table.resname, table.altloc))
        found.append(Piece(str(table.chain[first]), int(table.resseq[first]), icode, resname, altloc, names))
    return found


def describe_groups(grouping: Grouping, atoms: pd.DataFrame) -> UserGroups:
    """Say any grouping in the user's terms, so that ``choose_groups`` makes the same groups whatever its options.

    ``atoms`` is the table that the groups were made from. The free groups come after the sets; a fixed member of a
    nested set has the fraction of its parent.

    Raises:
        ValueError: the table has another number of atoms than the grouping, atoms that no selection can tell
            apart are in different groups, or a fixed group shares out a parent that starts at 0.
    """
    table = table_of_grouping(grouping, atoms)
    groups = {}
    for group, parent in ((group, s.parent) for s in grouping for group in s.groups):
        selections = tuple(
            f"//{one.chain}/{one.resseq}.{one.icode}({one.resname})/{','.join(one.names) or '*'}:{one.altloc}"
            for one in pieces(table, group.name, group.atoms)
        )
        fixed = None if group.refinable else _fixed_value(group, grouping[parent] if parent else None)
        groups[group.name] = UserGroup(selections, fixed)
    sets = tuple(UserSet(tuple(g.name for g in s.groups), s.kind, s.parent) for s in grouping if s.kind != "free")
    return UserGroups(groups, sets, automatic=False)


def _fixed_value(group: Group, parent: Group | None) -> float:
    if parent is None:
        return float(group.start)
    if group.fraction is not None:
        return float(group.fraction)
    if parent.start <= 0:
        raise ValueError(
            f"the group {group.name!r} is fixed at a fraction of {parent.name!r}, which starts at {parent.start:g}, so "
            "the fraction cannot be told. Start the parent above 0, or refine the group."
        )
    return float(np.clip(np.round(group.start / parent.start, 12), 0, 1))


def sayable_table(grouping: Grouping, atoms: pd.DataFrame, what: str, *, kinds: Sequence[str]) -> AtomTable:
    """The table of a grouping, unless a format has no words for it: then the groups are named and the way out."""
    table = table_of_grouping(grouping, atoms)
    for group_set in grouping:
        names = listing((group.name for group in group_set.groups), at_most=5)
        lacking = {
            f"{names} may be absent altogether ({group_set.kind})": group_set.kind not in kinds,
            f"{names} sum to {group_set.whole:.2f}": group_set.kind == "complete" and group_set.whole < 1,
            f"{names} share the occupancy of {group_set.parent!r}": group_set.parent is not None,
            f"one of {names} has no atoms": any(group.atoms.size == 0 for group in group_set.groups),
            f"one of {names} is fixed while the others are refined": group_set.refinable
            and not all(group.refinable for group in group_set.groups),
        }
        for sentence in (sentence for sentence, is_so in lacking.items() if is_so):
            raise ValueError(f"{what} cannot say that {sentence}{_WAY_OUT}")
    # models have two or three decimals
    lost = [g for g in grouping.groups if not g.refinable and (np.abs(table.in_file[g.atoms] - g.start) > 1e-6).any()]
    if lost:
        shown = listing((f"{group.name} at {group.start:g}" for group in lost), at_most=5)
        raise ValueError(
            f"{what} cannot say that a group is fixed at an occupancy the model does not have: {shown}. Write these "
            "occupancies into the model and group that, or write TOML."
        )
    return table


def fixed_lines(grouping: Grouping) -> list[str]:
    """Comments that say which groups are left out because they keep what the file holds."""
    return [
        comment_line(f"{group.name} is fixed at the occupancy the model has, {group.start:g}")
        for group in grouping.groups
        if not group.refinable
    ]


def comment_line(text: str) -> str:
    """A comment of one line, whatever is in the names it quotes."""
    return f"# {' '.join(text.split())}"


def says_all(text: str) -> bool:
    """Whether a file that we wrote says that there are no other groups."""
    first = text.lstrip("\ufeff \n").split("\n", 1)[0]
    return first.startswith(NAMES_ABOVE) and NOTHING_ELSE in first


def names_above(text: str, group_line: re.Pattern) -> list[tuple[str, str]]:
    """The key (first group of the pattern) and the name of each group line under a comment, in a file that we wrote."""
    lines = [line.strip() for line in text.splitlines()]
    if not lines or not lines[0].startswith(NAMES_ABOVE):
        return []
    found = ((above, group_line.match(line)) for above, line in pairwise(lines) if above.startswith("# "))
    return [(match[1], above[2:]) for above, match in found if match]


def rename(user: UserGroups, names: Mapping[str, str]) -> UserGroups:
    """The groups under their names; as they are where two would have one name."""
    new = {name: names.get(name, name) for name in user.groups}
    if len(set(new.values())) < len(new):
        return user
    sets = tuple(replace(one, groups=tuple(new.get(name, name) for name in one.groups)) for one in user.sets)
    return replace(user, groups={new[name]: group for name, group in user.groups.items()}, sets=sets)
