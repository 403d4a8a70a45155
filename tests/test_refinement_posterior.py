"""Occupancies, B factors and positions at the optimum of one posterior, on models that are wrong."""

import dataclasses
import re

import numpy as np
import pytest

from jax_occupancy import read_model, refine, write_model
from jax_occupancy._words import notes
from jax_occupancy.refinement import Options, assess, moved_model, posterior_at, prepare, search, settle
from jax_occupancy.refinement._posterior import RESTRAINT, _response
from jax_occupancy.refinement._problem import size_of_b

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def wrong(example):
    """Coordinates off by 0.05 Å, and the B factors of one ligand and a valine far too high."""
    model = example[0]
    ligand = ((model.atoms["resname"] == "IPH") | (model.atoms["resseq"] == 5)).to_numpy()
    shifts = RANDOM.normal(scale=0.05, size=(model.n_atoms, 3))
    return moved_model(model, shifts, np.where(ligand, 10.0, 0.0))


@pytest.fixture(scope="module")
def answers(example, wrong):
    with_x64 = {"starts": 0, "throw": False}
    levels = {name: {"b_factors": name, "positions": name} for name in ("atom", "group", "held")}
    return {name: refine(wrong, example[1], **with_x64, **level) for name, level in levels.items()}


def z_of(solution, truth):
    table = solution.table
    error = table["occupancy"] - [truth[group.atoms[0]] for group in solution.grouping.groups]
    return float(np.sqrt(np.mean(error**2))), float(np.sqrt(np.nanmean((error / table["esd"]) ** 2)))


def test_by_default_the_answer_of_a_wrong_model_is_right_within_its_esds(answers, example, wrong):
    rms, z = z_of(answers["atom"], example[2])
    rms_held, z_held = z_of(answers["held"], example[2])
    assert answers["atom"].result == "converged"
    default = refine(wrong, example[1], starts=0, throw=False).table["occupancy"]
    np.testing.assert_allclose(default, answers["atom"].table["occupancy"], atol=1e-3)
    assert z < 0.5 * z_held
    assert rms < 0.5 * rms_held


def test_what_moved_far_is_said(answers):
    notes = answers["group"].table.set_index("name")["note"]
    assert "B fell by" in notes["B/201/IPH:A"]
    assert "B fell by" not in notes["A/8/SER:A"]


def test_priors_are_told_and_can_be_set(answers, example, wrong):
    found = answers["group"].priors
    assert 0.01 < found["position_error"] < 0.15
    assert 0 < found["b_error"] < 20
    assert answers["held"].priors == {}
    set_by_user = refine(wrong, example[1], starts=0, throw=False, position_error=1e-4, b_error=0.5)
    assert set_by_user.priors["position_error"] == 1e-4
    assert set_by_user.priors["b_error"] == 0.5
    assert np.abs(set_by_user.shifts).max() < 1e-3
    assert set_by_user.priors["b_error_of_atoms"] == 0.5
    assert set_by_user.table["delta_b"].abs().max() < answers["group"].table["delta_b"].abs().max()


def test_held_is_held_and_its_esds_are_those_of_the_occupancies_alone(answers):
    held = answers["held"]
    assert held.shifts is None
    assert held.b_shifts is None
    np.testing.assert_allclose(held.table["esd"], held.table["esd_fixed"], rtol=1e-9)


def test_residues_move_as_bodies_and_nothing_else_moves(answers, wrong):
    solution = answers["group"]
    moved = np.abs(solution.shifts).max(axis=1) > 0
    refined = np.concatenate([group.atoms for group in solution.grouping.groups if group.refinable])
    assert set(np.flatnonzero(moved)) <= set(refined.tolist())
    ligand = solution.grouping["B/201/IPH:A"].atoms
    assert np.ptp(solution.shifts[ligand], axis=0).max() < 1e-12


def test_shifts_are_written_only_where_asked_for(answers, example, tmp_path):
    model, solution = example[0], answers["group"]
    for name in ("plain.pdb", "plain.cif"):
        solution.write(model, tmp_path / name)
        np.testing.assert_allclose(read_model(tmp_path / name).atoms[["x", "y", "z"]], model.atoms[["x", "y", "z"]])
    for name in ("moved.pdb", "moved.cif"):
        solution.write(model, tmp_path / name, shifts=True)
        back = read_model(tmp_path / name).atoms
        np.testing.assert_allclose(back[["x", "y", "z"]], model.atoms[["x", "y", "z"]] + solution.shifts, atol=6e-4)
        np.testing.assert_allclose(back["tempfactor"], model.atoms["tempfactor"] + solution.b_shifts, atol=6e-3)


