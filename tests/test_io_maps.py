import gzip

import gemmi
import numpy as np
import pytest

from jax_occupancy.io import is_map, read_maps, write_map

SHAPE, PIXEL = (10, 12, 14), np.array([0.8, 0.9, 1.0])


@pytest.fixture
def density():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    def to(name, density, *, pixel=PIXEL, origin=(0.0, 0.0, 0.0)):
        write_map(tmp_path / name, density, pixel=pixel, origin=np.array(origin))
        return tmp_path / name

    return to


@pytest.mark.parametrize("name", ["a.mrc", "a.map.gz"])
@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (-1.6, 2.7, 4.0), (0.3, 0.1, -0.7)])
def test_what_is_written_is_read(name, origin, write, density):
    maps = read_maps(write(name, density, origin=origin), resolution=3.0)
    np.testing.assert_array_equal(maps.density, density)
    np.testing.assert_allclose(maps.pixel, PIXEL, rtol=1e-6)
    np.testing.assert_allclose(maps.origin, origin, atol=1e-5)
    assert is_map(write(name, density))


def test_an_origin_beside_starts_is_told_of(write, density, tmp_path):
    file = gemmi.read_ccp4_map(str(write("a.mrc", density, origin=(-1.6, 2.7, 4.0))))
    for origin, words in (((-1.6, 2.7, 4.0), []), ((9.0, 2.7, 4.0), ["-1.60, 2.70, 4.00 Å", "9.00, 2.70, 4.00 Å"])):
        for axis, place in enumerate(origin):
            file.set_header_float(50 + axis, place)
        file.write_ccp4_map(str(tmp_path / "both.mrc"))
        maps = read_maps(tmp_path / "both.mrc", resolution=3.0)
        np.testing.assert_allclose(maps.origin, (-1.6, 2.7, 4.0), atol=1e-5)
        assert len(maps.notes) == bool(words)
        assert all(word in maps.notes[0] for word in words)


def test_axes_in_another_order(write, density, tmp_path):
    file = gemmi.read_ccp4_map(str(write("a.mrc", density, origin=(-1.6, 2.7, 4.0))))
    other = gemmi.Ccp4Map()
    other.grid = gemmi.FloatGrid(np.ascontiguousarray(density.transpose(2, 0, 1)))
    other.grid.set_unit_cell(gemmi.UnitCell(*np.roll(PIXEL * SHAPE, 1), 90, 90, 90))
    other.grid.spacegroup = gemmi.SpaceGroup("P 1")
    other.update_ccp4_header(2, True)
    for word, value in {17: 3, 18: 1, 19: 2, 5: 4, 6: -2, 7: 3}.items():  # columns along z, rows along x
        other.set_header_i32(word, value)
    for word in range(3):
        other.set_header_i32(8 + word, SHAPE[word])
        other.set_header_float(11 + word, float(file.header_float(11 + word)))
    other.write_ccp4_map(str(tmp_path / "turned.mrc"))
    maps = read_maps(tmp_path / "turned.mrc", resolution=3.0)
    np.testing.assert_array_equal(maps.density, density)
    np.testing.assert_allclose(maps.pixel, PIXEL, rtol=1e-6)
    np.testing.assert_allclose(maps.origin, (-1.6, 2.7, 4.0), atol=1e-5)


def test_half_maps_are_their_mean_and_half_their_difference(write, density):
    maps = read_maps(write("a.mrc", density), write("b.mrc", density[::-1]), resolution=3.0)
    np.testing.assert_allclose(maps.density + maps.difference, density, atol=1e-6)
    np.testing.assert_allclose(maps.density - maps.difference, density[::-1], atol=1e-6)
    assert repr(maps) == "Maps(half maps, 10 x 12 x 14 voxels, to 3 Å)"


