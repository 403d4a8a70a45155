import os
import shutil
import subprocess
import sys
from functools import partial

import equinox as eqx
import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jax_occupancy.xray import Columns, Crystal, group_scatterers

SPACEGROUPS = {
    "P 1": (11, 13, 17, 77, 84, 101),
    "P -1": (11, 13, 17, 77, 84, 101),
    "P 1 21 1": (21, 25, 30, 90, 104, 90),
    "P 1 21/c 1": (21, 25, 30, 90, 104, 90),
    "P 21 21 21": (20, 25, 31, 90, 90, 90),
    "C 1 2 1": (40, 22, 31, 90, 97, 90),
    "P 61 2 2": (30, 30, 60, 90, 90, 120),
    "R 3:H": (35, 35, 40, 90, 90, 120),
    "R 3:R": (30, 30, 30, 80, 80, 80),
    "I 2 3": (40, 40, 40, 90, 90, 90),
    "F 4 3 2": (60, 60, 60, 90, 90, 90),
    "F d -3 m:2": (40, 40, 40, 90, 90, 90),
}
GROUPS = [[0, 3, 4], [1], [5, 2, 6, 7, 8], []]


@partial(jax.jit, static_argnames="n_groups")
def group_structure_factors(hkl, scatterers, crystal, *, n_groups):
    """All columns as complex numbers, (groups, reflections)."""
    columns = Columns.computed(hkl, scatterers, crystal, n_groups)
    pairs = columns.fold(lambda carry, own, block: (carry, block), None)[1]
    return jax.lax.complex(pairs[:, 0], pairs[:, 1])


