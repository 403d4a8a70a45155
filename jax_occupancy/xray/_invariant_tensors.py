"""Anisotropic tensors that the symmetry of a crystal allows."""

import gemmi
import numpy as np
from jaxtyping import Float


def invariant_tensors(cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup) -> Float[np.ndarray, "tensors 3 3"]:
    """Find the traceless symmetric tensors that the point group leaves as they are.

    The trace is left out: as a temperature factor it is a fall-off with resolution alone.

    Args:
        cell: Unit cell.
        spacegroup: Space group.

    Returns:
        Orthonormal basis on Cartesian axes: five tensors for triclinic, three for monoclinic, two for orthorhombic,
        one for trigonal, tetragonal and hexagonal crystals, none for cubic ones.

    Example:
        >>> import gemmi
        >>> cell = gemmi.UnitCell(50, 50, 80, 90, 90, 120)
        >>> abs(invariant_tensors(cell, gemmi.SpaceGroup("P 61"))[0].diagonal()).round(2).tolist()
        [0.41, 0.41, 0.82]
    """
    orth, frac = (np.array(matrix.mat.tolist()) for matrix in (cell.orth, cell.frac))
    rotations = [orth @ (np.array(op.rot) / op.DEN) @ frac for op in spacegroup.operations().sym_ops]
    units = np.eye(9).reshape(9, 3, 3)
    units = units + units.transpose(0, 2, 1)
    means = np.mean([rotation @ units @ rotation.T for rotation in rotations], axis=0)
    means -= np.trace(means, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    _, size, basis = np.linalg.svd(means.reshape(9, 9))
    # Singular values are zero or of order one; a cell slightly off its symmetry makes small ones.
    return basis[size > 0.1].reshape(-1, 3, 3)
