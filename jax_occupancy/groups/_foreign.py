"""What the formats of other programs can say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._naming import atom_name, listing
from jax_occupancy.groups._table import AtomTable


@dataclass(frozen=True)
class Piece:
    """Atoms of one residue and letter; no names for all of them."""

    chain: str
    resseq: int
    icode: str
    resname: str
    altloc: str
    names: tuple[str, ...]


def check_sayable(grouping: Grouping, table: AtomTable, what: str, *, kinds: Sequence[str]) -> None:
    """Refuse what a format has no words for, naming the groups."""
    if table.n_atoms != grouping.n_atoms:
        raise ValueError(
            f"atoms has {table.n_atoms} rows; wanted {grouping.n_atoms}, the atoms the groups were made from."
        )
    for group_set in grouping:
        names = listing((group.name for group in group_set.groups), at_most=5)
        if group_set.kind not in kinds:
            raise ValueError(f"{what} cannot say that {names} may be absent altogether ({group_set.kind}).")
        if group_set.parent is not None:
            raise ValueError(f"{what} cannot say that {names} share the occupancy of {group_set.parent!r}.")
        if any(group.atoms.size == 0 for group in group_set.groups):
            raise ValueError(f"{what} cannot say that one of {names} has no atoms.")
        if group_set.refinable and not all(group.refinable for group in group_set.groups):
            raise ValueError(f"{what} cannot say that one of {names} is fixed while the others are refined.")
    _check_fixed_values(grouping, table, what)


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


def _check_fixed_values(grouping: Grouping, table: AtomTable, what: str) -> None:
    """Refuse fixed values that the other program would not find in the model."""
    lost = [g for g in grouping.groups if not g.refinable and _differs(table.raw_occupancy[g.atoms], g.start)]
    if lost:
        shown = listing((f"{group.name} at {group.start:g}" for group in lost), at_most=5)
        raise ValueError(
            f"{what} cannot say that a group is fixed at an occupancy the model does not have: {shown}. Write these "
            "occupancies into the model and group that, or write TOML."
        )


def _differs(occupancy: np.ndarray, value: float | int) -> bool:
    """Whether a file with these occupancies holds another value; models have two or three decimals."""
    return bool((np.abs(occupancy - value) > 1e-6).any())


def pieces_of(table: AtomTable, name: str, atoms: np.ndarray, *, by_resname: bool, blank: bool) -> list[Piece]:
    """A group as pieces that select its atoms and no others, in file order.

    ``by_resname``: the format can tell residue names apart; ``blank``: it can ask for atoms without a letter.
    """
    keys: dict[tuple, list[int]] = {}
    for atom in atoms.tolist():
        keys.setdefault(_key(table, atom), []).append(atom)
    return [_piece(table, name, atoms, piece, by_resname=by_resname, blank=blank) for piece in keys.values()]


def _key(table: AtomTable, atom: int) -> tuple:
    """Labels of a conformer."""
    arrays = (table.chain, table.resseq, table.icode, table.resname, table.altloc)
    return tuple(array[atom] for array in arrays)


def _piece(table: AtomTable, name: str, atoms: np.ndarray, piece: list[int], *, by_resname: bool, blank: bool) -> Piece:
    """One piece, as a whole conformer if that is right, else by atom names."""
    first = piece[0]
    inside = (table.chain == table.chain[first]) & (table.resseq == table.resseq[first])
    inside &= table.icode == table.icode[first]
    if by_resname:
        inside &= table.resname == table.resname[first]
    if table.altloc[first] or blank:
        inside &= table.altloc == table.altloc[first]
    own = np.zeros(table.n_atoms, bool)
    own[atoms] = True
    names = () if own[inside].all() else tuple(dict.fromkeys(table.name[piece].tolist()))
    foreign = np.flatnonzero(inside & ~own & np.isin(table.name, names)) if names else np.empty(0, np.int64)
    if foreign.size:
        shown = listing((atom_name(table, int(atom)) for atom in foreign), at_most=5)
        raise ValueError(
            f"the atoms of {name!r} cannot be told from {shown} in this format; rename or number them anew."
        )
    return Piece(
        str(table.chain[first]),
        int(table.resseq[first]),
        str(table.icode[first]),
        str(table.resname[first]),
        str(table.altloc[first]),
        names,
    )
