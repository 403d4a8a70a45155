"""How fast the module is, from 1,500 to a million atoms: against the literal formula, a memory copy, and TorchRef.

    python tests/benchmarks/bench_tensor.py --torchref PYTHON --json FILE

PYTHON is the interpreter of an environment with TorchRef 0.7; without it only our own side runs. The literal formula is
`jax.nn.sigmoid(jnp.take(logits, expansion_index, axis=-1))` with JAX' own gradient. All sides take turns within a run,
ten calls at a time as in a training loop (`--turn`). Times are medians of the turns, ratios medians of those within
a turn: another program that runs meanwhile slows down both. Weights are arguments of every call (closed over, XLA would
fold the scatter away). A copy is one of the bytes that a forward + gradient call takes and gives.
"""

import argparse
import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter, sleep

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_occupancy import OccupancyTensor, refinable_only, stack

SIZES = (1_500, 10_000, 100_000, 1_000_000)
SCALING_ATOMS = (100_000, 300_000, 1_000_000, 3_000_000)
SCALING_MODELS = (64, 256, 1_024, 4_096)
KINDS = {
    "without conformer sets": {},
    "without conformer sets, shuffled": {"shuffled": True},
    "with conformer sets": {"sets": True},
    "with conformer sets, shuffled": {"sets": True, "shuffled": True},
}
# TorchRef's worker threads wait busily for about a millisecond after a call: let them fall asleep.
PAUSE = 2e-3
OPTIMIZER = refinable_only(optax.adam(1e-3))


