"""The mmCIF format: numbering the atoms before gemmi regroups them, and putting new values back into the block."""

from itertools import product
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)

from jax_occupancy.io._atoms import B_PER_U, atom_table, keep_model
from jax_occupancy.io._files import PathLike
from jax_occupancy.io._header import Header, header_of_mmcif

_SITE = "_atom_site."
_XYZ = ("Cartn_x", "Cartn_y", "Cartn_z")
# gemmi reads no atoms at all unless these are there
_NEEDED = ("type_symbol", *_XYZ, "B_iso_or_equiv")


def parse_mmcif(
    source: bytes, *, path: PathLike, model_number: int | None
) -> tuple[gemmi.Structure, pd.DataFrame, np.ndarray, Header]:
    """Read an mmCIF file: gemmi's structure (serial = position + 1), atom table, row of each atom, header."""
    block = atom_block(read_document(source, path=path), path=path)
    _complete(block, path)
    text = _text_columns(block)
    n_atoms = _number_atoms(block, path)
    try:
        structure = gemmi.make_structure_from_block(block)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} cannot be read as mmCIF: {error}") from error
    rows = keep_model(structure, n_written=n_atoms, model_number=model_number, path=path)
    chosen = {name: [values[row] for row in rows.tolist()] for name, values in text.items()}
    pieces: dict[str, int] = {}
    chosen["segment"] = [pieces.setdefault(name, len(pieces)) for name in chosen["segment"]]
    return structure, atom_table(structure, text=chosen, path=path), rows, header_of_mmcif(block, structure)


def read_document(source: bytes, *, path: PathLike) -> cif.Document:
    """The document of a CIF file, every block and item as spelled."""
    try:
        source.decode()
    except UnicodeDecodeError:
        # a letter of an older encoding
        source = source.decode("latin-1").encode()
    try:
        return cif.read_string(source)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not valid CIF: {' '.join(str(error).split())}") from error


def atom_block(document: cif.Document, *, path: PathLike) -> cif.Block:
    """The one block that holds atoms (restraint blocks and reflections may stand beside it)."""
    try:
        blocks = [block for block in document if len(block.find_mmcif_category(_SITE))]
    except RuntimeError as error:
        # items of another category, most often a misspelt one, in the loop of the atoms
        raise ValueError(f"{path} has a damaged _atom_site loop: {error}") from error
    if len(blocks) > 1:
        names = ", ".join(block.name for block in blocks[:5])
        raise ValueError(f"{path} has {len(blocks)} blocks with atoms ({names}); give a file with one")
    if blocks:
        return blocks[0]
    if any(block.find_values("_refln.index_h") for block in document):
        raise ValueError(f"{path} holds reflections and no atoms; a model is wanted here")
    if any(block.find_values("_atom_site_fract_x") for block in document):
        raise ValueError(f"{path} is a small-molecule CIF; convert it to mmCIF (items _atom_site.Cartn_x, ...)")
    raise ValueError(f"{path} holds no atoms: no data block has _atom_site rows")


def edit_mmcif(document: cif.Document, *, path: PathLike, rows: np.ndarray, new: pd.DataFrame) -> None:
    """Put new values of atoms (as `write_model` has them) into `_atom_site`, and shift each U and B beside them."""
    block, with_esd = atom_block(document, path=path), "esd" in new
    has_esd = with_esd or bool(block.find_values(_SITE + "occupancy_esd"))
    items = ["occupancy", "occupancy_esd"] if has_esd else ["occupancy"]
    for item in items:
        _column(block, item)
    # adding a column moves the loop's storage
    occupancy, isotropic, *xyz = (_column(block, item) for item in ("occupancy", "B_iso_or_equiv", *_XYZ))
    uncertainty = _column(block, items[-1])
    for row, atom in zip(rows.tolist(), new.to_dict("records"), strict=True):
        old = cif.as_number(occupancy[row], 1.0 if cif.is_null(occupancy[row]) else float("nan"))
        changed = not (atom["keep"] or round(old * 10_000, 6) == atom["unit"])
        if changed:
            occupancy[row] = f"{atom['unit'] / 10_000:.4f}"
        if with_esd:
            uncertainty[row] = "?" if np.isnan(atom["esd"]) else f"{atom['esd']:.4f}"
        elif changed and len(items) > 1:
            # the esd that the file states belonged to the old value
            uncertainty[row] = "?"
        if atom["b_shift"]:
            _put(isotropic, row, atom["tempfactor"], 2)
        for column, value in zip(xyz, (atom["x"], atom["y"], atom["z"]), strict=True) if atom["moved"] else ():
            _put(column, row, value, 3)
    shifts = new["b_shift"].to_numpy(np.float64)
    _shift_beside(block, {int(rows[i]): float(shifts[i]) for i in np.flatnonzero(shifts)})


