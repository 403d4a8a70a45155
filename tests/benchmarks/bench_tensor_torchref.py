"""The other side of `bench_tensor.py`: TorchRef's OccupancyTensor, answering one request per line.

Runs under the interpreter of an environment with TorchRef, so it imports nothing of ours. A request is `load FILE`
(answer: seconds of construction), or `forward`, `gradient` or `step` (answer: seconds of one call).
"""

import sys
from time import perf_counter

import numpy as np
import torch
from torchref.model.parameter_wrappers import OccupancyTensor


class Calls:
    """The calls that are timed, on one structure."""

    def __init__(self, path):
        with np.load(path) as case:
            values, labels = torch.tensor(case["values"]), torch.tensor(case["labels"])
            self.weights, sets = torch.tensor(case["weights"]), case["sets"]
        order = np.argsort(labels.numpy(), kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(labels))[:-1])
        altlocs = [tuple(groups[member].tolist() for member in members) for members in sets]
        start = perf_counter()
        self.occ = OccupancyTensor(values, labels, altloc_groups=altlocs or None)
        self.seconds = perf_counter() - start
        self.optimizer = torch.optim.Adam([self.occ.refinable_params], lr=1e-3)

    def forward(self):
        """Evaluate, without the cache."""
        return self.occ(recalc=True)

    def gradient(self):
        """Evaluate and pull the weights back."""
        occupancies = self.occ(recalc=True)
        return occupancies, torch.autograd.grad(occupancies, self.occ.refinable_params, self.weights)

    def step(self):
        """One step of Adam."""
        self.optimizer.zero_grad()
        self.occ(recalc=True).backward(self.weights)
        self.optimizer.step()


def main():
    """Answer until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    calls = None
    for line in sys.stdin:
        verb, _, path = line.strip().partition(" ")
        if verb == "load":
            calls = Calls(path)
            seconds = calls.seconds
        else:
            start = perf_counter()
            getattr(calls, verb)()
            seconds = perf_counter() - start
        print(seconds, file=answers, flush=True)


if __name__ == "__main__":
    main()
