import numpy as np
from test_core_simplex import example

from jax_occupancy.core import OccupancyTensor
from jax_occupancy.core._layout import SetLayout


def test_singles_lead_and_sets_of_one_size_lie_side_by_side():
    topology = example().topology
    layout = SetLayout.of(topology)
    # Independent atoms 10 and 11 and the fixed member of the first set; all sets have two refinable members.
    singles = {topology.expansion_index[10], topology.expansion_index[11], topology.expansion_index[5]}
    assert set(layout.entries[: layout.n_single].tolist()) == singles
    ((sets, size),) = layout.blocks
    assert (sets.tolist(), size) == ([0, 1, 2], 2)
    first, second = layout.entries[layout.n_single :].reshape(2, 3)
    assert first.tolist() == topology.expansion_index[[0, 6, 12]].tolist()
    assert second.tolist() == topology.expansion_index[[3, 9, 13]].tolist()
    assert np.array_equal(layout.entries[layout.position], np.arange(topology.n_collapsed))


def test_blocks_of_several_sizes_and_sets_without_a_refinable_member():
    occ = OccupancyTensor(
        [0.5, 0.5, 0.2, 0.3, 0.5, 0.4, 0.6, 0.9],
        altloc_groups=[[[0], [1]], [[2], [3], [4]], [[5], [6]]],
        refinable_mask=np.arange(8) > 1,
    )
    layout = SetLayout.of(occ.topology)
    assert layout.n_single == 3
    assert [(sets.tolist(), size) for sets, size in layout.blocks] == [([2], 2), ([1], 3)]
    np.testing.assert_allclose(occ(), [0.5, 0.5, 0.2, 0.3, 0.5, 0.4, 0.6, 0.9], atol=1e-6)
