"""The same refinement by cctbx and by jax_occupancy: `python tests/benchmarks/bench_cctbx.py [MODEL.pdb DATA.mtz]`.

Same reflections, free set, form factors, groups, starts (the deposited occupancies, even shares, random ones) and kind
of target, maximum likelihood on amplitudes. Each program's answers are put into both programs' targets, in each at the
scales and σ_A (α and β) where that program ended from the deposited occupancies. Without files it takes 4xof and
1g8a_multiconformer from the folder JAX_OCCUPANCY_DATA. cctbx runs in a Python of its own (`--cctbx-python`).
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import jax
import numpy as np
from steps import Ending, StageTimer, converge, in_atoms, of_groups

from jax_occupancy import Grouping, Model, Reflections, read_model, read_reflections
from jax_occupancy.refinement import Problem, prepare

PAIRS = (("4xof.pdb", "4xof.mtz"), ("1g8a_multiconformer.pdb", "1g8a.mtz"))
HEADER = "                            our -ln L  cctbx -ln L  R-work  R-free  seconds  solver"


def compare(model_path: Path, data_path: Path, *, python: str, n_random: int) -> dict:
    """Refine one model with both programs, print and return the numbers."""
    model, reflections = read_model(model_path), read_reflections(data_path)
    timer = StageTimer()
    problem = prepare(model, reflections, stage=timer)
    timer("")
    starts = _starts(problem, n_random)
    converge(problem)  # compiles
    endings = {name: converge(problem, start) for name, start in starts.items()}
    first = endings["deposited"]
    answer = in_atoms(problem, first.q)
    cctbx = run_cctbx(python, model, problem.grouping, reflections, list(starts.values()), [answer])
    ours = {name: _our_row(ending, first) for name, ending in endings.items()}
    ours["deposited"]["cctbx_target"] = cctbx["evaluated"][0]
    theirs = {
        name: _their_row(row, first.value_at(of_groups(problem, row["occupancies"])))
        for name, row in zip(starts, cctbx["starts"], strict=True)
    }
    found = {"jax_occupancy": [ending.q for ending in endings.values()]}
    found["cctbx"] = [of_groups(problem, row["occupancies"]) for row in cctbx["starts"]]
    numbers = {
        "model": model_path.name,
        "n_reflections": reflections.n_reflections,
        "n_groups": problem.n_groups,
        "structure_factor_seconds": timer.seconds["structure_factors"],
        "jax_occupancy": ours,
        "cctbx": theirs,
        "largest_difference": {name: _apart(values) for name, values in found.items()}
        | {"between": max(float(np.abs(q - first.q).max()) for q in found["cctbx"])},
        "times_faster": _ratios(ours, theirs, timer.seconds["structure_factors"]),
    }
    _print(numbers)
    return numbers


def run_cctbx(
    python: str, model: Model, grouping: Grouping, reflections: Reflections, starts: list, others: list
) -> dict:
    """Hand the job to cctbx's Python and wait. cctbx has no sets with a sum below one: their groups are set free."""
    groups = [(index, one.kind, group) for index, one in enumerate(grouping.sets) for group in one.groups]
    groups = [(index if kind == "complete" else -1 - n, group) for n, (index, kind, group) in enumerate(groups)]
    job = {
        "xyz": model.atoms[["x", "y", "z"]].to_numpy(float),
        "letter": model.atoms["altloc"].to_numpy(str),
        "hkl": reflections.hkl,
        "amplitude": reflections.amplitude,
        "sigma": reflections.sigma,
        "free": reflections.free,
        "atoms": np.concatenate([group.atoms for _, group in groups]),
        "group": np.repeat(np.arange(len(groups)), [group.atoms.size for _, group in groups]),
        "set": np.array([index for index, _ in groups]),
        "starts": np.array(starts),
        "others": np.array(others),
    }
    script = Path(__file__).with_name("cctbx_side.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/job.npz", **job)
        command = [python, str(script), str(model.path.resolve()), f"{folder}/job.npz", f"{folder}/out.json"]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(Path(folder, "out.json").read_text())


