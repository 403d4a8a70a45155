"""Which columns are taken: by values, types, names and data sets."""

import numpy as np
import pytest
from reflection_files import usual, write_mtz

from jax_occupancy.io import read_reflections

NAN = np.nan


@pytest.mark.parametrize(
    ("amplitude", "sigma", "free"),
    [
        ("FOBS", "SIGFOBS", "R-free-flags"),
        ("F-obs", "SIGF-obs", "R-free-flags"),
        ("F-obs-filtered", "SIGF-obs-filtered", "FREE"),
        ("F", "SIGF", "FREER"),
        ("FO", "SIGFO", "RFREE"),
        ("F_meas_au", "F_meas_sigma_au", "FreeRflag"),
        ("F_New", "SIGF_New", "FREE_FLAG"),
        ("my_native", "its_error", "TEST"),
    ],
)
def test_usual_names(tmp_path, amplitude, sigma, free):
    data = read_reflections(write_mtz(tmp_path, usual(amplitude, sigma, free)))
    assert data.labels == {"amplitude": amplitude, "sigma": sigma, "free": free}


def test_calculated_columns_are_never_taken(tmp_path):
    names = ["FC", "FC_ALL", "FCALC", "FWT", "F-model", "DELFWT", "2FOFCWT", "FOFCWT", "FC_ALL_LS", "FDELWT", "mFo-DFc"]
    calculated = {name: ("F", [1, 2, 3, 4, 5, 6]) for name in names}
    # even right in front of a column of type Q
    data = read_reflections(write_mtz(tmp_path, {**calculated, "SIGX": ("Q", [1] * 6), **usual("FPK", "SIGFPK")}))
    assert data.labels["amplitude"] == "FPK"
    with pytest.raises(ValueError, match=r"no measured amplitudes.*Columns: FC \(F\), FC_ALL \(F\)"):
        read_reflections(write_mtz(tmp_path, calculated))
    for name in ("FP", "FOBS", "F-obs", "F", "F_meas", "FO", "FNAT", "Fpeak"):
        data = read_reflections(write_mtz(tmp_path, {**usual(name, f"SIG{name}"), "FC": calculated["FC"]}))
        assert data.labels["amplitude"] == name


@pytest.mark.parametrize("ending", ["DMSO", "Cu", "Co2", "crystal3", "combined", "anom", "WT", "C", "masked"])
def test_only_whole_words_are_calculated(ending, tmp_path):
    """FC, FDM, FCOMB, FAN and FWT are; what only begins so is a crystal of that name."""
    name = f"F_{ending}"
    data = read_reflections(write_mtz(tmp_path, {**usual(name, f"SIG{name}"), "FC": ("F", [1] * 6)}))
    assert data.labels["amplitude"] == name
    data = read_reflections(write_mtz(tmp_path, {**usual("FP"), **usual(name, f"SIG{name}")}))
    assert data.notes[0].endswith(f"the file also has amplitudes {name} (6): choose with amplitude={name}")


def test_calculated_columns_with_a_sigma_are_told(tmp_path):
    """Without one they can be no data; with one a user may miss them."""
    calculated = {"F_model": ("F", [1] * 6), "SIGF_model": ("Q", [1] * 6), "FC": ("F", [1] * 6)}
    data = read_reflections(write_mtz(tmp_path, {**calculated, **usual()}))
    assert data.notes[0] == "amplitudes FP taken (6 reflections); not taken: F_model (calculated by its name)"
    with pytest.raises(ValueError, match=r"no measured .* not taken: F_model \(calculated by its name\)\. Name"):
        read_reflections(write_mtz(tmp_path, calculated))


def test_what_cannot_be_named_is_not_advised(tmp_path):
    with pytest.raises(ValueError, match="needs them; add sigmas to the file") as found:
        read_reflections(write_mtz(tmp_path, {"FP": ("F", [1] * 6)}))
    assert "sigma=..." not in str(found.value)
    with pytest.raises(ValueError, match=r"file that scaling and merging wrote\. Columns: DANO") as found:
        read_reflections(write_mtz(tmp_path, {"DANO": ("D", [1] * 6), "SIGDANO": ("Q", [1] * 6)}))
    assert "amplitude=..." not in str(found.value)


