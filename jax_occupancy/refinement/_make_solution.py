"""What the steps of a refinement have found becomes a solution."""

from dataclasses import replace

import numpy as np
import pandas as pd

from jax_occupancy.refinement._assess import Assessment
from jax_occupancy.refinement._clock import Clock
from jax_occupancy.refinement._cycles import State
from jax_occupancy.refinement._map_data import MapData
from jax_occupancy.refinement._objective import amplitude_at, misfit_at, structure_factors_at
from jax_occupancy.refinement._posterior import Posterior
from jax_occupancy.refinement._problem import Problem
from jax_occupancy.refinement._solution import Solution, StartEnd
from jax_occupancy.refinement._solver import Result
from jax_occupancy.refinement._table import entries_of_groups, solution_table
from jax_occupancy.xray import Scale, r_factor


def make_solution(
    problem: Problem, state: State, posterior: Posterior, assessment: Assessment, clock: Clock
) -> Solution:
    """Gather what the steps of a refinement have found."""
    objective, entries = state.objective, problem.constraints.entries
    q, delta_b = objective.split(state.x)
    refined = problem.tensor_at(q)
    gather = problem.observations.gather
    f_model = gather(np.asarray(structure_factors_at(objective, state.x)))
    begin_and_end = state.begin, amplitude_at(objective, state.x)
    amplitudes = [gather(np.asarray(f, np.float64)) for f in begin_and_end]
    data, fsc_shells = problem.data, None
    r_work = r_free = (np.nan, np.nan)
    if isinstance(data, MapData):
        fsc_shells = data.table(*amplitudes)
    else:
        factors = [r_factor(problem.observations.amplitude, f, data.free) for f in amplitudes]
        r_work, r_free = zip(*factors, strict=True)
    values = [float(misfit_at(objective, f)) for f in begin_and_end]
    per_entry = {name: np.full(refined.topology.n_collapsed, np.nan) for name in ("esd", "delta_b")}
    for name, column in per_entry.items():
        column[entries] = assessment.groups[name]
    by_entry = dict(zip(entries_of_groups(problem.grouping, refined), problem.grouping.groups, strict=True))
    names = [by_entry[int(entry)].name for entry in entries]
    residues = assessment.residues
    table = solution_table(problem, assessment, refined)
    if isinstance(data, MapData):
        around = data.correlations(problem.model, f_model, [group.atoms for group in problem.grouping.groups])
        table.insert(list(table.columns).index("note"), "map_cc", around)
    result = state.result if problem.n_groups else Result.nothing_to_refine
    target = objective.target
    shifts, b_shifts = problem.movers.of_atoms(problem.model.n_atoms)
    clock.end()
    solution = Solution(
        tensor=refined,
        occupancies=np.asarray(refined(), np.float64),
        esds=per_entry["esd"][refined.expansion_mask],
        b_shifts=None if delta_b is None else b_shifts + np.nan_to_num(per_entry["delta_b"][refined.expansion_mask]),
        shifts=None if problem.columns.axes is None else shifts,
        priors=posterior.priors,
        table=table,
        residues=residues.assign(group=[names[i] for i in residues["group"]]).drop(columns="set"),
        covariance=pd.DataFrame(assessment.covariance, index=names, columns=names),  # pyright: ignore
        grouping=problem.grouping,
        sites=problem.sites,
        data=data,
        f_model=f_model,
        outliers=pd.DataFrame({} if problem.outliers is None else problem.outliers.columns()),
        target_name=target.name,
        target=StartEnd(*values),
        sigma_a=state.sigma_a,
        r_work=StartEnd(*r_work),
        r_free=StartEnd(*r_free),
        scale=state.scale,
        model_amplitude=amplitudes[1],
        twin=_twin(problem, state.scale),
        starts=problem.options.starts,
        minima=state.minima,
        history=pd.DataFrame(list(state.history)),
        result=result.name,
        message=_message(result, state),
        seconds=clock.seconds,
        solvent_share=state.share,
        target_label=target.label,
        target_digits=target.digits,
        fsc_shells=fsc_shells,
    )
    if not solution.risen:
        return solution
    but = f" But {solution.risen}: this is no better than the start; look at outliers and sigmas first."
    return replace(solution, message=solution.message + but)


def _twin(problem: Problem, scale: Scale) -> pd.DataFrame:
    fractions, esds = (list(values[1:]) for values in (scale.fractions, scale.fraction_esds))
    return pd.DataFrame({"law": list(problem.twin_laws), "fraction": fractions, "esd": esds})


def _message(result: Result, state: State) -> str:
    cycles, moved = len(state.history), state.moved
    if result == Result.converged:
        unit = 10.0 ** np.floor(np.log10(max(moved, 1e-9)))
        bound, esds = unit * np.ceil(moved / unit + 1e-9), np.ceil(100 * state.moved_esds) / 100
        return (
            f"At rest after {cycles} cycles: one more would move no occupancy by more than {bound:.0e}, or {esds:.2f} "
            "of its uncertainty."
        )
    if result == Result.max_cycles:
        return f"The occupancies still moved by {moved:.1e} after {cycles} cycles."
    return f"{result.sentence[0].upper()}{result.sentence[1:]}."
