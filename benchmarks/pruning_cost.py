"""What deterministic pruning costs: a cut through all weights, a step under masks, a score before training.

    python -m benchmarks.pruning_cost [--quick]

All sides run in one process on one thread and take turns. The cut is through random numbers in the shapes of VGG-16 for
CIFAR-10 (15 million weights), 90 % of them removed, next to one `torch.topk` over the same numbers; the masked step is
LeNet-300-100's next to the dense one; the score is SNIP's of LeNet-5 next to one forward and backward pass of as many
examples.
"""

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from time import process_time

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesprune.data import Data, from_tensors
from bayesprune.models import LeNet5, LeNet300
from bayesprune.pruners.allocation import ALLOCATIONS, Layers, cut
from bayesprune.pruners.problem import Problem
from bayesprune.pruners.saliency import snip
from bayesprune.structure import find
from bayesprune.training import TrainState
from benchmarks._pairing import Step, paired

BATCH, DENSITY = 100, 0.1
VGG16 = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
"""Channels from one 3x3 convolution to the next; two linear layers 512-512-10 follow."""

TARGETS = {"cut": 3.0, "step": 1.15, "score": 2.0}


def vgg16_weights() -> dict[str, Tensor]:
    """Random numbers in the shapes of VGG-16's weights."""
    shapes = {f"conv{n}.weight": (out, into, 3, 3) for n, (into, out) in enumerate(zip(VGG16, VGG16[1:], strict=False))}
    return {name: torch.randn(shape) for name, shape in (shapes | {"fc1": (512, 512), "fc2": (10, 512)}).items()}


def cut_sides(weights: dict[str, Tensor]) -> tuple[Callable[[], Sequence[Tensor]], Callable[[], dict[str, Tensor]]]:
    """One `torch.topk` over all numbers, and the masks of a global magnitude cut."""
    flat = torch.cat([weight.abs().flatten() for weight in weights.values()])
    count = round(DENSITY * len(flat))

    def prune() -> dict[str, Tensor]:
        scores = {name: weight.abs() for name, weight in weights.items()}
        return cut(ALLOCATIONS["class-blind"](Layers(scores, weights)), count)

    def topk() -> Sequence[Tensor]:
        return flat.topk(count)

    return topk, prune


def step_sides(data: Data) -> tuple[Step, Step]:
    """A dense and a masked training step of LeNet-300-100."""
    inputs, labels = next(iter(data.train.batches(BATCH)))
    sides = []
    for masked in (False, True):
        torch.manual_seed(0)
        network = LeNet300()
        state = TrainState(network, find(network, inputs[:2]), inputs[:2])
        if masked:
            weights = {name: weight for name, weight in network.named_parameters() if weight.dim() > 1}
            state.masks = cut({name: weight.detach().abs() for name, weight in weights.items()}, 26_620)
        sides.append(partial(_step, state, torch.optim.Adam(network.parameters(), 2e-3, fused=True), inputs, labels))
    return sides[0], sides[1]


def _step(state: TrainState, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    cross_entropy(state.network(inputs), labels).backward()
    optimizer.step()
    state.apply_masks()


def score_sides(data: Data) -> tuple[Step, Step]:
    """One forward and backward pass of LeNet-5, and its SNIP score, on as many examples."""
    inputs, labels = next(iter(data.train.batches(BATCH)))
    network = LeNet5()
    problem = Problem(deepcopy(network), find(network, inputs[:2]), data, {})

    def plain() -> None:
        network.zero_grad(set_to_none=True)
        cross_entropy(network(inputs), labels).backward()

    return plain, partial(snip, problem, examples=BATCH)


def row(name: str, sides: tuple[Step, Step], steps: int, target: float) -> str:
    """A line of the table."""
    plain, ours = paired(sides, steps, warm_up=2, clock=process_time)
    verdict = "reached" if ours <= target * plain else "MISSED"
    return f"| {name} | {plain:.2f} | {ours:.2f} | {ours / plain:.2f} | <= {target:g}x: {verdict} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = from_tensors(torch.randn(1000, 1, 28, 28), torch.arange(1000) % 10)
    print("| what | plain ms | ours ms | ratio | target |\n|---|---|---|---|---|")
    print(row("global magnitude cut, VGG-16", cut_sides(vgg16_weights()), 3 if quick else 9, TARGETS["cut"]))
    print(row("masked step, LeNet-300-100", step_sides(data), 50 if quick else 400, TARGETS["step"]))
    print(row("SNIP score, LeNet-5", score_sides(data), 5 if quick else 30, TARGETS["score"]))


if __name__ == "__main__":
    main()
