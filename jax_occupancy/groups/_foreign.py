"""What the formats of other programs can say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._naming import listing
from jax_occupancy.groups._table import AtomTable
from jax_occupancy.groups._user import UserGroups

# The first line of what we write, by which our comments are told from those of others.
NAMES_ABOVE = "# jax_occupancy: the comment above a group is its name"
NOTHING_ELSE = "what is in no group stays as it is"
_WAY_OUT = "; write TOML, which can."


def check_sayable(grouping: Grouping, table: AtomTable, what: str, *, kinds: Sequence[str]) -> None:
    """Refuse what a format has no words for, naming the groups and the way out."""
    for group_set in grouping:
        names = listing((group.name for group in group_set.groups), at_most=5)
        lacking = {
            f"{names} may be absent altogether ({group_set.kind})": group_set.kind not in kinds,
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
