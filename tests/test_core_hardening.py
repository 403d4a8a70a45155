"""No NaN, no broken sum, no wrong gradient, whatever the topology, the logits and the precision."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_occupancy import OccupancyTensor, refinable_only
from jax_occupancy.core import Topology

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
EXTREMES = [-1e4, -88.8, -1.0, 0.0, 1.0, 88.8, 1e4]
# Every topology is compiled anew, which is what these tests cost: few topologies, many logits for each.
FEW = settings(max_examples=4, deadline=None)


@st.composite
def shapes(draw, *, all_fixed=True):
    """Arguments of a topology: sets of two to four members that nest, may be partly empty, have fixed members."""
    sets: list[list[list[int]]] = []
    parents: list[tuple[int, int] | None] = []
    n = 0
    for s in range(draw(st.integers(1, 3))):
        sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
        sets.append([list(range(n + sum(sizes[:m]), n + sum(sizes[: m + 1]))) for m in range(len(sizes))])
        n += sum(sizes)
        above = draw(st.integers(-1, s - 1))
        parents.append(None if above < 0 else (above, draw(st.integers(0, len(sets[above]) - 1))))
    for above, member in [parent for parent in parents if parent][:1]:
        if draw(st.booleans()):
            sets[above][member] = []  # a state without atoms
    n += draw(st.integers(0, 2))
    mask = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    if not all_fixed:
        for conformers in sets:
            mask[next(atoms for atoms in conformers if atoms)[0]] = True
    complete = draw(st.lists(st.booleans(), min_size=len(sets), max_size=len(sets)))
    return n, sets, mask, {"complete": complete, "parents": parents}


def build(shape) -> Topology:
    """The topology, outside of the strategy: checks of types draw random numbers of their own."""
    n, sets, mask, options = shape
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="start values")
        topology = OccupancyTensor(np.zeros(n), altloc_groups=sets, **options).topology
    # A mask of its own, which may fix all members of a set: the constructor would ask for values that fit it.
    moving = np.bincount(topology.expansion_index, weights=mask, minlength=topology.n_collapsed) > 0
    return topology.with_refinable(moving | (topology.atom_counts == 0))


def evaluated(logits, topology):
    """Occupancies of the entries and of the atoms."""
    occ = OccupancyTensor.from_logits(logits, topology)
    return occ.group_occupancies, occ()


def must_hold(q, topology, tolerance):
    """Bounds, sums, and nothing that is no number, for each model of a stack."""
    q = np.asarray(q, np.float64).reshape(-1, topology.n_collapsed)
    assert np.all(np.isfinite(q))
    assert np.all((q >= 0) & (q <= 1 + tolerance))
    refined = np.bincount(topology.set_of_member, topology.refinable[topology.members], topology.n_sets) > 0
    full = topology.complete & refined
    for model in q:
        whole = np.where(topology.parent >= 0, model[topology.parent], 1.0)
        total = np.bincount(topology.set_of_member, weights=model[topology.members], minlength=topology.n_sets)
        assert np.all(total <= whole + tolerance)
        np.testing.assert_allclose(total[full], whole[full], rtol=0, atol=tolerance)


def with_fixed(topology, stack):
    """Fixed members get logits whose shares leave room, as the constructor sees to."""
    return np.where(topology.refinable, stack, -3.0)


@FEW
@given(shapes(), st.sampled_from(["float32", "float64"]), st.integers(0, 99))
def test_any_logits_give_numbers_sums_and_bounds(shape, dtype, seed):
    topology = build(shape)
    random = np.random.default_rng(seed)
    size = (64, topology.n_collapsed)
    stack = np.where(random.uniform(size=size) < 0.5, random.choice(EXTREMES, size), random.uniform(-1e4, 1e4, size))

    @jax.jit
    def evaluate(logits):
        q, pullback = jax.vjp(lambda x: evaluated(x, topology)[1], logits)
        tangent = jax.jvp(lambda x: evaluated(x, topology)[1], (logits,), (jnp.ones_like(logits),))[1]
        return evaluated(logits, topology)[0], q, pullback(jnp.cos(q))[0], tangent

    with jax.enable_x64(dtype == "float64"):
        groups, q, gradient, tangent = evaluate(jnp.asarray(with_fixed(topology, stack), dtype))
        assert {x.dtype for x in (groups, q, gradient, tangent)} == {np.dtype(dtype)}
    must_hold(groups, topology, TOLERANCE[dtype])
    np.testing.assert_array_equal(q, np.asarray(groups)[:, topology.expansion_index])
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(tangent))


@FEW
@given(shapes(), st.integers(0, 99))
def test_gradients_are_those_of_finite_differences(shape, seed):
    topology = build(shape)
    random = np.random.default_rng(seed)
    theta = with_fixed(topology, random.uniform(-4, 4, topology.n_collapsed))
    weights = random.uniform(-1, 1, topology.n_atoms)
    step = 1e-5 * np.eye(topology.n_collapsed)
    with jax.enable_x64(True):
        loss = jax.jit(lambda x: evaluated(x, topology)[1] @ weights)
        differences = (loss(theta + step) - loss(theta - step)) / 2e-5
        gradient = jax.jit(jax.grad(lambda x: evaluated(x, topology)[1] @ weights))(theta)
        # The third derivatives of a share are below 1, of a product of three nested ones below 100; step² is 1e-10.
        np.testing.assert_allclose(gradient, differences, rtol=0, atol=1e-8)


@FEW
@given(shapes(all_fixed=False), st.sampled_from(["float32", "float64"]), st.sampled_from([0.0, 1e-4]))
def test_new_values_in_the_corners_stay_numbers(shape, dtype, margin):
    """At zeros and ones of occupancies the logarithms of the inverse are infinite."""
    topology = build(shape)
    corners = np.random.default_rng(0).choice([0.0, 1e-30, 0.5, 1.0], size=(64, topology.n_collapsed))
    with jax.enable_x64(dtype == "float64"):
        start = jnp.asarray(with_fixed(topology, np.zeros_like(corners)), dtype)
        occ = OccupancyTensor.from_logits(start, topology).with_group_occupancies(corners, margin=margin)
        assert np.all(np.isfinite(occ.logits))
        must_hold(occ.group_occupancies, topology, TOLERANCE[dtype])


def example(dtype):
    """Everything at once: groups of unequal size, a fixed member, an incomplete set, a nested one, single atoms."""
    return OccupancyTensor(
        [0.5, 0.5, 0.5, 0.3, 0.3, 0.2, 0.4, 0.4, 0.4, 0.1, 1.0, 0.7, 0.25, 0.05, 0.05],
        altloc_groups=[[[0, 1, 2], [3, 4], [5]], [[6, 7, 8], [9]], [[12], [13, 14]]],
        complete=[True, False, True],
        parents=[None, None, (0, 1)],
        refinable_mask=~np.isin(np.arange(15), [5, 10]),
        dtype=dtype,
    )


def loss(occ):
    return jnp.sum(jnp.linspace(0, 1, 15, dtype=occ.dtype) * occ() ** 2)


KINDS = {
    "sets": example,
    "no sets": lambda dtype: OccupancyTensor(np.linspace(0, 1, 15), [[0, 1, 2], [5, 6]], dtype=dtype),
    "raw": lambda dtype: OccupancyTensor(np.linspace(0, 1, 15), [[0, 1]], use_sigmoid=False, dtype=dtype),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("x64", [False, True])
def test_strict_promotion_of_types(kind, x64):
    """Single precision stays single where JAX' default is double, and nothing relies on implicit promotion.

    Types are known when a program is traced, so nothing is compiled.
    """
    optimizer = refinable_only(optax.sgd(0.1))

    def program(occ):
        value, gradient = jax.value_and_grad(loss)(occ)
        tangent = jax.jvp(loss, (occ,), (gradient,))[1]
        updates, _ = optimizer.update(gradient, optimizer.init(occ), occ)
        new = occ.with_occupancies(occ()).set_group_occupancy(0, 0.5).clamp(0.1, 0.9)
        new = new.with_group_occupancies(new.group_occupancies).with_refinable_params(new.refinable_params)
        new = new.freeze(np.arange(15) == 0).unfreeze()
        return value, gradient, tangent, occ.group_occupancies, optax.apply_updates(occ, updates), new

    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        for dtype in ("float32", "float64")[: 1 + x64]:
            outputs = jax.tree.leaves(jax.eval_shape(program, KINDS[kind](dtype)))
            assert {leaf.dtype for leaf in outputs} == {np.dtype(dtype)}


def test_debug_nans_finds_none():
    """No NaN is made on the way either, not even one that a `where` throws away: nothing is compiled as a whole."""
    occ = example("float32")
    with jax.debug_nans(True), jax.disable_jit():
        for scale in (1.0, 1e4):
            gradient = jax.grad(loss)(jax.tree.map(lambda leaf, scale=scale: leaf * scale, occ))
            assert np.all(np.isfinite(gradient.logits))


def test_debug_nans_finds_none_in_an_optimisation_that_runs_to_the_bounds():
    optimizer = refinable_only(optax.adam(3.0))

    @jax.jit
    def step(occ, state):
        updates, state = optimizer.update(jax.grad(loss)(occ), state, occ)
        return optax.apply_updates(occ, updates), state

    with jax.debug_nans(True):
        occ = example("float32")
        state = optimizer.init(occ)
        for _ in range(50):
            occ, state = step(occ, state)
    must_hold(occ.group_occupancies, occ.topology, TOLERANCE["float32"])
    assert np.min(occ()) < 1e-6


def test_the_largest_finite_logits():
    gradient = jax.jit(jax.grad(loss))
    for huge in np.finfo(np.float32).max, -np.finfo(np.float32).max:
        occ = example("float32")
        far = OccupancyTensor.from_logits(jnp.where(occ.refinable_mask, huge, occ.logits), occ.topology)
        must_hold(far.group_occupancies, occ.topology, TOLERANCE["float32"])
        assert np.all(np.isfinite(gradient(far).logits))
