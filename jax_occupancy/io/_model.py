"""A model read from a file, with everything needed to write it back, and gemmi's structures in memory."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from jax_occupancy.io._atoms import atom_table, first_labels, walk
from jax_occupancy.io._files import PathLike, model_format_of, read_source
from jax_occupancy.io._header import add_tls
from jax_occupancy.io._mmcif import parse_mmcif
from jax_occupancy.io._pdb import parse_pdb


@dataclass(frozen=True, eq=False)
class Model:
    """One model of a coordinate file; a position (0-based row of `atoms`) means the same atom in every field.

    Attributes:
        path: The file it was read from.
        atoms: The atom table, one row for each atom in the order of the file; coordinates in Å, B in Å², U in Å².
        cell: The unit cell, or None if the file gives none.
        spacegroup: The space group, or None if the file gives none or one that gemmi does not know.
        structure: gemmi's structure with this model only; `atom.serial` is position + 1, because gemmi puts together
            the atoms of residues that a file splits.
        source: The bytes of the file, decompressed.
        rows: For each atom the line (PDB) or the row of `_atom_site` (mmCIF) it was read from, 0-based.
        radiations: What the file says it was measured with: "electron", "neutron", "xray", none or several of them.
        added_b: What `atoms` have in B factors beyond the file, whose header calls its B factors residual, in Å²; None
            if nothing.
        residual: Whether `atoms` have B factors that the file calls residual.
        notes: What the reader should know of.
    """

    path: Path
    format: Literal["pdb", "mmcif"]
    atoms: pd.DataFrame
    cell: gemmi.UnitCell | None
    spacegroup: gemmi.SpaceGroup | None
    structure: gemmi.Structure = field(repr=False)
    model_number: int
    source: bytes = field(repr=False)
    rows: np.ndarray = field(repr=False)
    radiations: tuple[str, ...] = ()
    added_b: np.ndarray | None = field(default=None, repr=False)
    residual: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atoms)

    def __repr__(self) -> str:
        group = self.spacegroup.hm if self.spacegroup else None
        return f"Model({str(self.path)!r}, {self.n_atoms} atoms, {self.format}, spacegroup={group!r})"


def read_model(path: PathLike, *, model_number: int | None = None) -> Model:
    """Read a model from a PDB or mmCIF file, plain or gzipped; its content decides which.

    The atoms keep the order of the file. A file without a cell can be read too: groups need none. Occupancies that the
    file does not state are taken as gemmi takes them: 1 where mmCIF says '?' or '.' and where a PDB line ends before
    the field, 0 where the field of a longer PDB line is blank.

    Args:
        model_number: Which model to read when the file holds several (the number on the MODEL record or in
            `_atom_site.pdbx_PDB_model_num`).

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no such file, or it is a folder.
        ValueError: If it is no model, is damaged, holds no atoms or several models, has an impossible cell, or a
            coordinate, occupancy, B or U that is not a finite number.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import write_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = read_model(write_example(folder).model)
        >>> model.n_atoms, model.spacegroup.hm, model.atoms.loc[9, "occupancy"].item()
        (128, 'P 21 21 21', 0.5)
    """
    return _model_of(path, read_source(path), model_number)


def placed_in(model: Model, crystal: Any) -> Model:
    """The model, with the cell and the space group of its data where its file names none; a note says so.

    Args:
        crystal: anything with `cell` and `spacegroup`, such as `Reflections`.
    """
    lacks = {"unit cell": model.cell is None, "space group": model.spacegroup is None}
    if not any(lacks.values()) or crystal.cell is None:
        return model
    structure, names = model.structure.clone(), " and ".join(name for name, one in lacks.items() if one)
    structure.cell, structure.spacegroup_hm = model.cell or crystal.cell, crystal.spacegroup.xhm()
    structure.setup_cell_images()
    note = f"the file of the model has no {names} that is known: taken from the data"
    new = {"cell": structure.cell, "spacegroup": crystal.spacegroup, "structure": structure}
    return replace(model, **new, notes=(*model.notes, note))


def _model_of(path: PathLike, source: bytes, model_number: int | None = None) -> Model:
    file_format = model_format_of(path, source)
    parse = parse_pdb if file_format == "pdb" else parse_mmcif
    try:
        structure, atoms, rows, header = parse(source, path=path, model_number=model_number)
    except UnicodeDecodeError as error:
        # gemmi cuts strings by bytes
        raise ValueError(f"{path} has a letter that is not ASCII where one character is wanted ({error})") from error
    rows.flags.writeable = False
    added_b, notes = add_tls(structure, atoms, header)
    unknown = np.flatnonzero((atoms["element"] == "X").to_numpy())
    if len(unknown):
        notes += (
            f"atoms of unknown element scatter nothing here: {first_labels(atoms, unknown)}; give their element (PDB "
            "columns 77-78, mmCIF _atom_site.type_symbol) if it is known",
        )
    still = np.flatnonzero(((atoms["tempfactor"] == 0) & atoms["u11"].isna() & (atoms["occupancy"] > 0)).to_numpy())
    if len(still):
        notes += (
            f"{len(still)} of {len(atoms)} atoms have a B factor of zero: {first_labels(atoms, still)}; occupancies "
            "take up what B factors lack: refine these first",
        )
    has_cell = structure.cell.is_crystal()
    if has_cell:
        _check_cell(structure.cell, path)
    return Model(
        path=Path(path),
        format="pdb" if file_format == "pdb" else "mmcif",
        atoms=atoms,
        cell=structure.cell if has_cell else None,
        spacegroup=structure.find_spacegroup() if has_cell else None,
        structure=structure,
        model_number=structure[0].num,
        source=source,
        rows=rows,
        radiations=header.radiations,
        added_b=added_b,
        residual=header.residual and added_b is None,
        notes=notes,
    )


def _check_cell(cell: gemmi.UnitCell, path: Any) -> None:
    """Refuse a cell that can't hold an atom; gemmi takes any numbers, and 0 or NaN for what is none."""
    edges, angles = cell.parameters[:3], cell.parameters[3:]
    # the comparisons are false for NaN
    possible = all(0 < edge < 1e5 for edge in edges) and all(0 < angle < 180 for angle in angles) and cell.volume > 1
    if not possible:
        shown = ", ".join(f"{value:g}" for value in cell.parameters)
        raise ValueError(
            f"{path} has an impossible unit cell ({shown}); correct CRYST1 or _cell, or remove it: groups need no cell"
        )


