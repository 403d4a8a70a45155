"""The atom table as the arrays that grouping needs."""

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd

from jax_occupancy.groups._neighbours import connected, distances_to

REQUIRED = ("name", "altloc", "resname", "chainid", "resseq", "occupancy", "x", "y", "z")
Position = int | np.integer
Place = tuple[int, str]  # number and insertion code of a residue
HYDROGEN = ("H", "D")
WATER = frozenset({"HOH", "DOD", "WAT", "H2O", "OH2", "OD2"})
# The residues that programs link along a chain: cctbx's classes common_amino_acid and common_rna_dna.
# fmt: off
AMINO_ACIDS = frozenset([
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU",
    "LYS", "MET", "MSE", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
])
NUCLEOTIDES = frozenset([
    "+A", "+C", "+G", "+T", "+U", "A", "ADE", "C", "CYT", "DA", "DC", "DG", "DT", "G", "GUA", "T", "THY", "U", "URI",
])
# fmt: on
_KIND_OF = dict.fromkeys(WATER, "water") | dict.fromkeys(NUCLEOTIDES, "nucleic") | dict.fromkeys(AMINO_ACIDS, "protein")
SAME_PLACE = 1.0  # Å; two atoms this close are never both there, hydrogens aside
TOO_CLOSE = 2.5  # Å; shorter than any hydrogen bond
# Å; two hydrogen bonds: sites further apart have no neighbour in common, so nothing keeps both from being filled
TOUCHING = 6.0
_NO_LETTER = (".", "?", "nan", "None", "<NA>")  # mmCIF's blanks, and what turning None and NaN into text leaves


class AtomTable:
    """One array per property of the atoms, in file order; blanks are "" and occupancies are clamped to 0…1."""

    def __init__(self, atoms: pd.DataFrame):
        missing = [column for column in REQUIRED if column not in atoms.columns]
        if missing:
            raise ValueError(
                f"atoms lacks the columns {missing}; wanted {list(REQUIRED)}. Take the table from a model that was "
                "read from a file, or rename the columns."
            )
        self.raw_occupancy = atoms["occupancy"].to_numpy(np.float64, copy=True)
        bad = np.flatnonzero(~np.isfinite(self.raw_occupancy))
        if bad.size:
            raise ValueError(
                f"atoms['occupancy'] holds {bad.size} values that are not finite, first at rows {bad[:5].tolist()}; "
                "wanted numbers. Correct the file, or drop these rows."
            )
        given = set(atoms.columns)
        self.n_atoms = len(atoms)
        self.occupancy = np.clip(self.raw_occupancy, 0.0, 1.0)
        # on special positions not always that of the site
        self.in_file = atoms["in_file"].to_numpy(np.float64) if "in_file" in given else self.raw_occupancy
        # of molecules on symmetry elements the order of these
        self.across = atoms["across"].to_numpy(np.int64) if "across" in given else np.ones(len(atoms), np.int64)
        # the order of the site of each atom
        self.site = atoms["site"].to_numpy(np.int64) if "site" in given else self.across
        self.name, self.resname, self.chain = (_text(atoms, key) for key in ("name", "resname", "chainid"))
        self.altloc, self.icode, self.segid = (_text(atoms, key) for key in ("altloc", "icode", "segid"))
        self.resseq = atoms["resseq"].to_numpy(np.int64)
        self.xyz = atoms[["x", "y", "z"]].to_numpy(np.float64)
        self.b_factor = np.asarray(atoms.get("tempfactor", np.full(len(atoms), np.nan)), np.float64)
        self.segment = atoms["segment"].to_numpy() if "segment" in given else np.zeros(len(atoms), np.int64)
        self.kind = _text(atoms, "kind")
        if "kind" not in given:
            self.kind = np.array([_KIND_OF.get(name, "other") for name in self.resname], object)
        self.element = np.array([element.upper() for element in _text(atoms, "element")], object)
        if "element" not in given:
            first = [name.lstrip("0123456789")[:1] for name in self.name]
            self.element = np.array([letter if letter in HYDROGEN else "" for letter in first], object)
        # HETATM where there are no records
        self.hetero = np.isin(self.kind, ("other", "water"))
        if "record" in given:
            self.hetero = _text(atoms, "record") == "HETATM"
        self.partial = (self.in_file > 0) & (self.in_file < 1)  # 0.5 on a 2-fold axis may be a full site
        self.hydrogen = np.isin(self.element, HYDROGEN)
        self.lettered = self.altloc != ""
        self.place = group_numbers(self.chain, self.resseq, self.icode)
        # all alternates at one place of a chain, whatever their names
        self.residue = _number_residues(self)
        # an atom on a special position is full like the others of its molecule, whatever the file has there
        full = self.occupancy >= 1
        self.partial &= ~(full & np.isin(self.residue, self.residue[full & ~self.partial & ~self.hydrogen]))
        self.first_atom = np.unique(self.residue, return_index=True)[1]
        self.conformer = group_numbers(self.residue, self.altloc)
        self.conformer_size = np.bincount(self.conformer, minlength=1)[self.conformer]
        # where one letter of an atom's residue stands for several residue names
        names = np.unique(np.stack([self.conformer, group_numbers(self.conformer, self.resname)]), axis=1)[0]
        self.mixed = self.lettered & (np.bincount(names, minlength=1)[self.conformer] > 1)


