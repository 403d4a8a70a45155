import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import (
    Scale,
    fit_scale,
    fixed_structure_factors,
    r_factor,
    read_sites,
    solvent_structure_factors,
)

CELLS = {
    "P 1": (31, 37, 43, 80, 95, 103),
    "C 1 2 1": (60, 32, 41, 90, 105, 90),
    "P 21 21 21": (30, 40, 50, 90, 90, 90),
    "P 43 21 2": (50, 50, 70, 90, 90, 90),
    "P 61": (50, 50, 60, 90, 90, 120),
    "R 3:H": (60, 60, 50, 90, 90, 120),
    "R 3:R": (45, 45, 45, 80, 80, 80),
    "I 2 3": (70, 70, 70, 90, 90, 90),
}
FREE_TENSORS = dict(zip(CELLS, (5, 3, 2, 1, 1, 1, 1, 0), strict=True))


def allowed_tensor(cell, spacegroup, rng):
    """A random traceless tensor on Cartesian axes that the rotations leave as it is: the mean of what they make."""
    orth, frac = (np.array(matrix.mat.tolist()) for matrix in (cell.orth, cell.frac))
    rotations = [orth @ (np.array(op.rot) / op.DEN) @ frac for op in spacegroup.operations().sym_ops]
    b = rng.normal(size=(3, 3))
    b = np.mean([rotation @ (b + b.T) @ rotation.T for rotation in rotations], axis=0)
    return 4 * (b - np.trace(b) * np.eye(3) / 3)


def synthetic(name="P 21 21 21", d_min=2.0, noise=0.0, seed=4):
    """Random structure factors, with scales that straight lines between shells can nearly follow."""
    cell, spacegroup = gemmi.UnitCell(*CELLS[name]), gemmi.SpaceGroup(name)
    rng = np.random.default_rng(seed)
    hkl = rng.permutation(gemmi.make_miller_array(cell, spacegroup, d_min))
    vectors = hkl @ np.array(cell.frac.mat.tolist())
    s2 = np.sum(vectors**2, axis=1)
    parts = rng.normal(size=(4, len(hkl)))
    calculated = 200 * np.exp(-3 * s2) * (parts[0] + 1j * parts[1])
    mask = 300 * np.exp(-12 * s2) * (parts[2] + 1j * parts[3])
    b = allowed_tensor(cell, spacegroup, rng)
    overall = 2.5 * np.exp(-s2 - np.einsum("ni,ij,nj->n", vectors, b, vectors) / 4)
    solvent = np.maximum(0.4 - 3 * s2, 0)
    amplitude = abs(overall * (calculated + solvent * mask)) * np.exp(noise * rng.normal(size=len(hkl)))
    free = rng.random(len(hkl)) < 0.1
    data = {"hkl": hkl, "amplitude": amplitude, "free": free}
    model = {"calculated": calculated, "mask": mask, "cell": cell, "spacegroup": spacegroup}
    return data, model, overall, solvent, b


@pytest.mark.parametrize("name", CELLS)
def test_known_scales_come_back(name):
    data, model, overall, solvent, b = synthetic(name)
    scale = fit_scale(**data, **model)
    np.testing.assert_allclose(scale.overall, overall, rtol=0.01)
    # the start of k_mask = 0 falls between two nodes
    np.testing.assert_allclose(scale.solvent, solvent, atol=0.03)
    found = np.array(scale.b_anisotropic)
    np.testing.assert_allclose(found, b[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]], atol=0.1)
    assert r_factor(data["amplitude"], abs(scale.apply(model["calculated"], model["mask"])), data["free"])[0] < 0.005


