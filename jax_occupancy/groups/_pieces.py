"""Groups as pieces, one for each residue and letter, from which selections are written."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._naming import atom_names
from jax_occupancy.groups._table import AtomTable, read_table


@dataclass(frozen=True)
class Piece:
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
    """Says groups of a grouping as pieces that select their atoms and no others.

    ``by_resname``: the format can tell residue names apart; ``blank``: it can ask for atoms without a letter.
    """

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
        """One piece, as a whole conformer if that is right, else by atom names."""
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
