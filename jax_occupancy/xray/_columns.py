"""Structure factors of groups, one column per group, handed out in chunks of reflections.

They are stored where memory allows and computed anew in every pass where it does not; who asks for them sees no
difference but in time. Real and imaginary parts are kept as pairs: a complex product with real occupancies would do
twice the work.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, DTypeLike, Float, Int, Shaped

from jax_occupancy.xray._crystal import Crystal
from jax_occupancy.xray._scatterers import Scatterers
from jax_occupancy.xray._structure_factors import chunk_of_structure_factors, chunk_size
from jax_occupancy.xray._tiles import Tiles

# Numbers in one chunk of stored columns, 4 MB in float32 and twice that as they are summed: they stay in the cache. And
# reflections in it, at most and at least: shorter products do not run at full speed.
STORED_ELEMENTS, STORED_CHUNK, SHORTEST_CHUNK = 2**20, 4096, 128
# Reflections in one chunk of computed columns, at least: what is done with a chunk, such as adding a product of the
# columns to a large matrix, takes its time once for each. They are summed over the atoms in smaller pieces.
COMPUTED_CHUNK = 1024


class Columns(eqx.Module):
    """Structure factors of groups at occupancy 1; with `axes` also their derivatives by a shift of the whole group.

    A chunk of them is an array (groups, 2, batch); with derivatives (4, groups, 2, batch), the columns first. Where few
    groups have anything in a chunk it has the columns of these alone.

    Example:
        >>> Columns.from_complex(jnp.array([[1.0, 2.0], [0.0, 1j]])).sum(jnp.array([0.5, 0.5])).tolist()
        [[0.5, 1.0], [0.0, 0.5]]
    """

    source: Shaped[Array, "chunks *rows batch"]  # the columns where they are stored, else the Miller indices
    atoms: tuple[Scatterers, Crystal] | None  # to compute from; None where the columns are stored
    axes: Float[Array, "3 3"] | None  # fractional shift of 1 Å along each Cartesian axis; None without derivatives
    n_reflections: int = eqx.field(static=True)  # the last chunk is filled up with anything
    n_groups: int = eqx.field(static=True)
    owners: Int[Array, "chunks few"] | None = None  # the groups that a chunk has the columns of; None for all in all

    @classmethod
    def from_complex(cls, groups: Complex[Array, "*planes groups reflections"]) -> "Columns":
        """Store structure factors that are there already; with four planes the last are derivatives by x, y, z."""
        *planes, n_groups, n = groups.shape
        pairs = jnp.stack([groups.real, groups.imag], axis=-2)
        return cls(_cut(pairs, stored_batch(n, n_groups)), None, jnp.eye(3) if planes else None, n, n_groups)

    @classmethod
    def from_pieces(
        cls, pieces: Sequence[tuple[Int[np.ndarray, " _"], Complex[np.ndarray, "*planes _ _"]]], n_groups: int
    ) -> "Columns":
        """Store those of some groups at one part of the reflections after the other; all else is zero.

        Example:
            >>> pieces = [(np.array([1]), np.array([[1.0, 2.0j]])), (np.array([0]), np.array([[3.0 + 0j]]))]
            >>> Columns.from_pieces(pieces, 2).sum(jnp.array([0.5, 1.0])).tolist()
            [[1.0, 0.0, 1.5], [0.0, 2.0, 0.0]]
        """
        ends = np.cumsum([part.shape[-1] for _, part in pieces]).tolist()
        batch = stored_batch(ends[-1], max(len(own) for own, _ in pieces))
        there = np.zeros((-(-ends[-1] // batch), n_groups), bool)
        for (own, part), end in zip(pieces, ends, strict=True):
            there[(end - part.shape[-1]) // batch : -(-end // batch), own] = True
        place, few = np.cumsum(there, axis=1) - 1, there.sum(axis=1).max()
        planes, dtype = pieces[0][1].shape[:-2], np.real(pieces[0][1]).dtype
        source = np.zeros((len(there), *planes, few, 2, batch), dtype)
        for (own, part), end in zip(pieces, ends, strict=True):
            begin = end - part.shape[-1]
            for chunk in range(begin // batch, -(-end // batch)):
                first, last = max(begin, chunk * batch), min(end, (chunk + 1) * batch)
                rows, at = part[..., first - begin : last - begin], slice(first - chunk * batch, last - chunk * batch)
                source[chunk, ..., place[chunk, own], :, at] = np.moveaxis(
                    np.stack([np.real(rows), np.imag(rows)], -2), -3, 0
                )
        # what fills up is any other group, with columns that are zero
        owners = None if there.all() else jnp.asarray(np.argsort(~there, axis=1, kind="stable")[:, :few])
        return cls(jnp.asarray(source), None, jnp.eye(3) if planes else None, ends[-1], n_groups, owners)

    @classmethod
    def computed(
        cls,
        hkl: Int[Array, "reflections 3"],
        scatterers: Scatterers,
        crystal: Crystal,
        n_groups: int,
        *,
        axes: Float[Array, "3 3"] | None = None,
    ) -> "Columns":
        """Sum over the atoms anew in every pass, for problems that memory can't hold."""
        n = hkl.shape[0]
        batch = min(_whole_orbits(max(COMPUTED_CHUNK, chunk_size(n, scatterers.xyz.shape[0]))), max(1, n))
        return cls(_cut(hkl.T.astype(scatterers.xyz.dtype), batch), (scatterers, crystal), axes, n, n_groups)

    @property
    def dtype(self) -> Any:
        """float32 or float64."""
        return self.source.dtype

    @property
    def is_stored(self) -> bool:
        """Whether they are in memory."""
        return self.atoms is None

    def stored(self, dtype: DTypeLike | None = None) -> "Columns":
        """Compute them once and keep them, in their own precision or in another."""
        n = self.n_reflections
        chunks = _cut(_join(self.source, n), stored_batch(n, self.n_groups))
        kept = jax.lax.map(lambda chunk: self._block(chunk).astype(dtype or self.dtype), chunks)
        return Columns(kept, None, self.axes, n, self.n_groups)

    def without_shifts(self) -> "Columns":
        """The columns without their derivatives."""
        source = self.source[:, 0] if self.is_stored and self.axes is not None else self.source
        return Columns(source, self.atoms, None, self.n_reflections, self.n_groups, self.owners)

    def tiles(self, n_rows: int, wanted: Tiles | None) -> Tiles:
        """Tiles of a Jacobian: those wanted, or all with all; one where chunks have few groups, whose rows are few."""
        if self.owners is not None:
            return Tiles.whole(n_rows, shares=1)
        return Tiles.whole(n_rows) if wanted is None else wanted

    def fold(
        self, step: Callable[..., tuple[Any, Any]], carry: Any, *rows: Shaped[Array, "... reflections"] | None
    ) -> tuple[Any, Any]:
        """Go through the reflections chunk by chunk.

        Args:
            step: called with the carry, the index of the groups that the chunk has columns of, these, and the chunk of
                each row; returns the new carry and something with the chunk's reflections on the last axis, or None.
            carry: what the first step gets.
            rows: arrays with the reflections on their last axis, or None; filled up with zeros.

        Returns:
            The last carry, and what the steps returned side by side, (..., reflections).
        """
        batch = self.source.shape[-1]
        chunked = [None if row is None else _cut(row, batch) for row in rows]

        def body(carry, one):
            source, owners, *rest = one
            return step(carry, slice(None) if owners is None else owners, self._block(source), *rest)

        # The reverse pass computes the columns of a chunk again; kept, they would fill the memory that chunks save.
        remembering_nothing = jax.checkpoint(body, prevent_cse=False)
        carry, parts = jax.lax.scan(remembering_nothing, carry, (self.source, self.owners, *chunked))
        return carry, jax.tree.map(lambda part: _join(part, self.n_reflections), parts)

    def sum(self, occupancies: Float[Array, " groups"]) -> Float[Array, "2 reflections"]:
        """Σ q G, real and imaginary part."""

        def step(carry, own, block):
            return carry, weighted_sum(occupancies[own], block)

        return self.fold(step, None)[1]

    def _block(self, source: Shaped[Array, "*rows batch"]) -> Float[Array, "*planes groups 2 batch"]:
        """The columns of one chunk."""
        if self.atoms is None:
            return source
        n = source.shape[-1]
        pieces = _cut(source, chunk_size(n, self.atoms[0].xyz.shape[0]))
        # Without it a reverse pass would keep the terms of all atoms. JAX hashes functions; a method here has no hash.
        of_piece = jax.checkpoint(lambda piece: self._of_piece(piece))
        return _join(jax.lax.map(of_piece, pieces), n)

    def _of_piece(self, indices: Float[Array, "3 piece"]) -> Float[Array, "*planes groups 2 piece"]:
        scatterers, crystal = self.atoms  # pyright: ignore[reportGeneralTypeIssues]
        return chunk_of_structure_factors(
            indices.T, scatterers=scatterers, crystal=crystal, n_groups=self.n_groups, axes=self.axes
        )


