"""From the name of a target to the function of amplitudes that is minimised."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jax_occupancy.io import Reflections
from jax_occupancy.xray import (
    FrenchWilson,
    LeastSquares,
    MaximumLikelihood,
    SigmaA,
    amplitudes_from_intensities,
    estimate_sigma_a,
)

TARGETS = ("ml", "ls")


class Made(NamedTuple):
    """A target, and the σ_A that it was made with (None where it needs none)."""

    target: Callable[[Array], Array]
    sigma_a: SigmaA | None


TargetMaker = Callable[[Float[np.ndarray, " reflections"]], Made]


class Observations(NamedTuple):
    """Data that are ready for a target.

    Attributes:
        reflections: with amplitudes, from intensities by the method of French and Wilson where these were measured.
        amplitude: F_obs.
        sigma: their standard uncertainties.
        french_wilson: what became of intensities; None for amplitudes.
        rows: where each reflection is among those of the linear model, which may have more; None if they are the same.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> observations = Observations.from_reflections(read_example()[1])
        >>> observations.amplitude.shape == observations.sigma.shape
        True
    """

    reflections: Reflections
    amplitude: Float[np.ndarray, " reflections"]
    sigma: Float[np.ndarray, " reflections"]
    french_wilson: FrenchWilson | None
    rows: Int[np.ndarray, " reflections"] | None = None

    @classmethod
    def from_reflections(cls, reflections: Reflections) -> "Observations":
        """Give intensities amplitudes, for scales, R factors and maps."""
        if reflections.amplitude is not None and reflections.sigma is not None:
            return cls(reflections, reflections.amplitude, reflections.sigma, None)
        found = amplitudes_from_intensities(
            reflections.hkl,
            np.asarray(reflections.intensity),
            np.asarray(reflections.intensity_sigma),
            cell=reflections.cell,
            spacegroup=reflections.spacegroup,
        )
        filled = reflections.with_amplitudes(found.amplitude, found.sigma)
        return cls(filled, found.amplitude, found.sigma, found)

    def select(self, mask: np.ndarray) -> "Observations":
        """The reflections where `mask` is True."""
        chosen = None
        if self.french_wilson is not None:
            chosen = FrenchWilson(**{name: values[mask] for name, values in vars(self.french_wilson).items()})
        rows = None if self.rows is None else self.rows[mask]
        return Observations(self.reflections.select(mask), self.amplitude[mask], self.sigma[mask], chosen, rows)

    def gather(self, values: Shaped[np.ndarray, " all"]) -> Shaped[np.ndarray, " reflections"]:
        """What was observed of the reflections of the linear model."""
        return values if self.rows is None else values[self.rows]

    def spread(
        self, values: Shaped[np.ndarray, " reflections"], n: int, *, fill: float | bool
    ) -> Shaped[np.ndarray, " all"]:
        """Give the n reflections of the linear model their values, and those that were not observed another."""
        if self.rows is None:
            return values
        whole = np.full(n, fill, values.dtype)
        whole[self.rows] = values
        return whole

    def spread_target(self, target: Any, n: int) -> Any:
        """A target of the n reflections of the linear model, in which those that were not observed do not count.

        Models with the same reflections are compiled once, whatever was observed of them.
        """
        if self.rows is None:
            return target

        def spread(leaf: Array) -> Array:
            # the first value stands in for what is missing: any that is possible will do
            return jnp.asarray(self.spread(np.asarray(leaf), n, fill=leaf[0].item()))

        whole = jax.tree.map(spread, target)
        counts = self.spread(np.asarray(target.weight), n, fill=0.0)
        return eqx.tree_at(lambda target: target.weight, whole, jnp.asarray(counts))


def sigma_a_of(observations: Observations, model_amplitude: Float[np.ndarray, " reflections"]) -> SigmaA:
    """Estimate σ_A for the present model."""
    data, french_wilson = observations.reflections, observations.french_wilson
    return estimate_sigma_a(
        data.hkl,
        observations.amplitude if french_wilson is None else french_wilson.effective,
        observations.sigma,
        data.free,
        model_amplitude=model_amplitude,
        cell=data.cell,
        spacegroup=data.spacegroup,
        precision=None if french_wilson is None else french_wilson.precision,
    )


def target_maker(name: str, observations: Observations, *, dtype: Any) -> TargetMaker:
    """Say how to make a target for the amplitudes of a model.

    Args:
        name: "ml", maximum likelihood (on intensities where these were measured), or "ls", least squares on amplitudes.
        observations: the data.
        dtype: float32 or float64.

    Returns:
        A function of the amplitudes of the linear model, (reflections,), that makes the target of these.

    Raises:
        ValueError: there is no such target.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> observations = Observations.from_reflections(read_example()[1])
        >>> make = target_maker("ls", observations, dtype="float32")
        >>> target = make(observations.amplitude).target
        >>> float(jnp.sum(target(jnp.asarray(observations.amplitude, "float32")))) < 1e-10  # a model that explains all
        True
    """
    if name not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {name!r}")
    free, french_wilson = observations.reflections.free, observations.french_wilson
    if name == "ls":
        target = LeastSquares.from_data(observations.amplitude, free, dtype=dtype)
        return lambda model_amplitude: Made(observations.spread_target(target, model_amplitude.size), None)

    def make(model_amplitude):
        sigma_a = sigma_a_of(observations, observations.gather(model_amplitude))
        if french_wilson is None:
            observed, sigma = observations.amplitude, observations.sigma
            target = MaximumLikelihood.from_data(observed, sigma, free, sigma_a=sigma_a, dtype=dtype)
        else:
            effective, precision = french_wilson.effective, french_wilson.precision
            target = MaximumLikelihood.from_intensities(effective, precision, free, sigma_a=sigma_a, dtype=dtype)
        return Made(observations.spread_target(target, model_amplitude.size), sigma_a)

    return make