def _starts(problem: Problem, n_random: int) -> dict[str, np.ndarray]:
    """Occupancies of each atom to start from."""
    tensor, random = problem.tensor, np.random.default_rng(0)
    n = tensor.get_refinable_count()
    starts = {"deposited": tensor, "even": tensor.with_refinable_params(jax.numpy.zeros(n))}
    for i in range(n_random):
        starts[f"random {i + 1}"] = tensor.with_refinable_params(jax.numpy.asarray(random.normal(size=n)))
    return {name: np.asarray(start()) for name, start in starts.items()}


def _our_row(ending: Ending, first: Ending) -> dict:
    solver = ending.seconds["solve"]
    return {
        "target": first.value_at(ending.q),
        "r_work": ending.r_work,
        "r_free": ending.r_free,
        "seconds": sum(ending.seconds.values()),
        "seconds_solver": solver,
        "cycles": len(ending.state.history),
        "steps": sum(int(row["steps"]) for row in ending.state.history),
    }


def _their_row(row: dict, our_target: float) -> dict:
    kept = {name: value for name, value in row.items() if name != "occupancies"}
    return kept | {"target": our_target, "cctbx_target": row["target"]}


def _apart(values: list[np.ndarray]) -> float:
    """Largest difference of an occupancy between two starts."""
    return float(np.ptp(np.array(values), axis=0).max())


def _ratios(ours: dict, theirs: dict, structure_factors: float) -> dict[str, float]:
    """Mean time a start of cctbx over ours: of the solvers, with scaling, and with structure factors for each start."""

    def mean(rows: dict, key: str) -> float:
        return float(np.mean([row[key] for row in rows.values()]))

    return {
        "solver": mean(theirs, "seconds_solver") / mean(ours, "seconds_solver"),
        "with_scaling": mean(theirs, "seconds") / mean(ours, "seconds"),
        "with_structure_factors": mean(theirs, "seconds") / (mean(ours, "seconds") + structure_factors),
    }


def _print(numbers: dict) -> None:
    print(f"\n{numbers['model']}: {numbers['n_reflections']} reflections, {numbers['n_groups']} groups")
    print(HEADER)
    for program in ("jax_occupancy", "cctbx"):
        for name, row in numbers[program].items():
            other = f"{row['cctbx_target']:.2f}" if "cctbx_target" in row else ""
            print(
                f"{program + ' ' + name:26s}{row['target']:11.2f} {other:>12s} "
                f"{row['r_work']:7.4f} {row['r_free']:7.4f} {row['seconds']:8.2f} {row['seconds_solver']:7.2f}"
            )
    apart, faster = numbers["largest_difference"], numbers["times_faster"]
    print(
        f"largest difference of an occupancy between starts: jax_occupancy {apart['jax_occupancy']:.1e}, cctbx "
        f"{apart['cctbx']:.3f}; of cctbx's answers from ours: {apart['between']:.3f}\n"
        f"times faster per start: {faster['solver']:.0f} (solver alone), {faster['with_scaling']:.0f} (with scaling), "
        f"{faster['with_structure_factors']:.0f} (with the {numbers['structure_factor_seconds']:.1f} s of all "
        "structure factors too)"
    )


def main() -> None:
    """Compare the programs on one pair of files or on the usual two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="model (PDB) and reflections (MTZ)")
    parser.add_argument("--cctbx-python", default="/usr/bin/python3")
    parser.add_argument("--random", type=int, default=0, help="random starts beside the other two")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if len(given.files) not in (0, 2):
        parser.error("give a model and its reflections, or nothing")
    folder = Path(os.environ.get("JAX_OCCUPANCY_DATA", "."))
    pairs = [given.files] if given.files else [[folder / name for name in pair] for pair in PAIRS]
    jax.config.update("jax_enable_x64", True)
    table = [compare(*pair, python=given.cctbx_python, n_random=given.random) for pair in pairs]
    if given.json:
        given.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