def test_several_candidates_are_recorded(tmp_path):
    columns = {**usual("FZ", "SIGFZ"), **usual("FOBS", "SIGFOBS", "FREE"), **usual("FP", "SIGFP", "test")}
    data = read_reflections(write_mtz(tmp_path, columns))
    assert data.labels == {"amplitude": "FP", "sigma": "SIGFP", "free": "FreeR_flag"}
    assert data.notes[:-1] == (
        "amplitudes FP taken (6 reflections); the file also has amplitudes FOBS (6), amplitudes FZ (6): "
        "choose with amplitude=...",
        "free flags FreeR_flag taken (6 reflections); the file also has FREE (6), test (6): choose with free=...",
    )
    first = read_reflections(write_mtz(tmp_path, {**usual("Fb", "SIGFb"), **usual("Fa", "SIGFa")}))
    assert first.labels["amplitude"] == "Fb"


def test_amplitudes_with_sigma_come_first(tmp_path):
    columns = {"FP": ("F", [1] * 6), "PHI": ("P", [0] * 6), **usual("Fx", "SIGFx")}
    assert read_reflections(write_mtz(tmp_path, columns)).labels["amplitude"] == "Fx"


def test_named_columns(tmp_path):
    columns = {**usual(), "FC": ("F", [1, 2, 3, 4, 5, 6]), "ERR": ("Q", [7] * 6), "set2": ("I", [2, 1, 1, 1, 1, 1])}
    path = write_mtz(tmp_path, columns)
    data = read_reflections(path, amplitude="FC", sigma="ERR", free="set2", free_value=2)
    assert data.labels == {"amplitude": "FC", "sigma": "ERR", "free": "set2"}
    assert data.sigma.tolist() == [7] * 6
    assert data.free.tolist() == [True] + [False] * 5
    for option in ("amplitude", "sigma", "free"):
        with pytest.raises(ValueError, match=rf"no column 'Nix' \({option}\)\. Columns: FP \(F\), SIGFP \(Q\)"):
            read_reflections(path, **{option: "Nix"})
    with pytest.raises(ValueError, match=r"column ERR \(amplitude\) has type Q, wanted one of F, G"):
        read_reflections(path, amplitude="ERR")


def test_missing_kinds_of_data(tmp_path):
    with pytest.raises(ValueError, match=r"no measured amplitudes or intensities \(types F, J, G, K\).*PHI \(P\)"):
        read_reflections(write_mtz(tmp_path, {"PHI": ("P", [1] * 6)}))
    with pytest.raises(ValueError, match=r"no sigma \(type Q\) belongs to the amplitudes FP.*add sigmas"):
        read_reflections(write_mtz(tmp_path, {"FP": ("F", [1] * 6)}))


def test_intensities(tmp_path):
    flags = {"FREE": ("I", [0, 1, 1, 1, 1, 1])}
    intensities = {"IMEAN": ("J", [10, -20, 30, 40, 50, 60]), "SIGIMEAN": ("Q", [1, 2, 3, 4, 5, 6])}
    data = read_reflections(write_mtz(tmp_path, {**intensities, **flags}))
    assert (data.kind, data.amplitude, data.sigma) == ("intensities", None, None)
    assert data.intensity.tolist() == [10, -20, 30, 40, 50, 60]  # the negative one is kept
    assert data.intensity_sigma.tolist() == [1, 2, 3, 4, 5, 6]
    assert data.labels == {"intensity": "IMEAN", "sigma": "SIGIMEAN", "free": "FREE"}
    assert "intensities of 6 reflections" in repr(data)
    path = write_mtz(tmp_path, {**intensities, **usual()})
    data = read_reflections(path)
    assert (data.kind, data.labels["amplitude"]) == ("amplitudes", "FP")
    assert data.notes[0] == (
        "amplitudes FP taken (6 reflections); the file also has intensities IMEAN (6): choose with intensity=IMEAN"
    )
    assert read_reflections(path, intensity="IMEAN").kind == "intensities"
    assert read_reflections(path, sigma="SIGIMEAN").labels["intensity"] == "IMEAN"
    with pytest.raises(ValueError, match="amplitude='FP' and intensity='IMEAN' are both given"):
        read_reflections(path, amplitude="FP", intensity="IMEAN")
    # amplitudes of unknown reliability are no better than intensities with their σ
    without = {"FP": ("F", [1] * 6), **intensities}
    assert read_reflections(write_mtz(tmp_path, without)).labels["intensity"] == "IMEAN"


