"""Which column of flags is taken, and which flag is the free one."""

import numpy as np
import pytest
from reflection_files import usual, write_mtz

from jax_occupancy.io import read_reflections

NAN = np.nan


def test_no_free_flags(tmp_path):
    columns = usual()
    del columns["FreeR_flag"]
    path = write_mtz(tmp_path, columns)
    data = read_reflections(path)
    assert (data.n_free, data.labels["free"], data.free_value) == (0, None, None)
    assert "there is no R-free" in data.notes[0]
    with pytest.raises(ValueError, match="no free flags that could be 1"):
        read_reflections(path, free_value=1)


@pytest.mark.parametrize(
    ("flags", "value", "free"),
    [
        ([0, 1, 1, 1, 1, 1], 0, [0]),  # two values: the rarer one
        ([0, 1, 0, 0, 0, 0], 1, [1]),
        ([-1, 1, 1, 1, 1, 1], -1, [0]),
        ([3, 0, 1, 2, 0, 1], 0, [1, 4]),  # more: 0
        ([0, 1, NAN, 1, NAN, 1], 0, [0]),  # no flag: work
    ],
)
def test_free_value(tmp_path, flags, value, free):
    data = read_reflections(write_mtz(tmp_path, usual(flags=flags)))
    assert data.free_value == value
    assert np.flatnonzero(data.free).tolist() == free
    assert len(data.notes) == 1 + bool(np.isnan(flags).any())


def test_stated_free_value_wins(tmp_path):
    data = read_reflections(write_mtz(tmp_path, usual(flags=[0, 1, 1, 1, 1, 1])), free_value=1)
    assert (data.free_value, data.free.tolist()) == (1, [False] + [True] * 5)


@pytest.mark.parametrize(
    ("flags", "free_value", "message"),
    [
        ([0, 1, 0, 1, 0, 1], None, "FreeR_flag has as many 0 as 1"),
        ([1, 2, 3, 1, 1, 1], None, r"has no value 0; it has 1, 2, 3"),
        ([0, 1, 1, 1, 1, 1], 5, r"has no value 5; it has 0, 1"),
        ([1, 2, 3, 4, 5, 6], None, r"it has 1, 2, 3, 4, 5 and 1 more: choose"),
        ([0.5, 1, 1, 1, 1, 1], None, "FreeR_flag holds 0.5; free flags are integers"),
        ([0, 0, 0, 0, 0, 0], 0, "none is left to refine against"),
    ],
)
def test_free_flags_that_do_not_tell(tmp_path, flags, free_value, message):
    with pytest.raises(ValueError, match=message):
        read_reflections(write_mtz(tmp_path, usual(flags=flags)), free_value=free_value)


def test_one_flag_for_all_is_no_free_set(tmp_path):
    data = read_reflections(write_mtz(tmp_path, usual(flags=[1] * 6)))
    assert (data.n_free, data.free_value) == (0, None)
    assert "one value only" in data.notes[0]
    nothing = read_reflections(write_mtz(tmp_path, usual(flags=[NAN] * 6)))
    assert "FreeR_flag has no values: every reflection is used for refinement" in nothing.notes[1]


def test_free_flags_and_wavelength_of_the_same_data_set(tmp_path):
    columns = {
        "FREE": ("I", [0, 1, 1, 1, 1, 1], "a"),
        "FA": ("F", [1] * 6, "a"),
        "SIGFA": ("Q", [1] * 6, "a"),
        "FB": ("F", [2] * 6, "b"),
        "SIGFB": ("Q", [1] * 6, "b"),
        "FreeR_other": ("I", [1, 0, 1, 1, 1, 1], "b"),
    }
    path = write_mtz(tmp_path, columns, wavelengths={"a": 0.9, "b": 1.2})
    a, b = (read_reflections(path, amplitude=name) for name in ("FA", "FB"))
    assert (a.labels["free"], a.wavelength) == ("FREE", pytest.approx(0.9))
    assert (b.labels["free"], b.wavelength) == ("FreeR_other", pytest.approx(1.2))
    assert b.notes[0] == (
        "free flags FreeR_other taken (6 reflections); the file also has FREE (6): choose with free=FREE"
    )
    # columns of a data set without a wavelength take the only one that the file states
    path = write_mtz(tmp_path, columns, wavelengths={"b": 1.2})
    assert read_reflections(path, amplitude="FA").wavelength == pytest.approx(1.2)


def test_free_flags_with_the_same_ending(tmp_path):
    amplitudes = {name: ("F", [1, 2, 3, 4, 5, 6]) for name in ("F_on", "F_off")}
    sigmas = {name: ("Q", [1] * 6) for name in ("SIGF_on", "SIGF_off")}
    flags = {"FREE_off": ("I", [0, 1, 1, 1, 1, 1]), "FREE_on": ("I", [1, 0, 1, 1, 1, 1])}
    path = write_mtz(tmp_path, {**amplitudes, **sigmas, **flags})
    for name in ("on", "off"):
        assert read_reflections(path, amplitude=f"F_{name}").labels["free"] == f"FREE_{name}"


def test_data_without_an_ending_do_not_claim_the_usual_flags(tmp_path):
    sets = {"F_on": ("F", [1, 2, 3, 4, 5, 6]), "SIGF_on": ("Q", [1] * 6)}
    columns = {**sets, **usual(free="FREE"), "FreeR_other": ("I", [1, 0, 1, 1, 1, 1])}
    assert read_reflections(write_mtz(tmp_path, columns), amplitude="F_on").labels["free"] == "FREE"


def test_free_flags_that_tell_nothing_apart_come_last(tmp_path):
    columns = {**usual(flags=[1] * 6), "test": ("I", [0, 1, 1, 1, 1, 1])}
    assert read_reflections(write_mtz(tmp_path, columns)).labels["free"] == "test"


@pytest.mark.parametrize(("flags", "value"), [([0, 0, 0, 0, 1, 2], None), ([0, 0, 0, 1, 2, 3], 0)])
def test_a_flag_that_most_reflections_have_is_not_the_free_set(tmp_path, flags, value):
    path = write_mtz(tmp_path, usual(flags=flags))
    data = read_reflections(path)
    assert (data.free_value, data.n_free) == (value, 0 if value is None else 3)
    if value is None:
        assert "FreeR_flag has flag 0 for 4 of 6 reflections, which is no free set, so there is" in data.notes[0]
        assert read_reflections(path, free_value=0).n_free == 4


@pytest.mark.parametrize("flags", [[0, 1, 1, 1, 1, 1], [0, 2, 1, 1, 2, 1]])
def test_free_reflections_that_were_never_measured(tmp_path, flags):
    columns = {**usual(flags=flags), "FP": ("F", [NAN, 20, 30, 40, 50, 60])}
    path = write_mtz(tmp_path, columns)
    for options in ({}, {"free_value": 0}):
        data = read_reflections(path, **options)
        assert (data.n_reflections, data.n_free, data.free_value) == (5, 0, None)
        assert "no reflection with flag 0" in data.notes[-1]
