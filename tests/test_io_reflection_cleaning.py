"""Joining Friedel mates, merging repeats, leaving out: against loops over single reflections; and doubtful data."""

import gemmi
import numpy as np
import pandas as pd
import pytest
from reflection_files import write_mtz

from jax_occupancy.io import Reflections, read_reflections

NAN, INF = np.nan, np.inf
GROUP = gemmi.SpaceGroup("P 21 21 21")


def cleaned(hkl, columns, **options):
    index = pd.MultiIndex.from_tuples([tuple(row) for row in hkl], names=["H", "K", "L"])
    frame = pd.DataFrame(columns, index=index)
    return Reflections.from_dataframe(frame, cell=gemmi.UnitCell(10, 20, 30, 90, 90, 90), spacegroup=GROUP, **options)


def slow_join(values, sigmas, centric):
    """One reflection at a time; None where there is no measurement."""
    rows = []
    for (plus, minus), (s_plus, s_minus), is_centric in zip(values, sigmas, centric, strict=True):
        mates = [(f, s) for f, s in ((plus, s_plus), (minus, s_minus)) if np.isfinite(f) and np.isfinite(s) and s > 0]
        if is_centric:
            mates = list(dict.fromkeys(mates))
        weights = [s**-2 for _, s in mates]
        if mates:
            mean = sum(w * f for w, (f, _) in zip(weights, mates, strict=True)) / sum(weights)
            rows.append((mean, sum(weights) ** -0.5))
        else:
            rows.append(None)
    return rows


def test_mates_against_a_loop():
    rng = np.random.default_rng(1)
    hkl = [(h, k, m) for h in range(8) for k in range(8) for m in range(8) if (h > 0) + (k > 0) + (m > 0) > 1]
    values = rng.choice([1.0, 2.0, -3.0, 0.0, NAN, INF], (len(hkl), 2))
    sigmas = rng.choice([1.0, 2.0, 0.5, 0.0, -1.0, NAN, INF], (len(hkl), 2))
    names = ("I(+)", "SIGI(+)", "I(-)", "SIGI(-)")
    columns = dict(zip(names, (values[:, 0], sigmas[:, 0], values[:, 1], sigmas[:, 1]), strict=True))
    data = cleaned(hkl, columns)
    # in this group reflections with an index of zero are centric
    wanted = slow_join(values, sigmas, [0 in row for row in hkl])
    kept = [i for i, row in enumerate(wanted) if row is not None]
    assert data.hkl.tolist() == [list(hkl[i]) for i in kept]
    np.testing.assert_allclose(data.intensity, [wanted[i][0] for i in kept], rtol=1e-14)
    np.testing.assert_allclose(data.intensity_sigma, [wanted[i][1] for i in kept], rtol=1e-14)


def test_copies_count_once():
    """Two measurements of (1, 2, 3), one of them written twice."""
    hkl = [(4, 4, 4), (1, 2, 3), (1, 2, 3), (1, 2, 3), (2, 2, 2), (3, 2, 2)]
    columns = {"F": [9.0, 10, 10, 13, 1, 1], "SIGF": [1.0, 1, 1, 2, 1, 1], "FREE": [1, 1, 0, 1, 1, 1]}
    data = cleaned(hkl, columns)
    assert data.hkl.tolist() == [[4, 4, 4], [1, 2, 3], [2, 2, 2], [3, 2, 2]]
    np.testing.assert_allclose(data.amplitude[:2], [9, (10 + 13 / 4) / 1.25], rtol=1e-15)
    np.testing.assert_allclose(data.sigma[:2], [1, 1.25**-0.5], rtol=1e-15)
    assert data.free.tolist() == [False, True, False, False]
    assert data.left_out["duplicate"] == 2


