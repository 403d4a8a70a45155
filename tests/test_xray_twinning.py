"""Twins: laws, orbits of reflections, the linear model of a twin, and fractions."""

import json
import subprocess

import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_xray_structure_factors import cctbx_python

from jax_occupancy.xray import (
    LinearModel,
    MaximumLikelihood,
    TwinnedModel,
    TwinOrbits,
    fit_fractions,
    own_share,
    twin_laws,
)

# Space groups and cells: merohedral, pseudo-merohedral, of a centred lattice, and without a law.
CRYSTALS = [
    ("P 3", (80, 80, 60, 90, 90, 120)),
    ("P 4", (80, 80, 60, 90, 90, 90)),
    ("P 63", (80, 80, 60, 90, 90, 120)),
    ("P 1 21 1", (50, 60, 70, 90, 90.3, 90)),
    ("P 1 21 1", (50, 60, 50, 90, 105, 90)),
    ("C 2 2 21", (50, 86.6, 70, 90, 90, 90)),
    ("C 1 2 1", (86.6, 50, 60, 90, 90, 90)),
    ("R 3 :H", (60, 60, 90, 90, 90, 120)),
    ("P 2 3", (50, 50, 50, 90, 90, 90)),
    ("P 1", (40, 50, 60, 90, 90, 90)),
    ("P 21 21 21", (50, 60, 70, 90, 90, 90)),
]


CCTBX = """
import json, sys
from cctbx import crystal, miller, sgtbx
from mmtbx.scaling.twin_analyses import twin_laws
found = []
for name, cell in json.load(sys.stdin):
    symmetry = crystal.symmetry(unit_cell=cell, space_group_symbol=name)
    some = miller.build_set(symmetry, anomalous_flag=False, d_min=6)
    laws = twin_laws(some.array(data=some.d_spacings().data())).operators
    found.append([law.operator.r().as_hkl() for law in laws])
json.dump(found, sys.stdout)
"""


def crystal(name, cell):
    return {"cell": gemmi.UnitCell(*cell), "spacegroup": gemmi.SpaceGroup(name)}


def indices(cell, spacegroup):
    return gemmi.make_miller_array(cell, spacegroup, 8.0, unique=True)


@pytest.mark.parametrize(
    ("name", "cell", "wanted"), [(*one, n) for one, n in zip(CRYSTALS, (3, 1, 1, 1, 1), strict=False)]
)
def test_number_of_laws(name, cell, wanted):
    assert len(twin_laws(**crystal(name, cell))) == wanted


@pytest.mark.parametrize("name", ["P 1", "P 21 21 21", "I 21 21 21", "F 2 2 2"])
def test_laws_turn_a_lattice_that_is_nearly_cubic_into_itself(name):
    """Of a threefold law gemmi asks the axis alone, and the lattice may bend beside it."""
    for b, c in np.random.default_rng(0).uniform(50, 55, (100, 2)):
        of = crystal(name, (50, b, c, 90, 90, 90))
        for law in twin_laws(**of):
            assert len(TwinOrbits.of(np.array([[2, 4, 6]]), [law], **of).domains) == 2


def test_laws_are_those_of_cctbx():
    run = subprocess.run(
        [cctbx_python(), "-c", CCTBX], input=json.dumps(CRYSTALS), capture_output=True, text=True, check=True
    )
    for (name, cell), theirs in zip(CRYSTALS, json.loads(run.stdout), strict=True):
        of = crystal(name, cell)
        hkl, ours = indices(**of), twin_laws(**of)

        def seen(law, hkl=hkl, of=of):
            # what the law does to the intensities, the same for laws that are the same
            orbits = TwinOrbits.of(hkl, [law], **of)
            return np.nan_to_num(orbits.powers(np.arange(len(hkl), dtype=float))[1], nan=-1).round(6)

        missing = [law for law in theirs if not any(np.array_equal(seen(law), seen(one)) for one in ours)]
        assert not missing, (name, missing, ours)


