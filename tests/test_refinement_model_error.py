"""The error of a model is read off σ_A."""

import numpy as np
import pytest

from jax_occupancy.refinement._model_error import model_error
from jax_occupancy.xray import SigmaA

S = np.linspace(0.02, 0.35, 4001)


def curve(shift, b):
    """σ_A of a model whose coordinates and B factors are wrong by so much."""
    sigma_a = np.exp(-0.5 * ((4 * np.pi * shift * S) ** 2 + (b * S**2) ** 2))
    ones = np.ones_like(S)
    return SigmaA(sigma_a, sigma_a, 1 - sigma_a**2, ones < 0, ones, ones[:2], ones[:2], "free", 100)


@pytest.mark.parametrize("size", [0.02, 0.05, 0.12])
def test_an_error_on_its_own_is_found(size):
    sigma = np.full(S.size, 0.1)
    assert model_error(curve(size, 0), sigma, S) == pytest.approx(size, rel=1e-6)


def test_positions_may_be_all_that_is_wrong():
    assert 0.06 < model_error(curve(0.06, 5.0), np.full(S.size, 0.1), S) < 0.12


def test_errors_are_those_of_misplaced_atoms():
    """σ_A as the correlation of structure factors of random atoms, moved at random."""
    random = np.random.default_rng(0)
    n, shift = 400, 0.06
    directions = random.normal(size=(S.size, 3))
    h = 2 * S[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    places = random.uniform(0, 100, size=(n, 3))
    moved = places + random.normal(scale=shift, size=(n, 3))
    model = np.exp(2j * np.pi * h @ places.T).sum(axis=1)
    truth = np.exp(2j * np.pi * h @ moved.T).sum(axis=1)
    shells = np.array_split(np.arange(S.size), 10)
    power = [np.mean(abs(values) ** 2) for one in shells for values in (model[one], truth[one])]
    overlap = [abs(np.mean(model[one] * truth[one].conj())) for one in shells]
    known = np.array(overlap) / np.sqrt(np.array(power[::2]) * np.array(power[1::2]))
    centres = np.array([S[one].mean() for one in shells])
    sigma_a = np.interp(S, centres, known)
    ones = np.ones_like(S)
    estimate = SigmaA(sigma_a, sigma_a, 1 - sigma_a**2, ones < 0, ones, ones[:2], ones[:2], "free", 100)
    found = model_error(estimate, np.full(S.size, 0.05), S)
    # 400 atoms, 3 numbers each: the spread of the shifts is known to 2 %, σ_A of a shell to a few per cent.
    assert found == pytest.approx(shift, rel=0.1)


def test_where_noise_hides_the_model_sigma_a_does_not_count():
    estimate = curve(0.05, 0)
    far = S > 0.25
    wrong = SigmaA(**vars(estimate) | {"sigma_a": np.where(far, 0.3, estimate.sigma_a)})
    sigma = np.where(far, 300.0, 0.02)
    assert model_error(wrong, sigma, S) == pytest.approx(0.05, rel=0.01)


def test_a_perfect_model_is_not_believed_in():
    estimate = curve(0, 0)
    perfect = SigmaA(**vars(estimate) | {"variance": np.full(S.size, 1e-30), "sigma_a": np.full(S.size, 1 - 1e-16)})
    assert model_error(perfect, np.full(S.size, 0.1), S) == 1e-3
