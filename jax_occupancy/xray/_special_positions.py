"""Atoms on special positions: how often symmetry makes them, and what their occupancies in a file mean."""

from collections.abc import Iterator
from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int

from jax_occupancy.xray._bare_model import atoms_in_file
from jax_occupancy.xray._checks import checked_occupancies

# Atom and symmetry image closer than this, in Å, are one site.
ONE_SITE = 0.8
# Two atoms of a molecule have one occupancy if theirs, written with rounding, are as close as this.
ONE_OCCUPANCY = 0.02 + 1e-9
# files carry two decimals: 0.17 means 1/6
ROUNDING = 0.005
UNCHANGED = 1e-6


@dataclass(frozen=True, eq=False)
class Sites:
    """The occupancies of a file beside the fractions of their sites that are filled; `read_sites` makes it.

    An atom on a site whose symmetry has order n is made n times by the symmetry operations. Two conventions are in
    use. The *chemical* occupancy says how often the site is filled, 0 to 1, and structure factors take 1/n of it; the
    *crystallographic* one has 1/n inside. An occupancy q > 1/n can only be chemical; q ≤ 1/n is taken as
    crystallographic. Where alternates (the same atom in several letters) share a site, that reading must leave their
    chemical sum at 1 or below, else all of them are chemical. Hydrogens follow the atom that carries them.

    Molecules across a symmetry element have one occupancy, multiplied by nothing (see `across_symmetry`). Where the
    file has n times that for an atom on the element, it counts what all images of the molecule put there.
    """

    orders: Int[np.ndarray, " atoms"]  # n of each atom, by position in the file; 1 in general positions
    in_file: Float[np.ndarray, " atoms"]  # occupancies as in the file
    crystallographic: Bool[np.ndarray, " atoms"]  # whether the occupancy in the file has 1/n inside
    counted: Int[np.ndarray, " atoms"] | int = 1  # how many images of its molecule that of an atom counts

    @property
    def chemical(self) -> Float[np.ndarray, " atoms"]:
        """The fraction of each site that is filled: what a refinement starts from."""
        divided = self.in_file * self.orders
        # 0.17 on a 6-fold and 0.33 on a 3-fold site are full ones
        full = np.abs(divided - 1) <= self.orders * ROUNDING
        return np.where(self.crystallographic, np.where(full, 1.0, divided), self.in_file / self.counted)

    def to_file(self, chemical: np.ndarray) -> Float[np.ndarray, " atoms"]:
        """Say chemical occupancies, (atoms,), as the file does; those that have not changed come back as read."""
        new = np.asarray(chemical, np.float64)
        same = np.abs(new - np.clip(self.chemical, 0, 1)) <= UNCHANGED
        said = np.where(self.crystallographic, new / self.orders, new * self.counted)
        return np.where(same, np.clip(self.in_file, 0, 1), said)


def read_sites(structure: gemmi.Structure, occupancies: np.ndarray) -> Sites:
    """Recognise special positions and the convention that each occupancy is written in.

    Args:
        structure: its `atom.serial` is the position in the file plus one.
        occupancies: those in the file, by position.

    Raises:
        ValueError: as `site_orders`, or the occupancies do not match the structure.
    """
    orders = _orders(structure)
    values = checked_occupancies(occupancies, len(orders), "occupancies")
    counted = _counted(structure, orders)
    orders = np.where(counted > 0, 1, orders)
    crystallographic = np.zeros(len(orders), bool)
    for residue, atom, carrier in _special_atoms(structure, orders):
        crystallographic[atom.serial - 1] = _has_order_inside(carrier, residue, orders, values)
    return Sites(orders, values, crystallographic, np.maximum(counted, 1))


def site_orders(structure: gemmi.Structure) -> Int[np.ndarray, " atoms"]:
    """Count how often symmetry puts each atom on its own site, closer than 0.8 Å; 1 in general positions.

    Atoms of a molecule that lies across a symmetry element count once (see `across_symmetry`). Hydrogens have the order
    of the nearest other atom of their residue with the same altloc (or none): beside the axis they are not special.

    Args:
        structure: its `atom.serial` is the position in the file plus one.

    Raises:
        ValueError: the structure has more than one model, or its serial numbers are no positions.
    """
    orders = _orders(structure)
    return np.where(_counted(structure, orders) > 0, 1, orders)


