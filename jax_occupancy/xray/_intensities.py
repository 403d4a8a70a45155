"""Amplitudes from intensities: what Wilson's distribution adds to a measurement that may be negative.

The true intensity J of a reflection cannot be negative. French & Wilson (Acta Cryst. A34, 517-525, 1978) combine the
measured intensity, which can, with Wilson's distribution of J by Bayes' theorem; the amplitude is the mean of √J.

Read & McCoy (Acta Cryst. D72, 375-387, 2016) replace the measurement by an effective amplitude F_eff and a precision
D_obs: the distribution of the true E given E_eff is that of a model with σ_A = D_obs (Rice's, or the folded normal
distribution of centric reflections), and its mean and mean square are those of the posterior distribution of E.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
from scipy.special import erf, i0e, i1e

from jax_occupancy.xray._checks import checked_columns, checked_hkl, refuse
from jax_occupancy.xray._crystal import Flags, Values, epsilon_and_centric
from jax_occupancy.xray._wilson import mean_intensity

# Where the posterior has fallen by exp(−40), less than float64 resolves, integration stops.
REACH2 = 80.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
# A measurement that says nothing has D_obs = 0 and any E_eff; above this floor E_eff stays moderate.
SMALLEST_PRECISION = 0.01
# Below this relative variance Rice's distribution is so nearly normal that a series has more digits.
NARROW = 1e-5
HALVINGS = 50


@dataclass(frozen=True, eq=False)
class FrenchWilson:
    """What intensities say about amplitudes; `amplitudes_from_intensities` makes it."""

    amplitude: Values  # <F>, mean of the posterior distribution of the amplitude
    sigma: Values  # its standard deviation
    effective: Values  # F_eff, the observation of the intensity likelihood
    precision: Values  # D_obs, how much of the true structure factor is determined: 0 (nothing) to 1 (all)
    power: Values  # εΣ_N, the mean intensity that Wilson's distribution was given


def amplitudes_from_intensities(
    hkl: np.ndarray, intensity: np.ndarray, sigma: np.ndarray, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> FrenchWilson:
    """Turn measured intensities, negative ones included, into amplitudes and into data for the intensity likelihood.

    Amplitudes are on the scale of √I. The mean intensity of Wilson's distribution is a smooth function of resolution
    times an anisotropic tensor.

    Args:
        hkl: Miller indices, integers (reflections, 3), systematic absences left out.
        intensity: measured intensities.
        sigma: their standard uncertainties, positive.

    Raises:
        ValueError: there is no reflection, lengths differ, a value is not finite or a σ is not positive.
    """
    hkl = checked_hkl(hkl)
    if not len(hkl):
        raise ValueError("hkl: there are no reflections, wanted one or more")
    intensity, sigma = checked_columns(len(hkl), intensity=intensity, sigma=sigma)
    refuse(sigma <= 0, "sigma", "not positive", "leave these reflections out")
    centric = epsilon_and_centric(hkl, spacegroup)[1]
    power = mean_intensity(hkl, intensity, sigma, cell=cell, spacegroup=spacegroup)
    mean, variance = posterior_moments(intensity, sigma, power, centric)
    effective, precision = effective_amplitudes(mean / np.sqrt(power), variance / power, centric)
    return FrenchWilson(mean, np.sqrt(variance), effective * np.sqrt(power), precision, power)


def posterior_moments(intensity: Values, sigma: Values, power: Values, centric: Flags) -> tuple[Values, Values]:
    """Mean and variance of √J, where J is measured as I ± σ and has Wilson's distribution of mean P.

    In x = √(J/σ) > 0 the posterior is exp(−(x² − t)²/2), with t = I/σ − σ/2P, for centric reflections and
    x·exp(−(x² − t)²/2), with t = I/σ − σ/P, for acentric ones. Differences of large numbers are worked out by hand.
    """
    t = intensity / sigma - sigma / (power * np.where(centric, 2, 1))
    below = np.maximum(-t, -np.sqrt(REACH2))  # x² − t at the lower limit
    # at the upper one x² has grown by this much, and the square of x² − t by more than REACH2
    grown = np.where(below <= 0, np.sqrt(REACH2) - below, REACH2 / (below + np.hypot(below, np.sqrt(REACH2))))
    start = np.sqrt(np.maximum(t + below, 0))
    width = grown / (np.sqrt(start**2 + grown) + start)
    place = (1 + NODES) / 2
    x = width[:, None] * place
    rise = x * (x + 2 * start[:, None])
    density = WEIGHTS * np.exp(-rise * (rise + 2 * below[:, None]) / 2)
    density *= np.where(centric[:, None], 1, (x + start[:, None]) / (start + width)[:, None])
    density /= density.sum(axis=1, keepdims=True)
    mean = density @ place
    variance = np.sum(density * (place - mean[:, None]) ** 2, axis=1)
    return np.sqrt(sigma) * (start + width * mean), sigma * width**2 * variance


def effective_amplitudes(mean: Values, variance: Values, centric: Flags) -> tuple[Values, Values]:
    """E_eff and D_obs, both finite, for <E> and <E²> − <E>² of posterior distributions, both positive.

    With V = 1 − D_obs² and m = D_obs·E_eff, <E²> = m² + V, and <E>²/<E²> depends on V/<E²> alone and falls with it.
    Where the measurement says so little that there is no such D_obs, it is 0.01, and E_eff follows from <E²>.
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
