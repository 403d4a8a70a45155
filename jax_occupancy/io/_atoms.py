"""The atom table: what the file says about every atom, in the order of the file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import gemmi
import numpy as np
import pandas as pd

from jax_occupancy.groups import listing

B_PER_U = 8 * math.pi**2
ANISOTROPIC = ["u11", "u22", "u33", "u12", "u13", "u23"]
COLUMNS = [
    *("record", "name", "altloc", "resname", "chainid", "resseq", "icode"),
    *("x", "y", "z", "occupancy", "tempfactor", "element", "charge"),
    *ANISOTROPIC,
    *("kind", "segment", "segid"),
]


def atom_label(atoms: pd.DataFrame, position: int) -> str:
    """One atom of a table, by its row, as chain/number/residue/name:altloc; an insertion code follows the number.

    Example:
        >>> import pandas as pd
        >>> row = dict(chainid="A", resseq=54, icode="B", resname="ARG", name="NZ", altloc="A")
        >>> atom_label(pd.DataFrame([row]), 0)
        'A/54B/ARG/NZ:A'
    """
    atom = atoms.iloc[position]
    altloc = f":{atom['altloc']}" if atom["altloc"] else ""
    return f"{atom['chainid']}/{atom['resseq']}{atom['icode']}/{atom['resname']}/{atom['name']}{altloc}"


def first_labels(atoms: pd.DataFrame, positions: np.ndarray, *, values: str | None = None) -> str:
    """The labels of the first five atoms and how many more there are; `values` names a column to show."""
    told = {p: f" ({values} {atoms[values].iloc[p]})" if values else "" for p in positions.tolist()}
    return listing((atom_label(atoms, p) + value for p, value in told.items()), at_most=5)


def walk(structure: gemmi.Structure) -> Iterator[tuple[gemmi.Chain, gemmi.Residue, gemmi.Atom]]:
    """Every atom of the first model in gemmi's order, which may differ from the order of the file."""
    for chain in structure[0]:
        for residue in chain:
            for atom in residue:
                yield chain, residue, atom


def keep_model(structure: gemmi.Structure, *, n_written: int, model_number: int | None, path: Any) -> np.ndarray:
    """Leave one model in `structure` and number its atoms from 1; returns their 0-based places in the whole file."""
    # They come in numbered by their place in the file, which is how their order survives gemmi's regrouping.
    n_read = sum(len(residue) for model in structure for chain in model for residue in chain)
    if n_read != n_written:
        raise ValueError(f"{path} has {n_written} atoms, of which gemmi read {n_read}; is the file damaged?")
    numbers = [model.num for model in structure]
    listed = listing(map(str, numbers), at_most=5)
    if model_number is None and len(numbers) > 1:
        raise ValueError(
            f"{path} holds {len(numbers)} models (numbers {listed}); occupancies are refined in one model: "
            f"choose it with model_number, for example model_number={numbers[0]}"
        )
    if model_number is not None and model_number not in numbers:
        raise ValueError(f"{path} has no model {model_number}; it has {listed}")
    for index in reversed(range(len(numbers))):
        if model_number is not None and numbers[index] != model_number:
            del structure[index]
    places = np.sort(np.array([atom.serial - 1 for _, _, atom in walk(structure)], np.int64))
    serial_of = {place + 1: position + 1 for position, place in enumerate(places.tolist())}
    for _, _, atom in walk(structure):
        atom.serial = serial_of[atom.serial]
    # bonds by serial number mean other atoms now
    structure.clear_conect()
    return places


def atom_table(structure: gemmi.Structure, *, text: Mapping[str, Sequence[Any]], path: Any) -> pd.DataFrame:
    """The table of one model, whose serial numbers are 1 + position, with columns of `text` as the file spells them."""
    # gemmi keeps occupancy and B in single precision, HETATM per residue and one character of the altloc. None stands
    # for a blank field, where gemmi's reading is taken.
    rows: list[Any] = [None] * len(text["x"])
    for chain, residue, atom in walk(structure):
        # gemmi has no flag for "isotropic": a tensor of zeros is one that was not given
        tensor = atom.aniso.elements_pdb() if atom.aniso.nonzero() else [np.nan] * 6
        rows[atom.serial - 1] = {
            "name": atom.name,
            "altloc": "" if atom.altloc == "\0" else atom.altloc,
            "resname": residue.name,
            "chainid": chain.name,
            "resseq": residue.seqid.num,
            "icode": residue.seqid.icode.strip(),
            "occupancy": atom.occ,
            "tempfactor": atom.b_iso,
            "element": atom.element.name.upper(),
            "charge": atom.charge,
            "kind": kind_of_residue(residue.name),
            "segid": residue.segment,
            **dict(zip(ANISOTROPIC, tensor, strict=True)),
        }
    table = pd.DataFrame(rows)
    for column, values in text.items():
        read = table[column].tolist() if column in table else [None] * len(rows)
        table[column] = [r if v is None else v for v, r in zip(values, read, strict=True)]
    numeric = ["x", "y", "z", "occupancy", "tempfactor", *ANISOTROPIC]
    table = table.astype({**dict.fromkeys(numeric, np.float64), "charge": np.int64, "segment": np.int64})
    table = table.reindex(columns=COLUMNS)
    _check_table(table, path)
    table = table.astype({"resseq": np.int64})
    occupancies = table["occupancy"].tolist()
    for _, _, atom in walk(structure):
        atom.occ = occupancies[atom.serial - 1]
    return table


@cache
def kind_of_residue(name: str) -> str:
    """Protein, nucleic, water or other, from gemmi's table of residues."""
    residue = gemmi.find_tabulated_residue(name)
    if residue.is_water():
        return "water"
    if residue.is_amino_acid():
        return "protein"
    return "nucleic" if residue.is_nucleic_acid() else "other"


def _check_table(table: pd.DataFrame, path: Any) -> None:
    """What no later step can do without."""
    unnumbered = np.flatnonzero(table["resseq"].isna().to_numpy())
    if len(unnumbered):
        raise ValueError(f"{path} has atoms without a residue number: {first_labels(table, unnumbered)}")
    for column in ("x", "y", "z", "occupancy", "tempfactor"):
        wrong = np.flatnonzero(~np.isfinite(table[column].to_numpy()))
        if len(wrong):
            raise ValueError(f"{path} has atoms whose {column} is missing or not finite: {first_labels(table, wrong)}")
    tensors = table[ANISOTROPIC].to_numpy()
    # six NaN stand for an isotropic atom
    wrong = np.flatnonzero(~np.isfinite(tensors).all(axis=1) & ~np.isnan(tensors).all(axis=1))
    if len(wrong):
        raise ValueError(f"{path} has atoms whose anisotropic U is not finite: {first_labels(table, wrong)}")