def group_numbers(*keys: np.ndarray) -> np.ndarray:
    """One number per different combination of keys, by first appearance."""
    frame = pd.DataFrame(dict(enumerate(keys)))
    return frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy(np.int64, copy=True)


def by_number(number: np.ndarray, chosen: np.ndarray | None = None) -> list[np.ndarray]:
    """The positions of each number, of those that are chosen."""
    some = np.arange(len(number)) if chosen is None else np.flatnonzero(chosen)
    some = some[np.argsort(number[some], kind="stable")]
    return [piece for piece in np.split(some, np.flatnonzero(np.diff(number[some])) + 1) if piece.size]


def consecutive(number: np.ndarray, *then: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of positions that follow each other among those of one number, in the order of ``then`` and the file."""
    order = np.lexsort((*then[::-1], number))
    same = number[order[:-1]] == number[order[1:]]
    return order[:-1][same], order[1:][same]


def residues_between(number: np.ndarray, code: np.ndarray, low: Place | None, high: Place | None) -> np.ndarray:
    """Where residues of these numbers and insertion codes lie from one to another, both included; None has no end."""
    inside = np.ones(len(number), bool)
    if low is not None:
        inside &= (number > low[0]) | ((number == low[0]) & (code >= low[1]))
    if high is not None:
        inside &= (number < high[0]) | ((number == high[0]) & (code <= high[1]))
    return inside


@cache
def empty_table() -> AtomTable:
    """A table without atoms, on which selections can be tried before there is a model."""
    return AtomTable(pd.DataFrame(columns=pd.Index(REQUIRED)))


def _text(atoms: pd.DataFrame, column: str) -> np.ndarray:
    """A column of stripped strings, "" where the file has a blank."""
    if column not in atoms.columns:
        return np.full(len(atoms), "", object)
    codes, values = pd.factorize(atoms[column].astype(object), use_na_sentinel=True)
    blank = _NO_LETTER if column in ("altloc", "icode") else ()
    clean = ["" if str(value).strip() in blank else str(value).strip() for value in values]
    # The last entry serves code -1, which factorize gives to None and NaN.
    return np.array([*clean, ""], object)[codes]


def _number_residues(table: AtomTable) -> np.ndarray:
    """One number per residue, by first appearance: all of a chain, number and code that can be one molecule."""
    # Old files number the waters of a chain from 1 again, and repeat numbers. So a name that is there twice with the
    # same letter, far from the first, begins another residue. Different residue names are one residue where they
    # exclude each other: on top of each other, bonded, or in different letters that touch. TER records and the
    # label_asym_id of mmCIF say these things each in its own way, so nothing depends on them.
    place = table.place
    piece = group_numbers(group_numbers(place, table.resname), _copies(table, place))
    firsts = np.unique(piece, return_index=True)[1]
    shared = firsts[pd.Series(place[firsts]).duplicated(keep=False).to_numpy()]
    atoms_of = _members(piece, piece[shared])
    pairs = []
    for pieces in _members(place[shared], place[shared]).values():
        atoms = [atoms_of[int(piece[shared[one]])] for one in pieces]
        pairs += [(a[0], b[0]) for a, b in combinations(atoms, 2) if _exclude_each_other(table, a, b)]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    joined = connected(int(piece.max(initial=-1)) + 1, piece[first], piece[second])
    return pd.factorize(joined[piece])[0].astype(np.int64)


def _members(numbers: np.ndarray, wanted: np.ndarray) -> dict[int, np.ndarray]:
    return {int(numbers[atoms[0]]): atoms for atoms in by_number(numbers, np.isin(numbers, wanted))}


def _copies(table: AtomTable, place: np.ndarray) -> np.ndarray:
    """0 for the first molecule of a number and residue name, 1 for the second that repeats its atoms elsewhere."""
    copy = np.zeros(table.n_atoms, np.int64)
    piece = group_numbers(place, table.resname)
    again = pd.Series(group_numbers(piece, table.name, table.altloc)).duplicated().to_numpy()
    for atoms in _members(piece, piece[again]).values():
        seen: set[tuple[str, str]] = set()
        number = 0
        for atom in atoms.tolist():
            label = (str(table.name[atom]), str(table.altloc[atom]))
            number += label in seen
            seen = {label} if label in seen else seen | {label}
            copy[atom] = number
        for later in range(1, number + 1):
            own, others = atoms[copy[atoms] == later], atoms[copy[atoms] < later]
            near = distances_to(table.xyz[others], table.xyz[own], TOO_CLOSE)
            if np.isfinite(near).any():
                copy[own] = copy[others[np.argmin(near)]]
    return copy


def _exclude_each_other(table: AtomTable, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two residue names at one number are alternates or parts of one residue, and no two molecules."""
    gap = distances_to(table.xyz[first], table.xyz[second], TOUCHING).min()
    if gap <= SAME_PLACE or (gap <= TOO_CLOSE and "water" not in table.kind[[first[0], second[0]]]):
        return True
    letters = set(table.altloc[first]), set(table.altloc[second])
    return bool(gap <= TOUCHING) and "" not in letters[0] | letters[1] and not letters[0] & letters[1]
