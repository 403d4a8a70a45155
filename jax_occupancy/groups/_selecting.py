"""From groups back to selections, so that groups can be written down: pieces, one for each residue and letter."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import Group, Grouping
from jax_occupancy.groups._naming import atom_names
from jax_occupancy.groups._table import AtomTable, read_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet


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
    return read_table(atoms)


class Pieces:
    """Says groups as pieces of their atoms alone; a format may not know residue names, or atoms without a letter."""

    def __init__(self, table: AtomTable, *, by_resname: bool = True, blank: bool = True):
        self._table, self._by_resname, self._blank = table, by_resname, blank
        self._at: dict[tuple, list[int]] = defaultdict(list)
        for atom, place in enumerate(zip(table.chain, table.resseq, table.icode, strict=True)):
            self._at[place].append(atom)

    def of(self, name: str, atoms: np.ndarray) -> list[Piece]:
        """The pieces of a group, in file order; a ValueError names atoms of others that no label tells from its own."""
        t = self._table
        keys: dict[tuple, list[int]] = {}
        for atom in atoms.tolist():
            key = (t.chain[atom], t.resseq[atom], t.icode[atom], t.resname[atom], t.altloc[atom])
            keys.setdefault(key, []).append(atom)
        own = set(atoms.tolist())
        return [self._piece(name, own, piece) for piece in keys.values()]

    def _piece(self, name: str, own: set[int], piece: list[int]) -> Piece:
        t, first = self._table, piece[0]
        inside = self._at[t.chain[first], t.resseq[first], t.icode[first]]
        if self._by_resname:
            inside = [atom for atom in inside if t.resname[atom] == t.resname[first]]
        if t.altloc[first] or self._blank:
            inside = [atom for atom in inside if t.altloc[atom] == t.altloc[first]]
        names = () if own.issuperset(inside) else tuple(dict.fromkeys(t.name[piece].tolist()))
        foreign = [atom for atom in inside if atom not in own and t.name[atom] in names]
        if foreign:
            toml = "" if self._by_resname and self._blank else ", or write TOML, which looks at residue names, too"
            raise ValueError(
                f"the atoms of {name!r} cannot be told from {atom_names(t, foreign)} in this format; rename or number "
                f"them anew{toml}."
            )
        icode, resname, altloc = (str(array[first]) for array in (t.icode, t.resname, t.altloc))
        return Piece(str(t.chain[first]), int(t.resseq[first]), icode, resname, altloc, names)


def describe_groups(grouping: Grouping, atoms: pd.DataFrame) -> UserGroups:
    """Say any grouping in the user's terms: named groups by selection, and sets.

    Nothing is left to the automatic choice, so that ``choose_groups`` makes the same groups of the same atoms
    whatever its options. The free groups come after the sets; a fixed member of a nested set has the fraction of its
    parent. ``atoms`` is the table that the groups were made from.

    Raises:
        ValueError: the table has another number of atoms than the grouping, atoms that no selection can tell
            apart are in different groups, or a fixed group shares out a parent that starts at 0.
    """
    pieces = Pieces(table_of_grouping(grouping, atoms))
    groups = {
        g.name: _described(pieces, g, grouping[s.parent] if s.parent else None) for s in grouping for g in s.groups
    }
    sets = tuple(UserSet(tuple(g.name for g in s.groups), s.kind, s.parent) for s in grouping if s.kind != "free")
    return UserGroups(groups, sets, automatic=False)


def _described(pieces: Pieces, group: Group, parent: Group | None) -> UserGroup:
    selections = tuple(
        f"//{one.chain}/{one.resseq}.{one.icode}({one.resname})/{','.join(one.names) or '*'}:{one.altloc}"
        for one in pieces.of(group.name, group.atoms)
    )
    return UserGroup(selections, None if group.refinable else _fixed_value(group, parent))


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
