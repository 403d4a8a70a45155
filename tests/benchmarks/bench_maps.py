"""Are occupancies from half maps and their uncertainties right, and how does servalcat do beside them?

    python tests/benchmarks/bench_maps.py MODEL.pdb [--servalcat FOLDER/bin/servalcat] [--json FILE]

gemmi computes the density of the model with random occupancies; white noise makes two half maps of it that correlate by
0.143 at the resolution stated. What is refined starts from even shares; with `xyzB` its coordinates are off by 0.05 Å
along each axis and its B factors by 10 %, atom by atom. Both programs get the same files and groups; servalcat keeps
coordinates and B factors. For each resolution and scenario the table says

    rms   root mean square error of the occupancies        z     the same in units of the esd; 1 if the esd is right
    95 %  how often the truth lies within ±1.96 esd         held  z if B factors and positions are taken to be right
    s     seconds from process start to files
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gemmi
import numpy as np
from bench_truth import draw, summary, write

from jax_occupancy import group_model, read_model
from jax_occupancy.example import noise_at, simulated_density
from jax_occupancy.io import write_groups, write_map

MEAN_B = {1.8: 30.0, 2.5: 55.0, 3.2: 85.0}
MARGIN = 12.0


def simulate(
    source: str, resolution: float, scenario: str, seed: int, folder: Path
) -> tuple[np.ndarray, list[list[int]]]:
    """Write half maps, the model to refine and its groups; the true occupancies and the atoms of each group."""
    random = np.random.default_rng([seed, round(100 * resolution), scenario == "xyzB"])
    bare = gemmi.read_structure(source)
    bare.remove_hydrogens()  # servalcat would, and number the atoms anew
    (folder / "bare.pdb").write_text(bare.make_pdb_string())
    model = read_model(folder / "bare.pdb")
    structure, grouping = model.structure, group_model(model)
    true, start = draw(model, grouping, random)
    atoms = [site.atom for site in structure[0].all()]
    b, places = np.array([atom.b_iso for atom in atoms]), np.array([atom.pos.tolist() for atom in atoms])
    low, pixel = places.min(axis=0) - MARGIN, resolution / 2.7
    shape = tuple(int(np.ceil(n / 8) * 8) for n in (places.max(axis=0) + MARGIN - low) / pixel)
    structure.cell = gemmi.UnitCell(*(pixel * n for n in shape), 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    structure.setup_cell_images()
    for site in structure[0].all():
        site.atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
        site.atom.pos -= gemmi.Position(*low)
        site.atom.b_iso += MEAN_B.get(resolution, 13.6 * resolution**1.5) - b.mean()
        site.atom.b_iso, site.atom.occ = max(site.atom.b_iso, 10.0), true[site.atom.serial - 1]
    density = simulated_density(structure, shape)
    sigma = noise_at(density, places, pixel, resolution)
    for name in ("half1.mrc", "half2.mrc"):
        values = density + sigma * random.standard_normal(shape)
        write_map(folder / name, values.astype(np.float32), pixel=np.full(3, pixel), origin=np.zeros(3))
    off = scenario == "xyzB"
    n = model.n_atoms
    xyz, factor = random.normal(scale=0.05, size=(n, 3)), np.exp(random.normal(scale=0.10, size=n))
    write(structure, folder / "wrong.pdb", start, xyz=xyz if off else None, b=factor if off else None)
    wrong = read_model(folder / "wrong.pdb")
    write_groups(folder / "groups.refmac", group_model(wrong, grouping), wrong.atoms)
    return true, [group.atoms.tolist() for group in grouping.groups if group.refinable]


def timed(command: list, folder: Path, name: str) -> float:
    """Seconds that a command takes."""
    begin = time.perf_counter()
    with open(folder / f"{name}.log", "w") as log:
        ended = subprocess.run(list(map(str, command)), cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode not in (0, 3):
        raise RuntimeError((folder / f"{name}.log").read_text()[-2000:])
    return time.perf_counter() - begin


def ours(folder: Path, resolution: float, groups: list, true: np.ndarray) -> tuple[tuple, float]:
    """True and found occupancies, esds, esds with B factors and positions held; seconds."""
    command = [sys.executable, "-m", "jax_occupancy", "refine", "wrong.pdb", "half1.mrc", "half2.mrc", "--resolution"]
    command += [resolution, "-o", "ours.pdb", "--json", "ours.json", "--starts", 0, "--groups", "groups.refmac"]
    seconds = timed(command, folder, "ours")
    rows = {tuple(row["atoms"]): row for row in json.loads((folder / "ours.json").read_text())["groups"]}
    found = [[np.array(rows[tuple(g)][key], float) for g in groups] for key in ("occupancy", "esd", "esd_fixed")]
    return (true[[g[0] for g in groups]], *map(np.array, found)), seconds


def theirs(program: str, folder: Path, resolution: float, groups: list, true: np.ndarray) -> tuple[float, float]:
    """Root mean square error and seconds of servalcat."""
    command = [
        program,
        "refine_spa_norefmac",
        "--halfmaps",
        "half1.mrc",
        "half2.mrc",
        "--model",
        "wrong.pdb",
        "-d",
        resolution,
    ]
    command += ["--fix_xyz", "--adp", "fix", "--unrestrained", "--hydrogen", "no", "-s", "electron"]
    command += ["--keyword_file", "groups.refmac", "--ncycle", 30, "-o", "theirs"]
    seconds = timed(command, folder, "theirs")
    found = read_model(folder / "theirs.pdb").atoms["occupancy"].to_numpy()
    error = found[[g[0] for g in groups]] - true[[g[0] for g in groups]]
    return float(np.mean(error**2)), seconds


def main() -> None:
    """Parse the command line, fill the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--resolutions", type=float, nargs="+", default=[1.8, 2.5, 3.2])
    parser.add_argument("--scenarios", nargs="+", default=["exact", "xyzB"], choices=["exact", "xyzB"])
    parser.add_argument("--sets", type=int, default=5, help="maps for each cell")
    parser.add_argument("--servalcat", help="the program")
    parser.add_argument("--json")
    given = parser.parse_args()
    cells = []
    print(f"{'Å':>4} {'scenario':<12}{'n':>5}{'rms':>8}{'z':>6}{'95 %':>6}{'held':>6}{'s':>6}   servalcat: rms, s")
    for resolution in given.resolutions:
        for scenario in given.scenarios:
            parts, seconds, peer = [], [], []
            for seed in range(given.sets):
                with tempfile.TemporaryDirectory() as name:
                    folder = Path(name)
                    true, groups = simulate(given.model, resolution, scenario, seed, folder)
                    found, took = ours(folder, resolution, groups, true)
                    parts.append(found)
                    seconds.append(took)
                    if given.servalcat:
                        peer.append(theirs(given.servalcat, folder, resolution, groups, true))
            cell = {"resolution": resolution, "scenario": scenario, "seconds": float(np.median(seconds))} | summary(
                parts
            )
            if peer:
                square, took = zip(*peer, strict=True)
                cell |= {"servalcat_rms": float(np.sqrt(np.mean(square))), "servalcat_seconds": float(np.median(took))}
            cells.append(cell)
            print(f"{resolution:>4} {scenario:<12}{cell['n']:>5}{cell['rms']:>8.4f}{cell['z']:>6.2f}", end="")
            print(f"{100 * cell['within_95']:>6.0f}{cell['z_held']:>6.2f}{cell['seconds']:>6.1f}", end="")
            print(f"{cell['servalcat_rms']:>10.4f}{cell['servalcat_seconds']:>8.1f}" if peer else "", flush=True)
            if given.json:
                Path(given.json).write_text(json.dumps(cells, indent=1) + "\n")


if __name__ == "__main__":
    main()
