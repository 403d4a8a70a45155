"""B factors that a header calls residual get the part of its TLS groups, or a note with the way out."""

import re

import numpy as np
import pytest
from gemmi import cif

from jax_occupancy.io import read_model, write_model

B = 8 * np.pi**2
ORIGIN = np.array([10.0, 12.0, 13.0])
T = {"11": 0.1, "22": 0.11, "33": 0.12, "12": 0.01, "13": -0.02, "23": 0.03}
L = {"11": 1.1, "22": 1.2, "33": 1.3, "12": 0.1, "13": 0.2, "23": 0.3}
S = {f"{i}{j}": round(0.01 * (i - 2 * j), 2) for i in (1, 2, 3) for j in (1, 2, 3)}
# chain A, residues 1 to 3A; residue 4 and chain B lie outside
PLACES = ["A   1 ", "A   3A", "A   4 ", "B   2 "]
XYZ = np.array([[11.0, 12.0, 13.0], [15.0, 9.0, 20.0], [3.0, 4.0, 5.0], [1.0, 2.0, 3.0]])


def remark(text):
    return f"REMARK   3   {text}".ljust(80)


def tls_lines(*, ranges="A     1        A     3A", count=1):
    return [
        remark("TLS GROUP : 1"),
        remark(f" NUMBER OF COMPONENTS GROUP : {count}"),
        remark(" COMPONENTS        C SSSEQI   TO  C SSSEQI"),
        remark(f" RESIDUE RANGE :   {ranges}"),
        remark(" ORIGIN FOR THE GROUP (A):" + "".join(f"{x:9.4f}" for x in ORIGIN)),
        *(
            remark(f"   {name}{place}: {value:8.4f}")
            for name, one in zip("TLS", (T, L, S), strict=True)
            for place, value in one.items()
        ),
    ]


def pdb(folder, *header, name="model.pdb", after=()):
    atoms = [
        f"HETATM    1  O   HOH {place}   {x:8.3f}{y:8.3f}{z:8.3f}  0.50 12.00           O  "
        for place, (x, y, z) in zip(PLACES, XYZ, strict=True)
    ]
    cell = "CRYST1   27.940   43.300   50.190  90.00  90.00  90.00 P 21 21 21    4"
    (folder / name).write_text("\n".join([*header, cell, *atoms[:1], *after, *atoms[1:], "END", ""]))
    return read_model(folder / name)


RESIDUAL = [
    remark("B VALUE TYPE : LIKELY RESIDUAL"),
    remark("ATOM RECORD CONTAINS RESIDUAL B FACTORS ONLY"),
    remark("U VALUES      : RESIDUAL ONLY"),
]


def expected_u(place):
    """By the formula, with numpy."""
    t, libration = (
        np.array([[one["".join(sorted(f"{i}{j}"))] for j in (1, 2, 3)] for i in (1, 2, 3)]) for one in (T, L)
    )
    s = np.array([[S[f"{i}{j}"] for j in (1, 2, 3)] for i in (1, 2, 3)])
    x, y, z = XYZ[place] - ORIGIN
    a = np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
    degree = np.pi / 180
    return t + a @ libration @ a.T * degree**2 + (a @ s + s.T @ a.T) * degree


def check(model):
    atoms = model.atoms
    for place in (0, 1):
        u = expected_u(place) + np.eye(3) * 12 / B
        wanted = [u[0, 0], u[1, 1], u[2, 2], u[0, 1], u[0, 2], u[1, 2]]
        np.testing.assert_allclose(atoms.loc[place, ["u11", "u22", "u33", "u12", "u13", "u23"]].to_list(), wanted)
        assert atoms["tempfactor"][place] == pytest.approx(B * np.trace(u) / 3)
    assert atoms["tempfactor"].tolist()[2:] == [12, 12]
    assert atoms["u11"].isna().tolist() == [False, False, True, True]
    for chain in model.structure[0]:
        for residue in chain:
            atom = residue[0]
            assert atom.b_iso == pytest.approx(atoms["tempfactor"][atom.serial - 1])
            assert atom.aniso.nonzero() == np.isfinite(atoms["u11"][atom.serial - 1])


@pytest.mark.parametrize("line", RESIDUAL)
def test_tls_groups_of_a_pdb_file(line, tmp_path):
    model = pdb(tmp_path, line, *tls_lines())
    check(model)
    assert len(model.notes) == 1
    assert "residual, without the part of TLS groups: that of 1 groups is added to 2 of 4 atoms" in model.notes[0]


def test_tensors_with_exponents(tmp_path):
    """1.0E-03 is not 1.0."""
    lines = [re.sub(r"([TLS][1-3]{2}:) +(\S+)", lambda at: f"{at[1]} {float(at[2]):.4E}", one) for one in tls_lines()]
    model = pdb(tmp_path, RESIDUAL[0], *lines)
    check(model)
    assert "that of 1 groups is added to 2 of 4 atoms" in model.notes[0]


