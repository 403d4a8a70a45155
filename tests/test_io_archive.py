import json
import zipfile

import numpy as np
import pytest

from jax_occupancy.io import _archive as module
from jax_occupancy.io import read_archive, write_archive

HEADER = {"name": "Größe", "numbers": [1, 2.5], "nothing": None}
ARRAYS = {
    "doubles": np.array([0.1, np.nan, -0.0, np.inf]),
    "matrix": np.arange(6, dtype=np.int32).reshape(2, 3),
    "flags": np.array([True, False]),
    "words": np.array(["A/54/ARG:A", "é"]),
    "complex": np.array([1 + 2j], np.complex64),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(3.0),
}


@pytest.fixture
def file(tmp_path):
    write_archive(tmp_path / "a.npz", "solution", HEADER, ARRAYS)
    return tmp_path / "a.npz"


def test_round_trip_keeps_bits_types_and_shapes(file):
    header, arrays = read_archive(file, "solution")
    assert header == HEADER
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_numpy_and_unzip_can_read_it_without_us(file):
    with np.load(file, allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["matrix"], ARRAYS["matrix"])
    with zipfile.ZipFile(file) as archive:
        top = json.loads(archive.read("header.json"))
    assert (top["format"], top["format_version"], top["kind"]) == ("jax_occupancy", 1, "solution")
    assert top["library_version"]


def test_same_content_gives_the_same_bytes(file, tmp_path):
    write_archive(tmp_path / "b.npz", "solution", HEADER, ARRAYS)
    assert file.read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_another_kind_is_refused(file):
    with pytest.raises(ValueError, match=r"holds a saved solution; a saved tensor is wanted"):
        read_archive(file, "tensor")


def test_a_later_format_is_refused_with_both_versions(file, monkeypatch):
    monkeypatch.setattr(module, "FORMAT_VERSION", 2)
    with pytest.raises(ValueError, match=r"has format version 1 \(jax_occupancy 0.*with format version 2"):
        read_archive(file, "solution")


def test_files_of_others_are_refused(tmp_path):
    np.savez(tmp_path / "theirs.npz", a=np.arange(3))
    (tmp_path / "text.npz").write_text("ATOM")
    np.save(tmp_path / "plain.npy", np.arange(3))
    for name in ("theirs.npz", "text.npz", "plain.npy"):
        with pytest.raises(ValueError, match="was not saved by jax_occupancy"):
            read_archive(tmp_path / name, "tensor")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read_archive(tmp_path / "empty.npz", "tensor")
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.npz", "tensor")


def test_every_truncation_is_noticed(file, tmp_path):
    data = file.read_bytes()
    for length in range(1, len(data), 7):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"damaged or truncated|was not saved by"):
            read_archive(tmp_path / "cut.npz", "solution")


def test_a_flipped_byte_changes_nothing_or_is_noticed(file, tmp_path):
    data = bytearray(file.read_bytes())
    for place in range(0, len(data), 3):
        data[place] ^= 0xFF
        (tmp_path / "flipped.npz").write_bytes(data)
        data[place] ^= 0xFF
        try:
            header, arrays = read_archive(tmp_path / "flipped.npz", "solution")
        except ValueError:
            continue
        assert header == HEADER
        assert all(arrays[name].tobytes() == array.tobytes() for name, array in ARRAYS.items())


@pytest.mark.parametrize(
    ("header", "arrays", "words"),
    [({}, {"a": np.array([None])}, "array 'a' holds Python objects"), ({"a": object()}, {}, "JSON")],
)
def test_what_needs_a_pickle_is_refused_and_nothing_is_written(header, arrays, words, tmp_path):
    with pytest.raises(TypeError, match=words):
        write_archive(tmp_path / "a.npz", "solution", header, arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_header_without_its_parts_is_damage(tmp_path):
    for top in ({"format": "jax_occupancy"}, {"format": "jax_occupancy", "format_version": 1, "kind": "tensor"}, [1]):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("header.json", json.dumps(top))
        with pytest.raises(ValueError, match=r"a\.npz (is damaged|was not saved)"):
            read_archive(tmp_path / "a.npz", "tensor")
