import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_occupancy.core import _gather
from jax_occupancy.core._gather import Index, gather

RNG = np.random.default_rng(0)


def transposed(values, index):
    """What the gather becomes in reverse."""
    entries = jax.ShapeDtypeStruct((*values.shape[:-1], index.n_entries), values.dtype)
    return jax.linear_transpose(lambda x: gather(x, index), entries)(values)[0]


def sums(values, index):
    """The same as a loop of numpy, in float64."""
    out = np.zeros((index.n_entries, *values.shape[:-1]))
    np.add.at(out, index.entries, np.moveaxis(np.asarray(values, float), -1, 0))
    return np.moveaxis(out, 0, -1)


@pytest.fixture
def rows(monkeypatch):
    """Sum in rows however few the readers are."""
    monkeypatch.setattr(_gather, "FEW", 1)


# Long lists, lists of one, entries without readers, equal lists, scattered lists, one reader, no reader.
INDICES = {
    "residues": Index(np.repeat(np.arange(9), [1, 4, 14, 7, 7, 40, 3, 1, 2]), 9),
    "one group": Index(np.zeros(300, int), 1),
    "two copies": Index(np.repeat([0, 1], 150), 2),
    "equal groups": Index(np.arange(60) // 4, 15),
    "alternating conformers": Index(np.array([0, 1] * 9 + [2, 3] * 8 + [4]), 5),
    "unread entries": Index(np.repeat([1, 4, 5], [3, 2, 5]), 8),
    "independent": Index(np.arange(7), 7),
    "shuffled": Index(RNG.permutation(50), 50),
    "random": Index(RNG.integers(0, 30, 200), 40),
    "one giant among singles": Index(np.concatenate([np.zeros(30, int), np.arange(1, 400)]), 400),
    "single": Index(np.zeros(1, int), 1),
    "nothing": Index(np.zeros(0, int), 3),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_reads_and_sums(index, rows):
    values = jnp.asarray(RNG.normal(size=index.n_entries), jnp.float32)
    assert np.array_equal(gather(values, index), np.asarray(values)[index.entries])
    readers = jnp.asarray(RNG.normal(size=(2, index.entries.size)), jnp.float32)
    # At most 400 terms around one: far below 400 roundings of the largest partial sum.
    np.testing.assert_allclose(transposed(readers, index), sums(readers, index), atol=2e-5)
    np.testing.assert_allclose(transposed(readers[1], index), sums(readers[1], index), atol=2e-5)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 2))
@settings(max_examples=6, deadline=None)
def test_sums_of_any_index_are_exact_for_whole_numbers(entries, unread):
    index = Index(np.array(entries), max(entries) + 1 + unread)
    readers = np.arange(1.0, len(entries) + 1, dtype=np.float32)
    found = jax.jit(lambda readers: _gather._sum_readers(readers, index))(readers)
    assert np.array_equal(found, sums(readers, index))


def test_a_value_that_is_not_finite_stays_in_its_entry(rows):
    index = INDICES["residues"]
    readers = jnp.ones(index.entries.size).at[7].set(jnp.nan)
    assert np.flatnonzero(np.isnan(transposed(readers, index))).tolist() == [2]


def test_forward_and_reverse_mode_vmap_and_second_derivatives(x64, rows):
    index = INDICES["random"]
    matrix = np.eye(index.n_entries)[index.entries]
    x = jnp.asarray(RNG.normal(size=index.n_entries))

    def f(x):
        return jnp.sum(jnp.sin(gather(x, index)) * jnp.arange(200.0))

    np.testing.assert_array_equal(jax.jacfwd(lambda x: gather(x, index))(x), matrix)
    np.testing.assert_array_equal(jax.jacrev(lambda x: gather(x, index))(x), matrix)
    expected = -(matrix.T * (np.sin(matrix @ np.asarray(x)) * np.arange(200))) @ matrix
    np.testing.assert_allclose(jax.hessian(f)(x), expected, atol=1e-10)
    batch = jnp.stack([x, 2 * x], axis=1)
    np.testing.assert_array_equal(
        jax.vmap(lambda x: gather(x, index), in_axes=1)(batch), np.asarray(batch).T[:, index.entries]
    )


def test_an_index_is_hashed_by_its_content():
    one, same, other = Index(np.arange(3), 3), Index(np.arange(3), 3), Index(np.arange(3), 4)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert "3 of 3" in repr(one)
