import dataclasses
import inspect

import gemmi
import jax
import numpy as np
import pytest

from jax_occupancy import refine
from jax_occupancy.io import write_mtz
from jax_occupancy.refinement import RefinementError, refine_series
from jax_occupancy.refinement._series import _by_cell, _in_cell, _same_cell

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def example(example):
    """A third of the reflections: enough for tests of what is shared."""
    model, data, truth = example
    return model, data.select(data.d_spacing() > 1.8), truth


def with_noise(data, seed, lost=0.02):
    random = np.random.default_rng(seed)
    noisy = np.maximum(data.amplitude + data.sigma * random.standard_normal(data.n_reflections), 0.01)
    return dataclasses.replace(data, amplitude=noisy).select(random.random(data.n_reflections) > lost)


@pytest.fixture(scope="module")
def series(example):
    model, data, _ = example
    complete = with_noise(data, 3, lost=0)
    warm = dataclasses.replace(complete, cell=gemmi.UnitCell(24.03, 27.02, 31.04, 90, 90, 90))
    with jax.enable_x64(True):
        # both cells have the same number of reflections, so that all is compiled once
        names = ["0 s", "1 s", "cold", "warm"]
        return refine_series(
            model,
            [with_noise(data, 1), with_noise(data, 2), complete, warm],
            names=names,
            starts=0,
            outliers=False,
            b_factors="held",
        )