def _shift_beside(block: cif.Block, shifts: dict[int, float]) -> None:
    """Add shifts of B (Å²), by row of `_atom_site`, to all that is stated of U and B beside it; '?' and '.' stay so."""
    ids = list(block.find_values(_SITE + "id"))
    anisotropic = {name: row for row, name in enumerate(block.find_values("_atom_site_anisotrop.id"))}
    apart = {anisotropic[ids[row]]: shift for row, shift in shifts.items() if ids and ids[row] in anisotropic}
    items = [(_SITE + "U_iso_or_equiv", "U", shifts)]
    for unit, place in product("UB", ("[1][1]", "[2][2]", "[3][3]")):
        items.append((f"{_SITE}aniso_{unit}{place}", unit, shifts))
        items.append((f"_atom_site_anisotrop.{unit}{place}", unit, apart))
    for item, unit, by_row in items:
        column = block.find_values(item)
        scale, decimals = (1 / B_PER_U, 4) if unit == "U" else (1.0, 2)
        for row, shift in by_row.items() if column else ():
            if not cif.is_null(column[row]):
                _put(column, row, cif.as_number(column[row]) + shift * scale, decimals)


def _put(column: cif.Column, row: int, value: float, decimals: int) -> None:
    """Write a number; the same number keeps its spelling."""
    text = f"{value:.{decimals}f}"
    if cif.as_number(column[row]) != float(text):
        column[row] = text


def to_bytes(document: cif.Document) -> bytes:
    """The text of a document in the style of the PDB's own files."""
    options = cif.WriteOptions(cif.Style.Pdbx)
    options.align_pairs = 33
    options.align_loops = 30
    return document.as_string(options).encode()


def add_item(block: cif.Block, tag: str, value: str) -> None:
    """Give all rows of a category a new item; a single row may stand in pairs, not in a loop."""
    loop = block.find_mmcif_category(tag[: tag.index(".") + 1]).loop
    if loop is None:
        block.set_pair(tag, value)
    else:
        loop.add_columns([tag], value)


def _column(block: cif.Block, item: str) -> cif.Column:
    """A column of `_atom_site`, added as '?' if the file has none."""
    if not block.find_values(_SITE + item):
        add_item(block, _SITE + item, "?")
    return block.find_values(_SITE + item)


def _complete(block: cif.Block, path: Any) -> None:
    """Add the items that gemmi insists on and that have a plain meaning when they are missing."""
    missing = [item for item in _NEEDED if not block.find_values(_SITE + item)]
    if missing:
        raise ValueError(f"{path} has no {', '.join(_SITE + item for item in missing)}: it is no complete model")
    for item in ("label_alt_id", "occupancy", "id"):
        _column(block, item)
    for item, substitute in (("label_asym_id", "auth_asym_id"), ("auth_seq_id", "label_seq_id")):
        column = _column(block, item)
        for row, other in enumerate(block.find_values(_SITE + substitute)):
            if cif.is_null(column[row]):
                column[row] = other


def _number_atoms(block: cif.Block, path: Any) -> int:
    """Number the atoms of a block from 1, in `_atom_site` and in the anisotropic list; returns how many there are."""
    column = _column(block, "id")
    old = list(column)
    anisotropic = block.find_values("_atom_site_anisotrop.id")
    new_of = {name: str(number) for number, name in enumerate(old, start=1)}
    if anisotropic and len(new_of) != len(old):
        raise ValueError(f"{path}: _atom_site.id repeats, so _atom_site_anisotrop cannot be assigned; number the atoms")
    for row in range(len(anisotropic)):
        anisotropic[row] = new_of.get(anisotropic[row], "0")
    altlocs = _column(block, "label_alt_id")
    for row in range(len(old)):
        column[row] = str(row + 1)
        # gemmi refuses longer ones; the atom table has them in full
        altlocs[row] = altlocs[row] if len(altlocs[row]) < 2 else cif.quote(cif.as_string(altlocs[row])[:1])
    return len(old)


def _text_columns(block: cif.Block) -> dict[str, list[Any]]:
    """The items that are read from the text itself, for all rows."""
    records = [cif.as_string(value).upper() for value in _column(block, "group_PDB")]
    columns: dict[str, list[Any]] = {
        "record": ["HETATM" if record.startswith("H") else "ATOM" for record in records],
        "altloc": ["" if cif.is_null(value) else cif.as_string(value) for value in _column(block, "label_alt_id")],
        "segment": list(_column(block, "label_asym_id")),
        "occupancy": [1.0 if cif.is_null(value) else cif.as_number(value) for value in _column(block, "occupancy")],
        "tempfactor": [cif.as_number(value) for value in _column(block, "B_iso_or_equiv")],
    }
    for axis in "xyz":
        columns[axis] = [cif.as_number(value) for value in _column(block, f"Cartn_{axis}")]
    return columns