def structure(n_atoms, *, sets=False, shuffled=False):
    """Residues of 4 to 14 atoms that share one occupancy each; in pairs they are conformers, if asked for.

    Shuffled, the atoms of a residue stand anywhere in the file.
    """
    rng = np.random.default_rng(0)
    sizes = rng.integers(4, 15, n_atoms // 4)
    sizes = sizes[: np.searchsorted(np.cumsum(sizes), n_atoms)]
    sizes = np.append(sizes, n_atoms - sizes.sum())
    groups = sizes.size
    labels = np.repeat(np.arange(groups), sizes)
    return {
        "values": np.full(n_atoms, 0.5, np.float32),
        "labels": rng.permutation(labels) if shuffled else labels,
        "sets": np.arange(groups - groups % 2).reshape(-1, 2) if sets else np.zeros((0, 2), int),
        "weights": rng.normal(size=n_atoms).astype(np.float32),
    }


def construct(case):
    """Our tensor of a structure."""
    labels = case["labels"]
    groups = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    altlocs = [[groups[member].tolist() for member in members] for members in case["sets"]]
    start = perf_counter()
    occ = OccupancyTensor(case["values"], labels, altloc_groups=altlocs or None)
    return occ, perf_counter() - start


def evaluate_and_pull_back(occ, weights):
    """Occupancies, and the gradient of their weighted sum."""
    occupancies, pull_back = jax.vjp(lambda occ: occ(), occ)
    return occupancies, pull_back(weights)[0]


def literal(expansion_index):
    """The same by the literal formula, from logits."""

    def evaluate_and_pull_back(logits, weights):
        formula = lambda logits: jax.nn.sigmoid(jnp.take(logits, expansion_index, axis=-1))  # noqa: E731
        occupancies, pull_back = jax.vjp(formula, logits)
        return occupancies, pull_back(weights)[0]

    return evaluate_and_pull_back


def step(occ, weights, state):
    """One step of Adam."""
    gradient = evaluate_and_pull_back(occ, weights)[1]
    updates, state = OPTIMIZER.update(gradient, state, occ)
    return optax.apply_updates(occ, updates), state


def timed(function, *arguments):
    """A call without arguments that gives its seconds; compiled and warm."""
    jitted = jax.jit(function)
    jax.block_until_ready(jitted(*arguments))

    def call():
        start = perf_counter()
        jax.block_until_ready(jitted(*arguments))
        return perf_counter() - start

    return call


def megabytes(function, *arguments):
    """Memory of a call on the device, as the compiler plans it: what goes in, what comes out and what is in between."""
    plan = jax.jit(function).lower(*arguments).compile().memory_analysis()
    return (plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes) / 1e6


def compiling(function, *arguments):
    """Seconds that a call takes to compile anew, and the size of the program's text in MB, index arrays and all."""
    lowered = jax.jit(lambda *given: function(*given)).lower(*arguments)
    start = perf_counter()
    lowered.compile()
    return perf_counter() - start, len(lowered.as_text()) / 1e6


def in_turns(calls, options, *, repeats=None, pause=0.0):
    """Seconds of a call of each side, one number for each turn."""
    seconds = {name: [] for name in calls}
    for _ in range(-(-(repeats or options.repeats) // options.turn)):
        for name, call in calls.items():
            sleep(pause)
            seconds[name].append(np.mean([call() for _ in range(options.turn)]))
    return {name: np.array(values) for name, values in seconds.items()}


def medians(seconds):
    """The middle turn of each side."""
    return {name: float(np.median(values)) for name, values in seconds.items()}


class TorchRef:
    """TorchRef in its own process and environment."""

    def __init__(self, python, threads):
        script = Path(__file__).with_name("bench_tensor_torchref.py")
        environment = {"TORCHREF_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, request):
        """Seconds of what was asked for."""
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def load(self, case):
        """Hand over a structure."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "case.npz"
            np.savez(path, **case)
            return self.ask(f"load {path}")

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def compare(n_atoms, options, *, repeats=None, torchref=None, **kind):
    """One row of the table."""
    case = structure(n_atoms, **kind)
    occ, construction = construct(case)
    weights = jnp.asarray(case["weights"])
    calls = {
        "forward": timed(lambda occ: occ(), occ),
        "gradient": timed(evaluate_and_pull_back, occ, weights),
        "gradient literal": timed(literal(occ.expansion_mask), occ.logits, weights),
        "step": timed(step, occ, weights, OPTIMIZER.init(occ)),
        "copy": timed(jnp.copy, jnp.zeros(occ.logits.size + weights.size, jnp.float32)),
    }
    row = {"atoms": n_atoms, "sets": len(case["sets"]), "construct": construction}
    if torchref is not None:
        row["construct torchref"] = torchref.load(case)
        for name in ("forward", "gradient", "step"):
            torchref.ask(name)
            calls[f"{name} torchref"] = lambda name=name: torchref.ask(name)
    seconds = in_turns(calls, options, repeats=repeats, pause=PAUSE if torchref is not None else 0.0)
    row |= medians(seconds)
    row["gradient, MB"] = megabytes(evaluate_and_pull_back, occ, weights)
    row["compile"], row["program, MB"] = compiling(evaluate_and_pull_back, occ, weights)
    row["gradient / literal"] = float(np.median(seconds["gradient"] / seconds["gradient literal"]))
    row["gradient / copy"] = float(np.median(seconds["gradient"] / seconds["copy"]))
    if torchref is not None:
        row["torchref / ours, construct"] = row["construct torchref"] / row["construct"]
        for name in ("forward", "gradient", "step"):
            row[f"torchref / ours, {name}"] = float(np.median(seconds[f"{name} torchref"] / seconds[name]))
    return row


def many_models(n_models, options, *, n_atoms=1_500, repeats=None, loop=True):
    """A stack against its models one by one and against a copy of its output."""
    occ, _ = construct(structure(n_atoms, sets=True))
    models = [jax.tree.map(lambda leaf, i=i: leaf + 0.01 * i, occ) for i in range(n_models)]
    single = jax.jit(lambda occ: occ())

    def one_by_one():
        start = perf_counter()
        jax.block_until_ready([single(model) for model in models])
        return perf_counter() - start

    calls = {
        "stack": timed(lambda occ: occ(), stack(models)),
        "copy of output": timed(jnp.copy, jnp.zeros((n_models, n_atoms), jnp.float32)),
    }
    if loop:
        one_by_one()
        calls["one by one"] = one_by_one
    row = {"models": n_models, "atoms": n_atoms, **medians(in_turns(calls, options, repeats=repeats))}
    row["stack / copy"] = row["stack"] / row["copy of output"]
    row["stack, MB"] = megabytes(lambda occ: occ(), stack(models))
    if loop:
        row["stack / one by one"] = row["stack"] / row["one by one"]
    return row


def slope(rows, size, measured):
    """Exponent of the growth of time or memory with size."""
    return float(np.polyfit(np.log([row[size] for row in rows]), np.log([row[measured] for row in rows]), 1)[0])


def show(rows):
    """Print one table: times in ms, ratios as they are."""
    print()
    for name in rows[0]:
        cells = []
        for row in rows:
            value = row[name]
            exact = isinstance(value, int) or "/" in name or "MB" in name
            cells.append(f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if exact else f"{value * 1e3:.3f}")
        print(f"{name + ('' if exact else ', ms'):28}" + "".join(f"{cell:>12}" for cell in cells))


def main():
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torchref", metavar="PYTHON", help="interpreter of an environment with TorchRef 0.7")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all numbers here")
    parser.add_argument("--repeats", type=int, default=300, help="calls of each side (default 300)")
    parser.add_argument(
        "--turn", type=int, default=10, help="calls of a side before the next has its turn (default 10)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of atoms")
    parser.add_argument("--threads", type=int, default=2, help="threads of TorchRef (default 2)")
    parser.add_argument("--no-scaling", action="store_true", help="leave out the growth with atoms and models")
    options = parser.parse_args()
    # Every call is waited for: handing it to another thread first, as JAX does on CPUs, costs 40 microseconds.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    torchref = TorchRef(options.torchref, options.threads) if options.torchref else None
    results = {"device": str(jax.devices()[0])}
    results |= {name: getattr(options, name) for name in ("repeats", "turn", "threads")} | {"tables": {}, "slopes": {}}
    with contextlib.closing(torchref) if torchref else contextlib.nullcontext():
        for title, kind in KINDS.items():
            rows = [compare(n, options, torchref=torchref, **kind) for n in options.sizes]
            results["tables"][title] = rows
            print(f"\n{title}", end="")
            show(rows)
    results["tables"]["models"] = [many_models(256, options)]
    show(results["tables"]["models"])
    if not options.no_scaling:
        few = max(options.repeats // 10, 3)
        atoms = [compare(n, options, sets=True, repeats=few) for n in SCALING_ATOMS]
        models = [many_models(n, options, repeats=few, loop=False) for n in SCALING_MODELS]
        results["tables"] |= {"growth with atoms": atoms, "growth with models": models}
        results["slopes"] = {
            **{f"{name}, atoms": slope(atoms, "atoms", name) for name in ("construct", "forward", "gradient", "step")},
            "memory of gradient, atoms": slope(atoms, "atoms", "gradient, MB"),
            "stack, models": slope(models, "models", "stack"),
            "memory of stack, models": slope(models, "models", "stack, MB"),
        }
        show(atoms)
        show(models)
        print("\nTime, or memory, grows with size to the power of:")
        for name, value in results["slopes"].items():
            print(f"{name:28}{value:12.2f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
