"""Sharing groups from a table of atoms: one per conformer of a residue."""

from typing import Any

import numpy as np
from jaxtyping import Int

# What each part of a residue's name is called: by PDB tools, by biopandas, by mmCIF (author's names first).
COLUMNS = {
    "chainid": ("chainid", "chain_id", "auth_asym_id", "label_asym_id"),
    "resseq": ("resseq", "residue_number", "auth_seq_id", "label_seq_id"),
    "icode": ("icode", "insertion", "pdbx_PDB_ins_code"),
    "resname": ("resname", "residue_name", "auth_comp_id", "label_comp_id"),
    "altloc": ("altloc", "alt_loc", "label_alt_id"),
}
OPTIONAL = {"icode"}
MISSING = ("", ".", "?")


def residue_labels(table: Any, *, n_atoms: int) -> tuple[Int[np.ndarray, " atoms"], list[str]]:
    """Number the conformers of residues in the order they first appear, and name them.

    Args:
        table: a DataFrame with one row per atom, in atom order.
        n_atoms: how many rows there must be.

    Returns:
        Label of each atom, and the name of each label, such as "A/54/ARG:A".

    Raises:
        ValueError: a column is missing or the number of rows is wrong.
    """
    if len(table) != n_atoms:
        raise ValueError(f"pdb_dataframe has {len(table)} rows for {n_atoms} initial values; give one row per atom")
    parts = {part: _codes(table, part) for part in COLUMNS}
    key = np.zeros(n_atoms, np.int64)
    for codes, texts in parts.values():
        # Renumbering after each column keeps the key far below 2**63, however many columns and values there are.
        key = np.unique(key * len(texts) + codes, return_inverse=True)[1]
    _, first, label = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    chain, number, icode, resname, altloc = (texts[codes[first[order]]] for codes, texts in parts.values())
    names = [
        f"{c}/{n}{i}/{r}" + (f":{a}" if a else "")
        for c, n, i, r, a in zip(chain, number, icode, resname, altloc, strict=True)
    ]
    return rank[label], names


def _codes(table: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Integer code of each row and the text of each code; everything that means "missing" has one code."""
    column = next((name for name in COLUMNS[part] if name in table.columns), None)
    if column is None:
        if part in OPTIONAL:
            return np.zeros(len(table), np.int64), np.array([""], object)
        raise ValueError(
            f"pdb_dataframe has no column for {part}: one of {', '.join(COLUMNS[part])} is needed, "
            f"it has {', '.join(map(str, table.columns))}"
        )
    if table[column].ndim != 1:
        raise ValueError(f"pdb_dataframe has the column {column} more than once")
    # factorize hashes (fast on objects) and codes NaN, None and NA as -1 instead of dropping the rows.
    codes, values = table[column].factorize()
    texts = ["", *(_text(value) for value in values)]
    unique: dict[str, int] = {}
    merged = np.array([unique.setdefault(text, len(unique)) for text in texts])
    return merged[codes + 1], np.array(list(unique), object)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return "" if text in MISSING else text
