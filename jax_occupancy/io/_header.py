"""What the header of a file says about the experiment and its B factors, and the part of TLS groups added to these.

U = T + A L Aᵀ + A S + Sᵀ Aᵀ, with A the antisymmetric matrix of the vector from the group's origin (Schomaker &
Trueblood, Acta Cryst. B24, 63-76, 1968), by gemmi.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import gemmi
import numpy as np
import pandas as pd
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)
from jaxtyping import Float

from jax_occupancy.io._atoms import ANISOTROPIC, B_PER_U, walk

_WORDS = {
    "electron": ("ELECTRON",),
    "neutron": ("NEUTRON", "NUCLEAR REACTOR", "SPALLATION"),
    "xray": (
        *("X-RAY", "XRAY", "SYNCHROTRON", "ROTATING ANODE", "SEALED TUBE"),
        *("POWDER DIFFRACTION", "FIBER DIFFRACTION"),
    ),
}
# What names its electrons and gives X-rays.
_LASER = re.compile(r"FREE[- ]ELECTRON LASER|XFEL")
_ITEMS = ("_exptl.method", "_diffrn_radiation.pdbx_scattering_type", "_diffrn_radiation.probe", "_diffrn_source.source")
# The words of the PDB, of TLSANL and of Refmac.
_RESIDUAL = re.compile(r"B VALUE TYPE *: *LIKELY RESIDUAL|RESIDUAL B FACTORS? ONLY|U VALUES? *: *RESIDUAL ONLY")
RESIDUAL_FLAG = "_refine.pdbx_TLS_residual_ADP_flag"
RESIDUAL_REMARK = b"REMARK   3   B VALUE TYPE : LIKELY RESIDUAL".ljust(80) + b"\n"
_NUMBER = r"(-?\d*\.?\d+(?:E[-+]?\d+)?)"
_ORIGIN = re.compile(rf"ORIGIN FOR THE GROUP[^:]*: +{_NUMBER} +{_NUMBER} +{_NUMBER}")
_RANGE = re.compile(r"RESIDUE RANGE *: +(\w+) +(-?\d+[A-Z]?) +(\w+) +(-?\d+[A-Z]?)")
_WAY_OUT = (
    "occupancies would take that part up: give full B factors, made by TLSANL or phenix.tls, or the model of PDB-REDO"
)
_TENSOR = re.compile(rf"([TLS][123][123]) *: *{_NUMBER}")


class Header(NamedTuple):
    """What the header of a model says."""

    radiations: tuple[str, ...]  # what the model was measured with
    residual: bool  # whether the B factors lack the part that TLS groups describe
    tls_groups: list[gemmi.TlsGroup]  # empty if there are none, or not all of them can be read


def header_of_pdb(source: bytes) -> Header:
    lines = [line.decode("latin-1") for line in source.split(b"\n") if line.startswith((b"EXPDTA", b"REMARK   3"))]
    remark = " ".join(line[10:].strip() for line in lines if line.startswith("REMARK")).upper()
    groups = [_tls_group(text) for text in re.split(r"TLS GROUP *: *\d+", remark)[1:]]
    return Header(
        radiations_in(line for line in lines if line.startswith("EXPDTA")),
        _RESIDUAL.search(remark) is not None,
        [] if None in groups else [group for group in groups if group is not None],
    )


def header_of_mmcif(block: cif.Block, structure: gemmi.Structure) -> Header:
    """The header of a block of mmCIF that gemmi has made a structure of."""
    flags = " ".join(cif.as_string(text) for text in block.find_values(RESIDUAL_FLAG))
    details = " ".join(" ".join(cif.as_string(text).split()) for text in block.find_values("_refine.details"))
    residual = "RESIDUAL" in flags.upper() or _RESIDUAL.search(details.upper()) is not None
    groups = [group for one in structure.meta.refinement for group in one.tls_groups]
    return Header(radiations_of_block(block), residual, groups)


def radiations_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The kinds of radiation that are spoken of."""
    said = _LASER.sub("X-RAY LASER", " ".join(texts).upper())
    return tuple(kind for kind, words in _WORDS.items() if any(word in said for word in words))


def radiations_of_block(block: cif.Block) -> tuple[str, ...]:
    """The kinds of radiation that a block of mmCIF states."""
    return radiations_in(cif.as_string(text) for item in _ITEMS for text in block.find_values(item))


def _tls_group(text: str) -> gemmi.TlsGroup | None:
    """A group of REMARK 3, None if it is not complete or not in ranges of residues."""
    origin, ranges, numbers = _ORIGIN.search(text), _RANGE.findall(text), dict(_TENSOR.findall(text))
    wanted = int(found[1]) if (found := re.search(r"NUMBER OF COMPONENTS GROUP *: *(\d+)", text)) else len(ranges)
    if origin is None or not ranges or len(ranges) != wanted or len(numbers) != 6 + 6 + 9:
        return None
    group = gemmi.TlsGroup()
    group.origin = gemmi.Position(*map(float, origin.groups()))
    group.T, group.L = (
        gemmi.SMat33d(*(float(numbers[name + place]) for place in ("11", "22", "33", "12", "13", "23")))
        for name in "TL"
    )
    group.S = gemmi.Mat33([[float(numbers[f"S{i}{j}"]) for j in (1, 2, 3)] for i in (1, 2, 3)])
    selections = []
    for chain, begin, end_chain, end in ranges:
        if chain != end_chain:
            return None
        selection = gemmi.TlsGroup.Selection()
        selection.chain, selection.res_begin, selection.res_end = chain, gemmi.SeqId(begin), gemmi.SeqId(end)
        selections.append(selection)
    group.selections = selections
    return group


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
