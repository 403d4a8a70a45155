"""Reflections that cannot be what they claim to be.

Read (Acta Cryst. D55, 1759-1764, 1999): a measurement so unlikely that not one such is expected in the data set is an
error (a reflection behind the beam stop, a zinger, an ice ring), and a likelihood target would follow it.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erfc, i0e

from jax_occupancy.xray._checks import check_columns, checked_hkl
from jax_occupancy.xray._sigma_a import SigmaA
from jax_occupancy.xray._wilson import mean_intensity

UNLIKELY = 1e-6
# What the model makes no stronger than this unlikely is strong for a reason: few atoms, pseudo-symmetry, a heavy metal.
DISAGREES = 0.01
# Where a tail has fallen by exp(−40), integration stops.
REACH2 = 80.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)

IMPOSSIBLE = "too strong for its resolution"
STRONG, WEAK = "too strong for the model", "too weak for the model"


@dataclass(frozen=True, eq=False)
class Outliers:
    """Which reflections are outliers, and for each of these why.

    What `find_outliers` returns.

    Attributes:
        mask: True for the outliers among all reflections.
        hkl: Their Miller indices; this and the following have one row for each outlier.
        observed: F_obs.
        expected: Root mean square of the amplitudes that were expected, the error of the measurement included.
        probability: How likely a reflection is as far off as this one; 0 where float64 ends, at 1e-308.
        reason: "too strong for its resolution", "too strong for the model" or "too weak for the model".
    """

    mask: Bool[np.ndarray, " reflections"]
    hkl: Int[np.ndarray, "outliers 3"]
    observed: Float[np.ndarray, " outliers"]
    expected: Float[np.ndarray, " outliers"]
    probability: Float[np.ndarray, " outliers"]
    reason: tuple[str, ...]

    def columns(self) -> dict[str, list]:
        """A table, for `pandas.DataFrame` or a file: h, k, l, observed, expected, probability, reason."""
        indices = dict(zip("hkl", self.hkl.T.tolist(), strict=True))
        numbers = {name: getattr(self, name).tolist() for name in ("observed", "expected", "probability")}
        return indices | numbers | {"reason": list(self.reason)}


def find_outliers(
    hkl: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    *,
    sigma_a: SigmaA,
    model_amplitude: np.ndarray,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
    level: float = UNLIKELY,
) -> Outliers:
    """Find reflections that are too strong for any structure, or too strong or too weak for this one.

    The first test is the probability, by Wilson's distribution, that a reflection of this resolution and direction is
    as strong; one that the model expects to be strong passes all the same. The second is twice the smaller tail of
    p(F_obs | F_model). Both allow for the errors that σ and σ_A describe, so a poor model makes no outliers. An
    amplitude below its σ counts as σ when it is weak: zeros in files are often rounded or clipped. On N correct
    reflections 2·level·N false alarms are expected at most.

    Args:
        hkl: Miller indices, integers (reflections, 3).
        amplitude: Observed amplitudes.
        sigma: Their standard uncertainties.
        sigma_a: What `estimate_sigma_a` found for the same reflections.
        model_amplitude: |F_model| on the scale of the observations.
        cell: Unit cell.
        spacegroup: Space group.
        level: Probability below which a reflection is an outlier.

    Returns:
        The outliers; the first test's reason stands where both find one.

    Raises:
        ValueError: Lengths differ, a value is not finite, or the level is not between 0 and 1.

    Example:
        >>> import gemmi, numpy as np
        >>> cell, spacegroup = gemmi.UnitCell(20, 20, 20, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
        >>> hkl = gemmi.make_miller_array(cell, spacegroup, 2.0)
        >>> one = np.ones(len(hkl))
        >>> sigma_a = SigmaA(0.9 * one, 0.9 * one, 19 * one, one > 2, one, one[:1], 0.9 * one[:1], "free", len(hkl))
        >>> amplitude, model_amplitude = 10 * one, 11 * one
        >>> amplitude[5], amplitude[9], model_amplitude[9] = 60, 1, 25
        >>> found = find_outliers(
        ...     hkl, amplitude, one, sigma_a=sigma_a, model_amplitude=model_amplitude, cell=cell, spacegroup=spacegroup
        ... )
        >>> np.flatnonzero(found.mask).tolist(), found.reason
        ([5, 9], ('too strong for its resolution', 'too weak for the model'))
    """
    hkl = checked_hkl(hkl)
    given = {"amplitude": amplitude, "sigma": sigma, "model_amplitude": model_amplitude, "sigma_a": sigma_a.sigma_a}
    given = {name: np.asarray(values, np.float64) for name, values in given.items()}
    check_columns(given, len(hkl))
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, wanted a probability between 0 and 1, such as 1e-6")
    observed, noise = given["amplitude"], sigma_a.total_variance(given["sigma"])
    expected = sigma_a.shrinkage * given["model_amplitude"]
    power = noise - sigma_a.variance + mean_intensity(
        hkl, observed**2, (2 * observed + given["sigma"]) * given["sigma"], epsilon=sigma_a.epsilon,
        centric=sigma_a.centric, cell=cell, spacegroup=spacegroup,
    )  # fmt: skip

    impossible = _too_strong(observed**2 / power, sigma_a.centric)
    radial = np.sqrt(noise / np.where(sigma_a.centric, 1, 2))
    strong = 2 * _upper_tail(observed / radial, expected / radial, sigma_a.centric)
    weak = 2 * _lower_tail(np.maximum(observed, given["sigma"]) / radial, expected / radial, sigma_a.centric)
    tests = np.array([impossible, strong, weak]) < level
    tests[0] &= strong < DISAGREES
    mask = np.asarray(tests.any(axis=0))
    first = tests.argmax(axis=0)[mask]
    square = np.where(tests[0], power, expected**2 + noise)
    return Outliers(
        mask=mask,
        hkl=hkl[mask],
        observed=observed[mask],
        expected=np.sqrt(square[mask]),
        probability=np.array([impossible, strong, weak])[first, np.flatnonzero(mask)],
        reason=tuple((IMPOSSIBLE, STRONG, WEAK)[i] for i in first),
    )


def _too_strong(square: np.ndarray, centric: np.ndarray) -> np.ndarray:
    """Probability of E² or more in Wilson's distribution."""
    return np.where(centric, erfc(np.sqrt(square / 2)), np.exp(-square))


def _upper_tail(observed: np.ndarray, expected: np.ndarray, centric: np.ndarray) -> np.ndarray:
    """Probability of this amplitude or more, at radial variance one; that of the expected one below it."""
    start = np.maximum(observed, expected)
    return _tail(start, 1, _reach(start - expected), expected, centric)


def _lower_tail(observed: np.ndarray, expected: np.ndarray, centric: np.ndarray) -> np.ndarray:
    """Probability of this amplitude or less, at radial variance one; that of the expected one + 1 above it."""
    start = np.minimum(observed, expected + 1)
    return _tail(start, -1, np.minimum(start, _reach(expected - start)), expected, centric)


def _reach(distance: np.ndarray) -> np.ndarray:
    """How far to go from a point at this distance from the peak until the square has grown by REACH2."""
    return REACH2 / (distance + np.hypot(distance, np.sqrt(REACH2)))


def _tail(start: np.ndarray, direction: int, width: np.ndarray, peak: np.ndarray, centric: np.ndarray) -> np.ndarray:
    """∫ p(x) dx by Gauss's rule from the start outwards, with the factor that may be tiny taken out."""
    distance, peak = direction * (start - peak)[:, None], peak[:, None]
    step = width[:, None] * (1 + NODES) / 2
    x = start[:, None] + direction * step
    density = np.where(
        centric[:, None], (1 + np.exp(-2 * x * peak)) / np.sqrt(2 * np.pi), np.maximum(x, 0) * i0e(x * peak)
    )
    fallen = np.exp(-step * (step + 2 * distance) / 2)
    return np.exp(-(distance[:, 0] ** 2) / 2) * ((density * fallen) @ WEIGHTS) * width / 2
