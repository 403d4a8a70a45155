"""How wrong the model is, as told by σ_A: where the prior of positions begins.

Errors of the coordinates with a standard deviation δ along each axis reduce the correlation of model and truth to
σ_A = exp(−2π²δ²/d²) = exp(−8π²δ²s²), s = sin θ/λ (Luzzati, Acta Cryst. 5, 802-810, 1952; Read, Acta Cryst. A42,
140-149, 1986). B factors are wrong, too, and make σ_A fall with s⁴; the posterior asks the data which it is.
"""

import numpy as np
from jaxtyping import Float

from jax_occupancy.xray import SigmaA

# A perfect model is not believed in: Å.
SMALLEST_SHIFT = 1e-3


def model_error(
    sigma_a: SigmaA, sigma: Float[np.ndarray, " reflections"], s: Float[np.ndarray, " reflections"]
) -> float:
    """Fit the error to σ_A, where that is known best: the weights are those of 1 − σ_A² in the Wilson distribution.

    Args:
        sigma_a: σ_A.
        sigma: standard uncertainties of the amplitudes.
        s: sin θ/λ in 1/Å.

    Returns:
        Standard deviation of a position along each axis in Å, if positions are all that is wrong.
    """
    weight = (sigma_a.power / sigma_a.total_variance(sigma)) ** 2
    term = (4 * np.pi * s) ** 2
    shift = np.sqrt(np.sum(weight * term * -2 * np.log(sigma_a.sigma_a)) / np.sum(weight * term**2))
    return max(float(shift), SMALLEST_SHIFT)