def make_table(cell: gemmi.UnitCell, n=9, seed=0) -> pd.DataFrame:
    """Isotropic and anisotropic atoms of five elements, away from special positions."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(0.05, 0.95, (n, 3)) @ np.array(cell.orth.mat.tolist()).T
    root = rng.normal(scale=0.25, size=(n, 3, 3))
    u = root @ root.transpose(0, 2, 1) + 0.05 * np.eye(3)
    u[::2] = np.nan
    # gemmi keeps B and U in single precision
    columns = {f"u{i + 1}{j + 1}": np.float32(u[:, i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))}
    elements = (["C", "ZN", "H", "S", "D"] * n)[:n]
    b = np.float32(rng.uniform(5, 60, n))
    table = pd.DataFrame({"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2], "tempfactor": b, "element": elements})
    return table.assign(charge=0, **columns).astype({"tempfactor": float, **dict.fromkeys(columns, float)})


def make_model(table: pd.DataFrame) -> gemmi.Model:
    model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
    for row in table.itertuples():
        atom = gemmi.Atom()
        atom.pos = gemmi.Position(row.x, row.y, row.z)
        atom.element = gemmi.Element(row.element)
        atom.b_iso, atom.serial = row.tempfactor, row.Index + 1
        if np.isfinite(row.u11):
            atom.aniso = gemmi.SMat33f(row.u11, row.u22, row.u33, row.u12, row.u13, row.u23)
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    return model


def make_hkl(n=60, highest=6, seed=1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-highest, highest + 1, (n, 3)).astype(np.int32)


def make_crystal(name):
    spacegroup = gemmi.SpaceGroup(name)
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(*SPACEGROUPS[name])
    structure.spacegroup_hm = spacegroup.xhm()
    structure.setup_cell_images()
    return structure.cell, spacegroup


def numpy_loop(table, cell, spacegroup, hkl):
    """One complex number per atom and reflection, by the definition, every operation on its own."""
    fractional = np.array(cell.frac.mat.tolist())
    answer = np.zeros((len(table), len(hkl)), dtype=complex)
    for a, row in enumerate(table.itertuples()):
        x = fractional @ [row.x, row.y, row.z]
        u = np.array([[row.u11, row.u12, row.u13], [row.u12, row.u22, row.u23], [row.u13, row.u23, row.u33]])
        if not np.isfinite(row.u11):
            u = np.eye(3) * row.tempfactor / (8 * np.pi**2)
        # International Tables: four Gaussians and a constant
        coefficients = np.array(gemmi.Element(row.element).it92.get_coefs())
        for n, h in enumerate(hkl):
            stol2 = cell.calculate_1_d2(h.tolist()) / 4
            f = coefficients[:4] @ np.exp(-coefficients[4:8] * stol2) + coefficients[8]
            for op in spacegroup.operations():
                rotation, shift = np.array(op.rot) / op.DEN, np.array(op.tran) / op.DEN
                s = h @ rotation @ fractional
                phase = 2 * np.pi * (h @ (rotation @ x + shift))
                answer[a, n] += f * np.exp(-2 * np.pi**2 * s @ u @ s + 1j * phase)
    return answer


def relative_error(got, wanted):
    return np.linalg.norm(np.asarray(got) - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("name", SPACEGROUPS)
def test_equals_gemmi_direct_summation(name, x64):
    cell, spacegroup = make_crystal(name)
    table, hkl = make_table(cell), make_hkl()
    scatterers = group_scatterers(table, GROUPS, cell)
    G = group_structure_factors(jnp.asarray(hkl), scatterers, Crystal.from_gemmi(cell, spacegroup), n_groups=4)
    calculator = gemmi.StructureFactorCalculatorX(cell)
    for members, row in zip(GROUPS[:3], G[:3], strict=True):
        model = make_model(table.loc[members].reset_index(drop=True))
        wanted = np.array([calculator.calculate_sf_from_model(model, h) for h in hkl.tolist()])
        assert relative_error(row, wanted) < 1e-6  # gemmi's form factors are in single precision
    assert not np.any(G[3])


@pytest.mark.parametrize("name", ["P 1 21/c 1", "C 1 2 1", "R 3:H", "F 4 3 2"])
def test_equals_a_plain_loop_to_rounding(name, x64):
    cell, spacegroup = make_crystal(name)
    table, hkl = make_table(cell), make_hkl(12)
    hkl[:6] *= 2  # some that the F lattice allows, some that it forbids
    crystal = Crystal.from_gemmi(cell, spacegroup)
    G = group_structure_factors(jnp.asarray(hkl), group_scatterers(table, GROUPS, cell), crystal, n_groups=4)
    single = numpy_loop(table, cell, spacegroup, hkl)
    wanted = np.array([single[members].sum(axis=0) for members in GROUPS])
    np.testing.assert_allclose(G, wanted, atol=1e-12 * np.abs(single).sum(axis=0).max(), rtol=0)


@pytest.mark.parametrize("name", ["P 21 21 21", "P 61 2 2", "F d -3 m:2"])
def test_single_precision(name):
    cell, spacegroup = make_crystal(name)
    table, hkl = make_table(cell), make_hkl(40, highest=15)
    with jax.enable_x64(False):
        crystal = Crystal.from_gemmi(cell, spacegroup)
        G = group_structure_factors(jnp.asarray(hkl), group_scatterers(table, GROUPS, cell), crystal, n_groups=4)
    assert G.dtype == jnp.complex64
    with jax.enable_x64(True):
        scatterers = group_scatterers(table, GROUPS, cell)
        crystal = Crystal.from_gemmi(cell, spacegroup)
        exact = group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=4)
        assert exact.dtype == jnp.complex128
    assert relative_error(G, np.asarray(exact)) < 1e-4


def test_dtype_keyword_wins_over_the_session(x64):
    cell, spacegroup = make_crystal("P 1 21 1")
    scatterers = group_scatterers(make_table(cell), GROUPS, cell, dtype=jnp.float32)
    crystal = Crystal.from_gemmi(cell, spacegroup, dtype=jnp.float32)
    assert group_structure_factors(jnp.asarray(make_hkl()), scatterers, crystal, n_groups=4).dtype == jnp.complex64


def test_many_atoms_in_chunks_and_far_from_the_origin(x64):
    """A thousand atoms are summed in pieces of 262 reflections; phases of a hundred turns lose no digits."""
    cell, spacegroup = make_crystal("C 1 2 1")
    table, crystal = make_table(cell, n=1000), Crystal.from_gemmi(cell, spacegroup)
    hkl = jnp.asarray(make_hkl(1500, highest=40))
    each = group_structure_factors(
        hkl, group_scatterers(table, [[i] for i in range(1000)], cell), crystal, n_groups=1000
    )
    groups = [range(600), range(600, 1000)]
    together = group_structure_factors(hkl, group_scatterers(table, groups, cell), crystal, n_groups=2)
    np.testing.assert_allclose(together, [each[:600].sum(axis=0), each[600:].sum(axis=0)], atol=1e-9)
    moved = table.assign(x=table["x"] + 30 * cell.a)
    far = group_structure_factors(hkl, group_scatterers(moved, groups, cell), crystal, n_groups=2)
    np.testing.assert_allclose(far, together, atol=1e-8)


def test_no_reflections_no_atoms_one_atom(x64):
    cell, spacegroup = make_crystal("C 1 2 1")
    table, crystal = make_table(cell), Crystal.from_gemmi(cell, spacegroup)
    hkl = jnp.asarray(make_hkl(5))
    nothing = group_structure_factors(hkl, group_scatterers(table, [[], []], cell), crystal, n_groups=2)
    assert nothing.shape == (2, 5)
    assert not nothing.any()
    one = group_scatterers(table, [[1]], cell)
    assert group_structure_factors(hkl[:0], one, crystal, n_groups=1).shape == (1, 0)
    assert group_structure_factors(hkl, one, crystal, n_groups=1).shape == (1, 5)


def test_weights_and_group_sums(x64):
    cell, spacegroup = make_crystal("P 21 21 21")
    table, crystal, hkl = make_table(cell), Crystal.from_gemmi(cell, spacegroup), jnp.asarray(make_hkl())
    weights = np.linspace(0.1, 0.9, len(table))
    each = group_structure_factors(hkl, group_scatterers(table, [[i] for i in range(9)], cell), crystal, n_groups=9)
    together = group_structure_factors(
        hkl, group_scatterers(table, [[4, 0], [8, 1, 2]], cell, weights=weights), crystal, n_groups=2
    )
    np.testing.assert_allclose(together[0], weights[4] * each[4] + weights[0] * each[0], atol=1e-10)
    np.testing.assert_allclose(together[1], sum(weights[i] * each[i] for i in (8, 1, 2)), atol=1e-10)


@pytest.mark.parametrize("name", ["P 1", "P 1 21/c 1"])
def test_derivatives_with_respect_to_coordinates(name, x64):
    cell, spacegroup = make_crystal(name)
    scatterers, crystal = group_scatterers(make_table(cell), GROUPS, cell), Crystal.from_gemmi(cell, spacegroup)
    hkl = jnp.asarray(make_hkl(20))

    def loss(xyz):
        moved = eqx.tree_at(lambda s: s.xyz, scatterers, xyz)
        G = group_structure_factors(hkl, moved, crystal, n_groups=4)
        return jnp.sum(jnp.abs(G[:3] - 3.0) ** 2)

    gradient = jax.grad(loss)(scatterers.xyz)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=scatterers.xyz.shape))
    step = 1e-6
    numeric = (loss(scatterers.xyz + step * direction) - loss(scatterers.xyz - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(gradient, direction), numeric, rtol=1e-6)
    _, tangent = jax.jvp(loss, (scatterers.xyz,), (direction,))
    np.testing.assert_allclose(tangent, numeric, rtol=1e-6)


def test_vmap_over_models(x64):
    cell, spacegroup = make_crystal("P 1 21 1")
    scatterers, crystal = group_scatterers(make_table(cell), GROUPS, cell), Crystal.from_gemmi(cell, spacegroup)
    hkl = jnp.asarray(make_hkl(5))

    def sums(xyz):
        moved = eqx.tree_at(lambda s: s.xyz, scatterers, xyz)
        return group_structure_factors(hkl, moved, crystal, n_groups=4)

    models = scatterers.xyz + jnp.arange(3)[:, None, None] * 0.01
    together = jax.vmap(sums)(models)
    np.testing.assert_allclose(together, jnp.stack([sums(xyz) for xyz in models]), atol=1e-11)


def test_eager_equals_jit(x64):
    cell, spacegroup = make_crystal("P 1")
    scatterers, crystal = group_scatterers(make_table(cell), [[1, 3], [5]], cell), Crystal.from_gemmi(cell, spacegroup)
    hkl = jnp.asarray(make_hkl(5))
    compiled = group_structure_factors(hkl, scatterers, crystal, n_groups=2)
    with jax.disable_jit():
        eager = group_structure_factors(hkl, scatterers, crystal, n_groups=2)
    np.testing.assert_allclose(eager, compiled, atol=1e-11)


def test_new_coordinates_do_not_recompile(x64):
    cell, spacegroup = make_crystal("P 1")
    scatterers, crystal = group_scatterers(make_table(cell), GROUPS, cell), Crystal.from_gemmi(cell, spacegroup)
    hkl = jnp.asarray(make_hkl(33))
    group_structure_factors(hkl, scatterers, crystal, n_groups=4)
    before = group_structure_factors._cache_size()
    moved = group_scatterers(make_table(cell, seed=5), GROUPS, cell)
    group_structure_factors(hkl, moved, crystal, n_groups=4)
    assert group_structure_factors._cache_size() == before


CCTBX = """
import sys, numpy
from cctbx import crystal, miller, xray
from cctbx.array_family import flex
from scitbx import matrix
data = numpy.load(sys.argv[1])
symmetry = crystal.symmetry(tuple(data["cell"].tolist()), space_group_symbol=str(data["spacegroup"]))
structure = xray.structure(crystal_symmetry=symmetry)
for site, b, u, element in zip(data["xyz"].tolist(), data["b"].tolist(), data["u"].tolist(), data["elements"].tolist()):
    u = tuple(u) if numpy.isfinite(u[0]) else b / (8 * numpy.pi ** 2)
    cell = symmetry.unit_cell()
    if isinstance(u, tuple):
        from cctbx import adptbx
        u = adptbx.u_cart_as_u_star(cell, u)
    structure.add_scatterer(xray.scatterer(label=element, site=cell.fractionalize(site), u=u, scattering_type=element))
