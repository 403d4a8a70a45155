"""Reading reflections from mmCIF: blocks, items, status codes, and what is wrong with a file."""

import gc
import gzip

import gemmi
import numpy as np
import pytest

from jax_occupancy.io import read_model, read_reflections

CELL = """_cell.length_a 20
_cell.length_b 30.0(2)
_cell.length_c 40
_cell.angle_alpha 90
_cell.angle_beta  90
_cell.angle_gamma 90
"""
GROUP = "_symmetry.space_group_name_H-M 'P 21 21 21'\n"
HKL = ["1 1 0", "0 0 4", "2 1 3", "5 1 2", "1 2 3", "3 3 3"]
AMPLITUDES = {
    "F_meas_au": "10 20 30 40 50 60",
    "F_meas_sigma_au": "1 2 3 4 5 6",
    "status": "f o o o o o",
}


def block(items, *, name="r1xxxsf", hkl=HKL, head=CELL + GROUP):
    """A data block with a `_refln` loop of the items {name: values}."""
    columns = {name: text.split() for name, text in items.items()}
    tags = "".join(f"_refln.{tag}\n" for tag in ("index_h", "index_k", "index_l", *columns))
    rows = "".join(" ".join((h, *(v[i] for v in columns.values()))) + "\n" for i, h in enumerate(hkl))
    return f"data_{name}\n{head}loop_\n{tags}{rows}#\n"


def write(folder, text, name="data-sf.cif"):
    (folder / name).write_text(text)
    return folder / name


def read(folder, items, *, hkl=HKL, head=CELL + GROUP, **options):
    return read_reflections(write(folder, block(items, hkl=hkl, head=head)), **options)


def test_usual_file(tmp_path):
    path = write(tmp_path, block(AMPLITUDES))
    data = read_reflections(path)
    gc.collect()
    assert data.hkl.tolist() == [[int(i) for i in row.split()] for row in HKL]
    assert data.amplitude.tolist() == [10, 20, 30, 40, 50, 60]
    assert data.sigma.tolist() == [1, 2, 3, 4, 5, 6]
    assert data.free.tolist() == [True] + [False] * 5
    assert data.labels == {"amplitude": "F_meas_au", "sigma": "F_meas_sigma_au", "free": "status"}
    assert (data.kind, data.intensity, data.free_value, data.path) == ("amplitudes", None, "f", path)
    assert data.notes == ("free set: status f in status (mmCIF convention)",)
    assert data.cell.parameters == (20, 30, 40, 90, 90, 90)
    assert data.spacegroup.hm == "P 21 21 21"
    assert data.wavelength is None


@pytest.mark.parametrize("name", ["a.cif.gz", "a.mtz", "a.pdb", "a"])
def test_content_decides(tmp_path, name):
    text = "\n# a comment first\n" + block(AMPLITUDES)
    content = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    (tmp_path / name).write_bytes(content)
    assert read_reflections(tmp_path / name).n_reflections == 6


def test_a_compressed_mtz_may_have_any_name(tmp_path):
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup("P 1")
    mtz.set_cell_for_all(gemmi.UnitCell(20, 30, 40, 90, 90, 90))
    mtz.add_dataset("native").wavelength = 0.979
    for label, kind in (("FP", "F"), ("SIGFP", "Q")):
        mtz.add_column(label, kind)
    mtz.set_data(np.array([[1, 0, 0, 5, 1], [0, 2, 0, 6, 1]], np.float32))
    (tmp_path / "a.cif").write_bytes(gzip.compress(mtz.write_to_bytes()))
    data = read_reflections(tmp_path / "a.cif")
    assert (data.n_reflections, data.wavelength) == (2, pytest.approx(0.979))
    with pytest.raises(ValueError, match=r"a\.cif is an MTZ file and has no block 'x'"):
        read_reflections(tmp_path / "a.cif", block="x")


def test_one_reflection_without_a_loop(tmp_path):
    items = {"index_h": 1, "index_k": 2, "index_l": 3, "F_meas_au": 7, "F_meas_sigma_au": 1}
    pairs = "".join(f"_refln.{name} {value}\n" for name, value in items.items())
    data = read_reflections(write(tmp_path, f"data_x\n{CELL}{GROUP}{pairs}"))
    assert (data.hkl.tolist(), data.amplitude.tolist()) == ([[1, 2, 3]], [7])