def test_a_coordinate_that_a_pdb_file_has_no_room_for_is_refused(example, tmp_path):
    model = example[0]
    shifts = np.zeros((model.n_atoms, 3))
    shifts[4, 1] = 1e4
    with pytest.raises(ValueError, match=r"room for coordinates from -999\.999 to 9999\.999 Å.*write \.cif"):
        write_model(model, tmp_path / "far.pdb", model.atoms["occupancy"], shifts=shifts)
    assert not (tmp_path / "far.pdb").exists()


def test_atoms_move_on_their_own(example, answers):
    by_atom = answers["atom"]
    ligand = by_atom.grouping["B/201/IPH:A"].atoms
    assert np.ptp(by_atom.shifts[ligand], axis=0).max() > 0.01
    assert "relative_b_error_of_atoms" in by_atom.priors
    assert by_atom.target.end < answers["group"].target.end
    rms, z = z_of(by_atom, example[2])
    assert rms < 0.7 * z_of(answers["group"], example[2])[0]
    assert 0.6 < z < 1.4
    assert by_atom.priors["position_error"] == pytest.approx(0.05, rel=0.15)  # it is the one that was put in


def test_the_optimum_is_one_of_the_posterior(example, wrong):
    """Where all has come to rest no gradient is left that its prior does not hold."""
    begin = search(prepare(wrong, example[1], options=Options(starts=0, b_factors="held", positions="group")))
    problem, state, posterior = settle(*begin)
    curvature, slope, _ = posterior.of_nuisances
    at_first = posterior_at(*begin).of_nuisances[1]
    assert np.max(np.abs(slope) / np.sqrt(np.diag(curvature))) < 3
    assert np.max(np.abs(at_first) / np.sqrt(np.diag(curvature))) > 5
    assert problem.movers.shifts.any()
    assert state.result.name == "converged"


def test_the_step_of_the_atoms_ends_at_the_optimum_of_its_quadratic(example, wrong):
    """Their steps are those of one Newton step, after which the same quadratic has no slope left."""
    problem, state, posterior = settle(*search(prepare(wrong, example[1], options=Options(starts=0))))
    assert problem.movers.by_atom
    assert state.result.name == "converged"
    curvature, slope, _ = posterior.of_nuisances
    assert np.max(np.abs(slope) / np.sqrt(np.diag(curvature))) < 1e-6
    occupancies, _, _ = posterior.of_occupancies(marginal=True)
    inside = np.asarray(state.x[: problem.n_variables]) > 0
    multipliers = np.linalg.lstsq(problem.constraints.matrix[:, inside].T, occupancies[inside], rcond=None)[0]
    left = occupancies[inside] - problem.constraints.matrix[:, inside].T @ multipliers
    assert np.max(np.abs(left)) < 1e-3 * np.max(np.abs(occupancies[inside]))
    shifts = posterior.nuisance[posterior.kind == 2].reshape(3, -1).T
    np.testing.assert_allclose(shifts, problem.movers.shifts[problem.movers.may_shift], atol=1e-9)


def test_groups_of_very_many_atoms_stay_bodies(example, wrong, monkeypatch):
    monkeypatch.setattr("jax_occupancy.refinement._problem.MOST_ATOMS", 30)
    problem, _, _ = settle(*search(prepare(wrong, example[1], options=Options(starts=0))))
    assert not problem.movers.by_atom


def test_a_b_shift_on_its_lowest_bound_stays_there_and_is_told(example, wrong):
    """The ligand's B factors are 10 Å² too high, and may fall by 3 Å²."""
    problem = prepare(wrong, example[1], options=Options(starts=0, b_factors="group", positions="group"))
    problem = dataclasses.replace(problem, lowest_b=np.full(problem.n_groups, 4.0))
    table = assess(*settle(*search(problem))).groups
    on_bound = np.isclose(table["delta_b"], -3.0)
    assert on_bound.sum() >= 2
    assert table["delta_b"].min() == pytest.approx(-3.0)


def test_what_is_known_of_an_occupancy_counts_that_its_b_factor_is_not_known_on_its_bound(example, wrong):
    problem = prepare(wrong, example[1], options=Options(starts=0, b_factors="group", positions="group"))
    problem = dataclasses.replace(problem, lowest_b=np.full(problem.n_groups, 4.0))
    end = settle(*search(problem))
    table = assess(*end).groups
    on_bound = np.isclose(table["delta_b"], -3.0) & ~table["at_bound"]
    _, slope, _ = end[2].of_nuisances
    assert np.all(slope[end[2].lowest] <= 0)
    assert np.all(table.loc[on_bound, "esd"] > 1.05 * table.loc[on_bound, "esd_fixed"])


