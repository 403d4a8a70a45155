"""Which groups are so near that the curvature between them counts."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.spatial import KDTree

from jax_occupancy.io import Model
from jax_occupancy.xray import Tiles

# Up to so many groups all are in one tile.
FEW = 150
# With fewer reflections a group than this distant groups do know each other: all tiles count as near.
FEW_REFLECTIONS = 15
# Groups in one tile, about; the equations of a set hold more together.
TILE = 20
# Curvature between tiles whose atoms are all farther apart, in Å, is left out. For 333 conformers at 2.1 Å this makes
# uncertainties smaller by 1.0 %, by 1.7 % at most, and moves no occupancy by more than 0.02 of its own. At low
# resolution the reach is so many times the smallest distance between planes.
REACH, REACH_IN_RESOLUTION = 5.0, 2.0


class Near(NamedTuple):
    """Groups put together in tiles: sets stay whole, what lies side by side comes together.

    Attributes:
        tile: the tile of each group.
        tiles: which tiles have atoms within reach of each other.
    """

    tile: Int[np.ndarray, " groups"]
    tiles: Bool[np.ndarray, "tiles tiles"]

    def rows(self, group: Int[np.ndarray, " parameters"]) -> Int[np.ndarray, "tiles size"]:
        """The parameters of each tile; their number fills up."""
        return np.asarray(self._by_tile(self.tile[group]))

    def of(self, group: Int[np.ndarray, " parameters"]) -> Tiles:
        """Tiles of parameters, each of which belongs to a group; all in one where that costs less, as one is large."""
        tiles = Tiles.of(self.tile[group], self.tiles)
        costs_less = tiles.rows.size * tiles.rows.shape[1] * tiles.beside.shape[1] < len(group) ** 2
        return tiles if costs_less else Tiles.whole(len(group))

    def blocks(
        self, matrix: Float[np.ndarray, "equations variables"], n_variables: int
    ) -> Int[Array, "blocks size"] | None:
        """The variables and equations of each tile, see `solve_on_simplexes`; None for a single one.

        Of the variables the first `n_variables` are groups and vacancies, those that follow belong to groups again.
        """
        if len(self.tiles) == 1:
            return None
        in_vacancy = matrix[:, self.tile.size : n_variables] != 0
        of_equation = self.tile[np.argmax(matrix[:, : self.tile.size] != 0, axis=1)]
        of_vacancy = of_equation[np.argmax(in_vacancy, axis=0)]
        of_variable = np.concatenate([self.tile, of_vacancy, self.tile])[: matrix.shape[1]]
        of_all = np.concatenate([of_variable, of_variable[np.argmax(matrix != 0, axis=1)]])
        return self._by_tile(of_all)

    def _by_tile(self, tile_of_row: Int[np.ndarray, " rows"]) -> Int[Array, "tiles size"]:
        return Tiles.of(tile_of_row, np.eye(len(self.tiles), dtype=bool)).rows


def near_groups(
    model: Model,
    hkl: Int[np.ndarray, "reflections 3"],
    members: Sequence[Int[np.ndarray, " _"]],
    family: Int[np.ndarray, " groups"],
) -> Near:
    """Put groups of one family (see `Constraints`) into one tile, and find which are near, symmetry included.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> model, data = read_example()
        >>> near_groups(model, data.hkl, [np.arange(3), np.arange(9)], np.arange(2)).tile.tolist()
        [0, 0]
    """
    n_groups = len(members)
    if n_groups <= FEW:
        return Near(np.zeros(n_groups, int), np.ones((1, 1), bool))
    n_families = int(family.max()) + 1
    places = model.atoms[["x", "y", "z"]].to_numpy(np.float64)
    atoms, group = np.concatenate(members), np.repeat(np.arange(n_groups), [len(one) for one in members])
    sizes, count = np.bincount(family), np.maximum(np.bincount(family[group], minlength=n_families), 1)
    middle = [np.bincount(family[group], axis, minlength=n_families) / count for axis in places[atoms].T]
    tile_of_family = np.zeros(n_families, int)
    n_tiles = -(-n_groups // TILE)
    for tile, families in enumerate(_bisected(np.arange(n_families), np.transpose(middle), sizes, n_tiles)):
        tile_of_family[families] = tile
    tile = tile_of_family[family]
    if len(hkl) < FEW_REFLECTIONS * n_groups:
        return Near(tile, np.ones((tile.max() + 1, tile.max() + 1), bool))
    d_min = float(np.max(model.cell.calculate_1_d2_array(hkl))) ** -0.5  # pyright: ignore[reportOptionalMemberAccess]
    reach = max(REACH, REACH_IN_RESOLUTION * d_min)
    return Near(tile, _within_reach(model, reach, places[atoms], tile[group], int(tile.max()) + 1))


def _bisected(
    families: np.ndarray, middle: Float[np.ndarray, "families 3"], sizes: np.ndarray, n_tiles: int
) -> list[np.ndarray]:
    """Cut along the longest axis, again and again, into so many tiles of one size."""
    if n_tiles <= 1 or len(families) == 1:
        return [families]
    here = middle[families]
    order = families[np.argsort(here[:, np.argmax(np.ptp(here, axis=0))], kind="stable")]
    grown, left = np.cumsum(sizes[order]), n_tiles // 2
    cut = int(np.clip(np.searchsorted(grown, grown[-1] * left / n_tiles) + 1, 1, len(order) - 1))
    return _bisected(order[:cut], middle, sizes, left) + _bisected(order[cut:], middle, sizes, n_tiles - left)


def _within_reach(
    model: Model, reach: float, places: np.ndarray, tile: np.ndarray, n_tiles: int
) -> Bool[np.ndarray, "tiles tiles"]:
    """Which tiles have atoms within reach, looked up among all images in a cell and its margin."""
    cell, operations = model.cell, model.spacegroup.operations()  # pyright: ignore[reportOptionalMemberAccess]
    to_cell, margin = np.array(cell.frac.mat.tolist()), reach * np.array(cell.reciprocal().parameters[:3])  # pyright: ignore
    fractional = places @ to_cell.T
    images, of_image = [], []
    for operation in operations:
        rotation, translation = (np.array(part) / operation.DEN for part in (operation.rot, operation.tran))
        moved = (fractional @ rotation.T + translation) % 1.0
        for shift in product((-1.0, 0.0, 1.0), repeat=3):
            image = moved + shift
            inside = np.all((image >= -margin) & (image <= 1 + margin), axis=1)
            images.append(image[inside])
            of_image.append(tile[inside])
    to_space, of_all = np.linalg.inv(to_cell).T, np.concatenate(of_image)
    here, there = KDTree((fractional % 1.0) @ to_space), KDTree(np.concatenate(images) @ to_space)
    pairs = here.sparse_distance_matrix(there, reach, output_type="ndarray")
    near = np.eye(n_tiles, dtype=bool)
    near[tile[pairs["i"]], of_all[pairs["j"]]] = True
    return near | near.T
