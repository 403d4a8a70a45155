"""The weight 1/n of atoms on special positions."""

import gemmi
import numpy as np
from jaxtyping import Float

from jax_occupancy.xray._bare_model import occupancies_by_position, positions
from jax_occupancy.xray._checks import checked_occupancies

# files carry two decimals: 0.17 means 1/6
ROUNDING = 0.005


def site_weights(
    structure: gemmi.Structure, occupancies: np.ndarray | None = None, *, max_distance: float = 0.8
) -> Float[np.ndarray, " atoms"]:
    """Find the factor that turns the occupancy of each atom into its share of the asymmetric unit.

    An atom on a site whose symmetry has order n is made n times by the symmetry operations. Two conventions are in
    use. An occupancy q > 1/n can only be the chemical one, of the site; its weight is 1/n. An occupancy q ≤ 1/n is
    taken as crystallographic, with 1/n inside; its weight is 1. Hydrogens follow the nearest other atom of their
    residue with the same altloc (or none), because a hydrogen beside the axis is not itself special.

    Args:
        structure: Structure whose `atom.serial` is the position in the file plus one.
        occupancies: Occupancy of each atom, by position, that the convention is read from; those of the structure
            when left out.
        max_distance: Atom and symmetry image closer than this, in Å, are one site.

    Returns:
        One weight per atom, by position: 1 or 1/n.

    Raises:
        ValueError: The structure has more than one model, its serial numbers are no positions, or the occupancies do
            not match it.

    Example:
        >>> import gemmi
        >>> structure = gemmi.Structure()
        >>> structure.cell = gemmi.UnitCell(10, 10, 10, 90, 90, 90)
        >>> structure.spacegroup_hm = "P 1 2 1"
        >>> chain, residue = gemmi.Chain("A"), gemmi.Residue()
        >>> for serial, x in ((1, 0.0), (2, 3.0)):
        ...     atom = gemmi.Atom()
        ...     atom.element, atom.pos, atom.serial = gemmi.Element("C"), gemmi.Position(x, 1, 0), serial
        ...     _ = residue.add_atom(atom)
        >>> _ = chain.add_residue(residue)
        >>> model = gemmi.Model(1)
        >>> _ = model.add_chain(chain)
        >>> _ = structure.add_model(model)
        >>> site_weights(structure).tolist()
        [0.5, 1.0]
    """
    n_atoms = len(positions(structure))
    found = occupancies_by_position(structure) if occupancies is None else occupancies
    values = checked_occupancies(found, n_atoms, "occupancies")
    cell = _cell_with_images(structure)
    weights = np.ones(n_atoms)
    for chain in structure[0]:
        for residue in chain:
            heavy = [atom for atom in residue if not atom.is_hydrogen()]
            for atom in residue:
                carrier = _carrier(atom, heavy)
                order = cell.is_special_position(carrier.pos, max_distance) + 1
                if values[carrier.serial - 1] > 1 / order + ROUNDING:
                    weights[atom.serial - 1] = 1 / order
    return weights


def _carrier(atom: gemmi.Atom, heavy: list[gemmi.Atom]) -> gemmi.Atom:
    """The atom whose site decides: itself, or the one a hydrogen is bound to."""
    if not atom.is_hydrogen():
        return atom
    bound = [other for other in heavy if other.altloc in (atom.altloc, "\0")]
    return min(bound, key=lambda other: other.pos.dist(atom.pos), default=atom)


def _cell_with_images(structure: gemmi.Structure) -> gemmi.UnitCell:
    # a structure that was built in memory has no images until setup_cell_images, which would change the caller's
    empty = gemmi.Structure()
    empty.cell = structure.cell
    empty.spacegroup_hm = structure.spacegroup_hm
    empty.setup_cell_images()
    return empty.cell