@pytest.mark.parametrize(("sign", "types"), [("", "FQ"), ("(+)", "GL")])
def test_intensities_of_the_type_of_amplitudes(sign, types, tmp_path):
    columns = {f"I{sign}": (types[0], [10, 20, 30, 40, 50, 60]), f"SIGI{sign}": (types[1], [1] * 6)}
    path = write_mtz(tmp_path, columns)
    data = read_reflections(path)
    assert data.kind == "amplitudes"
    assert f"name is that of intensities: intensity=I{sign} takes it as these" in data.notes[0]
    asked = read_reflections(path, intensity=f"I{sign}")
    assert (asked.kind, asked.intensity.tolist()) == ("intensities", [10, 20, 30, 40, 50, 60])
    assert asked.notes[0] == f"I{sign} taken as intensities, although its type is that of amplitudes"


def test_amplitudes_of_the_type_of_intensities(tmp_path):
    path = write_mtz(tmp_path, {"FP": ("J", [10, 20, 30, 40, 50, 60]), "SIGFP": ("Q", [1] * 6)})
    data = read_reflections(path)
    assert (data.kind, data.notes[0].split(": ")[-1]) == ("intensities", "amplitude=FP takes it as these")
    assert read_reflections(path, amplitude="FP").amplitude.tolist() == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(
    ("plus", "minus", "types"),
    [("F(+)", "F(-)", "GL"), ("F-obs(+)", "F-obs(-)", "GL"), ("FP_plus", "FP_minus", "GL"), ("F(+)", "F(-)", "FQ")],
)
def test_friedel_mates_are_merged(tmp_path, plus, minus, types):
    # (0, 0, 4) is centric in this group, its measurement is written twice
    columns = {
        plus: (types[0], [10, 7, NAN, 40, 0, -3]),
        f"SIG{plus}": (types[1], [1, 1, NAN, 4, 0, 1]),
        minus: (types[0], [13, 7, 33, NAN, 0, 0]),
        f"SIG{minus}": (types[1], [2, 1, 3, NAN, 0, 0]),
    }
    path = write_mtz(tmp_path, columns)
    data = read_reflections(path)
    np.testing.assert_allclose(data.amplitude, [(10 + 13 / 4) / 1.25, 7, 33, 40], rtol=1e-15)
    np.testing.assert_allclose(data.sigma, [1.25**-0.5, 1, 3, 4], rtol=1e-15)
    assert (data.left_out["placeholder"], data.left_out["negative amplitude"]) == (1, 1)
    assert data.labels["amplitude"] == f"{plus} and {minus}"
    assert data.labels["sigma"] == f"SIG{plus} and SIG{minus}"
    assert data.notes[0] == f"{plus} and {minus} merged into their mean, weighted with 1/σ²"
    # either name stands for both, unless the σ of one is named
    assert read_reflections(path, amplitude=minus).labels == data.labels
    one = read_reflections(path, amplitude=minus, sigma=f"SIG{minus}")
    assert (one.labels["amplitude"], one.amplitude.tolist()) == (minus, [13, 7, 33])
    # where there is a mean it is taken
    mean = {"FX": ("F", [1, 2, 3, 4, 5, 6]), "SIGFX": ("Q", [1] * 6)}
    assert read_reflections(write_mtz(tmp_path, {**columns, **mean})).labels["amplitude"] == "FX"


