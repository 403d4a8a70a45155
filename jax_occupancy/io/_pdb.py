"""The PDB format: numbering the atoms before gemmi regroups them, and putting new values back into the text."""

import re
from itertools import pairwise
from typing import Any

import gemmi
import numpy as np
import pandas as pd

from jax_occupancy.groups import listing
from jax_occupancy.io._atoms import B_PER_U, atom_table, keep_model
from jax_occupancy.io._files import PathLike
from jax_occupancy.io._header import Header, header_of_pdb

# 10^5 numbers of five digits and 26*36^4 that begin with a capital; gemmi reads small letters as capitals
MAX_ATOMS = 99_999 + 26 * 36**4
# gemmi reads the front of a field that is an integer, and 0 where there is none
_RESIDUE_NUMBER = re.compile(rb" *-?\d+ *|[A-Za-z][0-9A-Za-z]{3}| *")  # decimal, hybrid 36, blank
# in files older than 1996, behind the name of the entry
_LINE_NUMBER = re.compile(rb" *\d+\s*")
_NO_ASCII = re.compile(rb"[\x80-\xff]")
_INTEGER = re.compile(rb" *(-?\d+)? *")
_RESIDUE = "residue number"
_FIELDS = {
    _RESIDUE: (22, 26),
    "x": (30, 38),
    "y": (38, 46),
    "z": (46, 54),
    "occupancy": (54, 60),
    "tempfactor": (60, 66),
}
# columns of U11, U22 and U33 in an ANISOU record, in units of 1e-4 Å², and what may stand between it and its atom
_ANISOU = ((28, 35), (35, 42), (42, 49))
BESIDE = (b"SIGA", b"ANIS", b"SIGU")


def parse_pdb(
    source: bytes, *, path: PathLike, model_number: int | None
) -> tuple[gemmi.Structure, pd.DataFrame, np.ndarray, Header]:
    """Read a PDB file: gemmi's structure (serial = position + 1), atom table, line of each atom, header."""
    lines, atoms, segments = scan_lines(source, path=path)
    try:
        structure = gemmi.read_pdb_string(_renumbered(lines, atoms))
    except (RuntimeError, ValueError, IndexError) as error:
        # gemmi quotes the line below its sentence
        raise ValueError(f"{path} cannot be read as PDB: {' '.join(str(error).split())}") from error
    places = keep_model(structure, n_written=len(atoms), model_number=model_number, path=path)
    rows, segments = atoms[places], segments[places]
    text = {**_text_columns([lines[row] for row in rows], rows, path), "segment": segments - segments[0]}
    return structure, atom_table(structure, text=text, path=path), rows, header_of_pdb(source)


def scan_lines(source: bytes, *, path: PathLike) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """The lines, which of them hold atoms (told as gemmi does: by four letters), and the TER or BREAK above each."""
    lines = source.split(b"\n")
    atoms, segments = [], []
    segment, end = 0, None
    last = b""
    for index, line in enumerate(lines):
        record = line[:4].upper()
        if record in (b"ATOM", b"HETA"):
            if end is not None:
                raise ValueError(
                    f"{path}: atoms after the END record of line {end + 1} (first in line {index + 1}) would be "
                    "lost in most programs; remove that END, or split the file"
                )
            atoms.append(index)
            segments.append(segment)
            last = line
        elif record == b"ANIS" and line[12:27] != last[12:27]:
            # gemmi gives an ANISOU to the atom above it without looking at its name
            raise ValueError(f"{path}, line {index + 1}: the ANISOU record does not follow its atom")
        elif record == b"ANIS" and not all(_INTEGER.fullmatch(line[start : start + 7]) for start in range(28, 70, 7)):
            text = line[28:70].decode("latin-1")
            raise ValueError(f"{path}, line {index + 1}: the ANISOU record needs six integers, not {text!r}")
        elif record == b"CRYS":
            try:
                for start, stop in pairwise((6, 15, 24, 33, 40, 47, 54)):
                    _number(line[start:stop].strip() or b"0")
            except ValueError:
                text = line[6:54].decode("latin-1")
                raise ValueError(f"{path}, line {index + 1}: the unit cell needs numbers, not {text!r}") from None
        elif record.rstrip() == b"TER" or record == b"BREA":
            segment += 1
        elif record.rstrip() == b"END":  # and not ENDMDL
            end = index if end is None else end
    if not atoms:
        raise ValueError(f"{path} holds no atoms: no line begins with ATOM or HETATM")
    if len(atoms) > MAX_ATOMS:
        raise ValueError(f"{path} holds {len(atoms)} atoms; a PDB file can number {MAX_ATOMS}")
    return lines, np.array(atoms, np.int64), np.array(segments, np.int64)


