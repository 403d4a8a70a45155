import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archive_files import rewrite

from jax_occupancy import OccupancyTensor, load_tensor, save_tensor


def nested(dtype="float32", **changes):
    """Groups of unequal size, an incomplete set, a set under a state without atoms, fixed entries, names."""
    arguments = {
        "altloc_groups": [[[], [0, 1, 2]], [[3, 4], [5]], [[7], [8]]],
        "complete": [True, True, False],
        "parents": [None, (0, 0), None],
        "refinable_mask": np.arange(10) != 6,
        "labels": ["apo", "pose 1", "pose 2", "A", "B"],
        "name": "liaison é",
        "dtype": dtype,
    }
    return OccupancyTensor([0.3] * 3 + [0.4, 0.4, 0.3, 1.0, 0.2, 0.5, 0.7], **(arguments | changes))


TENSORS = {
    "nested": nested,
    "plain": lambda dtype: OccupancyTensor([0.5, 0.25, 1.0], [[0, 1]], dtype=dtype),
    "one atom": lambda dtype: OccupancyTensor([0.5], dtype=dtype),
    "no atoms": lambda dtype: OccupancyTensor(np.zeros(0), dtype=dtype),
    "raw": lambda dtype: OccupancyTensor([0.5, 1.5], use_sigmoid=False, dtype=dtype),
    "stack": lambda dtype: nested(dtype).with_group_occupancies(np.linspace(0.1, 0.4, 3 * 2 * 8).reshape(3, 2, 8)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_round_trip_is_exact_to_the_bit(name, dtype, tmp_path):
    tensor = TENSORS[name](dtype)
    save_tensor(tmp_path / "t.npz", tensor)
    loaded = load_tensor(tmp_path / "t.npz", like=tensor)
    assert loaded.topology == tensor.topology
    assert loaded.dtype == dtype
    assert loaded.logits.shape == tensor.logits.shape
    assert np.asarray(loaded.logits).tobytes() == np.asarray(tensor.logits).tobytes()
    assert np.array_equal(loaded(), tensor())
    assert repr(loaded) == repr(tensor)


def test_a_loaded_tensor_does_not_recompile(tmp_path):
    tensor = nested()
    traces = []

    @jax.jit
    def total(tensor):
        traces.append(1)
        return tensor().sum()

    save_tensor(tmp_path / "t.npz", tensor)
    assert total(tensor) == total(load_tensor(tmp_path / "t.npz"))
    assert len(traces) == 1


def test_another_topology_is_refused_and_the_message_says_what_differs(tmp_path):
    save_tensor(tmp_path / "t.npz", nested())
    with pytest.raises(
        ValueError, match=r"t\.npz can't be loaded: .* differs in: the refinable mask \(A\).*Load it without like="
    ):
        load_tensor(tmp_path / "t.npz", like=nested().freeze(np.arange(10) == 7))
    with pytest.raises(ValueError, match=r"differs in: 10 atoms against 2"):
        load_tensor(tmp_path / "t.npz", like=OccupancyTensor([0.5, 1.0]))
    with pytest.raises(ValueError, match=r"differs in: the name 'liaison é' against 'other'"):
        load_tensor(tmp_path / "t.npz", like=nested(name="other"))


def test_double_precision_is_not_lost_in_silence(tmp_path):
    with jax.enable_x64(True):
        tensor = nested("float64")
        save_tensor(tmp_path / "t.npz", tensor)
        expected = np.asarray(tensor.logits).astype(np.float32)
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"float64 needs 64-bit JAX.*dtype='float32'"):
            load_tensor(tmp_path / "t.npz")
        assert np.array_equal(load_tensor(tmp_path / "t.npz", dtype="float32").logits, expected)
        with pytest.raises(TypeError, match="float32 or float64, not int32"):
            load_tensor(tmp_path / "t.npz", dtype="int32")


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_a_changed_topology_has_another_digest(tmp_path):
    save_tensor(tmp_path / "t.npz", nested())
    changed = npy(np.arange(8) == 3)
    data = rewrite(tmp_path / "t.npz", change_files=lambda files: files | {"tensor.topology.refinable.npy": changed})
    (tmp_path / "t.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"t\.npz .* was changed after it was saved"):
        load_tensor(tmp_path / "t.npz")


@pytest.mark.parametrize(
    "lost", ["logits", "refinable", "members", "n_groups", "labels", "topology", "digest", "short"]
)
def test_missing_parts_are_named(lost, tmp_path):
    tensor = nested()
    save_tensor(tmp_path / "t.npz", tensor)

    def header(top):
        tensor = top["value"]["tensor"]
        topology = tensor["topology"]["fields"]
        for part in (tensor, topology):
            part.pop(lost, None)
        return top

    def files(arrays):
        short = {"tensor.logits.npy": npy(tensor.logits[:-1])} if lost == "short" else {}
        return {name: data for name, data in arrays.items() if not name.endswith(f".{lost}.npy")} | short

    (tmp_path / "t.npz").write_bytes(rewrite(tmp_path / "t.npz", header, files))
    with pytest.raises(ValueError, match=rf"t\.npz can't be loaded: .*({lost}|logits must have 8 entries)"):
        load_tensor(tmp_path / "t.npz")


@pytest.mark.parametrize("lost", ["logits", "topology.refinable"])
def test_missing_arrays_are_named(lost, tmp_path):
    save_tensor(tmp_path / "t.npz", nested())
    data = rewrite(tmp_path / "t.npz", change_files=lambda files: {k: v for k, v in files.items() if lost not in k})
    (tmp_path / "t.npz").write_bytes(data)
    with pytest.raises(ValueError, match=rf"t\.npz can't be loaded: 'tensor\.{lost}'"):
        load_tensor(tmp_path / "t.npz")


def test_what_is_no_number_is_refused(tmp_path):
    with pytest.raises(TypeError, match="traced array"):
        jax.jit(lambda tensor: save_tensor(tmp_path / "t.npz", tensor))(nested())
    placeholder = jax.tree.map(lambda leaf: None, nested())
    with pytest.raises(TypeError, match=r"tensor\.logits is a NoneType"):
        save_tensor(tmp_path / "t.npz", placeholder)
    assert list(tmp_path.iterdir()) == []


def test_a_gradient_can_be_saved_too(tmp_path):
    gradient = jax.grad(lambda tensor: jnp.sum(tensor() ** 2))(nested())
    save_tensor(tmp_path / "t.npz", gradient)
    assert np.array_equal(load_tensor(tmp_path / "t.npz").logits, gradient.logits)
