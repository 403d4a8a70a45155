"""Are the occupancies right, and are their uncertainties? `python tests/benchmarks/bench_calibration.py --json FILE`.

Simulated crystals at four resolutions are refined against data sets with their own truth and noise. A cell of the table
is one resolution and one kind of truth: the model with measurement noise only, or with coordinates and B factors that
differ from the model's. For each cell it says

    rms       root mean square error of the group occupancies
    z, z_held the same error in units of the esd (B and position marginalised, held); 1 if the esd is right
    68, 95 %  how often the truth lies within ±1 and ±1.96 esd
    bound     how often it lies within ±1.96 esd for groups whose truth is within two esds of a bound; these take no
              part in the other numbers, because the bound cuts their errors
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from simulated import as_model, draw_truth, measure, miller_array
from simulated_crystal import SimulatedCrystal, build_crystal
from steps import Prepared, converge, prepare

from jax_occupancy import group_model
from jax_occupancy.refinement import Constraints

# Boxes along the axes at each resolution in Å: 9,000 to 26,000 reflections, 10 groups in a box.
SIZES = {1.2: (2, 1, 1), 1.8: (2, 2, 1), 2.5: (4, 2, 1), 3.0: (3, 4, 1)}
# Errors of the model: coordinates in Å, B relative.
TRUTHS = {
    "noise": (0.0, 0.0),
    "xyz 0.03": (0.03, 0.0),
    "xyz 0.08": (0.08, 0.0),
    "B 5 %": (0.0, 0.05),
    "B 10 %": (0.0, 0.10),
    "0.03, 5 %": (0.03, 0.05),
    "0.08, 10 %": (0.08, 0.10),
}
SIGMAS_FROM_BOUND = 2.0


@dataclass(frozen=True, eq=False)
class Problem:
    """What all data sets of one crystal share."""

    crystal: SimulatedCrystal
    hkl: np.ndarray
    prepared: Prepared

    @classmethod
    def at(cls, resolution: float, boxes: tuple[int, int, int]) -> "Problem":
        """Choose the groups and compute their structure factors."""
        crystal = build_crystal(boxes, resolution=resolution)
        model, hkl = as_model(crystal), miller_array(crystal, resolution)
        random = np.random.default_rng(0)
        any_data = measure(crystal, draw_truth(crystal, random), hkl, random)
        return cls(crystal, hkl, prepare(model, group_model(model, crystal.user), any_data))


@dataclass(frozen=True, eq=False)
class Estimates:
    """Group occupancies of one data set or many: true, estimated, and esds with B and position free and held."""

    true: np.ndarray
    found: np.ndarray
    esd: np.ndarray
    esd_fixed: np.ndarray
    whole: np.ndarray

    @classmethod
    def joined(cls, parts: list["Estimates"]) -> "Estimates":
        """Pool data sets."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def run_cell(problem: Problem, coordinates: float, b_factors: float, n_estimates: int, *, noise: bool = True):
    """Estimates from as many data sets as give `n_estimates`, each with its own truth and noise."""
    n_sets = math.ceil(n_estimates / problem.prepared.n_groups)
    return Estimates.joined(list(_estimates(problem, coordinates, b_factors, n_sets, noise)))


def _estimates(problem: Problem, coordinates: float, b_factors: float, n_sets: int, noise: bool) -> Iterator[Estimates]:
    for seed in range(n_sets):
        random = np.random.default_rng([seed, round(1000 * coordinates), round(1000 * b_factors)])
        truth = draw_truth(problem.crystal, random, coordinates=coordinates, b_factors=b_factors)
        reflections = measure(problem.crystal, truth, problem.hkl, random, noise=noise)
        true = problem.prepared.of_groups(truth.occupancies)
        end = converge(problem.prepared, reflections)
        yield Estimates(true, end.q, end.esd, end.esd_fixed, _wholes(problem.prepared.constraints, true))


def _wholes(constraints: Constraints, true: np.ndarray) -> np.ndarray:
    """What each entry could have at most: the total of its set, or what the parent of the set has."""
    n = constraints.entries.size
    wholes = np.ones(n)
    for row, total in zip(constraints.matrix[:, :n], constraints.total, strict=True):
        if (row < 0).any():
            wholes[row > 0] = total - row[row < 0] @ true[row < 0]
    return wholes


def summarise(estimates: Estimates) -> dict[str, float]:
    """One cell of the table."""
    error = estimates.found - estimates.true
    esd = np.where(np.isfinite(estimates.esd), estimates.esd, estimates.esd_fixed)
    room = np.minimum(estimates.true, estimates.whole - estimates.true)
    inside = room > SIGMAS_FROM_BOUND * esd  # judged by the truth: the estimate would select for its own error
    z = error / np.where(esd > 0, esd, np.inf)
    held = error / np.where(estimates.esd_fixed > 0, estimates.esd_fixed, np.inf)

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(values**2))) if values.size else math.nan

    def within(values: np.ndarray, limit: float) -> float:
        return float(np.mean(np.abs(values) <= limit)) if values.size else math.nan

    return {
        "n": error.size,
        "rms": rms(error),
        "z": rms(z[inside]),
        "z_held": rms(held[inside]),
        "within_68": within(z[inside], 1.0),
        "within_95": within(z[inside], 1.96),
        "n_bound": int((~inside).sum()),
        "bound_95": within(z[~inside], 1.96),
    }


def run_resolution(resolution: float, boxes: tuple[int, int, int], truths: list[str], n_estimates: int) -> dict:
    """All cells at one resolution, printed as they come."""
    problem = Problem.at(resolution, boxes)
    exact = run_cell(problem, 0.0, 0.0, 1, noise=False)
    noise_free = float(np.abs(exact.found - exact.true).max())
    n_groups = problem.prepared.n_groups
    print(f"\n{resolution} Å, {len(problem.hkl)} reflections, {n_groups} groups; without noise off by {noise_free:.1e}")
    print("truth            n     rms      z  z_held   68 %   95 %   bound (n)   seconds")
    cells = {}
    for name in truths:
        since = time.perf_counter()
        cell = cells[name] = summarise(run_cell(problem, *TRUTHS[name], n_estimates))
        print(
            f"{name:12s}{cell['n']:6d}  {cell['rms']:.4f}  {cell['z']:5.2f}  {cell['z_held']:6.2f}  "
            f"{100 * cell['within_68']:5.1f}  {100 * cell['within_95']:5.1f}  {100 * cell['bound_95']:5.1f} "
            f"({cell['n_bound']})  {time.perf_counter() - since:6.1f}",
            flush=True,
        )
    return {"resolution": resolution, "n_reflections": len(problem.hkl), "noise_free": noise_free, "cells": cells}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Run, print, and write the numbers if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=float, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--truths", nargs="+", choices=TRUTHS, default=list(TRUTHS))
    parser.add_argument("--estimates", type=int, default=1000, help="fewest estimates in a cell")
    parser.add_argument("--boxes", type=int, nargs=3, help="size of the crystal in place of the usual ones")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args(arguments)
    with jax.enable_x64(True):
        table = [
            run_resolution(d, tuple(given.boxes or SIZES[d]), given.truths, given.estimates) for d in given.resolutions
        ]
    if given.json:
        given.json.write_text(json.dumps(table, indent=1))
    return table


if __name__ == "__main__":
    main()
