"""Time and memory of the target with its gradient: `python tests/benchmarks/bench_scaling.py [--large] [--json FILE]`.

Structure factors are streamed, computed anew in every pass. Groups, reflections and models (occupancies under vmap)
grow one at a time, each size in a process of its own; the slope of the logarithms says how time and memory grow.
`--large` is 10^6 reflections and 5,000 groups, in float32.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ATOMS = 2  # in a group
BASE = {"groups": 100, "reflections": 20_000, "models": 1}
FACTORS = (1, 2, 4, 8)
LARGE = {"groups": 5000, "reflections": 1_000_000, "models": 1}


def measure(groups: int, reflections: int, models: int) -> dict[str, float]:
    """Seconds of one value with its gradient, once compiled, and the peak memory of this process in MB."""
    import gemmi
    import jax
    import jax.numpy as jnp

    from jax_occupancy.xray import Columns, Crystal, DisplacedSolvent, LeastSquares, LinearModel, Scatterers

    random, n_atoms = np.random.default_rng(0), groups * ATOMS
    cell = gemmi.UnitCell(100, 100, 100, 90, 90, 90)
    hkl = jnp.asarray(random.integers(-60, 60, (reflections, 3)))
    index = jnp.arange(n_atoms)
    scatterers = Scatterers(
        xyz=jnp.asarray(random.random((n_atoms, 3)), jnp.float32),
        weight=jnp.ones(n_atoms),
        b_iso=jnp.full(n_atoms, 20.0),
        u_star=jnp.zeros((0, 6)),
        type_index=jnp.zeros(n_atoms, int),
        group_index=index // ATOMS,
        amplitudes=jnp.array([[2.3, 1.0, 1.6, 0.9, 0.2]]),
        exponents=jnp.array([[20.8, 10.2, 0.6, 51.7, 0.0]]),
        position=index,
    )
    columns = Columns.computed(hkl, scatterers, Crystal.from_gemmi(cell, gemmi.SpaceGroup("P 1")), groups)
    ones, zeros = jnp.ones(reflections), jnp.zeros(reflections)
    empty = DisplacedSolvent.nothing(groups, reflections, dtype="float32")
    linear = LinearModel(50j * ones, 0j * zeros, columns, ones, zeros, jnp.sum(hkl**2, axis=1) / 4e4, empty)
    target = LeastSquares(60 * ones, ones / reflections)

    @jax.jit
    def value_and_gradient(linear, target, q):
        return jax.vmap(jax.value_and_grad(lambda q: jnp.sum(target(linear.amplitude(q)))))(q)

    q = jnp.full((models, groups), 0.5)
    seconds = []
    for _ in range(2):
        since = time.perf_counter()
        value, slope = jax.block_until_ready(value_and_gradient(linear, target, q))
        seconds.append(time.perf_counter() - since)
    assert np.isfinite(np.asarray(value)).all()
    assert np.isfinite(np.asarray(slope)).all()
    return {"seconds": seconds[-1], "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_a_process(size: dict[str, int]) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--child", *map(str, size.values())]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print and, if asked to, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(*given.child)))
        return
    rows, slopes = [], {}
    sizes = {"large": [LARGE]} if given.large else {
        name: [BASE | {name: BASE[name] * factor} for factor in FACTORS] for name in BASE
    }  # fmt: skip
    for name, series in sizes.items():
        found = []
        for size in series:
            found.append(size | in_a_process(size))
            numbers = "  ".join(f"{key} {value:.6g}" for key, value in found[-1].items())
            print(numbers, flush=True)
        rows += found
        if len(found) > 1:
            at = np.log([row[name] for row in found])
            slopes[name] = {
                key: float(np.polyfit(at, np.log([row[key] for row in found]), 1)[0]) for key in ("seconds", "peak_mb")
            }
            print(f"{name}: time grows with the power {slopes[name]['seconds']:.2f}, "
                  f"memory with {slopes[name]['peak_mb']:.2f}", flush=True)  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps({"rows": rows, "slopes": slopes}, indent=1))


if __name__ == "__main__":
    main()
