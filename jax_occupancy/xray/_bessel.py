"""Bessel functions of the Rice distribution, with derivatives that stay accurate for large arguments."""

import jax
import jax.numpy as jnp
from jax.scipy.special import i0e, i1e
from jaxtyping import Array, Float

# From here on the asymptotic series has the full accuracy of float64; the quotient of the two functions loses it.
LARGE = 100.0


@jax.custom_jvp
def log_i0e(x: Float[Array, " *shape"]) -> Float[Array, " *shape"]:
    """log(I0(x)·exp(−x)) for x ≥ 0, finite for every finite x.

    Example:
        >>> print(f"{log_i0e(jnp.array(1e6)):.3f}")
        -7.827
    """
    return jnp.log(i0e(x))


@log_i0e.defjvp
def _log_i0e_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log_i0e(x), -one_minus_ratio(x) * dx


def one_minus_ratio(x: Float[Array, " *shape"]) -> Float[Array, " *shape"]:
    """1 − I1(x)/I0(x) for x ≥ 0.

    Two large numbers are subtracted where x is large; there the series of Abramowitz & Stegun, 9.7.1, is used, whose
    derivatives do not suffer either.

    Example:
        >>> print(f"{one_minus_ratio(jnp.array(1e6)):.3e}")
        5.000e-07
    """
    # where, not minimum and maximum: at a tie these halve the derivative
    large = x >= LARGE
    near, y = jnp.where(large, LARGE, x), 1 / jnp.where(large, x, LARGE)
    # by Horner's rule: y/2 + y²/8 + y³/8 + 25y⁴/128 + 13y⁵/32 + 1073y⁶/1024
    far = y * (0.5 + y * (0.125 + y * (0.125 + y * (25 / 128 + y * (13 / 32 + y * (1073 / 1024))))))
    return jnp.where(large, far, 1 - i1e(near) / i0e(near))
