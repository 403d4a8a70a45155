"""The mmCIF format of reflections: data blocks with a `_refln` loop."""

import re

import gemmi
import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)
from jaxtyping import Bool, Float

from jax_occupancy.io._column_names import guessed_kind, is_calculated
from jax_occupancy.io._files import PathLike
from jax_occupancy.io._header import radiations_of_block
from jax_occupancy.io._mmcif import read_document
from jax_occupancy.io._mtz import make_mtz
from jax_occupancy.io._reflection_table import STATUS, ReflectionTable, stated_wavelength

_REFLN = "_refln."
# The items of the dictionary (mmcif_pdbx, category refln) that we know, and the MTZ types that their names do not tell.
_ITEMS = (
    *("F_meas", "F_meas_au", "F_calc", "F_calc_au", "F_part_au", "pdbx_FWT", "pdbx_DELFWT"),
    *("pdbx_F_calc_part_solvent", "pdbx_F_calc_with_solvent"),
    *("intensity_meas", "F_squared_meas", "F_squared_calc", "intensity_calc"),
    *("F_meas_sigma", "F_meas_sigma_au", "intensity_sigma", "F_squared_sigma"),
    *(f"pdbx_{name}_{sign}{end}" for name in "FI" for sign in ("plus", "minus") for end in ("", "_sigma")),
    *("phase_calc", "phase_meas", "pdbx_PHWT", "pdbx_DELPHWT", "pdbx_r_free_flag", "status", "fom"),
)
_KINDS = {item: guessed_kind(item) for item in _ITEMS}
_KINDS |= {"F_squared_calc": "J", "intensity_calc": "J", "pdbx_DELPHWT": "P", "fom": "W"}
_SPELLED = {name.lower(): name for name in _KINDS}
_FLAG_OF_CODE = {"f": 0.0, "o": 1.0, "<": 1.0}
_CELL = [f"_cell.{item}" for item in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")]
_GROUP_NAMES = ("_symmetry.space_group_name_H-M", "_space_group.name_H-M_alt", "_space_group.name_H-M_full")
_GROUP_NUMBERS = ("_symmetry.Int_Tables_number", "_space_group.IT_number")


def refln_table(
    path: PathLike,
    source: bytes,
    *,
    block: str | None,
    names: tuple[str | None, ...],
    cell: gemmi.UnitCell | None,
    spacegroup: gemmi.SpaceGroup | None,
) -> ReflectionTable:
    """The columns of one block of an mmCIF file: the named one, or the first with measured data, `names` among it."""
    document = read_document(source, path=path)
    blocks = [candidate for candidate in document if len(candidate.find_values(_REFLN + "index_h"))]
    if not blocks:
        raise ValueError(
            f"{path} {_what_it_is(document)}; reflections are wanted here: a data_ block with a _refln loop"
        )
    taken, notes = _chosen_block(path, blocks, block, names)
    where = f"{path}, block {taken.name}"
    # other blocks of a file often state neither
    of_cell, of_group = (_owner(taken, document, what, notes) for what in ("cell", "space group"))
    hkl = _indices(taken, where)
    others = _other_data_sets(taken, notes)
    flags, kind = _status(taken.find_values(_REFLN + "status"), len(others))
    columns, unreadable = {}, {}
    for item in _items(taken):
        if item != "status":
            values, wrong = _numbers(taken.find_values(_REFLN + item))
            columns[item] = _KINDS[item], values
            unreadable |= {item: f"{where}: item {_REFLN}{item} has {wrong}"} if wrong else {}
        elif (flags == 0).any() or kind == "I":
            columns[item] = kind, np.where(np.isinf(flags), np.nan, flags)
    edges = [_single(of_cell, tag) for tag in _CELL]
    try:
        stated = gemmi.UnitCell(*map(cif.as_number, edges)) if any(edges) else gemmi.UnitCell()
    except RuntimeError as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    name = _stated_group(of_group)
    # the angles tell H 3 from R 3
    group = gemmi.find_spacegroup_by_name(name, stated.alpha, stated.gamma)
    wavelength = _wavelength_of(taken, ~others)
    return ReflectionTable(
        make_mtz(hkl, columns, cell=stated, spacegroup=group, wavelength=wavelength),
        where,
        path=path,
        cell=cell,
        spacegroup=spacegroup,
        stated_group=name,
        excluded={"other data set": others, "rejected by status": np.isinf(flags)},
        unreadable=unreadable,
        notes=tuple(notes),
        radiations=radiations_of_block(taken),
    )


def _what_it_is(document: cif.Document) -> str:
    categories = {name.lower() for block in document for name in block.get_mmcif_category_names()}
    if "_diffrn_refln." in categories:
        return "holds unmerged data (_diffrn_refln); scale and merge them first (aimless, xia2, autoPROC)"
    if any(block.find_values("_refln_index_h") for block in document):
        return "is a small-molecule CIF; convert it to mmCIF (items _refln.index_h, ...) or MTZ"
    if "_atom_site." in categories:
        return "holds a model (_atom_site) and no reflections"
    return "holds no reflections"


def _chosen_block(
    path: PathLike, blocks: list[cif.Block], name: str | None, columns: tuple[str | None, ...]
) -> tuple[cif.Block, list[str]]:
    listed = ", ".join(candidate.name for candidate in blocks[:8])
    if name is not None:
        wanted = name.lower().removeprefix("data_")
        chosen = [candidate for candidate in blocks if candidate.name.lower() == wanted]
        if not chosen:
            raise ValueError(f"{path} has no block {name!r} with reflections; it has {listed}")
        return chosen[0], []
    if len(blocks) == 1:
        return blocks[0], []
    taken = next((b for b in blocks if _has_measurements(b, columns)), blocks[0])
    return taken, [f"block {taken.name} taken, of {listed}: choose another with block=..."]


def _owner(block: cif.Block, document: cif.Document, what: str, notes: list[str]) -> cif.Block:
    """The first block that states a cell or a space group, with a note where it is another one."""
    tags = {"cell": _CELL, "space group": (*_GROUP_NAMES, *_GROUP_NUMBERS)}[what]
    owner = next((one for one in (block, *document) if any(_single(one, tag) for tag in tags)), block)
    if owner.name != block.name:
        notes.append(f"block {block.name} states no {what}: that of block {owner.name} is taken")
    return owner


def _items(block: cif.Block) -> list[str]:
    """The items of the loop that we know, spelled as in the dictionary: names of items have no case."""
    tags = [item[len(_REFLN) :].lower() for item in block.find_mmcif_category(_REFLN).tags]
    return [_SPELLED[tag] for tag in tags if tag in _SPELLED]


def _has_measurements(block: cif.Block, columns: tuple[str | None, ...]) -> bool:
    items = _items(block)
    measured = any(_KINDS[item] in "FJGK" and not is_calculated(item) for item in items)
    return measured and all(name is None or name.removeprefix("_refln.") in items for name in columns)


def _indices(block: cif.Block, where: str) -> np.ndarray:
    columns = []
    for letter in "hkl":
        column = block.find_values(f"{_REFLN}index_{letter}")
        values = np.array([cif.as_number(cif.as_string(text)) for text in column], np.float64)
        wrong = np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > 1e6))
        if not len(values) or len(wrong):
            raise ValueError(
                f"{where}: item _refln.index_{letter} must hold an integer in every row; "
                f"wrong in rows {(wrong[:5] + 1).tolist()}"
            )
        columns.append(values)
    return np.column_stack(columns)