def test_intensities(tmp_path):
    items = {"intensity_meas": "10 -20 30 0 50 60", "intensity_sigma": "1 2 3 4 5 6", "pdbx_r_free_flag": "1 0 2 3 4 0"}
    data = read(tmp_path, items)
    assert (data.kind, data.amplitude, data.sigma) == ("intensities", None, None)
    assert data.intensity.tolist() == [10, -20, 30, 0, 50, 60]
    assert data.intensity_sigma.tolist() == [1, 2, 3, 4, 5, 6]
    assert data.labels == {"intensity": "intensity_meas", "sigma": "intensity_sigma", "free": "pdbx_r_free_flag"}
    assert np.flatnonzero(data.free).tolist() == [1, 5]
    assert data.notes == ("free set: flag 0, one of 5 values (CCP4 convention)",)
    squared = read(tmp_path, {"F_squared_meas": "1 2 3 4 5 6", "F_squared_sigma": "1 1 1 1 1 1"})
    assert squared.kind == "intensities"


def test_amplitudes_come_first_and_the_rest_is_named(tmp_path):
    items = {
        "intensity_meas": "9 9 9 9 9 9",
        "intensity_sigma": "1 1 1 1 1 1",
        **AMPLITUDES,
        "pdbx_r_free_flag": "0 0 1 1 1 1",
    }
    data = read(tmp_path, items)
    assert data.labels == {"amplitude": "F_meas_au", "sigma": "F_meas_sigma_au", "free": "status"}
    assert data.notes[:2] == (
        "amplitudes F_meas_au taken (6 reflections); the file also has intensities intensity_meas (6): "
        "choose with intensity=intensity_meas",
        "free flags status taken (6 reflections); the file also has pdbx_r_free_flag (6): "
        "choose with free=pdbx_r_free_flag",
    )
    chosen = read(tmp_path, items, intensity="_refln.intensity_meas", free="pdbx_r_free_flag", free_value=1)
    assert (chosen.kind, chosen.labels["sigma"], chosen.n_free) == ("intensities", "intensity_sigma", 4)
    with pytest.raises(ValueError, match="both given; choose one"):
        read(tmp_path, items, intensity="intensity_meas", amplitude="F_meas_au")
    with pytest.raises(ValueError, match=r"column status \(intensity\) has type s, wanted one of F, G, J, K"):
        read(tmp_path, items, intensity="status")
    with pytest.raises(ValueError, match=r"has no column 'FP' \(amplitude\)\. Columns: intensity_meas \(J\), "):
        read(tmp_path, items, amplitude="FP")


def test_calculated_items_are_never_taken(tmp_path):
    calculated = {
        name: "1 2 3 4 5 6"
        for name in (
            "F_calc",
            "F_calc_au",
            "pdbx_FWT",
            "pdbx_DELFWT",
            "phase_calc",
            "pdbx_F_calc_with_solvent",
            "F_squared_calc",
        )
    }
    with pytest.raises(ValueError, match=r"no measured amplitudes or intensities.*F_calc \(F\), F_calc_au \(F\)"):
        read(tmp_path, {**calculated, "status": "f o o o o o"})
    assert read(tmp_path, {**calculated, **AMPLITUDES}).labels["amplitude"] == "F_meas_au"


def test_names_of_items_have_no_case(tmp_path):
    data = read(tmp_path, {"f_meas_AU": "1 2 3 4 5 6", "F_MEAS_SIGMA_AU": "1 1 1 1 1 1", "Status": "O O F O O O"})
    assert data.labels == {"amplitude": "F_meas_au", "sigma": "F_meas_sigma_au", "free": "status"}
    assert np.flatnonzero(data.free).tolist() == [2]


def test_indices_may_be_written_with_a_point(tmp_path):
    data = read(tmp_path, AMPLITUDES, hkl=["1. 1 0", "0 0 4.0", "2 '1' 3", "5 1 2e0", "+1 2 3", "3 3 3"])
    assert data.hkl.tolist() == [[int(i) for i in row.split()] for row in HKL]


def test_no_sigma_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no sigma .*belongs to the amplitudes F_meas_au.*add sigmas to the file"):
        read(tmp_path, {"F_meas_au": "1 2 3 4 5 6", "status": "f o o o o o"})
    # the σ of intensities right behind them is not the σ of the amplitudes
    items = {"F_meas_au": "1 2 3 4 5 6", "intensity_sigma": "1 1 1 1 1 1", "intensity_meas": "1 4 9 16 25 36"}
    assert read(tmp_path, items).kind == "intensities"
    with pytest.raises(ValueError, match="no sigma"):
        read(tmp_path, items, amplitude="F_meas_au")


