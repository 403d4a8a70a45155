"""How long choosing groups takes for a large structure: `python tests/benchmarks/bench_groups.py`."""

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from groups_models import molecule, residue, table

from jax_occupancy.groups import automatic_groups


def large_structure():
    """Some 17,000 atoms: a chain with every fifth residue in two conformers, and a thousand partial waters."""
    chain = [
        row
        for number in range(1, 2900)
        for row in residue(("A", number), letters={"A": 0.6, "B": 0.4} if number % 5 == 0 else 1.0)
    ]
    return table(chain, *[molecule(("W", i), "HOH", 0.5) for i in range(1000)])


def main():
    """Print the best of five."""
    atoms = large_structure()
    seconds = []
    for _ in range(5):
        start = perf_counter()
        grouping = automatic_groups(atoms)
        seconds.append(perf_counter() - start)
    print(f"{len(atoms)} atoms, {len(grouping)} sets: {min(seconds):.3f} s")


if __name__ == "__main__":
    main()
