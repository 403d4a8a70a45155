"""Are values and uncertainties those of full-matrix least squares, in which every atom of the crystal moves?

    python tests/benchmarks/bench_full_matrix.py MODEL --json FILE      (Debian's python3-cctbx must be there)

cctbx computes data of a small crystal without bulk solvent and anisotropy, in which the two conformers of a residue
and some waters are partly there. smtbx refines coordinates and B factors of all atoms at guessed occupancies, as a
user of a small-molecule program would. From there smtbx goes on with occupancies free, which is the reference, and
`refine` moves the atoms of the groups alone. Printed are, for its defaults and with all but occupancies held,

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
LEVELS = {"default": {}, "held": {"b_factors": "held", "positions": "held"}}


def partial(source, path, random) -> None:
    """The model with conformers that share no site, and some waters partly there."""
    from jax_occupancy import read_model

    structure = read_model(source).structure
    for chain in structure[0]:
        for residue in chain:
            for i in reversed(range(1, len(residue))):
                one, other = residue[i - 1], residue[i]
                if one.name == other.name and one.pos.dist(other.pos) < APART:
                    one.altloc, one.occ = "\0", 1.0
                    del residue[i]
    waters = [site.atom for site in structure[0].all() if site.residue.is_water() and site.atom.b_iso <= HIGHEST_B]
    for i in random.choice(len(waters), WATERS, replace=False):
        waters[i].occ = 0.5
    path.write_text(structure.make_pdb_string())


def one(source, resolution, seed, folder) -> dict[str, list[np.ndarray]]:
    """True occupancies of the first group of each set, and values and esds: of the reference and of each level."""
    from jax_occupancy import group_model, read_model, refine

    random, folder = np.random.default_rng(seed), Path(folder)
    partial(source, folder / "partial.pdb", random)
    model = read_model(folder / "partial.pdb")
    grouping = group_model(model)
    true, start = draw(model, grouping, random)
    sets = [[group.atoms.tolist() for group in one.groups] for one in grouping.sets]
    for name, value in {"sets": sets, "none": []}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    data, guessed = folder / "data.mtz", folder / "guessed.pdb"
    write(model.structure, folder / "truth.pdb", true)
    cctbx("simulate", folder / "truth.pdb", data, resolution, seed, "dry")
    write_wrong(folder, model.structure, "xyzB", random, start, grouping)
    cctbx("full_matrix", folder / "wrong.pdb", data, folder / "none.json", guessed)
    cctbx("full_matrix", guessed, data, folder / "sets.json", folder / "reference.pdb")
    found = {"reference": json.loads((folder / "reference.json").read_text())}
    first = [group.atoms[0] for group in (one.groups[0] for one in grouping.sets)]
    place = [[group.atoms[0] for group in grouping.groups].index(atom) for atom in first]
    for name, level in LEVELS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = refine(str(guessed), str(data), groups=grouping, starts=0, throw=False, **level).table
        found[name] = [table[column].to_numpy(float)[place] for column in ("occupancy", "esd")]
    return {name: [true[first], *map(np.asarray, values)] for name, values in found.items()}


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
    true, value, sigma = (np.concatenate([part["reference"][i] for part in parts]) for i in range(3))
    own = np.sqrt(np.mean(((value - true) / sigma) ** 2))
    print(f"{'refined':<9}{'n':>4}{'esd':>7}{'range':>12}{'far':>7}{'largest':>9}{'z':>7}{'of reference':>14}")
    rows = []
    for name in LEVELS:
        q, esd = (np.concatenate([part[name][i] for part in parts]) for i in (1, 2))
        known = np.isfinite(esd)
        ratio, far, z = esd[known] / sigma[known], ((q - value) / sigma)[known], ((q - true) / esd)[known]
        low, median, high = np.quantile(ratio, (0.05, 0.5, 0.95))
        row = {"refined": name, "n": ratio.size, "esd": median, "esd_low": low, "esd_high": high}
        row |= {"far": np.sqrt(np.mean(far**2)), "largest": np.max(np.abs(far)), "z": np.sqrt(np.mean(z**2))}
        rows.append(row | {"z_of_reference": own})
        print(f"{name:<9}{ratio.size:>4}{median:>7.2f}{low:>6.2f}–{high:<5.2f}{row['far']:>7.2f}{row['largest']:>9.2f}", end="")
        print(f"{row['z']:>7.2f}{own:>14.2f}")
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