def test_missing_values_and_status_codes(tmp_path):
    hkl = [f"1 1 {i}" for i in range(1, 13)]
    data = read(
        tmp_path,
        {
            "F_meas_au": "1 ? . 4 5 6 7 8 9 inf nan 12",
            "F_meas_sigma_au": "1 1 1 ? 1 1 1 1 1 1 1 1.5(2)",
            "status": "f o o o x - < h ? o o o",
        },
        hkl=hkl,
    )
    # weak ones (<) and those without a code are worked with
    assert data.amplitude.tolist() == [1, 7, 9, 12]
    assert data.free.tolist() == [True, False, False, False]
    assert data.sigma.tolist() == [1, 1, 1, 1.5]
    counts = {reason: count for reason, count in data.left_out.items() if count}
    assert counts == {"rejected by status": 3, "missing": 5}
    assert "1 reflections without a flag" in data.notes[0]


@pytest.mark.parametrize(
    ("status", "free", "value"),
    [
        ("f f f o o o", [0, 1, 2], "f"),  # the code says it, be they as many as the others
        ("f f f f o o", [], None),  # most reflections are no free set
        ("0 1 1 1 1 1", [0], 0),  # old files have numbers
        ("1 0 0 0 0 0", [0], 1),
        ("'f' \"o\" O o o F", [0, 5], "f"),
        ("f o o o - --1", [0], "f"),  # neither a code nor a number
    ],
)
def test_status_conventions(tmp_path, status, free, value):
    data = read(tmp_path, {**AMPLITUDES, "status": status})
    assert (np.flatnonzero(data.free).tolist(), data.free_value) == (free, value)


def test_status_without_free_reflections(tmp_path):
    items = {**AMPLITUDES, "status": "o o o o o o"}
    data = read(tmp_path, items)
    assert (data.n_free, data.free_value, data.labels["free"]) == (0, None, None)
    assert "no R-free" in data.notes[0]
    # the flags of the refinement stand in for it
    data = read(tmp_path, {**items, "pdbx_r_free_flag": "1 0 0 0 0 0"})
    assert (data.n_free, data.free_value, data.labels["free"]) == (1, 1, "pdbx_r_free_flag")


def test_codes_have_no_free_value(tmp_path):
    with pytest.raises(ValueError, match=r"column status has codes, of which f means free: leave free_value out"):
        read(tmp_path, AMPLITUDES, free_value=0)
    with pytest.raises(ValueError, match=r"has no value 7; it has 0, 1"):
        read(tmp_path, {**AMPLITUDES, "pdbx_r_free_flag": "0 1 1 1 1 1"}, free="pdbx_r_free_flag", free_value=7)


def test_friedel_mates(tmp_path):
    items = {
        "pdbx_I_plus": "10 20 ? -4 50 8",
        "pdbx_I_plus_sigma": "1 1 ? 2 0 1",
        "pdbx_I_minus": "16 ? 30 8 60 8",
        "pdbx_I_minus_sigma": "2 ? 3 2 2 1",
        "status": "f o o o o o",
    }
    hkl = ["1 1 5", "2 1 3", "3 1 3", "1 2 3", "3 3 3", "1 1 0"]
    data = read(tmp_path, items, hkl=hkl)
    assert data.labels["intensity"] == "pdbx_I_plus and pdbx_I_minus"
    assert data.notes[0] == "pdbx_I_plus and pdbx_I_minus merged into their mean, weighted with 1/σ²"
    np.testing.assert_allclose(data.intensity, [(10 + 16 / 4) / 1.25, 20, 30, 2, 60, 8], rtol=1e-15)
    # 1 1 0 is centric: one measurement written twice
    np.testing.assert_allclose(data.intensity_sigma, [1.25**-0.5, 1, 3, 2**0.5, 2, 1], rtol=1e-15)
    both = {**items, "F_meas_au": "1 2 3 4 5 6", "F_meas_sigma_au": "1 1 1 1 1 1"}
    assert read(tmp_path, both, hkl=hkl).labels["amplitude"] == "F_meas_au"


