"""Structure factors of the whole crystal as a linear function of the occupancies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from jax_occupancy.xray._columns import Columns, along, flat, of_orbits, pull_of, stored_batch, weighted_sum
from jax_occupancy.xray._tiles import Tiles

PerGroup = Float[Array, " groups"]
PerHkl = Float[Array, " reflections"]
Pair = Float[Array, "2 reflections"]
Direction = Float[Array, "*size 2 reflections"]  # for twins those of each member of an orbit, see `of_orbits`


class DisplacedSolvent(eqx.Module):
    """The solvent that a group keeps out at occupancy 1, for groups at the border of the molecule."""

    # Real and imaginary part of −ΔF_mask of each group, for reflections of low resolution, zeros in the end. One row
    # per reflection: rows are gathered faster than columns.
    rows: Float[Array, "chunks rows 2 groups"]
    low: Int[Array, "chunks rows"]  # the reflection of each row, the number of all reflections for one that fills up
    place: Int[Array, " reflections"]  # the row of each reflection, the last one where the solvent does not count
    share: Float[ArrayLike, ""] = 1.0  # how much of it the places of absent groups take in

    @classmethod
    def from_structure_factors(cls, groups: Complex[np.ndarray, "groups reflections"], *, dtype) -> "DisplacedSolvent":
        """Keep the reflections where what `group_solvent_structure_factors` gives for any group is not zero."""
        n_groups, n = groups.shape
        low = np.flatnonzero(np.any(groups != 0, axis=0))
        batch = stored_batch(low.size + 1, n_groups)
        low = np.pad(low, (0, -(low.size + 1) % batch + 1), constant_values=n)
        place = np.full(n, low.size - 1)
        place[low[low < n]] = np.flatnonzero(low < n)
        rows = np.zeros((low.size // batch, batch, 2, n_groups), dtype)
        for chunk, here in zip(rows, low.reshape(-1, batch), strict=True):
            here = here[here < n]
            chunk[: here.size, 0], chunk[: here.size, 1] = np.real(groups)[:, here].T, np.imag(groups)[:, here].T
        return cls(jnp.asarray(rows), jnp.asarray(low.reshape(-1, batch)), jnp.asarray(place))

    @classmethod
    def nothing(cls, n_groups: int, n_reflections: int, *, dtype) -> "DisplacedSolvent":
        """That of groups which touch no solvent."""
        place = jnp.zeros(n_reflections, int)
        return cls(jnp.zeros((1, 1, 2, n_groups), dtype), jnp.full((1, 1), n_reflections), place)

    @property
    def is_empty(self) -> bool:
        """Whether no group touches solvent."""
        return self.low.size <= 1

    def at(self, place: Int[Array, " batch"]) -> Float[Array, "groups 2 batch"]:
        """M of some reflections, given by their places."""
        return jnp.transpose(jnp.asarray(self.share) * self._flat()[place], (2, 1, 0))

    def along(self, direction: Float[Array, "2 batch"], place: Int[Array, " batch"]) -> Float[Array, "groups batch"]:
        """The component of M along a direction of some reflections, given by their places."""
        if self.is_empty:
            return jnp.zeros((self.rows.shape[-1], place.size), direction.dtype)
        rows, (real, imag) = self._flat()[place], self.share * direction
        return (real[:, None] * rows[:, 0] + imag[:, None] * rows[:, 1]).T

    def sum(self, occupancies: PerGroup) -> Pair:
        """Σ q M."""
        weights = self.share * occupancies
        low = jax.lax.map(lambda rows: jnp.dot(rows, weights, precision="highest"), self.rows)
        return low.reshape(self.low.size, 2)[self.place].T

    def gradient(self, pull: Pair) -> PerGroup:
        """Σ of the product of each group's M with a pull on every reflection."""
        pulls = jnp.moveaxis(self.share * pull.at[:, self.low].get(mode="fill", fill_value=0), 0, -1)

        def add(total, chunk):
            rows, pull = chunk
            return total + jnp.dot(pull.reshape(-1), rows.reshape(pull.size, total.size), precision="highest"), None

        return jax.lax.scan(add, jnp.zeros(self.rows.shape[-1], pull.dtype), (self.rows, pulls))[0]

    def _flat(self) -> Float[Array, "rows 2 groups"]:
        return self.rows.reshape(self.low.size, *self.rows.shape[2:])


