"""Rounding so that sets sum to one: largest remainders, shared conformers, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jax_occupancy.io import rounded_units


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=6), min_size=1, max_size=4), st.sampled_from([2, 4]))
def test_largest_remainder(weights, decimals):
    """Exact sums, at most one unit away from the value, equal for all atoms of a conformer, order of sizes kept."""
    values, sets, shares = [], [], []
    for weight in weights:
        share = (np.array(weight) + 1e-3) / (np.sum(weight) + 1e-3 * len(weight))
        shares.append(share)
        conformers = []
        for size, q in enumerate(share, start=1):
            conformers.append(np.arange(len(values), len(values) + size))
            values += [q] * size
        sets.append(conformers)
    units = rounded_units(np.array(values), decimals=decimals, sets=sets)
    for conformers, share in zip(sets, shares, strict=True):
        counts = np.array([units[atoms[0]] for atoms in conformers])
        assert counts.sum() == 10**decimals
        assert (np.abs(counts - share * 10**decimals) < 1 + 1e-6).all()
        assert (np.diff(counts[np.argsort(share, kind="stable")]) >= -1).all()
        for atoms, count in zip(conformers, counts, strict=True):
            assert (units[atoms] == count).all()


def test_sets_may_share_a_conformer():
    """Two residues split under one state: both sets contain the empty state, which gets one number."""
    values = np.array([0.265, 0.367, 0.368, 0.245, 0.245, 0.245])
    units = rounded_units(values, decimals=2, sets=[[[0], [1], [2]], [[0], [3], [4], [5]]])
    assert units[:3].sum() == 100
    assert units[0] + units[3:].sum() == 100


def test_across_a_symmetry_element_a_set_has_one_nth():
    """Six at 0.17 would be more than there is, as two at 0.17 beside a 3-fold axis."""
    assert rounded_units(np.array([1 / 6, 1 / 6]), decimals=2, sets=[[[0], [1]]]).tolist() == [17, 16]
    assert rounded_units(np.array([0.135, 0.365]), decimals=2, sets=[[[0], [1]]]).sum() == 50


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([[[0], []]], "conformer 1 of set 0 in sets has no atoms"),
        ([[[0], [9]]], "has atom 9; there are 4 atoms"),
        ([[[0, 1], [2]]], r"differ in occupancy \(0\.4000 to 0\.6000\)"),
        ([[[0], [3]]], r"sums to 0\.7000"),
        ([[[0], [1, 1]]], "an atom is twice in set 0"),
        ([[[0], [1]], [[0, 2], [1]]], "shares some atoms"),
    ],
)
def test_bad_sets(sets, message):
    with pytest.raises(ValueError, match=message):
        rounded_units(np.array([0.6, 0.4, 0.6, 0.1]), decimals=2, sets=sets)
