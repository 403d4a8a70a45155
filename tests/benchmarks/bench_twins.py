"""Are the fractions of twins, and occupancies refined against them, right, where the truth is another program's?

    python tests/benchmarks/bench_twins.py MODEL.pdb --json FILE      (Debian's python3-cctbx must be there)

The molecule of a model is put into cells that can be twinned, cctbx computes and twins the data, and models are wrong
as those of `bench_truth.py` are. For each crystal, fraction, resolution and scenario the table says

    found   the fraction, true and found          rms, z, 95 %   as in `bench_truth.py`
    single  rms and z if the twin is ignored
"""

import argparse
import json
import subprocess
import tempfile
import warnings
from pathlib import Path

import gemmi
import jax
import numpy as np
from bench_truth import SIDE, draw, summary, write

# Space group, cell for a molecule of one unit of volume, twin law.
CRYSTALS = {
    "P 3": ((1.0, 1.0, 0.9, 90, 90, 120), "-h,-k,l"),
    "P 4": ((1.0, 1.0, 0.8, 90, 90, 90), "k,h,-l"),
    "P 63": ((1.0, 1.0, 1.1, 90, 90, 120), "k,h,-l"),
    "P 1 21 1": ((1.0, 1.2, 1.4, 90, 90.2, 90), "h,-k,-l"),
}
# Å³ a molecule has in the new crystal, relative to the old one: room to be packed at random.
ROOM = 1.6


def packed(structure: gemmi.Structure, spacegroup: str, seed: int) -> gemmi.Structure:
    """The molecule in another crystal, turned and placed where it comes into least contact with its mates."""
    shape, _ = CRYSTALS[spacegroup]
    group, random = gemmi.SpaceGroup(spacegroup), np.random.default_rng(seed)
    old = structure.cell.volume / len(structure.find_spacegroup().operations())
    unit = gemmi.UnitCell(*shape)
    edge = (ROOM * old * len(group.operations()) / unit.volume) ** (1 / 3)
    cell = gemmi.UnitCell(*(edge * one for one in shape[:3]), *shape[3:])
    best, fewest = structure, np.inf
    for _ in range(150):
        other = structure.clone()
        other.cell, other.spacegroup_hm = cell, group.xhm()
        other.setup_cell_images()
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        turn *= np.linalg.det(turn)
        place = np.array(cell.orthogonalize(gemmi.Fractional(*random.uniform(size=3))).tolist())
        centre = np.array(structure[0].calculate_center_of_mass().tolist())
        moved = gemmi.Transform(gemmi.Mat33(turn.tolist()), gemmi.Vec3(*(place - turn @ centre)))
        other[0].transform_pos_and_adp(moved)
        contacts = gemmi.ContactSearch(2.6)
        contacts.ignore = gemmi.ContactSearch.Ignore.SameAsu
        near = len(contacts.find_contacts(gemmi.NeighborSearch(other[0], cell, 3.0).populate()))
        if near < fewest:
            best, fewest = other, near
        if near == 0:
            break
    return best


def one(source, crystal, fraction, resolution, scenario, seed, options, folder) -> dict[str, float]:
    """What is found of one data set."""
    from jax_occupancy import group_model, read_model, refine

    random, folder = np.random.default_rng([seed, round(100 * resolution), round(100 * fraction)]), Path(folder)
    structure = gemmi.read_structure(source)
    structure.setup_entities()
    (folder / "crystal.pdb").write_text(packed(structure, crystal, seed).make_pdb_string())
    model = read_model(folder / "crystal.pdb")
    grouping, n = group_model(model), model.n_atoms
    true, start = draw(model, grouping, random)
    write(model.structure, folder / "truth.pdb", true)
    twin = [CRYSTALS[crystal][1], fraction] if fraction else []
    command = [*SIDE, "simulate", folder / "truth.pdb", folder / "data.mtz", resolution, seed, scenario, *twin]
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    wrong = scenario == "xyzB"
    xyz = random.normal(scale=0.05, size=(n, 3)) if wrong else None
    b = np.exp(random.normal(scale=0.10, size=n)) if wrong else None
    write(model.structure, folder / "wrong.pdb", start, xyz=xyz, b=b)
    found = {"crystal": crystal, "fraction": fraction, "resolution": resolution, "scenario": scenario, "seed": seed}
    for name, twin in (("", "auto"), ("single_", "none")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            files = folder / "wrong.pdb", folder / "data.mtz"
            solution = refine(*files, groups=grouping, throw=False, **{"twin": twin} | options)
        table = solution.table[solution.table["refinable"]]
        of = true[[group.atoms[0] for group in grouping.groups if group.refinable]]
        cell = summary([(of, *(table[column].to_numpy(float) for column in ("occupancy", "esd", "esd_fixed")))])
        cell |= {"r_free": solution.r_free.end, "result": solution.result}
        found |= {f"{name}{key}": value for key, value in cell.items()}
        if twin == "auto":
            found["found"] = {row["law"]: [row["fraction"], row["esd"]] for row in solution.twin.to_dict("records")}
    return found


def main() -> None:
    """Parse the command line, fill the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--crystals", nargs="+", default=list(CRYSTALS), choices=list(CRYSTALS))
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.0, 0.05, 0.2, 0.45])
    parser.add_argument("--resolutions", type=float, nargs="+", default=[1.5, 2.2])
    parser.add_argument("--scenarios", nargs="+", default=["exact", "xyzB"], choices=["exact", "xyzB"])
    parser.add_argument("--sets", type=int, default=1, help="data sets for each cell")
    parser.add_argument("--options", default="{}", help="options of `refine`, as JSON; the defaults if left out")
    parser.add_argument("--json")
    given = parser.parse_args()
    options, rows = {"starts": 0} | json.loads(given.options), []
    print("crystal    Å   scenario  true   found             rms     z   95 %  R-free  single: rms     z  R-free")
    for crystal in given.crystals:
        for resolution in given.resolutions:
            for scenario in given.scenarios:
                for fraction in given.fractions:
                    for seed in range(given.sets):
                        with tempfile.TemporaryDirectory() as folder:
                            arguments = crystal, fraction, resolution, scenario, seed, options, folder
                            row = one(given.model, *arguments)
                        jax.clear_caches()  # compiled programs take memory maps, of which a process has so many
                        rows.append(row)
                        law = ", ".join(f"{law} {q:.3f}({esd:.3f})" for law, (q, esd) in row["found"].items()) or "none"
                        print(f"{crystal:<9}{resolution:>4} {scenario:<8}{fraction:>6.2f}  {law:<20}", end="")
                        print(f"{row['rms']:>7.4f}{row['z']:>6.2f}{100 * row['within_95']:>5.0f}", end="")
                        print(f"{row['r_free']:>8.3f}{row['single_rms']:>14.4f}{row['single_z']:>6.2f}", end="")
                        print(f"{row['single_r_free']:>8.3f}", flush=True)
                        if given.json:
                            Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
