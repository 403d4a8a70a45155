import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_xray_structure_factors import group_structure_factors, make_crystal, make_hkl, make_table

from jax_occupancy.refinement import Objective
from jax_occupancy.refinement._information import extended_information, values_of_changes
from jax_occupancy.xray import (
    Columns,
    Crystal,
    DisplacedSolvent,
    LeastSquares,
    LinearModel,
    Tiles,
    _columns,
    group_scatterers,
)

pytestmark = pytest.mark.usefixtures("x64")
CELL, SPACEGROUP = make_crystal("P 1 21 1")
TABLE, HKL = make_table(CELL), make_hkl(61)
# Group 0 in two residues, group 2 without atoms, group 1 and 3 in one residue each.
PARTS = [[0, 3], [4], [1, 2], [5, 6, 7, 8]]
GROUP_OF_PART = np.array([0, 0, 1, 3])
GROUPS = [[0, 3, 4], [1, 2], [], [5, 6, 7, 8]]
Q, DELTA_B = np.array([0.3, 0.8, 0.5, 0.6]), np.array([2.0, -3.0, 0.0, 5.0])
RANDOM = np.random.default_rng(0)
FIXED = 40 * (RANDOM.standard_normal(61) + 1j * RANDOM.standard_normal(61))
SOLVENT = 9 * (RANDOM.standard_normal((4, 61)) + 1j * RANDOM.standard_normal((4, 61)))
SOLVENT[:, 30:] = 0
SOLVENT[2] = 0


def crystal():
    return Crystal.from_gemmi(CELL, SPACEGROUP)


OVERALL, SOLVENT_SCALE = np.linspace(0.8, 1.3, 61), np.linspace(0.4, 0.1, 61)
S_SQUARED = CELL.calculate_1_d2_array(HKL) / 4


def structure_factors(groups, table=TABLE):
    scatterers = group_scatterers(table, groups, CELL)
    return np.asarray(group_structure_factors(jnp.asarray(HKL), scatterers, crystal(), n_groups=4))


def make_linear():
    linear = LinearModel.from_structure_factors(
        FIXED, 0.1 * FIXED[::-1], structure_factors(GROUPS), OVERALL, SOLVENT_SCALE, s_squared=S_SQUARED
    )
    return dataclasses.replace(linear, displaced=DisplacedSolvent.from_structure_factors(SOLVENT, dtype="float64"))


def amplitude_of_groups(columns, delta_b=DELTA_B, more=0.0):
    """The formula of the linear model in numpy."""
    atoms = FIXED + more + Q @ (columns * np.exp(-delta_b[:, None] * S_SQUARED))
    return np.abs(OVERALL * (atoms + SOLVENT_SCALE * (0.1 * FIXED[::-1] + Q @ SOLVENT)))


def amplitude_of_parts(columns, occupancies):
    """With occupancies of the parts; the solvent of a group is shared out evenly among its residues."""
    atoms = FIXED + occupancies @ (columns * np.exp(-DELTA_B[GROUP_OF_PART][:, None] * S_SQUARED))
    shares = occupancies / np.array([2, 2, 1, 1])
    return np.abs(OVERALL * (atoms + SOLVENT_SCALE * (0.1 * FIXED[::-1] + shares @ SOLVENT[GROUP_OF_PART])))


def part_columns(axes=None):
    return Columns.computed(jnp.asarray(HKL), group_scatterers(TABLE, PARTS, CELL), crystal(), 4, axes=axes)


@pytest.fixture(scope="module")
def objective():
    with jax.enable_x64(True):
        linear = make_linear()
        observed = amplitude_of_groups(structure_factors(GROUPS)) * RANDOM.uniform(0.8, 1.2, 61)
        target = LeastSquares.from_data(observed, np.arange(61) % 9 == 0)
        yield Objective(linear, target, jnp.zeros((0, 4)))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(_columns, "chunk_size", lambda n_reflections, n_atoms: 16)
    for name in ("COMPUTED_CHUNK", "STORED_CHUNK"):
        monkeypatch.setattr(_columns, name, 16)


