"""The mean intensity that the prior of French and Wilson is given."""

import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import amplitudes_from_intensities

CELL = gemmi.UnitCell(45, 52, 61, 90, 105, 90)


def simulate(name, tensor, *, noise=0.0, d_min=2.5, seed=0):
    """Intensities that follow Wilson's distribution about a mean with an anisotropic B, in Å²."""
    rng = np.random.default_rng(seed)
    spacegroup = gemmi.SpaceGroup(name)
    hkl = gemmi.make_miller_array(CELL, spacegroup, d_min)
    operations = spacegroup.operations()
    epsilon, centric = operations.epsilon_factor_without_centering_array(hkl), operations.centric_flag_array(hkl)
    vectors = hkl @ np.array(CELL.frac.mat.tolist())
    power = 1e4 * epsilon * np.exp(-0.5 * np.einsum("ni,ij,nj->n", vectors, 20 * np.eye(3) + tensor, vectors))
    a, b = rng.normal(size=(2, len(hkl)))
    intensity = power * np.where(centric, a**2, (a**2 + b**2) / 2)
    sigma = np.full(len(hkl), max(noise, 1e-9) * power.mean())
    data = {"hkl": hkl, "intensity": intensity + sigma * rng.normal(size=len(hkl)), "sigma": sigma}
    return data | {"cell": CELL, "spacegroup": spacegroup}, power


def mean_intensity(data):
    return amplitudes_from_intensities(**data).power


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("P 1", [[20, 5, -8], [5, -15, 4], [-8, 4, -5]]),
        ("P 1 21 1", [[20, 0, -8], [0, -15, 0], [-8, 0, -5]]),
        ("P 1 21 1", np.zeros((3, 3))),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_known_mean_comes_back(name, tensor, noise):
    data, power = simulate(name, np.array(tensor), noise=noise)
    found = mean_intensity(data)
    error = np.log(found / power)
    # 20 shells of 300 or more, and up to five elements of a tensor
    assert np.median(abs(error)) < (0.07 if noise == 0 else 0.2)
    e2 = data["intensity"] / found
    general = data["spacegroup"].operations().epsilon_factor_without_centering_array(data["hkl"]) == 1
    assert np.mean(e2[general]) == pytest.approx(1, abs=0.05 if noise == 0 else 0.15)


def test_without_the_tensor_directions_differ():
    data, power = simulate("P 1 21 1", np.diag([20.0, -25.0, 5.0]))
    every = slice(None, None, len(power) // 250)
    few = {name: values[every] if isinstance(values, np.ndarray) else values for name, values in data.items()}
    assert np.std(np.log(mean_intensity(data) / power)) < 0.15
    assert np.std(np.log(mean_intensity(few) / power[every])) > 0.3


def test_an_outlier_does_not_hide_itself():
    data, power = simulate("P 1 21 1", np.zeros((3, 3)), d_min=7.0)
    assert 300 < len(power) < 500
    data["intensity"][50] = 1e4 * power[50]
    found = mean_intensity(data)
    assert np.median(abs(np.log(found / power))) < 0.15
    assert data["intensity"][50] / found[50] > 1e3


def test_negative_mean_and_hopeless_measurements():
    data, _ = simulate("P 1 21 1", np.zeros((3, 3)), noise=1.0)
    sigma = data["sigma"][0]
    found = mean_intensity(data | {"intensity": np.full(len(data["sigma"]), -sigma)})
    assert ((found > 0) & (found < sigma)).all()
    before = mean_intensity(data)
    data["intensity"][7], data["sigma"][7] = -1e12, 1e12
    np.testing.assert_allclose(mean_intensity(data), before, rtol=0.02)
