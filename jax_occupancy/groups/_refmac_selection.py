"""Which atoms a group of Refmac's keywords means."""

import re
from dataclasses import dataclass

import numpy as np

from jax_occupancy.groups._table import AtomTable

_PLACE = re.compile(r"(-?\d+)\.?([A-Za-z]?)")
_KEYS = {"chai": "chain", "segm": "chain", "resi": "residue", "atom": "atom", "alt": "alt", "insc": "code"}
Place = tuple[int, str]


@dataclass(frozen=True, eq=False)
class RefmacSelections:
    """Evaluates the words after the id of a group on the atoms of a table, as Refmac and servalcat read them."""

    table: AtomTable

    def select(self, text: str) -> np.ndarray:
        """Positions of the atoms, maybe none; a ValueError says that the words are not understood."""
        said: dict[str, list[str]] = {}
        words = text.split()
        key = ""
        while words:
            word = words.pop(0)
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
        chosen = np.ones(self.table.n_atoms, bool)
        for key, labels in (("chain", self.table.chain), ("atom", self.table.name), ("alt", self.table.altloc)):
            if key in said:
                chosen &= np.isin(labels, said[key])
        if "residue" in said or "code" in said:
            chosen &= self._residues(said.get("residue", []), said.get("code", []))
        return np.flatnonzero(chosen)

    def _residues(self, words: list[str], codes: list[str]) -> np.ndarray:
        """Atoms of the residues; a range ends with its last residue, insertion code included."""
        span = len(words) == 4 and [word.lower() for word in words[::2]] == ["from", "to"]
        places = [_place(word) for word in (words[1::2] if span else words)]
        if codes:
            if len(codes) > 1 or len(places) != 1 or places[0][1]:
                raise ValueError("an insertion code needs one residue without")
            places = [(places[0][0], codes[0].removeprefix("."))]
        number, code = self.table.resseq, self.table.icode
        if not span:
            return np.logical_or.reduce([(number == n) & (code == c) for n, c in places])
        (low, first), (high, last) = places
        inside = (number > low) | ((number == low) & (code >= first))
        return inside & ((number < high) | ((number == high) & (code <= last)))


def _place(word: str) -> Place:
    """A residue number with its insertion code."""
    match = _PLACE.fullmatch(word)
    if match is None:
        raise ValueError(f"{word} is no residue")
    return int(match[1]), match[2]