@pytest.mark.parametrize("by_mover", [False, True])
def test_every_column_against_finite_differences(objective, by_mover):
    """Parts by occupancy; groups, and parts, by B factor; parts by moving their atoms along x, y and z."""
    target = objective.target
    of_parts, of_groups = structure_factors(PARTS), structure_factors(GROUPS)
    q_parts = Q[GROUP_OF_PART]
    columns = [
        (amplitude_of_parts(of_parts, q_parts + h) - amplitude_of_parts(of_parts, q_parts - h)) / 2e-4
        for h in 1e-4 * np.eye(4)
    ]
    for h in 1e-3 * np.eye(4):
        columns.append(
            (amplitude_of_groups(of_groups, DELTA_B + h) - amplitude_of_groups(of_groups, DELTA_B - h)) / 2e-3
        )
    at_shifts = of_parts * np.exp(-DELTA_B[GROUP_OF_PART][:, None] * S_SQUARED)
    for h in 1e-3 * np.eye(4) if by_mover else ():
        plus, minus = (
            amplitude_of_groups(of_groups, more=q_parts @ (at_shifts * np.expm1(-sign * h[:, None] * S_SQUARED)))
            for sign in (1, -1)
        )
        columns.append((plus - minus) / 2e-3)
    for name in "xyz":
        for atoms in PARTS:
            move = np.zeros(len(TABLE))
            move[atoms] = 1e-4
            plus, minus = (
                amplitude_of_groups(structure_factors(GROUPS, TABLE.assign(**{name: TABLE[name] + sign * move})))
                for sign in (1, -1)
            )
            columns.append((plus - minus) / 2e-4)
    jacobian = np.stack(columns, 1)
    shifted = part_columns(jnp.asarray(np.array(CELL.frac.mat.tolist()).T))
    part, group, q, delta_b = map(jnp.asarray, (np.arange(4), GROUP_OF_PART, Q, DELTA_B))
    tiles = Tiles.whole(len(columns))
    found = extended_information(objective, shifted, part, group, q, delta_b, tiles, by_mover=by_mover)
    weight = np.asarray(target.weight)
    slope = 2 * weight * (amplitude_of_groups(of_groups) - np.asarray(target.observed))
    np.testing.assert_allclose(found.gradient, jacobian.T @ slope, rtol=1e-5, atol=1e-9)
    for matrix, row_weight in ((found.curvature, 2 * weight), (found.scores, slope**2)):
        wanted = jacobian.T @ (row_weight[:, None] * jacobian)
        size = np.sqrt(np.diag(wanted)) + 1e-30
        np.testing.assert_allclose(matrix / np.outer(size, size), wanted / np.outer(size, size), atol=2e-5)
        assert not np.any(np.asarray(matrix)[6])  # the group without atoms has no derivative by B


def test_values_of_changes_against_the_model_with_those_occupancies(objective):
    target = objective.target
    changes = np.concatenate([0.2 * np.eye(4), -Q[GROUP_OF_PART][None]])
    of_parts = structure_factors(PARTS)
    new = [amplitude_of_parts(of_parts, Q[GROUP_OF_PART] + change) for change in changes]
    wanted = [np.sum(np.asarray(target.weight) * (f - np.asarray(target.observed)) ** 2) for f in new]
    for columns in (part_columns(), part_columns().stored()):
        given = (objective, columns, *map(jnp.asarray, (GROUP_OF_PART, Q, DELTA_B)))
        found = values_of_changes(*given, jnp.asarray(changes)[None], jnp.arange(4)[None])
        np.testing.assert_allclose(found[0], wanted, rtol=1e-10)
        # the first two parts in one tile, the last in another; a number beyond the last fills up
        of_tiles = jnp.array([[[0.2, 0.0], [0.0, 0.2]], [[0.2, 7.0], [0.0, 7.0]]])
        found = values_of_changes(*given, of_tiles, jnp.array([[0, 1], [3, 4]]))
        np.testing.assert_allclose(found[:, 0], [wanted[0], wanted[3]], rtol=1e-10)
        np.testing.assert_allclose(found[0, 1], wanted[1], rtol=1e-10)


def test_columns_of_few_groups_in_each_chunk_are_those_with_zeros(objective, monkeypatch):
    monkeypatch.setattr(_columns, "SHORTEST_CHUNK", 16)
    part, q, delta_b, changes = map(jnp.asarray, (GROUP_OF_PART, Q, DELTA_B, RANDOM.standard_normal((2, 3, 2))))
    given, tiles = (jnp.arange(4), part, q, delta_b, Tiles.whole(8 + 4 + 12)), jnp.array([[0, 1], [3, 4]])
    found = {}
    for name in ("pieces", "dense"):
        columns = []
        for n_columns, owned in ((4, [[0, 1], [2], [2, 3]]), (4, [[0], [1, 3], [3]])):
            ends = [(0, 20), (20, 45), (45, 61)]
            values = np.arange(4 * n_columns * 61).reshape(4, n_columns, 61) % 7 + 1j
            pieces = [(np.array(own), values[:, own, a:b]) for own, (a, b) in zip(owned, ends, strict=True)]
            whole = np.zeros_like(values)
            for own, (a, b) in zip(owned, ends, strict=True):
                whole[:, own, a:b] = values[:, own, a:b]
            packed = Columns.from_pieces(pieces, n_columns)
            assert packed.source.shape[0] == 3
            assert packed.source.shape[2] < n_columns
            columns.append(packed if name == "pieces" else Columns.from_complex(jnp.asarray(whole)))
        nothing = DisplacedSolvent.nothing(4, 61, dtype=float)
        linear = dataclasses.replace(objective.linear, columns=columns[1].without_shifts(), displaced=nothing)
        own = dataclasses.replace(objective, linear=linear)
        f, direction = linear.amplitude_and_direction(q, delta_b)
        found[name] = [
            f,
            linear.amplitude(q),
            *(linear.gradient(direction, f, q, shift) for shift in (None, delta_b)),
            *(linear.curvature(direction, f, q, shift) for shift in (None, delta_b)),
            *extended_information(own, columns[0], *given, by_mover=True),
            values_of_changes(own, columns[0].without_shifts(), part, q, delta_b, changes, tiles),
        ]
    for packed, dense in zip(*found.values(), strict=True):
        np.testing.assert_allclose(packed, dense, rtol=1e-10, atol=1e-10 * np.abs(dense).max())
