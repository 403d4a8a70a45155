"""Writing a model back with new occupancies."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from jax_occupancy.io._atoms import first_labels, walk
from jax_occupancy.io._files import PathLike, atomic_writer, format_of_name
from jax_occupancy.io._header import RESIDUAL_FLAG, RESIDUAL_REMARK
from jax_occupancy.io._leaving_out import leave_out_of_mmcif, leave_out_of_pdb, leave_out_of_structure
from jax_occupancy.io._mmcif import add_item, atom_block, edit_mmcif, read_document, to_bytes
from jax_occupancy.io._model import Model
from jax_occupancy.io._pdb import edit_pdb, scan_lines
from jax_occupancy.io._rounding import ConformerSets, rounded_units

_DECIMALS = {"pdb": 2, "mmcif": 4}
# what six columns with two decimals hold
_PDB_B_RANGE = (-99.99, 999.99)
# and eight with three
_PDB_RANGE = (-999.999, 9999.999)
# a sum of float32 occupancies may exceed one by a few units in the last place
_ROUNDING_SLACK = 1e-6


def write_model(
    model: Model,
    path: PathLike,
    occupancies: ArrayLike,
    *,
    esds: ArrayLike | None = None,
    b_shifts: ArrayLike | None = None,
    shifts: ArrayLike | None = None,
    sets: ConformerSets = (),
    without: ArrayLike | None = None,
) -> None:
    """Write a model with new occupancies, as PDB or mmCIF, two or four decimals.

    In the format that was read nothing but the occupancies (and B factors and coordinates that are shifted) changes:
    every other byte of a PDB file, item and block of an mmCIF file stays, as does the spelling of a value that is what
    it was. The other format is made by gemmi. The file appears under its name only when it is complete.

    Args:
        path: The file to write: .pdb or .ent, .cif or .mmcif, each also .gz. Never the file that was read.
        occupancies: One for each atom, 0 to 1, in the order of `model.atoms`.
        esds: Standard uncertainties of the occupancies, NaN for none; they go to `_atom_site.occupancy_esd` (mmCIF
            only). Without them an esd in the file is voided for atoms whose occupancy changes.
        b_shifts: What is added to the B factor of each atom, in Å²; to the diagonal of an anisotropic U goes as much,
            divided by 8π².
        shifts: How far each atom is moved, in Å, (atoms, 3).
        sets: One entry for each set of conformers that sum to one: the atoms of each of its conformers. Their
            occupancies are rounded by largest remainder, so that their sum in the file is exactly one.
        without: Which atoms to leave out of the file, bool, (atoms,), with their tensors and links.

    Raises:
        ValueError: If the name has no known extension, `path` is the file that was read, occupancies, esds or
            shifts have the wrong length or values, esds go to a PDB file, `sets` do not sum to one, no atom is left, or
            the format cannot hold the model, a shifted B or coordinate.
        FileNotFoundError, IsADirectoryError: If the folder of `path` does not exist, or `path` is one.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import read_example
        >>> model, _ = read_example()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_model(model, f"{folder}/half.pdb", model.atoms["occupancy"] / 2)
    """
    file_format = format_of_name(path)
    if file_format is None:
        raise ValueError(f"{path}: the extension must be .pdb, .ent, .cif or .mmcif, each optionally with .gz")
    if os.path.exists(path) and model.path.exists() and os.path.samefile(path, model.path):
        raise ValueError(f"{path} is the file the model was read from; give another name, so that it stays as it was")
    slack, wanted = _ROUNDING_SLACK, "numbers from 0 to 1"
    values = _checked(model, occupancies, "occupancies", wanted, lambda q: (q >= -slack) & (q <= 1 + slack))
    if esds is not None:
        if file_format == "pdb":
            raise ValueError("a PDB file has no place for standard uncertainties; write .cif, or leave esds out")
        wanted = "finite, not negative, NaN for none"
        esds = _checked(model, esds, "esds", wanted, lambda esd: np.isnan(esd) | ((esd >= 0) & np.isfinite(esd)))
    columns = [] if shifts is None else np.asarray(shifts, np.float64).reshape(model.n_atoms, 3).T
    moves = np.zeros((model.n_atoms, 4))
    for i, given in enumerate([b_shifts, *columns]):
        if given is not None:
            name, wanted = ("shifts", "finite, in Å") if i else ("b_shifts", "finite, in Å²")
            moves[:, i] = _checked(model, given, name, wanted, np.isfinite)
    names = ["tempfactor", "x", "y", "z"]
    new = pd.DataFrame(model.atoms[names].to_numpy(np.float64) + moves, columns=pd.Index(names))
    if file_format == "pdb":
        _check_room(model, new, moves)
    new["unit"] = rounded_units(values, decimals=_DECIMALS[file_format], sets=sets)
    # more decimals survive where the value is the one that was read and no set rounds it
    keep = values == model.atoms["occupancy"].to_numpy(np.float64)
    for member in (member for members in sets for member in members):
        keep[np.asarray(member, np.int64)] = False
    new["keep"] = keep
    new["b_shift"], new["moved"] = moves[:, 0], moves[:, 1:].any(axis=1)
    if esds is not None:
        new["esd"] = esds
    gone = np.zeros(model.n_atoms, bool)
    if without is not None:
        gone = _checked(model, without, "without", "true or false", lambda one: (one == 0) | (one == 1)) == 1
    if gone.all():
        raise ValueError(f"{path} would have no atoms: without leaves out all {model.n_atoms}; keep some")
    data = _edited(model, new, file_format, gone)
    with atomic_writer(path) as handle:
        # no name and no time in the gzip header: the same model gives the same bytes
        handle.write(gzip.compress(data, mtime=0) if Path(path).suffix.lower() == ".gz" else data)


def _edited(model: Model, new: pd.DataFrame, file_format: str, gone: np.ndarray) -> bytes:
    """The source with new values for each atom, or what gemmi makes of the model in the other format."""
    structure, rows, same = model.structure.clone(), model.rows, file_format == model.format
    if same:
        new["tempfactor"] -= 0.0 if model.added_b is None else model.added_b
    else:
        if gone.any():
            leave_out_of_structure(structure, gone)
        # gemmi's order puts split residues together
        new = new.iloc[[atom.serial - 1 for _, _, atom in walk(structure)]].assign(keep=False)
        rows, gone = np.arange(len(new)), np.zeros(len(new), bool)
    structure.setup_entities()
    removed = rows[gone].tolist()
    if file_format == "pdb":
        text = model.source if same else _pdb_text(model, structure)
        edited = edit_pdb(text, rows=rows if same else scan_lines(text, path=model.path)[1], new=new)
        return leave_out_of_pdb(edited, removed) if removed else edited
    # gemmi calls whatever it reads from memory "string"; the name of a block has no spaces
    structure.name = "_".join(Path(model.path).name.split(".")[0].split()) or "model"
    document = read_document(model.source, path=model.path) if same else structure.make_mmcif_document()
    if model.residual and not same:
        add_item(document.sole_block(), RESIDUAL_FLAG, "'LIKELY RESIDUAL'")
    edit_mmcif(document, path=model.path, rows=rows, new=new)
    if removed:
        leave_out_of_mmcif(atom_block(document, path=model.path), removed)
    return to_bytes(document)


def _pdb_text(model: Model, structure: gemmi.Structure) -> bytes:
    """The PDB text that gemmi makes of a model that came from mmCIF, if its names fit into the columns."""
    widths = {"chainid": 2, "resname": 3, "name": 4, "altloc": 1}
    for column, width in widths.items():
        long = np.flatnonzero((model.atoms[column].str.len() > width).to_numpy())
        if len(long):
            raise ValueError(
                f"{model.path}: {column} is longer than the {width} characters a PDB file has for it: "
                f"{first_labels(model.atoms, long)}; write .cif instead"
            )
    try:
        text = structure.make_pdb_string().encode()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{model.path} cannot be written as PDB ({error}); write .cif instead") from error
    return RESIDUAL_REMARK + text if model.residual else text


def _checked(
    model: Model, values: ArrayLike, name: str, wanted: str, good: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.shape != (model.n_atoms,):
        raise ValueError(
            f"{name} has shape {array.shape}; wanted ({model.n_atoms},), one for each atom of {model.path}"
        )
    wrong = np.flatnonzero(~good(array))
    if len(wrong):
        shown = first_labels(model.atoms.assign(given=array), wrong, values="given")
        raise ValueError(f"{name} must be {wanted}: {shown}")
    return array


def _check_room(model: Model, new: pd.DataFrame, moves: np.ndarray) -> None:
    for column, moved in zip(new, moves.T, strict=True):
        symbol, name, unit, decimals, (low, high) = (
            ("B", "B factors", "Å²", 2, _PDB_B_RANGE)
            if column == "tempfactor"
            else (column, "coordinates", "Å", 3, _PDB_RANGE)
        )
        values = np.round(new[column].to_numpy(), decimals)
        wrong = np.flatnonzero((moved != 0) & ((values < low) | (values > high)))
        if len(wrong):
            shown = first_labels(model.atoms.assign(**{symbol: values}), wrong, values=symbol)
            raise ValueError(f"a PDB file has room for {name} from {low} to {high} {unit}: {shown}; write .cif instead")
