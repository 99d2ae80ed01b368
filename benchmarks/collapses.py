"""How often a run of the central method destroys a network: over many networks, settings and seeds, it should be never.

    python -m benchmarks.collapses [--runs 100] [--first 0]

A case is a network, its epochs and settings, and a seed of its own; no default was chosen with these seeds.
Accuracies are of mnist5k's test images. A run that ends more than 3 points below the dense network of the same epochs
and seed needs an explanation: that its objective (N times the training loss plus the price of what is open) is no worse
than that of larger networks, re-trained: the dense one, and one that channel pruning by norm leaves with four times as
many multiply-accumulates. Under a budget larger networks are not allowed; there the run must not be more than 3 points
worse than pruning by norm to the same budget. What has no explanation is a collapse.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

import bayesprune as bp
from bayesprune.errors import PruningWarning
from bayesprune.evaluation.evaluate import predict
from bayesprune.inference.options import ParsimoniousOptions
from bayesprune.inference.pricing import make_price
from bayesprune.models import Conv4, LeNet5, LeNet300
from bayesprune.run.pruned import Pruned
from bayesprune.run.running import initial_state
from bayesprune.run.settings import RunSettings

POINTS, LARGER = 3.0, 4
"""Points below dense that need an explanation, and how much larger the network is that gives one."""

FIRST_SEED = 7_000


class Residual(nn.Module):
    """A small residual network with batch normalisation, 13,000 parameters."""

    def __init__(self, input_shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(input_shape[0], 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(_Block(8, 8, 1), _Block(8, 16, 2), _Block(16, 24, 2))
        self.last = nn.Linear(24, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        maps: Tensor = self.blocks(relu(self.norm(self.stem(inputs))))
        logits: Tensor = self.last(maps.mean((2, 3)))
        return logits


class _Block(nn.Module):
    def __init__(self, reads: int, writes: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(reads, writes, 3, stride, 1, bias=False), nn.BatchNorm2d(writes)
        self.second, self.second_norm = nn.Conv2d(writes, writes, 3, 1, 1, bias=False), nn.BatchNorm2d(writes)
        self.skip: nn.Module = nn.Identity()
        if reads != writes:
            self.skip = nn.Sequential(nn.Conv2d(reads, writes, 1, stride, bias=False), nn.BatchNorm2d(writes))

    def forward(self, maps: Tensor) -> Tensor:
        hidden = relu(self.first_norm(self.first(maps)))
        return relu(self.skip(maps) + self.second_norm(self.second(hidden)))


NETWORKS: dict[str, Any] = {
    "lenet5": LeNet5,
    "lenet300": LeNet300,
    "conv4": lambda input_shape, classes: Conv4((16, 16, 32, 32, 64, 64), input_shape, classes),
    "residual": Residual,
}

CASES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("lenet5", 6, {}),
    ("lenet300", 120, {}),
    ("residual", 6, {}),
    ("lenet300", 6, {"budget": "macs=10%"}),
    ("lenet5", 20, {"budget": "params=5%"}),
    ("residual", 40, {"price_kind": "equal"}),
    ("conv4", 6, {}),
    ("lenet300", 20, {"price_kind": "cost"}),
    ("lenet5", 60, {}),
    ("residual", 20, {"budget": "macs=30%"}),
    ("lenet300", 60, {"price": 12.0}),
    ("lenet5", 12, {"price_kind": "equal"}),
    ("conv4", 10, {"budget": "macs=20%"}),
    ("residual", 60, {}),
    ("lenet300", 30, {"start": 0.1}),
    ("lenet5", 12, {"budget": "macs=10%"}),
    ("residual", 10, {"price": 40.0}),
    ("lenet300", 12, {"estimator": "salient-flips"}),
    ("lenet5", 30, {"start": 0.9}),
    ("residual", 30, {"budget": "params=20%"}),
)


@dataclass(frozen=True)
class Case:
    """One run: a network, epochs, settings and a seed."""

    network: str
    epochs: int
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def run(self, method: str, **settings: Any) -> Pruned:
        """A method on this case's network and seed, on one thread."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)
            return bp.prune(
                NETWORKS[self.network], data(), method, epochs=self.epochs, seed=self.seed, progress=False, **settings
            )

    def objective(self, pruned: Pruned) -> float:
        """N times the training loss of a network plus, at this case's prices, what is open in it (nats)."""
        train, own = data().train, ParsimoniousOptions(price_kind=self.settings.get("price_kind"))
        settings = RunSettings("parsimonious", price=self.settings.get("price"))
        torch.manual_seed(self.seed)
        state = initial_state(NETWORKS[self.network](input_shape=data().input_shape, classes=10), data(), settings)
        gates = state.structure.open_from_kept(pruned.kept).to(torch.float64)
        price = make_price(state, settings, own, len(train))
        return len(train) * _nll(pruned) + price.total(state.structure, state.expected_cost(), gates)


def _nll(pruned: Pruned) -> float:
    """Mean training loss, in nats."""
    assert pruned.task is not None
    return float(predict(pruned.network, data().train, pruned.task)["nll"] or 0.0)


@dataclass(frozen=True)
class Verdict:
    """What became of a case: accuracies in percent, and whether it is a collapse."""

    case: Case
    dense: float
    accuracy: float
    macs: int
    why: str
    collapsed: bool


@cache
def data() -> bp.data.Data:
    """The bundled digits."""
    return bp.load_data("mnist5k")


def cases(count: int, first: int = 0) -> Iterator[Case]:
    """The cases, over and over with new seeds."""
    for number, (network, epochs, settings) in enumerate(islice(cycle(CASES), first, first + count), first):
        yield Case(network, epochs, settings, FIRST_SEED + number)


def judged(case: Case) -> Verdict:
    """Run a case, and where it ends far below dense look for what explains that."""
    dense, ours = case.run("dense"), case.run("parsimonious", **case.settings)
    reference, accuracy, macs = 100 * dense.evaluation.accuracy, 100 * ours.evaluation.accuracy, ours.evaluation.macs
    if reference - accuracy <= POINTS:
        return Verdict(case, reference, accuracy, macs, "", False)
    if budget := case.settings.get("budget"):
        rival = 100 * case.run("l1-units", budget=budget).evaluation.accuracy
        return Verdict(case, reference, accuracy, macs, f"l1-units {rival:.1f} %", rival - accuracy > POINTS)
    larger = [dense, case.run("l1-units", budget=f"macs={min(LARGER * macs, dense.evaluation.macs)}")]
    own, others = case.objective(ours), [case.objective(pruned) for pruned in larger]
    why = f"objective {own:,.0f}, of larger networks {', '.join(f'{other:,.0f}' for other in others)}"
    return Verdict(case, reference, accuracy, macs, why, min(others) < own)


def main() -> None:
    """Run the benchmark and print what became of every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    collapses = 0
    for case in cases(arguments.runs, arguments.first):
        found = judged(case)
        collapses += found.collapsed
        asked = " ".join(f"{name}={value}" for name, value in case.settings.items())
        print(
            f"{case.network:9s} {case.epochs:3d} epochs  seed {case.seed}  {asked:26s} dense {found.dense:.1f} %  "
            f"pruned {found.accuracy:.1f} %  {found.macs:>9,} MACs  {found.why}"
            f"{'  COLLAPSED' if found.collapsed else ''}",
            flush=True,
        )
    print(f"{collapses} collapses in {arguments.runs} runs")


if __name__ == "__main__":
    main()