def test_the_first_reason_counts():
    hkl = [(0, 0, 0), (0, 0, 1), (1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (0, 0, 2), (5, 0, 0), (1, 2, 1), (1, 2, 2)]
    columns = {"F": [1, NAN, INF, -2, -2, 0, 5, 6, 7, 8], "SIGF": [1, 1, 1, 1, 0, 0, 1, 1, 1, 1e30]}
    data = cleaned(hkl, columns, d_min=3.0, d_max=15.0)
    assert data.hkl.tolist() == [[0, 0, 2], [1, 2, 1]]
    assert data.left_out == {
        "origin": 1,
        "missing": 2,
        "placeholder": 2,
        "sigma not positive": 0,
        "negative amplitude": 1,
        "systematic absence": 1,
        "out of all proportion": 1,
        "outside resolution limits": 0,
        "duplicate": 0,
    }
    intensities = {"I": columns["F"], "SIGI": columns["SIGF"]}
    data = cleaned(hkl, intensities, d_max=14.9)
    assert data.hkl.tolist() == [[1, 1, 2], [1, 2, 1]]  # a negative intensity is a measurement
    assert (data.left_out["negative amplitude"], data.left_out["outside resolution limits"]) == (0, 1)


@pytest.mark.parametrize(("hkl", "centric"), [((1, 2, 0), True), ((1, 2, 3), False)])
def test_equal_mates(hkl, centric):
    data = cleaned([hkl], {"I(+)": [3.0], "SIGI(+)": [1.0], "I(-)": [3.0], "SIGI(-)": [1.0]})
    assert data.intensity.tolist() == [3]
    assert data.intensity_sigma[0] == pytest.approx(1.0 if centric else 0.5**0.5)


HKL = [(h, k, m) for h in range(1, 5) for k in range(1, 5) for m in range(1, 5)]
N = len(HKL)


def doubtful(folder, value, sigma, *, quantity="amplitude", hkl=HKL):
    label, kind = {"amplitude": ("FP", "F"), "intensity": ("IMEAN", "J")}[quantity]
    columns = {label: (kind, value), f"SIG{label}": ("Q", np.broadcast_to(sigma, np.shape(value)))}
    return read_reflections(write_mtz(folder, columns, hkl=hkl))


@pytest.mark.parametrize(
    ("value", "quantity", "message"),
    [
        (-np.arange(1.0, N + 1), "intensity", "IMEAN holds no value above zero"),
        (np.zeros(N), "intensity", "IMEAN holds no value above zero"),
        (np.zeros(N), "amplitude", "FP holds no value above zero"),
        (np.full(N, 7.0), "amplitude", "FP has the value 7 for all 64 reflections"),
        (np.full(N, 7.0), "intensity", "IMEAN has the value 7 for all 64 reflections"),
    ],
)
def test_what_is_no_measurement_is_refused(value, quantity, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        doubtful(tmp_path, value, 1.0, quantity=quantity)


@pytest.mark.parametrize("quantity", ["amplitude", "intensity"])
def test_doubtful_sigmas_are_told(quantity, tmp_path):
    value = np.random.default_rng(0).uniform(50, 100, N)
    assert len(doubtful(tmp_path, value, 10.0, quantity=quantity).notes) == 1
    assert "times its sigma on average: noise, or" in doubtful(tmp_path, value, 1e4, quantity=quantity).notes[-1]
    assert "times its sigma: are these on another" in doubtful(tmp_path, value, 1e-8, quantity=quantity).notes[-1]
    with pytest.raises(ValueError, match=r"no usable reflection in .*; left out: 64 out of all proportion"):
        doubtful(tmp_path, value, 1e10, quantity=quantity)


def test_noise_is_told(tmp_path):
    rng = np.random.default_rng(0)
    data = doubtful(tmp_path, rng.normal(size=N), 1.0, quantity="intensity")
    assert "noise" in data.notes[-1] or "not above zero" in data.notes[-1]
    negative = np.where(np.arange(N) < 0.6 * N, -1.0, 5.0)
    assert "39 of 64 values in" in doubtful(tmp_path, negative, 1.0, quantity="intensity").notes[-1]
    # weak data, which are worth something, have an I/σ of 1
    assert len(doubtful(tmp_path, rng.normal(1, 1, N), 1.0, quantity="intensity").notes) == 1


def test_one_absurd_number_is_left_out(tmp_path):
    value, sigma = np.linspace(50.0, 100.0, N), np.full(N, 3.0)
    for absurd in (value, sigma):
        changed = absurd.copy()
        changed[5] = 1e30
        given = (changed, sigma) if absurd is value else (value, changed)
        data = doubtful(tmp_path, *given)
        assert (data.n_reflections, data.left_out["out of all proportion"]) == (N - 1, 1)


def test_repeats_that_contradict_each_other_are_told(tmp_path):
    rng = np.random.default_rng(0)
    value = rng.uniform(1, 100, N)
    for other, contradict in ((rng.uniform(1, 100, N), True), (value * 1.02, False)):
        data = doubtful(tmp_path, np.concatenate([value, other]), 1.0, hkl=HKL * 2)
        assert data.left_out["duplicate"] == N
        assert any("contradict each other" in note for note in data.notes) == contradict


def test_many_measurements_of_each_reflection_are_unmerged(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"holds 3\.0 measurements of each reflection: these are unmerged data"):
        doubtful(tmp_path, rng.uniform(50, 100, 3 * N), 1.0, hkl=HKL * 3)
    # copies, of data that were expanded to lower symmetry, are no measurements
    assert doubtful(tmp_path, np.tile(rng.uniform(50, 100, N), 8), 1.0, hkl=HKL * 8).n_reflections == N


def test_miller_indices_are_integers(tmp_path):
    hkl = [*HKL[:2], (1.5, 2, 3), *HKL[3:]]
    with pytest.raises(ValueError, match=r"data\.mtz: Miller indices must be integers; 1 are not, first in rows \[3\]"):
        doubtful(tmp_path, np.arange(1.0, N + 1), 1.0, hkl=hkl)
