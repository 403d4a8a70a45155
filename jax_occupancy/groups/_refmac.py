"""Refmac's (and servalcat's) keywords ``occupancy group``."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jax_occupancy.groups._foreign import Piece, check_sayable, comment_line, fixed_lines, pieces_of
from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._table import AtomTable, read_table
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

_NUMBER = re.compile(r"(-?\d+)\.?([A-Za-z]?)")
_UNREADABLE = re.compile(r"[\s#!]|^[-&]?$")  # blanks, comments, and signs that join lines


def parse_refmac(text: str) -> UserGroups:
    """Read occupancy groups from Refmac keywords; other keywords of the file are left alone.

    Refmac refines what is listed and nothing else, so nothing is left to the automatic choice.

    Args:
        text: lines such as ``occupancy group id 1 chain A residue 45 alt B`` (also ``residue from 5 to 9`` and
            ``atom CG``; with an insertion code ``residue 10A`` or ``residue 10 insc A``; lines of one id are united),
            ``occupancy group alts complete 1 2``, ``... alts incomplete 1 2`` and ``occupancy refine``. Words may be
            cut to four letters; ``#`` and ``!`` begin comments.

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

    Insertion codes are written after the number, ``residue 10A``, as ``parse_refmac`` and servalcat read them. Whether
    Refmac does was not tried: look at the groups it lists if the model has insertion codes.

    Args:
        grouping: the groups; of fixed groups at the occupancies the model has there is only a comment, as Refmac
            refines what is listed and nothing else.
        atoms: the atom table they were made from.

    Returns:
        The keywords, each group under a comment with its name.

    Raises:
        ValueError: the format cannot say it: sets under a parent, fixed members beside refined ones, groups fixed
            at an occupancy the model does not have, atoms that chain, number, atom name and letter do not tell
            apart or whose labels are no words (a blank chain). The message names the groups or atoms.

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
    table = read_table(atoms)
    check_sayable(grouping, table, "Refmac's keywords", kinds=("complete", "incomplete", "free"))
    lines = fixed_lines(grouping)
    number = 0
    for group_set in grouping:
        if not group_set.refinable:
            continue
        ids = []
        for group in group_set.groups:
            number += 1
            ids.append(str(number))
            lines += [comment_line(group.name), *_group_lines(table, group.name, group.atoms, number)]
        if group_set.kind != "free":
            lines.append(f"occupancy group alts {group_set.kind} {' '.join(ids)}")
    return "\n".join([*lines, "occupancy refine"]) + "\n"


def _occupancy_lines(text: str) -> Iterator[tuple[str, list[str]]]:
    """Lines that begin with ``occupancy group``, with the words after that."""
    # Comments go first: a comment that ends in a hyphen does not join lines.
    joined = re.sub(r"[ \t][-&][ \t]*\n", " ", re.sub(r"[#!][^\n]*", "", text))
    for raw in joined.splitlines():
        line = raw.strip()
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
        f"the line {line!r} is not understood; wanted 'occupancy group id ID chain C residue N [insc I] [atom NAME] "
        "[alt X]', "
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
        elif _is(key, "insc") and rest and residues.endswith(".") and "-" not in residues[1:]:
            residues = _place(line, residues[:-1] + rest.pop(0).removeprefix("."))
        elif _is(key, "atom") and rest:
            name = rest.pop(0)
        elif key.lower().startswith("alt") and rest:
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
        _check_words(name, piece)
        place = f"chain {piece.chain} residue {piece.resseq}{piece.icode}"
        letter = f" alt {piece.altloc}" if piece.altloc else ""
        lines += [f"occupancy group id {number} {place}{atom}{letter}" for atom in _atom_words(piece.names)]
    return lines


def _check_words(name: str, piece: Piece) -> None:
    """Refuse labels that a line of words cannot hold."""
    labels = {"chain": (piece.chain,), "letter": (piece.altloc or "A",), "atom name": piece.names}
    for what, values in labels.items():
        bad = [value for value in values if _UNREADABLE.search(value)]
        if bad:
            place = f"{piece.chain}/{piece.resseq}{piece.icode}/{piece.resname}"
            raise ValueError(
                f"Refmac's keywords cannot say which atoms {name!r} has: those of {place} have the {what} {bad[0]!r}, "
                "which is no word. Rename it in the model, or write TOML."
            )


def _atom_words(names: tuple[str, ...]) -> list[str]:
    """One clause per atom, or none for the whole conformer."""
    return [f" atom {name}" for name in names] or [""]
