"""Structure factors of the whole crystal as a linear function of the occupancies."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


class LinearModel(eqx.Module):
    """F(h) = k(h)·[F_fixed(h) + Σ_g q_g G_g(h) + k_mask(h)·F_mask(h)].

    The columns are kept as pairs of real numbers: a complex product with real occupancies would do twice the work.

    Attributes:
        fixed: F_fixed, atoms that are not refined, at their own occupancies.
        mask: F_mask, the flat bulk solvent at density 1.
        columns: Real and imaginary part of G for each group at occupancy 1.
        overall: k, the overall scale of each reflection.
        solvent: k_mask, the solvent's density on its own scale.

    Example:
        >>> ones = jnp.ones(3)
        >>> model = LinearModel.from_structure_factors(1j * ones, 0j * ones, 2.0 * ones[None] + 0j, ones, ones)
        >>> model.amplitude(jnp.array([0.0])).tolist()
        [1.0, 1.0, 1.0]
    """

    fixed: Complex[Array, " reflections"]
    mask: Complex[Array, " reflections"]
    columns: Float[Array, "groups 2 reflections"]
    overall: Float[Array, " reflections"]
    solvent: Float[Array, " reflections"]

    @classmethod
    def from_structure_factors(cls, fixed, mask, groups, overall, solvent) -> "LinearModel":
        """Build the model from complex structure factors and real scales, in the float type of `groups`.

        Args:
            fixed: F_fixed, (reflections,).
            mask: F_mask, (reflections,).
            groups: G, (groups, reflections).
            overall: k, (reflections,).
            solvent: k_mask, (reflections,).

        Returns:
            The model.

        Raises:
            ValueError: The arrays do not have the same reflections.
        """
        groups = jnp.asarray(groups)
        real = groups.real.dtype
        parts = {"fixed": fixed, "mask": mask, "overall": overall, "solvent": solvent}
        wrong = {name: jnp.shape(part) for name, part in parts.items() if jnp.shape(part) != groups.shape[1:]}
        if groups.ndim != 2 or wrong:
            raise ValueError(
                f"groups has shape {groups.shape}, wanted (groups, reflections), and {wrong} differ from it; "
                "compute every part for the same reflections"
            )
        return cls(
            fixed=jnp.asarray(fixed, groups.dtype),
            mask=jnp.asarray(mask, groups.dtype),
            columns=jnp.stack([groups.real, groups.imag], axis=1),
            overall=jnp.asarray(overall, real),
            solvent=jnp.asarray(solvent, real),
        )

    def with_scale(self, overall, solvent) -> "LinearModel":
        """Copy with other scales.

        Args:
            overall: k, (reflections,).
            solvent: k_mask, (reflections,).

        Returns:
            The new model.
        """
        new = (jnp.asarray(overall, self.overall.dtype), jnp.asarray(solvent, self.solvent.dtype))
        return eqx.tree_at(lambda model: (model.overall, model.solvent), self, new)

    def calculated(self, occupancies: Float[Array, " groups"]) -> Complex[Array, " reflections"]:
        """F_fixed + Σ q G: the atoms alone, which a scale is fitted to."""
        pair = self._sum_groups(occupancies)
        return self.fixed + jax.lax.complex(pair[0], pair[1])

    def __call__(self, occupancies: Float[Array, " groups"]) -> Complex[Array, " reflections"]:
        """Structure factors on the scale of the observations."""
        pair = self._pair(occupancies)
        return jax.lax.complex(pair[0], pair[1])

    def amplitude(self, occupancies: Float[Array, " groups"]) -> Float[Array, " reflections"]:
        """|F| on the scale of the observations; its derivative is zero, not NaN, where F is zero."""
        square = jnp.sum(self._pair(occupancies) ** 2, axis=0)
        positive = square > 0
        # the inner where keeps 1/sqrt(0) out of the derivative
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)

    def jacobian(self, occupancies: Float[Array, " groups"]) -> Float[Array, "reflections groups"]:
        """Derivative of the amplitude with respect to each occupancy, k Re(F* G)/|F|; zero where F is zero."""
        pair = self._pair(occupancies)
        square = jnp.sum(pair**2, axis=0)
        unit = pair * jnp.where(square > 0, self.overall * jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
        return jnp.einsum("cn,gcn->ng", unit, self.columns, precision="highest")

    def _sum_groups(self, occupancies: Float[Array, " groups"]) -> Float[Array, "2 reflections"]:
        # highest: the default on a GPU is TF32, wrong in the fourth digit
        return jnp.tensordot(occupancies.astype(self.columns.dtype), self.columns, axes=1, precision="highest")

    def _pair(self, occupancies: Float[Array, " groups"]) -> Float[Array, "2 reflections"]:
        held = self.fixed + self.solvent * self.mask
        return self.overall * (jnp.stack([held.real, held.imag]) + self._sum_groups(occupancies))
