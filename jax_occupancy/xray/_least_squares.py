"""Least squares on amplitudes."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jax_occupancy.xray._target import Target


class LeastSquares(Target):
    """Squared misfit of amplitudes, T = Σ (F_model − F_obs)² / Σ F_obs² over the working set, all weights alike.

    Attributes:
        observed: F_obs, on the scale of the model.
        weight: 1/Σ F_obs² in the working set, 0 in the free set.

    Example:
        >>> target = LeastSquares.from_data([3.0, 4.0], free=[False, False])
        >>> print(target(jnp.array([3.0, 5.0])))
        [0.   0.04]
    """

    name: ClassVar[str] = "ls"
    label: ClassVar[str] = "Sum of squares"
    digits: ClassVar[int] = 6
    is_likelihood: ClassVar[bool] = False

    observed: Float[Array, " reflections"]
    weight: Float[Array, " reflections"]

    @classmethod
    def from_data(cls, observed: ArrayLike | list, free: ArrayLike | list, *, dtype=None) -> "LeastSquares":
        """Take the observations and leave the free set out.

        Args:
            observed: F_obs, (reflections,).
            free: True in the free set, (reflections,).
            dtype: float32 or float64; JAX' default float when left out.

        Raises:
            ValueError: no reflection is in the working set.
        """
        values, working = np.asarray(observed, np.float64), ~np.asarray(free, bool)
        norm = np.sum(values[working] ** 2)
        if not norm > 0:
            raise ValueError("no reflection with an amplitude above zero is in the working set")
        return cls(jnp.asarray(values, dtype), jnp.asarray(working / norm, dtype))

    @classmethod
    def from_observations(cls, observations: Any, sigma_a: Any, *, dtype=None) -> "LeastSquares":
        """Take the amplitudes and the free set; σ_A says nothing here."""
        return cls.from_data(observations.amplitude, observations.free, dtype=dtype)

    def __call__(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        """Contribution of each reflection to the target."""
        return self.weight * (amplitude - self.observed) ** 2
