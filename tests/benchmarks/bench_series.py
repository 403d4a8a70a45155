"""A series of data sets against one of them, as commands: `python tests/benchmarks/bench_series.py --count 64`.

Noisy copies of the data of 4XOF, each with some reflections missing, come from the folder JAX_OCCUPANCY_DATA. Seconds
of the wall and of the processor, and peak memory, are those of whole processes, from start to files written.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jax_occupancy import Reflections, read_reflections
from jax_occupancy.io import write_mtz

# Share of the reflections that each copy lacks.
LOST = 0.003


def noisy_copy(data: Reflections, seed: int) -> Reflections:
    """The data measured again."""
    random = np.random.default_rng(seed)
    amplitude, sigma = np.asarray(data.amplitude), np.asarray(data.sigma)
    noisy = np.maximum(amplitude + sigma * random.standard_normal(amplitude.size), 0.01)
    return dataclasses.replace(data, amplitude=noisy).select(random.random(amplitude.size) > LOST)


def write_copies(data: Reflections, folder: Path, count: int) -> list[Path]:
    """Write noisy copies as MTZ files."""
    paths = [folder / f"copy{seed:03}.mtz" for seed in range(count)]
    for seed, path in enumerate(paths):
        copy = noisy_copy(data, seed)
        columns = {"FP": ("F", copy.amplitude), "SIGFP": ("Q", copy.sigma), "FreeR_flag": ("I", ~copy.free)}
        write_mtz(path, hkl=copy.hkl, cell=copy.cell, spacegroup=copy.spacegroup, columns=columns)
    return paths


def run(*arguments: str | Path) -> dict[str, float]:
    """Run the command in a process of its own."""
    since = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        command = [sys.executable, "-m", "jax_occupancy", *map(str, arguments)]
        process = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)],
        )
        _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": time.perf_counter() - since, "cpu_seconds": cpu, "peak_mb": usage.ru_maxrss / 1024}


def main() -> None:
    """Print and, if asked to, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=8, help="data sets in the series")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    source = Path(os.environ.get("JAX_OCCUPANCY_DATA", "."))
    model, data = source / "4xof.pdb", read_reflections(source / "4xof.mtz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_copies(data, folder, given.count)
        runs = {"one": run("refine", model, paths[0], "-o", folder / "one.pdb")}
        runs["series"] = run("series", model, *paths, "--csv", folder / "series.csv")
        # Compiled programs are kept from one command to the next: the second one shows what is left.
        runs["one again"] = run("refine", model, paths[0], "-o", folder / "again.pdb")
    for name, numbers in runs.items():
        print(f"{name:10} " + "  ".join(f"{key} {value:.1f}" for key, value in numbers.items()))
    ratios = {key: runs["series"][key] / runs["one again"][key] for key in ("seconds", "cpu_seconds")}
    print(f"{given.count} data sets cost {ratios['seconds']:.1f} times one ({ratios['cpu_seconds']:.1f} in CPU time)")
    if given.json:
        given.json.write_text(json.dumps({"count": given.count, "runs": runs, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
