"""Is what is not there told from what is weak? Evidence of known waters and conformers, truth by another program.

    python tests/benchmarks/bench_evidence.py MODEL.pdb --json FILE      (Debian's python3-cctbx must be there)

Of waters and of the smallest conformers of sets a third is absent (occupancy 0) and a third weak (0.1 to 0.3); of the
waters some are there fully. All start from half or from even shares, in models that are right or wrong as those of
`bench_truth.py`, and default options. For each resolution and scenario the table says how often the log-likelihood
gained over the absence of a group is at least 3 ("supported"), and how often that over its being full is:

    absent  of what is absent: false positives         weak   of what is weak: the power; besides from 0.2 on
    full    of waters that are fully there, "not full"; false positives, too
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
from bench_truth import SCENARIOS, simulate, write, write_wrong

SUPPORTED = 3.0


def draw(model, grouping, random, waters: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """True occupancies and those to start from, per atom."""
    true = np.array(model.atoms["occupancy"], float)
    start = true.copy()
    water = model.atoms["resname"].isin(["HOH", "WAT"]).to_numpy()
    for number, atom in enumerate(random.choice(np.flatnonzero(water & (true == 1)), waters, replace=False)):
        true[atom], start[atom] = (0.0, random.uniform(0.1, 0.3), 1.0)[number % 3], 0.5
    for number, one in enumerate(random.permutation(np.array(grouping.sets, dtype=object))):
        members = [group.atoms for group in one.groups if group.refinable]
        shares = random.dirichlet(np.full(len(members), 4.0)) if len(members) > 1 else random.uniform(0.3, 0.9, 1)
        if number % 3 < 2 and len(members) > 1:
            least = int(np.argmin(shares))
            shares[least] = 0
            shares *= (1 - (weak := (0.0, random.uniform(0.1, 0.3))[number % 3])) / shares.sum()
            shares[least] = weak
        for atoms, share in zip(members, shares, strict=True):
            true[atoms], start[atoms] = share, 1 / max(2, len(members))
    return true, start


def one(source, resolution, scenario, seed, options, folder) -> list[dict]:
    """True occupancy, refined one and evidence of each group."""
    from jax_occupancy import group_model, read_model, refine

    random = np.random.default_rng([seed, round(100 * resolution), list(SCENARIOS).index(scenario), 7])
    model = read_model(source)
    true, start = draw(model, group_model(model), random)
    folder = Path(folder)
    data, wrong = str(folder / "data.mtz"), str(folder / "wrong.pdb")
    write(model.structure, folder / "truth.pdb", true)
    write(model.structure, wrong, start)
    grouping = group_model(read_model(wrong))
    simulate(folder, data, resolution, seed, scenario, grouping, true, flooded=True)
    write_wrong(folder, model.structure, scenario, random, start, grouping)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = refine(wrong, data, throw=False, **options)
    table = solution.table
    atoms = [group.atoms for group in solution.grouping.groups]
    columns = ("name", "occupancy", "esd", "llg_absent", "llg_full")
    return [
        {"true": float(true[of[0]]), "water": bool(len(of) == 1)} | {name: row[name] for name in columns}
        for of, row in zip(atoms, table.to_dict("records"), strict=True)
        if row["refinable"] and np.ptp(true[of]) == 0
    ]


def summary(rows: list[dict]) -> dict[str, float]:
    """One cell of the table: how many there are of each kind, and of how many the evidence is above the limit."""
    kinds = {
        "absent": [row["llg_absent"] for row in rows if row["true"] == 0],
        "weak": [row["llg_absent"] for row in rows if 0 < row["true"] <= 0.3],
        "weak_from_0.2": [row["llg_absent"] for row in rows if 0.2 <= row["true"] <= 0.3],
        "full": [row["llg_full"] for row in rows if row["true"] == 1],
    }
    cell = {}
    for kind, values in kinds.items():
        above = np.asarray(values) >= SUPPORTED
        cell |= {f"n_{kind}": above.size, kind: round(float(above.mean()), 3)}
    return cell


def main() -> None:
    """Parse the command line, fill the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--resolutions", type=float, nargs="+", default=[1.5, 2.5])
    parser.add_argument(
        "--scenarios", nargs="+", default=["exact", "wrongB", "xyzB", "wrongB_xyz"], choices=list(SCENARIOS)
    )
    parser.add_argument("--sets", type=int, default=4, help="data sets for each cell")
    parser.add_argument("--options", default="{}", help="options of `refine`, as JSON; the defaults if left out")
    parser.add_argument("--json")
    given = parser.parse_args()
    options = {"starts": 0} | json.loads(given.options)
    cells = []
    print(f"{'Å':>4} {'scenario':<12}{'absent':>12}{'weak':>12}{'from 0.2':>12}{'full':>12}")
    for resolution in given.resolutions:
        for scenario in given.scenarios:
            with tempfile.TemporaryDirectory() as folder:
                rows = [
                    row
                    for seed in range(given.sets)
                    for row in one(given.model, resolution, scenario, seed, options, folder)
                ]
            cell = {"resolution": resolution, "scenario": scenario} | summary(rows)
            cells.append(cell)
            told = [
                f"{100 * cell[kind]:.0f} % of {cell[f'n_{kind}']}"
                for kind in ("absent", "weak", "weak_from_0.2", "full")
            ]
            print(f"{resolution:>4} {scenario:<12}" + "".join(f"{text:>12}" for text in told), flush=True)
            if given.json:
                Path(given.json).write_text(json.dumps(cells, indent=1) + "\n")


if __name__ == "__main__":
    main()
