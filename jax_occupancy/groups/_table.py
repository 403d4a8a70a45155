"""The atom table as the arrays that grouping needs."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

REQUIRED = ("name", "altloc", "resname", "chainid", "resseq", "occupancy", "x", "y", "z")
Position = int | np.integer
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
_NO_LETTER = (".", "?", "nan", "None", "<NA>")  # mmCIF's blanks, and what turning None and NaN into text leaves


@dataclass(frozen=True, eq=False)
class AtomTable:
    """One array per property of the atoms, in file order; occupancies are clamped to 0…1.

    ``residue`` numbers the residues by first appearance: one number for all atoms that share a place in the
    chain, whatever their residue names (microheterogeneity) and wherever in the file they stand. ``partial`` is where
    an occupancy lies strictly between 0 and 1, or what the table says of it.
    """

    name: np.ndarray
    altloc: np.ndarray
    resname: np.ndarray
    chain: np.ndarray
    resseq: np.ndarray
    icode: np.ndarray
    xyz: np.ndarray
    raw_occupancy: np.ndarray
    occupancy: np.ndarray
    element: np.ndarray
    kind: np.ndarray
    segment: np.ndarray
    residue: np.ndarray
    partial: np.ndarray

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.name)

    @cached_property
    def hydrogen(self) -> np.ndarray:
        """Where an atom is hydrogen or deuterium."""
        return np.isin(self.element, HYDROGEN)

    @cached_property
    def lettered(self) -> np.ndarray:
        """Where an atom has an alternate location letter."""
        return self.altloc != ""

    @cached_property
    def first_atom(self) -> np.ndarray:
        """Position of the first atom of each residue."""
        return np.unique(self.residue, return_index=True)[1]

    @cached_property
    def conformer(self) -> np.ndarray:
        """One number for all atoms of one residue and one letter."""
        return group_numbers(self.residue, self.altloc)

    @cached_property
    def mixed(self) -> np.ndarray:
        """Where one letter of an atom's residue stands for several residue names."""
        kinds = np.unique(np.stack([self.conformer, group_numbers(self.conformer, self.resname)]), axis=1)[0]
        return self.lettered & (np.bincount(kinds, minlength=1)[self.conformer] > 1)

    @cached_property
    def conformer_size(self) -> np.ndarray:
        """For each atom the number of atoms of its residue that have its letter."""
        return np.bincount(self.conformer, minlength=1)[self.conformer]


def group_numbers(*keys: np.ndarray) -> np.ndarray:
    """One number per different combination of keys, by first appearance."""
    frame = pd.DataFrame(dict(enumerate(keys)))
    return frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy(np.int64, copy=True)


def read_table(atoms: pd.DataFrame) -> AtomTable:
    """Turn a DataFrame of atoms into arrays: blanks made "", optional columns filled, residues numbered."""
    missing = [column for column in REQUIRED if column not in atoms.columns]
    if missing:
        raise ValueError(
            f"atoms lacks the columns {missing}; wanted {list(REQUIRED)}. Take the table from a model that was read "
            "from a file, or rename the columns."
        )
    raw = _finite_occupancies(atoms)
    columns = {key: _text(atoms, key) for key in ("name", "altloc", "resname", "chainid", "icode")}
    resname = columns["resname"]
    kind = _text(atoms, "kind") if "kind" in atoms.columns else _kinds(resname)
    segment = _integers(atoms, "segment")
    resseq = _integers(atoms, "resseq")
    where = (columns["chainid"], resseq, columns["icode"])
    occupancy = np.clip(raw, 0.0, 1.0)
    inside = (occupancy > 0) & (occupancy < 1)
    return AtomTable(
        name=columns["name"],
        altloc=columns["altloc"],
        resname=resname,
        chain=columns["chainid"],
        resseq=resseq,
        icode=columns["icode"],
        xyz=atoms[["x", "y", "z"]].to_numpy(np.float64),
        raw_occupancy=raw,
        occupancy=occupancy,
        element=_elements(atoms, columns["name"]),
        kind=kind,
        segment=segment,
        residue=_number_residues(where, segment, kind, columns["altloc"]),
        # 0.5 on a 2-fold axis is partial in the file and a full site
        partial=atoms["partial"].to_numpy(bool) if "partial" in atoms.columns else inside,
    )


