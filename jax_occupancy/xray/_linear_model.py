"""Structure factors of the whole crystal as a linear function of the occupancies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from jax_occupancy.xray._columns import Columns, along, flat, weighted_sum
from jax_occupancy.xray._tiles import Tiles

PerGroup = Float[Array, " groups"]


class DisplacedSolvent(eqx.Module):
    """The solvent that a group keeps out at occupancy 1, for groups at the border of the molecule.

    Attributes:
        rows: real and imaginary part of −ΔF_mask of each group, for reflections of low resolution and, last, zeros.
            One row per reflection: rows are gathered faster than columns.
        low: the reflection of each row but the last.
        place: the row of each reflection; the last one where the solvent does not count any more.
        share: how much of it the places of absent groups take in.
    """

    rows: Float[Array, "rows 2 groups"]
    low: Int[Array, " low"]
    place: Int[Array, " reflections"]
    share: Float[ArrayLike, ""] = 1.0

    @classmethod
    def from_structure_factors(cls, groups: Complex[np.ndarray, "groups reflections"], *, dtype) -> "DisplacedSolvent":
        """Keep the reflections to which the solvent matters.

        Args:
            groups: −ΔF_mask of each group, as `group_solvent_structure_factors` gives it, zero where the solvent does
                not count.
            dtype: float32 or float64.
        """
        low = np.flatnonzero(np.any(groups != 0, axis=0))
        place = np.full(groups.shape[1], low.size)
        place[low] = np.arange(low.size)
        rows = np.zeros((low.size + 1, 2, groups.shape[0]), dtype)
        rows[:-1, 0], rows[:-1, 1] = np.real(groups)[:, low].T, np.imag(groups)[:, low].T
        return cls(jnp.asarray(rows), jnp.asarray(low), jnp.asarray(place))

    def along(self, direction: Float[Array, "2 batch"], place: Int[Array, " batch"]) -> Float[Array, "groups batch"]:
        """The component of M along a direction of some reflections, given by their places."""
        rows, (real, imag) = self.rows[place], self.share * direction
        return (real[:, None] * rows[:, 0] + imag[:, None] * rows[:, 1]).T

    def sum(
        self, occupancies: Float[Array, "sets groups"], place: Int[Array, " batch"]
    ) -> Float[Array, "sets 2 batch"]:
        """Σ q M of some reflections for several sets of occupancies."""
        return jnp.einsum("hg,bcg->hcb", self.share * occupancies, self.rows[place], precision="highest")


class LinearModel(eqx.Module):
    """F(h) = k(h)·[F_fixed(h) + Σ_g q_g G_g(h)·exp(−ΔB_g s²) + k_mask(h)·(F_mask(h) + Σ_g q_g M_g(h))].

    It is linear in the occupancies q. A shift ΔB of the B factors of a group, 0 unless given, needs no new structure
    factors either (s = sin θ/λ).

    Attributes:
        fixed: F_fixed, atoms that are not refined, at their own occupancies.
        mask: F_mask, the flat bulk solvent at density 1, where no group keeps it out that `displaced` knows of.
        empty: the part of it that flows in where every set is empty; None where no group touches the solvent.
        columns: G, each group at occupancy 1.
        overall: k, the overall scale of each reflection.
        solvent: k_mask, the solvent's density on its own scale.
        s_squared: sin²θ/λ², in 1/Å².
        displaced: M, the solvent that a group keeps out.

    Example:
        >>> ones = jnp.ones(3)
        >>> model = LinearModel.from_structure_factors(1j * ones, 0j * ones, 2.0 * ones[None] + 0j, ones, ones)
        >>> model.amplitude(jnp.array([0.0])).tolist()
        [1.0, 1.0, 1.0]
    """

    fixed: Complex[Array, " reflections"]
    mask: Complex[Array, " reflections"]
    columns: Columns
    overall: Float[Array, " reflections"]
    solvent: Float[Array, " reflections"]
    s_squared: Float[Array, " reflections"]
    displaced: DisplacedSolvent
    empty: Complex[Array, " reflections"] | None = None

    @classmethod
    def from_structure_factors(cls, fixed, mask, groups, overall, solvent, *, s_squared=None) -> "LinearModel":
        """Build the model from complex structure factors and real scales, in the float type of `groups`.

        Args:
            fixed: F_fixed, (reflections,).
            mask: F_mask.
            groups: G, (groups, reflections).
            overall: k, (reflections,).
            solvent: k_mask.
            s_squared: sin²θ/λ² in 1/Å², (reflections,); only B shifts need it, zero when left out.

        Raises:
            ValueError: the arrays do not have the same reflections.
        """
        groups = jnp.asarray(groups)
        real = groups.real.dtype
        s_squared = jnp.zeros(groups.shape[1:]) if s_squared is None else s_squared
        parts = {"fixed": fixed, "mask": mask, "overall": overall, "solvent": solvent, "s_squared": s_squared}
        wrong = {name: jnp.shape(part) for name, part in parts.items() if jnp.shape(part) != groups.shape[1:]}
        if groups.ndim != 2 or wrong:
            raise ValueError(
                f"groups has shape {groups.shape}, wanted (groups, reflections), and {wrong} differ from it; "
                "compute every part for the same reflections"
            )
        return cls(
            fixed=jnp.asarray(fixed, groups.dtype),
            mask=jnp.asarray(mask, groups.dtype),
            columns=Columns.from_complex(groups),
            overall=jnp.asarray(overall, real),
            solvent=jnp.asarray(solvent, real),
            s_squared=jnp.asarray(s_squared, real),
            displaced=DisplacedSolvent(
                jnp.zeros((1, 2, len(groups)), real), jnp.zeros(0, int), jnp.zeros(len(fixed), int)
            ),
        )

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.columns.n_groups

    def with_scale(self, overall, solvent) -> "LinearModel":
        """Copy with another k and k_mask, each (reflections,)."""
        new = (jnp.asarray(overall, self.overall.dtype), jnp.asarray(solvent, self.solvent.dtype))
        return eqx.tree_at(lambda model: (model.overall, model.solvent), self, new)

    def with_solvent_share(self, share: float) -> "LinearModel":
        """Copy in which solvent fills the places of absent groups only in part, 0 to 1 of what it does in this one."""
        if self.empty is None:
            return self
        new = (self.mask - (1 - share) * self.empty, jnp.asarray(share * self.displaced.share, self.overall.dtype))
        return eqx.tree_at(lambda model: (model.mask, model.displaced.share), self, new)

    def calculated(self, occupancies: PerGroup, delta_b: PerGroup | None = None) -> Complex[Array, " reflections"]:
        """F_fixed + Σ q G: the atoms alone, which a scale is fitted to."""
        pair = self._sum_groups(occupancies, delta_b)
        return self.fixed + jax.lax.complex(pair[0], pair[1])

    def solvent_mask(self, occupancies: PerGroup) -> Complex[Array, " reflections"]:
        """F_mask + Σ q M: the solvent at density 1."""
        pair = self._sum_displaced(occupancies)
        return self.mask + jax.lax.complex(pair[0], pair[1])

    def __call__(self, occupancies: PerGroup, delta_b: PerGroup | None = None) -> Complex[Array, " reflections"]:
        """Structure factors on the scale of the observations."""
        pair = self._pair(occupancies, delta_b)
        return jax.lax.complex(pair[0], pair[1])

    def amplitude(self, occupancies: PerGroup, delta_b: PerGroup | None = None) -> Float[Array, " reflections"]:
        """|F| on the scale of the observations; its derivative is zero, not NaN, where F is zero."""
        return self.size(self._pair(occupancies, delta_b))

    def size(self, pair: Float[Array, "*sets 2 reflections"]) -> Float[Array, "*sets reflections"]:
        """What a target takes of structure factors given by real and imaginary part: |F|."""
        square = jnp.sum(pair**2, axis=-2)
        positive = square > 0
        # the inner where keeps 1/sqrt(0) out of the derivative
        return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)

    def amplitude_and_direction(
        self, occupancies: PerGroup, delta_b: PerGroup | None = None
    ) -> tuple[Float[Array, " reflections"], Float[Array, "2 reflections"]]:
        """|F|, and k·F/|F|: what changes F by δ (off scale) changes |F| by its product with this; zero where F is."""
        pair = self._pair(occupancies, delta_b)
        square = jnp.sum(pair**2, axis=0)
        inverse = jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
        return self.size(pair), pair * (self.overall * inverse)

    def gradient(
        self,
        direction: Float[Array, "2 reflections"],
        slope: Float[Array, " reflections"],
        occupancies: PerGroup,
        delta_b: PerGroup | None = None,
    ) -> Float[Array, " parameters"]:
        """Jᵀ·slope, J the derivative of the amplitudes by the occupancies and, where ΔB is given, by the ΔB in Å².

        `direction` comes from `amplitude_and_direction`; with the slope of a target this is its gradient.
        """
        pull = direction * slope

        def step(carry, block, row_pull, row_s2):
            if delta_b is None:
                return carry + jnp.dot(flat(block), row_pull.reshape(-1), precision="highest"), None
            pulls = along(row_pull, self._shifted(block, delta_b, row_s2))
            by_b = -occupancies * jnp.dot(pulls, row_s2, precision="highest")
            return carry + jnp.concatenate([jnp.sum(pulls, axis=1), by_b]), None

        n = self.n_groups if delta_b is None else 2 * self.n_groups
        total = self.columns.fold(step, jnp.zeros(n, self.overall.dtype), pull, self.s_squared)[0]
        low = self.displaced.share * (pull * self.solvent)[:, self.displaced.low]
        rows = self.displaced.rows[:-1].reshape(2 * self.displaced.low.size, self.n_groups)
        by_q = jnp.dot(low.T.reshape(-1), rows, precision="highest")
        return total.at[: self.n_groups].add(by_q)

    def curvature(
        self,
        direction: Float[Array, "2 reflections"],
        weight: Float[Array, " reflections"],
        occupancies: PerGroup,
        delta_b: PerGroup | None = None,
        tiles: Tiles | None = None,
    ) -> Float[Array, "parameters parameters"]:
        """Jᵀ·diag(weight)·J, J as in `gradient`: with the second derivatives of a target its Gauss-Newton matrix.

        With `tiles` of the parameters it is zero between those that are far apart.
        """
        tiles = Tiles.whole(self.n_groups * (1 if delta_b is None else 2)) if tiles is None else tiles

        def step(total, block, place, row_direction, row_solvent, row_s2, row_weight):
            atoms = along(row_direction, self._shifted(block, delta_b, row_s2))
            jacobian = atoms + self.displaced.along(row_direction * row_solvent, place)
            if delta_b is not None:
                jacobian = jnp.concatenate([jacobian, -occupancies[:, None] * atoms * row_s2])
            return total + tiles.products(jacobian * row_weight, jacobian), None

        rows = (self.displaced.place, direction, self.solvent, self.s_squared, weight)
        return tiles.matrix(self.columns.fold(step, tiles.nothing(self.overall.dtype), *rows)[0])

    def _pair(self, occupancies: Array, delta_b: Array | None) -> Float[Array, "2 reflections"]:
        atoms = self._sum_groups(occupancies, delta_b) + jnp.stack([self.fixed.real, self.fixed.imag])
        mask = self._sum_displaced(occupancies) + jnp.stack([self.mask.real, self.mask.imag])
        return self.overall * (atoms + self.solvent * mask)

    def _sum_groups(self, occupancies: Array, delta_b: Array | None) -> Float[Array, "2 reflections"]:
        if delta_b is None:
            return self.columns.sum(occupancies)

        def step(carry, block, row_s2):
            shifted = self._shifted(block, delta_b, row_s2)
            return carry, weighted_sum(occupancies.astype(block.dtype), shifted)

        return self.columns.fold(step, None, self.s_squared)[1]

    def _sum_displaced(self, occupancies: Array) -> Float[Array, "2 reflections"]:
        low = jnp.dot(self.displaced.rows, self.displaced.share * occupancies, precision="highest")
        return low[self.displaced.place].T

    @staticmethod
    def _shifted(block: Array, delta_b: Array | None, s_squared: Float[Array, " batch"]) -> Array:
        """The columns of one chunk at other B factors."""
        return block if delta_b is None else block * jnp.exp(-delta_b[:, None] * s_squared)[:, None]
