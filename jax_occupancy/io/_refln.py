"""The mmCIF format of reflections: data blocks with a `_refln` loop."""

import os
from pathlib import Path

import gemmi
import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)
from jaxtyping import Bool, Int

from jax_occupancy.io._choose_columns import has_measurements
from jax_occupancy.io._mmcif import read_document
from jax_occupancy.io._reflection_table import Crystal, ReflectionTable, checked_cell, checked_spacegroup
from jax_occupancy.io._refln_columns import REFLN, numbers, refln_columns, status_flags
from jax_occupancy.io._refln_crystal import stated_cell, stated_spacegroup, wavelength_of


def refln_table(
    path: str | os.PathLike[str],
    source: bytes,
    *,
    block: str | None,
    names: tuple[str | None, ...] = (),
    cell: gemmi.UnitCell | None = None,
    spacegroup: gemmi.SpaceGroup | None = None,
) -> ReflectionTable:
    """The columns of one block of an mmCIF file: the named one, or the first with measured data.

    Args:
        path: The file, for messages.
        source: Its bytes, decompressed.
        block: The name of the block, with or without "data_".
        names: Columns that the block must have, if there are several to choose from.
        cell: For a block that states none.
        spacegroup: For a block that states none.

    Returns:
        The table.

    Raises:
        ValueError: If the file is damaged, has no (such) block of reflections, or an index is no integer.
    """
    document = read_document(source, path=path)
    blocks = [candidate for candidate in document if len(candidate.find_values(REFLN + "index_h"))]
    if not blocks:
        raise ValueError(
            f"{path} {_what_it_is(document)}; reflections are wanted here: a data_ block with a _refln loop"
        )
    listed = ", ".join(candidate.name for candidate in blocks[:8])
    if block is not None:
        wanted = block.lower().removeprefix("data_")
        chosen = [candidate for candidate in blocks if candidate.name.lower() == wanted]
        if not chosen:
            raise ValueError(f"{path} has no block {block!r} with reflections; it has {listed}")
        return _table(path, chosen[0], cell, spacegroup)
    if len(blocks) == 1:
        return _table(path, blocks[0], cell, spacegroup)
    fitting = [b for b in blocks if has_measurements(refln_columns(path, b), *names)]
    taken = (fitting or blocks)[0]
    note = f"block {taken.name} taken, of {listed}: choose another with block=..."
    return _table(path, taken, cell, spacegroup, note)


def _what_it_is(document: cif.Document) -> str:
    """What a CIF file without reflections in mmCIF holds instead."""
    categories = {name.lower() for block in document for name in block.get_mmcif_category_names()}
    if "_diffrn_refln." in categories:
        return "holds unmerged data (_diffrn_refln); scale and merge them first (aimless, xia2, autoPROC)"
    if any(block.find_values("_refln_index_h") for block in document):
        return "is a small-molecule CIF; convert it to mmCIF (items _refln.index_h, ...) or MTZ"
    if "_atom_site." in categories:
        return "holds a model (_atom_site) and no reflections"
    return "holds no reflections"


def _table(
    path: str | os.PathLike[str],
    block: cif.Block,
    cell: gemmi.UnitCell | None,
    spacegroup: gemmi.SpaceGroup | None,
    *notes: str,
) -> ReflectionTable:
    """The columns of one block, with the rows that the block itself excludes."""
    where = f"{path}, block {block.name}"
    others, more = _other_data_sets(block)
    status = block.find_values(REFLN + "status")
    rejected = np.zeros(len(others), bool) if not status else np.isinf(status_flags(status))
    own_cell = stated_cell(block, where)
    crystal = Crystal(checked_cell(own_cell, cell, where=where), wavelength_of(block, ~others))
    group, stated = stated_spacegroup(block, crystal.cell)
    return ReflectionTable(
        where=where,
        path=Path(path),
        hkl=_indices(block, where),
        columns=refln_columns(where, block),
        spacegroup=checked_spacegroup(group, spacegroup, stated=stated, where=where),
        crystals={0: crystal},
        excluded={"other data set": others, "rejected by status": rejected},
        notes=(*notes, *more),
    )


def _indices(block: cif.Block, where: str) -> Int[np.ndarray, "rows 3"]:
    """The Miller indices."""
    columns = []
    for letter in "hkl":
        label = f"{where}: item _refln.index_{letter}"
        values = numbers(block.find_values(f"{REFLN}index_{letter}"), label)
        wrong = np.flatnonzero(~np.isfinite(values) | (values != np.rint(values)) | (np.abs(values) > 1e6))
        if not len(values) or len(wrong):
            raise ValueError(f"{label} must hold an integer in every row; wrong in rows {(wrong[:5] + 1).tolist()}")
        columns.append(values.astype(np.int32))
    return np.column_stack(columns)


def _other_data_sets(block: cif.Block) -> tuple[Bool[np.ndarray, " rows"], tuple[str, ...]]:
    """Rows of a second crystal or wavelength: one loop may hold several data sets, whose reflections repeat."""
    n_rows = len(block.find_values(REFLN + "index_h"))
    keys = [block.find_values(REFLN + name) for name in ("crystal_id", "wavelength_id")]
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
