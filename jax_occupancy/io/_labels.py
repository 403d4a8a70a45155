"""How atoms are named in messages."""

import numpy as np
import pandas as pd


def atom_label(atoms: pd.DataFrame, position: int) -> str:
    """One atom as chain/number/residue/name:altloc.

    Args:
        atoms: The atom table.
        position: 0-based row of the atom.

    Returns:
        A label such as `A/54/ARG/NZ:A`; without altloc the colon is left out, an insertion code follows the number.

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
    chosen = positions.tolist()
    shown = [atom_label(atoms, p) + (f" ({values} {atoms[values].iloc[p]})" if values else "") for p in chosen[:5]]
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    return ", ".join(shown) + more
