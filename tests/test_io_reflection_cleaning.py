"""Joining Friedel mates, merging repeats, leaving out: against loops over single reflections."""

import gemmi
import numpy as np
import pytest

from jax_occupancy.io._reflection_cleaning import Measured, join_mates, leave_out, merge_repeats

NAN, INF = np.nan, np.inf


def measured(hkl, value, sigma, flag=None):
    flag = np.full(len(hkl), NAN) if flag is None else np.array(flag, float)
    return Measured(np.array(hkl, np.int32), np.array(value, float), np.array(sigma, float), flag)


def slow_join(values, sigmas, centric):
    """One reflection at a time."""
    rows = []
    for (plus, minus), (s_plus, s_minus), is_centric in zip(values, sigmas, centric, strict=True):
        mates = [(f, s) for f, s in ((plus, s_plus), (minus, s_minus)) if np.isfinite(f) and np.isfinite(s) and s > 0]
        if is_centric:
            mates = list(dict.fromkeys(mates))
        weights = [s**-2 for _, s in mates]
        if mates:
            rows.append(
                (sum(w * f for w, (f, _) in zip(weights, mates, strict=True)) / sum(weights), sum(weights) ** -0.5)
            )
        else:
            rows.append((minus, s_minus) if np.isnan(plus) else (plus, s_plus))
    return np.array(rows).T


def test_mates_against_a_loop():
    rng = np.random.default_rng(1)
    values = rng.choice([1.0, 2.0, -3.0, 0.0, NAN, INF], (500, 2))
    sigmas = rng.choice([1.0, 2.0, 0.5, 0.0, -1.0, NAN, INF], (500, 2))
    centric = rng.random(500) < 0.5
    wanted = slow_join(values, sigmas, centric)
    mean, sigma = join_mates((values[:, 0], values[:, 1]), (sigmas[:, 0], sigmas[:, 1]), centric)
    np.testing.assert_allclose(mean, wanted[0], rtol=1e-14)
    np.testing.assert_allclose(sigma, wanted[1], rtol=1e-14)


def test_copies_count_once():
    """Two measurements of (1, 2, 3), one of them written twice."""
    data = measured([(4, 4, 4), (1, 2, 3), (1, 2, 3), (1, 2, 3)], [9, 10, 10, 13], [1, 1, 1, 2])
    unique, free, n_merged = merge_repeats(data, np.array([False, False, True, False]))
    assert unique.hkl.tolist() == [[4, 4, 4], [1, 2, 3]]
    np.testing.assert_allclose(unique.value, [9, (10 + 13 / 4) / 1.25], rtol=1e-15)
    np.testing.assert_allclose(unique.sigma, [1, 1.25**-0.5], rtol=1e-15)
    assert free.tolist() == [False, True]
    assert n_merged == 2


def test_the_first_reason_counts():
    cell, spacegroup = gemmi.UnitCell(10, 20, 30, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
    hkl = [(0, 0, 0), (0, 0, 1), (1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (0, 0, 2), (5, 0, 0)]
    data = measured(hkl, [1, NAN, INF, -2, -2, 0, 5, 6], [1, 1, 1, 1, 0, 0, 1, 1])
    excluded = {"told so": np.array([True] + [False] * 7)}
    kept, counts = leave_out(
        data, quantity="amplitude", cell=cell, spacegroup=spacegroup, limits=(3.0, 15.0), excluded=excluded
    )
    assert kept.hkl.tolist() == [[0, 0, 2]]
    assert counts == {
        "origin": 1,
        "told so": 0,
        "missing": 2,
        "placeholder": 2,
        "sigma not positive": 0,
        "negative amplitude": 1,
        "systematic absence": 1,
        "outside resolution limits": 0,
    }
    kept, counts = leave_out(
        data, quantity="intensity", cell=cell, spacegroup=spacegroup, limits=(0.0, 14.9), excluded={}
    )
    assert kept.hkl.tolist() == [[1, 1, 2]]  # a negative intensity is a measurement
    assert (counts["negative amplitude"], counts["outside resolution limits"]) == (0, 1)


@pytest.mark.parametrize("centric", [True, False])
def test_equal_mates(centric):
    mean, sigma = join_mates((np.array([3.0]),) * 2, (np.array([1.0]),) * 2, np.array([centric]))
    assert mean.tolist() == [3]
    assert sigma[0] == pytest.approx(1.0 if centric else 0.5**0.5)
