"""Are occupancies and their uncertainties right by default, where the truth is another program's and models are wrong?

    python tests/benchmarks/bench_truth.py MODEL.pdb --json FILE      (Debian's python3-cctbx must be there)

cctbx computes data from a model with random occupancies; what is refined starts from even shares, is wrong as real
models are, and gets the options that a user gets. For each resolution and scenario the table says

    rms   root mean square error of the occupancies        z     the same in units of the esd; 1 if the esd is right
    95 %  how often the truth lies within ±1.96 esd         held  z if B factors and positions are held
"""

import argparse
import json
import subprocess
import tempfile
import warnings
from pathlib import Path

import gemmi
import numpy as np

SIDE = ["/usr/bin/python3", str(Path(__file__).with_name("cctbx_truth.py"))]
SCENARIOS = {
    "exact": "the model is right",
    "wrongB": "B factors of the groups refined at even occupancies",
    "xyzB": "coordinates off by 0.05 Å along each axis, B factors by 10 %, atom by atom",
    "wrongB_xyz": "coordinates off by 0.05 Å, and B factors refined at even occupancies",
    "full": "B factors refined at occupancy 1 for what is on its own",
    "waters": "a fifth of the waters that are fully there is missing",
    "third": "of every set with three conformers the smallest is missing",
    "solvent": "another solvent", "anisotropic": "strongly anisotropic diffraction", "incomplete": "60 % complete",
    "outliers": "5 % gross outliers", "hydrogens": "the hydrogens of the crystal are missing",
    "flooded": "solvent flows in where a group is absent, on average over 24 cells; else it never does",
    "refined": "coordinates and B factors of all atoms refined at even occupancies, with restraints",
}  # fmt: skip
WRONG_B, WRONG_XYZ = {"wrongB", "wrongB_xyz", "full"}, {"xyzB", "wrongB_xyz"}
XYZ_ERROR, B_ERROR = 0.05, 0.10  # Å along each axis, and of the natural logarithm


def cctbx(*command) -> None:
    """Run the other program."""
    subprocess.run([*SIDE, *map(str, command)], check=True, stdout=subprocess.DEVNULL)


def draw(model, grouping, random) -> tuple[np.ndarray, np.ndarray]:
    """True occupancies and those to start from, per atom."""
    true = np.array(model.atoms["occupancy"], float)
    start = true.copy()
    for one in grouping.sets:
        members = [group.atoms for group in one.groups if group.refinable]
        alone = len(one.groups) == 1
        shares = random.uniform(0.3, 0.9, 1) if alone else random.dirichlet(np.full(len(members), 2.0))
        shares = np.clip(shares, 0.03, None)
        for atoms, share in zip(members, shares / max(1, shares.sum()), strict=True):
            true[atoms], start[atoms] = share, 0.5 if alone else 1 / len(members)
    return true, start


def simulate(folder, data, resolution, seed, scenario, grouping, true, *, flooded) -> None:
    """Data of truth.pdb; `flooded` if solvent is to flow in where a group is absent."""
    command = folder / "truth.pdb", data, resolution, seed, scenario
    if not flooded:
        return cctbx("simulate", *command)
    sets = [[[group.atoms.tolist(), true[group.atoms[0]]] for group in one.groups] for one in grouping.sets]
    (folder / "sets.json").write_text(json.dumps(sets))
    cctbx("flooded", *command, folder / "sets.json")


def write(structure, path, occupancies, *, xyz=None, b=None, without=()) -> None:
    """A PDB file of the structure with other occupancies, and perhaps other atoms."""
    other = structure.clone()
    for site in other[0].all():
        i = site.atom.serial - 1
        site.atom.occ = occupancies[i]
        if xyz is not None:
            site.atom.pos += gemmi.Position(*xyz[i])
        if b is not None:
            site.atom.b_iso *= b[i]
            site.atom.aniso = site.atom.aniso.scaled(b[i])
        site.atom.flag = "d" if i in without else "\0"
    for chain in other[0]:
        for residue in chain:
            for i in reversed(range(len(residue))):
                if residue[i].flag == "d":
                    del residue[i]
    other.remove_empty_chains()
    Path(path).write_text(other.make_pdb_string())


