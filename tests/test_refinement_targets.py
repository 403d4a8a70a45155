"""Targets made from observations, and those of one's own."""

import dataclasses

import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.io import Reflections
from jax_occupancy.refinement._observations import Observations
from jax_occupancy.xray import LeastSquares, MaximumLikelihood, Target

pytestmark = pytest.mark.usefixtures("x64")
CELL, SPACEGROUP = gemmi.UnitCell(21, 25, 30, 90, 104, 90), gemmi.SpaceGroup("P 1 21 1")
HKL = np.asarray(gemmi.make_miller_array(CELL, SPACEGROUP, 2.2, 100.0, unique=True))
N = len(HKL)
RANDOM = np.random.default_rng(0)
MODEL = np.abs(30 * (RANDOM.standard_normal(N) + 1j * RANDOM.standard_normal(N))) + 1
OBSERVED = np.abs(MODEL + 6 * RANDOM.standard_normal(N)) + 0.1
FREE = np.arange(N) % 8 == 0


def amplitudes():
    return Reflections(hkl=HKL, amplitude=OBSERVED, sigma=np.full(N, 1.5), free=FREE, cell=CELL, spacegroup=SPACEGROUP)


def intensities():
    return Reflections(
        hkl=HKL, intensity=OBSERVED**2 - 20, intensity_sigma=np.full(N, 30.0), free=FREE, cell=CELL,
        spacegroup=SPACEGROUP,
    )  # fmt: skip


def made(kind, observations, model=MODEL):
    """The target for a model of all reflections, and its value at each of them."""
    sigma_a = observations.sigma_a(observations.gather(model)) if kind.is_likelihood else None
    target = observations.target(kind, sigma_a, model.size, dtype="float64")
    return target, np.asarray(target(jnp.asarray(model)))


def test_least_squares_counts_the_working_set():
    _, values = made(LeastSquares, Observations.from_reflections(amplitudes()))
    wanted = np.sum((MODEL - OBSERVED)[~FREE] ** 2) / np.sum(OBSERVED[~FREE] ** 2)
    assert values.sum() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("data", [amplitudes, intensities])
def test_maximum_likelihood_takes_sigma_a_from_the_free_set_and_does_not_count_it(data):
    observations = Observations.from_reflections(data())
    assert (observations.french_wilson is None) == (data is amplitudes)
    assert np.all(observations.amplitude >= 0)
    assert observations.sigma_a(MODEL).source == "free"
    target, values = made(MaximumLikelihood, observations)
    assert not values[FREE].any()
    assert np.count_nonzero(values[~FREE]) > 0.99 * np.sum(~FREE)
    # the truth is likelier than amplitudes of other reflections
    assert values.sum() < float(jnp.sum(target(jnp.asarray(MODEL[::-1]))))


@pytest.mark.parametrize("data", [amplitudes, intensities])
@pytest.mark.parametrize("kind", [MaximumLikelihood, LeastSquares])
def test_reflections_that_were_not_observed_do_not_count(kind, data):
    """Some of the reflections of a linear model: the same target as for these alone."""
    used = RANDOM.random(N) < 0.7
    some = Observations.from_reflections(data()).select(used)
    _, values = made(kind, some)
    _, alone = made(kind, dataclasses.replace(some, rows=None), MODEL[used])
    np.testing.assert_allclose(values[used], alone, rtol=1e-12)
    assert not values[~used].any()
    assert np.isfinite(values).all()


def test_select_gather_and_spread():
    observations = Observations.from_reflections(intensities())
    np.testing.assert_array_equal(observations.gather(OBSERVED), OBSERVED)
    used = np.arange(N) % 3 != 0
    some = observations.select(used)
    assert some.reflections.n_reflections == used.sum()
    np.testing.assert_array_equal(some.french_wilson.effective, observations.french_wilson.effective[used])
    np.testing.assert_array_equal(some.gather(OBSERVED), OBSERVED[used])
    back = some.spread(OBSERVED[used], N, fill=-1.0)
    np.testing.assert_array_equal(back, np.where(used, OBSERVED, -1))
    again = some.select(np.arange(used.sum()) % 2 == 0)
    np.testing.assert_array_equal(again.gather(OBSERVED), OBSERVED[used][::2])


def test_sigma_a_without_a_free_set_comes_from_the_working_set():
    data = Reflections(
        hkl=HKL, amplitude=OBSERVED, sigma=np.full(N, 1.5), free=np.zeros(N, bool), cell=CELL, spacegroup=SPACEGROUP
    )
    assert Observations.from_reflections(data).sigma_a(MODEL).source == "working"


class Wavy(Target):
    """Bends down between its minima."""

    weight: jax.Array

    def __call__(self, f):
        return self.weight * (f**4 - 6 * f**2)


def test_information_is_never_negative():
    np.testing.assert_allclose(Wavy(jnp.ones(3)).information(jnp.array([0.5, 2.0, 0.0])), [0, 36, 0])
