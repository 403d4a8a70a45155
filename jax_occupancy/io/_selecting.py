"""Looking into a model: atoms by gemmi's selection syntax, which conformers touch, and what meets its images."""

import gemmi
import numpy as np
from jaxtyping import Int

from jax_occupancy.io._atoms import walk
from jax_occupancy.io._model import Model

# Å; images of one atom as close as this are of an atom on a special position
ONE_SITE = 0.8


def select_atoms(model: Model | gemmi.Structure, text: str) -> Int[np.ndarray, " selected"]:
    """Find the atoms that a selection in gemmi's syntax matches: 0-based positions in the file, increasing, maybe none.

    Args:
        model: It, or a structure whose `atom.serial` is the position in the file plus one.
        text: /model/chain/residues(names)/atoms[elements]:altloc, all parts optional; "*" is anything and ":" without a
            letter after it means atoms without one.

    Raises:
        ValueError: If the selection cannot be read.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> select_atoms(read_example()[0], "//A/2/CB:A").tolist()
        [9]
    """
    structure = model.structure if isinstance(model, Model) else model
    try:
        selection = gemmi.Selection(text)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{text!r} is no selection in gemmi's syntax, such as //A/45/CA:A ({error})") from error
    found = [
        atom.serial - 1
        for one in selection.models(structure)
        for chain in selection.chains(one)
        for residue in selection.residues(chain)
        for atom in selection.atoms(residue)
    ]
    return np.sort(np.array(found, np.int64))


def atoms_within(model: Model, atoms: Int[np.ndarray, " some"], distance: float) -> Int[np.ndarray, " found"]:
    """Find the atoms at most a distance in Å away from some atoms or their symmetry images, those atoms included.

    Atoms are 0-based positions in the file, increasing in what is returned.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> atoms_within(read_example()[0], np.array([116]), 3.0).tolist()
        [116, 117]
    """
    structure, chosen = model.structure, set(atoms.tolist())
    search = gemmi.NeighborSearch(structure, max(float(distance), 1.0)).populate()
    places = [atom.pos for _, _, atom in walk(structure) if atom.serial - 1 in chosen]
    marks = (mark for place in places for mark in search.find_atoms(place, "\0", radius=float(distance)))
    found = {mark.to_cra(structure[0]).atom.serial - 1 for mark in marks}
    return np.array(sorted(chosen | found), np.int64)


def find_contacts(model: Model, distance: float | int) -> Int[np.ndarray, "pairs 2"]:
    """Find heavy atoms of two residues that carry the same letter and lie close together, symmetry images included.

    Returns:
        0-based positions of both atoms of each pair, the smaller first, every pair once, sorted.

    Raises:
        ValueError: If `distance`, the largest, is not a positive number up to 20 Å.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> find_contacts(read_example()[0], 4.0).tolist()
        [[46, 108], [47, 102], [47, 108]]
    """
    if not 0 < distance <= 20:
        raise ValueError(f"the contact distance is {distance}; wanted Å, more than 0 and at most 20 (4 is usual)")
    structure = model.structure.clone()
    # gemmi also lets a letter meet the lack of one; with all of them lettered, letters are equal.
    gemmi.Selection(":").remove_selected(structure)
    found = _contacts(structure, distance, gemmi.ContactSearch.Ignore.SameResidue)
    return np.unique(np.array([(a.serial - 1, b.serial - 1) for a, b in found], np.int64).reshape(-1, 2), axis=0)


def images_within(model: Model, distance: float) -> list[tuple[int, int, str]]:
    """Find heavy atoms at most a distance in Å away from a symmetry image of another, whatever their letters.

    Atoms that are as close without symmetry, and atoms on special positions beside themselves, are left out.

    Returns:
        0-based positions of both atoms, the smaller first, and the operation that brings the second one there as mmCIF
        writes it, such as "2_564"; every pair and operation once, sorted. Of operations that bring an atom on a special
        position to one place only the first.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> images_within(read_example()[0], 1.0)
        []
    """
    structure, found = model.structure.clone(), set()
    for _, _, atom in walk(structure):
        atom.altloc = "\0"  # gemmi leaves out pairs of different letters
    for one, other in _contacts(structure, distance, gemmi.ContactSearch.Ignore.Nothing):
        if one.serial == other.serial or one.pos.dist(other.pos) > distance:
            codes = _operations(structure.cell, one.pos, other.pos, distance)
            found.update((one.serial - 1, other.serial - 1, code) for code in codes)
    return sorted(found)


def _operations(cell: gemmi.UnitCell, one: gemmi.Position, other: gemmi.Position, distance: float) -> list[str]:
    """The operations that bring a point near another one; the first of several that bring it to one place."""
    codes, places = [], []
    for number in range(len(cell.images) + 1):
        image = cell.find_nearest_pbc_image(one, other, number)
        place = cell.find_nearest_pbc_position(one, other, number)
        if image.dist() <= distance and not image.same_asu() and all(place.dist(old) > ONE_SITE for old in places):
            codes.append(image.symmetry_code(True))
            places.append(place)
    return codes


def _contacts(
    structure: gemmi.Structure, distance: float | int, ignore: gemmi.ContactSearch.Ignore
) -> list[tuple[gemmi.Atom, gemmi.Atom]]:
    """Pairs of heavy atoms that are as close, symmetry images included, the first in the file first."""
    structure.remove_hydrogens()
    structure.setup_cell_images()
    if not any(one.count_atom_sites() for one in structure):
        return []
    # A file without a cell gives gemmi a cell of 1 Å, which it replaces by a box around the atoms. Cells of the search
    # have at least 4 Å: of 1 Å there are very many.
    neighbours = gemmi.NeighborSearch(structure, max(float(distance), 4.0)).populate(include_h=False)
    search = gemmi.ContactSearch(float(distance))
    search.ignore = ignore
    pairs = [(contact.partner1.atom, contact.partner2.atom) for contact in search.find_contacts(neighbours)]
    return [(a, b) if a.serial < b.serial else (b, a) for a, b in pairs]
