"""Which groups are near each other, and what leaving out the curvature between the others does to an answer."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy import refine
from jax_occupancy.refinement import _near, prepare
from jax_occupancy.xray import Tiles

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def small_tiles(monkeypatch):
    """As if a few groups were many."""
    monkeypatch.setattr(_near, "FEW", 0)
    monkeypatch.setattr(_near, "TILE", 2)
    monkeypatch.setattr(_near.Near, "of", lambda near, group: Tiles.of(near.tile[group], near.tiles))


def test_few_groups_are_one_tile(example):
    near = prepare(*example[:2]).near
    assert near.tiles.tolist() == [[True]]


def test_sets_stay_whole_and_tiles_within_reach_are_found_across_symmetry(example, small_tiles):
    model = example[0]
    problem = prepare(*example[:2])
    near, n = problem.near, problem.n_groups
    assert len(near.tiles) > 2
    for row in problem.constraints.matrix[:, :n]:
        assert len(np.unique(near.tile[row != 0])) <= 1
    places = model.atoms[["x", "y", "z"]].to_numpy()
    to_cell, to_space = (np.array(matrix.mat.tolist()) for matrix in (model.cell.frac, model.cell.orth))
    atoms = [places[np.concatenate([problem.members[g] for g in np.flatnonzero(near.tile == t)])] for t in range(3)]
    for one, other in product(range(3), repeat=2):
        closest = np.inf
        for operation in model.spacegroup.operations():
            images = atoms[other] @ to_cell.T @ np.array(operation.rot).T / 24 + np.array(operation.tran) / 24
            for shift in product(range(-2, 3), repeat=3):
                apart = (images + shift) @ to_space.T - atoms[one][:, None]
                closest = min(closest, np.linalg.norm(apart, axis=-1).min())
        assert near.tiles[one, other] == (closest <= _near.REACH)


def test_blocks_hold_every_variable_with_its_equations(example, small_tiles):
    problem = prepare(*example[:2])
    near, n, n_x = problem.near, problem.n_groups, problem.n_variables
    for matrix in (problem.constraints.matrix, np.pad(problem.constraints.matrix, ((0, 0), (0, n)))):
        n_all = matrix.shape[1] + matrix.shape[0]
        blocks = [block[block < n_all] for block in np.asarray(near.blocks(matrix, n_x))]
        assert sorted(np.concatenate(blocks).tolist()) == list(range(n_all))
        block_of = np.zeros(n_all, int)
        for number, block in enumerate(blocks):
            block_of[block] = number
        for equation, row in enumerate(matrix):
            assert {block_of[matrix.shape[1] + equation]} == set(block_of[np.flatnonzero(row)])
        np.testing.assert_array_equal(block_of[:n], near.tile)
        if matrix.shape[1] > n_x:
            np.testing.assert_array_equal(block_of[n_x : n_x + n], near.tile)


def test_products_of_near_rows_alone():
    random = np.random.default_rng(0)
    jacobian, tile = random.normal(size=(11, 30)), random.integers(0, 4, 11)
    near = np.eye(4, dtype=bool)
    near[0, 3] = near[3, 0] = near[1, 3] = near[3, 1] = True
    tiles = Tiles.of(tile, near)
    wanted = np.where(near[tile][:, tile], jacobian @ jacobian.T, 0)
    rows = jnp.asarray(jacobian)
    np.testing.assert_allclose(tiles.matrix(tiles.products(rows, rows)), wanted, rtol=1e-12)


def test_the_answer_without_distant_curvature_is_the_same(example, solution, small_tiles):
    found = refine(*example[:2], starts=2)
    assert found.result == "converged"
    esd = solution.table["esd"].to_numpy()
    apart = (found.table["occupancy"] - solution.table["occupancy"]).to_numpy()
    assert np.nanmax(np.abs(apart) / esd) < 0.1
    np.testing.assert_allclose(found.table["esd"], esd, rtol=0.05)


def test_one_tile_where_it_costs_less_and_all_are_near_where_reflections_are_few(example, monkeypatch):
    near = _near.Near(np.array([0] * 8 + [1, 2]), np.ones((3, 3), bool))
    assert near.of(np.arange(10)).rows.shape == (1, 10)
    monkeypatch.setattr(_near, "FEW", 0)
    monkeypatch.setattr(_near, "TILE", 2)
    model, data = example[:2]
    members = [np.array([atom]) for atom in range(40)]
    assert not _near.near_groups(model, data.hkl[:600], members, np.arange(40)).tiles.all()
    few = _near.near_groups(model, data.hkl[:599], members, np.arange(40))
    assert few.tiles.all()
    assert len(few.tiles) > 1
