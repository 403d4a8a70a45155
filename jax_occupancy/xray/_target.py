"""What a target is: a function of the amplitudes of the model that is minimised."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Target(eqx.Module):
    """Maps the amplitudes of the model, (reflections,), to one number per reflection; their sum is minimised.

    Each number depends on that reflection's amplitude alone, has finite first and second derivatives for every
    amplitude ≥ 0, in float32 too, and is zero in the free set. All arrays of a target have one number per reflection.
    A subclass brings `from_observations` and `__call__`; `refine(..., target=TheSubclass)` takes it as it is.

    Attributes:
        name: what results call it.
        label: what the value is called where it is printed.
        digits: decimals of the value that are printed.
        is_likelihood: whether the value is minus a log-likelihood; else it is taken for a sum of squares.
        weight: 0 in the free set.
    """

    name: ClassVar[str] = "target"
    label: ClassVar[str] = "-log-likelihood"
    digits: ClassVar[int] = 2
    is_likelihood: ClassVar[bool] = True

    weight: eqx.AbstractVar[Float[Array, " reflections"]]

    @classmethod
    def from_observations(cls, observations: Any, sigma_a: Any, *, dtype: Any = None) -> "Target":
        """Make the target for the present model.

        Args:
            observations: has `amplitude`, `sigma` and `free`, each (reflections,); `french_wilson` (see
                `amplitudes_from_intensities`) where intensities were measured, else None.
            sigma_a: what `estimate_sigma_a` found for the present model.
            dtype: float32 or float64; JAX' default float when left out.
        """
        raise NotImplementedError(f"{cls.__name__} has no from_observations")

    def __call__(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        """Contribution of each reflection."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def information(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        """Curvature by each amplitude, never negative: of generalised Gauss-Newton unless a subclass knows better."""
        slope = jax.grad(lambda f: jnp.sum(self(f)))
        # The target is elementwise, so one directional derivative of its slope holds every second derivative.
        return jnp.maximum(jax.jvp(slope, (amplitude,), (jnp.ones_like(amplitude),))[1], 0)