def _finite_occupancies(atoms: pd.DataFrame) -> np.ndarray:
    """Occupancies in double precision, refused when one is no number."""
    raw = atoms["occupancy"].to_numpy(np.float64, copy=True)
    bad = np.flatnonzero(~np.isfinite(raw))
    if bad.size:
        raise ValueError(
            f"atoms['occupancy'] holds {bad.size} values that are not finite, first at rows {bad[:5].tolist()}; "
            "wanted numbers. Correct the file, or drop these rows."
        )
    return raw


def _text(atoms: pd.DataFrame, column: str) -> np.ndarray:
    """A column of stripped strings, "" where the file has a blank."""
    if column not in atoms.columns:
        return np.full(len(atoms), "", object)
    codes, values = pd.factorize(atoms[column].astype(object), use_na_sentinel=True)
    blank = _NO_LETTER if column in ("altloc", "icode") else ()
    clean = ["" if str(value).strip() in blank else str(value).strip() for value in values]
    # The last entry serves code -1, which factorize gives to None and NaN.
    return np.array([*clean, ""], object)[codes]


def _integers(atoms: pd.DataFrame, column: str) -> np.ndarray:
    """A column of integers, zeros where the table has no such column."""
    if column not in atoms.columns:
        return np.zeros(len(atoms), np.int64)
    return atoms[column].to_numpy(np.int64)


def _elements(atoms: pd.DataFrame, names: np.ndarray) -> np.ndarray:
    """Element symbols in upper case; without them, H and D are told by the atom's name."""
    if "element" in atoms.columns:
        return np.array([value.upper() for value in _text(atoms, "element")], object)
    first = [name.lstrip("0123456789")[:1] for name in names]
    return np.array([letter if letter in HYDROGEN else "" for letter in first], object)


def _kinds(resname: np.ndarray) -> np.ndarray:
    """Polymer class by residue name, for tables that do not bring it."""
    codes, names = pd.factorize(resname)
    classes = [(AMINO_ACIDS, "protein"), (NUCLEOTIDES, "nucleic"), (WATER, "water")]
    kinds = [next((kind for members, kind in classes if name in members), "other") for name in names]
    return np.array([*kinds, "other"], object)[codes]


def _number_residues(
    where: tuple[np.ndarray, ...], segment: np.ndarray, kind: np.ndarray, altloc: np.ndarray
) -> np.ndarray:
    """One number per residue, by first appearance.

    Old files number the waters of a chain from 1 again, so waters and whatever follows a TER record are residues
    of their own, unless all their atoms carry letters and none occurs in both: then they are alternates of each
    other (in mmCIF two ligands at one place are two segments).
    """
    pieces = group_numbers(*where, segment, kind == "water")
    places = group_numbers(*where)
    pairs = pd.DataFrame({"place": places, "piece": pieces}).drop_duplicates()
    for _, shared in pairs[pairs["place"].duplicated(keep=False)].groupby("place", sort=False):
        first, *others = (np.flatnonzero(pieces == piece) for piece in shared["piece"])
        for other in others:
            if _are_alternates(first, other, altloc, kind, segment):
                pieces[other] = pieces[first[0]]
                first = np.concatenate([first, other])
    return pd.factorize(pieces)[0].astype(np.int64)


def _are_alternates(
    first: np.ndarray, second: np.ndarray, altloc: np.ndarray, kind: np.ndarray, segment: np.ndarray
) -> bool:
    """Whether two pieces at one place have letters only, and different ones."""
    letters, more = set(altloc[first]), set(altloc[second])
    comparable = segment[first[0]] == segment[second[0]] or set(kind[first]) == set(kind[second]) == {"other"}
    return bool(comparable) and "" not in letters | more and not letters & more
