"""Structure factors of groups, one column per group, handed out in chunks of reflections.

They are stored where memory allows and computed anew in every pass where it does not; who asks for them sees no
difference but in time. Real and imaginary parts are kept as pairs: a complex product with real occupancies would do
twice the work.
"""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int, Shaped

from jax_occupancy.xray._crystal import Crystal
from jax_occupancy.xray._scatterers import Scatterers
from jax_occupancy.xray._structure_factors import (
    chunk_of_structure_factors,
    chunk_size,
    structure_factor_pairs,
)

# Reflections in one chunk of stored columns: products of this length run at full speed, and a chunk of a thousand
# groups is 80 MB.
STORED_CHUNK = 4096
# Reflections in one chunk of computed columns, at least: what is done with a chunk, such as adding a product of the
# columns to a large matrix, takes its time once for each. They are summed over the atoms in smaller pieces.
COMPUTED_CHUNK = 1024


class Columns(eqx.Module):
    """Structure factors of groups at occupancy 1.

    The base of `StoredColumns` and `ComputedColumns`, which a `LinearModel` is made with.
    """

    @property
    @abc.abstractmethod
    def n_groups(self) -> int:
        """Number of groups."""

    @property
    @abc.abstractmethod
    def n_reflections(self) -> int:
        """Number of reflections."""

    @property
    @abc.abstractmethod
    def batch(self) -> int:
        """Reflections in a chunk; the last chunk is filled up with anything."""

    @abc.abstractmethod
    def _sources(self) -> Any:
        """What the columns of each chunk are made from, chunks on the first axis."""

    @abc.abstractmethod
    def _block(self, source: Any) -> Any:
        """The columns of one chunk, (groups, 2, batch)."""

    def fold(
        self, step: Callable[..., tuple[Any, Any]], carry: Any, *rows: Shaped[Array, "... reflections"] | None
    ) -> tuple[Any, Any]:
        """Go through the reflections chunk by chunk.

        Args:
            step: called with the carry, the columns of the chunk, (groups, 2, batch), and the chunk of each row;
                returns the new carry and something with the chunk's reflections on the last axis, or None.
            carry: what the first step gets.
            rows: arrays with the reflections on their last axis, or None; filled up with zeros.

        Returns:
            The last carry, and what the steps returned side by side, (..., reflections).
        """
        n_chunks = -(-self.n_reflections // self.batch)
        chunked = [None if row is None else self._cut(row, n_chunks) for row in rows]

        def body(carry, one):
            source, *rest = one
            return step(carry, self._block(source), *rest)

        # The reverse pass computes the columns of a chunk again; kept, they would fill the memory that chunks save.
        remembering_nothing = jax.checkpoint(body, prevent_cse=False)
        carry, parts = jax.lax.scan(remembering_nothing, carry, (self._sources(), *chunked), length=n_chunks)
        return carry, jax.tree.map(self._join, parts)

    def sum(self, occupancies: Float[Array, " groups"]) -> Float[Array, "2 reflections"]:
        """Σ q G, real and imaginary part."""

        def step(carry, block):
            return carry, weighted_sum(occupancies.astype(block.dtype), block)

        return self.fold(step, None)[1]

    def _cut(self, row: Array, n_chunks: int) -> Array:
        widths = [(0, 0)] * (row.ndim - 1) + [(0, n_chunks * self.batch - self.n_reflections)]
        return jnp.moveaxis(jnp.pad(row, widths).reshape(*row.shape[:-1], n_chunks, self.batch), -2, 0)

    def _join(self, parts: Array) -> Array:
        whole = jnp.moveaxis(parts, 0, -2)
        return whole.reshape(*whole.shape[:-2], whole.shape[-2] * whole.shape[-1])[..., : self.n_reflections]


class StoredColumns(Columns):
    """Columns in memory.

    Attributes:
        values: real and imaginary parts.
        length: number of reflections.

    Example:
        >>> StoredColumns.from_complex(jnp.array([[1.0, 2.0], [0.0, 1j]])).sum(jnp.array([0.5, 0.5])).tolist()
        [[0.5, 1.0], [0.0, 0.5]]
    """

    values: Float[Array, "chunks groups 2 batch"]
    length: int = eqx.field(static=True)

    @classmethod
    def from_complex(cls, groups: Complex[Array, "groups reflections"]) -> "StoredColumns":
        """Store structure factors that are there already."""
        n = groups.shape[1]
        n_chunks, batch = _stored_chunks(n)
        pairs = jnp.stack([groups.real, groups.imag], axis=1)
        pairs = jnp.pad(pairs, ((0, 0), (0, 0), (0, n_chunks * batch - n)))
        return cls(jnp.moveaxis(pairs.reshape(*pairs.shape[:2], n_chunks, batch), 2, 0), n)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.values.shape[1]

    @property
    def n_reflections(self) -> int:
        """Number of reflections."""
        return self.length

    @property
    def batch(self) -> int:
        """Reflections in a chunk."""
        return self.values.shape[3]

    def to_complex(self) -> Complex[Array, "groups reflections"]:
        """All of them as complex numbers."""
        pairs = self._join(self.values)
        return jax.lax.complex(pairs[:, 0], pairs[:, 1])

    def _sources(self) -> Array:
        return self.values

    def _block(self, source: Array) -> Array:
        return source


class ComputedColumns(Columns):
    """Columns that are summed over their atoms anew in every pass, for problems that memory can't hold.

    `refinement.linear_model` makes them where `memory` is exceeded.

    Attributes:
        hkl: Miller indices.
        scatterers: the atoms of the groups.
        crystal: symmetry and metric.
        count: number of groups.
    """

    hkl: Int[Array, "reflections 3"]
    scatterers: Scatterers
    crystal: Crystal
    count: int = eqx.field(static=True)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.count

    @property
    def n_reflections(self) -> int:
        """Number of reflections."""
        return self.hkl.shape[0]

    @property
    def batch(self) -> int:
        """Reflections in a chunk."""
        return min(max(COMPUTED_CHUNK, self._piece), max(1, self.n_reflections))

    @property
    def _piece(self) -> int:
        return chunk_size(None, self.n_reflections, self.scatterers.xyz.shape[0])

    def stored(self) -> StoredColumns:
        """Compute them once and keep them."""
        n_chunks, batch = _stored_chunks(self.n_reflections)
        padded = jnp.pad(self.hkl, ((0, n_chunks * batch - self.n_reflections), (0, 0)))
        compute = partial(structure_factor_pairs, scatterers=self.scatterers, crystal=self.crystal, n_groups=self.count)
        return StoredColumns(jax.lax.map(compute, padded.reshape(n_chunks, batch, 3)), self.n_reflections)

    def _sources(self) -> Array:
        n_chunks = -(-self.n_reflections // self.batch)
        return jnp.moveaxis(self._cut(self.hkl.T.astype(self.scatterers.xyz.dtype), n_chunks), 1, 2)

    def _block(self, source: Array) -> Any:
        n, size = source.shape[0], self._piece
        n_pieces = -(-n // size)
        pieces = jnp.pad(source, ((0, n_pieces * size - n), (0, 0))).reshape(n_pieces, size, 3)

        def join(part):
            return jnp.moveaxis(part, 0, -2).reshape(*part.shape[1:-1], n_pieces * size)[..., :n]

        # Without it a reverse pass would keep the terms of all atoms. JAX hashes functions; a method here has no hash.
        of_piece = jax.checkpoint(lambda piece: self._of_piece(piece))
        return jax.tree.map(join, jax.lax.map(of_piece, pieces))

    def _of_piece(self, source: Array) -> Any:
        return chunk_of_structure_factors(source, scatterers=self.scatterers, crystal=self.crystal, n_groups=self.count)


class ShiftedColumns(ComputedColumns):
    """Columns with their derivatives by a shift of the whole group; a block is the pair of both.

    `refinement.shifted_columns` makes them for a model.

    Attributes:
        axes: fractional shift of 1 Å along each Cartesian axis.
    """

    axes: Float[Array, "3 3"]

    def without_shifts(self) -> ComputedColumns:
        """The columns alone."""
        return ComputedColumns(self.hkl, self.scatterers, self.crystal, self.count)

    def stored(self) -> "StoredShiftedColumns":
        """Compute them once and keep them."""
        values, shifts = jax.tree.map(self._join, jax.lax.map(self._block, self._sources()))
        return StoredShiftedColumns(_in_chunks(values), self.n_reflections, _in_chunks(shifts))

    def _of_piece(self, source: Array) -> tuple[Float[Array, "groups 2 piece"], Float[Array, "3 groups 2 piece"]]:
        def at(xyz):
            moved = eqx.tree_at(lambda scatterers: scatterers.xyz, self.scatterers, xyz)
            return chunk_of_structure_factors(source, scatterers=moved, crystal=self.crystal, n_groups=self.count)

        xyz = self.scatterers.xyz
        block, derivative = jax.linearize(at, xyz)
        return block, jax.vmap(lambda axis: derivative(jnp.broadcast_to(axis, xyz.shape)))(self.axes)


class StoredShiftedColumns(StoredColumns):
    """Columns in memory with their derivatives by a shift of the whole group; a block is the pair of both.

    What `ShiftedColumns.stored` returns.

    Attributes:
        shifts: derivatives by a shift of 1 Å along each Cartesian axis.
    """

    shifts: Float[Array, "chunks 3 groups 2 batch"]

    def without_shifts(self) -> StoredColumns:
        """The columns alone."""
        return StoredColumns(self.values, self.length)

    def _sources(self) -> tuple[Array, Array]:
        return self.values, self.shifts

    def _block(self, source: tuple[Array, Array]) -> tuple[Array, Array]:
        return source


def weighted_sum(weights: Float[Array, " groups"], block: Float[Array, "groups 2 batch"]) -> Float[Array, "2 batch"]:
    """Σ w G of one chunk; as a matrix product it is eight times faster on a CPU than as a contraction of the whole."""
    # highest: the default on a GPU is TF32, wrong in the fourth digit
    return jnp.dot(weights, flat(block), precision="highest").reshape(block.shape[1:])


def flat(block: Float[Array, "groups 2 batch"]) -> Float[Array, "groups twice_batch"]:
    """Real and imaginary parts of one chunk side by side."""
    return block.reshape(block.shape[0], block.shape[1] * block.shape[2])


def along(direction: Float[Array, "2 batch"], block: Float[Array, "*groups 2 batch"]) -> Float[Array, "*groups batch"]:
    """Component of every structure factor along a direction of its reflection; two products fuse, a contraction not.

    Example:
        >>> along(jnp.array([[1.0], [0.0]]), jnp.array([[[3.0], [4.0]]])).tolist()
        [[3.0]]
    """
    return direction[0] * block[..., 0, :] + direction[1] * block[..., 1, :]


def _in_chunks(whole: Float[Array, "*rows reflections"]) -> Float[Array, "chunks *rows batch"]:
    """Cut into chunks for storage, the last one filled up with zeros."""
    n_chunks, batch = _stored_chunks(whole.shape[-1])
    widths = [(0, 0)] * (whole.ndim - 1) + [(0, n_chunks * batch - whole.shape[-1])]
    return jnp.moveaxis(jnp.pad(whole, widths).reshape(*whole.shape[:-1], n_chunks, batch), -2, 0)


def _stored_chunks(n_reflections: int) -> tuple[int, int]:
    """Number of chunks and reflections in each."""
    n_chunks = max(1, -(-n_reflections // STORED_CHUNK))
    return n_chunks, max(1, -(-n_reflections // n_chunks))
