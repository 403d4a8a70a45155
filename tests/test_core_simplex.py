import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_occupancy.core import OccupancyTensor


def slow_occupancies(logits, topology):
    """The formula of design section 2, entry by entry."""
    logits = np.asarray(logits, float)
    q = np.full(topology.n_collapsed, np.nan)

    def fill(entry):
        if not np.isnan(q[entry]):
            return q[entry]
        index = topology.set_of_entry[entry]
        if index < 0:
            q[entry] = 1 / (1 + np.exp(-logits[entry]))
            return q[entry]
        parent = topology.parent[index]
        whole = topology.whole[index] if parent < 0 else fill(parent)
        members = topology.members[topology.set_of_member == index]
        fixed = [m for m in members if not topology.refinable[m]]
        free = [m for m in members if topology.refinable[m]]
        for m in fixed:
            q[m] = whole / (1 + np.exp(-logits[m]))
        left = 1 - sum(1 / (1 + np.exp(-logits[m])) for m in fixed)
        weights = {m: np.exp(logits[m]) for m in free}
        total = sum(weights.values()) + (0 if topology.complete[index] else 1)
        for m in free:
            q[m] = whole * left * weights[m] / total
        return q[entry]

    for entry in range(topology.n_collapsed):
        fill(entry)
    return q


def example(dtype="float32", **kwargs):
    """Groups of unequal size, a complete pair with a fixed third, an incomplete pair, a nested set, independents."""
    values = np.array([0.5, 0.5, 0.5, 0.3, 0.3, 0.2, 0.4, 0.4, 0.4, 0.1, 1.0, 0.7, 0.25, 0.05, 0.05])
    sets = [[[0, 1, 2], [3, 4], [5]], [[6, 7, 8], [9]], [[12], [13, 14]]]
    mask = np.ones(15, bool)
    mask[[5, 10]] = False
    arguments = {
        "altloc_groups": sets,
        "complete": [True, False, True],
        "parents": [None, None, (0, 1)],
        "refinable_mask": mask,
        "dtype": dtype,
    }
    return OccupancyTensor(values, **(arguments | kwargs))


@st.composite
def cases(draw):
    """Arguments of a random topology: sets of two to four conformers, fixed members, nested sets; and logits."""
    sizes = draw(st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=4), min_size=1, max_size=3))
    sets, n = [], 0
    for conformers in sizes:
        sets.append([])
        for size in conformers:
            sets[-1].append(list(range(n, n + size)))
            n += size
    parents = [None] * len(sets)
    for s in range(1, len(sets)):
        if draw(st.booleans()):
            above = draw(st.integers(0, s - 1))
            parents[s] = (above, draw(st.integers(0, len(sets[above]) - 1)))
    n += draw(st.integers(0, 3))
    complete = draw(st.lists(st.booleans(), min_size=len(sets), max_size=len(sets)))
    mask = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    for conformers in sets:
        mask[conformers[0][0]] = True
    logits = draw(st.lists(st.floats(-30, 30), min_size=n, max_size=n))
    return n, sets, parents, complete, mask, logits


def wholes_of(parents):
    """Half of the sets without a parent share out a half."""
    return [0.5 if s % 2 == 0 and parent is None else 1.0 for s, parent in enumerate(parents)]


def build(case):
    n, sets, parents, complete, mask, logits = case
    arguments = {"altloc_groups": sets, "complete": complete, "parents": parents, "wholes": wholes_of(parents)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="start values")
        topology = OccupancyTensor(np.zeros(n), refinable_mask=mask, **arguments).topology
    # Three fixed shares of sigmoid(-3) = 0.05 leave room in every set.
    return topology, np.where(topology.refinable, logits[: topology.n_collapsed], -3.0)


def group_occupancies(logits, topology):
    return OccupancyTensor.from_logits(logits, topology).group_occupancies


def sums_of(q, topology):
    q = np.asarray(q)
    whole = np.where(topology.parent >= 0, q[topology.parent], topology.whole)
    return np.bincount(topology.set_of_member, weights=q[topology.members], minlength=topology.n_sets), whole


