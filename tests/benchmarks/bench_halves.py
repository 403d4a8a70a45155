"""Do occupancies from two random halves of the measured reflections scatter as their standard uncertainties say?

    python tests/benchmarks/bench_halves.py MODEL DATA --json FILE

Nothing is simulated: the model's errors are those it has, and both halves share them, so that only the noise of the
data and what σ_A takes for noise shows. The working set is divided, the free set stays whole. Printed is the root mean
square of (q₁ − q₂)/√(esd₁² + esd₂²) over all groups off their bounds and all divisions: near 1 with B factors and
positions held, whose esds are noise alone; below 1 by default, where esds hold what the priors leave open, too.
"""

import argparse
import json
from pathlib import Path

import numpy as np

LEVELS = {
    "held": {"b_factors": "held", "positions": "held"},
    "group": {"b_factors": "group", "positions": "group"},
    "default": {},
}


def halves(model, data, random, options) -> tuple[np.ndarray, np.ndarray]:
    """Differences between the halves and their standard uncertainties, of the groups that have them in both."""
    from jax_occupancy import refine

    first = data.free | (random.uniform(size=data.n_reflections) < 0.5)
    tables = [refine(model, data.select(half), throw=False, **options).table for half in (first, ~first | data.free)]
    (one, other), (esd, of_other) = ([table[name].to_numpy(float) for table in tables] for name in ("occupancy", "esd"))
    known = np.isfinite(esd) & np.isfinite(of_other)
    return (one - other)[known], np.hypot(esd, of_other)[known]


def main() -> None:
    """Parse the command line, fill the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--divisions", type=int, default=6)
    parser.add_argument("--json")
    given = parser.parse_args()
    from jax_occupancy import read_model, read_reflections

    model, data = read_model(given.model), read_reflections(given.data)
    rows = []
    print(f"{'refined':<10}{'n':>6}{'scatter':>9}{'in esd':>8}{'median':>8}")
    for name, level in LEVELS.items():
        random = np.random.default_rng(0)
        parts = [halves(model, data, random, {"starts": 0} | level) for _ in range(given.divisions)]
        difference, esd = (np.concatenate(column) for column in zip(*parts, strict=True))
        ratio = difference / esd
        row = {"refined": name, "n": ratio.size, "scatter": float(np.sqrt(np.mean(difference**2)))}
        row |= {"in_esds": float(np.sqrt(np.mean(ratio**2))), "median": float(np.median(np.abs(ratio)) / 0.6745)}
        rows.append(row)
        print(f"{name:<10}{row['n']:>6}{row['scatter']:>9.4f}{row['in_esds']:>8.2f}{row['median']:>8.2f}", flush=True)
        if given.json:
            Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
