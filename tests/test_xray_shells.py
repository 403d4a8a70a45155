import numpy as np
import pytest

from jax_occupancy.xray import Interpolation, shell_nodes, smooth_mean

NODES = np.array([0.1, 0.2, 0.5])
PLACES = np.array([0.05, 0.1, 0.12, 0.2, 0.35, 0.5, 0.9])


def dense(nodes, places):
    return np.stack([np.interp(places, nodes, one) for one in np.eye(len(nodes))], axis=1)


@pytest.mark.parametrize("nodes", [NODES, NODES[:2], NODES[:1]])
def test_equals_the_dense_matrix(nodes):
    between, H = Interpolation.from_nodes(nodes, PLACES), dense(nodes, PLACES)
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=len(nodes)), rng.normal(size=len(PLACES))
    np.testing.assert_allclose(between.interpolate(values), H @ values, atol=1e-14)
    np.testing.assert_allclose(between.collect(weights), H.T @ weights, atol=1e-14)
    np.testing.assert_allclose(between.gram(weights), H.T @ np.diag(weights) @ H, atol=1e-14)
    chosen = weights > 0
    np.testing.assert_allclose(between.take(chosen).interpolate(values), (H @ values)[chosen], atol=1e-14)


def test_shells_are_large_enough_and_cover_all():
    s2 = np.random.default_rng(1).uniform(0, 1, 3000) ** (2 / 3)
    nodes = shell_nodes(s2, smallest=100, most=20)
    assert nodes[[0, -1]] == pytest.approx([s2.min(), s2.max()])
    assert (np.histogram(s2, nodes)[0] >= 99).all()
    assert 10 < len(nodes) <= 21
    # equal thickness in 1/d where there are reflections enough
    assert np.diff(np.sqrt(nodes))[-5:] == pytest.approx(np.diff(np.sqrt(nodes))[-1], rel=1e-6)


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (9, 1), (10, 2), (19, 2)])
def test_few_reflections(n, expected):
    assert len(shell_nodes(np.linspace(0.1, 0.2, n), smallest=10, most=20)) == expected


def test_gap_in_resolution():
    s2 = np.concatenate([np.linspace(0.01, 0.02, 300), np.linspace(0.2, 0.25, 300)])
    nodes = shell_nodes(s2, smallest=50, most=20)
    assert (np.diff(nodes) > 0).all()
    assert (Interpolation.from_nodes(nodes, s2).collect(np.ones(600)) > 0).all()


def test_mean_of_chosen_values_alone():
    s2 = np.linspace(0.01, 1, 500)
    between = Interpolation.from_nodes(np.linspace(0.01, 1, 5), s2)
    chosen = np.arange(500) % 3 == 0
    values = np.where(chosen, 4.0, 1e9)
    np.testing.assert_allclose(smooth_mean(values, between, chosen), 4.0)
    assert (smooth_mean(np.where(s2 < 0.5, 1.0, 0.0), between, chosen) > 0).all()