@given(cases())
@settings(max_examples=6, deadline=None)
def test_matches_the_formula_and_keeps_sums_and_bounds(case):
    topology, logits = build(case)
    with jax.enable_x64(True):
        q = np.asarray(group_occupancies(jnp.asarray(logits), topology))
    np.testing.assert_allclose(q, slow_occupancies(logits, topology), rtol=1e-12, atol=1e-300)
    assert np.all((q >= 0) & (q <= 1))
    total, whole = sums_of(q, topology)
    np.testing.assert_allclose(total[topology.complete], whole[topology.complete], atol=1e-12)
    assert np.all(total <= whole + 1e-12)


@pytest.mark.parametrize("complete", [True, False])
def test_sets_of_many_members(complete, x64):
    """Seven members, one of them fixed, next to a set of two, for a stack of models."""
    sets = [[[m] for m in range(7)], [[7], [8]]]
    mask = np.arange(9) != 3
    values = np.array([0.1] * 6 + [0.4, 0.1, 0.1])
    occ = OccupancyTensor(values, altloc_groups=sets, complete=[complete, False], refinable_mask=mask)
    shifts = jnp.linspace(-40, 40, 16).reshape(2, 8)
    several = occ.with_refinable_params(occ.refinable_params + shifts)
    expected = np.stack([slow_occupancies(logits, occ.topology) for logits in several.logits])
    np.testing.assert_allclose(several.group_occupancies, expected, rtol=1e-12, atol=1e-300)
    gradient = jax.jit(jax.grad(lambda t: jnp.sum(t() * jnp.arange(9.0))))
    stacked = gradient(several).logits
    for logits, row in zip(several.logits, stacked, strict=True):
        theta = logits[np.flatnonzero(mask)]
        np.testing.assert_allclose(gradient(occ.with_refinable_params(theta)).logits, row, atol=1e-12)


@given(cases(), st.lists(st.sampled_from([-1e4, 0.0, 1e4]), min_size=20, max_size=20))
@settings(max_examples=6, deadline=None)
def test_extreme_logits_give_no_nan_in_value_or_gradient(case, extremes):
    topology, logits = build(case)
    extreme = np.where(topology.refinable, extremes[: topology.n_collapsed], logits)
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.float64, 1e-12)):
        with jax.enable_x64(True):
            theta = jnp.asarray(extreme, dtype)
            q, pullback = jax.vjp(lambda theta: group_occupancies(theta, topology), theta)
            (gradient,) = pullback(jnp.arange(q.size, dtype=dtype))
        assert np.all(np.isfinite(q))
        assert np.all(np.isfinite(gradient))
        total, whole = sums_of(q, topology)
        np.testing.assert_allclose(total[topology.complete], whole[topology.complete], atol=tolerance)
        assert np.all(total <= whole + tolerance)


@given(cases())
@settings(max_examples=6, deadline=None)
def test_logits_are_the_inverse(case):
    topology, logits = build(case)
    _, sets, parents, complete, mask, _ = case
    logits = np.where(topology.refinable, np.clip(logits, -6, 6), logits)
    arguments = {"altloc_groups": sets, "complete": complete, "parents": parents, "refinable_mask": mask}
    arguments["wholes"] = wholes_of(parents)
    with jax.enable_x64(True):
        occ = OccupancyTensor.from_logits(jnp.asarray(logits), topology)
        elsewhere = occ.with_refinable_params(jnp.zeros(occ.get_refinable_count()))
        again = elsewhere.with_group_occupancies(occ.group_occupancies, margin=0)
        constructed = OccupancyTensor(np.asarray(occ()), margin=0, **arguments)
        for back in (again, constructed):
            assert back.topology == topology
            np.testing.assert_allclose(back.group_occupancies, occ.group_occupancies, atol=1e-12)


def test_forward_and_reverse_mode_agree_with_finite_differences(x64):
    occ = example("float64")
    theta = occ.logits + 0.1 * jnp.arange(occ.logits.size)

    def atoms(theta):
        return example("float64").with_refinable_params(theta)()

    theta = theta[np.flatnonzero(occ.refinable_mask)]
    forward, reverse = jax.jacfwd(atoms)(theta), jax.jacrev(atoms)(theta)
    np.testing.assert_allclose(forward, reverse, atol=1e-15)
    step = 1e-6
    numeric = np.stack(
        [(atoms(theta + step * e) - atoms(theta - step * e)) / (2 * step) for e in np.eye(theta.size)], 1
    )
    np.testing.assert_allclose(forward, numeric, atol=1e-9)
    hessian = jax.hessian(lambda t: jnp.sum(atoms(t) ** 3))(theta)
    gradient = jax.grad(lambda t: jnp.sum(atoms(t) ** 3))
    numeric = np.stack(
        [(gradient(theta + step * e) - gradient(theta - step * e)) / (2 * step) for e in np.eye(theta.size)]
    )
    np.testing.assert_allclose(hessian, numeric, atol=1e-8)


