"""A catalogue of what happens to files while they are written: never half a file."""

import errno
import multiprocessing
import os

import numpy as np
import pytest

from jax_occupancy import OccupancyTensor, automatic_groups, save_tensor, write_model
from jax_occupancy.example import read_example
from jax_occupancy.io import write_groups


@pytest.fixture(scope="module")
def model():
    return read_example()[0]


def writers(model, folder):
    """Every writer, with the file it writes."""
    q = np.full(model.n_atoms, 0.5)
    rows = model.atoms.iloc[116:]
    return {
        folder / "out.pdb": lambda path: write_model(model, path, q),
        folder / "out.cif.gz": lambda path: write_model(model, path, q),
        folder / "out.toml": lambda path: write_groups(path, automatic_groups(rows), rows),
        folder / "out.npz": lambda path: save_tensor(path, OccupancyTensor([0.5, 1.0])),
    }


class Broken:
    """A file on a disk that is full, or whose user loses patience, after some bytes."""

    def __init__(self, handle, error):
        self.handle, self.error = handle, error

    def write(self, data):
        self.handle.write(data[: len(data) // 2])
        raise self.error

    def __getattr__(self, name):
        return getattr(self.handle, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.handle.close()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"]
)
def test_an_end_in_the_middle_of_writing_leaves_what_was_there(error, model, tmp_path, monkeypatch):
    todo = writers(model, tmp_path)
    for path in todo:
        path.write_bytes(b"precious")
    monkeypatch.setattr(
        "builtins.open",
        lambda file, mode="r", *a, real=open, **k: (
            Broken(real(file, mode, *a, **k), error) if "x" in mode else real(file, mode, *a, **k)
        ),
    )
    for path, write in todo.items():
        with pytest.raises(type(error)):
            write(path)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == sorted(todo)
    assert all(path.read_bytes() == b"precious" for path in todo)


def test_a_folder_that_may_not_be_written(model, tmp_path, monkeypatch):
    """Root may write anywhere, so that the refusal is played to it."""
    folder = tmp_path / "locked"
    folder.mkdir()
    todo = writers(model, folder)
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        denied = PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(
            "builtins.open",
            lambda file, mode="r", *a, real=open, **k: _raise(denied) if "x" in mode else real(file, mode, *a, **k),
        )
    for path, write in todo.items():
        with pytest.raises(PermissionError, match="Permission denied"):
            write(path)
    monkeypatch.undo()
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)


def _raise(error):
    raise error


def _write_often(path, letter, start):
    from jax_occupancy.io import atomic_writer

    start.wait(60)
    for _ in range(40):
        with atomic_writer(path) as handle:
            for _ in range(20):
                handle.write(letter * 1000)


def test_two_processes_that_write_one_file(tmp_path):
    """The file is at all times one of the two, never a mixture, and nothing else is left."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    file = tmp_path / "out.pdb"
    writing = [context.Process(target=_write_often, args=(file, letter, start)) for letter in (b"a", b"b")]
    for process in writing:
        process.start()
    start.wait(60)
    seen = set()
    while any(process.is_alive() for process in writing):
        if file.exists():
            data = file.read_bytes()
            assert data in (b"a" * 20_000, b"b" * 20_000)
            seen.add(data[:1])
    for process in writing:
        process.join()
        assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.pdb"]