@pytest.mark.parametrize("name", CELLS)
def test_symmetry_equivalent_reflections_have_the_same_scale(name):
    """Whatever the data look like: a tensor that symmetry forbids is not fitted."""
    data, model, *_ = synthetic(name, d_min=3.0)
    rng = np.random.default_rng(1)
    fitted = []
    for _ in range(6):
        vectors = data["hkl"] @ np.array(model["cell"].frac.mat.tolist())
        b = rng.normal(size=(3, 3))
        falling = np.exp(-np.einsum("ni,ij,nj->n", vectors, 10 * (b + b.T), vectors) / 4)
        scale = fit_scale(**data | {"amplitude": data["amplitude"] * falling}, **model)
        fitted.append(scale.b_anisotropic)
        elements = np.array(scale.b_anisotropic)[[0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(3, 3)
        assert np.trace(elements) == pytest.approx(0, abs=1e-9)
        exponents = []
        for op in model["spacegroup"].operations().sym_ops:
            s = np.array([[1, 2, 3], [4, -1, 2]]) @ (np.array(op.rot) // op.DEN)
            s = s @ np.array(model["cell"].frac.mat.tolist())
            exponents.append(np.einsum("ni,ij,nj->n", s, elements, s))
        np.testing.assert_allclose(exponents, np.broadcast_to(exponents[0], np.shape(exponents)), atol=1e-9)
    assert np.linalg.matrix_rank(fitted, tol=1e-3) == FREE_TENSORS[name]


@pytest.mark.parametrize(("d_min", "nearest"), [(1.2, 1.486), (1.3, 1.518)])
def test_solvent_ends_at_one_and_a_half_angstroms(d_min, nearest):
    """The mask is in all of the data; it is used at nodes to 1.5 Å, of which one is near that, and nowhere beyond."""
    data, model, overall, *_ = synthetic(d_min=d_min)
    mask = np.exp(-7j * np.arange(len(overall))) * abs(model["calculated"])
    data["amplitude"] = abs(overall * (model["calculated"] + 0.4 * mask))
    scale = fit_scale(**data, **model | {"mask": mask})
    assert abs(scale.d_spacing - nearest).min() < 0.002
    low = scale.d_spacing >= 1.5
    assert (scale.k_mask[low] > 0.1).all()
    assert not scale.k_mask[~low].any()


def test_free_set_takes_no_part():
    data, model, *_ = synthetic(noise=0.1)
    one = fit_scale(**data, **model)
    other = data | {"amplitude": np.where(data["free"], 1e4, data["amplitude"])}
    changed = model | {name: np.where(data["free"], 1e5j, model[name]) for name in ("calculated", "mask")}
    two = fit_scale(**other, **changed)
    for name in ("overall", "solvent", "k_overall", "k_mask", "b_anisotropic"):
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))


def test_order_of_reflections_does_not_matter():
    data, model, *_ = synthetic(noise=0.1)
    order = np.random.default_rng(0).permutation(len(data["hkl"]))
    one = fit_scale(**data, **model)
    shuffled = {name: values[order] for name, values in data.items()}
    columns = {name: model[name][order] for name in ("calculated", "mask")}
    two = fit_scale(**shuffled, **model | columns)
    np.testing.assert_allclose(two.overall, one.overall[order], rtol=1e-6)
    np.testing.assert_allclose(two.solvent, one.solvent[order], atol=1e-6)


def test_at_the_minimum_of_the_weighted_misfit():
    data, model, *_ = synthetic(noise=0.2)
    scale = fit_scale(**data, **model)
    working, observed = ~data["free"], data["amplitude"]
    f = abs(scale.apply(model["calculated"], model["mask"]))
    s2 = np.array([model["cell"].calculate_1_d2(h) for h in data["hkl"].tolist()])
    nodes = scale.d_spacing**-2.0
    mean = [np.interp(s2, nodes, one)[working] for one in np.eye(len(nodes))]
    power = np.exp(np.interp(s2, nodes, np.log([h @ observed[working] ** 2 / h.sum() for h in mean])))
    for direction in np.eye(len(nodes)):
        change = np.interp(s2, nodes, direction)
        slope = ((f - observed) * f * change / power)[working].sum()
        assert abs(slope) < 1e-5 * (f**2 * change / power)[working].sum()


def test_without_solvent():
    data, model, overall, *_ = synthetic()
    data = data | {"amplitude": abs(overall * model["calculated"])}
    scale = fit_scale(**data, **model | {"mask": np.zeros(len(overall))})
    np.testing.assert_allclose(scale.overall, overall, rtol=1e-3)
    # a mask that is not needed gets no weight
    assert fit_scale(**data, **model).solvent.max() < 1e-3


def test_no_free_set_and_low_resolution():
    data, model, overall, solvent, _ = synthetic(d_min=4.0)
    scale = fit_scale(**data | {"free": np.zeros(len(solvent), bool)}, **model)
    np.testing.assert_allclose(scale.overall, overall, rtol=0.01)
    np.testing.assert_allclose(scale.solvent, solvent, atol=0.03)


def test_shells_that_miss():
    data, model, overall, *_ = synthetic(d_min=1.8)
    d = model["cell"].calculate_d_array(data["hkl"])
    kept = (d > 4) | (d < 2.2)
    columns = {name: model[name][kept] for name in ("calculated", "mask")}
    scale = fit_scale(**{name: values[kept] for name, values in data.items()}, **model | columns)
    np.testing.assert_allclose(scale.overall, overall[kept], rtol=0.02)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 60, 99, 100, 150])
