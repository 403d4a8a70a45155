"""phenix' atom selections, as cctbx evaluates them (iotbx.pdb.atom_selection)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from jax_occupancy.groups._neighbours import distances_to
from jax_occupancy.groups._table import AMINO_ACIDS, AtomTable, Place, group_numbers, residues_between
from jax_occupancy.groups._user import Within

_TOKEN = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|([\w\\*?\[\]^+.:-][\w\\*?\[\]^+.:'"-]*|\S)""")
# priority, number of operands, and what is done with them
_OPERATORS: dict[str, tuple[int, int, Callable]] = {
    "not": (3, 1, np.logical_not),
    "and": (2, 2, np.logical_and),
    "or": (1, 2, np.logical_or),
}
_RESIDUE = re.compile(r"(-?\d+)([A-Za-z]?)")
_KEYS = {"altid": "altloc", "resi": "resid"} | {
    key: key for key in ("name", "altloc", "resname", "chain", "resseq", "resid", "icode", "segid", "element")
}
MOST_PARENTHESES = 1000
MOST_WITHIN = 50  # each is evaluated by itself, inside the others
_WITH_CASE = ("chain", "altloc")
_COMPARISONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {">": np.greater, "<": np.less, "=": np.equal}
_PEPTIDE = ("N", "CA", "C", "O")
_PHOSPHATE = ("P", "OP1", "OP2", "O1P", "O2P", "O3'", "O5'", "O3*", "O5*")
_RIBOSE = tuple(f"{name}{prime}" for name in ("O2", "O4", "C1", "C2", "C3", "C4", "C5") for prime in "'*")
_WANTED = (
    "chain, segid, resseq, resid, icode, resname, name, altloc, element, water, hetero, protein, nucleotide, backbone, "
    "sidechain, pepnames, single_atom_residue, bfactor, occupancy, within(distance, ...), residues_within(distance, "
    "...), all or none, joined by and, or, not and parentheses"
)


class Word(NamedTuple):
    """A word of a selection; quoted ones are compared with all the blanks of a PDB file."""

    text: str
    quoted: bool = False

    @property
    def lower(self) -> str:
        return "" if self.quoted else self.text.lower()


class _NotUnderstoodError(Exception):
    """Carries the word at which a selection is not understood."""


