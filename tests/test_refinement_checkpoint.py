import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from jax_occupancy import read_model, read_reflections, refine, write_example
from jax_occupancy.io import read_archive, save_tensor

pytestmark = pytest.mark.usefixtures("x64")


class InterruptError(Exception):
    """What stops a refinement in the middle."""


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    files = write_example(tmp_path_factory.mktemp("example"))
    return read_model(files.model), read_reflections(files.reflections)


@pytest.fixture(scope="module")
def whole(example):
    with jax.enable_x64(True):
        return refine(*example, starts=0)


def interrupted_at(stage, count):
    """A progress callback that fails when a stage begins for the count-th time."""
    seen = []

    def progress(name):
        seen.append(name)
        if seen.count(stage) == count:
            raise InterruptError

    return progress


def test_goes_on_from_the_last_cycle(example, whole, tmp_path):
    path = tmp_path / "state.npz"
    # The third scaling follows the second cycle (the first one is for the outliers).
    with pytest.raises(InterruptError):
        refine(*example, starts=0, checkpoint=path, progress=interrupted_at("solve", 3))
    header, arrays = read_archive(path, "checkpoint")
    assert len(header["history"]) == 2
    n = len(whole.covariance)
    assert np.abs(arrays["variables"][:n] - whole.minima[0].x[:n]).max() < 0.01
    stages = []
    solution = refine(*example, starts=0, checkpoint=path, progress=stages.append)
    assert "resume" in stages
    assert "first 2 are those of the checkpoint state.npz" in solution.message
    assert solution.history.iloc[:2].equals(whole.history.iloc[:2])
    # The scales of a cycle follow from the occupancies it begins with, so that nothing else was lost.
    assert len(solution.history) == len(whole.history)
    np.testing.assert_allclose(solution.occupancies, whole.occupancies, atol=1e-9)
    assert solution.target.start == pytest.approx(whole.target.start, rel=1e-9)
    assert not path.exists()


def test_b_shifts_and_least_squares_go_on_too(example, tmp_path):
    path = tmp_path / "state.npz"
    options = {"starts": 0, "b_factors": "group", "target": "ls", "checkpoint": path}
    found = []
    for _ in range(2):
        with pytest.raises(InterruptError):
            refine(*example, **options, progress=interrupted_at("starts", 1))
        header, arrays = read_archive(path, "checkpoint")
        found.append((header["history"], arrays["variables"]))
    (first, before), (second, after) = found
    assert second[: len(first)] == first
    # It was at rest, so that one cycle with B factors held and one with shifts are enough to see this.
    assert len(second) < 2 * len(first)
    assert second[-1]["max_shift"] < 1e-5
    assert np.abs(after - before).max() < 1e-4


def test_another_refinement_is_refused_and_the_file_kept(example, whole, tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(InterruptError):
        refine(*example, starts=0, checkpoint=path, progress=interrupted_at("solve", 2))
    before = path.read_bytes()
    model, data = example
    with pytest.raises(ValueError, match="another refinement") as error:
        refine(model, data.select(data.d_spacing() > 2.5), target="ls", start="even", checkpoint=path)
    for part in ("differs in: data (", "start (model in the file, even now)", "target (ml in the file, ls now)"):
        assert part in str(error.value)
    assert "groups (" not in str(error.value)
    assert path.read_bytes() == before


def test_another_random_start_is_another_refinement(example, tmp_path):
    path = tmp_path / "state.npz"
    for start, seed in (("random", 1), (np.full(example[0].n_atoms, 0.5), 0)):
        options = {"starts": 0, "start": start, "seed": seed, "checkpoint": path}
        with pytest.raises(InterruptError):
            refine(*example, **options, progress=interrupted_at("solve", 2))
        with pytest.raises(ValueError, match="another refinement, which differs in: start"):
            refine(*example, **(options | {"start": "random", "seed": 2}))
        path.unlink()


def test_no_other_file_is_overwritten(example, whole, tmp_path):
    model, data = example
    for path, message in ((model.path, "not saved by jax_occupancy"), (tmp_path / "tensor.npz", "saved tensor")):
        if not path.exists():
            save_tensor(path, whole.tensor)
        before = path.read_bytes()
        with pytest.raises(ValueError, match=message):
            refine(model, data, checkpoint=path)
        assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="folder of the checkpoint"):
        refine(model, data, checkpoint=os.fspath(tmp_path / "no" / "state.npz"))


def test_the_command_has_the_option(example, whole, tmp_path):
    path = tmp_path / "tensor.npz"
    save_tensor(path, whole.tensor)
    command = [sys.executable, "-m", "jax_occupancy", "refine", example[0].path, example[1].path, "--checkpoint", path]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith("holds a saved tensor; a saved checkpoint is wanted here\n")