def from_gemmi(structure: gemmi.Structure) -> pd.DataFrame:
    """Make the atom table of a structure in memory: columns as in `Model.atoms` (Å, Å²), rows in gemmi's order.

    Raises:
        ValueError: If there are several models or no atoms, or an atom has no residue number or a
            number that is not finite.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> from_gemmi(read_example()[0].structure)[["resname", "resseq", "altloc", "occupancy"]].values[9].tolist()
        ['SER', 2, 'A', 0.5]
    """
    copy = _one_model(structure).clone()
    rows = list(walk(copy))
    pieces: dict[tuple[str, str], int] = {}
    for number, (_, _, atom) in enumerate(rows, start=1):
        atom.serial = number
    text = {
        "record": ["HETATM" if residue.het_flag == "H" else "ATOM" for _, residue, _ in rows],
        "occupancy": [_decimal(atom.occ) for _, _, atom in rows],
        "tempfactor": [_decimal(atom.b_iso) for _, _, atom in rows],
        **{axis: [getattr(atom.pos, axis) for _, _, atom in rows] for axis in "xyz"},
        "segment": [pieces.setdefault((chain.name, residue.subchain), len(pieces)) for chain, residue, _ in rows],
    }
    return atom_table(copy, text=text, path=f"the structure {structure.name!r}")


def model_from_gemmi(structure: gemmi.Structure) -> Model:
    """Make a model of a structure that is in memory already, as if it were read from an mmCIF file of it.

    Raises:
        ValueError: As `read_model`.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, _ = read_example()
        >>> model_from_gemmi(model.structure).atoms["occupancy"].equals(model.atoms["occupancy"])
        True
    """
    copy = _one_model(structure).clone()
    copy.setup_entities()
    model = _model_of(f"the structure {structure.name!r}", copy.make_mmcif_document().as_string().encode())
    return replace(model, path=Path(Path(structure.name).name or "structure").with_suffix(".cif"))


def to_gemmi(model: Model | gemmi.Structure, occupancies: ArrayLike) -> gemmi.Structure:
    """Make a copy of a model, or of a structure of one model, that has new occupancies, in single precision.

    There is one for each atom, in the order of `model.atoms`; for a structure in that of `from_gemmi`.

    Raises:
        ValueError: If the number of occupancies is not the number of atoms, one is not finite, or the structure has
            several models.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, _ = read_example()
        >>> to_gemmi(model, model.atoms["occupancy"] / 2)[0]["A"][0][0].occ
        0.5
    """
    copy = model.structure.clone() if isinstance(model, Model) else _one_model(model).clone()
    atoms = [atom for _, _, atom in walk(copy)]
    values = np.asarray(occupancies, np.float64)
    if values.shape != (len(atoms),) or not np.isfinite(values).all():
        raise ValueError(
            f"occupancies has shape {values.shape} and {int((~np.isfinite(values)).sum())} values that are not finite; "
            f"wanted ({len(atoms)},), one finite number for each atom"
        )
    for position, atom in enumerate(atoms):
        atom.occ = values[atom.serial - 1 if isinstance(model, Model) else position]
    return copy


def _decimal(value: float) -> float:
    """The shortest decimal that gemmi's single precision stands for: 0.33 and not 0.33000001."""
    return float(str(np.float32(value)))


def _one_model(structure: gemmi.Structure) -> gemmi.Structure:
    if len(structure) != 1:
        raise ValueError(f"the structure {structure.name!r} has {len(structure)} models; give a structure of one")
    if structure[0].count_atom_sites() == 0:
        raise ValueError(f"the structure {structure.name!r} holds no atoms")
    return structure
