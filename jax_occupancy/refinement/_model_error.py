"""How wrong the model is, as told by σ_A: the priors of what is not refined.

Errors of the coordinates with a standard deviation δ along each axis reduce the correlation of model and truth to
σ_A = exp(−2π²δ²/d²) = exp(−8π²δ²s²), s = sin θ/λ (Luzzati, Acta Cryst. 5, 802-810, 1952; Read, Acta Cryst. A42,
140-149, 1986). So the data say themselves how far the atoms of a group may be from their true places.
"""

from typing import NamedTuple

import numpy as np

from jax_occupancy.refinement._cycles import Fit
from jax_occupancy.refinement._targets import Observations, sigma_a_of

# A group as a whole is less wrong than its atoms are: part of their errors averages out.
OF_WHOLE_GROUP = 0.7
# A perfect model is not believed in.
SMALLEST_SHIFT = 1e-3


class ModelError(NamedTuple):
    """Standard deviations of what is held.

    Attributes:
        shift: of the position of a group along each axis, in Å.
        b: of its B factor, in Å².
    """

    shift: float
    b: float


def model_error(observations: Observations, fit: Fit) -> ModelError:
    """Estimate the errors of a model from σ_A.

    The B factors are taken to be as wrong as the coordinates: an error ΔB that changes a structure factor of the data
    as much, ΔB·s² = 4πδs.

    Args:
        observations: the data.
        fit: the end of the refinement; where its target needed no σ_A it is estimated here.

    Returns:
        The errors of a typical group: the median over the reflections.
    """
    n = observations.reflections.n_reflections
    sigma_a = fit.sigma_a
    if sigma_a is None:
        sigma_a = sigma_a_of(observations, np.asarray(fit.problem.amplitude(fit.x), np.float64)[:n])
    s = 1 / (2 * observations.reflections.d_spacing())
    of_atoms = np.median(np.sqrt(-2 * np.log(sigma_a.sigma_a)) / (4 * np.pi * s))
    shift = max(OF_WHOLE_GROUP * float(of_atoms), SMALLEST_SHIFT)
    return ModelError(shift, float(np.median(4 * np.pi * shift / s)))