def test_mean_intensities_come_before_pairs_of_amplitudes(tmp_path):
    mates = {"F(+)": ("G", [1] * 6), "SIGF(+)": ("L", [1] * 6), "F(-)": ("G", [1] * 6), "SIGF(-)": ("L", [1] * 6)}
    columns = {**mates, "IMEAN": ("J", [1] * 6), "SIGIMEAN": ("Q", [1] * 6)}
    assert read_reflections(write_mtz(tmp_path, columns)).labels["intensity"] == "IMEAN"


def test_one_mate_only(tmp_path):
    columns = {"I(-)": ("K", [1, 2, 3, 4, 5, 6]), "SIGI(-)": ("M", [1] * 6)}
    data = read_reflections(write_mtz(tmp_path, columns))
    assert (data.labels["intensity"], data.intensity.tolist()) == ("I(-)", [1, 2, 3, 4, 5, 6])
    del columns["SIGI(-)"]
    with pytest.raises(ValueError, match=r"no sigma \(type Q\) belongs to the intensities I\(-\)"):
        read_reflections(write_mtz(tmp_path, columns))


def test_columns_without_values_are_no_candidates(tmp_path):
    empty = {"F_unique": ("F", [NAN] * 6), "SIGF_unique": ("Q", [NAN] * 6)}
    intensities = {"IMEAN": ("J", [10, -20, 30, 40, 50, 60]), "SIGIMEAN": ("Q", [1] * 6)}
    data = read_reflections(write_mtz(tmp_path, {**empty, **intensities}))
    assert data.labels["intensity"] == "IMEAN"
    assert data.notes[0] == "intensities IMEAN taken (6 reflections); not taken: F_unique (no values)"
    # values without a σ, or with one of zero, are no measurements either
    for sigma in (NAN, 0):
        columns = {"FP": ("F", [1] * 6), "SIGFP": ("Q", [sigma] * 6), **intensities}
        assert read_reflections(write_mtz(tmp_path, columns)).labels["intensity"] == "IMEAN"


@pytest.mark.parametrize(("n_missing", "taken"), [(0, "FP"), (1, "IMEAN")])
def test_much_fuller_data_come_first(tmp_path, n_missing, taken):
    """Less than nine tenths of the reflections is much less: here five of six."""
    amplitudes = {"FP": ("F", [1, 2, 3, 4, 5, NAN if n_missing else 6]), "SIGFP": ("Q", [1] * 6)}
    data = read_reflections(write_mtz(tmp_path, {**amplitudes, "IMEAN": ("J", [1] * 6), "SIGIMEAN": ("Q", [1] * 6)}))
    assert taken in data.labels.values()
    assert f"amplitudes FP ({6 - n_missing})" in data.notes[0] or f"FP taken ({6 - n_missing} refl" in data.notes[0]


