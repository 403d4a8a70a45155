"""The amplitude and precision that stand for a posterior distribution in the intensity likelihood.

Read & McCoy (Acta Cryst. D72, 375-387, 2016) replace the measurement of an intensity by an effective normalised
amplitude E_eff and a precision D_obs: the distribution of the true E given E_eff is that of a model with σ_A = D_obs
(Rice's, or the folded normal distribution of centric reflections), and its mean and mean square are those of the
posterior distribution of E.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erf, i0e, i1e

# A measurement that says nothing has D_obs = 0 and any E_eff; above this floor E_eff stays moderate.
SMALLEST_PRECISION = 0.01
# Below this relative variance Rice's distribution is so nearly normal that a series has more digits.
NARROW = 1e-5
HALVINGS = 50


def effective_amplitudes(
    mean: Float[np.ndarray, " reflections"],
    variance: Float[np.ndarray, " reflections"],
    centric: Bool[np.ndarray, " reflections"],
) -> tuple[Float[np.ndarray, " reflections"], Float[np.ndarray, " reflections"]]:
    """E_eff and D_obs of posterior distributions.

    With the variance V = 1 − D_obs² and m = D_obs·E_eff, <E²> = m² + V in both distributions, and
    <E>²/<E²> depends on V/<E²> alone and falls with it: one equation with one unknown.

    Where the measurement says next to nothing and the posterior is a little wider than Wilson's distribution, there
    is no such D_obs; it is then 0.01, and E_eff follows from <E²>.

    Args:
        mean: <E>, positive.
        variance: <E²> − <E>², positive.
        centric: which of the two distributions.

    Returns:
        E_eff and D_obs, both finite.

    Example:
        >>> import numpy as np
        >>> e_eff, d_obs = effective_amplitudes(np.array([2.0]), np.array([0.005]), np.array([False]))
        >>> print(f"{e_eff[0]:.3f} {d_obs[0]:.3f}")
        2.009 0.995
    """
    square = mean**2 + variance
    noise = np.minimum(square * _noise_share(variance / square, centric), 1 - SMALLEST_PRECISION**2)
    precision = np.maximum(np.sqrt(1 - noise), SMALLEST_PRECISION)
    return np.sqrt(np.maximum(square - noise, 0)) / precision, precision


def _noise_share(spread: np.ndarray, centric: np.ndarray) -> np.ndarray:
    """V/<E²> for given variance/<E²>, by bisection."""
    low, high = np.zeros_like(spread), np.ones_like(spread)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wide = 1 - _squared_mean(middle, centric) > spread
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    # radial variance s², a = m/s: spread = (1 − 1/2a²)/(a² + 2) up to terms in 1/a⁶, and V/<E²> = 2/(a² + 2)
    normal = np.where(centric, spread, 2 * spread / (1 - spread / 2))
    return np.where(spread < NARROW, normal, (low + high) / 2)


def _squared_mean(noise: np.ndarray, centric: np.ndarray) -> np.ndarray:
    """<E>² for <E²> = 1 and given V."""
    z = (1 - noise) / noise  # m²/V
    # √π/2·L½(−z), Laguerre's function, and the mean of a folded normal distribution
    rice = np.sqrt(np.pi * noise) / 2 * ((1 + z) * i0e(z / 2) + z * i1e(z / 2))
    folded = np.sqrt(2 * noise / np.pi) * np.exp(-z / 2) + np.sqrt(1 - noise) * erf(np.sqrt(z / 2))
    return np.where(centric, folded, rice) ** 2