class LinearModel(eqx.Module):
    """F(h) = k(h)·[F_fixed(h) + Σ_g q_g G_g(h)·exp(−ΔB_g s²) + k_mask(h)·(F_mask(h) + Σ_g q_g M_g(h))].

    It is linear in the occupancies q. A shift ΔB of the B factors of a group, 0 unless given, needs no new structure
    factors either (s = sin θ/λ).

    Example:
        >>> ones = jnp.ones(3)
        >>> model = LinearModel.from_structure_factors(1j * ones, 0j * ones, 2.0 * ones[None] + 0j, ones, ones)
        >>> model.amplitude(jnp.array([0.0])).tolist()
        [1.0, 1.0, 1.0]
    """

    fixed: Complex[Array, " reflections"]  # F_fixed, atoms that are not refined, at their own occupancies
    mask: Complex[Array, " reflections"]  # F_mask, the flat bulk solvent at density 1, where `displaced` is not
    columns: Columns  # G, each group at occupancy 1
    overall: PerHkl  # k
    solvent: PerHkl  # k_mask, the solvent's density on its own scale
    s_squared: PerHkl  # sin²θ/λ², in 1/Å²
    displaced: DisplacedSolvent  # M, what a group keeps out
    # the part of `mask` that flows in where every set is empty; None where no group touches the solvent
    empty: Complex[Array, " reflections"] | None = None

    @classmethod
    def from_structure_factors(cls, fixed, mask, groups, overall, solvent, *, s_squared=None) -> "LinearModel":
        """Build the model from its parts, each (reflections,), G (groups, reflections), in the float type of G.

        Only B shifts need `s_squared`, zero when left out. A ValueError says if the reflections are not the same.
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
            displaced=DisplacedSolvent.nothing(*groups.shape, dtype=real),
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
        pair = self.displaced.sum(occupancies)
        return self.mask + jax.lax.complex(pair[0], pair[1])

    def scaled(self, calculated: Complex[Array, " reflections"], solvent_mask: Complex[Array, " reflections"]) -> Pair:
        """Real and imaginary part of F from atoms and solvent that are there already."""
        atoms, mask = (jnp.stack([part.real, part.imag]) for part in (calculated, solvent_mask))
        return self.overall * (atoms + self.solvent * mask)

    def __call__(self, occupancies: PerGroup, delta_b: PerGroup | None = None) -> Complex[Array, " reflections"]:
        """Structure factors on the scale of the observations."""
        pair = self._pair(occupancies, delta_b)
        return jax.lax.complex(pair[0], pair[1])

    def amplitude(self, occupancies: PerGroup, delta_b: PerGroup | None = None) -> PerHkl:
        """|F| on the scale of the observations; its derivative is zero, not NaN, where F is zero."""
        return self.size(self._pair(occupancies, delta_b))

    def size(self, pair: Float[Array, "*sets 2 reflections"]) -> Float[Array, "*sets reflections"]:
        """What a target takes of structure factors given by real and imaginary part: |F|."""
        return root(jnp.sum(pair**2, axis=-2))

    def amplitude_and_direction(
        self, occupancies: PerGroup, delta_b: PerGroup | None = None
    ) -> tuple[PerHkl, Direction]:
        """|F|, and k·F/|F|: what changes F by δ (off scale) changes |F| by its product with this; zero where F is."""
        return self.size_and_direction(self._pair(occupancies, delta_b))

    def size_and_direction(self, pair: Pair) -> tuple[PerHkl, Direction]:
        """The same of structure factors that are there already."""
        square = jnp.sum(pair**2, axis=0)
        inverse = jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
        return self.size(pair), pair * (self.overall * inverse)

    def gradient(
        self, direction: Direction, slope: PerHkl, occupancies: PerGroup, delta_b: PerGroup | None = None
    ) -> Float[Array, " parameters"]:
        """Jᵀ·slope, J the derivative of the amplitudes by the occupancies and, where ΔB is given, by the ΔB in Å².

        `direction` comes from `amplitude_and_direction`; with the slope of a target this is its gradient.
        """
        pull = pull_of(direction, slope)

        def step(carry, own, block, row_pull, row_s2):
            if delta_b is None:
                by_q = jnp.dot(flat(block), row_pull.reshape(-1), precision="highest")
                return carry.at[:, own].add(by_q[None]), None
            pulls = along(row_pull, self._shifted(block, delta_b[own], row_s2))
            by_b = -occupancies[own] * jnp.dot(pulls, row_s2, precision="highest")
            return carry.at[:, own].add(jnp.stack([jnp.sum(pulls, axis=1), by_b])), None

        nothing = jnp.zeros((1 if delta_b is None else 2, self.n_groups), self.overall.dtype)
        total = self.columns.fold(step, nothing, pull, self.s_squared)[0].reshape(-1)
        return total.at[: self.n_groups].add(self.displaced.gradient(pull * self.solvent))

    def curvature(
        self,
        direction: Direction,
        weight: PerHkl,
        occupancies: PerGroup,
        delta_b: PerGroup | None = None,
        tiles: Tiles | None = None,
    ) -> Float[Array, "parameters parameters"]:
        """Jᵀ·diag(weight)·J, J as in `gradient`: with the second derivatives of a target its Gauss-Newton matrix.

        With `tiles` of the parameters it is zero between those that are far apart. With ΔB, which take most of the
        time, its terms have the precision of the columns: steps need no more.
        """
        dtype = self.overall.dtype if delta_b is None else self.columns.dtype
        n = self.n_groups
        tiles = self.columns.tiles(n if delta_b is None else 2 * n, tiles)
        shift, q = None if delta_b is None else delta_b.astype(dtype), occupancies.astype(dtype)

        def step(total, own, block, place, row_direction, row_solvent, row_s2, row_weight):
            shifted = self._shifted(block, None if shift is None else shift[own], row_s2)

            def project(one):
                atoms = along(one, shifted)
                by_q = atoms + self.displaced.along(one * row_solvent, place)[own].astype(dtype)
                return by_q if delta_b is None else jnp.concatenate([by_q, -q[own][:, None] * atoms * row_s2])

            jacobian = of_orbits(row_direction, project)
            rows = own if delta_b is None or isinstance(own, slice) else jnp.concatenate([own, n + own])
            return tiles.add(total, jacobian * row_weight, jacobian, rows), None

        rows = (row.astype(dtype) for row in (direction, self.solvent, self.s_squared, weight))
        begin = tiles.nothing(self.overall.dtype)
        return tiles.matrix(self.columns.fold(step, begin, self.displaced.place, *rows)[0])

    def _pair(self, occupancies: Array, delta_b: Array | None) -> Pair:
        atoms = self._sum_groups(occupancies, delta_b) + jnp.stack([self.fixed.real, self.fixed.imag])
        mask = self.displaced.sum(occupancies) + jnp.stack([self.mask.real, self.mask.imag])
        return self.overall * (atoms + self.solvent * mask)

    def _sum_groups(self, occupancies: Array, delta_b: Array | None) -> Pair:
        if delta_b is None:
            return self.columns.sum(occupancies)

        def step(carry, own, block, row_s2):
            shifted = self._shifted(block, delta_b[own], row_s2)
            return carry, weighted_sum(occupancies[own], shifted)

        return self.columns.fold(step, None, self.s_squared)[1]

    @staticmethod
    def _shifted(block: Array, delta_b: Array | None, s_squared: Float[Array, " batch"]) -> Array:
        """The columns of one chunk at other B factors."""
        return block if delta_b is None else block * jnp.exp(-delta_b[:, None] * s_squared)[:, None]


def root(square: Array) -> Array:
    """The square root, whose derivative is zero where it is."""
    positive = square > 0
    # the inner where keeps 1/sqrt(0) out of the derivative
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)
