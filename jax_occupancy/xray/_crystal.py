"""The symmetry and the metric of a crystal as arrays."""

import equinox as eqx
import gemmi
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float


class Crystal(eqx.Module):
    """Symmetry operations and reciprocal metric, reduced to what structure factors need.

    Lattice centring multiplies a structure factor by Σ_c exp(2πi h·c) and inversion adds its (shifted) complex
    conjugate, so only the operations that are left after taking out both need a sine and a cosine for every atom.

    Attributes:
        rotations: Rotation parts on the fractional basis, x' = R x + t.
        translations: Translation parts, in fractions of the cell.
        centring: Centring vectors, the zero vector among them.
        inversion: Translation of the operation −x + t, None in an acentric space group.
        reciprocal_metric: G*, so that 1/d² = hᵀ G* h, in 1/Å².

    Example:
        >>> cell, spacegroup = gemmi.UnitCell(30, 40, 50, 90, 90, 90), gemmi.SpaceGroup("C 1 2 1")
        >>> Crystal.from_gemmi(cell, spacegroup).rotations.shape  # centring is a factor, not an operation
        (2, 3, 3)
    """

    rotations: Float[Array, "operations 3 3"]
    translations: Float[Array, "operations 3"]
    centring: Float[Array, "centrings 3"]
    inversion: Float[Array, "3"] | None
    reciprocal_metric: Float[Array, "3 3"]

    @classmethod
    def from_gemmi(
        cls, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup | None, *, dtype: DTypeLike | None = None
    ) -> "Crystal":
        """Take cell and space group from gemmi.

        Args:
            cell: Unit cell.
            spacegroup: Space group, in any setting gemmi knows.
            dtype: float32 or float64; JAX's default float when left out.

        Returns:
            The arrays; the only rounding is the cast from float64 to `dtype`.

        Raises:
            ValueError: There is no space group or no cell.

        Example:
            >>> import gemmi
            >>> cell = gemmi.UnitCell(50, 60, 70, 90, 100, 90)
            >>> Crystal.from_gemmi(cell, gemmi.SpaceGroup("C 1 2 1")).rotations.shape
            (2, 3, 3)
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


def inverse_d_squared(cell: gemmi.UnitCell, hkl: np.ndarray) -> np.ndarray:
    """1/d² of each reflection, in 1/Å²."""
    metric = np.array(cell.reciprocal_metric_tensor().as_mat33().tolist())
    return np.einsum("ni,ij,nj->n", hkl.astype(np.float64), metric, hkl.astype(np.float64))


def _without_inversion(operations: list[gemmi.Op]) -> tuple[list[gemmi.Op], gemmi.Op | None]:
    """One of each pair of operations related by inversion, and the inversion itself."""
    minus_identity = (-np.eye(3, dtype=int) * gemmi.Op.DEN).tolist()
    inversion = next((op for op in operations if op.rot == minus_identity), None)
    if inversion is None:
        return operations, None
    half: list[gemmi.Op] = []
    for op in operations:
        opposite = (-np.array(op.rot)).tolist()
        if all(kept.rot != opposite for kept in half):
            half.append(op)
    return half, inversion