def _numbers(column: cif.Column) -> tuple[np.ndarray, str]:
    """The values, NaN where there is none; nan, inf and quoted numbers are read, what is no number is told."""
    values, odd = np.array([cif.as_number(text) for text in column], np.float64), []
    for row in np.flatnonzero(np.isnan(values)).tolist():
        if not cif.is_null(column[row]):
            try:
                values[row] = float(cif.as_string(column[row]))
            except ValueError:
                odd.append(f"{column[row]!r} in row {row + 1}")
    return values, f"{len(odd)} values that are no numbers, first {', '.join(odd[:3])}" if odd else ""


def _status(column: cif.Column, n_rows: int) -> tuple[Float[np.ndarray, " rows"], str]:
    """0 for the free set, 1 for work, NaN for no code, infinite where it says not to use it; the type of the column."""
    # The dictionary has o (observed), f (free), < (weak), and x, -, h, l for what is unreliable, systematically absent
    # or outside the resolution limits of the refinement. Old files have the numbers of other programs here.
    codes = {text: cif.as_string(text).strip().lower() for text in set(column)}
    numbers = {code: float(code) for code in codes.values() if re.fullmatch("-?[0-9]+", code)}
    flag_of = {"": np.nan, **numbers, **_FLAG_OF_CODE}
    flags = [np.nan if cif.is_null(text) else flag_of.get(codes[text], np.inf) for text in column]
    kind = "I" if numbers and _FLAG_OF_CODE.keys().isdisjoint(codes.values()) else STATUS
    return np.array(flags or [1.0] * n_rows, np.float64), kind


def _other_data_sets(block: cif.Block, notes: list[str]) -> Bool[np.ndarray, " rows"]:
    """Rows of a second crystal or wavelength: one loop may hold several data sets, whose reflections repeat."""
    n_rows = len(block.find_values(_REFLN + "index_h"))
    keys = [block.find_values(_REFLN + name) for name in ("crystal_id", "wavelength_id")]
    rows = list(zip(*(list(key) if key else ["."] * n_rows for key in keys), strict=True))
    others = np.array([row != rows[0] for row in rows])
    if others.any():
        crystal, wavelength = rows[0]
        notes.append(
            f"the loop holds {len(set(rows))} data sets; taken: crystal_id {crystal}, wavelength_id {wavelength}. "
            "Split the file for another"
        )
    return others


def _stated_group(block: cif.Block) -> str:
    """The space group that a block states by a name that gemmi knows, else by number, else as it says."""
    names = [text for tag in _GROUP_NAMES if (text := _single(block, tag))]
    known = [text for text in names if gemmi.find_spacegroup_by_name(text)]
    numbers = [int(text) for tag in _GROUP_NUMBERS if (text := _single(block, tag)).isdigit()]
    known += [gemmi.find_spacegroup_by_number(n).hm for n in numbers if 1 <= n <= 230]
    return (known or names or [""])[0]


def _single(block: cif.Block, tag: str) -> str:
    column = block.find_values(tag)
    return cif.as_string(column[0]) if column and not cif.is_null(column[0]) else ""


def _wavelength_of(block: cif.Block, taken: Bool[np.ndarray, " rows"]) -> float | None:
    """The wavelength in Å, if it is stated and there is one only, or one for the rows that were taken."""
    values = block.find_values("_diffrn_radiation_wavelength.wavelength")
    ids = list(block.find_values("_diffrn_radiation_wavelength.id"))
    numbers = [stated_wavelength(cif.as_number(text)) for text in values]
    used = block.find_values(_REFLN + "wavelength_id")
    if len(numbers) > 1 and len(ids) == len(numbers) and used:
        row = int(np.flatnonzero(taken)[0])
        numbers = [number for number, name in zip(numbers, ids, strict=True) if name == used[row]]
    known = {number for number in numbers if number is not None}
    return known.pop() if len(known) == 1 else None
