"""Likelihood of an amplitude when the structure factor has a Gaussian error.

Acentric reflections have an error in the plane and Rice's distribution, centric ones an error along a line and a
folded normal distribution (Read, Acta Cryst. A46, 900-912, 1990; Murshudov et al., Acta Cryst. D53, 240-255, 1997):

    acentric  p(F) = 2F/V · exp(−(F² + m²)/V) · I0(2Fm/V)
    centric   p(F) = √(2/πV) · exp(−(F² + m²)/2V) · cosh(Fm/V)

with m = D·|F_model|, not negative, and V, positive, the variance of the error.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.scipy.special import i0e, i1e
from jaxtyping import Array, Bool, Float

# From here on the asymptotic series has the full accuracy of float64; the quotient of the two functions loses it.
LARGE = 100.0

Values = Float[Array, " *shape"]
Flags = Bool[Array, " *shape"]


def minus_log_likelihood(observed: Values, expected: Values, variance: Values, centric: Flags) -> Values:
    """−log p(F) without log(2F) or log √(2/π); its derivatives are finite also where an amplitude is zero."""
    square = (observed - expected) ** 2 / variance
    x = observed * expected / variance
    acentric_part = square - _log_i0e(2 * x) + jnp.log(variance)
    # log cosh x = x + log(1 + exp(−2x)) − log 2
    centric_part = 0.5 * square - jnp.log1p(jnp.exp(-2 * x)) + 0.5 * jnp.log(variance) + math.log(2.0)
    return jnp.where(centric, centric_part, acentric_part)


def figure_of_merit(observed: Values, expected: Values, variance: Values, centric: Flags) -> Values:
    """Expected cosine of the error of the phase, I1/I0 or tanh."""
    x = observed * expected / variance
    return jnp.where(centric, jnp.tanh(x), 1 - _one_minus_ratio(2 * x))


def fisher_information(expected: Values, variance: Values, centric: Flags) -> Values:
    """Second derivative of −log p by m that the model expects, to four digits: 0 at m = 0, up to 2/V or 1/V."""
    radial = jnp.where(centric, variance, variance / 2)
    ratio = expected / jnp.sqrt(radial)
    table = jnp.asarray(_information_table(), expected.dtype)
    place = jnp.linspace(0, 1, table.shape[1], dtype=expected.dtype)
    of_kind = [jnp.interp(ratio / (1 + ratio), place, row) for row in table]
    return jnp.where(centric, of_kind[1], of_kind[0]) ** 2 / radial


@functools.cache
def _information_table(size: int = 513) -> np.ndarray:
    """Root of the integral of (score)²·p at radial variance one, acentric and centric, for m = t/(1 − t)."""
    m = np.linspace(0, 1, size)[:-1]
    m = (m / (1 - m))[:, None]
    x = np.maximum(m - 10, 0) + np.linspace(0, 1, 1001) * (m + 10 - np.maximum(m - 10, 0))
    gauss, i0 = np.exp(-((x - m) ** 2) / 2), scipy.special.i0e(x * m)
    kinds = ((gauss * x * i0, scipy.special.i1e(x * m) / i0), (gauss * (1 + np.exp(-2 * x * m)), np.tanh(x * m)))
    means = [np.trapezoid(density * (x * merit - m) ** 2, x) / np.trapezoid(density, x) for density, merit in kinds]
    return np.pad(np.sqrt(means), ((0, 0), (0, 1)), constant_values=1.0)


@jax.custom_jvp
def _log_i0e(x: Values) -> Values:
    """log(I0(x)·exp(−x)) for x ≥ 0, with derivatives that stay accurate for large arguments."""
    return jnp.log(i0e(x))


@_log_i0e.defjvp
def _log_i0e_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _log_i0e(x), -_one_minus_ratio(x) * dx


def _one_minus_ratio(x: Values) -> Values:
    """1 − I1(x)/I0(x) for x ≥ 0; where x is large, where it would lose digits, by Abramowitz & Stegun, 9.7.1."""
    # where, not minimum and maximum: at a tie these halve the derivative
    large = x >= LARGE
    near, y = jnp.where(large, LARGE, x), 1 / jnp.where(large, x, LARGE)
    # by Horner's rule: y/2 + y²/8 + y³/8 + 25y⁴/128 + 13y⁵/32 + 1073y⁶/1024
    far = y * (0.5 + y * (0.125 + y * (0.125 + y * (25 / 128 + y * (13 / 32 + y * (1073 / 1024))))))
    return jnp.where(large, far, 1 - i1e(near) / i0e(near))