@dataclass(frozen=True, eq=False)
class PhenixSelections:
    """Evaluates selections on the atoms of a table; words that stand side by side are both meant."""

    table: AtomTable
    within: Within | None = None

    def select(self, text: str) -> np.ndarray:
        """Positions of the atoms that a selection matches, maybe none; a ValueError quotes what is not understood."""
        if text.count("(") > MOST_PARENTHESES or text.lower().count("within") > MOST_WITHIN:
            raise ValueError(f"the phenix selection {text[:60]!r}... is too complex; write the group as TOML instead.")
        words = [Word(quoted[1:-1], True) if quoted else Word(bare) for quoted, bare in _TOKEN.findall(text)]
        try:
            return np.flatnonzero(self._evaluate(words[::-1]))
        except _NotUnderstoodError as error:
            shown = text if len(text) <= 300 else f"{text[:300]}..."
            raise ValueError(
                f"the phenix selection {shown!r} is not understood at {str(error)!r}; wanted {_WANTED}. Write the "
                "group as TOML instead."
            ) from None

    def _evaluate(self, words: list[Word]) -> np.ndarray:
        """The operators by precedence, each operand where it stands (as cctbx' parser does it)."""
        if words and words[-1].lower == "optional":
            words.pop()
        waiting: list[str] = []
        found: list[np.ndarray] = []
        after_operand = False
        while words:
            word = words.pop()
            if word.lower == "(":
                waiting.append("(")
            elif word.lower == ")":
                while waiting and waiting[-1] != "(":
                    _apply(waiting.pop(), found)
                if not waiting:
                    raise _NotUnderstoodError(")")
                waiting.pop()
            elif word.lower in _OPERATORS:
                priority = _OPERATORS[word.lower][0]
                # the second of two nots has no operand yet
                while waiting and after_operand and waiting[-1] != "(" and _OPERATORS[waiting[-1]][0] >= priority:
                    _apply(waiting.pop(), found)
                waiting.append(word.lower)
            else:
                found.append(self._operand(word, words))
            after_operand = word.lower != "(" and word.lower not in _OPERATORS
        while waiting:
            if waiting[-1] == "(":
                raise _NotUnderstoodError("the end")
            _apply(waiting.pop(), found)
        if not found:
            raise _NotUnderstoodError("the end")
        return np.logical_and.reduce(found)

    def _operand(self, word: Word, words: list[Word]) -> np.ndarray:
        if word.lower in self._known:
            return self._known[word.lower]
        if word.lower in ("bfactor", "occupancy"):
            values = self.table.b_factor if word.lower == "bfactor" else self.table.raw_occupancy
            if (sign := _pop(words).text) not in _COMPARISONS:
                raise _NotUnderstoodError(sign)
            return _COMPARISONS[sign](values, _number(_pop(words).text))
        if word.lower in ("within", "residues_within"):
            return self._near(words, whole=word.lower == "residues_within")
        if word.lower not in _KEYS:
            raise _NotUnderstoodError(word.text)
        key = _KEYS[word.lower]
        value = _pop(words)
        return self._residues(key, value, words) if key in ("resseq", "resid") else self._matching(key, value)

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        """The words that need no value, such as the parts of polymers."""
        t = self.table
        protein, nucleic = t.kind == "protein", t.kind == "nucleic"
        phosphate, ribose = nucleic & np.isin(t.name, _PHOSPHATE), nucleic & np.isin(t.name, _RIBOSE)
        backbone = protein & np.isin(t.name, _PEPTIDE) | phosphate | ribose
        atoms_in_residue, blank = (np.bincount(t.residue, some)[t.residue] for some in (None, ~t.lettered))
        has = [np.isin(t.residue, t.residue[t.name == name]) for name in _PEPTIDE]
        deoxy = np.array([name[:1] == "D" for name in t.resname], bool)
        return {
            **{word: np.full(t.n_atoms, word == "all") for word in ("all", "none")},
            **dict.fromkeys(("hetero", "hetatm"), t.hetero),
            **dict.fromkeys(("protein", "peptide"), protein),
            **dict.fromkeys(("nucleotide", "nuc"), nucleic),
            "water": t.kind == "water",
            "backbone": backbone,
            "sidechain": (protein | nucleic) & ~t.hydrogen & ~backbone,
            "pepnames": np.isin(t.resname, tuple(AMINO_ACIDS)) | np.logical_and.reduce(has),
            "phosphate": phosphate,
            "ribose": ribose,
            "dna": nucleic & deoxy,
            "rna": nucleic & ~deoxy,
            "single_atom_residue": np.where(t.lettered, t.conformer_size + blank, atoms_in_residue) == 1,
        }

    def _near(self, words: list[Word], *, whole: bool) -> np.ndarray:
        """The atoms near those of a selection in parentheses, or their whole residues."""
        begin = [_pop(words).text for _ in range(3)]
        if begin[0] != "(" or begin[2] != ",":
            raise _NotUnderstoodError(" ".join(begin))
        inner, depth = [], 1
        while depth:
            word = _pop(words)
            depth += {"(": 1, ")": -1}.get(word.lower, 0)
            inner.append(word)
        distance, chosen = _number(begin[1]), np.flatnonzero(self._evaluate(inner[-2::-1]))
        if not 0 < distance < np.inf:
            raise _NotUnderstoodError(begin[1])
        if self.within is None:
            near = np.isfinite(distances_to(self.table.xyz, self.table.xyz[chosen], np.nextafter(distance, np.inf)))
        else:
            near = np.isin(np.arange(self.table.n_atoms), self.within(chosen, distance))
        return np.isin(self.table.residue, self.table.residue[near]) if whole else near

    def _residues(self, key: str, value: Word, words: list[Word]) -> np.ndarray:
        """Residues by number: a pattern, a range, or a stretch of the file."""
        text = value.text
        if ":" not in text and _peek(words).startswith(":"):
            text += _pop(words).text
        if text.endswith(":") and _peek(words)[:1].isdigit():
            text += _pop(words).text
        if ":" in text:
            first, last = text.split(":", 1)
            low, high = (_place(key, side, text) for side in (first, last))
            if low is not None and high is not None and low > high:
                raise _NotUnderstoodError(text)
            code = self._codes if key == "resid" else np.full(self.table.n_atoms, "", object)
            return residues_between(self.table.resseq, code, low, high)
        if key == "resid" and _peek(words).lower() == "through":
            words.pop()
            return self._stretch(_place(key, text, text), _place(key, _pop(words).text, text))
        return self._matching(key, value)

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.array([code.upper() for code in self.table.icode], object)

    def _stretch(self, first: Place | None, last: Place | None) -> np.ndarray:
        """From one residue to another in the order of the file, or to the end of a chain that has only the first."""
        chains = group_numbers(self.table.chain, self.table.segment)
        places = group_numbers(self.table.resseq, self._codes)
        begins = np.flatnonzero(np.diff(np.stack([chains, places]), prepend=-1).any(axis=0))
        chosen = np.zeros(self.table.n_atoms, bool)
        inside, chain = False, -1
        for begin, end in pairwise([*begins, self.table.n_atoms]):
            place = (self.table.resseq[begin], self._codes[begin])
            inside = (inside and chains[begin] == chain) or place == first
            chosen[begin:end] = inside
            inside, chain = inside and place != last, chains[begin]
        return chosen

    def _matching(self, key: str, value: Word) -> np.ndarray:
        labels, codes = self._labels[key]
        shown = labels if value.quoted else [label.strip() for label in labels]
        text = value.text if value.quoted else value.text.strip()
        matched = _matches(text, shown, any_case=key not in _WITH_CASE)
        if not (value.quoted or any(matched)) and "".join(shown).isupper():
            matched = _matches(text.upper(), shown)  # a chain in small letters, where there are capital ones only
        return np.array(matched, bool)[codes]

    @cached_property
    def _labels(self) -> dict[str, tuple[list[str], np.ndarray]]:
        """The different labels of each kind as they stand in the columns of a PDB file, and which each atom has."""
        t = self.table
        numbers = [f"{number:4d}" for number in t.resseq.tolist()]
        codes = [code or " " for code in t.icode]
        labels = {
            "name": [_padded(name, element) for name, element in zip(t.name, t.element, strict=True)],
            "altloc": [letter or " " for letter in t.altloc],
            "resname": [f"{name:>3}" for name in t.resname],
            "chain": [name or " " for name in t.chain],
            "resseq": numbers,
            "icode": codes,
            "segid": [f"{segid:<4}" for segid in t.segid],
            "resid": [number + code for number, code in zip(numbers, codes, strict=True)],
            "element": [f"{element:>2}" for element in t.element],
        }
        found = {key: pd.factorize(np.array(values, object)) for key, values in labels.items()}
        return {key: (list(values), numbers) for key, (numbers, values) in found.items()}


