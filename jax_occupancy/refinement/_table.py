"""The result group by group, with what should be said of each."""

from math import ceil

import numpy as np
import pandas as pd

from jax_occupancy._numbers import of_sum
from jax_occupancy.core import OccupancyTensor
from jax_occupancy.groups import Group, Grouping
from jax_occupancy.refinement._assess import Assessment
from jax_occupancy.refinement._coincident import UNKNOWN, distance, known_in_sum
from jax_occupancy.refinement._problem import Problem

# Log-likelihoods: e^3 = 20 is where a group counts as supported; a link is doubtful if its removal gains as much for
# every occupancy that becomes free.
SUPPORTED = 3.0
# A B factor or a position that moved by this many times what its prior expects is told of.
UNEXPECTED = 2.0
# What notes say of groups that need not stay, or not as they are.
NOT_SUPPORTED, NOT_TOLD_FROM_FULL = "not supported", "the data do not tell it from fully occupied"


def solution_table(problem: Problem, assessment: Assessment, refined: OccupancyTensor) -> pd.DataFrame:
    """Put together what is known of each group.

    Columns: name, set, kind, parent, n_atoms, residues, altloc, start; occupancy; esd (the B factors and positions
    of all groups marginalised, unless they are held), esd_fixed (with them held); sum and sum_esd (what a group has
    together with those that it nearly coincides with, where the data determine no more); at_bound and the one-sided
    95 % limit there; delta_b, delta_b_esd, b_expected and b_spread (what its prior expects, Å²) and b_correlation;
    shift (root mean square over the atoms) and shift_spread (what its prior expects, Å); llg_absent and llg_full
    (log-likelihood gained over an occupancy of zero and over all there can be), llg_unlinked (that would be gained by
    residues that go their own way); map_cc (for a map, its correlation with the model around the group); note;
    refinable, reason. NaN where something does not apply.
    """
    table = problem.grouping.to_frame()
    groups = problem.grouping.groups
    entries = entries_of_groups(problem.grouping, refined)
    variable = {int(entry): i for i, entry in enumerate(problem.constraints.entries)}
    order = [variable.get(entry, -1) for entry in entries]
    q = np.asarray(refined.group_occupancies, np.float64)[entries]
    column = list(table.columns).index("start") + 1
    by_variable = {i: group for i, group in zip(order, groups, strict=True) if i >= 0}
    moving = np.asarray(refined.group_occupancies, np.float64)[problem.constraints.entries]
    sums = _sums(problem, assessment, moving, by_variable)
    found = assessment.groups.reindex(order).reset_index(drop=True)
    found["at_bound"] = found["at_bound"].eq(True)
    for place, name in enumerate(("sum", "sum_esd"), start=2):
        found.insert(place, name, [sums[i][place - 2] if i in sums else np.nan for i in order])
    for name, values in {"occupancy": q, **found}.items():
        table.insert(column, name, values)
        column += 1
    notes = [_note(problem, assessment, moving, i, sums.get(i)) if i >= 0 else "" for i in order]
    table.insert(column, "note", notes)
    return table


def entries_of_groups(grouping: Grouping, tensor: OccupancyTensor) -> list[int]:
    """The entry of collapsed space that each group is."""
    without_atoms = iter(np.flatnonzero(tensor.topology.atom_counts == 0).tolist())
    return [
        int(tensor.expansion_mask[group.atoms[0]]) if group.atoms.size else next(without_atoms)
        for group in grouping.groups
    ]


def _sums(
    problem: Problem, assessment: Assessment, q: np.ndarray, by_variable: dict[int, Group]
) -> dict[int, tuple[float, float, str]]:
    """For groups that the data can't tell apart what they have together, its standard uncertainty and a sentence."""
    xyz, ties = problem.model.atoms[["x", "y", "z"]].to_numpy(np.float64), problem.constraints.ties
    places = [xyz[by_variable[i].atoms] for i in range(problem.n_groups)]
    esd, limit, covariance = assessment.groups["esd"], assessment.groups["limit"], assessment.covariance
    unsure = np.asarray(esd.where(limit.isna(), np.abs(limit - q)), np.float64)
    found = known_in_sum(problem.constraints.sets, unsure, covariance, places)
    sums = {}
    for i, members in {**found, **{i: tie for tie in ties for i in tie}}.items():
        total, total_esd = q[list(members)].sum(), np.sqrt(max(covariance[np.ix_(members, members)].sum(), 0))
        said = of_sum(total, total_esd)
        within = max(ceil(10 * distance([places[j] for j in members]) - 1e-6), 1) / 10
        *first, last = (by_variable[j].name for j in members)
        note = f"{', '.join(first)} and {last} lie within {within:.1f} Å: only their sum, {said}, is determined"
        sums[i] = (total, total_esd, note + (", split evenly" if members in ties else ""))
    return sums


def _note(
    problem: Problem, assessment: Assessment, q: np.ndarray, i: int, together: tuple[float, float, str] | None
) -> str:
    """What a crystallographer should know of a group before believing its occupancy."""
    if outside := problem.outside[i]:
        return f"outside {outside}: there are no data for it"
    notes, known = [], assessment.groups.iloc[i]
    bounded = bool(np.isfinite(known["limit"]))
    supported = known["llg_absent"] >= SUPPORTED
    if together is not None:
        total, total_esd, sentence = together
        notes.append(sentence)
        supported |= total > UNEXPECTED * total_esd  # without one of them the others take its place
    if not supported:
        notes.append(f"{NOT_SUPPORTED}: the log-likelihood gained over its absence is below {SUPPORTED:.0f}")
    elif bounded and not together:
        notes.append("on a bound")
    if not together and not bounded and known["esd_fixed"] > UNKNOWN:
        notes.append("too small or too disordered: the data hardly see it")
    if not notes and known["llg_full"] < SUPPORTED and not known["at_bound"]:
        notes.append(NOT_TOLD_FROM_FULL)
    if q[i] > 0:
        notes += _moves(known, q[i] - float(problem.tensor.group_occupancies[problem.constraints.entries[i]]))
    gained = known["llg_unlinked"]
    if gained > SUPPORTED and gained > SUPPORTED * _freed(assessment, problem, i):
        notes.append("its residues differ, see the table of residues")
    return "; ".join(notes)


def _moves(known: pd.Series, rise: float) -> list[str]:
    """How the B factors and the position of a group moved, if it was further than their priors expect."""
    names = ["delta_b", "delta_b_esd", "b_expected", "b_spread", "shift", "shift_spread"]
    notes, (b, esd, likely, spread, shift, expected) = [], np.array([known[name] for name in names], float)
    if abs(b - likely) > UNEXPECTED * max(spread, esd):
        how = f"B {'rose' if b > 0 else 'fell'} by {abs(b):.0f} Å²"
        # Refined at too high an occupancy a B factor is too high, too.
        if b * rise > 0:
            how += f" as the occupancy {'rose' if b > 0 else 'fell'}: it had been refined at another occupancy"
        notes.append(how)
    if shift > UNEXPECTED * expected:
        notes.append(f"its atoms moved by {shift:.2f} Å")
    return notes


def _freed(assessment: Assessment, problem: Problem, i: int) -> int:
    """How many occupancies unlinking the set of a group sets free."""
    members = next((m for m in problem.constraints.sets if i in m), np.zeros(0, int))
    residues = assessment.residues
    own = residues.loc[residues["group"].isin(members.tolist()), "residue"]
    return max(1, (len(set(own)) - 1) * max(1, members.size - 1))