def test_no_atom_runs_away_from_a_group_that_is_on_its_lowest_bound(example, wrong, monkeypatch):
    """Group up and atoms down is one and the same: what may not push the atoms down may not push the group up."""
    monkeypatch.setattr("jax_occupancy.refinement._problem.SMALLEST_B", 20.0)
    problem, state, posterior = settle(*search(prepare(wrong, example[1], options=Options(starts=0))))
    assert posterior.lowest.any()
    assert np.all(posterior.kind[posterior.lowest] == 1)
    of_groups = np.asarray(state.objective.split(state.x)[1])
    assert np.max(np.abs(of_groups)) < 30
    reached = problem.model.atoms["tempfactor"] - wrong.atoms["tempfactor"]
    for atoms, of_group in zip(problem.members, of_groups, strict=True):
        whole = of_group + reached.to_numpy()[atoms]
        assert np.all(whole >= np.minimum(20.0 - wrong.atoms["tempfactor"].to_numpy()[atoms], 0) - 1e-6)


@pytest.fixture(scope="module")
def guessed(example):
    """The B factors of each group as a refinement at even shares would have left them, by the widths of its peaks."""
    model, data, truth = example
    tensor = prepare(model, data, options=Options(starts=0)).tensor
    even = np.asarray(tensor.with_refinable_params(0 * tensor.refinable_params)(), float)
    departed = 0.8 * model.atoms["tempfactor"].to_numpy() * np.log((even + 0.05) / (truth + 0.05))
    other = dataclasses.replace(model, atoms=model.atoms.assign(occupancy=even))
    return moved_model(other, np.zeros((model.n_atoms, 3)), np.maximum(departed, -4.0))


def test_b_factors_that_were_refined_at_a_guess_are_found_out(example, guessed):
    model, data, truth = example
    found = refine(guessed, data, starts=0, throw=False)
    right = refine(model, data, starts=0, throw=False)
    assert found.priors["b_trend"] > 0.3
    assert right.priors["b_trend"] < 0.1
    (said,) = (note for note in notes(found) if "refine the model again" in note)
    assert re.match(r"\d+ occupancies are more than 3 uncertainties away", said)
    assert not any("refine the model again" in note for note in notes(right))
    rms, z = z_of(found, truth)
    pulled = refine(guessed, data, starts=0, throw=False, b_error=found.priors["b_error"])
    assert pulled.priors["b_trend"] == 0
    assert rms < z_of(pulled, truth)[0]
    assert 0.6 < z < 1.4
    # what follows its occupancy as expected is no news
    assert found.table["note"].str.contains("had been refined at another").sum() <= 4


def test_coordinates_that_were_refined_at_a_guess_are_found_out(example):
    """They are where the curvature lets them go while the occupancies of the model are even shares."""
    model, data, truth = example
    options = Options(starts=0)
    tensor = prepare(model, data, options=options).tensor
    even = np.asarray(tensor.with_refinable_params(0 * tensor.refinable_params)(), float)
    guess = dataclasses.replace(model, atoms=model.atoms.assign(occupancy=even))
    problem, _, posterior = settle(*search(prepare(guess, data, options=options)))
    assert posterior.priors["position_trend"] < 0.2
    of_shifts, shifts = posterior.kind == 2, np.zeros_like(problem.movers.shifts)
    shifts[problem.movers.may_shift] = -posterior.expected[of_shifts].reshape(3, -1).T
    followed = moved_model(
        guess, problem.movers._replace(shifts=shifts).of_atoms(model.n_atoms)[0], np.zeros(model.n_atoms)
    )
    assert np.max(np.linalg.norm(shifts, axis=1)) > 0.05
    found = refine(followed, data, starts=0, throw=False)
    assert found.priors["position_trend"] > 0.3
    rms, z = z_of(found, truth)
    held = refine(followed, data, starts=0, throw=False, position_error=found.priors["position_error"])
    assert held.priors["position_trend"] == 0
    assert rms < z_of(held, truth)[0]
    assert z < 1.5


def test_the_prior_expects_of_b_factors_what_occupancies_do_to_them(example, guessed):
    """Its curvature over parts and nuisances is that of ½ Σ (ΔB − κ·R·(q − q₀))²/σ², with q the mean of the parts."""
    problem, _, posterior = settle(*search(prepare(guessed, example[1], options=Options(starts=0))))
    n_parts, groups, kind = posterior.place.size, np.arange(problem.n_groups), posterior.kind
    likelihood, (of_nuisances, _, between) = posterior.likelihood.curvature, posterior.of_nuisances
    marginal, _, follow, _ = posterior.marginal
    of_q = posterior.by_variable(marginal + between @ follow - likelihood[:n_parts, :n_parts])
    mixed = posterior.by_variable(between - likelihood[:n_parts, n_parts:])
    trend = np.array([posterior.spreads.trend, posterior.spreads.atom_trend, posterior.spreads.position_trend])
    expects = trend[kind, None] * posterior.response[:, groups].toarray()
    relative = expects / posterior.spread[:, None]
    np.testing.assert_allclose(posterior.by_variable(of_q.T)[np.ix_(groups, groups)], relative.T @ relative, rtol=1e-6)
    np.testing.assert_allclose(mixed[groups], -(relative / posterior.spread[:, None]).T, rtol=1e-6, atol=1e-5)
    added = of_nuisances - likelihood[n_parts:, n_parts:]
    np.testing.assert_allclose(added, np.diag(posterior.spread**-2.0), rtol=1e-7, atol=1e-5)
    of_b = expects[kind == 0]
    assert np.abs(of_b - np.diag(np.diag(of_b))).max() > 0.1