@pytest.mark.parametrize("solvent", [True, False])
def test_few_reflections(n, solvent):
    data, model, *_ = synthetic()
    first = {name: values[:n] for name, values in data.items()} | {"free": np.zeros(n, bool)}
    columns = {"calculated": model["calculated"][:n], "mask": model["mask"][:n] * solvent}
    scale = fit_scale(**first, **model | columns)
    assert np.isfinite(scale.overall).all()
    assert (scale.overall > 0).all()
    assert (scale.solvent >= 0).all()
    assert (n < 100) == (not np.any(scale.b_anisotropic))
    if n == 1:
        found = abs(scale.apply(columns["calculated"], model["mask"][:1]))
        assert found == pytest.approx(first["amplitude"])


def test_zeros_do_no_harm():
    data, model, *_ = synthetic()
    d = model["cell"].calculate_d_array(data["hkl"])
    amplitude, calculated = data["amplitude"].copy(), model["calculated"].copy()
    amplitude[::7], amplitude[d < 2.1] = 0, 0
    calculated[3::11] = 0
    calculated[d > 8] = 0
    scale = fit_scale(**data | {"amplitude": amplitude}, **model | {"calculated": calculated})
    assert np.isfinite(scale.overall).all()
    assert np.isfinite(scale.solvent).all()
    assert (scale.overall > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"free": np.zeros(3)}, r"free: got shape \(3,\)"),
        ({"amplitude": "nan"}, r"amplitude: 1 values are not finite, first at reflections \[2\]"),
        ({"free": "all"}, "free: all .* reflections are in the test set"),
        ({"amplitude": "zero"}, "no reflection of the working set has both an observed and a calculated"),
    ],
)
def test_arguments_that_do_not_match(change, message):
    data, model, *_ = synthetic()
    n = len(data["hkl"])
    fill = {"nan": np.where(np.arange(n) == 2, np.nan, 1.0), "all": np.ones(n, bool), "zero": np.zeros(n)}
    change = {name: fill[value] if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        fit_scale(**data | change, **model)


@pytest.mark.parametrize(
    ("model", "data", "columns", "limit"),
    [
        ("4xof.pdb", "4xof.mtz", ("FP", "SIGFP", "FreeR_flag"), (0.1396, 0.1740)),
        ("1g8a_multiconformer.pdb", "1g8a.mtz", ("FOBS", "SIGFOBS", "R-free-flags"), (0.2120, 0.2352)),
    ],
)
def test_r_factors_not_above_those_of_cctbx(data_dir, model, data, columns, limit):
    structure = gemmi.read_structure(str(data_dir / model))
    for serial, site in enumerate(structure[0].all(), start=1):
        site.atom.serial = serial
    mtz = gemmi.read_mtz_file(str(data_dir / data))
    amplitude, sigma, free = (np.array(mtz.column_with_label(label).array, dtype=float) for label in columns)
    kept = (amplitude > 0) & (sigma > 0)
    hkl, amplitude, free = mtz.array[kept, :3].astype(np.int32), amplitude[kept], free[kept] == 0
    sites = read_sites(structure, np.array([site.atom.occ for site in structure[0].all()], dtype=float))
    calculated = fixed_structure_factors(structure, hkl, refinable=[], occupancies=sites.chemical / sites.orders)
    mask = solvent_structure_factors(structure, hkl, refinable=[])
    arguments = {
        "calculated": calculated, "mask": mask,
        "cell": structure.cell, "spacegroup": structure.find_spacegroup(),
    }  # fmt: skip
    scale = fit_scale(hkl, amplitude, free, **arguments)
    work, test = r_factor(amplitude, abs(scale.apply(calculated, mask)), free)
    assert work < limit[0]
    assert test < limit[1]


def test_r_factor_by_hand():
    observed, model = np.array([10.0, 20.0, 5.0, 7.0]), np.array([11.0, 17.0, 5.5, 7.0])
    free = np.array([False, False, True, True])
    assert r_factor(observed, model, free) == pytest.approx((4 / 30, 0.5 / 12))
    assert np.isnan(r_factor(observed, model, np.zeros(4, bool))[1])


def test_of_two_minima_the_one_that_was_found_before_is_kept():
    """Centric reflections change their sign at k_mask of 0.2: the sum of squares has minima at 0.16 and 0.22."""
    cell, spacegroup = gemmi.UnitCell(10, 12, 14, 80, 90, 100), gemmi.SpaceGroup("P -1")
    hkl = gemmi.make_miller_array(cell, spacegroup, 3.0)[:30]
    rng = np.random.default_rng(14)
    calculated, mask = rng.normal(size=30), 3 * rng.normal(size=30)
    amplitude = np.abs(calculated + 0.3 * mask) * np.exp(0.5 * rng.normal(size=30))
    given = {"calculated": calculated, "mask": mask, "cell": cell, "spacegroup": spacegroup}

    def k_mask(start):
        return fit_scale(hkl, amplitude, np.zeros(30, bool), **given, start=start).k_mask.tolist()

    def before(k_mask):
        return Scale(np.ones(30), np.ones(30), np.ones(1), np.ones(1), np.array([k_mask]), (0.0,) * 6)

    for start in (None, before(0.14)):
        assert k_mask(start) == pytest.approx([0.16], abs=0.01)
    assert k_mask(before(0.24)) == pytest.approx([0.22], abs=0.01)


@pytest.mark.parametrize("name", CELLS)
def test_a_fit_begins_at_its_start(name, monkeypatch):
    data, model, *_ = synthetic(name)
    found = fit_scale(**data, **model)
    monkeypatch.setattr("jax_occupancy.xray._scale.MAX_STEPS", 0)
    again = fit_scale(**data, **model, start=found)
    np.testing.assert_allclose(again.overall, found.overall)
    assert again.b_anisotropic == pytest.approx(found.b_anisotropic)


@pytest.mark.parametrize("name", ["C 1 2 1", "P 21 21 21", "P 61"])
def test_scales_of_other_reflections(name):
    """Those of the reflections that they were fitted to are the same as before, in any order."""
    data, model, *_ = synthetic(name)
    fitted = fit_scale(**data, **model)
    overall, solvent = fitted.at(data["hkl"][::-1], model["cell"])
    np.testing.assert_allclose(overall[::-1], fitted.overall, rtol=1e-9)
    np.testing.assert_allclose(solvent[::-1], fitted.solvent, rtol=1e-9, atol=1e-12)
