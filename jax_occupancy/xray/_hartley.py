"""Maps as data: signed values in place of amplitudes.

The complex coefficients of a real density come in Friedel pairs, F(−h) = conj F(h). Their Hartley transform H(h) =
Re F(h) − Im F(h), for both of each pair, is the same information in as many real numbers, and noise of which each is
independent (Bracewell, J. Opt. Soc. Am. 73, 1832-1835, 1983). So what knows one real number per reflection, its target
and its derivatives, does for maps what it does for amplitudes; only the way from F to that number is another, and the
numbers are linear in the occupancies.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jax_occupancy.xray._linear_model import LinearModel
from jax_occupancy.xray._sigma_a import SigmaA
from jax_occupancy.xray._targets import Target


def hartley(coefficients: Complex[np.ndarray, "*sets reflections"]) -> Float[np.ndarray, "*sets reflections"]:
    """Re F − Im F.

    Example:
        >>> hartley(np.array([3.0 + 1j, 3.0 - 1j])).tolist()
        [2.0, 4.0]
    """
    return np.real(coefficients) - np.imag(coefficients)


class MapModel(LinearModel):
    """The linear model whose values are those of the Hartley transform, for reflections that come in Friedel pairs."""

    def size(self, pair: Float[Array, "*sets 2 reflections"]) -> Float[Array, "*sets reflections"]:
        """Re F − Im F."""
        return pair[..., 0, :] - pair[..., 1, :]

    def size_and_direction(self, pair: Float[Array, "2 reflections"]) -> tuple[Array, Array]:
        """Re F − Im F, and what a change of F is to be multiplied with to have its change."""
        return self.size(pair), jnp.stack([self.overall, -self.overall])


class MapLikelihood(Target):
    """Minus the logarithm of the likelihood of a map: Gaussian noise and errors of the model, quadratic in occupancies.

    Example:
        >>> print(MapLikelihood(jnp.array([1.0, -2.0]), jnp.array([1.0, 0.25]))(jnp.array([3.0, -2.0])))
        [2. 0.]
    """

    name: ClassVar[str] = "map"

    observed: Float[Array, " reflections"]  # the Hartley transform of the masked map
    weight: Float[Array, " reflections"]  # one over its variance, less where coefficients depend on each other

    @classmethod
    def from_observations(cls, observations: Any, sigma_a: SigmaA | None, *, dtype: Any = None) -> "MapLikelihood":
        """Take the map, its noise and the error of the model."""
        assert sigma_a is not None
        weight = observations.share / sigma_a.total_variance(observations.sigma)
        return cls(jnp.asarray(observations.amplitude, dtype), jnp.asarray(weight, dtype))

    def __call__(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        return 0.5 * self.weight * (amplitude - self.observed) ** 2

    def information(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        """The second derivative."""
        return self.weight