def weighted_sum(weights: Float[Array, " groups"], block: Float[Array, "groups 2 batch"]) -> Float[Array, "2 batch"]:
    """Σ w G of one chunk; as a matrix product it is eight times faster on a CPU than as a contraction of the whole."""
    # highest: the default on a GPU is TF32, wrong in the fourth digit
    return jnp.dot(weights, flat(block), precision="highest").reshape(block.shape[1:])


def flat(block: Float[Array, "groups 2 batch"]) -> Float[Array, "groups twice_batch"]:
    """Real and imaginary parts of one chunk side by side."""
    return block.reshape(block.shape[0], block.shape[1] * block.shape[2])


def along(direction: Float[Array, "2 batch"], block: Float[Array, "*groups 2 batch"]) -> Float[Array, "*groups batch"]:
    """Component of every structure factor along a direction of its reflection; two products fuse, a contraction not."""
    return direction[0] * block[..., 0, :] + direction[1] * block[..., 1, :]


def of_orbits(
    direction: Float[Array, "*size 2 batch"], project: Callable[[Float[Array, "2 batch"]], Float[Array, "*rows batch"]]
) -> Float[Array, "*rows batch"]:
    """Derivatives of the amplitudes from components along a direction, for twins the sums over all of an orbit.

    Reflections of twins come in orbits, and their directions are those of one member of each after the other.
    """
    if direction.ndim == 2:
        return project(direction)
    sums = [jnp.sum(_orbits(project(one), len(direction)), axis=-1) for one in direction]
    whole = jnp.stack(sums, axis=-1)
    return whole.reshape(*whole.shape[:-2], direction.shape[-1])


