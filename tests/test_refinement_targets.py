import gemmi
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.io import Reflections
from jax_occupancy.refinement import Observations, target_maker
from jax_occupancy.refinement._targets import sigma_a_of

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


def test_least_squares_counts_the_working_set():
    made = target_maker("ls", Observations.from_reflections(amplitudes()), dtype="float64")(MODEL)
    assert made.sigma_a is None
    wanted = np.sum((MODEL - OBSERVED)[~FREE] ** 2) / np.sum(OBSERVED[~FREE] ** 2)
    assert float(jnp.sum(made.target(jnp.asarray(MODEL)))) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("data", [amplitudes, intensities])
def test_maximum_likelihood_takes_sigma_a_from_the_free_set_and_does_not_count_it(data):
    observations = Observations.from_reflections(data())
    assert (observations.french_wilson is None) == (data is amplitudes)
    assert np.all(observations.amplitude >= 0)
    made = target_maker("ml", observations, dtype="float64")(MODEL)
    assert made.sigma_a.source == "free"
    values = np.asarray(made.target(jnp.asarray(MODEL)))
    assert not values[FREE].any()
    assert np.count_nonzero(values[~FREE]) > 0.99 * np.sum(~FREE)
    # the truth is likelier than amplitudes of other reflections
    assert values.sum() < float(jnp.sum(made.target(jnp.asarray(MODEL[::-1]))))


@pytest.mark.parametrize("data", [amplitudes, intensities])
@pytest.mark.parametrize("name", ["ml", "ls"])
def test_reflections_that_were_not_observed_do_not_count(name, data):
    """Some of the reflections of a linear model: the same target as for these alone."""
    used = RANDOM.random(N) < 0.7
    some = Observations.from_reflections(data()).select(used)
    spread = some._replace(rows=np.flatnonzero(used))
    compact = target_maker(name, some, dtype="float64")(MODEL[used])
    whole = target_maker(name, spread, dtype="float64")(MODEL)
    values = np.asarray(whole.target(jnp.asarray(MODEL)))
    np.testing.assert_allclose(values[used], compact.target(jnp.asarray(MODEL[used])), rtol=1e-12)
    assert not values[~used].any()
    assert np.isfinite(values).all()


def test_select_gather_and_spread():
    observations = Observations.from_reflections(intensities())
    used = np.arange(N) % 3 != 0
    some = observations.select(used)
    assert some.reflections.n_reflections == used.sum()
    np.testing.assert_array_equal(some.french_wilson.effective, observations.french_wilson.effective[used])
    np.testing.assert_array_equal(some.gather(OBSERVED[used]), OBSERVED[used])
    spread = some._replace(rows=np.flatnonzero(used))
    np.testing.assert_array_equal(spread.gather(OBSERVED), OBSERVED[used])
    back = spread.spread(OBSERVED[used], N, fill=-1.0)
    np.testing.assert_array_equal(back, np.where(used, OBSERVED, -1))
    again = spread.select(np.arange(used.sum()) % 2 == 0)
    np.testing.assert_array_equal(again.gather(OBSERVED), OBSERVED[used][::2])


def test_sigma_a_without_a_free_set_comes_from_the_working_set():
    data = Reflections(
        hkl=HKL, amplitude=OBSERVED, sigma=np.full(N, 1.5), free=np.zeros(N, bool), cell=CELL, spacegroup=SPACEGROUP
    )
    assert sigma_a_of(Observations.from_reflections(data), MODEL).source == "working"


def test_an_unknown_target():
    with pytest.raises(ValueError, match="one of ml, ls, not 'mse'"):
        target_maker("mse", Observations.from_reflections(amplitudes()), dtype="float64")
