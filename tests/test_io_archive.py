import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gemmi
import numpy as np
import pandas as pd
import pytest
from archive_files import rewrite

from jax_occupancy.io import read_archive, write_archive

PLAIN = {"name": "Größe", "numbers": [1, 2.5], "nothing": None}
ARRAYS = {
    "doubles": np.array([0.1, np.nan, -0.0, np.inf]),
    "matrix": np.arange(6, dtype=np.int32).reshape(2, 3),
    "flags": np.array([True, False]),
    "words": np.array(["A/54/ARG:A", "é"]),
    "complex": np.array([1 + 2j], np.complex64),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(3.0),
    "short": np.array([3, 1, 2], np.int16),
}
VALUE = {"plain": PLAIN, "arrays": ARRAYS}


@pytest.fixture
def file(tmp_path):
    write_archive(tmp_path / "a.npz", "solution", VALUE)
    return tmp_path / "a.npz"


def spelt_out(value):
    """Plain values, and names, types, shapes and bits of the arrays in their order."""
    arrays = [(name, array.dtype, array.shape, array.tobytes()) for name, array in value["arrays"].items()]
    return value["plain"], arrays


def test_round_trip_keeps_bits_types_and_shapes(file):
    assert spelt_out(read_archive(file, "solution", dict)) == spelt_out(VALUE)


def test_numpy_and_unzip_can_read_it_without_us(file):
    with np.load(file, allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["solution.arrays.matrix"], ARRAYS["matrix"])
    with zipfile.ZipFile(file) as archive:
        top = json.loads(archive.read("header.json"))
    assert (top["format"], top["format_version"], top["kind"]) == ("jax_occupancy", 3, "solution")
    assert top["library_version"]


def test_same_content_gives_the_same_bytes(file, tmp_path):
    write_archive(tmp_path / "b.npz", "solution", VALUE)
    assert file.read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_another_kind_is_refused(file):
    with pytest.raises(ValueError, match=r"a\.npz holds a saved solution in .*; a saved tensor is wanted"):
        read_archive(file, "tensor", dict)


def test_a_later_format_is_refused_with_both_versions(file):
    data = rewrite(file, lambda top: top | {"format_version": 4})
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz holds .* in format 4 \(jax_occupancy 0.*, in format 3"):
        read_archive(file, "solution", dict)


def test_files_of_others_are_refused(tmp_path):
    np.savez(tmp_path / "theirs.npz", a=np.arange(3))
    (tmp_path / "text.npz").write_text("ATOM")
    np.save(tmp_path / "plain.npy", np.arange(3))
    for name in ("theirs.npz", "text.npz", "plain.npy"):
        with pytest.raises(ValueError, match="was not saved by jax_occupancy"):
            read_archive(tmp_path / name, "tensor", dict)
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read_archive(tmp_path / "empty.npz", "tensor", dict)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.npz", "tensor", dict)


def test_every_truncation_is_noticed(file, tmp_path):
    data = file.read_bytes()
    for length in range(1, len(data), 7):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"damaged or truncated|was not saved by"):
            read_archive(tmp_path / "cut.npz", "solution", dict)


def test_a_flipped_byte_changes_nothing_or_is_noticed(file, tmp_path):
    data = bytearray(file.read_bytes())
    for place in range(0, len(data), 3):
        data[place] ^= 0xFF
        (tmp_path / "flipped.npz").write_bytes(data)
        data[place] ^= 0xFF
        try:
            value = read_archive(tmp_path / "flipped.npz", "solution", dict)
        except ValueError:
            continue
        assert spelt_out(value) == spelt_out(VALUE)


@pytest.mark.parametrize(
    ("value", "words"),
    [({"a": np.array([None])}, r"solution\.a is a ndarray"), ({"a": [1, object()]}, r"solution\.a\.1 is a object")],
)
def test_what_needs_a_pickle_is_refused_and_nothing_is_written(value, words, tmp_path):
    with pytest.raises(TypeError, match=words):
        write_archive(tmp_path / "a.npz", "solution", value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "value", [np.nan, -np.inf, 1e-308, 0.1, {"a": (1, [None, "é"])}, 10**30, True, {2: "b", 0.5: 1}]
)
def test_plain_values(value, tmp_path):
    write_archive(tmp_path / "a.npz", "value", value)
    again = read_archive(tmp_path / "a.npz", "value", Any)
    assert type(again) is type(value)
    assert again == value or (np.isnan(again) and np.isnan(value))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        json.loads(archive.read("header.json"), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({}),
        pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": [True, False], "d": ["é", ""]}),
        pd.DataFrame({"text": ["x", None], "none": [None, None]}, index=pd.Index(["i", "j"])),
        pd.DataFrame({"h": pd.Series([], dtype=np.int64), "reason": []}),
        pd.DataFrame({"a": [1.0, 2.0]}, index=[5, 7]),
    ],
)
def test_tables(table, tmp_path):
    write_archive(tmp_path / "a.npz", "table", table)
    pd.testing.assert_frame_equal(read_archive(tmp_path / "a.npz", "table", pd.DataFrame), table, check_exact=True)


def test_every_space_group_keeps_its_setting(tmp_path):
    groups = list(gemmi.spacegroup_table())
    write_archive(tmp_path / "a.npz", "groups", groups)
    again = read_archive(tmp_path / "a.npz", "groups", list[gemmi.SpaceGroup])
    assert [(one.xhm(), one.hall) for one in again] == [(one.xhm(), one.hall) for one in groups]


@dataclasses.dataclass
class Inner:
    number: float
    table: pd.DataFrame | None = None


class Pair(NamedTuple):
    first: Path
    second: np.ndarray


@dataclasses.dataclass
class Outer:
    inner: Inner | None
    several: tuple[Inner, ...]
    named: Mapping[Any, Pair]
    derived: int = dataclasses.field(init=False, default=5)


def test_classes_are_those_of_the_annotations(tmp_path):
    pair = Pair(Path("a.mtz"), np.arange(100.0))
    value = Outer(None, (Inner(np.nan), Inner(2.0, pd.DataFrame({"a": [1]}))), {0.5: pair})
    write_archive(tmp_path / "a.npz", "outer", value)
    again = read_archive(tmp_path / "a.npz", "outer", Outer)
    assert again.inner is None
    assert np.isnan(again.several[0].number)
    assert (again.several[1].number, list(again.several[1].table["a"])) == (2.0, [1])
    assert again.named[0.5].first == pair.first
    assert isinstance(again.named[0.5], Pair)
    assert np.array_equal(again.named[0.5].second, pair.second)
    with pytest.raises(ValueError, match="a Inner of its version and of this one differ in: inner, named, number"):
        read_archive(tmp_path / "a.npz", "outer", Inner)


def test_a_header_without_its_parts_is_damage(tmp_path):
    for top in ({"format": "jax_occupancy"}, {"format": "jax_occupancy", "format_version": 3, "kind": "tensor"}, [1]):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("header.json", json.dumps(top))
        with pytest.raises(ValueError, match=r"a\.npz was not saved by jax_occupancy, or is damaged"):
            read_archive(tmp_path / "a.npz", "tensor", dict)


def test_a_header_without_a_value_or_arrays(file):
    for change in (
        lambda top: {key: part for key, part in top.items() if key != "value"},
        lambda top: top | {"value": {"array": "lost"}},
        lambda top: top | {"value": {"unknown": 1}},
    ):
        file.write_bytes(rewrite(file, change))
        with pytest.raises(ValueError, match=r"a\.npz can't be loaded: '(value|lost|unknown)'"):
            read_archive(file, "solution", dict)
