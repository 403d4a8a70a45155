"""What stays the same while occupancies are refined."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from jax_occupancy.refinement import Options, linear_model, prepare, search
from jax_occupancy.refinement._movers import parts_of

pytestmark = pytest.mark.usefixtures("x64")


def atom_table(*rows):
    return pd.DataFrame(rows, columns=["chainid", "resseq", "icode", "resname"])


TABLE = atom_table(
    ("A", 1, "", "SER"), ("A", 1, "", "SER"), ("A", 1, "A", "GLY"), ("A", 2, "", "ARG"), ("B", 1, "", "SER"),
    ("A", 2, "", "LYS"), ("A", 2, "", "LYS"),
)  # fmt: skip


def test_a_group_is_cut_by_chain_number_and_insertion_code():
    parts = parts_of(TABLE, [np.array([0, 2, 4, 1])])
    assert [part.tolist() for part in parts.atoms] == [[0, 1], [2], [4]]
    assert parts.group.tolist() == [0, 0, 0]
    assert parts.residue == ("A/1/SER", "A/1A/GLY", "B/1/SER")


def test_several_residue_names_in_one_place_are_one_residue():
    parts = parts_of(TABLE, [np.array([3]), np.array([5, 6])])
    assert parts.residue == ("A/2/ARG", "A/2/ARG")
    assert parts.group.tolist() == [0, 1]


def test_groups_without_atoms_have_no_parts():
    parts = parts_of(TABLE, [np.zeros(0, int), np.array([4]), np.zeros(0, int)])
    assert parts.group.tolist() == [1]
    assert [part.tolist() for part in parts.atoms] == [[4]]
    assert parts_of(TABLE, []).group.shape == (0,)


def test_every_atom_of_every_group_is_in_one_part():
    groups = [np.array([6, 0, 3]), np.array([1, 2, 4, 5])]
    parts = parts_of(TABLE, groups)
    for number, members in enumerate(groups):
        own = [part for part, group in zip(parts.atoms, parts.group, strict=True) if group == number]
        assert sorted(np.concatenate(own)) == sorted(members)


def test_a_b_shift_may_spread_by_three_tenths_of_its_own_and_usual_b_and_keeps_every_atom_above_one(example):
    model, data, _ = example
    model = dataclasses.replace(model, atoms=model.atoms.assign(tempfactor=np.linspace(0.5, 100.0, model.n_atoms)))
    problem = prepare(model, data.select(data.d_spacing() > 3))
    usual = np.median(problem.mean_b)
    np.testing.assert_allclose(problem.b_spread, 0.3 * np.sqrt((problem.mean_b**2 + usual**2) / 2))
    np.testing.assert_allclose(problem.lowest_shifts, np.minimum(1.0 - problem.lowest_b, 0.0))


def test_mean_and_lowest_b_count_anisotropic_atoms_along_their_axes(example):
    model, data, _ = example
    b = np.arange(10.0, 10.0 + model.n_atoms)
    atoms = model.atoms.assign(tempfactor=b)
    water = np.flatnonzero(atoms["resname"] == "HOH")
    u = np.zeros((model.n_atoms, 6))
    u[water] = [0.3, 0.2, 0.1, 0.0, 0.0, 0.0]
    atoms[["u11", "u22", "u33", "u12", "u13", "u23"]] = u
    changed = dataclasses.replace(model, atoms=atoms)
    problem = prepare(changed, data.select(data.d_spacing() > 3))
    members = [np.flatnonzero(problem.tensor.expansion_mask == entry) for entry in problem.constraints.entries]
    for atoms_of_group, mean, lowest in zip(members, problem.mean_b, problem.lowest_b, strict=True):
        if np.isin(atoms_of_group, water).all():
            assert (mean, lowest) == pytest.approx((8 * np.pi**2 * 0.2, 8 * np.pi**2 * 0.1))
        else:
            assert (mean, lowest) == pytest.approx((b[atoms_of_group].mean(), b[atoms_of_group].min()))


def test_starts_are_feasible_points(refined):
    problem = refined[0]
    given = np.asarray(problem.tensor(), np.float64)
    starts = {"model": "model", "even": "even", "random": "random", "given": given}
    x = {name: np.asarray(problem.start(start, seed=1)) for name, start in starts.items()}
    for one in x.values():
        np.testing.assert_allclose(problem.constraints.matrix @ one, problem.constraints.total, atol=1e-9)
        assert (one >= 0).all()
    np.testing.assert_allclose(x["given"], x["model"], atol=1e-6)
    for row in problem.constraints.matrix:
        members = np.flatnonzero(row > 0)
        np.testing.assert_allclose(x["even"][members], 1 / members.size, atol=1e-9)
    assert not np.allclose(x["random"], problem.start("random", seed=2))


def test_reflections_that_were_left_out_are_rows_of_the_same_linear_model(refined, example):
    data = example[1]
    wrong = np.array(data.amplitude)
    wrong[[3, 700]] *= 30
    observations = refined[0].observations
    problem = refined[0].observing(observations.from_reflections(dataclasses.replace(data, amplitude=wrong)))
    without = problem.without_outliers()
    assert {3, 700} <= set(np.flatnonzero(without.outliers.mask))
    assert without.data.n_reflections == data.n_reflections - without.outliers.mask.sum()
    assert without.linear is problem.linear
    for indices, left in zip(data.hkl.T, without.data.hkl.T, strict=True):
        np.testing.assert_array_equal(without.observations.gather(indices), left)


def test_the_solvent_in_the_places_of_groups_is_that_around_the_answer_whatever_the_start(example):
    model, data, truth = example
    data, ends = data.select(data.d_spacing() > 2), []
    for start in ("model", truth):
        problem, state = search(prepare(model, data, options=Options(starts=0, start=start)))
        q = state.x[: problem.n_groups]
        anew = linear_model(problem.model, problem.data, problem.tensor_at(q), problem.constraints.entries)
        difference = np.abs(problem.linear.solvent_mask(q) - anew.solvent_mask(q))
        assert difference.max() < 1e-4 * np.abs(anew.mask).max()
        ends.append(np.asarray(q))
    np.testing.assert_allclose(*ends, atol=1e-4)