def test_the_first_block_with_measured_data(tmp_path):
    phases = {"F_calc": "1 2 3 4 5 6", "phase_calc": "1 2 3 4 5 6"}
    second = {**AMPLITUDES, "F_meas_au": "11 21 31 41 51 61"}
    text = (
        "data_empty\n_x.y 1\n"
        + block(phases, name="calc")
        + block(AMPLITUDES, name="Native")
        + block(second, name="peak")
    )
    path = write(tmp_path, text)
    data = read_reflections(path)
    assert data.amplitude[0] == 10
    assert data.notes[0] == "block Native taken, of calc, Native, peak: choose another with block=..."
    for name in ("peak", "PEAK", "data_peak"):
        chosen = read_reflections(path, block=name)
        assert (chosen.amplitude[0], len(chosen.notes)) == (11, 1)
    with pytest.raises(ValueError, match=r"has no block 'empty' with reflections; it has calc, Native, peak"):
        read_reflections(path, block="empty")
    with pytest.raises(ValueError, match=r"block calc has no measured amplitudes"):
        read_reflections(path, block="calc")
    # a named column is looked for in all blocks
    intensities = {"intensity_meas": "1 2 3 4 5 6", "intensity_sigma": "1 1 1 1 1 1"}
    path = write(tmp_path, block(AMPLITUDES, name="f") + block(intensities, name="i"))
    assert read_reflections(path, intensity="intensity_meas").kind == "intensities"


def test_several_wavelengths_in_one_loop(tmp_path):
    wavelengths = "loop_\n_diffrn_radiation_wavelength.id\n_diffrn_radiation_wavelength.wavelength\n1 0.9795\n2 0.9\n"
    items = {**AMPLITUDES, "crystal_id": "1 1 1 1 1 1", "wavelength_id": "2 2 2 2 1 1"}
    hkl = ["1 1 1", "1 1 2", "1 1 3", "1 1 4", "1 1 1", "1 1 2"]
    data = read(tmp_path, items, hkl=hkl, head=CELL + GROUP + wavelengths)
    assert (data.n_reflections, data.wavelength) == (4, 0.9)
    assert (data.left_out["other data set"], data.left_out["duplicate"]) == (2, 0)
    assert "holds 2 data sets; taken: crystal_id 1, wavelength_id 2" in data.notes[0]
    # two wavelengths and no word on which is which
    del items["wavelength_id"]
    assert read(tmp_path, items, head=CELL + GROUP + wavelengths).wavelength is None


@pytest.mark.parametrize(("text", "wanted"), [("1.5418", 1.5418), ("0", None), ("?", None), (".", None)])
def test_wavelength(tmp_path, text, wanted):
    head = CELL + GROUP + f"_diffrn_radiation_wavelength.id 1\n_diffrn_radiation_wavelength.wavelength {text}\n"
    assert read(tmp_path, AMPLITUDES, head=head).wavelength == wanted


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("_space_group.name_H-M_alt 'P 21 21 21'\n", "P 21 21 21"),
        ("_symmetry.space_group_name_H-M ?\n_symmetry.Int_Tables_number 19\n", "P 21 21 21"),
        ("_symmetry.space_group_name_H-M P212121\n", "P 21 21 21"),
    ],
)
def test_space_group(tmp_path, group, name):
    assert read(tmp_path, AMPLITUDES, head=CELL + group).spacegroup.hm == name


