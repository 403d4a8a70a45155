"""The items of a `_refln` loop as typed columns, its status codes among them."""

import os

import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]  (compiled, has stubs)
from jaxtyping import Float

from jax_occupancy.io._reflection_table import STATUS, Column

REFLN = "_refln."
# MTZ types of the items that the dictionary of the PDB has (mmcif_pdbx, category refln).
_KINDS = {
    "F_meas": "F",
    "F_meas_au": "F",
    "F_meas_sigma": "Q",
    "F_meas_sigma_au": "Q",
    "intensity_meas": "J",
    "intensity_sigma": "Q",
    "F_squared_meas": "J",
    "F_squared_sigma": "Q",
    "pdbx_F_plus": "G",
    "pdbx_F_minus": "G",
    "pdbx_F_plus_sigma": "L",
    "pdbx_F_minus_sigma": "L",
    "pdbx_I_plus": "K",
    "pdbx_I_minus": "K",
    "pdbx_I_plus_sigma": "M",
    "pdbx_I_minus_sigma": "M",
    "pdbx_r_free_flag": "I",
    "F_calc": "F",
    "F_calc_au": "F",
    "F_squared_calc": "J",
    "intensity_calc": "J",
    "pdbx_FWT": "F",
    "pdbx_DELFWT": "F",
    "pdbx_F_calc_part_solvent": "F",
    "pdbx_F_calc_with_solvent": "F",
    "F_part_au": "F",
    "phase_calc": "P",
    "phase_meas": "P",
    "pdbx_PHWT": "P",
    "pdbx_DELPHWT": "P",
    "fom": "W",
}
_FLAG_OF_CODE = {"f": 0.0, "o": 1.0, "<": 1.0}


def refln_columns(where: str | os.PathLike[str], block: cif.Block) -> tuple[Column, ...]:
    """The items of `_refln` that we know, in the order of the file; values are read when they are asked for."""
    spelled = {name.lower(): name for name in (*_KINDS, "status")}
    columns = []
    for item in block.find_mmcif_category(REFLN).tags:
        # names of items have no case
        tag = spelled.get(item[len(REFLN) :].lower(), "")
        kind = _KINDS.get(tag)
        if kind is not None:
            columns.append(_number_column(where, block, tag, kind))
        elif tag == "status":
            columns += _status_columns(block)
    return tuple(columns)


def _number_column(where: str | os.PathLike[str], block: cif.Block, tag: str, kind: str) -> Column:
    # gemmi's block keeps its document alive for as long as this function lives
    return Column(tag, kind, lambda: numbers(block.find_values(REFLN + tag), f"{where}: item {REFLN}{tag}"))


def numbers(column: cif.Column, label: str) -> Float[np.ndarray, " rows"]:
    """The numbers of a column, NaN for '?' and '.'.

    Raises:
        ValueError: If anything else is no number.
    """
    values = np.array([cif.as_number(text) for text in column], np.float64)
    odd = []
    for row in np.flatnonzero(np.isnan(values)).tolist():
        if not cif.is_null(column[row]):
            try:
                # quoted numbers, and the nan and inf of careless programs
                values[row] = float(cif.as_string(column[row]))
            except ValueError:
                odd.append(f"{column[row]!r} in row {row + 1}")
    if odd:
        raise ValueError(f"{label} has {len(odd)} values that are no numbers, first {', '.join(odd[:3])}")
    return values


def _status_columns(block: cif.Block) -> list[Column]:
    """The column of status codes, if it says which reflections are free."""
    column = block.find_values(REFLN + "status")
    flags = status_flags(column)
    used = flags[np.isfinite(flags)]
    codes = {cif.as_string(text).strip().lower() for text in column}
    if codes.isdisjoint(_FLAG_OF_CODE) and len(used):
        # old files have the 0 and 1 of other programs here
        return [Column("status", "I", lambda: flags)]
    return [Column("status", STATUS, lambda: np.where(np.isinf(flags), np.nan, flags))] if (used == 0).any() else []


def status_flags(column: cif.Column) -> Float[np.ndarray, " rows"]:
    """0 for the free set, 1 for the working set, NaN for no code; infinite where the code says not to use it.

    The dictionary has o (observed), f (free), < (weak), and x, -, h, l for what is unreliable, systematically absent
    or outside the resolution limits of the refinement.
    """
    flag_of = {}
    for text in set(column):
        code = cif.as_string(text).strip().lower()
        number = float(code) if code.lstrip("-").isdigit() else np.inf
        flag_of[text] = np.nan if cif.is_null(text) or not code else _FLAG_OF_CODE.get(code, number)
    return np.array([flag_of[text] for text in column], np.float64)