def test_b_factors_of_conformers_that_coincide_give_way_to_the_sum_of_their_occupancies_alone():
    """The data hardly tell what one loses to the other; a group that is not there has what is usual."""
    alike, stiff, steep = np.array([[1.0, 0.99, 0.0], [0.99, 1.0, 0.0], [0.0, 0.0, 0.0]]), 10.0, 30.0
    curvature = np.block([[0 * alike, -steep * alike], [-steep * alike, stiff * alike]])
    response = _response(np.arange(3), np.full(3, 10.0), curvature, np.array([0.5, 0.5, 0.0]), np.full(3, 0.5))
    restraint = (RESTRAINT * 10.0) ** -2
    both, exchanged = response[:2, :2] @ [1, 1], response[:2, :2] @ [1, -1]
    np.testing.assert_allclose(both, steep * 1.99 / (stiff * 1.99 + restraint))
    np.testing.assert_allclose(exchanged, np.array([1, -1]) * steep * 0.01 / (stiff * 0.01 + restraint))
    assert exchanged[0] < 0.25 * both[0]
    # at half the occupancy twice as much
    assert response[2].tolist() == pytest.approx([0, 0, 2 * response[0, 0]])


def test_a_b_factor_that_fell_to_nothing_is_not_known_for_that():
    spread = size_of_b(np.array([1.0, 10.0, 10.0, 40.0]))
    assert spread[0] > 5
    assert spread[0] < spread[1] == pytest.approx(10.0)
    assert spread[3] == pytest.approx(40 / np.sqrt(2), rel=0.05)


def test_a_b_factor_of_nothing_is_refined_and_uncertain_as_any_other(example):
    """Somebody forgot to fill in the B factor of a water."""
    model, data, truth = example
    water = (model.atoms["resseq"] == 301).to_numpy()
    assert water.sum() == 1
    without = moved_model(model, np.zeros((model.n_atoms, 3)), np.where(water, -model.atoms["tempfactor"], 0.0))
    found, right = (refine(one, data, starts=0, throw=False).table.set_index("name") for one in (without, model))
    here, there = found.loc["W/301/HOH"], right.loc["W/301/HOH"]
    assert abs(here["occupancy"] - truth[water][0]) < 3 * here["esd"]
    assert here["esd"] == pytest.approx(there["esd"], rel=0.2)
    assert here["delta_b_esd"] == pytest.approx(there["delta_b_esd"], rel=0.2)


def test_a_group_that_is_absent_has_nothing_that_its_prior_could_hold(example, guessed):
    """Curvature and slope of the others are those of a posterior without its B factor and position."""
    problem, _, posterior = settle(*search(prepare(guessed, example[1], options=Options(starts=0))))
    assert posterior.spreads.trend > 0.3
    everything = np.arange(problem.n_variables)
    for group in (0, 3):
        left = np.flatnonzero(posterior.group != group)
        without = posterior.restricted(everything, np.arange(posterior.place.size), left).of_occupancies(marginal=True)
        curvature, slope = posterior.following()("absent", group, everything)
        there = np.diag(without.curvature) > 0  # vacancies have no curvature
        scale = np.sqrt(np.diag(without.curvature)[there])
        wanted, found = ((one[np.ix_(there, there)] / scale).T / scale for one in (without.curvature, curvature))
        np.testing.assert_allclose(found, wanted, atol=1e-8)
        # what is left of the slopes of what moves counts for little
        assert np.max(np.abs(slope - without.gradient)[there] / scale) < 1


def test_a_problem_keeps_its_model_when_its_atoms_move(example):
    problem = prepare(*example[:2], options=Options(starts=0))
    n = len(problem.movers.atoms)
    moved = problem.moved(np.full((n, 3), 0.1), np.full(n, 2.0), b_spread=problem.b_spread)
    assert moved.model is problem.model
    q = problem.start("even")[: problem.n_groups]
    assert not np.allclose(problem.linear.amplitude(q), moved.linear.amplitude(q))
    back = moved.moved(np.zeros((n, 3)), np.zeros(n), b_spread=problem.b_spread)
    np.testing.assert_allclose(back.linear.amplitude(q), problem.linear.amplitude(q), rtol=1e-9)
