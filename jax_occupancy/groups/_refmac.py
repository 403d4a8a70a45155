"""Refmac's (and servalcat's) keywords ``occupancy group``."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jax_occupancy.groups._foreign import check_sayable, pieces_of
from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._table import AtomTable, read_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

_NUMBER = re.compile(r"(-?\d+)\.?([A-Za-z]?)")


def parse_refmac(text: str) -> UserGroups:
    """Read occupancy groups from Refmac keywords; other keywords of the file are left alone.

    Refmac refines what is listed and nothing else, so nothing is left to the automatic choice.

    Args:
        text: lines such as ``occupancy group id 1 chain A residue 45 alt B`` (also ``residue from 5 to 9`` and
            ``atom CG``; lines of one id are united), ``occupancy group alts complete 1 2``, ``... alts incomplete 1 2``
            and ``occupancy refine``. Words may be cut to four letters; ``#`` and ``!`` begin comments.

    Returns:
        Groups named by their ids.

    Raises:
        ValueError: an occupancy line is not understood; the message quotes it.

    Example:
        >>> user = parse_refmac('''
        ... occupancy group id 1 chain A residue 45 alt A
        ... occupancy group id 2 chain A residue from 45 to 46 atom CG alt B
        ... occupancy group alts complete 1 2
        ... ''')
        >>> user.groups["2"].selection, user.sets[0].groups
        (('//A/45.-46./CG:B',), ('1', '2'))
    """
    groups: dict[str, list[str]] = {}
    sets: list[UserSet] = []
    for line, words in _occupancy_lines(text):
        if words[:1] == ["id"] and len(words) > 2:
            groups.setdefault(words[1], []).append(_selection(line, words[2:]))
        elif _is(words[0], "alts") and len(words) > 3 and words[1].lower()[:4] in ("comp", "inco"):
            kind = "complete" if words[1].lower().startswith("comp") else "incomplete"
            sets.append(UserSet(tuple(words[2:]), kind))
        else:
            raise _not_understood(line)
    return UserGroups({name: UserGroup(tuple(s)) for name, s in groups.items()}, tuple(sets), automatic=False)


def format_refmac(grouping: Grouping, atoms: pd.DataFrame) -> str:
    """Write groups as Refmac keywords.

    Args:
        grouping: the groups; fixed groups that stand alone are left out, as Refmac refines only what is listed.
        atoms: the atom table they were made from.

    Returns:
        The keywords, each group under a comment with its name.

    Raises:
        ValueError: the format cannot say it: sets under a parent, fixed members of a set, atoms that chain, number,
            atom name and letter do not tell apart. The message names the groups.

    Example:
        >>> from jax_occupancy.groups import automatic_groups
        >>> atom = {"name": "O", "resname": "HOH", "chainid": "A", "resseq": 7, "x": 0.0, "y": 0.0, "z": 0.0}
        >>> rows = [atom | {"altloc": "A", "occupancy": 0.6}, atom | {"altloc": "B", "occupancy": 0.4}]
        >>> atoms = pd.DataFrame(rows)
        >>> print(format_refmac(automatic_groups(atoms), atoms), end="")
        # A/7/HOH:A
        occupancy group id 1 chain A residue 7 alt A
        # A/7/HOH:B
        occupancy group id 2 chain A residue 7 alt B
        occupancy group alts complete 1 2
        occupancy refine
    """
    check_sayable(grouping, "Refmac's keywords", kinds=("complete", "incomplete", "free"))
    table = read_table(atoms)
    lines: list[str] = []
    number = 0
    for group_set in grouping:
        if not group_set.refinable:
            continue
        ids = []
        for group in group_set.groups:
            number += 1
            ids.append(str(number))
            lines += [f"# {group.name}", *_group_lines(table, group.name, group.atoms, number)]
        if group_set.kind != "free":
            lines.append(f"occupancy group alts {group_set.kind} {' '.join(ids)}")
    return "\n".join([*lines, "occupancy refine"]) + "\n"


def _occupancy_lines(text: str) -> Iterator[tuple[str, list[str]]]:
    """Lines that begin with ``occupancy group``, with the words after that."""
    joined = re.sub(r"[ \t][-&][ \t]*\n", " ", text)
    for raw in joined.splitlines():
        line = re.split("[#!]", raw)[0].strip()
        words = line.split()
        if not words or not _is(words[0], "occupancy"):
            continue
        if len(words) > 2 and _is(words[1], "group"):
            yield line, [words[2].lower() if words[2].lower() == "id" else words[2], *words[3:]]
        elif len(words) < 2 or not _is(words[1], "refine"):
            raise _not_understood(line)


def _is(word: str, keyword: str) -> bool:
    """Whether a word is a keyword, whole or cut to four letters or more."""
    return len(word) >= 4 and keyword.startswith(word.lower())


def _not_understood(line: str) -> ValueError:
    """The error for a line that is not understood."""
    return ValueError(
        f"the line {line!r} is not understood; wanted 'occupancy group id ID chain C residue N [atom NAME] [alt X]', "
        "'occupancy group alts complete ID ID', 'occupancy group alts incomplete ID ID' or 'occupancy refine'."
    )


def _selection(line: str, words: list[str]) -> str:
    """The selection that the words after the id make."""
    chain, residues, name, letter = "", "", "*", ""
    rest = list(words)
    while rest:
        key = rest.pop(0)
        if _is(key, "chain") and rest:
            chain = rest.pop(0)
        elif _is(key, "residue") and len(rest) > 3 and rest[0].lower() == "from" and rest[2].lower() == "to":
            residues = f"{_place(line, rest[1])}-{_place(line, rest[3])}"
            rest = rest[4:]
        elif _is(key, "residue") and rest:
            residues = _place(line, rest.pop(0))
        elif _is(key, "atom") and rest:
            name = rest.pop(0)
        elif key.lower() in ("alt", "altc") and rest:
            letter = f":{rest.pop(0)}"
        else:
            raise _not_understood(line)
    if not chain:
        raise _not_understood(line)
    return f"//{chain}/{residues}/{name}{letter}" if residues or name != "*" or letter else f"//{chain}"


def _place(line: str, word: str) -> str:
    """A residue number with its insertion code."""
    match = _NUMBER.fullmatch(word)
    if match is None:
        raise _not_understood(line)
    return f"{match[1]}.{match[2]}"


def _group_lines(table: AtomTable, name: str, atoms: np.ndarray, number: int) -> list[str]:
    """The lines of one group, checked against what they select."""
    lines = []
    for piece in pieces_of(table, name, atoms, by_resname=False, blank=False):
        place = f"chain {piece.chain} residue {piece.resseq}{piece.icode}"
        letter = f" alt {piece.altloc}" if piece.altloc else ""
        lines += [f"occupancy group id {number} {place}{atom}{letter}" for atom in _atom_words(piece.names)]
    return lines


def _atom_words(names: tuple[str, ...]) -> list[str]:
    """One clause per atom, or none for the whole conformer."""
    return [f" atom {name}" for name in names] or [""]