structure.scattering_type_registry(table="it1992")
hkl = miller.set(symmetry, flex.miller_index([tuple(h) for h in data["hkl"].tolist()]), anomalous_flag=False)
direct = hkl.structure_factors_from_scatterers(structure, algorithm="direct").f_calc()
numpy.save(sys.argv[2], direct.data().as_numpy_array())
"""


def cctbx_python():
    """An interpreter that imports cctbx; the test is skipped, saying what was tried, where there is none."""
    named = os.environ.get("JAX_OCCUPANCY_CCTBX_PYTHON")
    search = ["/usr/bin", "/usr/local/bin", *os.environ.get("PATH", "").split(os.pathsep)]
    found = [shutil.which("python3", path=folder) for folder in search]
    candidates = list(dict.fromkeys(path for path in [named, *found, sys.executable] if path))
    for path in candidates:
        if subprocess.run([path, "-c", "import cctbx"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"no Python with cctbx: tried {candidates}; set JAX_OCCUPANCY_CCTBX_PYTHON")


@pytest.mark.parametrize("name", ["P 21 21 21", "C 1 2 1", "R 3:H"])
def test_equals_cctbx_direct_summation(name, x64, tmp_path):
    python = cctbx_python()
    cell, spacegroup = make_crystal(name)
    table, hkl = make_table(cell), make_hkl()
    hkl = hkl[[not spacegroup.operations().is_systematically_absent(h.tolist()) for h in hkl]]
    table["element"] = table["element"].str.capitalize()
    u = table[["u11", "u22", "u33", "u12", "u13", "u23"]].to_numpy()
    np.savez(
        tmp_path / "in.npz", cell=np.array(cell.parameters), spacegroup=name, hkl=hkl, u=u,
        xyz=table[["x", "y", "z"]].to_numpy(), b=table["tempfactor"].to_numpy(), elements=table["element"].tolist(),
    )  # fmt: skip
    subprocess.run([python, "-c", CCTBX, tmp_path / "in.npz", tmp_path / "out.npy"], check=True)
    scatterers, crystal = group_scatterers(table, [range(9)], cell), Crystal.from_gemmi(cell, spacegroup)
    G = group_structure_factors(jnp.asarray(hkl), scatterers, crystal, n_groups=1)
    assert relative_error(G[0], np.load(tmp_path / "out.npy")) < 1e-5
