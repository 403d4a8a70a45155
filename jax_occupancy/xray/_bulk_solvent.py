"""Structure factors of the flat bulk solvent."""

from collections.abc import Sequence

import gemmi
import numpy as np
from jaxtyping import Complex

from jax_occupancy.xray._bare_model import bare_model, occupancies_by_position, positions
from jax_occupancy.xray._checks import checked_hkl, checked_occupancies, checked_positions


def solvent_structure_factors(
    structure: gemmi.Structure,
    hkl: np.ndarray,
    *,
    refinable: Sequence[int] | np.ndarray,
    without: Sequence[int] | np.ndarray = (),
    occupancies: np.ndarray | None = None,
    spacing: float | None = None,
) -> Complex[np.ndarray, " reflections"]:
    r"""Transform the mask of the solvent: 1 in the solvent, 0 inside the molecules.

    Every refinable atom is inside the molecule whatever its occupancy, so that the answer of a refinement does not
    depend on its start; other atoms at occupancy zero are ignored. Radii, probe and shrinkage are those of cctbx (1.1
    and 0.9 Å), hydrogens do not count (Jiang & Brünger, J. Mol. Biol. 243, 100-115, 1994).

    Args:
        structure: Structure whose `atom.serial` is the position in the file plus one. It is not changed.
        hkl: Miller indices, integers (reflections, 3).
        refinable: Positions of the refinable atoms.
        without: Positions of atoms to leave out of the mask. The difference between the mask without and with a group
            is the solvent that flows in when the group is absent.
        occupancies: Occupancy of each atom, by position; those of the structure when left out.
        spacing: Largest distance between grid points, in Å; the smaller of 0.4 Å and d_min/3 when left out.

    Returns:
        F_mask at density 1 electron per Å³, in complex128 with the accuracy of single precision.

    Raises:
        ValueError: An argument does not match the structure, or an atom has a coordinate that is not finite.

    Example:
        >>> import gemmi, numpy as np
        >>> structure = gemmi.read_pdb_string(
        ...     "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1\n"
        ...     "HETATM    1  O   HOH A   1       0.000   0.000   0.000  0.00 10.00           O\n"
        ... )
        >>> hkl = np.array([[0, 0, 1]])
        >>> solvent_structure_factors(structure, hkl, refinable=[]).round().real.tolist()
        [0.0]
        >>> bool(solvent_structure_factors(structure, hkl, refinable=[0]).real[0] < -5)
        True
    """
    hkl = checked_hkl(hkl)
    n_atoms = len(positions(structure))
    found = occupancies_by_position(structure) if occupancies is None else occupancies
    inside = (checked_occupancies(found, n_atoms, "occupancies") != 0).astype(np.float64)
    inside[checked_positions(refinable, n_atoms, "refinable")] = 1.0
    inside[checked_positions(without, n_atoms, "without")] = 0.0
    if len(hkl) == 0:
        return np.zeros(0, dtype=np.complex128)
    if spacing is None:
        spacing = float(min(0.4, 1 / np.sqrt(structure.cell.calculate_1_d2_array(hkl).max()) / 3))
    mask = gemmi.FloatGrid()
    mask.setup_from(structure, spacing)
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(mask, bare_model(structure, inside))
    transform = gemmi.transform_map_to_f_phi(mask, half_l=True)
    return transform.get_value_by_hkl(hkl).astype(np.complex128)
