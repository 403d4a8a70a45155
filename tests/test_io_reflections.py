"""Reading reflections: what is left out, the asymmetric unit, damaged files, and the object."""

import gzip

import gemmi
import jaxtyping
import numpy as np
import pytest
from reflection_files import HKL, usual, write_mtz

from jax_occupancy.io import Reflections, read_reflections

NAN = np.nan


def test_usual_file(tmp_path):
    path = write_mtz(tmp_path, usual())
    data = read_reflections(path)
    np.testing.assert_array_equal(data.hkl, HKL)
    assert data.hkl.dtype == np.int32
    np.testing.assert_array_equal(data.amplitude, [10, 20, 30, 40, 50, 60])
    np.testing.assert_array_equal(data.sigma, [1, 2, 3, 4, 5, 6])
    assert data.amplitude.dtype == data.sigma.dtype == np.float64
    assert data.free.tolist() == [True] + [False] * 5
    assert data.labels == {"amplitude": "FP", "sigma": "SIGFP", "free": "FreeR_flag"}
    assert (data.free_value, data.n_reflections, data.n_free) == (0, 6, 1)
    assert data.notes == ("free set: flag 0, the rarer of two values (CCP4 convention)",)
    assert (data.kind, data.intensity, data.wavelength) == ("amplitudes", None, None)
    assert set(data.left_out.values()) == {0}
    assert data.spacegroup.hm == "P 21 21 21"
    assert data.cell.parameters == (20, 30, 40, 90, 90, 90)
    assert data.path == path
    # d of an orthorhombic cell in closed form
    d = 1 / np.sqrt((np.array(HKL) ** 2 / np.array([20, 30, 40]) ** 2).sum(axis=1))
    np.testing.assert_allclose(data.d_spacing(), d, rtol=1e-12)
    assert data.resolution == pytest.approx((d.max(), d.min()))
    assert "6 reflections, 1 free" in repr(data)


