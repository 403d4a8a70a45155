import numpy as np
import pytest

from jax_occupancy.xray import r_factor


def test_r_factor_by_hand():
    observed, model = np.array([10.0, 20.0, 5.0, 7.0]), np.array([11.0, 17.0, 5.5, 7.0])
    free = np.array([False, False, True, True])
    assert r_factor(observed, model, free) == pytest.approx((4 / 30, 0.5 / 12))
    assert np.isnan(r_factor(observed, model, np.zeros(4, bool))[1])
