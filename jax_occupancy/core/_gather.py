"""Reading many entries by a static index, with a derivative that is fast: sums without a scatter.

The transpose of a gather is a sum over all readers of an entry. XLA makes it a scatter-add, which walks through the
readers one by one and waits for each sum before it adds to it again (1.3 ns an atom on a CPU; contention on a GPU).
Where that is worth avoiding, the readers of each entry are laid out in rows of equal length instead, padded at the end,
and the columns are added: one pass through memory, in order.
"""

import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

# Longest row: longer lists of readers are summed in several, then the partial sums are.
ROW = 16
# A scatter takes this much longer for each reader than reading one place of a row.
WORTH = 2.5
# Below this many readers a scatter takes microseconds and compiles faster.
FEW = 1 << 15


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """Which entry each reader reads; hashable by its content, as parameters of compiled operations must be.

    Attributes:
        entries: the entry of each reader.
        n_entries: how many entries there are.
    """

    entries: Int[np.ndarray, " readers"]
    n_entries: int

    @functools.cached_property
    def digest(self) -> bytes:
        """Bytes that stand for the content."""
        entries = np.ascontiguousarray(self.entries)
        return hashlib.blake2b(entries.data, key=f"{entries.dtype}{self.n_entries}".encode(), digest_size=16).digest()

    def __hash__(self):
        return hash(self.digest)

    def __eq__(self, other):
        return isinstance(other, Index) and self.digest == other.digest

    def __repr__(self):
        return f"Index({self.entries.size} of {self.n_entries})"


def gather(values: Float[Array, "*models entries"], index: Index) -> Float[Array, "*models readers"]:
    """Hand each reader the value of its entry; linear, with forward and reverse derivatives of any order."""
    return _gather_p.bind(values, index=index, transposed=False)


def _evaluate(values, *, index, transposed):
    if not transposed:
        # XLA would move what computes the values behind the gather, and repeat an exponential for every reader; it
        # does not do so behind a broadcast. Nothing is repeated in memory.
        return _take(jnp.repeat(values, 2, axis=-1), 2 * index.entries)
    if values.size < FEW:
        zeros = jnp.zeros((*values.shape[:-1], index.n_entries), values.dtype)
        return zeros.at[..., index.entries].add(values, mode="promise_in_bounds")
    return _sum_readers(values, index)


def _sum_readers(values, index):
    """Sum the values of all readers of each entry: in rows, then the rows of each entry, until one is left."""
    counts = np.bincount(index.entries, minlength=index.n_entries)
    read, counts = counts > 0, counts[counts > 0]
    order = np.argsort(index.entries, kind="stable")
    while True:
        length = _row_length(counts)
        if length is None:
            segments = np.repeat(np.arange(counts.size), counts)
            zeros = jnp.zeros((*values.shape[:-1], counts.size), values.dtype)
            values = zeros.at[..., segments].add(_take(values, order), indices_are_sorted=True)
            break
        n_rows = -(-counts // length)
        values = _sum_rows(values, order, counts, n_rows, length)
        if np.all(n_rows == 1):
            break
        counts, order = n_rows, np.arange(n_rows.sum())
    if read.all():
        return values
    return jnp.where(read, _take(values, np.maximum(np.cumsum(read) - 1, 0)), 0)


def _row_length(counts: np.ndarray) -> int | None:
    """The length of rows that makes the least work; None where they would be so empty that a scatter is faster."""
    if counts.max(initial=1) == 1:
        return 1
    lengths = np.arange(2, ROW + 1)
    rows = np.array([np.sum(-(-counts // length)) for length in lengths])
    # A further round writes its rows and reads them again.
    work = rows * lengths + np.where(counts.max() > lengths, 4 * rows, 0)
    best = int(np.argmin(work))
    return int(lengths[best]) if work[best] <= WORTH * counts.sum() else None


def _sum_rows(values, order, counts, n_rows, length):
    """Cut the readers of each entry into rows of some length, the last one shorter, and sum each row."""
    owner = np.repeat(np.arange(counts.size), n_rows)
    number = np.arange(owner.size) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
    first = (np.cumsum(counts) - counts)[owner] + length * number
    filled = np.minimum(counts[owner] - length * number, length)
    start, last = order[first], order[first + filled - 1]
    consecutive = np.array_equal(last - start + 1, filled)
    total = _take(values, start)
    for k in range(1, length):
        at = order[np.minimum(first + k, order.size - 1)]
        if consecutive and not _step(at):
            # Computed, not read: a gather that runs past the end is clipped, and masked.
            column = values.at[..., jnp.asarray(start, np.int32) + k].get(mode="clip")
        else:
            column = _take(values, at)
        if k >= filled.min():
            column = jnp.where(k < jnp.asarray(filled, np.int32), column, 0)
        total = total + column
    return total


def _take(values, entries):
    """Read entries that are known to exist; where they are evenly spaced, no index has to be read."""
    step = _step(entries)
    if step:
        return values[..., int(entries[0]) : int(entries[-1]) + 1 : step]
    return values.at[..., entries.astype(np.int32)].get(mode="promise_in_bounds")


def _step(entries: np.ndarray) -> int:
    """The distance of evenly spaced, ascending entries, else 0."""
    if entries.size < 2:
        return entries.size
    step = int(entries[1] - entries[0])
    return step if step > 0 and np.all(np.diff(entries) == step) else 0


_gather_p = Primitive("occupancy_gather")
_gather_p.def_impl(jax.jit(_evaluate, static_argnames=("index", "transposed")))


@_gather_p.def_abstract_eval
def _abstract(values, *, index, transposed):
    n = index.n_entries if transposed else index.entries.size
    return values.update(shape=(*values.shape[:-1], n), weak_type=False)


def _transpose(cotangent, values, *, index, transposed):
    return [_gather_p.bind(cotangent, index=index, transposed=not transposed)]


def _batch(arguments, axes, **parameters):
    return _gather_p.bind(jnp.moveaxis(arguments[0], axes[0], 0), **parameters), 0


ad.deflinear2(_gather_p, _transpose)
batching.primitive_batchers[_gather_p] = _batch
mlir.register_lowering(_gather_p, mlir.lower_fun(_evaluate, multiple_results=False))