@pytest.mark.parametrize(("name", "cell"), CRYSTALS[:9])
def test_powers_are_those_of_turned_reflections(name, cell):
    """By a dictionary of all symmetry mates, with the mean over equivalent laws."""
    of = crystal(name, cell)
    hkl, laws = indices(**of), twin_laws(**of)
    square = np.random.default_rng(1).uniform(1, 9, len(hkl))
    rotations = [np.array(op.rot) for op in of["spacegroup"].operations().sym_ops]
    known = {}
    for index, value in zip(hkl, square, strict=True):
        for rotation in rotations:
            for sign in (1, -1):
                known[tuple((sign * index @ rotation // gemmi.Op.DEN).tolist())] = value
    orbits = TwinOrbits.of(hkl, laws, **of)
    found = orbits.powers(square)
    np.testing.assert_array_equal(found[0], square)
    np.testing.assert_array_equal(orbits.hkl[orbits.rows], hkl)
    for law, powers in zip(laws, found[1:], strict=True):
        turn = np.array(gemmi.parse_triplet(law, "h").rot)
        mates = [
            [tuple((index @ r // gemmi.Op.DEN @ turn // gemmi.Op.DEN).tolist()) for r in rotations] for index in hkl
        ]
        expected = [np.mean([known.get(mate, np.nan) for mate in some]) for some in mates]
        np.testing.assert_allclose(powers, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("h,k", "is no twin law"),
        ("nonsense", "is no twin law"),
        ("k,l,h", "lattice into itself"),
        ("-h,-k,l", "is a symmetry of"),
        ("-h,-k,-l", "is a symmetry of"),
        ("k,h,-l;-h,k,-l", "are the same law in P 4"),
    ],
)
def test_wrong_laws_are_refused(law, message):
    of = crystal("P 4", (80, 80, 60, 90, 90, 90))
    with pytest.raises(ValueError, match=message):
        TwinOrbits.of(np.array([[1, 2, 3]]), law.split(";"), **of)


def random_twin(size, n_orbits, n_groups=3, seed=0):
    """A twin whose orbits have some members, of two domains that are no permutations."""
    random, n = np.random.default_rng(seed), size * n_orbits
    part = lambda *shape: random.normal(size=shape) + 1j * random.normal(size=shape)  # noqa: E731
    model = LinearModel.from_structure_factors(
        2 * part(n), part(n), part(n_groups, n), random.uniform(1, 2, n), random.uniform(0, 0.4, n),
        s_squared=random.uniform(0, 0.1, n),
    )  # fmt: skip
    domains = np.stack([np.eye(size), random.dirichlet(np.ones(size), size)])
    return model, TwinnedModel.of(model, domains, [0.7, 0.3]), domains


@pytest.mark.parametrize(("size", "n_orbits"), [(2, 9), (3, 7000), (6, 5)])
def test_twinned_model(size, n_orbits):
    """Amplitudes by a loop, derivatives by automatic differentiation, over one chunk and over several."""
    single, twin, domains = random_twin(size, n_orbits)
    q, delta_b = jnp.array([0.3, 0.6, 0.2]), jnp.array([2.0, -1.0, 3.0])
    mixing = 0.7 * domains[0] + 0.3 * domains[1]
    square = np.abs(np.asarray(single(q, delta_b))).reshape(n_orbits, size) ** 2
    expected = np.sqrt(np.stack([orbit @ mixing.T for orbit in square[:50]])).reshape(-1)
    amplitude, direction = twin.amplitude_and_direction(q, delta_b)
    np.testing.assert_allclose(amplitude[: expected.size], expected, rtol=1e-5)
    np.testing.assert_allclose(twin.powers(q, delta_b).T @ jnp.array([0.7, 0.3]), amplitude**2, rtol=1e-4)

    def of_all(parameters):
        return twin.amplitude(parameters[:3], parameters[3:])

    parameters = jnp.concatenate([q, delta_b])
    jacobian = jax.jacfwd(of_all)(parameters)
    weight = jnp.asarray(np.random.default_rng(2).uniform(size=amplitude.size), amplitude.dtype)
    np.testing.assert_allclose(twin.gradient(direction, weight, q, delta_b), jacobian.T @ weight, rtol=2e-4)
    gauss_newton = (jacobian * weight[:, None]).T @ jacobian
    scale = float(jnp.abs(gauss_newton).max())
    np.testing.assert_allclose(twin.curvature(direction, weight, q, delta_b), gauss_newton, atol=2e-5 * scale)


def test_a_twin_of_fraction_zero_is_the_single_crystal():
    single, twin, _ = random_twin(2, 40)
    twin, q = twin.with_fractions([1.0, 0.0]), jnp.array([0.3, 0.6, 0.2])
    np.testing.assert_allclose(twin.amplitude(q), single.amplitude(q), rtol=1e-6)
    np.testing.assert_allclose(own_share(twin.powers(q), twin.fractions), 1, rtol=1e-6)


def test_fractions_are_found_with_their_uncertainty():
    """The mean square of (found − true)/esd over many data sets is one."""
    random, z = np.random.default_rng(3), []
    for _ in range(60):
        powers = random.exponential(size=(2, 400)) * 100
        amplitude = np.sqrt(np.array([0.8, 0.2]) @ powers)
        observed = np.abs(amplitude + random.normal(size=400))
        target = MaximumLikelihood.from_arrays(
            observed, shrinkage=np.ones(400), variance=np.full(400, 1.0), centric=np.ones(400, bool),
            free=np.zeros(400, bool),
        )  # fmt: skip
        (_, fraction), (_, esd), _ = fit_fractions(target, powers, [0.5, 0.5])
        z.append((fraction - 0.2) / esd)
    assert 0.8 < np.sqrt(np.mean(np.square(z))) < 1.25


@pytest.mark.parametrize("second", [[4.0, 9.0, 1.0], [4.0 + 1e-9, 9.0, 1.0], [0.0, 0.0, 0.0]])
def test_domains_that_do_not_differ(second):
    """Or have no intensity at all: there are fractions, whatever they are."""
    target = MaximumLikelihood.from_arrays(
        [2.0, 3.0, 1.0], shrinkage=np.ones(3), variance=np.ones(3), centric=np.zeros(3, bool), free=np.zeros(3, bool)
    )
    fractions, _, value = fit_fractions(target, np.array([[4.0, 9.0, 1.0], second]), [0.5, 0.5])
    assert sum(fractions) == pytest.approx(1)
    assert np.isfinite(value)
