"""The atoms of groups residue by residue.

A group may run over several residues of a chain, or over chains. Its parts, one per residue, are what the links of the
group are judged by.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int


class Parts(NamedTuple):
    """Atoms of one group in one residue.

    Attributes:
        atoms: positions of the atoms of each part.
        group: the group each part belongs to, ascending.
        residue: the residue each part lies in, such as "A/54/ARG"; conformers of one residue share it.
    """

    atoms: tuple[Int[np.ndarray, " _"], ...]
    group: Int[np.ndarray, " parts"]
    residue: tuple[str, ...]


def parts_of(atoms: pd.DataFrame, groups: Sequence[Int[np.ndarray, " _"]]) -> Parts:
    """Cut groups into residues.

    Args:
        atoms: atom table with the columns chainid, resseq, icode and resname.
        groups: positions of the atoms of each group; a group without atoms has no parts.

    Returns:
        The parts, group by group. Microheterogeneity (several residue names in one place) is one residue.

    Example:
        >>> import numpy as np, pandas as pd
        >>> atoms = pd.DataFrame({"chainid": "A", "resseq": [1, 1, 2], "icode": "", "resname": ["SER", "SER", "GLY"]})
        >>> parts_of(atoms, [np.array([0, 2]), np.array([1])]).residue
        ('A/1/SER', 'A/2/GLY', 'A/1/SER')
    """
    place = atoms["chainid"].astype(str) + "/" + atoms["resseq"].astype(str) + atoms["icode"].astype(str)
    # The name that comes first in the file stands for the place.
    name = atoms["resname"].astype(str).groupby(place, sort=False).transform("first")
    labels = (place + "/" + name).to_numpy(str)
    found: list[np.ndarray] = []
    group: list[int] = []
    residue: list[str] = []
    for index, members in enumerate(groups):
        for label in dict.fromkeys(labels[members].tolist()):
            found.append(members[labels[members] == label])
            group.append(index)
            residue.append(label)
    return Parts(tuple(found), np.array(group, np.int64), tuple(residue))
