"""Files without some of their atoms, and without what they say of these besides: tensors, links, lists of ligands."""

from collections.abc import Iterable, Sequence

import gemmi
import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)

from jax_occupancy.io._pdb import BESIDE

# Columns of an atom's line that tell its name, letter and residue, those of its residue, and those of its number.
_NAME, _RESIDUE, _SERIAL = slice(12, 27), slice(21, 27), slice(6, 11)
# The same items in `_atom_site`, of a partner of a link, and of a residue in the list of ligands and waters.
_SITE = ("auth_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "label_atom_id", "label_alt_id")
_PARTNER = ("{}_auth_asym_id", "{}_auth_seq_id", "?pdbx_{}_PDB_ins_code", "{}_label_atom_id", "?pdbx_{}_label_alt_id")
_SCHEME = ("pdb_strand_id", "pdb_seq_num", "?pdb_ins_code")
_LINKS = {"_struct_conn.": ("ptnr1", "ptnr2"), "_pdbx_struct_conn_angle.": ("ptnr1", "ptnr2", "ptnr3")}


def leave_out_of_pdb(source: bytes, rows: Iterable[int]) -> bytes:
    """Take the lines of some atoms out of a PDB file, with their ANISOU, LINK, CONECT and HET records, and MASTER."""
    lines, gone = source.split(b"\n"), set(rows)
    removed = [lines[row] for row in gone]
    for row in sorted(gone):
        while lines[row + 1 : row + 2] and lines[row + 1][:4].upper() in BESIDE:
            row += 1
            gone.add(row)
    rest = [line for row, line in enumerate(lines) if row not in gone]
    left = [line for line in rest if line[:4].upper() in (b"ATOM", b"HETA")]
    serials = {line[_SERIAL].strip() for line in removed} - {line[_SERIAL].strip() for line in left}
    residues = {line[_RESIDUE] for line in removed} - {line[_RESIDUE] for line in left}
    names = _with_blank_letter(line[_NAME] for line in removed) - _with_blank_letter(line[_NAME] for line in left)
    kept = []
    for line in rest:
        record, lost = line[:4].upper(), False
        if record == b"CONE":
            line = _bonds_left(line, serials)
            lost = not line
        elif record == b"LINK":
            lost = bool(names & {line[12:27], line[42:57]})
        elif record == b"HET ":
            lost = line[12:18] in residues
        if not lost and record != b"MAST":  # MASTER counts records
            kept.append(line)
    return b"\n".join(kept)


def leave_out_of_mmcif(block: cif.Block, rows: Iterable[int]) -> None:
    """Take rows out of `_atom_site`, with the tensors, links and entries in the list of ligands and waters of these."""
    gone = set(rows)
    told = _told(block, "_atom_site.", ["Cartn_x", "?id", *(f"?{item}" for item in _SITE)])
    removed, left = [told[row] for row in gone], [one for row, one in enumerate(told) if row not in gone]
    ids = {one[1] for one in removed}
    residues = {one[2:5] for one in removed} - {one[2:5] for one in left}
    names = {(*one[2:6], letter) for one in removed for letter in (one[6], "")}
    names -= {(*one[2:6], letter) for one in left for letter in (one[6], "")}
    _drop(block, "_atom_site.", gone)
    tensors = _told(block, "_atom_site_anisotrop.", ["id"])
    _drop(block, "_atom_site_anisotrop.", (i for i, one in enumerate(tensors) if one[0] in ids))
    for category, partners in _LINKS.items():
        for partner in partners:
            links = _told(block, category, [item.format(partner) for item in _PARTNER])
            _drop(block, category, (i for i, one in enumerate(links) if one in names))
    scheme = _told(block, "_pdbx_nonpoly_scheme.", _SCHEME)
    _drop(block, "_pdbx_nonpoly_scheme.", (i for i, one in enumerate(scheme) if one in residues))


def leave_out_of_structure(structure: gemmi.Structure, gone: np.ndarray) -> None:
    """Take atoms out of a structure whose serial numbers are position + 1, and the links that lack one then."""
    for chain in structure[0]:
        for residue in chain:
            for i in reversed([i for i, atom in enumerate(residue) if gone[atom.serial - 1]]):
                del residue[i]
    structure.remove_empty_chains()
    for i in reversed(range(len(structure.connections))):
        link = structure.connections[i]
        if any(structure[0].find_cra(end, ignore_segment=True).atom is None for end in (link.partner1, link.partner2)):
            del structure.connections[i]


def _with_blank_letter(names: Iterable[bytes]) -> set[bytes]:
    """Names of atoms with their letter and without it, as a link may have them."""
    return {one for name in names for one in (name, name[:4] + b" " + name[5:])}


def _bonds_left(line: bytes, serials: set[bytes]) -> bytes:
    """A CONECT record without some atoms; nothing if no bond is left."""
    body = line.rstrip(b"\r")
    atom, *bonded = (body[start : start + 5] for start in range(6, 31, 5))
    left = [one for one in bonded if one.strip() and one.strip() not in serials]
    if atom.strip() in serials or not left:
        return b""
    if serials.isdisjoint(one.strip() for one in bonded):
        return line
    return b"".join([body[:6], atom, *left]).ljust(len(body)) + line[len(body) :]


def _told(block: cif.Block, category: str, items: Sequence[str]) -> list[tuple[str, ...]]:
    """Some items of each row of a category, empty where there is none; no rows if an item without ? is missing."""
    return [tuple(row.str(i) if row.has(i) else "" for i in range(len(items))) for row in block.find(category, items)]


def _drop(block: cif.Block, category: str, rows: Iterable[int]) -> None:
    for row in sorted(rows, reverse=True):
        table = block.find_mmcif_category(category)
        table.ensure_loop()  # a single row may stand in pairs
        table.remove_row(row)
