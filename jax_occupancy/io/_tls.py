"""Adding what TLS groups say to B factors that leave it out.

U = T + A L Aᵀ + A S + Sᵀ Aᵀ, with A the antisymmetric matrix of the vector from the group's origin (Schomaker &
Trueblood, Acta Cryst. B24, 63-76, 1968), by gemmi.
"""

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Float

from jax_occupancy.io._atoms import ANISOTROPIC, B_PER_U, walk
from jax_occupancy.io._header import Header

_WAY_OUT = (
    "occupancies would take that part up: give full B factors, made by TLSANL or phenix.tls, or the model of PDB-REDO"
)


def add_tls(
    structure: gemmi.Structure, atoms: pd.DataFrame, header: Header
) -> tuple[Float[np.ndarray, " atoms"] | None, tuple[str, ...]]:
    """Make residual B factors full ones, if the header's TLS groups allow it; returns what was added, Å², and notes."""
    if not header.residual:
        return None, ()
    said = "the header says that B factors are residual, without the part of TLS groups"
    added = _tensors(structure, header.tls_groups)
    if added is None:
        return None, (f"{said}, which it does not state in full; {_WAY_OUT}",)
    inside = np.asarray(added.any(axis=(1, 2)))
    if np.isfinite(atoms[ANISOTROPIC].to_numpy(np.float64)[inside]).any():
        return None, (f"{said}, but atoms of these are anisotropic; {_WAY_OUT}",)
    b = atoms["tempfactor"].to_numpy(np.float64)
    full = added + b[:, None, None] / B_PER_U * np.eye(3)
    if (np.linalg.eigvalsh(full[inside]) <= 0).any():
        return None, (f"{said}, with which some would be negative; {_WAY_OUT}",)
    added_b = B_PER_U * np.trace(added, axis1=1, axis2=2) / 3
    atoms["tempfactor"] = b + added_b
    atoms.loc[inside, ANISOTROPIC] = full[inside][:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    for _, _, atom in walk(structure):
        if inside[atom.serial - 1]:
            atom.b_iso += added_b[atom.serial - 1]
            atom.aniso = gemmi.SMat33f(*atoms.loc[atom.serial - 1, ANISOTROPIC])
    count = f"{len(header.tls_groups)} groups is added to {inside.sum()} of {len(atoms)} atoms"
    return added_b, (f"{said}: that of {count}, and taken off again where B factors are written into this file",)


def _tensors(structure: gemmi.Structure, groups: list[gemmi.TlsGroup]) -> Float[np.ndarray, "atoms 3 3"] | None:
    """U of the groups at each atom, zero outside of them; None if they do not say it."""
    added = np.zeros((structure[0].count_atom_sites(), 3, 3))
    for group in groups:
        if not all(one.chain and None not in (one.res_begin.num, one.res_end.num) for one in group.selections):
            return None
        ranges = [(one.chain, _place(one.res_begin), _place(one.res_end)) for one in group.selections]
        for chain, residue, atom in walk(structure):
            place = _place(residue.seqid)
            if any(name == chain.name and begin <= place <= end for name, begin, end in ranges):
                added[atom.serial - 1] = gemmi.calculate_u_from_tls(group, atom.pos).as_mat33().tolist()
    return added if np.isfinite(added).all() and added.any() else None


def _place(seqid: gemmi.SeqId) -> tuple[int, str]:
    return seqid.num or 0, seqid.icode