def write_wrong(folder, structure, scenario, random, start, grouping, *, without=()) -> None:
    """The model that is refined, wrong as the scenario says, its B factors perhaps refined against the data."""
    n, wrong, groups = len(start), folder / "wrong.pdb", folder / "groups.json"
    xyz = random.normal(scale=XYZ_ERROR, size=(n, 3)) if scenario in WRONG_XYZ else None
    b = np.exp(random.normal(scale=B_ERROR, size=n)) if scenario == "xyzB" else None
    write(structure, wrong, start, xyz=xyz, b=b, without=without)
    if scenario == "refined":
        cctbx("refine_all", wrong, folder / "data.mtz", wrong)
    if scenario in WRONG_B:
        groups.write_text(json.dumps([group.atoms.tolist() for group in grouping.groups if group.refinable]))
        cctbx("refine_b", wrong, folder / "data.mtz", groups, wrong)


def one(source, resolution, scenario, seed, options, folder) -> tuple[np.ndarray, ...]:
    """True and found occupancies of the groups, their esds, and z with B factors and positions held."""
    from jax_occupancy import group_model, read_model, refine

    random = np.random.default_rng([seed, round(100 * resolution), list(SCENARIOS).index(scenario)])
    model = read_model(source)
    true, start = draw(model, group_model(model), random)
    folder = Path(folder)
    data, wrong = str(folder / "data.mtz"), str(folder / "wrong.pdb")
    write(model.structure, folder / "truth.pdb", true)
    simulate(folder, data, resolution, seed, scenario, group_model(model), true, flooded=scenario == "flooded")
    n, water = model.n_atoms, model.atoms["resname"].isin(["HOH", "WAT"]).to_numpy()
    without = set()
    if scenario == "waters":
        full = np.flatnonzero(water & (model.atoms["occupancy"] == 1))
        without = set(random.choice(full, full.size // 5, replace=False).tolist())
    if scenario == "hydrogens":
        without = set(np.flatnonzero(model.atoms["element"].isin(["H", "D"])).tolist())
    if scenario == "third":
        for a_set in group_model(model).sets:
            if len(a_set.groups) > 2:
                least = min((group.atoms for group in a_set.groups), key=lambda atoms: true[atoms[0]])
                without |= set(least.tolist())
    if scenario == "full":
        start = np.where(water, np.where(start < 1, 1.0, start), start)
    grouping, known = group_model(model), np.setdiff1d(np.arange(n), sorted(without))
    write_wrong(folder, model.structure, scenario, random, start, grouping, without=without)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = refine(wrong, data, groups=None if without else grouping, throw=False, **options)
    first = [known[group.atoms[0]] for group in solution.grouping.groups]
    table = solution.table[solution.table["refinable"]]
    of = true[np.array(first)][solution.table["refinable"].to_numpy()]
    return of, *(table[name].to_numpy(float) for name in ("occupancy", "esd", "esd_fixed"))


def summary(parts: list[tuple[np.ndarray, ...]]) -> dict[str, float]:
    """One cell of the table."""
    true, found, esd, held = (np.concatenate(column) for column in zip(*parts, strict=True))
    error, inside = found - true, np.isfinite(esd)
    z = error[inside] / esd[inside]
    return {
        "n": error.size,
        "rms": round(float(np.sqrt(np.mean(error**2))), 4),
        "z": round(float(np.sqrt(np.mean(z**2))), 2),
        "within_95": round(float(np.mean(np.abs(z) <= 1.96)), 2),
        "z_held": round(float(np.sqrt(np.mean((error[inside] / held[inside]) ** 2))), 2),
    }


def main() -> None:
    """Parse the command line, fill the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--resolutions", type=float, nargs="+", default=[1.2, 1.5, 2.0, 2.5, 3.0])
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--sets", type=int, default=5, help="data sets for each cell")
    parser.add_argument("--options", default="{}", help="options of `refine`, as JSON; the defaults if left out")
    parser.add_argument("--json")
    given = parser.parse_args()
    options = {"starts": 0} | json.loads(given.options)
    cells = []
    print(f"{'Å':>4} {'scenario':<12}{'n':>5}{'rms':>8}{'z':>6}{'95 %':>6}{'held':>6}")
    for resolution in given.resolutions:
        for scenario in given.scenarios:
            with tempfile.TemporaryDirectory() as folder:
                parts = [one(given.model, resolution, scenario, seed, options, folder) for seed in range(given.sets)]
            cell = {"resolution": resolution, "scenario": scenario} | summary(parts)
            cells.append(cell)
            print(f"{resolution:>4} {scenario:<12}{cell['n']:>5}{cell['rms']:>8.4f}{cell['z']:>6.2f}", end="")
            print(f"{100 * cell['within_95']:>6.0f}{cell['z_held']:>6.2f}", flush=True)
            if given.json:
                Path(given.json).write_text(json.dumps(cells, indent=1) + "\n")


if __name__ == "__main__":
    main()
