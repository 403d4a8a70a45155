"""Time and memory of the command, from process start to files written: `python tests/benchmarks/bench_refine.py`.

Without files it takes 1g8a_multiconformer from the folder JAX_OCCUPANCY_DATA; `--large` simulates a crystal of 315 sets
with 1,295 conformers and 93,000 reflections, and compares the occupancies with the truth; `--boxes` does so for another
size, 10 groups a box. Stages are those of the command's own report. The first run may fill JAX's
compilation cache; the others tell what it costs afterwards.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from simulated import Experiment, draw_truth, write_files
from simulated_crystal import build_crystal

from jax_occupancy import read_model

# 35 boxes of 9 sets; the resolution that gives 93,000 reflections.
LARGE = {"boxes": (5, 7, 1), "resolution": 2.075, "alternating": 6, "conformers": (5, 5, 6)}


def run_command(model: Path, data: Path, out: Path, options: list[str]) -> dict:
    """Refine in a process of its own; seconds, peak memory in MB, and the stages it reports."""
    files = str(model.resolve()), str(data.resolve())
    command = [sys.executable, "-m", "jax_occupancy", "refine", *files, "-o", str(out), *options]
    since = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            command, stdout=printed, stderr=subprocess.STDOUT, cwd=out.parent, env=os.environ | {"COLUMNS": "500"}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - since
        printed.seek(0)
        text = printed.read()
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}\n{text}")
    report = re.search(r"Seconds: (.*)", text)
    stages = re.findall(r"([a-z ]+?) ([0-9.]+)[,;]", report.group(1)) if report else []
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,  # in KB on Linux
        "stages": {name.strip(): float(value) for name, value in stages},
    }


def simulate_large(folder: Path, boxes: tuple[int, int, int] | None) -> dict:
    """Write the large crystal and its data."""
    shape = LARGE if boxes is None else {"boxes": boxes, "resolution": LARGE["resolution"]}
    crystal = build_crystal(**shape)
    random = np.random.default_rng(0)
    truth = draw_truth(crystal, random, coordinates=0.05, b_factors=0.05)
    reflections = Experiment.to(crystal, shape["resolution"]).measure(truth, random)
    write_files(crystal, truth, reflections, folder)
    return {
        "n_atoms": crystal.n_atoms,
        "n_sets": len(crystal.sets),
        "n_conformers": len(crystal.groups),
        "n_reflections": reflections.n_reflections,
        "moving": [int(atoms[0]) for atoms in crystal.groups],
    }


def run_simulated(boxes: tuple[int, int, int] | None, options: list[str]) -> dict:
    """Refine a simulated crystal by the command and compare with the truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = simulate_large(folder, boxes)
        moving = size.pop("moving")
        out = folder / "out.cif"
        options = ["--groups", str(folder / "groups.toml"), *options]
        run = run_command(folder / "model.cif", folder / "data.mtz", out, options)
        found = read_model(out).atoms["occupancy"].to_numpy()
        truth = np.array(json.loads((folder / "truth.json").read_text()))
    error = float(np.sqrt(np.mean((found - truth)[moving] ** 2)))
    return size | run | {"rms_error": error}


def main() -> None:
    """Print and, if asked to, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="model and reflections")
    parser.add_argument("--large", action="store_true", help="the simulated crystal of 315 sets")
    parser.add_argument("--boxes", type=int, nargs=3, help="a simulated crystal of this size")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--options", default="", help="options for the command, in one word")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    options = given.options.split()
    runs = []
    for _ in range(given.runs):
        if given.large or given.boxes:
            runs.append(run_simulated(None if given.large else tuple(given.boxes), options))
        else:
            runs.append(_run_files(given.files, options))
        print(_line(runs[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1))


def _run_files(files: list[Path], options: list[str]) -> dict:
    folder = Path(os.environ.get("JAX_OCCUPANCY_DATA", "."))
    model, data = files or (folder / "1g8a_multiconformer.pdb", folder / "1g8a.mtz")
    with tempfile.TemporaryDirectory() as name:
        return run_command(model, data, Path(name, "out.pdb"), options)


def _line(run: dict) -> str:
    size = ", ".join(f"{run[name]} {name[2:]}" for name in run if name.startswith("n_"))
    stages = ", ".join(f"{name} {value:.1f}" for name, value in run["stages"].items())
    error = f"; rms error {run['rms_error']:.4f}" if "rms_error" in run else ""
    return (
        f"{size}{': ' if size else ''}{run['seconds']:.1f} s ({run['cpu_seconds']:.1f} s of CPU), "
        f"{run['peak_mb']:.0f} MB{error}; {stages}"
    )


if __name__ == "__main__":
    main()