def test_each_data_set_gets_what_refine_gives_it(example, series):
    model, data, _ = example
    assert list(series.solutions) == ["0 s", "1 s", "cold", "warm"]
    assert not series.failed
    solution = series.solutions["1 s"]
    alone = refine(model, with_noise(data, 2), starts=0, outliers=False, b_factors="held")
    assert solution.result == "converged"
    # solver tolerance 1e-6 on both sides
    np.testing.assert_allclose(solution.occupancies, alone.occupancies, atol=1e-5)
    np.testing.assert_allclose(solution.esds, alone.esds, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(solution.table["llg_absent"], alone.table["llg_absent"], rtol=1e-3)
    assert solution.r_work.end == pytest.approx(alone.r_work.end, abs=1e-6)
    assert solution.r_free.end == pytest.approx(alone.r_free.end, abs=1e-6)
    assert solution.data.n_reflections == solution.f_model.size == alone.f_model.size < data.n_reflections


def test_another_cell_is_computed_again(series):
    # The same measurements in a cell 0.1 % larger: the scale takes up most of what the form factors lose.
    cold, warm = series.solutions["cold"], series.solutions["warm"]
    apart = np.abs(warm.occupancies - cold.occupancies)
    assert 0 < apart.max() < 0.005
    assert np.nanmax(apart / warm.esds) < 0.5
    assert warm.data.cell.a == pytest.approx(24.03)


def test_the_table_is_long(series):
    table = series.table
    assert len(table) == 4 * len(series.solutions["cold"].table)
    assert list(table.columns[:6]) == ["dataset", "group", "set", "start", "occupancy", "esd"]
    assert {"limit", "r_work", "r_free", "result"} <= set(table.columns)
    first = table[table["dataset"] == "1 s"].set_index("group")["occupancy"]
    alone = series.solutions["1 s"].table.set_index("name")["occupancy"]
    np.testing.assert_array_equal(first[alone.index], alone)
    assert series.to_csv().splitlines()[0].startswith("dataset,group,set,start,occupancy,esd")
    assert len(series.to_csv().splitlines()) == 1 + len(table)
    content = series.to_dict()
    assert list(content["datasets"]) == ["0 s", "1 s", "cold", "warm"]
    assert content["failed"] == {}
    assert content["datasets"]["warm"]["result"] == "converged"
    assert series.datasets["n_reflections"].tolist() == [s.data.n_reflections for s in series.solutions.values()]


def test_one_bad_file_does_not_lose_the_others(example, tmp_path):
    model, data, _ = example
    (tmp_path / "junk.mtz").write_bytes(b"MTZ " + b"\x00" * 100)
    columns = {"FP": ("F", data.amplitude), "SIGFP": ("Q", data.sigma), "FreeR_flag": ("I", ~data.free)}
    write_mtz(tmp_path / "good.mtz", hkl=data.hkl, cell=data.cell, spacegroup=data.spacegroup, columns=columns)
    big = dataclasses.replace(data, cell=gemmi.UnitCell(30, 27, 31, 90, 90, 90))
    files = [tmp_path / "junk.mtz", tmp_path / "lost.mtz", big, tmp_path / "good.mtz"]
    seen = []
    found = refine_series(model, files, starts=0, outliers=False, progress=seen.append)
    stages = ["read", "scale", "solve", "scale", "solve", "starts", "settle", "assess", "finish"]
    assert list(dict.fromkeys(seen)) == list(dict.fromkeys(f"good: {stage}" for stage in stages))
    assert list(found.solutions) == ["good"]
    assert list(found.failed) == ["junk", "lost", "example"]
    assert "same crystal form" in found.failed["example"]
    assert found.datasets["result"].tolist() == ["converged", "failed", "failed", "failed"]
    with pytest.raises(ValueError, match="same crystal form"):
        refine_series(model, [big])
    with pytest.raises(RefinementError, match=r"none of 2 data sets(?s:.*)lost(?s:.*)same crystal form"):
        refine_series(model, [tmp_path / "lost.mtz", big])
    none = refine_series(model, [tmp_path / "lost.mtz", big], throw=False)
    assert (len(none.solutions), list(none.failed), len(none.table)) == (0, ["lost", "example"], 0)
    assert none.datasets["result"].tolist() == ["failed", "failed"]


def test_arguments_are_checked(example):
    model, data, _ = example
    with pytest.raises(ValueError, match="a list of data sets"):
        refine_series(model, "data.mtz")
    with pytest.raises(ValueError, match="1 names for 2 data sets"):
        refine_series(model, [data, data], names=["a"])
    with pytest.raises(ValueError, match=r"more than once \['a'\]"):
        refine_series(model, [data, data], names=["a", "a"])
    with pytest.raises(ValueError, match="empty"):
        refine_series(model, [])
    with pytest.raises(TypeError, match=r"a mapping; give its values, and names=list\(datasets\)"):
        inspect.unwrap(refine_series)(model, {"a": data})
    bare = dataclasses.replace(model, atoms=model.atoms.assign(altloc="", occupancy=1.0))
    with pytest.raises(RefinementError, match="no occupancy"):
        refine_series(bare, [data])
    nothing = refine_series(bare, [data], throw=False)
    assert nothing.datasets["result"].tolist() == ["nothing_to_refine"]


def test_cells_are_sorted_and_fractional_coordinates_stay(example):
    model, data, _ = example
    other = gemmi.UnitCell(24.1, 27, 31, 90, 91, 90)
    rounded = gemmi.UnitCell(24.002, 27, 31, 90, 90.01, 90)
    sets = {"a": data, "b": dataclasses.replace(data, cell=other), "c": dataclasses.replace(data, cell=rounded)}
    (own, of_own), (placed, of_other) = _by_cell(model, sets)
    assert own is model
    assert (of_own, of_other) == (["a", "c"], ["b"])
    assert not _same_cell(model.cell, other)
    assert _same_cell(model.cell, rounded)
    moved = _in_cell(model, other)
    for before, after in zip(model.structure[0].all(), moved.structure[0].all(), strict=True):
        fractional = model.cell.fractionalize(before.atom.pos).tolist()
        np.testing.assert_allclose(other.fractionalize(after.atom.pos).tolist(), fractional, atol=1e-12)
        np.testing.assert_array_equal(
            moved.atoms.loc[after.atom.serial - 1, ["x", "y", "z"]].astype(float), after.atom.pos.tolist()
        )
    assert placed.cell.a == 24.1
    assert model.structure.cell.a == 24