def _place(key: str, text: str, whole: str) -> Place | None:
    """Number and insertion code, without code for resseq; None where one end of a range is open."""
    match = _RESIDUE.fullmatch(text.strip())
    if text.strip() and (match is None or (key == "resseq" and match[2])):
        raise _NotUnderstoodError(whole)
    return (int(match[1]), match[2].upper()) if match else None


def _pop(words: list[Word]) -> Word:
    """The next word, which must be there; they are in reverse order."""
    if not words:
        raise _NotUnderstoodError("the end")
    return words.pop()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _NotUnderstoodError(text) from None


def _peek(words: list[Word]) -> str:
    return words[-1].text if words else ""


def _apply(operator: str, found: list[np.ndarray]) -> None:
    _, n, function = _OPERATORS[operator]
    if len(found) < n:
        raise _NotUnderstoodError(operator)
    operands = [found.pop() for _ in range(n)]
    found.append(function(*operands))


def _matches(pattern: str, labels: list[str], *, any_case: bool = False) -> list[bool]:
    parts = re.findall(r"\\.|\*|\?|\[[^\]]+\]|.", pattern)
    wild = {"*": ".*", "?": "."}
    # in cctbx "[^A]" matches the end of a label, too
    wild |= {part: f"(?:{part}|$)" if part[1] == "^" else part for part in parts if part[0] == "[" and part[1:]}
    text = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    try:
        compiled = re.compile(text, re.IGNORECASE if any_case else 0)
    except re.error:
        raise _NotUnderstoodError(pattern) from None
    return [compiled.fullmatch(label) is not None for label in labels]


def _padded(name: str, element: str) -> str:
    """An atom name in the four columns of a PDB file, where elements of one letter leave the first one blank."""
    return f"{name:<4}" if len(element) == 2 or len(name) > 3 else f" {name:<3}"
