"""The mmCIF format of reflections: data blocks with a `_refln` loop."""

import os
import re

import gemmi
import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)
from jaxtyping import Bool, Float

from jax_occupancy.io._column_names import guessed_kind, is_calculated
from jax_occupancy.io._header import radiations_of_block
from jax_occupancy.io._mmcif import read_document
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
    path: str | os.PathLike[str],
    source: bytes,
    *,
    block: str | None,
    names: tuple[str | None, ...] = (),
    cell: gemmi.UnitCell | None = None,
    spacegroup: gemmi.SpaceGroup | None = None,
) -> ReflectionTable:
    """The columns of one block of an mmCIF file: the named one, or the first with measured data, `names` among it."""
    document = read_document(source, path=path)
    blocks = [candidate for candidate in document if len(candidate.find_values(_REFLN + "index_h"))]
    if not blocks:
        raise ValueError(
            f"{path} {_what_it_is(document)}; reflections are wanted here: a data_ block with a _refln loop"
        )
    taken, notes = _chosen_block(path, blocks, block, names)
    where, notes = f"{path}, block {taken.name}", (*notes, *_borrow(taken, document))
    _check_indices(taken, where)
    others, more = _other_data_sets(taken)
    flags, kind = _status(taken.find_values(_REFLN + "status"), len(others))
    mtz, unreadable = _to_mtz(taken, where, flags, kind, _wavelength_of(taken, ~others))
    return ReflectionTable(
        mtz,
        where,
        path=path,
        cell=cell,
        spacegroup=spacegroup,
        stated_group=_single(taken, _GROUP_NAMES[0]),
        excluded={"other data set": others, "rejected by status": np.isinf(flags)},
        unreadable=unreadable,
        notes=(*notes, *more),
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
    path: str | os.PathLike[str], blocks: list[cif.Block], name: str | None, columns: tuple[str | None, ...]
) -> tuple[cif.Block, tuple[str, ...]]:
    listed = ", ".join(candidate.name for candidate in blocks[:8])
    if name is not None:
        wanted = name.lower().removeprefix("data_")
        chosen = [candidate for candidate in blocks if candidate.name.lower() == wanted]
        if not chosen:
            raise ValueError(f"{path} has no block {name!r} with reflections; it has {listed}")
        return chosen[0], ()
    if len(blocks) == 1:
        return blocks[0], ()
    taken = next((b for b in blocks if _has_measurements(b, columns)), blocks[0])
    return taken, (f"block {taken.name} taken, of {listed}: choose another with block=...",)


def _borrow(block: cif.Block, document: cif.Document) -> list[str]:
    """Give a block the cell and the space group of the first one that has them, with notes; others often lack them."""
    notes = []
    for what, tags in (("cell", _CELL), ("space group", (*_GROUP_NAMES, *_GROUP_NUMBERS))):
        owner = next((one for one in (block, *document) if any(_single(one, tag) for tag in tags)), block)
        if owner.name != block.name:
            notes.append(f"block {block.name} states no {what}: that of block {owner.name} is taken")
            for tag in tags:
                if text := _single(owner, tag):
                    block.set_pair(tag, cif.quote(text))
    # the one item that gemmi looks at, with the angles, which tell H 3 from R 3
    if name := _stated_group(block):
        block.set_pair(_GROUP_NAMES[0], cif.quote(name))
    return notes


def _items(block: cif.Block) -> list[str]:
    """The items of the loop that we know, spelled as in the dictionary: names of items have no case."""
    tags = [item[len(_REFLN) :].lower() for item in block.find_mmcif_category(_REFLN).tags]
    return [_SPELLED[tag] for tag in tags if tag in _SPELLED]


def _has_measurements(block: cif.Block, columns: tuple[str | None, ...]) -> bool:
    items = _items(block)
    measured = any(_KINDS[item] in "FJGK" and not is_calculated(item) for item in items)
    return measured and all(name is None or name.removeprefix("_refln.") in items for name in columns)


def _check_indices(block: cif.Block, where: str) -> None:
    """Miller indices must be integers; gemmi reads them where they are written so."""
    for letter in "hkl":
        column = block.find_values(f"{_REFLN}index_{letter}")
        values = np.array([cif.as_number(cif.as_string(text)) for text in column], np.float64)
        wrong = np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > 1e6))
        if not len(values) or len(wrong):
            raise ValueError(
                f"{where}: item _refln.index_{letter} must hold an integer in every row; "
                f"wrong in rows {(wrong[:5] + 1).tolist()}"
            )
        for row, text in enumerate(column):
            if not text.lstrip("-").isdigit():
                column[row] = f"{values[row]:.0f}"


def _to_mtz(
    block: cif.Block, where: str, flags: np.ndarray, kind: str, wavelength: float | None
) -> tuple[gemmi.Mtz, dict[str, str]]:
    """The known items of a block as an MTZ object, and by item what is wrong with its values."""
    table = block.find_mmcif_category(_REFLN)
    if table.loop is None:
        # one reflection, in pairs
        tags, row = [tag[len(_REFLN) :] for tag in table.tags], list(table[0])
        block.init_loop(_REFLN, tags).add_row(row)
    items = [item for item in _items(block) if item != "status" or (flags == 0).any() or kind == "I"]
    document = cif.Document()
    document.add_copied_block(block)
    reader = gemmi.CifToMtz()
    reader.spec_lines = [f"{item} {item} {_KINDS[item]} 1" for item in items] or ["index_h none I 1"]
    try:
        refln = gemmi.as_refln_blocks(document)[0]
        mtz = reader.convert_block_to_mtz(refln, (None, 0))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    mtz.set_cell_for_all(mtz.cell)
    mtz.datasets[1].wavelength = wavelength or 0.0
    unreadable = {}
    for number, item in enumerate(items, start=3):
        if item == "status":
            mtz.array[:, number] = np.where(np.isinf(flags), np.nan, flags)
            mtz.columns[number].type = kind
        elif wrong := _mend(mtz.array[:, number], refln.block.find_values(_REFLN + item)):
            unreadable[item] = f"{where}: item {_REFLN}{item} has {wrong}"
    return mtz, unreadable


def _mend(values: np.ndarray, column: cif.Column) -> str:
    """Read what gemmi took for no number: quoted ones, and the nan and inf of careless programs; say what is none."""
    odd = []
    for row in np.flatnonzero(np.isnan(values)).tolist():
        if not cif.is_null(column[row]):
            try:
                values[row] = float(cif.as_string(column[row]))
            except ValueError:
                odd.append(f"{column[row]!r} in row {row + 1}")
    return f"{len(odd)} values that are no numbers, first {', '.join(odd[:3])}" if odd else ""


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


def _other_data_sets(block: cif.Block) -> tuple[Bool[np.ndarray, " rows"], tuple[str, ...]]:
    """Rows of a second crystal or wavelength: one loop may hold several data sets, whose reflections repeat."""
    n_rows = len(block.find_values(_REFLN + "index_h"))
    keys = [block.find_values(_REFLN + name) for name in ("crystal_id", "wavelength_id")]
    rows = list(zip(*(list(key) if key else ["."] * n_rows for key in keys), strict=True))
    others = np.array([row != rows[0] for row in rows])
    if not others.any():
        return others, ()
    crystal, wavelength = rows[0]
    note = (
        f"the loop holds {len(set(rows))} data sets; taken: crystal_id {crystal}, wavelength_id {wavelength}. "
        "Split the file for another"
    )
    return others, (note,)


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