def across_symmetry(structure: gemmi.Structure) -> Int[np.ndarray, " atoms"]:
    """Find the order of the site of each atom whose molecule lies across it, 1 for all others; else as `site_orders`.

    They have the occupancy, at most 1/n, of an atom of their residue and letter in another position, or n times that:
    images of such a molecule overlap, so its occupancy has 1/n inside for all its atoms, and is multiplied by nothing.
    """
    orders = _orders(structure)
    return np.where(_counted(structure, orders) > 0, orders, 1)


def _orders(structure: gemmi.Structure) -> Int[np.ndarray, " atoms"]:
    """Images of each atom on its own site, itself included, by position."""
    cell = _cell_with_images(structure)
    own = np.array([_site_order(cell, atom.pos) for atom in atoms_in_file(structure)], np.int64)
    orders = own.copy()
    for _, atom, carrier in _special_atoms(structure, own):
        orders[atom.serial - 1] = own[carrier.serial - 1]
    return orders


def _counted(structure: gemmi.Structure, orders: np.ndarray) -> Int[np.ndarray, " atoms"]:
    """Of the atoms of `across_symmetry`, how many images of their molecule their occupancy counts; 0 for all others."""
    values, counted = np.array([atom.occ for atom in atoms_in_file(structure)]), np.zeros(len(orders), np.int64)
    for residue, atom, carrier in _special_atoms(structure, orders):
        q, order = values[carrier.serial - 1], orders[carrier.serial - 1]
        peers = [a.serial - 1 for a in residue if a.altloc == carrier.altloc and not a.is_hydrogen()]
        others = values[[p for p in peers if orders[p] != order]]
        if np.any(np.abs(others - q) <= ONE_OCCUPANCY):
            counted[atom.serial - 1] = _has_order_inside(carrier, residue, orders, values)
        elif order > 1 and np.any(np.abs(order * others - q) <= ONE_OCCUPANCY):
            # a hydrogen may have the occupancy of the molecule all the same
            counted[atom.serial - 1] = order if abs(values[atom.serial - 1] - q) <= ONE_OCCUPANCY else 1
    return counted


def _special_atoms(
    structure: gemmi.Structure, orders: np.ndarray
) -> Iterator[tuple[gemmi.Residue, gemmi.Atom, gemmi.Atom]]:
    """Atoms of residues in special positions, and whose site decides: its own or that of a hydrogen's carrier."""
    if np.all(orders == 1):
        return
    for residue in (residue for chain in structure[0] for residue in chain):
        if all(orders[atom.serial - 1] == 1 for atom in residue):
            continue
        for atom in residue:
            bound = [a for a in residue if not a.is_hydrogen() and a.altloc in (atom.altloc, "\0")]
            nearest = min(bound, key=lambda other, atom=atom: other.pos.dist(atom.pos), default=atom)
            yield residue, atom, nearest if atom.is_hydrogen() else atom


def _has_order_inside(atom: gemmi.Atom, residue: gemmi.Residue, orders: np.ndarray, values: np.ndarray) -> bool:
    """Whether the occupancy of an atom on a special position is read as a crystallographic one."""
    order = orders[atom.serial - 1]
    alternates = [a.serial - 1 for a in residue if a.name == atom.name]
    # for one atom alone this is q ≤ 1/n; each is rounded, so that 0.17 + 0.17 is 1/3
    slack = ROUNDING * orders[alternates].sum()
    return bool(order > 1 and (values[alternates] * orders[alternates]).sum() <= 1 + slack)


def _site_order(cell: gemmi.UnitCell, position: gemmi.Position) -> int:
    """Images of an atom on its own site, itself included."""
    order = cell.is_special_position(position, ONE_SITE) + 1
    if order == 1:
        return 1
    # An atom a little off a site of several axes has only some of its images near; their mean has all.
    place = np.array(cell.fractionalize(position).tolist())
    orthogonal = np.array(cell.orth.mat.tolist())
    for _ in range(5):
        images = [np.array(image.apply(gemmi.Fractional(*place)).tolist()) for image in cell.images]
        away = np.array([np.zeros(3), *(image - place - np.round(image - place) for image in images)])
        near = away[np.linalg.norm(away @ orthogonal.T, axis=1) <= ONE_SITE]
        place, order = place + near.mean(axis=0), len(near)
    return order


def _cell_with_images(structure: gemmi.Structure) -> gemmi.UnitCell:
    # a structure that was built in memory has no images until setup_cell_images, which would change the caller's
    empty = gemmi.Structure()
    empty.cell, empty.spacegroup_hm = structure.cell, structure.spacegroup_hm
    empty.setup_cell_images()
    return empty.cell
