"""The cell, the space group and the wavelength that a data block of mmCIF states."""

import gemmi
import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)
from jaxtyping import Bool

from jax_occupancy.io._reflection_table import stated_wavelength
from jax_occupancy.io._refln_columns import REFLN, numbers


def stated_cell(block: cif.Block, where: str) -> gemmi.UnitCell | None:
    """The cell that the block states."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    columns = [block.find_values("_cell." + name) for name in names]
    if not all(columns):
        return None
    values = [numbers(column, f"{where}: item _cell.{name}")[0] for column, name in zip(columns, names, strict=True)]
    return None if np.isnan(values).any() else gemmi.UnitCell(*values)


def stated_spacegroup(block: cif.Block, cell: gemmi.UnitCell) -> tuple[gemmi.SpaceGroup | None, str]:
    """The space group that the block states by name, else by number; and what it says."""
    names = ("_symmetry.space_group_name_H-M", "_space_group.name_H-M_alt", "_space_group.name_H-M_full")
    stated = ""
    for tag in names:
        text = _single(block, tag)
        if text:
            stated = stated or text
            # the angles tell H 3 from R 3
            found = gemmi.find_spacegroup_by_name(text, cell.alpha, cell.gamma)
            if found is not None:
                return found, stated
    for tag in ("_symmetry.Int_Tables_number", "_space_group.IT_number"):
        text = _single(block, tag)
        if text.isdigit() and 1 <= int(text) <= 230:
            return gemmi.find_spacegroup_by_number(int(text)), stated or text
    return None, stated


def _single(block: cif.Block, tag: str) -> str:
    """The one value of an item, empty if there is none."""
    column = block.find_values(tag)
    return cif.as_string(column[0]) if column and not cif.is_null(column[0]) else ""


def wavelength_of(block: cif.Block, taken: Bool[np.ndarray, " rows"]) -> float | None:
    """The wavelength in Å, if it is stated and there is one only, or one for the rows that were taken."""
    values = block.find_values("_diffrn_radiation_wavelength.wavelength")
    ids = list(block.find_values("_diffrn_radiation_wavelength.id"))
    numbers = [stated_wavelength(cif.as_number(text)) for text in values]
    used = block.find_values(REFLN + "wavelength_id")
    if len(numbers) > 1 and len(ids) == len(numbers) and used:
        row = int(np.flatnonzero(taken)[0])
        numbers = [number for number, name in zip(numbers, ids, strict=True) if name == used[row]]
    known = {number for number in numbers if number is not None}
    return known.pop() if len(known) == 1 else None
