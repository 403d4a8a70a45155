"""What no measurement of a crystal looks like: refused where nothing can come of it, told where something might."""

import numpy as np

from jax_occupancy.io._reflection_cleaning import Measured, Repeats

# Fewer reflections than this say little.
_FEWEST = 20
# Mean I/σ below it is noise; amplitudes from intensities (French & Wilson, Acta Cryst. A34, 517-525, 1978) never have
# a median F/σ below 1, and data with an error of a ten-thousandth would be the best ever measured.
_NOISE, _SMALLEST_RATIO, _LARGEST_RATIO = 0.5, 1.0, 1e4
# More measurements of each reflection than this (two may be Friedel mates) are unmerged data.
_UNMERGED = 2.5
# Repeats contradict each other where they differ by this many σ and this part of their mean.
_CONTRADICTING_SIGMAS, _CONTRADICTING_PART = 3.0, 0.2


def doubts(data: Measured, repeats: Repeats, *, quantity: str, label: str) -> tuple[str, ...]:
    """Notes on unique reflections that look like no measurement; ValueError if they can't be one."""
    value, sigma, notes = data.value, data.sigma, []
    if repeats.multiplicity > _UNMERGED:
        raise ValueError(
            f"{label} holds {repeats.multiplicity:.1f} measurements of each reflection: these are unmerged data; scale "
            "and merge them first (aimless, xia2, autoPROC, careless)"
        )
    if value.max() <= 0:
        raise ValueError(f"{label} holds no value above zero; name another column")
    if len(value) < _FEWEST:
        return ()
    if value.min() == value.max():
        raise ValueError(f"{label} has the value {value[0]:g} for all {len(value)} reflections; name another column")
    if repeats.sigmas > _CONTRADICTING_SIGMAS and repeats.part > _CONTRADICTING_PART:
        notes.append(
            f"reflections that repeat in {label} contradict each other: they differ from their mean by "
            f"{100 * repeats.part:.0f} %, {repeats.sigmas:.0f} times their sigma"
        )
    ratio, mean = float(np.median(value / sigma)), float(np.mean(value / sigma))
    if (value <= 0).mean() > 0.5:
        notes.append(
            f"{(value <= 0).sum()} of {len(value)} values in {label} are not above zero; is it the right column?"
        )
    elif (mean < _NOISE) if quantity == "intensity" else (ratio < _SMALLEST_RATIO):
        notes.append(f"{label} is {mean:.2g} times its sigma on average: noise, or sigmas on another scale")
    if ratio > _LARGEST_RATIO:
        notes.append(f"{label} is {ratio:.1g} times its sigma: are these on another scale?")
    return tuple(notes)