def pull_of(
    direction: Float[Array, "*size 2 reflections"], slope: Float[Array, " reflections"]
) -> Float[Array, "2 reflections"]:
    """What derivatives by the amplitudes are by the structure factors: the transpose of `of_orbits`."""
    if direction.ndim == 2:
        return direction * slope
    size = len(direction)
    of_members = jnp.repeat(_orbits(slope, size).T, size, axis=-1)
    return jnp.sum(direction * of_members[:, None], axis=0)


def _orbits(row: Shaped[Array, "*rows reflections"], size: int) -> Shaped[Array, "*rows orbits {size}"]:
    return row.reshape(*row.shape[:-1], row.shape[-1] // size, size)


def stored_batch(n_reflections: int, n_groups: int) -> int:
    """Reflections in a stored chunk: few of them fill up the last one, and orbits of twins are whole in each."""
    largest = max(SHORTEST_CHUNK, min(STORED_CHUNK, STORED_ELEMENTS // (2 * max(1, n_groups))))
    n_chunks = max(1, -(-n_reflections // largest))
    return max(1, n_reflections) if n_chunks == 1 else _whole_orbits(-(-n_reflections // n_chunks))


def _whole_orbits(n: int) -> int:
    """Not less than n, and a multiple of what an orbit of twins may have: 2, 3, 4, 6, 8, 12 or 24 members."""
    return -(-n // 24) * 24


def _cut(row: Shaped[Array, "*rows reflections"], batch: int) -> Shaped[Array, "chunks *rows {batch}"]:
    """Cut into chunks, the last one filled up with zeros."""
    n_chunks = -(-row.shape[-1] // batch)
    row = jnp.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, n_chunks * batch - row.shape[-1])])
    return jnp.moveaxis(row.reshape(*row.shape[:-1], n_chunks, batch), -2, 0)


def _join(chunks: Shaped[Array, "chunks *rows batch"], n: int) -> Shaped[Array, "*rows {n}"]:
    """Chunks side by side, without what fills up the last one."""
    whole = jnp.moveaxis(chunks, 0, -2)
    return whole.reshape(*whole.shape[:-2], whole.shape[-2] * whole.shape[-1])[..., :n]
