import dataclasses

import gemmi
import jax
import numpy as np
import pandas as pd
import pytest
from archive_files import rewrite

from jax_occupancy import load_tensor, read_model, refine, refine_series, write_example
from jax_occupancy.io import read_archive
from jax_occupancy.refinement import load_series, load_solution, save_series, save_solution

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def model(example):
    return read_model(example.model)


@pytest.fixture(scope="module")
def solution(example, model):
    with jax.enable_x64(True):
        return refine(model, example.reflections, b_factors="group", starts=1)


@pytest.fixture(scope="module")
def path(solution, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "solution.npz"
    with jax.enable_x64(True):
        save_solution(path, solution)
    return path


def differences(one, other, name):
    """The names of what is not equal to the last bit, whatever it is."""
    if type(one) is not type(other) and not isinstance(one, int | float):
        return [name]
    if dataclasses.is_dataclass(one) and not hasattr(one, "logits"):
        names = [field.name for field in dataclasses.fields(one)]
        return _within({f".{n}": getattr(one, n) for n in names}, {f".{n}": getattr(other, n) for n in names}, name)
    if isinstance(one, tuple | list):
        return _within(dict(enumerate(one)), dict(enumerate(other)), name)
    if isinstance(one, dict):
        return _within(one, other, name)
    if hasattr(one, "logits"):
        same = one.topology == other.topology and not differences(
            np.asarray(one.logits), np.asarray(other.logits), name
        )
    elif isinstance(one, pd.DataFrame):
        same = one.dtypes.equals(other.dtypes) and one.index.equals(other.index) and one.equals(other)
    elif isinstance(one, np.ndarray):
        same = (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    elif isinstance(one, gemmi.UnitCell):
        same = one.parameters == other.parameters
    elif isinstance(one, gemmi.SpaceGroup):
        same = one.xhm() == other.xhm()
    else:
        same = one == other or (isinstance(one, float) and np.isnan(one) and np.isnan(other))
    return [] if same else [name]


def _within(one, other, name):
    if one.keys() != other.keys():
        return [name]
    return [found for key in one for found in differences(one[key], other[key], f"{name}{key}")]


def test_everything_comes_back_to_the_bit(solution, path):
    loaded = load_solution(path)
    assert differences(solution, loaded, "solution") == ["solution.model"]  # which stays in its own file
    changed = dataclasses.replace(loaded, starts=99, model=solution.model)
    assert differences(solution, changed, "solution") == ["solution.starts"]


def test_a_loaded_solution_does_what_the_first_one_does(solution, model, path, tmp_path):
    loaded = load_solution(path)
    assert loaded.to_dict() == solution.to_dict()
    pd.testing.assert_frame_equal(loaded.correlation, solution.correlation)
    for name in ("one.cif", "one.pdb"):
        solution.write(model, tmp_path / name)
        loaded.write(model, tmp_path / f"loaded.{name}")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"loaded.{name}").read_bytes()


def test_the_same_solution_gives_the_same_bytes(path, tmp_path):
    save_solution(tmp_path / "again.npz", load_solution(path))
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_a_series_comes_back_to_the_bit(example, model, solution, path, tmp_path):
    datasets = [example.reflections, "lost.mtz", example.reflections]
    series = refine_series(model, datasets, names=[0.5, "lost", 2], starts=0, outliers=False)
    save_series(tmp_path / "series.npz", series)
    loaded = load_series(tmp_path / "series.npz", like=solution.tensor)
    assert list(loaded.solutions) == [0.5, 2]
    solutions = {name: dataclasses.replace(one, model=None) for name, one in series.solutions.items()}
    assert differences((solutions, series.failed), (loaded.solutions, loaded.failed), "series") == []
    pd.testing.assert_frame_equal(series.table, loaded.table, check_exact=True)
    pd.testing.assert_frame_equal(series.datasets, loaded.datasets, check_exact=True)
    with pytest.raises(ValueError, match=r"holds a saved series .*; a saved solution is wanted"):
        load_solution(tmp_path / "series.npz")
    with pytest.raises(ValueError, match="topology differs"):
        load_series(tmp_path / "series.npz", like=solution.tensor.freeze_all())


def test_numpy_reads_it_and_nothing_is_pickled(solution, path):
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["solution.f_model"].tobytes() == solution.f_model.tobytes()
        assert arrays["solution.data.hkl"].shape == (solution.n_reflections, 3)


def test_another_topology_is_refused(solution, path):
    load_solution(path, like=solution.tensor)
    other = solution.tensor.freeze(np.arange(solution.tensor.topology.n_atoms) == solution.grouping.groups[0].atoms[0])
    with pytest.raises(ValueError, match="topology differs in: the refinable mask"):
        load_solution(path, like=other)


def test_another_kind_of_file_is_refused(example, path):
    with pytest.raises(ValueError, match=r"holds a saved solution .*; a saved tensor is wanted"):
        load_tensor(path)
    with pytest.raises(ValueError, match="not saved by jax_occupancy"):
        load_solution(example.model)


def test_another_version_says_what_differs(path, tmp_path):
    changed = tmp_path / "changed.npz"

    def edit(top):
        del top["value"]["fields"]["minima"]
        top["value"]["fields"]["colour"] = "red"
        return top

    changed.write_bytes(rewrite(path, edit))
    with pytest.raises(ValueError, match=r"can't be loaded: a Solution of its version .* differ in: colour, minima"):
        load_solution(changed)
    changed.write_bytes(rewrite(path, lambda top: top | {"format_version": 99}))
    with pytest.raises(ValueError, match="in format 99"):
        load_solution(changed)


def test_a_changed_topology_does_not_have_its_digest(path, tmp_path):
    changed = tmp_path / "changed.npz"

    def edit(top):
        top["value"]["fields"]["tensor"]["tensor"]["topology"]["fields"]["name"] = "other"
        return top

    changed.write_bytes(rewrite(path, edit))
    with pytest.raises(ValueError, match="changed after it was saved"):
        load_solution(changed)


def test_fields_to_come_need_no_word_here(solution, tmp_path):
    """Saving goes by the fields and their types: a solution that knows more is saved and loaded whole."""

    @dataclasses.dataclass(frozen=True, eq=False)
    class Richer(type(solution)):
        share: float = 0.5
        gains: dict[str, float] | None = None
        moved: np.ndarray | None = None

    values = {field.name: getattr(solution, field.name) for field in dataclasses.fields(solution)} | {"model": None}
    richer = Richer(**values, share=np.nan, gains={"a": 0.1, "b": np.inf}, moved=np.ones((4, 3)))
    save_solution(tmp_path / "richer.npz", richer)
    back = read_archive(tmp_path / "richer.npz", "solution", Richer)
    assert differences(richer, back, "solution") == []


def test_float64_is_not_lost_in_silence(path):
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="64-bit JAX"):
            load_solution(path)
        loaded = load_solution(path, dtype="float32")
        assert loaded.tensor.dtype == "float32"
        assert loaded.occupancies.dtype == np.float64


def test_what_can_not_be_saved_is_named(solution, tmp_path):
    wrong = dataclasses.replace(solution, history=pd.DataFrame({"x": [{1.0}]}))
    with pytest.raises(TypeError, match=r"solution\.history\.x\.0 is a set"):
        save_solution(tmp_path / "wrong.npz", wrong)
    assert not list(tmp_path.iterdir())