def test_what_the_file_does_not_state_is_taken_from_the_caller(tmp_path):
    cell, spacegroup = gemmi.UnitCell(20, 30, 40, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
    with pytest.raises(
        ValueError, match=r"block r1xxxsf states no cell; set the right one in the file, or give cell=\.\.\."
    ):
        read(tmp_path, AMPLITUDES, head="")
    with pytest.raises(ValueError, match=r"names no known space group \(''\); .*give spacegroup=\.\.\."):
        read(tmp_path, AMPLITUDES, head=CELL)
    with pytest.raises(ValueError, match=r"names no known space group \('P 99'\)"):
        read(tmp_path, AMPLITUDES, head=CELL + "_symmetry.space_group_name_H-M 'P 99'\n")
    for wrong in ("_cell.length_a 0", "_cell.length_a ?", "_cell.length_a -20", "_cell.length_a 1e400"):
        with pytest.raises(ValueError, match=r"states (the|no) cell"):
            read(tmp_path, AMPLITUDES, head=CELL.replace("_cell.length_a 20", wrong) + GROUP)
    data = read(tmp_path, AMPLITUDES, head="", cell=cell, spacegroup=spacegroup)
    assert (data.n_reflections, data.cell.a) == (6, 20)
    assert data.notes[:2] == (
        "the data state no cell: 20 30 40 90 90 90 is taken as given",
        "the data name no known space group: P 21 21 21 is taken as given",
    )
    stated = read(tmp_path, AMPLITUDES, cell=gemmi.UnitCell(1, 1, 1, 90, 90, 90), spacegroup=gemmi.SpaceGroup("P 1"))
    assert (stated.cell.a, stated.spacegroup.hm) == (20, "P 21 21 21")


def test_a_block_without_a_cell_takes_that_of_the_first_block_that_has_one(tmp_path):
    path = write(tmp_path, block(AMPLITUDES, name="a") + block(AMPLITUDES, name="b", head=""))
    data = read_reflections(path, block="b", cell=gemmi.UnitCell(1, 2, 3, 90, 90, 90))
    assert data.cell.parameters == (20, 30, 40, 90, 90, 90)
    assert data.spacegroup.hm == "P 21 21 21"
    assert data.notes[:2] == (
        "block b states no cell: that of block a is taken",
        "block b states no space group: that of block a is taken",
    )
    assert len(read_reflections(path, block="a").notes) == 1


def test_a_model_is_no_reflections_and_the_reverse(tmp_path):
    model = "data_x\n" + CELL + GROUP + "loop_\n_atom_site.id\n_atom_site.Cartn_x\n1 2.0\n"
    with pytest.raises(ValueError, match=r"holds a model \(_atom_site\) and no reflections; reflections are wanted"):
        read_reflections(write(tmp_path, model))
    with pytest.raises(ValueError, match=r"holds reflections and no atoms; a model is wanted"):
        read_model(write(tmp_path, block(AMPLITUDES)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (block(AMPLITUDES)[:-8], "is not valid CIF"),  # cut in the middle of a row
        ("data_x\nloop_\n_refln.index_h\n_refln.index_k\n", "is not valid CIF|holds no reflections"),
        (block(AMPLITUDES).replace("_refln.index_l", "_refln.index_m"), r"index_l must hold an integer in every row"),
        (block(AMPLITUDES).replace("5 1 2 ", "5 1 ? "), r"index_l must hold an integer.*wrong in rows \[4\]"),
        (block(AMPLITUDES).replace("5 1 2 ", "5 1.5 2 "), r"index_k must hold an integer.*wrong in rows \[4\]"),
        (block(AMPLITUDES).replace("30 3", "thirty 3"), r"item _refln\.F_meas_au has 1 values.*'thirty' in row 3"),
        (block(AMPLITUDES).replace("_refln.", "_refln_"), "is a small-molecule CIF"),
        (block(AMPLITUDES).replace("_refln.", "_diffrn_refln."), "holds unmerged data"),
        (block(AMPLITUDES).replace("_refln.status", "_other.status"), "is damaged .*in loop with _refln"),
        (block(AMPLITUDES).replace("beta  90", "beta 180"), "states the cell .*which no crystal has"),
        ("data_x\n_cell.length_a 1\n", "holds no reflections"),
        (
            block({"F_meas_au": "? ? ? ? ? ?", "F_meas_sigma_au": "1 1 1 1 1 1"}),
            r"no usable reflection.*left out: 6 missing",
        ),
        ("REMARK hello\n", "wanted here"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_reflections(write(tmp_path, text, "bad.cif"))
    assert "bad.cif" in str(caught.value)


def test_same_data_as_the_mtz(data_dir, tmp_path):
    """gemmi's own conversion of a real file to mmCIF and back to the same numbers."""
    mtz = gemmi.read_mtz_file(str(data_dir / "4xof.mtz"))
    (tmp_path / "4xof-sf.cif").write_text(gemmi.MtzToCif().write_cif_to_string(mtz))
    a, b = read_reflections(data_dir / "4xof.mtz"), read_reflections(tmp_path / "4xof-sf.cif")
    assert np.array_equal(a.hkl, b.hkl)
    assert np.array_equal(a.free, b.free)
    np.testing.assert_allclose(a.amplitude, b.amplitude, rtol=1e-5)
    np.testing.assert_allclose(a.sigma, b.sigma, rtol=1e-4)
