"""Are occupancies and their uncertainties right? `python tests/benchmarks/bench_calibration.py --json FILE`.

Simulated crystals at four resolutions are refined against data sets with their own truth and noise. A cell of the table
is one resolution and one kind of truth: the model with measurement noise only, or with coordinates and B factors that
differ from the model's. For each cell it says

    rms       root mean square error of the group occupancies
    z, z_held the same error in units of the esd (B and position marginalised, held); 1 if the esd is right
    68, 95 %  how often the truth lies within ±1 and ±1.96 esd
    bound     how often it lies within ±1.96 esd, or the 95 % limit of an estimate on a bound, for groups within two
              esds of a bound; these take no part in the other numbers but rms, because the bound cuts their errors
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from simulated import Experiment, as_model, draw_truth
from simulated_crystal import build_crystal
from steps import converge, of_groups, with_data

from jax_occupancy.refinement import Constraints, Problem, assess, prepare, settle

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
class Case:
    """What all data sets of one crystal share."""

    experiment: Experiment
    problem: Problem
    intensities: bool = False

    @classmethod
    def at(cls, resolution: float, boxes: tuple[int, int, int], *, intensities: bool = False) -> "Case":
        """Choose the groups and compute their structure factors."""
        crystal = build_crystal(boxes, resolution=resolution)
        experiment, random = Experiment.to(crystal, resolution), np.random.default_rng(0)
        any_data = experiment.measure(draw_truth(crystal, random), random, intensities=intensities)
        return cls(experiment, prepare(as_model(crystal), any_data, crystal.user, store=True), intensities)

    def estimate(self, coordinates: float, b_factors: float, seed: int, *, noise: bool = True) -> "Estimates":
        """Refine against one data set, with its own truth and noise."""
        random = np.random.default_rng([seed, round(1000 * coordinates), round(1000 * b_factors)])
        truth = draw_truth(self.experiment.crystal, random, coordinates=coordinates, b_factors=b_factors)
        reflections = self.experiment.measure(truth, random, noise=noise, intensities=self.intensities)
        problem = with_data(self.problem, reflections)
        end = converge(problem)
        problem, state, posterior = settle(problem.with_solvent_around(end.state.x), end.state)
        known, true = assess(problem, state, posterior).groups, of_groups(problem, truth.occupancies)
        found = np.asarray(state.x[: problem.n_groups])
        esds = [known[name].to_numpy() for name in ("esd", "esd_fixed", "limit")]
        return Estimates(true, found, *esds, wholes(problem.constraints, true))


@dataclass(frozen=True, eq=False)
class Estimates:
    """True and estimated occupancies, esds with B and position free and held, limits on a bound, largest values."""

    true: np.ndarray
    found: np.ndarray
    esd: np.ndarray
    esd_fixed: np.ndarray
    limit: np.ndarray
    whole: np.ndarray

    @classmethod
    def joined(cls, parts: list["Estimates"]) -> "Estimates":
        """Pool data sets."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def wholes(constraints: Constraints, true: np.ndarray) -> np.ndarray:
    """What each entry could have at most: the total of its set, or what the parent of the set has."""
    n = constraints.entries.size
    found = np.ones(n)
    for row, total in zip(constraints.matrix[:, :n], constraints.total, strict=True):
        if (row < 0).any():
            found[row > 0] = total - row[row < 0] @ true[row < 0]
    return found


def summarise(estimates: Estimates) -> dict[str, float]:
    """One cell of the table."""
    error = estimates.found - estimates.true
    room = np.minimum(estimates.true, estimates.whole - estimates.true)
    # Which groups are near a bound is judged by the truth and the esd usual here: their own would select for errors.
    usual = np.nanmedian(estimates.esd)
    inside = np.isfinite(estimates.esd) & (room > SIGMAS_FROM_BOUND * np.fmax(estimates.esd, usual))
    z, held = error / estimates.esd, error / estimates.esd_fixed
    # On a bound the interval is one-sided, from the bound to the limit.
    reached = np.where(estimates.found <= 0, estimates.true <= estimates.limit, estimates.true >= estimates.limit)
    covered = np.where(np.isfinite(z), np.abs(z) <= 1.96, reached)

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
        "bound_95": float(np.mean(covered[~inside])) if (~inside).any() else math.nan,
    }


def run_resolution(case: Case, resolution: float, truths: list[str], n_estimates: int, first_seed: int) -> dict:
    """All cells at one resolution, printed as they come."""
    exact = case.estimate(0.0, 0.0, 0, noise=False)
    noise_free = float(np.abs(exact.found - exact.true).max())
    n_groups, n_reflections = case.problem.n_groups, case.problem.data.n_reflections
    print(f"\n{resolution} Å, {n_reflections} reflections, {n_groups} groups; without noise off by {noise_free:.1e}")
    print("truth            n     rms      z  z_held   68 %   95 %   bound (n)   seconds")
    cells = {}
    for name in truths:
        since = time.perf_counter()
        parts = [
            case.estimate(*TRUTHS[name], seed)
            for seed in range(first_seed, first_seed + math.ceil(n_estimates / n_groups))
        ]
        cell = cells[name] = summarise(Estimates.joined(parts))
        print(
            f"{name:12s}{cell['n']:6d}  {cell['rms']:.4f}  {cell['z']:5.2f}  {cell['z_held']:6.2f}  "
            f"{100 * cell['within_68']:5.1f}  {100 * cell['within_95']:5.1f}  {100 * cell['bound_95']:5.1f} "
            f"({cell['n_bound']})  {time.perf_counter() - since:6.1f}",
            flush=True,
        )
    return {"resolution": resolution, "n_reflections": n_reflections, "noise_free": noise_free, "cells": cells}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Run, print, and write the numbers if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=float, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--truths", nargs="+", choices=TRUTHS, default=list(TRUTHS))
    parser.add_argument("--estimates", type=int, default=1000, help="fewest estimates in a cell")
    parser.add_argument("--first-seed", type=int, default=0, help="of the data sets of each cell")
    parser.add_argument("--boxes", type=int, nargs=3, help="size of the crystal in place of the usual ones")
    parser.add_argument("--intensities", action="store_true", help="refine against intensities, not amplitudes")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args(arguments)
    with jax.enable_x64(True):
        table = []
        for d in given.resolutions:
            case = Case.at(d, tuple(given.boxes or SIZES[d]), intensities=given.intensities)
            table.append(run_resolution(case, d, given.truths, given.estimates, given.first_seed))
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n")
    return table


if __name__ == "__main__":
    main()
