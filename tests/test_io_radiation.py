"""What files say about the radiation is heard: EXPDTA, items of mmCIF, a wavelength of electrons."""

import dataclasses
import re
import subprocess
import sys

import pytest
from reflection_files import usual, write_mtz
from small_files import ATOM, CRYST1, MMCIF, mmcif_of

from jax_occupancy.example import read_example
from jax_occupancy.io import agreed_radiation, read_model, read_reflections
from jax_occupancy.refinement import prepare

EXPDTA = {
    "X-RAY DIFFRACTION": ("xray",),
    "NEUTRON DIFFRACTION": ("neutron",),
    "ELECTRON CRYSTALLOGRAPHY": ("electron",),
    "ELECTRON MICROSCOPY": ("electron",),
    "X-RAY DIFFRACTION; NEUTRON DIFFRACTION": ("neutron", "xray"),
    "SOLUTION NMR": (),
}


def model_of(folder, method, name="model.pdb"):
    (folder / name).write_text("\n".join([f"EXPDTA    {method}", CRYST1, ATOM]))
    return read_model(folder / name)


def data_of(folder, wavelength=0.0):
    return read_reflections(write_mtz(folder, usual(), wavelengths={"native": wavelength}))


@pytest.mark.parametrize("method", EXPDTA)
def test_models_say_it(method, tmp_path):
    assert model_of(tmp_path, method).radiations == EXPDTA[method]
    (tmp_path / "model.cif").write_text(mmcif_of(MMCIF | {"_exptl.method": f"'{method}'"}))
    assert read_model(tmp_path / "model.cif").radiations == EXPDTA[method]


@pytest.mark.parametrize(
    ("item", "value", "radiation"),
    [
        ("_diffrn_radiation.pdbx_scattering_type", "neutron", "neutron"),
        ("_diffrn_radiation.pdbx_scattering_type", "x-ray", "xray"),
        ("_diffrn_radiation.probe", "electron", "electron"),
        ("_diffrn_source.source", "'SPALLATION SOURCE'", "neutron"),
        ("_diffrn_source.source", "'FREE ELECTRON LASER'", "xray"),
        ("_diffrn_source.source", "XFEL", "xray"),
        ("_exptl.method", "'ELECTRON CRYSTALLOGRAPHY'", "electron"),
        ("_diffrn_radiation_wavelength.wavelength", "0.0197", "electron"),
        ("_diffrn_radiation_wavelength.wavelength", "0.6", None),
    ],
)
def test_items_of_mmcif_say_it_for_model_and_data(item, value, radiation, tmp_path):
    (tmp_path / "model.cif").write_text(mmcif_of(MMCIF | {item: value}))
    if "wavelength" not in item:
        assert read_model(tmp_path / "model.cif").radiations == (radiation,)
    reflection = {f"_refln.index_{letter}": "1" for letter in "hkl"}
    reflection |= {"_refln.F_meas_au": "5", "_refln.F_meas_sigma_au": "1"}
    cell = {name: text for name, text in MMCIF.items() if not name.startswith("_atom")}
    (tmp_path / "data.cif").write_text(mmcif_of(cell | reflection | {item: value}))
    assert read_reflections(tmp_path / "data.cif").radiation == radiation


@pytest.mark.parametrize(("wavelength", "radiation"), [(0.0251, "electron"), (0.9, None), (0.0, None)])
def test_a_wavelength_of_electrons(wavelength, radiation, tmp_path):
    assert data_of(tmp_path, wavelength).radiation == radiation


@pytest.mark.parametrize(
    ("method", "wavelength", "asked", "radiation", "note"),
    [
        ("X-RAY DIFFRACTION", 0.9, None, "xray", None),
        ("SOLUTION NMR", 0.0, None, "xray", None),
        ("NEUTRON DIFFRACTION", 1.5, None, "neutron", r"neutrons \(.*model\.pdb states neutrons; radiation=\.\.\."),
        ("SOLUTION NMR", 0.0251, None, "electron", r"electrons \(.*data\.mtz states electrons;"),
        ("X-RAY DIFFRACTION; NEUTRON DIFFRACTION", 0.0, None, "xray", r"neutrons and X-rays; X-rays are taken"),
        ("ELECTRON CRYSTALLOGRAPHY", 0.0251, "electron", "electron", None),
        ("NEUTRON DIFFRACTION", 0.0, "xray", "xray", r"X-rays, as asked for, although .* states neutrons"),
    ],
)
def test_what_is_taken(method, wavelength, asked, radiation, note, tmp_path):
    found, said = agreed_radiation(model_of(tmp_path, method), data_of(tmp_path, wavelength), asked=asked)
    assert found == radiation
    assert said is None if note is None else re.search(note, said)


def test_a_contradiction_names_both(tmp_path):
    model, data = model_of(tmp_path, "NEUTRON DIFFRACTION"), data_of(tmp_path, 0.0251)
    with pytest.raises(ValueError, match=r"model\.pdb states neutrons and .*data\.mtz states electrons: these contra"):
        agreed_radiation(model, data)
    assert agreed_radiation(model, data, asked="electron")[0] == "electron"
    command = [sys.executable, "-m", "jax_occupancy", "refine", "model.pdb", "data.mtz"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    assert "these contradict each other" in result.stderr
    assert "--radiation ..." in result.stderr


def test_the_problem_is_that_of_the_stated_radiation():
    model, data = read_example()
    neutron = dataclasses.replace(data, radiation="neutron")
    with pytest.warns(UserWarning, match=r"neutrons \(.* states neutrons"):
        problem = prepare(model, neutron)
    assert problem.options.radiation == "neutron"
    assert prepare(model, data).options.radiation == "xray"


def test_columns_of_a_joint_refinement_say_it(tmp_path):
    joint = {**usual("F_xray", "SIGF_xray", "flag_xray"), **usual("F-obs-neutron", "SIGF-obs-neutron", "flag_neutron")}
    file = write_mtz(tmp_path, joint)
    assert read_reflections(file).radiation == "xray"
    neutron = read_reflections(file, amplitude="F-obs-neutron")
    assert (neutron.radiation, neutron.labels["sigma"]) == ("neutron", "SIGF-obs-neutron")
    both = model_of(tmp_path, "X-RAY DIFFRACTION; NEUTRON DIFFRACTION")
    assert agreed_radiation(both, neutron)[0] == "neutron"
