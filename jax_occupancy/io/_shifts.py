"""Moving atoms, and shifting their B factors, in the text of a model; an anisotropic U moves with its atom's B.

A shift ΔB of an isotropic factor exp(−B s²) adds ΔB/8π² to the diagonal of U in any axes that are orthogonal or, as
in both formats, stated along orthogonal ones.
"""

import os

import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)

from jax_occupancy.io._atoms import B_PER_U
from jax_occupancy.io._mmcif import atom_block

_DIAGONAL = ("[1][1]", "[2][2]", "[3][3]")
# columns of U11, U22 and U33 in an ANISOU record, in units of 1e-4 Å²
_ANISOU = ((28, 35), (35, 42), (42, 49))
# records that may stand between an atom and its ANISOU
_BESIDE = (b"SIGA", b"ANIS", b"SIGU")


def move_pdb(source: bytes, *, rows: np.ndarray, xyz: np.ndarray, shifts: np.ndarray) -> bytes:
    """Put coordinates (Å) into columns 31-54 of the lines of atoms that move."""
    lines = source.split(b"\n")
    for i in np.flatnonzero(shifts.any(axis=1)).tolist():
        line = lines[int(rows[i])]
        lines[int(rows[i])] = line[:30] + b"%8.3f%8.3f%8.3f" % tuple(xyz[i]) + line[54:]
    return b"\n".join(lines)


def move_mmcif(
    document: cif.Document, *, path: str | os.PathLike[str], rows: np.ndarray, xyz: np.ndarray, shifts: np.ndarray
) -> None:
    """Put coordinates (Å) into the rows of `_atom_site` of atoms that move."""
    block = atom_block(document, path=path)
    columns = [block.find_values(f"_atom_site.Cartn_{axis}") for axis in "xyz"]
    for i in np.flatnonzero(shifts.any(axis=1)).tolist():
        for column, value in zip(columns, xyz[i].tolist(), strict=True):
            _put(column, int(rows[i]), value, 3)


def shift_pdb(source: bytes, *, rows: np.ndarray, b_factors: np.ndarray, shifts: np.ndarray) -> bytes:
    """Put B factors (Å²) into columns 61-66 of some lines where the shift is not zero, and shift their ANISOU records.

    Raises:
        ValueError: If a U does not fit into its columns.
    """
    lines = source.split(b"\n")
    for i in np.flatnonzero(shifts).tolist():
        row, field = int(rows[i]), b"%6.2f" % b_factors[i]
        line = lines[row]
        # the same number keeps its spelling
        if not line[60:66].strip() or float(line[60:66]) != float(field):
            body = line.rstrip(b"\r")
            lines[row] = body[:60].ljust(60) + field + body[66:] + line[len(body) :]
        row += 1
        while row < len(lines) and lines[row][:4].upper() in _BESIDE:
            if lines[row][:4].upper() == b"ANIS":
                lines[row] = _shift_anisou(lines[row], shifts[i], row)
            row += 1
    return b"\n".join(lines)


def shift_mmcif(
    document: cif.Document,
    *,
    path: str | os.PathLike[str],
    rows: np.ndarray,
    b_factors: np.ndarray,
    shifts: np.ndarray,
) -> None:
    """Put B factors (Å²) into rows of `_atom_site` where the shift is not zero, and shift each U and B beside them."""
    block = atom_block(document, path=path)
    moved = np.flatnonzero(shifts).tolist()
    at = {int(rows[i]): float(shifts[i]) for i in moved}
    isotropic = block.find_values("_atom_site.B_iso_or_equiv")
    for i in moved:
        _put(isotropic, int(rows[i]), float(b_factors[i]), 2)
    _shift_item(block, "_atom_site.U_iso_or_equiv", at, unit="U")
    ids = list(block.find_values("_atom_site.id"))
    anisotropic = {name: row for row, name in enumerate(block.find_values("_atom_site_anisotrop.id"))}
    beside = {anisotropic[ids[row]]: shift for row, shift in at.items() if ids and ids[row] in anisotropic}
    for unit in "UB":
        for place in _DIAGONAL:
            _shift_item(block, f"_atom_site.aniso_{unit}{place}", at, unit=unit)
            _shift_item(block, f"_atom_site_anisotrop.{unit}{place}", beside, unit=unit)


def _shift_anisou(line: bytes, shift: float, row: int) -> bytes:
    change = round(shift / B_PER_U * 1e4)
    for start, stop in _ANISOU:
        field = b"%7d" % (int(line[start:stop].strip() or 0) + change)
        if len(field) > stop - start:
            raise ValueError(f"line {row + 1}: U would be {int(field)}, too long for an ANISOU record; write .cif")
        line = line[:start] + field + line[stop:] if change else line
    return line


def _shift_item(block: cif.Block, item: str, shifts: dict[int, float], *, unit: str) -> None:
    """Add to the values that an item has in some rows; what is '?' or '.' stays so."""
    column = block.find_values(item)
    if not column:
        return
    scale, decimals = (1 / B_PER_U, 4) if unit == "U" else (1.0, 2)
    for row, shift in shifts.items():
        if not cif.is_null(column[row]):
            _put(column, row, cif.as_number(column[row]) + shift * scale, decimals)


def _put(column: cif.Column, row: int, value: float, decimals: int) -> None:
    text = f"{value:.{decimals}f}"
    if cif.as_number(column[row]) != float(text):
        column[row] = text