@pytest.mark.parametrize("mode", ["float32", "float64"])
def test_fixed_zeros_and_ones_are_exact(mode):
    with jax.enable_x64(True):
        q = OccupancyTensor([0.0, 1.0], requires_grad=False, dtype=mode)()
    assert q.tolist() == [0.0, 1.0]


def test_without_sets_it_is_sigmoid_of_take(dtype):
    occ = OccupancyTensor([0.2, 0.2, 0.9, 0.4], [[0, 1]], dtype=dtype)
    literal = jax.nn.sigmoid(jnp.take(occ.logits, occ.expansion_mask))
    assert np.array_equal(occ(), literal)
    weights = jnp.asarray([1.0, 2.0, 3.0, 4.0], dtype)

    def by_hand(logits):
        return jnp.sum(weights * jax.nn.sigmoid(jnp.take(logits, occ.expansion_mask)))

    gradient = jax.grad(lambda occ: jnp.sum(weights * occ()))(occ).logits
    np.testing.assert_allclose(gradient, jax.grad(by_hand)(occ.logits), rtol=1e-6)


def operations(jaxpr):
    """Names of all primitives of a program, those of the functions it calls included."""
    found = []
    for equation in jaxpr.eqns:
        inner = [value for value in equation.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
        found += [name for one in inner for name in operations(getattr(one, "jaxpr", one))]
        found += [] if inner else [equation.primitive.name]
    return found


def test_the_program_without_sets_is_a_gather_and_a_logistic():
    occ = OccupancyTensor([0.2, 0.2, 0.9, 0.4], [[0, 1]])
    program = jax.make_jaxpr(lambda occ: occ())(occ)
    # A gather wants its index as a column.
    assert operations(program.jaxpr) == ["broadcast_in_dim", "gather", "logistic"]


def test_nested_sums_are_exact_at_every_level(dtype):
    occ = example(dtype)
    q = np.asarray(occ())
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    assert abs(q[0] + q[3] + q[5] - 1) < tolerance
    assert abs(q[12] + q[13] - q[3]) < tolerance
    assert q[6] + q[9] <= 1
    np.testing.assert_allclose(q[5], 0.2, atol=tolerance)


def test_a_state_without_atoms_starts_at_the_sum_of_its_children():
    occ = OccupancyTensor(
        [0.3, 0.1, 0.25, 0.15, 0.6],
        altloc_groups=[[[], [4]], [[0], [1]], [[2], [3]]],
        parents=[None, (0, 0), (0, 0)],
    )
    np.testing.assert_allclose(occ(), [0.3, 0.1, 0.25, 0.15, 0.6], atol=1e-6)
    np.testing.assert_allclose(occ.group_occupancies[-1], 0.4, atol=1e-6)
    assert occ.collapsed_shape == (6,)
    moved = occ.with_refinable_params(occ.refinable_params.at[-1].add(1.0))
    q = moved()
    np.testing.assert_allclose([q[0] + q[1], q[2] + q[3]], [1 - q[4]] * 2, atol=1e-6)
    np.testing.assert_allclose(q[0] / q[1], 3, rtol=1e-5)


def test_a_childless_entry_without_atoms_is_what_its_siblings_leave():
    occ = OccupancyTensor([0.3, 0.1], altloc_groups=[[[], []], [[0], [1]]], parents=[None, (0, 0)])
    np.testing.assert_allclose(occ.group_occupancies, [0.3, 0.1, 0.4, 0.6], atol=1e-6)
    again = occ.with_occupancies([0.2, 0.1])
    np.testing.assert_allclose(again.group_occupancies, [0.2, 0.1, 0.3, 0.7], atol=1e-6)
