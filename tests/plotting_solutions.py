"""Solutions put together by hand: what a picture or a report shows without the cost of a refinement."""

from typing import get_args

import gemmi
import numpy as np
import pandas as pd

from jax_occupancy.groups import Group, Grouping, GroupSet
from jax_occupancy.io import Reflections
from jax_occupancy.refinement import Solution
from jax_occupancy.xray import Scale, Sites

# What a solution is made of has no public name of its own.
StartEnd = Solution.__annotations__["target"]
Minimum, _ = get_args(Solution.__annotations__["minima"])

# A complete pair with one member on each bound, an incomplete triple, a free group, a fixed one.
SIZES = {"complete": 2, "incomplete": 3, "free": 1}


def make_grouping(n_sets: int, *, name: str = "A") -> Grouping:
    """Sets of all kinds in turn, one atom to a group."""
    sets, n_atoms = [], 0
    for i in range(n_sets):
        kind = tuple(SIZES)[i % 3]
        size = SIZES[kind]
        start = 1 / size if kind == "complete" else 1 / (size + 1)
        groups = tuple(
            Group(f"{name}/{i + 1}/LEU:{'ABC'[j]}", [n_atoms + j], start, True, f"conformer {'ABC'[j]}")
            for j in range(size)
        )
        n_atoms += size
        sets.append(GroupSet(kind, groups))
    return Grouping(n_atoms, tuple(sets), ("look at <this>",) if n_sets else ())


def make_table(grouping: Grouping, *, seed: int = 0) -> pd.DataFrame:
    """Every third group has a note; the first two are on a bound and the last one is fixed."""
    random = np.random.default_rng(seed)
    table = grouping.to_frame()
    n = len(table)
    table["occupancy"] = random.uniform(0.1, 0.9, n)
    table["esd"] = random.uniform(0.01, 0.1, n)
    table["esd_fixed"] = 0.5 * table["esd"]
    table["at_bound"] = np.arange(n) < 2
    table["limit"] = np.where(table["at_bound"], np.where(np.arange(n) == 0, 0.08, 0.92), np.nan)
    table["note"] = np.where(np.arange(n) % 3 == 2, "not supported", "")
    for column in ("sum", "sum_esd", "delta_b", "delta_b_esd", "b_correlation", "llg_full", "llg_unlinked"):
        table[column] = np.nan
    table["llg_absent"] = random.exponential(20, n)
    table.loc[table["at_bound"], "esd"] = np.nan
    table.loc[table.index[:2], "occupancy"] = [0.0, 1.0][:n]
    if n > 3:
        table.loc[n - 1, "refinable"] = False
        table.loc[n - 1, ["esd", "esd_fixed", "llg_absent"]] = np.nan
    return table


def make_data(n: int = 400, *, n_free: int = 80) -> tuple[Reflections, np.ndarray]:
    """Amplitudes, and a model that is 10 % too strong for the working set and 20 % for the free one."""
    cell, spacegroup = gemmi.UnitCell(20, 30, 40, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
    hkl = gemmi.make_miller_array(cell, spacegroup, 2.0)[:n]
    free = np.arange(len(hkl)) % 5 < (5 * n_free / n)
    amplitude = np.random.default_rng(1).uniform(10, 100, len(hkl))
    data = Reflections(
        hkl=hkl, free=free, cell=cell, spacegroup=spacegroup, amplitude=amplitude, sigma=0.05 * amplitude
    )
    return data, amplitude * np.where(free, 1.2, 1.1) * np.exp(0.3j)


def make_solution(n_sets: int = 4, *, n_minima: int = 1, n_free: int = 80, name: str = "A") -> Solution:
    """A solution with so many sets; none of them stands for a real crystal."""
    grouping = make_grouping(n_sets, name=name)
    table = make_table(grouping)
    data, f_model = make_data(n_free=n_free)
    n, n_groups = data.n_reflections, len(table)
    moving = table["name"][table["refinable"]].tolist()
    # Variables come in another order than the rows of the table.
    names = moving[::-1]
    spread = table.set_index("name")["esd"].loc[names].to_numpy(float)
    noise = np.random.default_rng(2).normal(size=(n_groups or 1, 3 * n_groups + 1))
    covariance = (noise @ noise.T)[: len(names), : len(names)] / (3 * n_groups + 1) * np.outer(spread, spread)
    history = [{"start": 120.0, "end": 101.0, "max_shift": 0.3, "steps": 4}]
    history += [{"start": 100.5, "end": 100.4, "max_shift": 1e-3, "steps": 2}]
    history += [{"start": 100.4, "end": 100.4, "max_shift": 0.0, "steps": 1}]
    return Solution(
        tensor=grouping.to_tensor(table["start"].to_numpy(float)),
        occupancies=table["occupancy"].to_numpy(float),
        esds=table["esd"].to_numpy(float),
        b_shifts=None,
        shifts=None,
        priors={},
        table=table,
        residues=pd.DataFrame({"residue": ["A/1"], "group": [name], "occupancy": [0.25], "llg_alone": [3.0]})[:n_sets],
        covariance=pd.DataFrame(covariance, index=names, columns=names),
        grouping=grouping,
        sites=Sites(np.ones(grouping.n_atoms, int), np.zeros(grouping.n_atoms), np.zeros(grouping.n_atoms, bool)),
        data=data,
        f_model=f_model,
        outliers=pd.DataFrame(),
        target_name="ml",
        target=StartEnd(110.0, 100.4),
        sigma_a=None,
        r_work=StartEnd(0.2, 0.1),
        r_free=StartEnd(0.25, 0.2) if n_free else StartEnd(np.nan, np.nan),
        scale=Scale(np.ones(n), np.zeros(n), np.array([2.0]), np.ones(1), np.zeros(1), (0.0,) * 6),
        model_amplitude=abs(f_model),
        twin=pd.DataFrame({"law": [], "fraction": [], "esd": []}),
        starts=8,
        minima=tuple(Minimum(np.zeros(1), 100.4 + i, 9 - i, 0.1 * i) for i in range(n_minima if n_sets else 0)),
        history=pd.DataFrame(history if n_sets else []),
        result="converged" if n_sets else "nothing_to_refine",
        message="The occupancies came to rest." if n_sets else "No occupancy is refinable.",
        seconds={"read": 0.5, "structure_factors": 1.5},
    )
