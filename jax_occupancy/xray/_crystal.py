"""What the symmetry and the metric of a crystal make of reflections."""

import equinox as eqx
import gemmi
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, DTypeLike, Float, Int

Values = Float[np.ndarray, " reflections"]
Flags = Bool[np.ndarray, " reflections"]


class Crystal(eqx.Module):
    """Symmetry operations and reciprocal metric as arrays, reduced to what structure factors need.

    Lattice centring multiplies a structure factor by Σ_c exp(2πi h·c) and inversion adds its (shifted) complex
    conjugate, so only the operations that are left after taking out both need a sine and a cosine for every atom.
    """

    rotations: Float[Array, "operations 3 3"]  # on the fractional basis, x' = R x + t
    translations: Float[Array, "operations 3"]  # in fractions of the cell
    centring: Float[Array, "centrings 3"]  # the zero vector among them
    inversion: Float[Array, "3"] | None  # translation of the operation −x + t; None in an acentric space group
    reciprocal_metric: Float[Array, "3 3"]  # G*, so that 1/d² = hᵀ G* h, in 1/Å²

    @classmethod
    def from_gemmi(
        cls, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup | None, *, dtype: DTypeLike | None = None
    ) -> "Crystal":
        """Take cell and space group, in any setting, from gemmi.

        Raises:
            ValueError: there is no space group or no cell.
        """
        if spacegroup is None or not cell.is_crystal():
            raise ValueError(
                f"cell, spacegroup: got {cell} and {spacegroup}, wanted those of a crystal: add a CRYST1 record "
                "(PDB) or _cell and _symmetry items (mmCIF) to the model"
            )
        operations = spacegroup.operations()
        half, inversion = _without_inversion(list(operations.sym_ops))

        def cast(values) -> Array:
            return jnp.asarray(np.asarray(values, dtype=np.float64), dtype=dtype)

        unit = gemmi.Op.DEN
        return cls(
            rotations=cast([op.rot for op in half]) / unit,
            translations=cast([op.tran for op in half]) / unit,
            centring=cast(list(operations.cen_ops)) / unit,
            inversion=None if inversion is None else cast(inversion.tran) / unit,
            reciprocal_metric=cast(cell.reciprocal_metric_tensor().as_mat33().tolist()),
        )


def keys_of(hkl: Int[np.ndarray, "*some 3"]) -> Int[np.ndarray, "*some"]:
    """One number for each triple; Miller indices are far smaller than 2²⁰, and sums of keys are keys of sums."""
    return hkl.astype(np.int64) @ np.array([2**40, 2**20, 1])


def epsilon_and_centric(hkl: np.ndarray, spacegroup: gemmi.SpaceGroup) -> tuple[Values, Flags]:
    """How often the point group maps each reflection onto itself, and whether it maps it onto its opposite."""
    operations = spacegroup.operations()
    epsilon = operations.epsilon_factor_without_centering_array(hkl).astype(np.float64)
    return epsilon, operations.centric_flag_array(hkl)


def anisotropic_terms(
    hkl: np.ndarray, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> tuple[Float[np.ndarray, "tensors 3 3"], Float[np.ndarray, "reflections tensors"]]:
    """Orthonormal traceless tensors T, 5 to 0, that the point group leaves as they are, and sᵀTs of each reflection."""
    orth, frac = (np.array(matrix.mat.tolist()) for matrix in (cell.orth, cell.frac))
    rotations = [orth @ (np.array(op.rot) / op.DEN) @ frac for op in spacegroup.operations().sym_ops]
    units = np.eye(9).reshape(9, 3, 3)
    units = units + units.transpose(0, 2, 1)
    means = np.mean([rotation @ units @ rotation.T for rotation in rotations], axis=0)
    means -= np.trace(means, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    _, size, basis = np.linalg.svd(means.reshape(9, 9))
    # Singular values are zero or of order one; a cell slightly off its symmetry makes small ones.
    tensors = basis[size > 0.1].reshape(-1, 3, 3)
    vectors = hkl @ frac
    return tensors, np.einsum("ni,kij,nj->nk", vectors, tensors, vectors)


def _without_inversion(operations: list[gemmi.Op]) -> tuple[list[gemmi.Op], gemmi.Op | None]:
    """One of each pair of operations related by inversion, and the inversion itself."""
    minus_identity = (-np.eye(3, dtype=int) * gemmi.Op.DEN).tolist()
    inversion = next((op for op in operations if op.rot == minus_identity), None)
    if inversion is None:
        return operations, None
    opposite = [(-np.array(op.rot)).tolist() for op in operations]
    half = [op for i, op in enumerate(operations) if opposite[i] not in [before.rot for before in operations[:i]]]
    return half, inversion
