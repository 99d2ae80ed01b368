"""How much of the multiply-accumulates that are saved a compact network saves in time.

    python -m benchmarks.latency [--quick]

LeNet-5 and torchvision's VGG-16 with batch normalisation (32 x 32 pixels, one linear layer as head), every group cut by
the same share until 25 % of the multiply-accumulates (MACs) are left, as it comes and with counts in multiples of 8;
ResNet-56 with every second of its blocks without a change of shape taken out. Weights are random: time does not depend
on them. One sample and 64, forward passes in evaluation mode on one thread; dense and compact networks take turns in
one process, processor time, medians. "realised" is the speed-up over the one that the MACs promise.
"""

import argparse
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from time import process_time

import torch
from torch import Tensor, nn

from bayesprune.budgets.shares import uniform_gates
from bayesprune.data.torchvision_guard import import_torchvision
from bayesprune.models import LeNet5, ResNet56
from bayesprune.models.networks.resnet import Block, SmallResNet
from bayesprune.pruners.rounding import rounded_gates
from bayesprune.structure import ExpectedCost, compact, find, layer_costs
from benchmarks._pairing import paired

SHARE, MULTIPLE = 0.25, 8
"""Of the multiply-accumulates that a uniform cut leaves, and of which counts are multiples with `round_to`."""

BATCHES = (1, 64)
TARGET = 0.6
"""Of the MACs ratio that VGG-16 is to realise with 64 samples."""


@dataclass(frozen=True, eq=False)
class Case:
    """A dense network and smaller ones.

    Attributes:
        name: of the network.
        shape: of one input.
        dense: the whole network.
        smaller: by what was done.
    """

    name: str
    shape: tuple[int, ...]
    dense: nn.Module
    smaller: dict[str, nn.Module]


def macs_of(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one sample."""
    return sum(layer.macs for layer in layer_costs(network, torch.zeros(1, *shape)))


def uniformly_cut(network: nn.Module, shape: tuple[int, ...], multiple: int) -> nn.Module:
    """A copy with the same share of every group, the largest that leaves no more than `SHARE` of the MACs."""
    example = torch.zeros(2, *shape)
    structure = find(network, example, inputs="none")
    cost = ExpectedCost.of(network, structure, layer_costs(network, example))
    allowed = SHARE * macs_of(network, shape)

    def opened(share: float) -> Tensor:
        gates = uniform_gates(structure, share)
        order = torch.arange(structure.gate_count - 1, -1, -1)
        return rounded_gates(structure, gates, order, multiple)

    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        fits = float(cost(opened(middle).double())[0]) <= allowed
        low, high = (middle, high) if fits else (low, middle)
    smaller = deepcopy(network)
    compact(smaller, structure, opened(low))
    return smaller


def without_half_its_blocks(network: SmallResNet) -> SmallResNet:
    """A copy in which every second block that keeps the shape passes its input on."""
    smaller = deepcopy(network)
    blocks = [(name, module) for name, module in smaller.named_modules() if isinstance(module, Block)]
    same = [name for name, block in blocks if isinstance(block.shortcut, nn.Identity)]
    for name in same[::2]:
        smaller.set_submodule(name, nn.Identity())
    return smaller


def vgg16() -> nn.Module:
    """Torchvision's features, and a head for ten classes."""
    features = import_torchvision().models.vgg16_bn(weights=None).features
    return nn.Sequential(features, nn.Flatten(), nn.Linear(512, 10))


def cases() -> Iterator[Case]:
    """The networks."""
    torch.manual_seed(0)
    for name, shape, network in (("LeNet-5", (1, 28, 28), LeNet5()), ("VGG-16", (3, 32, 32), vgg16())):
        cut = {f"round_to={multiple}": uniformly_cut(network, shape, multiple) for multiple in (1, MULTIPLE)}
        yield Case(name, shape, network, cut)
    resnet = ResNet56()
    yield Case("ResNet-56", (3, 32, 32), resnet, {"half its blocks": without_half_its_blocks(resnet)})


def rows(case: Case, batch: int, steps: int) -> Iterator[str]:
    """Lines of the table for one batch size."""
    inputs = torch.randn(batch, *case.shape)
    sides = [network.eval() for network in (case.dense, *case.smaller.values())]
    with torch.inference_mode():
        dense, *others = paired([partial(side, inputs) for side in sides], steps, warm_up=2, clock=process_time)
    whole = macs_of(case.dense, case.shape)
    for (what, network), ms in zip(case.smaller.items(), others, strict=True):
        ratio = macs_of(network, case.shape) / whole
        realised = ratio / (ms / dense)
        judged = case.name == "VGG-16" and batch == max(BATCHES)
        verdict = "" if not judged else f">= {TARGET:g}: {'reached' if realised >= TARGET else 'MISSED'}"
        yield (
            f"| {case.name} | {batch} | {what} | {dense:.2f} | {ms:.2f} | {ratio:.3f} | {ms / dense:.3f} "
            f"| {realised:.2f} | {verdict} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    steps = 5 if parser.parse_args().quick else 25
    torch.set_num_threads(1)
    print("| network | batch | what | dense ms | compact ms | MACs ratio | latency ratio | realised | target |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in cases():
        for batch in BATCHES:
            for line in rows(case, batch, steps * (4 if batch == 1 else 1)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
