"""Reflections that cannot be what they claim to be.

Read (Acta Cryst. D55, 1759-1764, 1999): a measurement so unlikely that not one such is expected in the data set is an
error (a reflection behind the beam stop, a zinger, an ice ring), and a likelihood target would follow it.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2, ncx2

from jax_occupancy.xray._checks import checked_columns, checked_hkl
from jax_occupancy.xray._sigma_a import SigmaA
from jax_occupancy.xray._wilson import mean_intensity

UNLIKELY = 1e-6
# What the model makes no stronger than this unlikely is strong for a reason: few atoms, pseudo-symmetry, a heavy metal.
DISAGREES = 0.01

IMPOSSIBLE = "too strong for its resolution"
STRONG, WEAK = "too strong for the model", "too weak for the model"


@dataclass(frozen=True, eq=False)
class Outliers:
    """Which reflections are outliers (`mask`), and for each of these, one row each, why; `find_outliers` makes it."""

    mask: Bool[np.ndarray, " reflections"]  # True for the outliers among all reflections
    hkl: Int[np.ndarray, "outliers 3"]
    observed: Float[np.ndarray, " outliers"]  # F_obs
    expected: Float[np.ndarray, " outliers"]  # root mean square amplitude, the error of the measurement included
    probability: Float[np.ndarray, " outliers"]  # how likely one is as far off; below 1e-48 it may be 0
    reason: tuple[str, ...]  # "too strong for its resolution", "too strong for the model" or "too weak for the model"

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
) -> Outliers:
    """Find reflections that are too strong for any structure, or too strong or too weak for this one.

    The first test is the probability, by Wilson's distribution, that a reflection of this resolution and direction is
    as strong; one that the model expects to be strong passes. The second is twice the smaller tail of p(F_obs |
    F_model), in which a weak amplitude below its σ counts as σ: zeros in files are often clipped. Below 1e-6 a
    reflection is an outlier, by the first test where both find it. Both allow for the errors that σ and σ_A describe,
    so a poor model makes none; on N correct reflections N·2e-6 false alarms are expected at most.

    Args:
        hkl: Miller indices, integers (reflections, 3).
        sigma_a: what `estimate_sigma_a` found for the same reflections.
        model_amplitude: |F_model| on the scale of the observations.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    hkl = checked_hkl(hkl)
    observed, sigma, model, _ = checked_columns(
        len(hkl), amplitude=amplitude, sigma=sigma, model_amplitude=model_amplitude, sigma_a=sigma_a.sigma_a
    )
    noise, expected = sigma_a.total_variance(sigma), sigma_a.shrinkage * model
    error_of_square = (2 * observed + sigma) * sigma
    power = mean_intensity(hkl, observed**2, error_of_square, cell=cell, spacegroup=spacegroup)
    power += noise - sigma_a.variance

    # The square of an amplitude has, by Wilson's distribution, that of χ², and around a model that of noncentral χ².
    freedom = np.where(sigma_a.centric, 1, 2)
    radial = noise / freedom
    impossible = chi2.sf(freedom * observed**2 / power, freedom)
    strong = 2 * ncx2.sf(observed**2 / radial, freedom, expected**2 / radial)
    weak = 2 * ncx2.cdf(np.maximum(observed, sigma) ** 2 / radial, freedom, expected**2 / radial)
    probability = np.array([impossible, strong, weak])
    tests = probability < UNLIKELY
    tests[0] &= strong < DISAGREES
    mask = np.asarray(tests.any(axis=0))
    first = tests.argmax(axis=0)[mask]
    square = np.where(tests[0], power, expected**2 + noise)
    return Outliers(
        mask=mask,
        hkl=hkl[mask],
        observed=observed[mask],
        expected=np.sqrt(square[mask]),
        probability=probability[first, np.flatnonzero(mask)],
        reason=tuple((IMPOSSIBLE, STRONG, WEAK)[i] for i in first),
    )
