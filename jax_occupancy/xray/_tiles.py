"""Products of rows that are near each other, tile by tile.

What is far away in a crystal hardly knows of each other: its derivatives have phases that have nothing in common, and
the sum of their products over thousands of reflections is small. Left out, the cost grows with the number of rows, not
with its square.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, DTypeLike, Float, Int

# Times that the lists of neighbours are evened out.
BALANCING = 4
# Rows of which all products are wanted go into so many tiles if they are more than this: three fifths of the work.
MANY, SHARES = 1000, 9


class Tiles(eqx.Module):
    """Rows of a Jacobian matrix put together in tiles, and which tiles are near.

    Example:
        >>> tiles = Tiles.of(np.array([0, 0, 1]), np.eye(2, dtype=bool))
        >>> jacobian = jnp.ones((3, 5))
        >>> tiles.matrix(tiles.products(jacobian, jacobian)).tolist()
        [[5.0, 5.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, 5.0]]
    """

    rows: Int[Array, "tiles size"]  # of each tile; `n_rows` fills up
    beside: Int[Array, "tiles neighbours"]  # whose products with each are wanted, each pair once; `len(rows)` fills up
    n_rows: int = eqx.field(static=True)

    @classmethod
    def of(cls, tile_of_row: Int[np.ndarray, " rows"], near: Bool[np.ndarray, "tiles tiles"]) -> "Tiles":
        """Tiles from the number of the one that each row lies in; `near` is symmetric, each tile near itself."""
        n_rows, n_tiles = len(tile_of_row), len(near)
        rows = [np.flatnonzero(tile_of_row == tile) for tile in range(n_tiles)]
        beside: list[list[int]] = [[] for _ in rows]
        for one, other in np.argwhere(np.triu(near)):
            beside[one].append(other)
        # The longest list counts: what a tile keeps goes to its neighbour where that has less.
        for tile in [*range(n_tiles)] * BALANCING:
            for other in list(beside[tile]):
                if len(beside[other]) + 1 < len(beside[tile]):
                    beside[tile].remove(other)
                    beside[other].append(tile)
        return cls(_filled(rows, n_rows), _filled(beside, n_tiles), n_rows)

    @classmethod
    def whole(cls, n_rows: int, *, shares: int = SHARES) -> "Tiles":
        """All with all; where they are many in so many tiles, of which each pair is taken once."""
        n_tiles = shares if n_rows > MANY else 1
        return cls.of(np.arange(n_rows) * n_tiles // max(n_rows, 1), np.ones((n_tiles, n_tiles), bool))

    def nothing(self, dtype: DTypeLike) -> Float[Array, "tiles size several"]:
        """Products to add to."""
        n_tiles, size = self.rows.shape
        return jnp.zeros((n_tiles, size, self.beside.shape[1] * size), dtype)

    def add(self, total: Array, left: Array, right: Array, rows: slice | Int[Array, " few"]) -> Array:
        """Add products of all rows, or to a single tile those of few rows, given by their numbers."""
        if isinstance(rows, slice):
            return total + self.products(left, right)
        return total.at[0, rows[:, None], rows].add(jnp.dot(left, right.T, precision="highest"))

    def products(
        self, left: Float[Array, "rows batch"], right: Float[Array, "rows batch"]
    ) -> Float[Array, "tiles size several"]:
        """Products of the rows of each tile with those of the tiles beside it, summed over the batch."""
        left, right = (jnp.pad(rows, [(0, 1), (0, 0)])[self.rows] for rows in (left, right))
        right = jnp.pad(right, [(0, 1), (0, 0), (0, 0)])

        def of_tile(tile):
            rows, beside = tile
            others = right[beside].reshape(-1, right.shape[-1])
            return jnp.dot(rows, others.T, precision="highest")

        return jax.lax.map(of_tile, (left, self.beside))

    def matrix(self, products: Float[Array, "tiles size several"]) -> Float[Array, "rows rows"]:
        """The symmetric matrix of all products, zero where tiles are far apart."""
        n_tiles, size = self.rows.shape
        columns = jnp.pad(self.rows, [(0, 1), (0, 0)], constant_values=self.n_rows)[self.beside]
        is_own = jnp.repeat(self.beside == jnp.arange(n_tiles)[:, None], size, axis=1)[:, None]
        at = self.rows[:, :, None], columns.reshape(n_tiles, 1, -1)
        # What fills up lies outside and is dropped.
        found = jnp.zeros((self.n_rows, self.n_rows), products.dtype).at[at].add(products, mode="drop")
        return found.at[at[::-1]].add(jnp.where(is_own, 0, products), mode="drop")


def _filled(lists: list, filling: int) -> Int[Array, "lists longest"]:
    longest = max((len(one) for one in lists), default=0)
    return jnp.asarray([[*one, *[filling] * (longest - len(one))] for one in lists], jnp.int32)