def edit_pdb(source: bytes, *, rows: np.ndarray, new: pd.DataFrame) -> bytes:
    """Put new values of atoms (those of `write_model`) into their lines; every other byte stays."""
    lines = source.split(b"\n")
    for row, atom in zip(rows.tolist(), new.to_dict("records"), strict=True):
        line = lines[row]
        if not (old := line[54:60].strip()) or not (atom["keep"] or round(float(old) * 100, 6) == atom["unit"]):
            line = _put(line, 54, b"%6.2f" % (atom["unit"] / 100))
        if atom["moved"]:
            line = _put(line, 30, b"%8.3f%8.3f%8.3f" % (atom["x"], atom["y"], atom["z"]))
        lines[row] = line
        if atom["b_shift"]:
            _shift_b(lines, row, b"%6.2f" % atom["tempfactor"], atom["b_shift"])
    return b"\n".join(lines)


def _put(line: bytes, start: int, field: bytes) -> bytes:
    body = line.rstrip(b"\r")
    return body[:start].ljust(start) + field + body[start + len(field) :] + line[len(body) :]


def _shift_b(lines: list[bytes], row: int, field: bytes, shift: float) -> None:
    """Put a B factor into a line, and shift the ANISOU record of the atom by as much; both in Å²."""
    old = lines[row][60:66]
    # the same number keeps its spelling
    if not old.strip() or float(old) != float(field):
        lines[row] = _put(lines[row], 60, field)
    change = round(shift / B_PER_U * 1e4)
    row += 1
    while row < len(lines) and (record := lines[row][:4].upper()) in BESIDE:
        for start, stop in _ANISOU if change and record == b"ANIS" else ():
            line = lines[row]
            field = b"%7d" % (int(line[start:stop].strip() or 0) + change)
            if len(field) > stop - start:
                raise ValueError(f"line {row + 1}: U would be {int(field)}, too long for an ANISOU record; write .cif")
            lines[row] = line[:start] + field + line[stop:]
        row += 1


def _renumbered(lines: list[bytes], atoms: np.ndarray) -> bytes:
    """The text with the atoms numbered from 1, so that their order can be found again by serial number, in ASCII."""
    lines = list(lines)
    for number, index in enumerate(atoms.tolist(), start=1):
        line = lines[index]
        # in hybrid 36: decimal, above 99,999 base 36 with a capital in front
        serial = f"{number:5d}" if number < 100_000 else np.base_repr(number - 100_000 + 10 * 36**4, 36)
        lines[index] = line[:6] + serial.encode() + line[11:]
        if _LINE_NUMBER.fullmatch(line, 76):
            # not an element and a charge
            lines[index] = lines[index][:72]
    # gemmi counts the line ending when it judges whether a line is long enough
    return _NO_ASCII.sub(b"?", b"\n".join(lines)) + b"\n"


def _text_columns(lines: list[bytes], rows: np.ndarray, path: Any) -> dict[str, list[Any]]:
    """The fields that are read from the text itself, None where blank: gemmi turns what is not a number into 0."""
    columns: dict[str, list[Any]] = {"record": ["ATOM" if line[:4].upper() == b"ATOM" else "HETATM" for line in lines]}
    for name, (start, stop) in _FIELDS.items():
        values, wrong = [], []
        for line, row in zip(lines, rows.tolist(), strict=True):
            text = line[start:stop]
            try:
                values.append(_number(text) if text.strip() and name != _RESIDUE else None)
                bad = name == _RESIDUE and not _RESIDUE_NUMBER.fullmatch(text)
            except ValueError:
                bad = True
            if bad:
                wrong.append(f"line {row + 1}: {text.decode('latin-1')!r}")
        if wrong:
            raise ValueError(f"{path}: {name} is not a number in {listing(wrong, at_most=5)}")
        columns[name] = [np.nan if value is None else value for value in values] if name in "xyz" else values
    del columns[_RESIDUE]
    return columns


def _number(text: bytes) -> float:
    # Python reads 1_0 as 10
    return float(b"_" if b"_" in text else text)
