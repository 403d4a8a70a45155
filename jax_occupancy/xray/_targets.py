"""What a target is, a function of the amplitudes of the model that is minimised, and the two that there are."""

from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jax_occupancy.xray import _rice
from jax_occupancy.xray._checks import check_columns, refuse
from jax_occupancy.xray._intensities import FrenchWilson
from jax_occupancy.xray._sigma_a import SigmaA


@runtime_checkable
class Observed(Protocol):
    """What a target is made from; `french_wilson` is None where amplitudes were measured."""

    @property
    def amplitude(self) -> Float[np.ndarray, " reflections"]: ...
    @property
    def sigma(self) -> Float[np.ndarray, " reflections"]: ...
    @property
    def free(self) -> Bool[np.ndarray, " reflections"]: ...
    @property
    def french_wilson(self) -> FrenchWilson | None: ...


class Target(eqx.Module):
    """Maps the amplitudes of the model, (reflections,), to one number per reflection; their sum is minimised.

    Each number depends on that reflection's amplitude alone, has finite first and second derivatives for every
    amplitude ≥ 0, in float32 too, and is zero in the free set. All arrays of a target have one number per reflection.
    A subclass brings `from_observations` and `__call__`; `refine(..., target=TheSubclass)` takes it as it is. `name` is
    what results call it; its value is printed as `label`, with `digits` decimals. It is minus a log-likelihood, else
    (`is_likelihood` False) it is taken for a sum of squares.
    """

    name: ClassVar[str] = "target"
    label: ClassVar[str] = "-log-likelihood"
    digits: ClassVar[int] = 2
    is_likelihood: ClassVar[bool] = True

    weight: eqx.AbstractVar[Float[Array, " reflections"]]

    @classmethod
    def from_observations(cls, observations: Observed, sigma_a: SigmaA | None, *, dtype: Any = None) -> "Target":
        """Make the target for the present model.

        Args:
            observations: has `amplitude`, `sigma` and `free`, each (reflections,); `french_wilson` (see
                `amplitudes_from_intensities`) where intensities were measured, else None.
            sigma_a: what `estimate_sigma_a` found for the present model; None where the target is no likelihood.
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


class LeastSquares(Target):
    """Squared misfit of amplitudes, T = Σ (F_model − F_obs)² / Σ F_obs² over the working set, all weights alike.

    Example:
        >>> target = LeastSquares.from_data([3.0, 4.0], free=[False, False])
        >>> print(target(jnp.array([3.0, 5.0])))
        [0.   0.04]
    """

    name: ClassVar[str] = "ls"
    label: ClassVar[str] = "Sum of squares"
    digits: ClassVar[int] = 6
    is_likelihood: ClassVar[bool] = False

    observed: Float[Array, " reflections"]  # F_obs, on the scale of the model
    weight: Float[Array, " reflections"]  # 1/Σ F_obs² in the working set, 0 in the free set

    @classmethod
    def from_data(cls, observed: ArrayLike | list, free: ArrayLike | list, *, dtype=None) -> "LeastSquares":
        """Take the observations, (reflections,), but the free set; a ValueError says if no others are above zero."""
        values, working = np.asarray(observed, np.float64), ~np.asarray(free, bool)
        norm = np.sum(values[working] ** 2)
        if not norm > 0:
            raise ValueError("no reflection with an amplitude above zero is in the working set")
        return cls(jnp.asarray(values, dtype), jnp.asarray(working / norm, dtype))

    @classmethod
    def from_observations(cls, observations: Observed, sigma_a: SigmaA | None, *, dtype=None) -> "LeastSquares":
        """Take the amplitudes and the free set; σ_A says nothing here."""
        return cls.from_data(observations.amplitude, observations.free, dtype=dtype)

    def __call__(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        return self.weight * (amplitude - self.observed) ** 2


class MaximumLikelihood(Target):
    r"""Minus the logarithm of the likelihood of the working set, Σ −log p(F_obs | F_model).

    Acentric reflections follow Rice's distribution, centric ones a folded normal (Read, 1990; Pannu & Read, 1996;
    Murshudov et al., 1997). The measurement inflates the variance, εΣ_N(1 − σ_A²) + 2σ² (acentric) or + σ² (centric),
    which is good where σ is smaller than the model's error or the amplitude; for weak intensities there is
    `from_intensities`. Terms that depend on the observation alone are left out.

    Example:
        >>> target = MaximumLikelihood.from_arrays(
        ...     [10.0, 10.0], shrinkage=[1.0, 1.0], variance=[4.0, 4.0], centric=[False, True], free=[False, False]
        ... )
        >>> [f"{value:.2f}" for value in target(jnp.array([10.0, 12.0]))]
        ['4.26', '1.89']
    """

    name: ClassVar[str] = "ml"

    observed: Float[Array, " reflections"]  # F_obs, on the scale of the model
    shrinkage: Float[Array, " reflections"]  # D, the part of F_model that is right
    variance: Float[Array, " reflections"]  # V, of the model's and the measurement's error together
    centric: Bool[Array, " reflections"]
    weight: Float[Array, " reflections"]  # 1 in the working set, 0 in the free set

    @classmethod
    def from_observations(cls, observations: Observed, sigma_a: SigmaA, *, dtype=None) -> "MaximumLikelihood":
        """Take amplitudes, or intensities where these were measured."""
        weak, free = observations.french_wilson, observations.free
        if weak is None:
            return cls.from_data(observations.amplitude, observations.sigma, free, sigma_a=sigma_a, dtype=dtype)
        return cls.from_intensities(weak.effective, weak.precision, free, sigma_a=sigma_a, dtype=dtype)

    @classmethod
    def from_data(
        cls, observed: ArrayLike, sigma: ArrayLike, free: ArrayLike, *, sigma_a: SigmaA, dtype=None
    ) -> "MaximumLikelihood":
        """Take amplitudes and what `estimate_sigma_a` found for them; see `from_arrays`."""
        variance = sigma_a.total_variance(np.asarray(sigma, np.float64))
        return cls.from_arrays(
            observed, shrinkage=sigma_a.shrinkage, variance=variance, centric=sigma_a.centric, free=free, dtype=dtype
        )

    @classmethod
    def from_intensities(
        cls, effective: ArrayLike, precision: ArrayLike, free: ArrayLike, *, sigma_a: SigmaA, dtype=None
    ) -> "MaximumLikelihood":
        """Take measured intensities, weak and negative ones at their worth.

        Read & McCoy (2016) describe the measurement by an amplitude F_eff with a precision D_obs, and p(I_obs |
        F_model) by the distribution of F_eff about D_obs·D·F_model with the variance εΣ_N(1 − D_obs²σ_A²). For
        accurate data D_obs is 1 and F_eff is F_obs: `from_data` with σ = 0.

        Args:
            effective: F_eff of `amplitudes_from_intensities`, on the scale of the model.
            precision: D_obs, 0 to 1.
            sigma_a: what `estimate_sigma_a` found from these.

        Raises:
            ValueError: lengths differ, a precision is not between 0 and 1, a variance is not positive, or no reflection
                is in the working set.
        """
        d_obs = np.asarray(precision, np.float64)
        if d_obs.shape != sigma_a.sigma_a.shape or not np.all((d_obs >= 0) & (d_obs <= 1)):
            raise ValueError(
                f"precision: got shape {d_obs.shape} and values of {d_obs.min(initial=1)} to {d_obs.max(initial=0)}, "
                f"wanted {sigma_a.sigma_a.shape} and D_obs between 0 and 1"
            )
        return cls.from_arrays(
            effective,
            shrinkage=d_obs * sigma_a.shrinkage,
            variance=sigma_a.power * (1 - (d_obs * sigma_a.sigma_a) ** 2),
            centric=sigma_a.centric,
            free=free,
            dtype=dtype,
        )

    @classmethod
    def from_arrays(
        cls,
        observed: ArrayLike | list,
        *,
        shrinkage: ArrayLike | list,
        variance: ArrayLike | list,
        centric: ArrayLike | list,
        free: ArrayLike | list,
        dtype=None,
    ) -> "MaximumLikelihood":
        """Build the target from F_obs, D and V, in the square of F's unit, such as another program's α and εβ.

        Raises:
            ValueError: lengths differ, a variance is not positive, or no reflection is in the working set.
        """
        columns = {"observed": observed, "shrinkage": shrinkage, "variance": variance}
        columns = {name: np.asarray(values, np.float64) for name, values in columns.items()}
        flags = {"centric": np.asarray(centric, bool), "free": np.asarray(free, bool)}
        n = columns["observed"].size
        check_columns(columns | flags, n)
        for name, values in columns.items():
            wrong = values <= 0 if name == "variance" else values < 0
            refuse(wrong, name, "negative, zero or not finite", "leave these reflections out")
        if flags["free"].all():
            raise ValueError(f"free: all {n} reflections are in the free set, wanted a working set to refine against")
        arrays = {name: jnp.asarray(values, dtype) for name, values in columns.items()}
        return cls(**arrays, centric=jnp.asarray(flags["centric"]), weight=jnp.asarray(1.0 - flags["free"], dtype))

    def __call__(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        expected = self.shrinkage * amplitude
        return self.weight * _rice.minus_log_likelihood(self.observed, expected, self.variance, self.centric)

    def information(self, amplitude: Float[Array, " reflections"]) -> Float[Array, " reflections"]:
        """Fisher information of each reflection on its amplitude: the expected second derivative, never negative.

        The second derivative itself can be negative and depends on the noise. Scoring with this matrix steps to the
        same minimum, and its inverse is the covariance of the estimates.
        """
        information = _rice.fisher_information(self.shrinkage * amplitude, self.variance, self.centric)
        return self.weight * self.shrinkage**2 * information
