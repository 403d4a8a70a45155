"""Are values and uncertainties those of full-matrix least squares, in which every atom of the crystal moves?

    python tests/benchmarks/bench_full_matrix.py MODEL --json FILE      (Debian's python3-cctbx must be there)

cctbx computes data of a small crystal without bulk solvent and anisotropy, in which the two conformers of a residue
and some waters are partly there. The reference is what smtbx makes of everything from the truth on, so that it ends in
the deepest minimum; pass 0 is what `refine`, which moves the atoms of the groups alone, makes of its model. For pass 1
smtbx refines coordinates and B factors of all atoms at guessed occupancies, as users of such programs do.
What the atoms beside the groups have made of the guess stays, so smtbx refines them at the occupancies of pass 1 for
pass 2, and so on. Printed are

    esd    the median ratio of its esds to the reference's, and the range of nine in ten
    far    root mean square of its value less the reference's in esds of the reference, and the largest
    z      root mean square error in its own esds, and that of the reference
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
from bench_truth import cctbx, draw, write, write_wrong

WATERS, HIGHEST_B = 12, 40.0  # how many waters are partial, of those with B factors up to so many Å²
APART = 0.8  # conformers of an atom that are nearer than this (Å) are taken for one atom
PASSES = 3


def partial(source, path, random) -> None:
    """The model with conformers that share no site, and some waters partly there."""
    from jax_occupancy import read_model

    structure = read_model(source).structure
    for chain in structure[0]:
        for residue in chain:
            for i in reversed(range(1, len(residue))):
                near = [j for j in range(i) if residue[j].name == residue[i].name]
                if near and residue[near[0]].pos.dist(residue[i].pos) < APART:
                    residue[near[0]].altloc, residue[near[0]].occ = "\0", 1.0
                    del residue[i]
    waters = [site.atom for site in structure[0].all() if site.residue.is_water() and site.atom.b_iso <= HIGHEST_B]
    for i in random.choice(len(waters), WATERS, replace=False):
        waters[i].occ = 0.5
    path.write_text(structure.make_pdb_string())


def one(source, resolution, seed, folder) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """True occupancies of the first group of each set; values and esds of the reference, and of each pass."""
    from jax_occupancy import group_model, read_model, refine

    random, folder = np.random.default_rng(seed), Path(folder)
    partial(source, folder / "partial.pdb", random)
    model = read_model(folder / "partial.pdb")
    grouping = group_model(model)
    true, start = draw(model, grouping, random)
    true = true.round(2)  # as in the file
    sets = [[group.atoms.tolist() for group in one.groups] for one in grouping.sets]
    for name, value in {"sets": sets, "none": []}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    data, wrong, refined = (folder / name for name in ("data.mtz", "wrong.pdb", "refined.pdb"))
    write(model.structure, folder / "truth.pdb", true)
    cctbx("simulate", folder / "truth.pdb", data, resolution, seed, "dry")
    write_wrong(folder, model.structure, "xyzB", random, start, grouping)
    cctbx("full_matrix", folder / "truth.pdb", data, folder / "sets.json", folder / "reference.pdb")
    cctbx("full_matrix", wrong, data, folder / "none.json", refined)
    reference = np.array(json.loads((folder / "reference.json").read_text())[:2])
    first, passes = [one.groups[0].atoms[0] for one in grouping.sets], []
    place = [[group.atoms[0] for group in grouping.groups].index(atom) for atom in first]
    for number in range(PASSES + 1):
        if number > 1:
            write(solution.model.structure, wrong, solution.occupancies)
            cctbx("full_matrix", wrong, data, folder / "none.json", refined)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solution = refine(
                str(refined if number else folder / "reference.pdb"), str(data), groups=grouping, starts=0, throw=False
            )
        passes.append(solution.table.loc[place, ["occupancy", "esd"]].to_numpy(float).T)
    return true[first], reference, passes


def main() -> None:
    """Parse the command line, fill the table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--resolution", type=float, default=1.0)
    parser.add_argument("--sets", type=int, default=5, help="data sets")
    parser.add_argument("--json")
    given, parts = parser.parse_args(), []
    for seed in range(given.sets):
        with tempfile.TemporaryDirectory() as folder:
            parts.append(one(given.model, given.resolution, seed, folder))
    true, (value, sigma) = np.concatenate([part[0] for part in parts]), np.hstack([part[1] for part in parts])
    own = np.sqrt(np.mean(((value - true) / sigma) ** 2))
    print(f"{'pass':<5}{'n':>4}{'esd':>7}{'range':>14}{'far':>7}{'largest':>9}{'z':>7}{'of reference':>14}")
    rows = []
    for number in range(PASSES + 1):
        q, esd = np.hstack([part[2][number] for part in parts])
        known = np.isfinite(esd)
        ratio, far, z = esd[known] / sigma[known], ((q - value) / sigma)[known], ((q - true) / esd)[known]
        low, median, high = np.quantile(ratio, (0.05, 0.5, 0.95))
        row = {"pass": number, "n": ratio.size, "esd": median, "esd_low": low, "esd_high": high}
        row |= {"far": np.sqrt(np.mean(far**2)), "largest": np.max(np.abs(far)), "z": np.sqrt(np.mean(z**2))}
        rows.append(row | {"z_of_reference": own})
        print(f"{number:<5}{ratio.size:>4}{median:>7.2f}{low:>8.2f}-{high:<5.2f}{row['far']:>7.2f}", end="")
        print(f"{row['largest']:>9.2f}{row['z']:>7.2f}{own:>14.2f}")
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