def test_half_maps_on_other_grids(write, density):
    one = write("a.mrc", density)
    for other, words in (
        (write("b.mrc", density[:-1]), "9 x 12 x 14 voxels, not 10 x 12 x 14"),
        (write("c.mrc", density, pixel=PIXEL * 1.01), "voxels of 0.80800 0.90900 1.01000 Å, not 0.80000"),
        (write("e.mrc", density, pixel=PIXEL * 1.00024), "voxels of 0.80019 0.90022 1.00024 Å, not 0.80000 0.90000"),
        (write("d.mrc", density, origin=(0.8, 0, 0)), "first voxel at 0.80000 0.00000 0.00000 Å"),
    ):
        with pytest.raises(ValueError, match=words):
            read_maps(one, other, resolution=3.0)
        with pytest.raises(ValueError, match=words):
            read_maps(one, resolution=3.0, mask=other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one * 0, "is 0 everywhere"),
        (lambda one: one * 0 + 2, "is 2 everywhere"),
        (lambda one: np.where(one > 1, np.nan, one), "no finite numbers"),
        (lambda one: np.where(one > 1, np.inf, one), "no finite numbers"),
    ],
)
def test_maps_without_anything_in_them(change, words, write, density):
    bad, good = write("bad.mrc", change(density).astype(np.float32)), write("good.mrc", density)
    for pair in ((bad,), (bad, good), (good, bad)):
        with pytest.raises(ValueError, match=rf"bad\.mrc.*{words}"):
            read_maps(*pair, resolution=3.0)


def test_files_that_are_no_maps(write, density, tmp_path):
    good = write("good.mrc", density)
    with pytest.raises(ValueError, match="is 0 everywhere; give two half maps, not one map twice"):
        read_maps(good, good, resolution=3.0)
    (tmp_path / "short.mrc").write_bytes(good.read_bytes()[:2000])
    (tmp_path / "header.mrc").write_bytes(good.read_bytes()[:100])
    (tmp_path / "short.mrc.gz").write_bytes(gzip.compress(good.read_bytes())[:2000])
    (tmp_path / "text.mrc").write_text("no map " * 100)
    for name, words in (
        ("short.mrc", "damaged or cut short"),
        ("header.mrc", "damaged or cut short"),
        ("short.mrc.gz", "damaged or cut short"),
        ("text.mrc", "is no map"),
    ):
        with pytest.raises(ValueError, match=words):
            read_maps(tmp_path / name, resolution=3.0)
    with pytest.raises(FileNotFoundError):
        read_maps(tmp_path / "lost.mrc", resolution=3.0)
    with pytest.raises(IsADirectoryError):
        read_maps(tmp_path, resolution=3.0)


@pytest.mark.parametrize("zipped", [False, True])
def test_what_the_header_says_is_told(zipped, write, density, tmp_path):
    good = write("good.mrc", density).read_bytes()
    path = tmp_path / ("bad.mrc.gz" if zipped else "bad.mrc")
    for place, new, words in (
        (208, bytes(4), "lacks the word MAP"),
        (212, bytes(4), r"machine stamp in its header is 00 00 00 00 \(hex"),
        (12, bytes([4, 0, 0, 0]), "values of mode 4 by its header; wanted real numbers, mode 0, 1, 2, 6, 12"),
        (0, np.array(-10, "<i4").tobytes(), "has -10 x 12 x 14 voxels by its header"),
    ):
        bad = good[:place] + new + good[place + 4 :]
        path.write_bytes(gzip.compress(bad) if zipped else bad)
        assert is_map(path)
        with pytest.raises(ValueError, match=rf"bad\.mrc.*{words}"):
            read_maps(path, resolution=3.0)


def test_gzipped_files_that_gemmi_does_not_know_for_such(write, density, tmp_path):
    (tmp_path / "b.mrc").write_bytes(gzip.compress(write("a.mrc", density).read_bytes()))
    with pytest.raises(ValueError, match=r"let its name end in \.gz"):
        read_maps(tmp_path / "b.mrc", resolution=3.0)
    whole = bytearray(gzip.compress(bytes(range(256)) * 40))
    whole[10:40] = b"\xff" * 30
    (tmp_path / "data.mtz.gz").write_bytes(whole)
    assert not is_map(tmp_path / "data.mtz.gz")


def test_what_can_t_be(write, density):
    good = write("good.mrc", density)
    for settings, words in (
        ({"resolution": 1.9}, "hold nothing beyond 2.00 Å"),
        ({"resolution": 10}, "occupancies need a finer one"),
        ({"resolution": -1}, "wanted numbers above 0"),
        ({"resolution": 3, "radius": 0}, "wanted numbers above 0"),
        ({"resolution": 3, "mask": good}, "a mask has values from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=words):
            read_maps(good, **settings)


def test_a_cell_with_other_angles(write, density, tmp_path):
    file = gemmi.read_ccp4_map(str(write("a.mrc", density)))
    file.set_header_float(16, 120.0)
    file.write_ccp4_map(str(tmp_path / "b.mrc"))
    with pytest.raises(ValueError, match="wanted a map with right angles"):
        read_maps(tmp_path / "b.mrc", resolution=3.0)
