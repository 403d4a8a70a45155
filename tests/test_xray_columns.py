import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_xray_structure_factors import group_structure_factors, make_crystal, make_hkl, make_table

from jax_occupancy.xray import (
    Columns,
    Crystal,
    along,
    group_scatterers,
)

pytestmark = pytest.mark.usefixtures("x64")
# Two chunks where they are stored, and five where they are computed, each in pieces; the last one is filled up.
N, N_ATOMS = 4500, 300
GROUPS = [[0, 3, 4], [1], list(range(5, N_ATOMS)), []]
Q = np.array([0.3, 0.8, 0.5, 0.9])


CELL, SPACEGROUP = make_crystal("P 1 21 1")
TABLE, HKL = make_table(CELL, n=N_ATOMS), make_hkl(N)


def make_columns(table=TABLE, axes=None):
    scatterers = group_scatterers(table, GROUPS, CELL)
    crystal = Crystal.from_gemmi(CELL, SPACEGROUP)
    return Columns.computed(jnp.asarray(HKL), scatterers, crystal, n_groups=4, axes=axes)


def make_shifted():
    return make_columns(axes=jnp.asarray(np.array(CELL.frac.mat.tolist()).T))


@pytest.fixture(scope="module")
def direct():
    with jax.enable_x64(True):
        crystal = Crystal.from_gemmi(CELL, SPACEGROUP)
        return np.asarray(
            group_structure_factors(jnp.asarray(HKL), group_scatterers(TABLE, GROUPS, CELL), crystal, n_groups=4)
        )


def slow_products(columns, q, row):
    """Sum over groups and a product per reflection, one at a time."""
    total, rows = np.zeros(columns.shape[1], complex), 0.0
    for h in range(columns.shape[1]):
        for g in range(columns.shape[0]):
            total[h] += q[g] * columns[g, h]
            rows += row[h] * columns[g, h].real
    return total, rows


@pytest.mark.parametrize("kind", ["from complex", "stored", "computed"])
def test_all_kinds_hand_out_the_same_columns(kind, direct):
    columns = {
        "from complex": lambda: Columns.from_complex(jnp.asarray(direct)),
        "stored": lambda: make_columns().stored(),
        "computed": make_columns,
    }[kind]()
    assert (columns.n_groups, columns.n_reflections) == (4, N)
    assert columns.is_stored == (kind != "computed")
    assert len(columns.source) == (5 if kind == "computed" else 2)
    row = jnp.linspace(0.5, 2.0, N)
    wanted, product = slow_products(direct, Q, np.asarray(row))
    pair = columns.sum(jnp.asarray(Q))
    np.testing.assert_allclose(pair[0] + 1j * pair[1], wanted, atol=1e-9)

    def step(carry, own, block, row_part, nothing):
        assert nothing is None
        return carry + jnp.sum(block[:, 0] * row_part), block

    carry, whole = columns.fold(step, jnp.array(0.0), row, None)
    assert float(carry) == pytest.approx(product, rel=1e-9)
    np.testing.assert_allclose(whole[:, 0] + 1j * whole[:, 1], direct, atol=1e-9)


def test_under_jit_vmap_and_both_derivatives(direct):
    for columns in (make_columns().stored(), make_columns()):
        q = jnp.asarray(Q)
        batch = jnp.stack([q, 1 - q])
        wanted = np.asarray(batch) @ direct
        pairs = jax.jit(jax.vmap(Columns.sum, (None, 0)))(columns, batch)
        np.testing.assert_allclose(pairs[:, 0] + 1j * pairs[:, 1], wanted, atol=1e-9)

        def square(q, columns=columns):
            return jnp.sum(columns.sum(q) ** 2)

        by_hand = 2 * np.real(direct.conj() @ (Q @ direct))
        np.testing.assert_allclose(jax.grad(square)(q), by_hand, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(jax.jvp(square, (q,), (q,))[1], by_hand @ Q, rtol=1e-9)


def test_stored_columns_give_back_what_was_stored(direct):
    pairs = Columns.from_complex(jnp.asarray(direct)).fold(lambda carry, own, block: (carry, block), None)[1]
    np.testing.assert_array_equal(pairs[:, 0] + 1j * pairs[:, 1], direct)


def test_columns_kept_in_single_precision_are_summed_in_double(direct):
    kept = Columns.from_complex(jnp.asarray(direct)).stored(np.float32)
    assert kept.dtype == np.float32
    q = jnp.linspace(0.1, 0.9, len(direct))
    total = kept.sum(q)
    assert total.dtype == np.float64
    wanted = np.asarray(q) @ direct.astype(np.complex64).astype(complex)
    np.testing.assert_allclose(total[0] + 1j * total[1], wanted, rtol=1e-12)


def test_shifts_against_moved_atoms(direct):
    step = 1e-4
    columns = make_shifted()
    take = lambda carry, own, block: (carry, block)  # noqa: E731
    values, *shifts = columns.fold(take, None)[1]
    np.testing.assert_allclose(values[:, 0] + 1j * values[:, 1], direct, atol=1e-9)
    crystal = Crystal.from_gemmi(CELL, SPACEGROUP)
    for axis, name in enumerate("xyz"):
        plus, minus = (
            np.asarray(
                group_structure_factors(
                    jnp.asarray(HKL),
                    group_scatterers(TABLE.assign(**{name: TABLE[name] + sign * step}), GROUPS, CELL),
                    crystal,
                    n_groups=4,
                )
            )
            for sign in (1, -1)
        )
        numeric = (plus - minus) / (2 * step)
        np.testing.assert_allclose(shifts[axis][:, 0] + 1j * shifts[axis][:, 1], numeric, atol=1e-4)
    again = columns.stored()
    np.testing.assert_allclose(again.fold(take, None)[1], jnp.stack([values, *shifts]), atol=1e-10)
    for bare in (again.without_shifts(), columns.without_shifts()):
        np.testing.assert_allclose(bare.fold(take, None)[1], values, atol=1e-10)


def test_along_is_the_component_of_each_pair():
    random = np.random.default_rng(0)
    block, direction = random.standard_normal((3, 2, 5)), random.standard_normal((2, 5))
    wanted = [[block[g, :, h] @ direction[:, h] for h in range(5)] for g in range(3)]
    np.testing.assert_allclose(along(jnp.asarray(direction), jnp.asarray(block)), wanted, rtol=1e-12)


def test_no_groups_and_fewer_reflections_than_a_chunk():
    none = Columns.from_complex(jnp.zeros((0, 5), complex))
    assert none.sum(jnp.zeros(0)).tolist() == [[0.0] * 5] * 2
    cell = gemmi.UnitCell(10, 10, 10, 90, 90, 90)
    one = Columns.computed(
        jnp.array([[1, 0, 0]]),
        group_scatterers(TABLE.iloc[:1].assign(x=0.0, y=0.0, z=0.0), [[0]], cell),
        Crystal.from_gemmi(cell, gemmi.SpaceGroup("P 1")),
        1,
    )
    np.testing.assert_allclose(one.sum(jnp.ones(1)), one.stored().sum(jnp.ones(1)), atol=1e-12)
