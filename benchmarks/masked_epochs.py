"""What an epoch under masks costs next to a dense one, over a whole run: subnormal numbers must not slow it down.

    python -m benchmarks.masked_epochs [--data mnist] [--epochs 20] [--subnormal]

Two equal networks (LeNet-300-100) train alike for a quarter of the epochs. Then one gets masks that keep the largest
2 % of each layer's weights. What hangs on dead units there shrinks step by step until it is subnormal, which many
processors take many times as long for; `bayesprune.run.environment` has such numbers count as zero. Both sides take
turns, a step each, in one process on one thread under that environment. Every masked epoch counts: a slow-down comes
late. `--subnormal` shows it without the cure.
"""

import argparse
from statistics import median
from time import process_time

import torch
from torch import Tensor

from bayesprune.data import Data, load
from bayesprune.models import LeNet300
from bayesprune.run.environment import environment
from bayesprune.structure import find
from bayesprune.training import NegativeLogLikelihood, TrainState, adam

BATCH, DENSITY, DECAY, TARGET = 100, 0.02, 5e-4, 1.1
"""Examples a step, share of weights that masks keep, weight decay, and the most a masked epoch takes of a dense one."""


class Side:
    """One of the two trainings.

    Attributes:
        seconds: processor seconds of each step.
    """

    def __init__(self, data: Data) -> None:
        torch.manual_seed(0)
        network = LeNet300(input_shape=data.input_shape, classes=data.classes)
        example = next(iter(data.train.batches(2)))[0]
        self.state = TrainState(network, find(network, example), example)
        self._objective, self._optimizer = NegativeLogLikelihood(), adam(2e-3, DECAY)(network.parameters())
        self.seconds: list[float] = []

    def mask(self) -> None:
        """Keep the largest weights of each layer from here on."""
        for name, weight in self.state.network.named_parameters():
            if weight.dim() > 1:
                sizes = weight.detach().abs()
                least = sizes.flatten().kthvalue(round((1 - DENSITY) * sizes.numel())).values
                self.state.masks[name] = (sizes > least).float()
        self.state.apply_masks()

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """One step."""
        begin = process_time()
        self._optimizer.zero_grad(set_to_none=True)
        self._objective.loss(self.state, inputs, labels).backward()
        self._optimizer.step()
        self.state.apply_masks()
        self.seconds.append(process_time() - begin)


def ratios(data: Data, epochs: int, *, subnormal: bool = False) -> list[float]:
    """For each epoch the median step of the side that is masked from `epochs // 4` on over that of the dense one."""
    with environment():
        torch.set_flush_denormal(not subnormal)
        dense, masked = Side(data), Side(data)
        found = []
        for epoch in range(epochs):
            if epoch == epochs // 4:
                masked.mask()
            for batch in data.train.batches(BATCH, seed=epoch):
                dense.step(*batch)
                masked.step(*batch)
            found.append(median(masked.seconds) / median(dense.seconds))
            dense.seconds, masked.seconds = [], []
        return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--subnormal", action="store_true", help="let numbers be subnormal, as without a run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = ratios(load(arguments.data), arguments.epochs, subnormal=arguments.subnormal)
    begun = arguments.epochs // 4
    print("| epoch | masked / dense |\n|---|---|")
    for epoch, ratio in enumerate(found[begun:], begun + 1):
        print(f"| {epoch} | {ratio:.2f} |")
    slowest = max(found[begun:])
    verdict = "reached" if slowest <= TARGET else "MISSED"
    print(f"\nslowest epoch {slowest:.2f}, target <= {TARGET}: {verdict}")


if __name__ == "__main__":
    main()
