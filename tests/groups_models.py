"""Small atom tables for the tests of grouping."""

from collections.abc import Iterable, Mapping

import pandas as pd

BACKBONE = {"N": (0.0, 0.0), "CA": (1.45, 0.0), "C": (2.47, 0.0), "O": (2.7, 1.2), "CB": (1.45, -1.5)}
NUCLEOTIDE = {"P": (0.0, 0.0), "O5'": (1.6, 0.0), "C3'": (3.0, 0.8), "O3'": (4.0, 0.0)}
STEP = {"protein": 3.80, "nucleic": 5.60}  # Å from N to N (C-N is then 1.33 Å), from P to P (O3'-P 1.60 Å)
WATERS = ("HOH", "DOD")
BASES = ("DA", "DC", "DG", "DT", "A", "C", "G", "U")
COLUMNS = [
    *("record", "name", "altloc", "resname", "chainid", "resseq", "icode", "x", "y", "z", "occupancy", "tempfactor"),
    *("element", "charge", "kind", "segment"),
]


def atom(name: str, resname: str, place: tuple[str, int], q: float, **more) -> dict:
    """One row; ``more`` overrides any column."""
    kind = "water" if resname in WATERS else "nucleic" if resname in BASES else "other"
    kind = "protein" if len(resname) == 3 and resname in "ALA ARG ASN GLY LEU LYS MSE PRO SER THR VAL" else kind
    row = {"record": "ATOM", "name": name, "altloc": "", "resname": resname, "chainid": place[0], "resseq": place[1]}
    row |= {"icode": "", "x": 0.0, "y": 0.0, "z": 0.0, "occupancy": q, "tempfactor": 20.0, "element": name[0]}
    return row | {"charge": 0, "kind": kind, "segment": 0} | more


def residue(
    place: tuple[str, int],
    resname: str = "ALA",
    letters: Mapping[str, float] | float = 1.0,
    *,
    at: float | None = None,
    names: Iterable[str] | None = None,
    **more,
) -> list[dict]:
    """A residue of a straight chain along x, its number giving its place; each letter 0.3 Å beside the last.

    Args:
        place: chain and number.
        resname: residue name; a base makes a nucleotide.
        letters: occupancy by letter, or one occupancy for a residue without letters.
        at: x of the first atom in Å instead of the place its number gives.
        names: the atoms, all of them by default.
        more: other columns.
    """
    sites = NUCLEOTIDE if resname in BASES else BACKBONE
    step = STEP["nucleic" if resname in BASES else "protein"]
    x0 = step * place[1] if at is None else at
    z0 = 50.0 * (ord((place[0] or "@")[0]) - ord("A"))
    by_letter = letters if isinstance(letters, Mapping) else {"": letters}
    return [
        atom(name, resname, place, q, altloc=letter, x=x0 + sites[name][0], y=sites[name][1] + 0.3 * i, z=z0, **more)
        for i, (letter, q) in enumerate(by_letter.items())
        for name in (sites if names is None else names)
    ]


def molecule(place: tuple[str, int], resname: str, letters: Mapping[str, float] | float, *, n: int = 3) -> list[dict]:
    """A ligand of ``n`` carbons (or a water of one oxygen) far from everything else."""
    names = ["O"] if resname in WATERS else [f"C{i + 1}" for i in range(n)]
    by_letter = letters if isinstance(letters, Mapping) else {"": letters}
    far = {"y": 30.0 + 5 * place[1], "z": 50.0 * (ord((place[0] or "@")[0]) - ord("A"))}
    return [
        atom(name, resname, place, q, altloc=letter, record="HETATM", x=1.5 * i + 0.9 * j, **far)
        for j, (letter, q) in enumerate(by_letter.items())
        for i, name in enumerate(names)
    ]


def table(*pieces: list[dict] | dict) -> pd.DataFrame:
    """The rows of all pieces, in order."""
    rows = [row for piece in pieces for row in (piece if isinstance(piece, list) else [piece])]
    return pd.DataFrame(rows, columns=COLUMNS)


def described(grouping) -> list[tuple[str, list[str]]]:
    """Kind and names of every set."""
    return [(s.kind, [group.name for group in s.groups]) for s in grouping]
