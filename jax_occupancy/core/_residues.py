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
    """Number the conformers of residues in the order they first appear, and name them, such as "A/54/ARG:A"."""
    # Whoever has a table of atoms has pandas; nobody else needs it.
    import pandas as pd

    if len(table) != n_atoms:
        raise ValueError(f"pdb_dataframe has {len(table)} rows for {n_atoms} initial values; give one row per atom")
    parts = pd.DataFrame({part: _texts(table, part) for part in COLUMNS})
    labels = parts.groupby(list(COLUMNS), sort=False, observed=True).ngroup().to_numpy()
    firsts = parts.iloc[np.unique(labels, return_index=True)[1]].itertuples(index=False)
    names = [
        f"{chain}/{number}{icode}/{resname}" + (f":{altloc}" if altloc else "")
        for chain, number, icode, resname, altloc in firsts
    ]
    return labels, names


def _texts(table: Any, part: str) -> Any:
    """The text of each row, as categories; everything that means "missing" is empty."""
    import pandas as pd

    column = next((name for name in COLUMNS[part] if name in table.columns), None)
    if column is None:
        if part in OPTIONAL:
            return ""
        raise ValueError(
            f"pdb_dataframe has no column for {part}: one of {', '.join(COLUMNS[part])} is needed, "
            f"it has {', '.join(map(str, table.columns))}"
        )
    if table[column].ndim != 1:
        raise ValueError(f"pdb_dataframe has the column {column} more than once")
    # factorize hashes (fast on objects) and codes NaN, None and NA as -1: the last of the texts.
    codes, values = table[column].factorize()
    merged, texts = pd.factorize(np.array([*map(_text, values), ""], object))
    return pd.Categorical.from_codes(merged[codes], texts)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return "" if text in MISSING else text