def mmcif(folder, flag="'LIKELY RESIDUAL'"):
    model = pdb(folder, name="plain.pdb")
    write_model(model, folder / "model.cif", model.atoms["occupancy"])
    document = cif.read(str(folder / "model.cif"))
    block = document.sole_block()
    refine = "'X-RAY DIFFRACTION'"
    block.set_pairs(
        "_refine.", {"entry_id": "x", "pdbx_refine_id": refine, "pdbx_TLS_residual_ADP_flag": flag}, raw=True
    )
    tls = {"id": "1", "pdbx_refine_id": refine, **{f"origin_{a}": str(x) for a, x in zip("xyz", ORIGIN, strict=True)}}
    for name, one in zip("TLS", (T, L, S), strict=True):
        tls |= {f"{name}[{place[0]}][{place[1]}]": str(value) for place, value in one.items()}
    block.set_pairs("_pdbx_refine_tls.", tls, raw=True)
    group = {"id": "1", "refine_tls_id": "1", "pdbx_refine_id": refine, "beg_auth_asym_id": "A", "beg_auth_seq_id": "1"}
    block.set_pairs("_pdbx_refine_tls_group.", group | {"end_auth_asym_id": "A", "end_auth_seq_id": "3A"}, raw=True)
    document.write_file(str(folder / "model.cif"))
    return read_model(folder / "model.cif")


def test_tls_groups_of_an_mmcif_file(tmp_path):
    check(mmcif(tmp_path))
    assert mmcif(tmp_path, flag="UNVERIFIED").notes == ()


@pytest.mark.parametrize("source", [lambda folder: pdb(folder, RESIDUAL[0], *tls_lines()), mmcif])
def test_a_written_file_keeps_its_convention(source, tmp_path):
    model = source(tmp_path)
    other = {"pdb": "cif", "mmcif": "pdb"}[model.format]
    same = "pdb" if other == "cif" else "cif"
    write_model(model, tmp_path / f"same.{same}", model.atoms["occupancy"])
    check(read_model(tmp_path / f"same.{same}"))
    if same == "pdb":
        assert (tmp_path / "same.pdb").read_bytes() == model.source
    shifts = np.array([1.0, 2.0, 0.0, 4.0])
    write_model(model, tmp_path / f"shifted.{same}", model.atoms["occupancy"], b_shifts=shifts)
    shifted = read_model(tmp_path / f"shifted.{same}")
    np.testing.assert_allclose(shifted.atoms["tempfactor"], model.atoms["tempfactor"] + shifts, atol=1e-9)
    # what gemmi makes has no header that speaks of TLS, and full B factors
    write_model(model, tmp_path / f"other.{other}", model.atoms["occupancy"], b_shifts=shifts)
    full = read_model(tmp_path / f"other.{other}")
    assert (full.notes, full.added_b) == ((), None)
    np.testing.assert_allclose(full.atoms["tempfactor"], model.atoms["tempfactor"] + shifts, atol=0.006)
    np.testing.assert_allclose(full.atoms["u12"], model.atoms["u12"], atol=1e-4)


ANISOU = "ANISOU    1  O   HOH A   1     1000   1000   1000      0      0      0       O  "


@pytest.mark.parametrize(
    ("header", "after", "message"),
    [
        ([], [], "which it does not state in full; .* give full B factors, made by TLSANL or phenix.tls, or the"),
        (tls_lines()[:-1], [], "which it does not state in full"),
        (tls_lines(count=2), [], "which it does not state in full"),
        (tls_lines(ranges="A     1        B     3 "), [], "which it does not state in full"),
        (tls_lines(ranges="C     1        C     3 "), [], "which it does not state in full"),
        (tls_lines(), [ANISOU], "but atoms of these are anisotropic; .*TLSANL"),
        ([line.replace("T33:   0.1200", "T33:  -9.1200") for line in tls_lines()], [], "with which some would be nega"),
    ],
)
def test_a_note_names_the_way_out(header, after, message, tmp_path):
    model = pdb(tmp_path, RESIDUAL[0], *header, after=after)
    (note,) = model.notes
    assert re.search(message, note)
    assert model.atoms["tempfactor"].tolist() == [12.0] * 4
    assert model.added_b is None


@pytest.mark.parametrize(
    "line", ["B VALUE TYPE : UNVERIFIED", "U VALUES      : WITH TLS ADDED", "SUM OF TLS AND RESIDUAL B"]
)
def test_full_b_factors_stay(line, tmp_path):
    model = pdb(tmp_path, remark(line), *tls_lines())
    assert (model.notes, model.added_b, model.atoms["tempfactor"].tolist()) == ((), None, [12.0] * 4)


def test_residual_b_factors_are_called_so_in_the_other_format(tmp_path):
    # TLS groups that the header does not state
    model = pdb(tmp_path, RESIDUAL[0])
    for name in ("one.cif", "two.pdb", "three.cif"):
        assert model.residual
        write_model(model, tmp_path / name, model.atoms["occupancy"])
        model = read_model(tmp_path / name)
        assert "which it does not state in full" in model.notes[0]
    assert not pdb(tmp_path, RESIDUAL[0], *tls_lines()).residual
    assert not pdb(tmp_path).residual
