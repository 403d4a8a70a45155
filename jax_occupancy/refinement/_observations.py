"""Data that are ready for a target, and where they are among the reflections of the linear model."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int, Shaped

from jax_occupancy.io import Reflections
from jax_occupancy.xray import (
    FrenchWilson,
    Scale,
    SigmaA,
    Target,
    amplitudes_from_intensities,
    estimate_sigma_a,
    fit_scale,
    strength_by_direction,
)


@dataclass(frozen=True, eq=False)
class Observations:
    """Amplitudes with all that a target, a scale or σ_A asks for.

    Attributes:
        reflections: with amplitudes, from intensities by the method of French and Wilson where these were measured.
        french_wilson: what became of intensities; None for amplitudes.
        rows: where each reflection is among those of the linear model, which may have more; None if they are the same.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> observations = Observations.from_reflections(read_example()[1])
        >>> observations.amplitude.shape == observations.sigma.shape
        True
    """

    reflections: Reflections
    french_wilson: FrenchWilson | None = None
    rows: Int[np.ndarray, " reflections"] | None = None

    @classmethod
    def from_reflections(cls, reflections: Reflections) -> "Observations":
        """Give intensities amplitudes, for scales, R factors and maps."""
        if reflections.amplitude is not None and reflections.sigma is not None:
            return cls(reflections)
        found = amplitudes_from_intensities(
            reflections.hkl,
            np.asarray(reflections.intensity),
            np.asarray(reflections.intensity_sigma),
            cell=reflections.cell,
            spacegroup=reflections.spacegroup,
        )
        return cls(reflections.with_amplitudes(found.amplitude, found.sigma), found)

    @property
    def amplitude(self) -> Float[np.ndarray, " reflections"]:
        """F_obs."""
        return np.asarray(self.reflections.amplitude)

    @property
    def sigma(self) -> Float[np.ndarray, " reflections"]:
        """Standard uncertainties of F_obs."""
        return np.asarray(self.reflections.sigma)

    @property
    def free(self) -> Bool[np.ndarray, " reflections"]:
        """True in the free set."""
        return self.reflections.free

    def select(self, mask: Bool[np.ndarray, " reflections"]) -> "Observations":
        """The reflections where `mask` is True; they remember their rows of the linear model."""
        weak = self.french_wilson
        if weak is not None:
            weak = FrenchWilson(**{name: values[mask] for name, values in vars(weak).items()})
        return Observations(self.reflections.select(mask), weak, self._all_rows()[mask])

    def located(self) -> "Observations":
        """The same, with rows that are spelt out."""
        return replace(self, rows=self._all_rows())

    def _all_rows(self) -> Int[np.ndarray, " reflections"]:
        return np.arange(self.reflections.n_reflections) if self.rows is None else self.rows

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

    def target(self, kind: type[Target], sigma_a: SigmaA | None, n: int, *, dtype: Any) -> Target:
        """A target of the n reflections of the linear model, in which those that were not observed do not count.

        Models with the same reflections are compiled once, whatever was observed of them.
        """
        target = kind.from_observations(self, sigma_a, dtype=dtype)
        if self.rows is None:
            return target

        def spread(leaf: Array) -> Array:
            # the first value stands in for what is missing: any that is possible will do
            return jnp.asarray(self.spread(np.asarray(leaf), n, fill=leaf[0].item()))

        counts = jnp.asarray(self.spread(np.asarray(target.weight), n, fill=0.0))
        return eqx.tree_at(lambda target: target.weight, jax.tree.map(spread, target), counts)

    def scale(
        self,
        calculated: Complex[np.ndarray, " reflections"],
        mask: Complex[np.ndarray, " reflections"],
        *,
        start: Scale | None = None,
        own_share: Float[np.ndarray, " reflections"] | float = 1.0,
    ) -> Scale:
        """Fit the scales of atoms and solvent to the amplitudes, from a start on if there is one.

        `own_share` is that of the model in the amplitudes of a twin.
        """
        data = self.reflections
        return fit_scale(
            data.hkl,
            self.amplitude * own_share,
            data.free,
            calculated=calculated,
            mask=mask,
            cell=data.cell,
            spacegroup=data.spacegroup,
            start=start,
        )

    def sigma_a(self, model_amplitude: Float[np.ndarray, " reflections"]) -> SigmaA:
        """Estimate σ_A for the amplitudes of a model."""
        return estimate_sigma_a(**self._for_sigma_a, model_amplitude=model_amplitude, direction=self._direction)

    @property
    def _for_sigma_a(self) -> dict[str, Any]:
        data, weak = self.reflections, self.french_wilson
        found: dict[str, Any] = {"hkl": data.hkl, "free": data.free, "cell": data.cell, "spacegroup": data.spacegroup}
        if weak is None:
            return found | {"amplitude": self.amplitude, "sigma": self.sigma}
        return found | {
            "amplitude": weak.effective,
            "sigma": np.zeros_like(weak.precision),
            "precision": weak.precision,
        }

    @cached_property
    def _direction(self) -> Float[np.ndarray, " reflections"]:
        return strength_by_direction(**self._for_sigma_a)