@pytest.mark.parametrize("label", ["ANOM", "DF", "DANO", "FOFO", "QFDIFF", "F_diff"])
def test_differences_are_no_amplitudes(tmp_path, label):
    difference = {label: ("F", [1, 2, 3, 4, 5, 6]), f"SIG{label}": ("Q", [1] * 6)}
    data = read_reflections(write_mtz(tmp_path, {**difference, **usual("F_on", "SIGF_on")}))
    assert data.labels["amplitude"] == "F_on"
    assert f"not taken: {label} (difference by its name)" in data.notes[0]
    with pytest.raises(ValueError, match=rf"no measured amplitudes.*not taken: {label} \(difference by its name\)"):
        read_reflections(write_mtz(tmp_path, difference))
    # the user knows better
    assert read_reflections(write_mtz(tmp_path, difference), amplitude=label).labels["amplitude"] == label


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("F_on-F_off", "F_off"),
        ("F_on-F_off", "F_on"),
        ("F_onminusF_off", "F_off"),
        ("F_on-F_off(+)", "F_off(+)"),
        ("I_on-I_off", "I_off"),
    ],
)
def test_an_absolute_difference_of_another_column_is_not_taken(label, other, tmp_path):
    kind = {"I": "J"}.get(label[0], "G" if label.endswith(")") else "F")
    columns = {name: (kind, [10, 20, 30, 40, 50, 60]) for name in (label, other)}
    columns |= {f"SIG{name}": ("L" if kind == "G" else "Q", [1] * 6) for name in (label, other)}
    data = read_reflections(write_mtz(tmp_path, columns))
    assert other in data.labels.values()
    assert f"not taken: {label} (difference by its name)" in "; ".join(data.notes)


@pytest.mark.parametrize(
    ("label", "other"), [("F-obs-filtered", "F-obs"), ("F-1", "F"), ("F_on(-)", "F_on"), ("F_on-ice", "F_off")]
)
def test_a_sign_in_a_name_alone_is_no_difference(label, other, tmp_path):
    data = read_reflections(write_mtz(tmp_path, {**usual(label, f"SIG{label}"), **usual(other, f"SIG{other}")}))
    assert "not taken" not in data.notes[0]


def test_a_column_with_many_negative_values_holds_differences(tmp_path):
    """Whatever its name."""
    difference = {"Fx": ("F", [1, -2, 3, -4, 5, -6]), "SIGFx": ("Q", [1] * 6)}
    path = write_mtz(tmp_path, {**difference, **usual("Fy", "SIGFy")})
    data = read_reflections(path)
    assert (data.labels["amplitude"], data.n_reflections) == ("Fy", 6)
    assert "not taken: Fx (difference: 3 of 6 values are negative)" in data.notes[0]
    with pytest.raises(ValueError, match="Fx holds no amplitudes but a difference: 3 of 6 values are negative"):
        read_reflections(path, amplitude="Fx")
    mates = {"F(+)": ("G", [1, -2, 3, -4, 5, -6]), "SIGF(+)": ("L", [1] * 6)}
    with pytest.raises(ValueError, match=r"not taken: F\(\+\) \(difference"):
        read_reflections(write_mtz(tmp_path, mates))
    # intensities may be negative, and a placeholder for a missing amplitude is no difference
    placeholders = {"FP": ("F", [1, -1, 3, -1, 5, -1]), "SIGFP": ("Q", [1, -1, 1, -1, 1, -1])}
    assert read_reflections(write_mtz(tmp_path, placeholders)).amplitude.tolist() == [1, 3, 5]
    intensities = {"I": ("J", [1, -2, 3, -4, 5, -6]), "SIGI": ("Q", [1] * 6)}
    assert read_reflections(write_mtz(tmp_path, intensities)).n_reflections == 6


def test_sigmas_of_the_same_data_set_or_ending(tmp_path):
    columns = {
        "F_off": ("F", [1] * 6),
        "SIG_on": ("Q", [2] * 6),
        "F_on": ("F", [3, 4, 5, 6, 7, 8]),
        "SIG_off": ("Q", [4] * 6),
    }
    path = write_mtz(tmp_path, columns)
    assert read_reflections(path, amplitude="F_on").labels["sigma"] == "SIG_on"
    assert read_reflections(path, amplitude="F_off").labels["sigma"] == "SIG_off"
    # one data set has no σ: that of the other belongs to the other
    columns = {"FP": ("F", [1] * 6, "a"), "F": ("F", [2] * 6, "b"), "SIGF": ("Q", [1] * 6, "b")}
    path = write_mtz(tmp_path, columns)
    assert read_reflections(path).labels["amplitude"] == "F"
    with pytest.raises(ValueError, match="no sigma"):
        read_reflections(path, amplitude="FP")
