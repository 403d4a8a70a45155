"""Refmac's (and servalcat's) keywords ``occupancy group``, and the atoms that they mean."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jax_occupancy.groups import _saying as saying
from jax_occupancy.groups._grouping import Grouping
from jax_occupancy.groups._table import AtomTable, empty_table, residues_between
from jax_occupancy.groups._user import UserGroup, UserGroups, UserSet

_UNREADABLE = re.compile(r"[\s#!]|^[-&]?$")  # blanks, comments, and signs that join lines
_NAMED = re.compile(r"occupancy group id (\S+)")
_PLACE = re.compile(r"(-?\d+)\.?([A-Za-z]?)")
_KEYS = {"chai": "chain", "segm": "chain", "resi": "residue", "atom": "atom", "alt": "alt", "insc": "code"}


def parse_refmac(text: str) -> UserGroups:
    """Read occupancy groups from Refmac keywords; other keywords of the file are left alone.

    Lines such as ``occupancy group id 1 chain A residue 45 alt B`` are read: chains, one or several (``segm`` is
    the same), residues (a number, or ``from 5 to 9``, with insertion codes ``10A`` or ``insc A``), atoms and a
    letter in any order; lines of one id are united. ``occupancy group alts complete 1 2`` and ``... alts incomplete
    1 2`` make sets; with a single id the group is free. Words count by their first four letters, ``#`` and ``!``
    begin comments, ``-`` or ``&`` at its end continues a line, and ``end`` ends the keywords. Groups are named by their
    ids, or as the comments of `format_refmac` say, whose files alone leave the other atoms without automatic groups.

    Raises:
        ValueError: an occupancy line is not understood; the message quotes it.

    Example:
        >>> user = parse_refmac('''
        ... occupancy group id 1 chain A residue 45 alt A
        ... occupancy group id 2 chain A residues from 45 to 46 atom CG alt B
        ... occupancy group alts complete 1 2
        ... ''')
        >>> user.groups["2"].selection, user.sets[0].groups
        (('refmac: chain A residues from 45 to 46 atom CG alt B',), ('1', '2'))
    """
    groups: dict[str, list[str]] = {}
    sets: list[UserSet] = []
    for line, words in _occupancy_lines(text):
        kind = {"comp": "complete", "inco": "incomplete"}.get(words[1].lower()[:4]) if len(words) > 2 else None
        if words[0].lower() == "id" and len(words) > 2:
            selection = " ".join(words[2:])
            try:
                refmac_atoms(empty_table(), selection)
            except ValueError as error:
                raise _not_understood(line) from error
            groups.setdefault(words[1], []).append(f"refmac: {selection}")
        elif words[0].lower() == "alts" and kind is not None and (len(words) > 3 or kind == "incomplete"):
            # one group that may be absent is free, whatever set it is in
            sets += [UserSet(tuple(words[2:]), kind)] if len(words) > 3 or words[2] not in groups else []
        else:
            raise _not_understood(line)
    user = UserGroups(
        {n: UserGroup(tuple(s)) for n, s in groups.items()}, tuple(sets), automatic=not saying.says_all(text)
    )
    return saying.rename(user, dict(saying.names_above(text, _NAMED)))


def format_refmac(grouping: Grouping, atoms: pd.DataFrame) -> str:
    """Write groups as Refmac keywords; ``atoms`` is the table that the groups were made from.

    Insertion codes are written after the number, ``residue 10A``, as ``parse_refmac`` and servalcat read them. Whether
    Refmac does was not tried: look at the groups it lists if the model has insertion codes. Of fixed groups at the
    occupancies the model has there is only a comment, as Refmac refines what is listed and nothing else.

    Raises:
        ValueError: the format cannot say it: sets under a parent, fixed members beside refined ones, groups fixed
            at an occupancy the model does not have, atoms that chain, number, atom name and letter do not tell
            apart or whose labels are no words (a blank chain). The message names the groups or atoms.
    """
    table = saying.sayable_table(grouping, atoms, "Refmac's keywords", kinds=("complete", "incomplete", "free"))
    lines = [f"{saying.NAMES_ABOVE}; {saying.NOTHING_ELSE}", *saying.fixed_lines(grouping)]
    number = 0
    for group_set in grouping:
        if not group_set.refinable:
            continue
        ids = []
        for group in group_set.groups:
            number += 1
            ids.append(str(number))
            lines += [saying.comment_line(group.name), *_group_lines(table, group.name, group.atoms, number)]
        if group_set.kind != "free":
            lines.append(f"occupancy group alts {group_set.kind} {' '.join(ids)}")
    return "\n".join([*lines, "occupancy refine"]) + "\n"


def _occupancy_lines(text: str) -> Iterator[tuple[str, list[str]]]:
    # Comments go first: a comment that ends in a hyphen does not join lines.
    joined = re.sub(r"[ \t][-&][ \t]*\n", " ", re.sub(r"[#!][^\n]*", "", text))
    for raw in joined.splitlines():
        line = raw.strip()
        words = line.split()
        if words and words[0].lower() == "end":
            return
        if not words or not _is(words[0], "occupancy"):
            continue
        if len(words) > 2 and _is(words[1], "group"):
            yield line, words[2:]
        elif len(words) < 2 or not _is(words[1], "refine"):
            raise _not_understood(line)


def _is(word: str, keyword: str) -> bool:
    """Whether a word is a keyword: Refmac looks at four letters."""
    return word.lower()[:4] == keyword[:4]


def _not_understood(line: str) -> ValueError:
    return ValueError(
        f"the line {line!r} is not understood; wanted 'occupancy group id ID chain C [C ...] residue N [insc I] [atom "
        "NAME] [alt X]' or with 'residue from N to N', 'occupancy group alts complete ID ID', 'occupancy group alts "
        "incomplete ID [ID ...]' or 'occupancy refine'. What these cannot say can be written as TOML."
    )


def _group_lines(table: AtomTable, name: str, atoms: np.ndarray, number: int) -> list[str]:
    lines = []
    for piece in saying.pieces(table, name, atoms, by_resname=False, blank=False):
        labels = {"chain": (piece.chain,), "letter": (piece.altloc or "A",), "atom name": piece.names}
        for what, value in ((what, value) for what, values in labels.items() for value in values):
            if _UNREADABLE.search(value):
                raise ValueError(
                    f"Refmac's keywords cannot say which atoms {name!r} has: those of {piece.chain}/{piece.resseq}"
                    f"{piece.icode}/{piece.resname} have the {what} {value!r}, which is no word. Rename it in the "
                    "model, or write TOML."
                )
        place = f"chain {piece.chain} residue {piece.resseq}{piece.icode}"
        letter = f" alt {piece.altloc}" if piece.altloc else ""
        named = [f" atom {name}" for name in piece.names] or [""]
        lines += [f"occupancy group id {number} {place}{atom}{letter}" for atom in named]
    return lines


def refmac_atoms(table: AtomTable, text: str) -> np.ndarray:
    """Positions of the atoms that the words after the id of a group mean, to Refmac and servalcat; maybe none."""
    said: dict[str, list[str]] = {}
    key = ""
    for word in text.split():
        name = _KEYS.get(word.lower()[:4]) or _KEYS.get(word.lower()[:3])
        if name and not (key and not said[key]):
            key = name
            if key in said:
                raise ValueError(f"{word} is there twice")
            said[key] = []
        elif not key:
            raise ValueError(f"{word} is no keyword")
        else:
            said[key].append(word)
    if not said or not all(said.values()) or len(said.get("alt", "A")) > 1:
        raise ValueError("a value is missing, or one too many")
    chosen = np.ones(table.n_atoms, bool)
    for key, labels in (("chain", table.chain), ("atom", table.name), ("alt", table.altloc)):
        if key in said:
            chosen &= np.isin(labels, said[key])
    if "residue" in said or "code" in said:
        chosen &= _of_residues(table, said.get("residue", []), said.get("code", []))
    return np.flatnonzero(chosen)


def _of_residues(table: AtomTable, words: list[str], codes: list[str]) -> np.ndarray:
    """Atoms of the residues; a range ends with its last residue, insertion code included."""
    span = len(words) == 4 and [word.lower() for word in words[::2]] == ["from", "to"]
    places = []
    for word in words[1::2] if span else words:
        if (match := _PLACE.fullmatch(word)) is None:
            raise ValueError(f"{word} is no residue")
        places.append((int(match[1]), match[2]))
    if codes:
        if len(codes) > 1 or len(places) != 1 or places[0][1]:
            raise ValueError("an insertion code needs one residue without")
        places = [(places[0][0], codes[0].removeprefix("."))]
    ends = [tuple(places)] if span else [(place, place) for place in places]
    return np.logical_or.reduce([residues_between(table.resseq, table.icode, low, high) for low, high in ends])
