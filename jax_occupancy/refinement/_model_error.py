"""How wrong the model is, as told by σ_A: the priors of what is not refined.

Errors of the coordinates with a standard deviation δ along each axis reduce the correlation of model and truth to
σ_A = exp(−2π²δ²/d²) = exp(−8π²δ²s²), s = sin θ/λ (Luzzati, Acta Cryst. 5, 802-810, 1952; Read, Acta Cryst. A42,
140-149, 1986). Errors of the B factors with a standard deviation b change an atom's share by bs², to first order. Both
errors together make

    −2 ln σ_A = 16π²δ²s² + b²s⁴

So the data say themselves how far the atoms of a group may be from their true places and B factors. They hardly say
which of the two it is, nor whether the atoms of a group are wrong together or each on its own: either error is taken
to be the cause of all of it.
"""

import numpy as np
from jaxtyping import Float

from jax_occupancy.xray import SigmaA

# A perfect model is not believed in: Å and Å².
SMALLEST_SHIFT, SMALLEST_B = 1e-3, 1e-2


def model_error(
    sigma_a: SigmaA, sigma: Float[np.ndarray, " reflections"], s: Float[np.ndarray, " reflections"]
) -> tuple[float, float]:
    """Fit each error to σ_A, where that is known best: the weights are those of 1 − σ_A² in the Wilson distribution.

    Args:
        sigma_a: σ_A.
        sigma: standard uncertainties of the amplitudes.
        s: sin θ/λ in 1/Å.

    Returns:
        Standard deviation of a position along each axis in Å, and of a B factor in Å²; either one as large as it is if
        the other is nothing.
    """
    weight = (sigma_a.power / sigma_a.total_variance(sigma)) ** 2
    fall = -2 * np.log(sigma_a.sigma_a)
    shift, b = (
        np.sqrt(np.sum(weight * term * fall) / np.sum(weight * term**2)) for term in ((4 * np.pi * s) ** 2, s**4)
    )
    return max(float(shift), SMALLEST_SHIFT), max(float(b), SMALLEST_B)