def test_gzipped(tmp_path):
    path = write_mtz(tmp_path, usual())
    (tmp_path / "data.mtz.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_reflections(tmp_path / "data.mtz.gz").n_reflections == 6


def test_resolution_limits(tmp_path):
    path = write_mtz(tmp_path, usual())
    d = read_reflections(path).d_spacing()
    data = read_reflections(path, d_min=float(d[2]), d_max=10.0)  # limits are included
    assert data.hkl.tolist() == [list(HKL[i]) for i in range(6) if d[2] <= d[i] <= 10]
    assert data.left_out["outside resolution limits"] == 6 - data.n_reflections > 0
    for wrong in ({"d_min": 5.0, "d_max": 3.0}, {"d_min": 0.0}, {"d_min": -1.0}, {"d_max": NAN}):
        with pytest.raises(ValueError, match="wanted 0 < d_min < d_max in Å"):
            read_reflections(path, **wrong)
    with pytest.raises(ValueError, match=r"no usable reflection in FP; left out: 6 outside resolution limits"):
        read_reflections(path, d_min=20.0)


def test_absurd_resolution(tmp_path):
    path = write_mtz(tmp_path, usual(), hkl=[(1, 1, 0), (0, 0, 4), (2, 1, 3), (5, 1, 2), (1, 2, 3), (900, 0, 0)])
    with pytest.raises(ValueError, match=r"reflections to 0\.0222 Å with the cell \(20\.0, .*the cell or the indices"):
        read_reflections(path)
    assert read_reflections(path, d_min=1.0).n_reflections == 5


def test_a_column_of_an_unknown_dataset(tmp_path):
    path = write_mtz(tmp_path, usual())
    content = path.read_bytes()
    # the second data set, the one the columns belong to, gets another number
    for record in (b"PROJECT ", b"CRYSTAL ", b"DATASET ", b"DCELL   ", b"DWAVEL  "):
        content = content.replace(record + b"      1", record + b"      7")
    assert content != path.read_bytes()
    path.write_bytes(content)
    assert read_reflections(path).n_reflections == 6


def test_what_the_file_lacks_is_taken_from_the_caller(tmp_path):
    good = write_mtz(tmp_path, usual()).read_bytes()
    path = tmp_path / "no_group.mtz"
    header = good.index(b"SYMINF")
    path.write_bytes(
        b"".join((good[:header], good[header:].replace(b"'P 21 21 21'", b"'Q 99 99 99'").replace(b"  19 ", b"   0 ")))
    )
    with pytest.raises(ValueError, match=r"names no known space group.*spacegroup=\.\.\."):
        read_reflections(path)
    assert read_reflections(path, spacegroup=gemmi.SpaceGroup("P 21 21 21")).spacegroup.hm == "P 21 21 21"


def test_what_is_left_out_is_counted(tmp_path):
    hkl = [(0, 0, 0), (1, 1, 0), (1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (1, 1, 5), (0, 0, 3), (1, 1, 6), (1, 1, 7)]
    columns = {
        "FP": ("F", [9, NAN, 1, 0, -1, 5, -2, 3, 0, 8]),
        "SIGFP": ("Q", [1, 1, NAN, 0, -1, 0, 1, 1, 1, 2]),
        "FREE": ("I", [1, 1, 1, 1, 1, 1, 1, 1, 0, 1]),
    }
    data = read_reflections(write_mtz(tmp_path, columns, hkl=hkl), free_value=0)
    assert data.left_out == {
        "origin": 1,
        "missing": 2,
        "placeholder": 2,
        "sigma not positive": 1,
        "negative amplitude": 1,
        "systematic absence": 1,
        "out of all proportion": 0,
        "outside resolution limits": 0,
        "duplicate": 0,
    }
    assert data.hkl.tolist() == [[1, 1, 6], [1, 1, 7]]  # an amplitude of zero with a good σ is a measurement
    assert data.free.tolist() == [True, False]


def test_nothing_left_is_an_error(tmp_path):
    columns = {"FP": ("F", [NAN] * 6), "SIGFP": ("Q", [1] * 6)}
    with pytest.raises(ValueError, match=r"no usable reflection in FP; left out: .*6 missing"):
        read_reflections(write_mtz(tmp_path, columns))


def test_asymmetric_unit_and_duplicates(tmp_path):
    """P 21 21 21: all eight sign combinations are one reflection; the mean is weighted with 1/σ²."""
    hkl = [(3, 3, 3), (1, 2, 3), (-1, -2, 3), (2, 2, 2), (1, -2, -3)]
    columns = {
        "FP": ("F", [30, 10, 13, 20, 16]),
        "SIGFP": ("Q", [3, 1, 2, 2, 2]),
        "FREE": ("I", [1, 1, 0, 1, 1]),
    }
    data = read_reflections(write_mtz(tmp_path, columns, hkl=hkl))
    assert data.hkl.tolist() == [[3, 3, 3], [1, 2, 3], [2, 2, 2]]  # the order of the file
    assert data.left_out["duplicate"] == 2
    mean = (10 / 1 + 13 / 4 + 16 / 4) / (1 + 1 / 4 + 1 / 4)
    np.testing.assert_allclose(data.amplitude, [30, mean, 20], rtol=1e-14)
    np.testing.assert_allclose(data.sigma, [3, 1.5**-0.5, 2], rtol=1e-14)
    assert data.free.tolist() == [False, True, False]  # one copy in the test set takes all there


@pytest.mark.parametrize(("kind", "copies"), [("B", 2), ("Y", 3)])
def test_unmerged_data_without_batch_headers(tmp_path, kind, copies):
    """Batches, or more rows than two Friedel mates beside symmetry operations."""
    columns = {name: (kind, [*values] * copies) for name, (kind, values) in usual().items()}
    columns["extra"] = (kind, np.repeat(np.arange(copies), len(HKL)))
    with pytest.raises(ValueError, match=rf"unmerged data: it has the columns extra, and {6 * copies} rows of 6 refl"):
        read_reflections(write_mtz(tmp_path, columns, hkl=HKL * copies))
    # each reflection once, or twice as a Friedel mate
    once = {**usual(), "extra": (kind, [1] * 6)}
    assert read_reflections(write_mtz(tmp_path, once)).n_reflections == 6
    if kind == "Y":
        mates = {name: (kind, [*values] * 2) for name, (kind, values) in once.items()}
        hkl = [*HKL, *(tuple(-index for index in row) for row in HKL)]
        assert read_reflections(write_mtz(tmp_path, mates, hkl=hkl)).left_out["duplicate"] == 6


def test_missing_number_of_old_files(tmp_path):
    """Files older than NaN mark missing values with a number that the header states."""
    path = write_mtz(tmp_path, {"FP": ("F", [-999, 2, 3, 4, 5, 6]), "SIGFP": ("Q", [1] * 6)})
    content = path.read_bytes()
    assert content.count(b"VALM NAN ") == 1
    path.write_bytes(content.replace(b"VALM NAN ", b"VALM -999"))
    data = read_reflections(path)
    assert data.left_out["missing"] == 1
    assert data.n_reflections == 5


def test_bad_files_are_named(tmp_path):
    good = write_mtz(tmp_path, usual()).read_bytes()
    for content, message in (
        (b"", "is empty"),
        (b"ATOM      1  CA  ALA A   1\n", r"looks like a model \(PDB\); reflections are wanted"),
        (b"data_x\n_cell.length_a 1\n", "holds no reflections; reflections are wanted here"),
        (b"hello", "looks like neither MTZ nor mmCIF"),
        (bytes(range(256)), "looks like an unknown binary file"),
        (good[:60], "truncated MTZ file"),
        (good[:-700], "truncated MTZ file"),
        (good[:100] + good[140:], "names no known space group"),
        (good[:20] + good[-2000:], "damaged MTZ file|names no known space group"),
        (good.replace(b"COLUMN FP ", b"COLUMN F\xc1 "), "is damaged .*can't decode"),
        (gzip.compress(good)[:-20], "damaged or truncated gzip"),
    ):
        (tmp_path / "bad.mtz").write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_reflections(tmp_path / "bad.mtz")
        assert "bad.mtz" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_reflections(tmp_path / "none.mtz")
    with pytest.raises(IsADirectoryError, match="folder"):
        read_reflections(tmp_path)


def reflections(**changes):
    fields = {
        "hkl": np.array(HKL),
        "amplitude": np.arange(1.0, 7.0),
        "sigma": np.ones(6),
        "free": np.arange(6) == 2,
        "cell": gemmi.UnitCell(20, 30, 40, 90, 90, 90),
        "spacegroup": gemmi.SpaceGroup("P 21 21 21"),
    }
    return Reflections(**{**fields, **changes})


def test_select_keeps_rows_together():
    data = reflections(left_out={"missing": 3})
    mask = data.d_spacing() < 10
    chosen = data.select(mask)
    np.testing.assert_array_equal(chosen.hkl, data.hkl[mask])
    np.testing.assert_array_equal(chosen.amplitude, data.amplitude[mask])
    np.testing.assert_array_equal(chosen.free, data.free[mask])
    assert chosen.left_out == {"missing": 3}
    assert 0 < chosen.n_reflections < data.n_reflections
    for wrong in (mask[:3], mask.astype(int)):
        with pytest.raises(ValueError, match=r"wanted bool\(6,\)"):
            data.select(wrong)
    with pytest.raises(ValueError, match="no reflections"):
        data.select(np.zeros(6, bool))


def test_intensities_with_amplitudes_derived_from_them():
    intensity = np.array([1.0, -2, 3, 4, 5, 6])
    data = reflections(amplitude=None, sigma=None, intensity=intensity, intensity_sigma=np.ones(6))
    derived = data.with_amplitudes(np.sqrt(np.abs(intensity)), np.full(6, 0.5))
    assert (data.amplitude, data.kind, derived.kind) == (None, "intensities", "intensities")
    assert derived.intensity.tolist() == intensity.tolist()
    assert derived.sigma.tolist() == [0.5] * 6
    chosen = derived.select(intensity > 0)
    assert (chosen.intensity.tolist(), chosen.amplitude.tolist()) == (
        [1, 3, 4, 5, 6],
        np.sqrt([1, 3, 4, 5, 6]).tolist(),
    )
    assert data.select(intensity > 0).amplitude is None
    with pytest.raises(ValueError, match="read-only"):
        data.intensity[0] = 2.0
    with pytest.raises(ValueError, match="amplitude must be finite and not negative"):
        data.with_amplitudes(intensity, np.ones(6))


def test_arrays_are_copied_and_read_only():
    amplitude = np.arange(1.0, 7.0)
    data = reflections(amplitude=amplitude)
    amplitude[0] = 99
    assert data.amplitude[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        data.amplitude[0] = 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amplitude": None, "sigma": None}, "no data: give amplitude and sigma, or intensity and intensity_sigma"),
        ({"sigma": None}, "amplitude and sigma belong together; got only one"),
        ({"intensity": np.ones(6)}, "intensity and intensity_sigma belong together"),
        ({"amplitude": -np.ones(6)}, "amplitude must be finite and not negative; wrong for 6"),
        ({"intensity": np.ones(6), "intensity_sigma": np.zeros(6)}, "intensity_sigma must be finite and positive"),
        ({"wavelength": 0.0}, "wavelength is 0.0; wanted a positive number"),
        (
            {"sigma": np.array([1.0, 0, 1, 1, 1, 1])},
            r"sigma must be finite and positive; wrong for 1 hkl, first \(0, 0, 4\)",
        ),
        (
            {"amplitude": np.array([1.0, NAN, 1, 1, 1, 1])},
            r"amplitude must be finite and not negative; wrong for 1 hkl, first \(0, 0, 4\)",
        ),
    ],
)
def test_inconsistent_reflections(changes, message):
    with pytest.raises(ValueError, match=message):
        reflections(**changes)


@pytest.fixture
def unchecked_annotations():
    """As for a user: these tests check annotations at run time, which finds wrong shapes first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_shapes_of_reflections(unchecked_annotations):
    with pytest.raises(ValueError, match=r"each of the 6 hkl; got .*'sigma': \(5,\)"):
        reflections(sigma=np.ones(5))
    with pytest.raises(ValueError, match=r"hkl has shape \(6, 2\)"):
        reflections(hkl=np.ones((6, 2), int))


def test_4xof(data_dir):
    data = read_reflections(data_dir / "4xof.mtz")
    assert (data.n_reflections, data.n_free, data.free_value) == (22_230, 1_112, 0)
    assert data.labels == {"amplitude": "FP", "sigma": "SIGFP", "free": "FreeR_flag"}
    assert set(data.left_out.values()) == {0}
    assert data.spacegroup.hm == "P 21 21 21"


def test_1g8a_without_its_placeholders(data_dir):
    data = read_reflections(data_dir / "1g8a.mtz")
    assert (data.n_reflections, data.n_free, data.free_value) == (42_656, 2_133, 0)
    assert data.labels == {"amplitude": "FOBS", "sigma": "SIGFOBS", "free": "R-free-flags"}
    assert data.left_out["placeholder"] == 346
    assert sum(data.left_out.values()) == 346
    assert data.wavelength == pytest.approx(0.95)
    intensities = read_reflections(data_dir / "1g8a.mtz", intensity="IOBS")
    # the file has no amplitudes for the negative ones; its other amplitudes are plain roots, of few digits
    assert (intensities.kind, intensities.n_reflections) == ("intensities", 43_001)
    assert (intensities.intensity <= 0).sum() == 345
    positive = intensities.select(intensities.intensity > 0)
    assert np.array_equal(positive.hkl, data.hkl)
    np.testing.assert_allclose(data.amplitude, np.sqrt(positive.intensity), rtol=0.02)
