"""Reflections from and to pandas tables; a stand-in has what a DataSet of reciprocalspaceship has."""

import gemmi
import numpy as np
import pandas as pd
import pytest

from jax_occupancy.io import Reflections

CELL, GROUP = gemmi.UnitCell(20, 30, 40, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
HKL = [(1, 1, 0), (0, 0, 4), (2, 1, 3), (-5, -1, 2)]


def frame(**columns):
    return pd.DataFrame(columns, index=pd.MultiIndex.from_tuples(HKL, names=["H", "K", "L"]))


def amplitudes():
    return frame(FP=[10.0, 20, 30, 40], SIGFP=[1.0, 2, 3, 4], FreeR_flag=[0, 1, 1, 1])


def test_index_or_columns():
    options = {"cell": CELL, "spacegroup": GROUP}
    data = Reflections.from_dataframe(amplitudes(), **options, wavelength=0.98)
    assert data.hkl.tolist() == [[1, 1, 0], [0, 0, 4], [2, 1, 3], [5, 1, 2]]  # the asymmetric unit
    assert (data.amplitude.tolist(), data.free.tolist()) == ([10, 20, 30, 40], [True, False, False, False])
    assert (data.kind, data.wavelength, data.path) == ("amplitudes", 0.98, None)
    assert data.labels == {"amplitude": "FP", "sigma": "SIGFP", "free": "FreeR_flag"}
    flat = Reflections.from_dataframe(amplitudes().reset_index(), **options)
    assert np.array_equal(flat.hkl, data.hkl)
    mixed = Reflections.from_dataframe(amplitudes().reset_index(level="L"), **options)
    assert np.array_equal(mixed.hkl, data.hkl)


def test_and_back():
    data = Reflections.from_dataframe(amplitudes(), cell=CELL, spacegroup=GROUP)
    table = data.to_dataframe()
    assert list(table.columns) == ["F", "SIGF", "FreeR_flag"]
    assert table.index.names == ["H", "K", "L"]
    assert table.loc[(2, 1, 3), "F"] == 30
    again = Reflections.from_dataframe(table, cell=CELL, spacegroup=GROUP)
    for name in ("hkl", "amplitude", "sigma", "free"):
        assert np.array_equal(getattr(again, name), getattr(data, name))
    table["F"] = 0.0
    assert data.amplitude[0] == 10


def test_intensities_and_missing_values():
    table = frame(
        **{
            "I(+)": [-3.0, 20, np.nan, np.inf],
            "SIGI(+)": [1.0] * 4,
            "I(-)": [np.nan, 20, 5, np.nan],
            "SIGI(-)": [1.0] * 4,
        }
    )
    data = Reflections.from_dataframe(table, cell=CELL, spacegroup=GROUP, d_min=2.0)
    assert (data.kind, data.intensity.tolist(), data.n_free) == ("intensities", [-3, 20, 5], 0)
    assert data.left_out["missing"] == 1
    assert list(data.to_dataframe().columns) == ["I", "SIGI"]
    nullable = amplitudes().astype({"FP": "Float64"})
    nullable.iloc[0, 0] = pd.NA
    assert Reflections.from_dataframe(nullable, cell=CELL, spacegroup=GROUP).left_out["missing"] == 1


class DataSet(pd.DataFrame):
    """A table that knows its crystal and has typed columns, as those of reciprocalspaceship."""

    _metadata = ("cell", "spacegroup", "merged")

    @property
    def _constructor(self):
        return DataSet


def test_a_table_that_knows_its_crystal():
    table = DataSet(amplitudes())
    table.cell, table.spacegroup, table.merged = CELL, GROUP, True
    data = Reflections.from_dataframe(table)
    assert (data.cell.parameters, data.spacegroup.hm) == (CELL.parameters, "P 21 21 21")
    table.merged = False
    with pytest.raises(ValueError, match="the table holds unmerged data"):
        Reflections.from_dataframe(table)


class TypedDtype(pd.Float64Dtype):
    """A dtype with the letter of MTZ."""

    mtztype = "J"


class TypedArray(pd.arrays.FloatingArray):
    @property
    def dtype(self):
        return TypedDtype()


def test_dtypes_say_more_than_names():
    table = frame(something=TypedArray(np.arange(4.0), np.zeros(4, bool)), SIGsomething=[1.0] * 4)
    data = Reflections.from_dataframe(table, cell=CELL, spacegroup=GROUP)
    assert data.labels == {"intensity": "something", "sigma": "SIGsomething", "free": None}


def test_what_does_not_fit_is_named():
    options = {"cell": CELL, "spacegroup": GROUP}
    with pytest.raises(ValueError, match=r"the table has no H, K, L; wanted .* got FP, SIGFP, FreeR_flag"):
        Reflections.from_dataframe(amplitudes().reset_index(drop=True), **options)
    with pytest.raises(ValueError, match="the table states no cell"):
        Reflections.from_dataframe(amplitudes(), spacegroup=GROUP)
    with pytest.raises(ValueError, match=r"the table names no known space group.*spacegroup=\.\.\."):
        Reflections.from_dataframe(amplitudes(), cell=CELL)
    with pytest.raises(ValueError, match="column FP holds what is no number"):
        Reflections.from_dataframe(amplitudes().assign(FP=["a", "b", "c", "d"]), **options)
    flat = amplitudes().reset_index().astype({"H": float})
    flat.loc[2, "H"] = 1.5
    with pytest.raises(ValueError, match=r"indices must be integers; 1 are not, first in rows \[3\]"):
        Reflections.from_dataframe(flat, **options)
    twice = pd.concat([amplitudes(), amplitudes()[["FP"]]], axis=1)
    with pytest.raises(ValueError, match="several columns of the name FP; rename them"):
        Reflections.from_dataframe(twice, **options)
    with pytest.raises(ValueError, match=r"no measured amplitudes or intensities.*FC \(F\)"):
        Reflections.from_dataframe(frame(FC=[1.0] * 4), **options)
